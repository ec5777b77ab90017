package pipeline_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/engine"
	"github.com/keytrail/keytrail/analyzer/pipeline"
)

func TestAPlanTakesEveryObjectOnceInTheOrderOfDays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
		objects := make([]analyzer.Object, rapid.IntRange(0, 30).Draw(t, "objects"))
		largest := int64(0)
		for i := range objects {
			at := start.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "hour")) * time.Hour)
			objects[i] = analyzer.Object{Path: fmt.Sprint("o", i), Rows: int64(rapid.IntRange(0, 50).Draw(t, "rows")), MinTime: at, MaxTime: at}
			objects[i].Bytes = 60 * objects[i].Rows
			largest = max(largest, objects[i].Rows)
		}
		limit := int64(rapid.IntRange(1, 100).Draw(t, "limit"))
		few := rapid.IntRange(0, 5).Draw(t, "objects of a slice")
		small := int64(rapid.IntRange(0, 5000).Draw(t, "bytes of a slice"))
		seen := map[string]bool{}
		var last time.Time
		for _, slice := range pipeline.Plan(objects, pipeline.Limits{Events: limit, Objects: few, Bytes: small}) {
			require.NotEmpty(t, slice)
			var rows, bytes int64
			for _, o := range slice {
				require.False(t, seen[o.Path], "%s is in two slices", o.Path)
				seen[o.Path] = true
				day := o.MinTime.Truncate(24 * time.Hour)
				require.False(t, day.Before(last), "%s is of a day that is over", o.Path)
				last = day
				rows += o.Rows
				bytes += o.Bytes
			}
			require.Less(t, rows, 2*limit+largest+1, "a slice is bounded")
			require.True(t, few == 0 || len(slice) <= few, "%d objects", len(slice))
			require.True(t, small == 0 || bytes <= small || len(slice) == 1, "%d bytes", bytes)
		}
		require.Len(t, seen, len(objects))
	})
}

// What does not fit is said with what helps, and nothing of it is forgotten.
func TestAMemoryLimitThatIsTooSmallSaysWhatToDo(t *testing.T) {
	needShipped(t)
	settings := &analyzer.Settings{}
	settings.Defaults()
	before, after := incident()
	w := newWorld(t, settings)
	defer w.close()
	w.ingest(1, pack(asRecords, append(before, after...)))
	w.analysis.MemoryLimit = 1 << 20
	_, err := w.tryAnalyze()
	require.ErrorIs(t, err, engine.ErrOutOfMemory)
	require.ErrorContains(t, err, "give it more memory or a smaller slice")
	w.analysis.MemoryLimit = 0
	w.analyze()
	require.NotEmpty(t, w.findings())
	require.Equal(t, int64(len(before)+len(after)), w.kept)
}
