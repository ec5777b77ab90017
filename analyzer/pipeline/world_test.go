package pipeline_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/intake"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/memory"
	"github.com/keytrail/keytrail/analyzer/pipeline"
	"github.com/keytrail/keytrail/analyzer/store"
	"github.com/keytrail/keytrail/analyzer/store/memstore"
)

// TestMain keeps the properties to what a busy machine does in a minute. More
// are tried with -rapid.checks or KEYTRAIL_RAPID_CHECKS.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", cmp.Or(os.Getenv("KEYTRAIL_RAPID_CHECKS"), "12")); err != nil {
			fmt.Fprintln(os.Stderr, "KEYTRAIL_RAPID_CHECKS:", err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

// fataler is what a test and a property have in common.
type fataler interface {
	require.TestingT
	Helper()
}

// world is a lake with what was found in it.
type world struct {
	t        fataler
	dir      string
	lake     *lake.Lake
	store    analyzer.Store
	settings *analyzer.Settings
	bolt     *store.Bolt       // the store, when it is kept in a file
	analysis pipeline.Analysis // what runs have in common
	runs     int

	ingested analyzer.RecordCounts
	files    analyzer.FileCounts
	kept     int64
	repeated int64
	late     int64
	ticks    int
	sources  map[string]int64
}

func newWorld(t fataler, s *analyzer.Settings) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "keytrail-test-")
	require.NoError(t, err)
	l, err := lake.Open(filepath.Join(dir, "lake"))
	require.NoError(t, err)
	w := &world{t: t, dir: dir, lake: l, store: &memstore.Store{}, settings: s, sources: map[string]int64{}}
	w.analysis = pipeline.Analysis{Catalog: builtIn(), Settings: s, Threads: 1}
	return w
}

// keep puts findings and alerts into a file beside the lake, as the command does.
func (w *world) keep() {
	w.t.Helper()
	var err error
	w.bolt, err = store.Open(filepath.Join(w.dir, "state.db"), store.WithoutSync())
	require.NoError(w.t, err)
	w.store = w.bolt
}

// die ends the process without a word: nothing is closed but what the operating
// system closes.
func (w *world) die() {
	w.t.Helper()
	require.NoError(w.t, w.bolt.Close())
	l, err := lake.Open(w.lake.Root())
	require.NoError(w.t, err)
	w.lake = l
	w.keep()
}

func (w *world) close() {
	if w.bolt != nil {
		require.NoError(w.t, w.bolt.Close())
	}
	require.NoError(w.t, w.lake.Close())
	require.NoError(w.t, os.RemoveAll(w.dir))
}

// reopen lets go of the lake and takes it up again, as the next process does.
func (w *world) reopen() {
	w.t.Helper()
	require.NoError(w.t, w.lake.Close())
	l, err := lake.Open(w.lake.Root())
	require.NoError(w.t, err)
	w.lake = l
}

// ingest reads files into the lake as one run.
func (w *world) ingest(workers int, files ...[]byte) intake.Ingested {
	w.t.Helper()
	got, err := w.tryIngest(workers, files...)
	require.NoError(w.t, err)
	w.ingested.Add(got.Records)
	w.files.Read += got.Files.Read
	w.files.Rejected += got.Files.Rejected
	w.files.Skipped += got.Files.Skipped
	return got
}

func (w *world) tryIngest(workers int, files ...[]byte) (intake.Ingested, error) {
	w.t.Helper()
	w.runs++
	folder := filepath.Join(w.dir, fmt.Sprintf("files-%03d", w.runs))
	require.NoError(w.t, os.MkdirAll(folder, 0o700))
	for i, f := range files {
		require.NoError(w.t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("%03d.json", i)), f, 0o600))
	}
	in := intake.Ingest{Lake: w.lake, Run: fmt.Sprintf("run-%03d", w.runs), Events: w.analysis.Catalog.Events(), Workers: workers}
	return in.Paths(context.Background(), []string{folder})
}

