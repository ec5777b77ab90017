// Package intake reads logs into a lake: files of any number in parallel, each
// record normalised into an event, what cannot be read into quarantine. It does
// not link DuckDB.
package intake

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/normalise"
	"github.com/keytrail/keytrail/analyzer/policy"
	"github.com/keytrail/keytrail/analyzer/trail"
)

// MemoryEvents are what memory reads although no detection may: what says how
// keys, aliases, grants and trails are.
var MemoryEvents = []analyzer.EventName{
	{Source: "kms.amazonaws.com", Name: "*"},
	{Source: "cloudtrail.amazonaws.com", Name: "CreateTrail"},
	{Source: "cloudtrail.amazonaws.com", Name: "UpdateTrail"},
	{Source: "cloudtrail.amazonaws.com", Name: "DeleteTrail"},
	{Source: "cloudtrail.amazonaws.com", Name: "PutEventSelectors"},
	{Source: "cloudtrail.amazonaws.com", Name: "StartLogging"},
	{Source: "cloudtrail.amazonaws.com", Name: "StopLogging"},
}

// keptRejects is how many rejects a run remembers for its summary; all of them
// go to quarantine.
const keptRejects = 100

// Ingest reads logs into a lake.
type Ingest struct {
	Lake   *lake.Lake
	Run    string // names the run's objects and its quarantine file; unique in the lake
	Events []analyzer.EventName
	// Workers is how many files are read at once; 0 means one a processor.
	Workers int
	Limits  trail.Limits
	// Reject, when set, is told of each reject, by one goroutine at a time.
	Reject func(analyzer.Reject) error
	// Progress, when set, is told how many of how many stored bytes are read.
	Progress func(done, total int64)
}

// Ingested accounts for what was read.
type Ingested struct {
	Files          analyzer.FileCounts
	Records        analyzer.RecordCounts
	EventsBySource map[string]int64  // rows written, repeated ones included
	Skipped        map[string]int64  // files, by reason
	Rejects        []analyzer.Reject // the first ones
	RejectCount    int64
	Objects        int
}

// worker is what one reading goroutine owns.
type worker struct {
	normaliser *normalise.Normaliser
	writer     *lake.Writer
	event      analyzer.Event
	unplaced   int64 // records that passed as JSON but are no events

	// A file is read by one worker from beginning to end. One whose only rejects
	// are unplaced records was read without fault as far as the reader knows.
	file           string
	faulty, misfit bool  // of the file: the reader rejected something, a record had no place
	misfits        int64 // files that only hold unplaced records
}

// begin notes that something comes from a file.
func (w *worker) begin(file string) {
	if file == w.file {
		return
	}
	w.end()
	w.file = file
}

// end closes the account of the file that was read.
func (w *worker) end() {
	if w.misfit && !w.faulty {
		w.misfits++
	}
	w.file, w.faulty, w.misfit = "", false, false
}

// rejects gathers what could not be read, from all workers.
type rejects struct {
	mu         sync.Mutex
	quarantine *lake.Quarantine
	tell       func(analyzer.Reject) error
	first      []analyzer.Reject
	count      int64
}

func (r *rejects) add(rej analyzer.Reject) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	if len(r.first) < keptRejects {
		kept := rej
		kept.Record = nil
		r.first = append(r.first, kept)
	}
	if r.tell != nil {
		if err := r.tell(rej); err != nil {
			return err
		}
	}
	return r.quarantine.Add(rej)
}

// Paths reads everything that the paths stand for and commits it to the lake as
// one batch, which exists as a whole or not at all.
func (in *Ingest) Paths(ctx context.Context, paths []string) (Ingested, error) {
	listing, err := trail.Expand(paths)
	if err != nil {
		return Ingested{}, err
	}
	res, err := in.Inputs(ctx, listing.Inputs)
	res.Files.Skipped += listing.Skipped.Files.Skipped
	for reason, n := range listing.Skipped.Skipped {
		res.Skipped[reason] += n
	}
	return res, err
}

