package lake_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/normalise"
	"github.com/keytrail/keytrail/analyzer/simulate"
)

// traffic is a day of KMS records of a small organisation.
var traffic = sync.OnceValues(func() ([][]byte, error) {
	var files simulate.Memory
	if _, err := simulate.Traffic(context.Background(), simulate.Options{Seed: 1, Records: 40_000, Level: 1, Files: 40, Workers: 1}, &files); err != nil {
		return nil, err
	}
	var records [][]byte
	for _, name := range files.Names() {
		z, err := gzip.NewReader(bytes.NewReader(files.Data(name)))
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(z)
		if err != nil {
			return nil, err
		}
		var doc struct{ Records []json.RawMessage }
		if err := json.Unmarshal(text, &doc); err != nil {
			return nil, err
		}
		for _, r := range doc.Records {
			records = append(records, r)
		}
	}
	return records, nil
})

// ingest brings records into a lake and returns its objects.
func ingest(t testing.TB, records [][]byte) []analyzer.Object {
	l, err := lake.Open(t.TempDir())
	require.NoError(t, err)
	w, err := l.NewWriter(lake.WriterOptions{Name: "x"})
	require.NoError(t, err)
	n := normalise.New()
	var ev analyzer.Event
	for _, r := range records {
		if err := n.Event(r, normalise.Hint{}, &ev); err != nil {
			t.Fatal(err)
		}
		if err := w.Add(&ev); err != nil {
			t.Fatal(err)
		}
	}
	objects, err := w.Close()
	require.NoError(t, err)
	require.NoError(t, l.Commit(t.Context(), lake.Batch{Objects: objects}))
	require.NoError(t, l.Close())
	return objects
}

func TestAnEventTakesAtMost60Bytes(t *testing.T) {
	records, err := traffic()
	require.NoError(t, err)
	var rows, size, raw int64
	for _, o := range ingest(t, records) {
		t.Logf("%s: %d events, %.1f bytes each", o.Path, o.Rows, float64(o.Bytes)/float64(o.Rows))
		rows, size = rows+o.Rows, size+o.Bytes
	}
	for _, r := range records {
		raw += int64(len(r))
	}
	t.Logf("%d events: %.1f bytes each, of records of %d bytes", rows, float64(size)/float64(rows), raw/rows)
	require.EqualValues(t, len(records), rows)
	require.LessOrEqual(t, float64(size)/float64(rows), 60.0)
}

// BenchmarkRecordToParquet measures the way of a kept record: bytes to event to
// Parquet file. cpu-ns/event is processor time, which other work on the machine
// disturbs less than ns/op.
func BenchmarkRecordToParquet(b *testing.B) {
	records, err := traffic()
	require.NoError(b, err)
	var size int64
	for _, o := range ingest(b, records) {
		size += o.Bytes
	}
	start := cpu(b)
	for b.Loop() {
		ingest(b, records)
	}
	events := float64(b.N) * float64(len(records))
	b.ReportMetric(float64(cpu(b)-start)/events, "cpu-ns/event")
	b.ReportMetric(float64(size)/float64(len(records)), "B/event")
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