// analyze runs what is pending and adds up what it says.
func (w *world) analyze() pipeline.Analyzed {
	w.t.Helper()
	got, err := w.tryAnalyze()
	require.NoError(w.t, err)
	w.kept += got.Counts.Kept
	w.repeated += got.Counts.Duplicate
	w.late += got.Counts.Late
	w.ticks += got.Ticks
	for source, n := range got.Counts.EventsBySource {
		w.sources[source] += n
	}
	return got
}

func (w *world) tryAnalyze() (pipeline.Analyzed, error) {
	a := w.analysis
	a.Lake, a.Store, a.Memory = w.lake, w.store, w.memory()
	return a.Run(context.Background())
}

func (w *world) memory() *memory.Dir { return memory.Open(filepath.Join(w.lake.Root(), "memory")) }

// reads tells whether a record is one that some detection or memory reads.
func (w *world) reads(e entry) bool {
	w.t.Helper()
	var name struct{ EventSource, EventName string }
	require.NoError(w.t, json.Unmarshal(e.text, &name))
	return slices.ContainsFunc(w.analysis.Catalog.Events(), func(n analyzer.EventName) bool { return n.Matches(name.EventSource, name.EventName) })
}

// findings returns what holds, by id, as programs would read it.
func (w *world) findings() map[string]any {
	w.t.Helper()
	out := map[string]any{}
	for _, f := range w.list() {
		out[f.Detection+" "+f.ID] = asJSON(w.t, f)
	}
	return out
}

// list returns the findings that hold.
func (w *world) list() []analyzer.Finding {
	w.t.Helper()
	var all []analyzer.Finding
	for _, d := range w.analysis.Catalog.Detections() {
		findings, err := w.store.Findings(context.Background(), d.ID, time.Time{})
		require.NoError(w.t, err)
		all = append(all, slices.DeleteFunc(findings, func(f analyzer.Finding) bool { return f.Status == analyzer.FindingWithdrawn })...)
	}
	return all
}

// shownAlert is what must be the same of an alert.
type shownAlert struct {
	ID, Detection, Key, Account string
	Severity                    analyzer.Severity
	Count                       int64
	FindingIDs                  []string
	First, Last                 time.Time
}

// alerts returns the alerts that have findings, by id.
func (w *world) alerts() map[string]shownAlert {
	w.t.Helper()
	records, err := w.store.Alerts(context.Background(), time.Time{})
	require.NoError(w.t, err)
	out := map[string]shownAlert{}
	for _, r := range records {
		if r.Successor != "" || r.Count == 0 && r.JudgedReason == "withdrawn" {
			continue
		}
		out[r.ID] = shownAlert{r.ID, r.Detection, r.Key, r.Account, r.Severity, r.Count, r.FindingIDs, r.FirstTime, r.LastTime}
	}
	return out
}

func asJSON(t fataler, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	var out any
	require.NoError(t, json.Unmarshal(text, &out))
	return out
}

// only switches all detections off but some.
func only(s *analyzer.Settings, ids ...string) {
	off := false
	s.Detections = map[string]analyzer.DetectionSettings{}
	for _, d := range builtIn().Detections() {
		if !slices.Contains(ids, d.ID) {
			s.Detections[d.ID] = analyzer.DetectionSettings{Enabled: &off}
		}
	}
}

// container is how records are put into a file.
type container int

const (
	asRecords container = iota
	asLines
	asEnvelopes // each as EventBridge brings it
	asGzip
	containers
)

func pack(kind container, entries []entry) []byte {
	var b bytes.Buffer
	switch kind {
	case asLines, asEnvelopes:
		for _, e := range entries {
			if kind == asLines {
				b.Write(e.text)
			} else {
				fmt.Fprintf(&b, `{"version":"0","id":"b-%s","detail-type":"AWS API Call via CloudTrail","source":"aws.kms","account":%q,"time":%q,"region":"us-east-1","resources":[],"detail":%s}`,
					e.id, e.account, e.at.Format(time.RFC3339), e.text)
			}
			b.WriteByte('\n')
		}
	default:
		b.WriteString(`{"Records":[`)
		for i, e := range entries {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(e.text)
		}
		b.WriteString(`]}`)
	}
	if kind != asGzip {
		return b.Bytes()
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(b.Bytes()) // a bytes.Buffer takes everything
	_ = w.Close()
	return z.Bytes()
}
