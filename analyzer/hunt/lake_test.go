package hunt_test

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cases"
	"github.com/keytrail/keytrail/analyzer/catalog"
	_ "github.com/keytrail/keytrail/analyzer/engine" // links DuckDB
	"github.com/keytrail/keytrail/analyzer/hunt"
	"github.com/keytrail/keytrail/analyzer/hunt/duckdb"
	"github.com/keytrail/keytrail/analyzer/intake"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/settings"
	"github.com/keytrail/keytrail/analyzer/trail"
	"github.com/keytrail/keytrail/fixtures"
	"github.com/keytrail/keytrail/queries"
)

// Times that are before and after every event of the tests.
var (
	longAgo = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	farOff  = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
)

func shipped(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Load(queries.Files, catalog.Options{Cases: fixtures.Cases, Memory: intake.MemoryEvents})
	require.NoError(t, err)
	return c
}

// eachCase calls fn for each case of each detection, several at once, and
// returns when all are done.
func eachCase(t *testing.T, fn func(*testing.T, analyzer.Detection, cases.Case, *analyzer.Settings)) {
	t.Helper()
	t.Run("case", func(t *testing.T) {
		for _, d := range shipped(t).Detections() {
			list, err := cases.Load(fixtures.Cases, d)
			require.NoError(t, err)
			for _, c := range list {
				t.Run(d.ID+"/"+c.Name, func(t *testing.T) {
					t.Parallel()
					s := settings.Default()
					if len(c.Settings) > 0 {
						var err error
						s, err = settings.Parse(c.Path, c.Settings)
						require.NoError(t, err)
					}
					fn(t, d, c, s)
				})
			}
		}
	})
}

// ingest puts records into the lake in a folder as one run, as they come for
// these events.
func ingest(t *testing.T, root, run string, events []analyzer.EventName, records [][]byte) {
	t.Helper()
	l, err := lake.Open(root)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	log := bytes.Join(records, []byte("\n"))
	in := intake.Ingest{Lake: l, Run: run, Events: append(slices.Clone(intake.MemoryEvents), events...), Workers: 1}
	got, err := in.Inputs(t.Context(), []trail.Input{{Name: run, Size: int64(len(log)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(log)), nil
	}}})
	require.NoError(t, err)
	require.Empty(t, got.Rejects)
}

func openLake(t *testing.T, root string) *duckdb.Lake {
	t.Helper()
	l, err := duckdb.Open(t.Context(), root, duckdb.Options{Threads: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// found hunts with DuckDB and returns each row as JSON, in order.
func found(t *testing.T, l *duckdb.Lake, s hunt.Subject, o hunt.Options) []string {
	t.Helper()
	list := []string{}
	search(t, l, s, o, func(columns []string, values []any) error {
		list = append(list, asJSON(t, rowOf(columns, values)))
		return nil
	})
	return list
}

// search hunts with DuckDB.
func search(t *testing.T, l *duckdb.Lake, s hunt.Subject, o hunt.Options, row hunt.Row) {
	t.Helper()
	if o.Settings == nil {
		o.Settings = settings.Default()
	}
	o.Schema = duckdb.Schema
	statement, err := hunt.Build(s, o)
	require.NoError(t, err)
	require.NoError(t, l.Query(t.Context(), statement.SQL, row), statement.SQL)
}

func rowOf(columns []string, values []any) map[string]any {
	row := map[string]any{}
	for i, c := range columns {
		row[c] = values[i]
	}
	return row
}

func asJSON(t *testing.T, row map[string]any) string {
	t.Helper()
	b, err := json.Marshal(row)
	require.NoError(t, err)
	return string(b)
}

func read(t *testing.T, sql string) hunt.Subject {
	t.Helper()
	s, err := hunt.Read("mine.sql", sql)
	require.NoError(t, err)
	return s
}
