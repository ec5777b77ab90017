package catalog_test

import (
	"database/sql"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/analyzer/macros"
	"github.com/keytrail/keytrail/queries"
)

// views are what detections may read beside the control events: the columns
// documented for them, and no others.
const views = `
create table uses (window_start timestamp, account varchar, region varchar, event_name varchar, lane varchar, principal varchar,
  principal_type varchar, principal_account varchar, principal_name varchar, is_person boolean, key_arn varchar,
  key_account varchar, dest_key_arn varchar, dest_key_account varchar, owner_copy boolean, event_count bigint, first_time timestamp, last_time timestamp);
create table use_hours (hour timestamp, account varchar, principal varchar, key_arn varchar, lane varchar, event_count bigint);
create table first_uses (principal varchar, principal_account varchar, key_arn varchar, lane varchar, owner_copy boolean,
  first_time timestamp, last_time timestamp, event_count bigint);
create table key_use_days (key_arn varchar, day date, event_count bigint);
create table data_uses (window_start timestamp, window_end timestamp, account varchar, region varchar, principal varchar,
  principal_type varchar, principal_name varchar, is_person boolean, lane varchar, data_kind varchar, distinct_data bigint,
  event_count bigint, key_count bigint, key_arn varchar, first_time timestamp, last_time timestamp, data_sample varchar[]);
create table grants (grant_id varchar, key_arn varchar, grantee varchar, grantee_kind varchar, grantee_account varchar,
  grant_operations varchar[], grant_constraint varchar, grant_fingerprint varchar, grant_name varchar, principal varchar,
  created_time timestamp, created_event_id varchar, ended_time timestamp, ended_by varchar);
create table aliases (alias_name varchar, account varchar, region varchar, key_arn varchar, valid_from timestamp, valid_to timestamp);
create table accounts (account varchar, first_time timestamp, ours boolean, listed boolean, name varchar, sandbox boolean, partner boolean);
create table key_allow (key_arn varchar, alias_name varchar, account varchar, principal_pattern varchar);
create table organisation_ids (org_id varchar);
create table key_changes as select * from control_events;
create table trail_changes as select * from control_events;
`

// emptyLake is a database with the documented views and nothing in them.
func emptyLake(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	db.SetMaxOpenConns(1)

	var columns []string
	for i := range reflect.TypeFor[analyzer.Event]().NumField() {
		f := reflect.TypeFor[analyzer.Event]().Field(i)
		typ := "varchar"
		switch f.Type {
		case reflect.TypeFor[time.Time]():
			typ = "timestamp"
		case reflect.TypeFor[bool]():
			typ = "boolean"
		case reflect.TypeFor[int]():
			typ = "integer"
		case reflect.TypeFor[[]string]():
			typ = "varchar[]"
		}
		columns = append(columns, f.Tag.Get("col")+" "+typ)
	}
	for _, statement := range []string{
		"set TimeZone = 'UTC'", macros.SQL,
		"create table control_events (" + strings.Join(columns, ", ") + ")", views,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	return db
}

func TestEveryDetectionPlans(t *testing.T) {
	db := emptyLake(t)
	c, err := catalog.Load(queries.Files, catalog.Options{Cases: os.DirFS("../../fixtures")})
	require.NoError(t, err)
	require.NotEmpty(t, c.Detections())
	for _, d := range c.Detections() {
		t.Run(d.ID, func(t *testing.T) {
			query, err := catalog.Render(d, with(nil))
			require.NoError(t, err)
			var typed []string
			rows, err := db.QueryContext(t.Context(), "describe "+query)
			require.NoError(t, err, d.Path)
			defer func() { require.NoError(t, rows.Close()) }()
			for rows.Next() {
				var name, typ string
				var null, key, def, extra any
				require.NoError(t, rows.Scan(&name, &typ, &null, &key, &def, &extra))
				typed = append(typed, name+" "+typ)
			}
			require.NoError(t, rows.Err())
			for _, want := range []string{"window_start TIMESTAMP", "first_time TIMESTAMP", "last_time TIMESTAMP", "event_count BIGINT"} {
				require.Contains(t, typed, want, "%s: the engine reads this column with this type", d.Path)
			}
			for _, column := range typed {
				name, typ, _ := strings.Cut(column, " ")
				switch name {
				case "event_ids":
					require.Equal(t, "VARCHAR[]", typ)
				case "severity", "account", "region", "principal", "key_arn":
					require.Equal(t, "VARCHAR", typ, name)
				case "learning":
					require.Equal(t, "BOOLEAN", typ)
				}
			}
			// Over nothing, nothing is found.
			var found int
			require.NoError(t, db.QueryRowContext(t.Context(), fmt.Sprintf("select count(*) from (%s) q", query)).Scan(&found))
			require.Zero(t, found)
		})
	}
}
