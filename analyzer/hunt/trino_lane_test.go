//go:build trino

package hunt_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "github.com/trinodb/trino-go-client/trino" // the driver

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cases"
	"github.com/keytrail/keytrail/analyzer/hunt"
	"github.com/keytrail/keytrail/analyzer/hunt/duckdb"
	"github.com/keytrail/keytrail/analyzer/hunt/trino"
	"github.com/keytrail/keytrail/analyzer/intake"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/settings"
	"github.com/keytrail/keytrail/analyzer/simulate"
)

// lane is the Trino that infra/trino/run.sh started.
type lane struct {
	server string
	data   string // folder that the server calls local:///
	admin  *sql.DB
}

func openLane(t *testing.T) *lane {
	t.Helper()
	l := &lane{server: os.Getenv("KEYTRAIL_TRINO_SERVER"), data: os.Getenv("KEYTRAIL_TRINO_DATA")}
	if l.server == "" || l.data == "" {
		t.Fatal("run `make trino`: it starts a Trino and sets KEYTRAIL_TRINO_SERVER and KEYTRAIL_TRINO_DATA")
	}
	var err error
	l.admin, err = sql.Open("trino", strings.Replace(l.server, "://", "://lane@", 1)+"?catalog=lake&timezone=UTC")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.admin.Close()) })
	// A server that answers may still have no node to run a query on.
	var nodes int
	require.Eventually(t, func() bool {
		err = l.admin.QueryRowContext(t.Context(), "select count(*) from system.runtime.nodes where state = 'active'").Scan(&nodes)
		return err == nil && nodes > 0
	}, 3*time.Minute, time.Second, "Trino should start: see .cache/trino/server.log")
	return l
}

// show makes the lake in a folder below data readable as a schema of Trino.
func (l *lane) show(t *testing.T, name string) {
	t.Helper()
	run := func(statement string) {
		_, err := l.admin.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	run("create schema lake." + name)
	for _, table := range []analyzer.Table{analyzer.TableUses, analyzer.TableControl} {
		columns := []string{}
		for _, c := range lake.Columns(table) {
			typ := c.SQL
			if typ == "varchar[]" {
				typ = "array(varchar)"
			}
			columns = append(columns, c.Name+" "+typ)
		}
		run(fmt.Sprintf("create table lake.%s.%s (%s, day date) with (external_location = 'local:///%s/%s', format = 'PARQUET', partitioned_by = array['day'])",
			name, table, strings.Join(columns, ", "), name, table))
		run(fmt.Sprintf("call lake.system.sync_partition_metadata('%s', '%s', 'FULL')", name, table))
	}
}

var notName = regexp.MustCompile(`[^a-z0-9]+`)

// Trino and DuckDB find the same rows in the match and quiet cases of all
// detections.
func TestTrinoFindsTheRowsOfDuckDBInAllCases(t *testing.T) {
	l := openLane(t)
	var rows atomic.Int64
	eachCase(t, func(t *testing.T, d analyzer.Detection, c cases.Case, s *analyzer.Settings) {
		name := notName.ReplaceAllString(strings.ToLower(d.ID+"_"+c.Name), "_")
		root := filepath.Join(l.data, name)
		ingest(t, root, "case", d.Events, c.Records())
		l.show(t, name)
		rows.Add(l.compare(t, root, name, hunt.Of(d), hunt.Options{Since: longAgo, Until: farOff, Settings: s, LearnUntil: c.LearnUntil}))
	})
	require.Greater(t, rows.Load(), int64(100), "the cases should find something to compare")
}

// So do they in a simulated month, and in the six weeks of the incident, where
// detections compare with weeks before.
func TestTrinoFindsTheRowsOfDuckDBInAMonth(t *testing.T) {
	l := openLane(t)
	month := func(t *testing.T, root string) *analyzer.Settings {
		logs := t.TempDir()
		_, err := simulate.Traffic(t.Context(), simulate.Options{Duration: 30 * 24 * time.Hour, PerDay: 2000}, simulate.Dir(logs))
		require.NoError(t, err)
		into, err := lake.Open(root)
		require.NoError(t, err)
		defer func() { require.NoError(t, into.Close()) }()
		in := intake.Ingest{Lake: into, Run: "month", Events: shipped(t).Events()}
		got, err := in.Paths(t.Context(), []string{logs})
		require.NoError(t, err)
		require.Equal(t, int64(60_000), got.Records.Kept)
		return settings.Default()
	}
	for name, fill := range map[string]func(*testing.T, string) *analyzer.Settings{"month": month, "incident": incidentLake} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(l.data, name)
			s := fill(t, root)
			l.show(t, name)
			first, last := span(t, openLake(t, root))
			var rows int64
			for _, d := range shipped(t).Detections() {
				t.Run(d.ID, func(t *testing.T) {
					// All of it, and the last week with what it needs of those before.
					rows += l.compare(t, root, name, hunt.Of(d), hunt.Options{Since: first, Until: last.Add(time.Second), Settings: s})
					l.compare(t, root, name, hunt.Of(d), hunt.Options{Since: last.Add(-7 * 24 * time.Hour), Until: last, Settings: s})
				})
			}
			require.Greater(t, rows, int64(20), "%s should have something to compare", name)
		})
	}
}

// Every view that docs/views.md lists has its columns on Trino, and the same rows.
func TestTrinoHasTheDocumentedViews(t *testing.T) {
	l := openLane(t)
	root := filepath.Join(l.data, "views")
	s := incidentLake(t, root)
	s.Roles.Routine, s.Tier0, s.Regions = everySetting.Roles.Routine, everySetting.Tier0, everySetting.Regions
	l.show(t, "views")
	_, last := span(t, openLake(t, root))
	for view, columns := range documented(t) {
		t.Run(view, func(t *testing.T) {
			sql := fmt.Sprintf("select %s from %s", strings.Join(columns, ", "), view)
			l.compare(t, root, "views", read(t, sql), hunt.Options{Since: last.Add(-24 * time.Hour), Until: last, Settings: s})
		})
	}
}

// compare hunts with both engines and returns how many rows they found.
func (l *lane) compare(t *testing.T, root, schema string, s hunt.Subject, o hunt.Options) int64 {
	t.Helper()
	local, err := duckdb.Open(t.Context(), root, duckdb.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, local.Close()) }()
	server, err := trino.Open(trino.Options{Server: l.server, User: "lane", Catalog: "lake", Schema: schema})
	require.NoError(t, err)
	defer func() { require.NoError(t, server.Close()) }()

	o.Schema = duckdb.Schema
	onDuckDB, err := hunt.Build(s, o)
	require.NoError(t, err)
	o.Schema = hunt.Schema("lake", schema)
	onTrino, err := hunt.Build(s, o)
	require.NoError(t, err)
	require.Equal(t, onDuckDB.SQL, strings.ReplaceAll(onTrino.SQL, o.Schema+".", duckdb.Schema+"."), "the statement is the same")

	want, got := []string{}, []string{}
	require.NoError(t, local.Query(t.Context(), onDuckDB.SQL, gather(t, &want)))
	require.NoError(t, server.Query(t.Context(), onTrino.SQL, gather(t, &got)), onTrino.SQL)
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(t, want, got)
	return int64(len(want))
}

// gather adds rows as JSON.
func gather(t *testing.T, into *[]string) hunt.Row {
	return func(columns []string, values []any) error {
		*into = append(*into, asJSON(t, rowOf(columns, values)))
		return nil
	}
}
