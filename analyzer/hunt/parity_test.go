package hunt_test

import (
	"encoding/json"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cases"
	"github.com/keytrail/keytrail/analyzer/hunt"
	"github.com/keytrail/keytrail/analyzer/hunt/duckdb"
	"github.com/keytrail/keytrail/analyzer/pipeline"
)

// A hunt over a lake finds the rows that the engine's views give in the stream,
// for the same records: in the match and quiet cases of all detections, without
// an exception. A record that came twice changes nothing.
func TestAHuntFindsTheRowsOfTheStream(t *testing.T) {
	var rows atomic.Int64
	eachCase(t, func(t *testing.T, d analyzer.Detection, c cases.Case, s *analyzer.Settings) {
		want := streamRows(t, d, c, s)
		root := t.TempDir()
		ingest(t, root, "once", d.Events, c.Records())
		ingest(t, root, "again", d.Events, c.Records()[len(c.Records())/2:])
		got := lakeRows(t, root, hunt.Of(d), hunt.Options{Since: longAgo, Until: farOff, Settings: s, LearnUntil: c.LearnUntil})
		require.Equal(t, want, got)
		rows.Add(int64(len(want)))
	})
	require.Greater(t, rows.Load(), int64(100), "the cases should find something to compare")
}

// streamRows returns the rows of a detection over the engine's own views, as
// sorted JSON. The engine makes findings of rows and merges those of one
// entity, so the detection is wrapped to return all of its rows in one.
func streamRows(t *testing.T, d analyzer.Detection, c cases.Case, s *analyzer.Settings) []string {
	t.Helper()
	d.SQL = "select timestamp '2000-01-01 00:00:00' as window_start, 'all' as probe, array_agg(cast(to_json(q) as varchar)) as found from (\n" +
		d.SQL + "\n) q having count(*) > 0"
	d.Entity, d.EvidenceEvents, d.Window = []string{"probe"}, nil, 0
	findings, err := pipeline.Try(t.Context(), c.Records(), []analyzer.Detection{d}, s, c.LearnUntil)
	require.NoError(t, err)
	rows := []string{}
	if len(findings) == 0 {
		return rows
	}
	require.Len(t, findings, 1)
	list, ok := findings[0].Evidence["found"].([]any)
	require.True(t, ok)
	for _, text := range list {
		rows = append(rows, inOrder(t, text.(string)))
	}
	slices.Sort(rows)
	return rows
}

// lakeRows returns the rows of a hunt in the same shape.
func lakeRows(t *testing.T, root string, s hunt.Subject, o hunt.Options) []string {
	t.Helper()
	o.Schema = duckdb.Schema
	statement, err := hunt.Build(s, o)
	require.NoError(t, err)
	rows := []string{}
	require.NoError(t, openLake(t, root).Query(t.Context(), "select cast(to_json(q) as varchar) from ("+statement.SQL+") q", func(_ []string, v []any) error {
		rows = append(rows, inOrder(t, v[0].(string)))
		return nil
	}), statement.SQL)
	slices.Sort(rows)
	return rows
}

// inOrder sorts the names of a JSON object.
func inOrder(t *testing.T, text string) string {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}
