package hunt_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/hunt"
	"github.com/keytrail/keytrail/analyzer/hunt/duckdb"
	"github.com/keytrail/keytrail/analyzer/intake"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/memory"
	"github.com/keytrail/keytrail/analyzer/pipeline"
	"github.com/keytrail/keytrail/analyzer/settings"
	"github.com/keytrail/keytrail/analyzer/store"
)

const incident = "../../fixtures/incident"

// incidentLake reads the six weeks of fixtures/incident into the lake in a folder.
func incidentLake(t *testing.T, root string) *analyzer.Settings {
	t.Helper()
	l, err := lake.Open(root)
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	in := intake.Ingest{Lake: l, Run: "incident", Events: shipped(t).Events()}
	got, err := in.Paths(t.Context(), []string{filepath.Join(incident, "AWSLogs")})
	require.NoError(t, err)
	require.Zero(t, got.RejectCount)
	s, err := settings.Load(filepath.Join(incident, "keytrail.yaml"), settings.WithDetections(shipped(t).Detections()))
	require.NoError(t, err)
	return s
}

// In the stream, six weeks go by in many ticks, and memory feeds what detections
// know of earlier weeks. A hunt has no memory; it finds the same in the lake.
func TestAHuntNeedsNoMemory(t *testing.T) {
	root := t.TempDir()
	s := incidentLake(t, root)
	inStream := streamFindings(t, root, s)
	l := openLake(t, root)
	counted := 0
	for _, d := range shipped(t).Detections() {
		t.Run(d.ID, func(t *testing.T) {
			inLake := map[string]bool{}
			search(t, l, hunt.Of(d), hunt.Options{Since: longAgo, Until: farOff, Settings: s}, func(columns []string, values []any) error {
				row := rowOf(columns, values)
				if learning, _ := row["learning"].(bool); !learning { // what was listed while learning is not kept
					inLake[findingID(d, row)] = true
				}
				return nil
			})
			require.Equal(t, inStream[d.ID], slices.Sorted(maps.Keys(inLake)))
			counted += len(inLake)
		})
	}
	require.Greater(t, counted, 50)
}

// streamFindings analyses the lake in many ticks and returns the ids of the
// findings that hold, by detection.
func streamFindings(t *testing.T, root string, s *analyzer.Settings) map[string][]string {
	t.Helper()
	l, err := lake.Open(root)
	require.NoError(t, err)
	kept, err := store.Open(filepath.Join(t.TempDir(), "state.db"), store.WithoutSync())
	require.NoError(t, err)
	defer func() { require.NoError(t, kept.Close()); require.NoError(t, l.Close()) }()
	analysis := pipeline.Analysis{
		Lake: l, Memory: memory.Open(t.TempDir()), Store: kept, Settings: s, Catalog: shipped(t), SliceEvents: 2000,
	}
	got, err := analysis.Run(t.Context())
	require.NoError(t, err)
	require.Greater(t, got.Ticks, 10, "memory should have its say")
	ids := map[string][]string{}
	for _, d := range shipped(t).Detections() {
		findings, err := kept.Findings(t.Context(), d.ID, time.Time{})
		require.NoError(t, err)
		for _, f := range findings {
			if f.Status != analyzer.FindingWithdrawn {
				ids[d.ID] = append(ids[d.ID], f.ID)
			}
		}
		slices.Sort(ids[d.ID])
	}
	return ids
}

// findingID is the id that the stream gives to a row.
func findingID(d analyzer.Detection, row map[string]any) string {
	entity := make([]string, len(d.Entity))
	for i, c := range d.Entity {
		if row[c] != nil {
			entity[i] = fmt.Sprint(row[c])
		}
	}
	return analyzer.FindingID(d.ID, entity, row["window_start"].(time.Time))
}

// Week by week, a hunt finds what it finds in all weeks at once: what a row
// needs of earlier weeks is looked up, and no row is half seen.
func TestWeeksAddUp(t *testing.T) {
	root := t.TempDir()
	s := incidentLake(t, root)
	l := openLake(t, root)
	first, last := span(t, l)
	for _, d := range shipped(t).Detections() {
		t.Run(d.ID, func(t *testing.T) {
			whole := rowsBetween(t, l, d, s, longAgo, farOff)
			parts := map[string]bool{}
			for since := first.Truncate(24 * time.Hour); !since.After(last); since = since.Add(7 * 24 * time.Hour) {
				until := since.Add(7 * 24 * time.Hour)
				for row := range rowsBetween(t, l, d, s, since, until) {
					parts[row] = true
				}
			}
			require.Equal(t, slices.Sorted(maps.Keys(whole)), slices.Sorted(maps.Keys(parts)))
		})
	}
}

func span(t *testing.T, l *duckdb.Lake) (first, last time.Time) {
	t.Helper()
	search(t, l, read(t, "select :history_start as oldest, :now as newest"), hunt.Options{Since: longAgo, Until: farOff}, func(_ []string, v []any) error {
		first, last = v[0].(time.Time), v[1].(time.Time)
		return nil
	})
	return first, last
}

// rowsBetween are the rows of a hunt that are whole: their windows lie in it.
func rowsBetween(t *testing.T, l *duckdb.Lake, d analyzer.Detection, s *analyzer.Settings, since, until time.Time) map[string]bool {
	t.Helper()
	rows := map[string]bool{}
	search(t, l, hunt.Of(d), hunt.Options{Since: since, Until: until, Settings: s}, func(columns []string, values []any) error {
		row := rowOf(columns, values)
		if start := row["window_start"].(time.Time); !start.Add(d.Window).After(until) {
			rows[asJSON(t, row)] = true
		}
		return nil
	})
	return rows
}