// Inputs reads the inputs and commits them to the lake as one batch, which
// exists as a whole or not at all. When nothing was kept there is no batch.
func (in *Ingest) Inputs(ctx context.Context, inputs []trail.Input) (res Ingested, err error) {
	res = Ingested{EventsBySource: map[string]int64{}, Skipped: map[string]int64{}}
	quarantine, err := in.Lake.Quarantine(in.Run)
	if err != nil {
		return res, err
	}
	rej := &rejects{quarantine: quarantine, tell: in.Reject}
	defer func() {
		_, _, closeErr := quarantine.Close()
		err = errors.Join(err, closeErr)
	}()

	count := in.Workers
	if count <= 0 {
		count = runtime.GOMAXPROCS(0)
	}
	count = max(min(count, len(inputs)), 1)
	workers := make([]*worker, count)
	for i := range workers {
		w, err := in.Lake.NewWriter(lake.WriterOptions{Name: fmt.Sprintf("%s-%d", in.Run, i)})
		if err != nil {
			return res, err
		}
		workers[i] = &worker{normaliser: normalise.New(normalise.WithPolicyJudge(policy.Apply)), writer: w}
	}
	reader := trail.Reader{Filter: trail.NewFilter(in.Events), Limits: in.Limits}
	counts, err := reader.ReadAll(ctx, inputs, trail.All{
		Workers: count,
		Handler: func(i int) trail.Handler {
			w := workers[i]
			reject := func(r analyzer.Reject) error {
				w.begin(r.File)
				w.faulty = true
				return rej.add(r)
			}
			return trail.Handler{Reject: reject, Record: func(r *trail.Record) error { return w.record(r, rej) }}
		},
		Progress: func(p trail.Progress) {
			if in.Progress != nil {
				in.Progress(p.Bytes, p.TotalBytes)
			}
		},
	})
	res.Files, res.Records = counts.Files, counts.Records
	for reason, n := range counts.Skipped {
		res.Skipped[reason] += n
	}
	if err != nil {
		return res, err
	}
	batch := lake.Batch{Name: in.Run, Sources: res.EventsBySource}
	objects, err := finish(workers)
	if err != nil {
		return res, err
	}
	for i, w := range workers {
		batch.Objects = append(batch.Objects, objects[i]...)
		for source, n := range w.writer.Sources() {
			res.EventsBySource[source] += n
		}
		res.Records.Kept -= w.unplaced
		res.Records.Rejected += w.unplaced
		w.end()
		res.Files.Read -= w.misfits
		res.Files.Rejected += w.misfits
	}
	res.Rejects, res.RejectCount, res.Objects = rej.first, rej.count, len(batch.Objects)
	batch.Files, batch.Records = res.Files, res.Records
	if len(batch.Objects) == 0 {
		return res, nil
	}
	return res, in.Lake.Commit(ctx, batch)
}

// finish closes the writers, all at once: each has its last row groups to write.
func finish(workers []*worker) ([][]analyzer.Object, error) {
	objects := make([][]analyzer.Object, len(workers))
	var group errgroup.Group
	for i, w := range workers {
		group.Go(func() (err error) {
			objects[i], err = w.writer.Close()
			return err
		})
	}
	return objects, group.Wait()
}

// record normalises one record and writes it. A record that cannot be placed is
// rejected; only a failing lake ends the run.
func (w *worker) record(r *trail.Record, rej *rejects) error {
	hint := normalise.Hint{}
	if r.Hint != nil {
		hint = normalise.Hint{Account: r.Hint.Account, Region: r.Hint.Region}
	}
	err := w.normaliser.Record(r.Doc.Root(), hint, &w.event)
	if err == nil {
		err = w.writer.Add(&w.event)
	}
	if errors.Is(err, normalise.ErrIncomplete) || errors.Is(err, lake.ErrNoTime) {
		w.unplaced++
		w.begin(r.File)
		w.misfit = true
		return rej.add(analyzer.Reject{File: r.File, Offset: r.Offset, Reason: err.Error(), Record: r.Data})
	}
	return err
}
