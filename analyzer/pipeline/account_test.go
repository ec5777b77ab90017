package pipeline_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer"
)

// Invariant 1 of the design: what was read is kept, repeated, not of interest
// or rejected, to the last record, and each reject is in quarantine.
func TestNothingIsLost(t *testing.T) {
	needShipped(t)
	rapid.Check(t, func(t *rapid.T) {
		settings := drawSettings(t)
		h := drawHistory(t, 12)
		w := newWorld(t, settings)
		defer w.close()
		kept := map[string]bool{}
		var want analyzer.RecordCounts
		var files analyzer.FileCounts
		for range rapid.IntRange(1, 3).Draw(t, "runs") {
			var contents [][]byte
			for range rapid.IntRange(1, 4).Draw(t, "files") {
				f := drawDamaged(t, h)
				contents = append(contents, f.content)
				for _, e := range f.whole {
					want.Read++
					switch {
					case !w.reads(e):
						want.NotOfInterest++
					case kept[e.key()]:
						want.Duplicate++
					default:
						want.Kept++
						kept[e.key()] = true
					}
				}
				want.Read += int64(f.rejected)
				want.Rejected += int64(f.rejected)
				switch {
				case f.skipped:
					files.Skipped++
				case f.rejected > 0:
					files.Rejected++
				default:
					files.Read++
				}
			}
			got := w.ingest(rapid.IntRange(1, 3).Draw(t, "workers"), contents...)
			require.Equal(t, got.Records.Rejected, got.RejectCount)
			require.Len(t, quarantine(t, w, fmt.Sprintf("run-%03d", w.runs)), int(got.RejectCount), "every reject is in quarantine")
			w.analyze()
		}
		// The final numbers, as the summary has them: what the analysis knew
		// already was not kept.
		final := w.ingested
		final.Kept -= w.repeated
		final.Duplicate += w.repeated
		require.Equal(t, want, final)
		require.Equal(t, final.Read, final.Kept+final.Duplicate+final.NotOfInterest+final.Rejected)
		require.Equal(t, int64(len(kept)), w.kept, "the analysis kept each event once")
		var sources int64
		for _, n := range w.sources {
			sources += n
		}
		require.Equal(t, w.kept, sources)
		require.Equal(t, files, w.files)
	})
}

// damaged is a file of which some may be broken, and what must come of it.
type damaged struct {
	content  []byte
	whole    []entry // what can be read
	rejected int
	skipped  bool // not CloudTrail at all
}

func drawDamaged(t *rapid.T, h *history) damaged {
	from := rapid.IntRange(0, len(h.entries)).Draw(t, "from")
	part := h.entries[from:rapid.IntRange(from, len(h.entries)).Draw(t, "to")]
	switch kind := rapid.IntRange(0, 6).Draw(t, "damage"); {
	case kind == 0:
		return damaged{content: []byte(`{"name":"the logs of the incident"}`), skipped: true}
	case kind == 1 && len(part) > 0:
		return damaged{content: pack(asGzip, part), whole: part}
	case kind == 2 && len(part) > 0:
		// The file ends in the middle of its last record.
		last := part[len(part)-1]
		text := pack(asRecords, part)
		return damaged{content: text[:len(text)-len("]}")-len(last.text)/2], whole: part[:len(part)-1], rejected: 1}
	}
	d := damaged{whole: part}
	var b bytes.Buffer
	lines := make([]string, 0, len(part))
	for _, e := range part {
		lines = append(lines, string(e.text))
	}
	for range rapid.IntRange(0, 3).Draw(t, "broken records") {
		broken := rapid.SampledFrom([]string{
			`{"eventSource":"kms.amazonaws.com","eventName":"Decrypt","eventTime":"yesterday","eventID":"x","recipientAccountId":"111122223333"}`,
			`{"eventSource":"kms.amazonaws.com","eventName":"Decrypt","eventID":"y","recipientAccountId":"111122223333"}`,
			`{"eventSource":"kms.amazonaws.com","eventName":"Decrypt","eventTime":"1903-01-01T00:00:00Z","eventID":"z"}`,
		}).Draw(t, "broken record")
		at := rapid.IntRange(0, len(lines)).Draw(t, "place")
		lines = slices.Insert(lines, at, broken)
		d.rejected++
	}
	if len(lines) == 0 {
		lines = []string{string(h.entries[0].text)}
		d.whole = h.entries[:1]
	}
	b.WriteString(strings.Join(lines, "\n"))
	d.content = b.Bytes()
	return d
}

func quarantine(t fataler, w *world, run string) (lines []map[string]any) {
	t.Helper()
	f, err := os.Open(filepath.Join(w.lake.Root(), "quarantine", run+".jsonl"))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var line map[string]any
		require.NoError(t, json.Unmarshal(s.Bytes(), &line))
		require.NotEmpty(t, line["file"])
		require.NotEmpty(t, line["reason"])
		lines = append(lines, line)
	}
	require.NoError(t, s.Err())
	return lines
}

// What comes later than allowed is counted, kept once, and breaks nothing; an
// event that needs no other to be judged is found however late it is.
func TestLateEventsAreCountedAndFound(t *testing.T) {
	needShipped(t)
	alone := []string{"KMS-D02", "KMS-A01", "KMS-P04", "KMS-G02"}
	rapid.Check(t, func(t *rapid.T) {
		settings := drawSettings(t)
		h := drawHistory(t, 20)
		batch := newWorld(t, settings)
		defer batch.close()
		batch.ingest(1, pack(asRecords, h.entries))
		batch.analyze()

		w := newWorld(t, settings)
		defer w.close()
		seed := rapid.Uint64().Draw(t, "seed")
		entries := slices.Clone(h.entries)
		slices.SortStableFunc(entries, func(a, b entry) int { return int(mix(a.key(), seed)>>33) - int(mix(b.key(), seed)>>33) })
		var late int64
		var runs int
		var watermark, newest time.Time
		for part := range slices.Chunk(entries, len(entries)/rapid.IntRange(1, 5).Draw(t, "runs")+1) {
			for _, e := range part {
				if !w.reads(e) {
					continue
				}
				if e.at.Before(watermark) {
					late++
				}
				if e.at.After(newest) {
					newest = e.at
				}
			}
			files := [][]byte{pack(asLines, part)}
			if runs > 0 && rapid.Bool().Draw(t, "all again") {
				files = append(files, pack(asGzip, entries[:len(part)*runs]))
			}
			w.ingest(2, files...)
			w.analyze()
			watermark = newest.Add(-settings.Lateness)
			runs++
		}
		require.Equal(t, batch.kept, w.kept, "each event is kept once, however late")
		require.Equal(t, batch.sources, w.sources)
		require.Equal(t, late, w.late, "what came later than allowed is counted")
		have := map[string]bool{}
		for _, f := range w.list() {
			have[f.ID] = true
		}
		for _, f := range batch.list() {
			if slices.Contains(alone, f.Detection) {
				require.True(t, have[f.ID], "%s %v of %s", f.Detection, f.Entity, f.Time)
			}
		}
	})
}
