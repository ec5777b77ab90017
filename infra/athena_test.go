package infra_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/lake"
)

// The saved queries stay in the SQL that DuckDB and Athena share, so that
// DuckDB can say what they count.
func TestSavedQueriesCountEachEventOnce(t *testing.T) {
	db := lakeOf(t,
		row{"uses", "0", "111122223333", "e-1", "Decrypt"},
		row{"uses", "0", "111122223333", "e-1", "Decrypt"}, // brought by EventBridge, too
		row{"uses", "0", "999900001111", "e-1", "Decrypt"}, // of another account, so another event
		row{"uses", "1", "111122223333", "e-2", "Decrypt"},
		row{"uses", "8", "111122223333", "e-3", "Decrypt"}, // too old
		row{"control", "2", "111122223333", "c-1", "DisableKey"},
		row{"control", "2", "111122223333", "c-1", "DisableKey"}, // merged, and not yet deleted
		row{"control", "40", "111122223333", "c-2", "DisableKey"},
	)
	queries := resources(t, "AWS::Athena::NamedQuery")
	require.Len(t, queries, 3)
	for id, want := range map[string]int{
		"WhoUsedKeysQuery":    3, // calls
		"WhatWasOpenedQuery":  3,
		"WhoChangedKeysQuery": 1, // rows
	} {
		count := "count(*)"
		if id != "WhoChangedKeysQuery" {
			count = "cast(sum(calls) as bigint)"
		}
		var got int
		query := fmt.Sprintf("select %s from (%s)", count, queries[id].Properties.QueryString)
		require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&got), id)
		require.Equal(t, want, got, id)
	}
}

// row is an event of a table, daysAgo days old.
type row struct{ table, daysAgo, account, id, name string }

// lakeOf returns a database whose tables have all columns and these rows.
func lakeOf(t *testing.T, rows ...row) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, table := range []analyzer.Table{analyzer.TableUses, analyzer.TableControl} {
		columns := []string{"day date"}
		for _, c := range lake.Columns(table) {
			columns = append(columns, c.Name+" "+c.SQL)
		}
		_, err := db.ExecContext(t.Context(), fmt.Sprintf("create table %s (%s)", table, strings.Join(columns, ", ")))
		require.NoError(t, err)
	}
	for _, r := range rows {
		_, err := db.ExecContext(t.Context(), fmt.Sprintf(`
			insert into %s (day, event_time, account, event_id, event_name, principal, key_arn, data_arn, data_kind, lane)
			select cast(current_date - to_days(%s) as date), now() - to_days(%s), ?, ?, ?, 'p', 'k', 'd', 'secret', 'direct'`,
			r.table, r.daysAgo, r.daysAgo), r.account, r.id, r.name)
		require.NoError(t, err)
	}
	return db
}
