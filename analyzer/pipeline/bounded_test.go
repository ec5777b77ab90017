package pipeline_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/simulate"
)

// simulated are logs of ordinary days.
func simulated(t *testing.T, o simulate.Options) [][]byte {
	t.Helper()
	var sink simulate.Memory
	_, err := simulate.Traffic(context.Background(), o, &sink)
	require.NoError(t, err)
	names := sink.Names()
	slices.Sort(names)
	files := make([][]byte, 0, len(names))
	for _, name := range names {
		files = append(files, sink.Data(name))
	}
	return files
}

// Invariant 5 of the design: a small limit of memory costs time, not findings.
func TestASmallMemoryLimitGivesTheSameFindings(t *testing.T) {
	needShipped(t)
	settings := &analyzer.Settings{}
	settings.Defaults()
	files := simulated(t, simulate.Options{Seed: 1, Records: 300_000, Files: 8, FileRecords: 100_000, Level: 1, Duration: 48 * time.Hour})
	before, after := incident()
	files = append(files, pack(asRecords, before), pack(asRecords, after))

	roomy := newWorld(t, settings)
	defer roomy.close()
	roomy.analysis.Threads = 2
	roomy.ingest(2, files...)
	roomy.analyze()
	require.Greater(t, roomy.kept, int64(300_000))
	require.NotEmpty(t, roomy.findings())

	tight := newWorld(t, settings)
	defer tight.close()
	tight.analysis.MemoryLimit, tight.analysis.Threads = 128<<20, 2
	tight.ingest(1, files...)
	tight.analyze()
	require.Empty(t, differences(roomy.findings(), tight.findings()))
	require.Equal(t, roomy.kept, tight.kept)
}

// What memory holds follows what goes on, not how long it has gone on: once its
// spans are full (the longest is the 95 days of key use), it stays as it is.
func TestMemoryDoesNotGrowWithHistory(t *testing.T) {
	needShipped(t)
	settings := &analyzer.Settings{}
	settings.Defaults()
	w := newWorld(t, settings)
	defer w.close()
	w.analysis.SliceEvents = 3000 // about ten days
	const span = 110 * 24 * time.Hour
	live := func(from time.Time) map[string]int64 {
		w.ingest(2, simulated(t, simulate.Options{Seed: 2, Start: from, PerDay: 300, Duration: span, Files: 11, Level: 1})...)
		w.analyze()
		return memorySize(t, w)
	}
	full := live(simulate.DefaultStart)
	twice := live(simulate.DefaultStart.Add(span))
	require.GreaterOrEqual(t, w.ticks, 15)
	for name, size := range twice {
		// A file of next to nothing is its footer.
		require.LessOrEqual(t, size, full[name]*13/10+2048, "%s after 110 and 220 days: %d and %d bytes", name, full[name], size)
	}
}

// memorySize returns the bytes of the current memory by file, and of all.
func memorySize(t *testing.T, w *world) map[string]int64 {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(w.lake.Root(), "memory", "generation-*", "*.parquet"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	sizes := map[string]int64{}
	for _, p := range paths {
		info, err := os.Stat(p)
		require.NoError(t, err)
		sizes[filepath.Base(p)] = info.Size()
		sizes["all"] += info.Size()
	}
	return sizes
}
