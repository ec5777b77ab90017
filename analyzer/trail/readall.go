package trail

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/keytrail/keytrail/analyzer"
)

// All says how to read many files.
type All struct {
	// Workers is how many files are read at once; 0 means as many as there are
	// processors.
	Workers int
	// Handler makes the handler of one worker, 0 to Workers-1. A handler is
	// called by its worker only, so that what it gathers needs no locks. A file
	// is read by one worker from beginning to end.
	Handler func(worker int) Handler
	// Progress is told how far the reading is, from one goroutine at a time,
	// after each file and every few MiB. It may be nil.
	Progress func(Progress)
}

// Progress is how far the reading is. Bytes are counted as stored.
type Progress struct {
	Files, TotalFiles int
	Bytes, TotalBytes int64
}

const (
	// aheadFrom is the size from which on a last file is inflated by another
	// processor than the one that scans it.
	aheadFrom = 1 << 20
	// progressEvery is how many bytes pass between two reports.
	progressEvery = 4 << 20
)

// ReadAll reads files in parallel. The files are begun in the order of inputs.
// A file that cannot be opened is rejected like one that cannot be read. The
// error is the context's or the first of a handler's.
func (r *Reader) ReadAll(ctx context.Context, inputs []Input, all All) (Counts, error) {
	workers := all.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	track := tracker{fn: all.Progress}
	track.now.TotalFiles = len(inputs)
	for _, in := range inputs {
		track.now.TotalBytes += in.Size
	}

	var (
		next  atomic.Int64
		mu    sync.Mutex
		total Counts
	)
	group, ctx := errgroup.WithContext(ctx)
	for worker := range min(workers, len(inputs)) {
		group.Go(func() error {
			var h Handler
			if all.Handler != nil {
				h = all.Handler(worker)
			}
			s := r.scan(h)
			defer r.release(s)
			var sum Counts
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				total.Add(sum)
			}()
			for {
				i := int(next.Add(1)) - 1
				if i >= len(inputs) {
					return nil
				}
				// With the last file, the other processors have nothing to do.
				ahead := workers > 1 && i == len(inputs)-1 && inputs[i].Size >= aheadFrom
				counts, err := s.input(ctx, inputs[i], reading{ahead: ahead, read: track.read()})
				sum.Add(counts)
				if err != nil {
					return err
				}
				track.file()
			}
		})
	}
	err := group.Wait()
	return total, err
}

// input opens and reads one input.
func (s *scan) input(ctx context.Context, in Input, how reading) (counts Counts, err error) {
	open := in.Open
	if open == nil {
		open = func() (io.ReadCloser, error) { return os.Open(in.Name) }
	}
	var src io.ReadCloser
	if in.pipe {
		src, err = newPatient(ctx, open)
	} else {
		src, err = open()
	}
	if err != nil {
		return s.unopened(ctx, in.Name, err)
	}
	defer src.Close() //nolint:errcheck // only read
	return s.file(ctx, in.Name, src, how)
}

// unopened rejects a file that cannot be opened.
func (s *scan) unopened(ctx context.Context, name string, cause error) (counts Counts, err error) {
	if err := ctx.Err(); err != nil {
		return counts, err
	}
	counts.Files.Rejected = 1
	counts.Records = analyzer.RecordCounts{Read: 1, Rejected: 1}
	if s.handler.Reject != nil {
		err = s.handler.Reject(analyzer.Reject{File: name, Reason: fmt.Sprintf("cannot be opened: %v", cause)})
	}
	if err == nil && s.handler.Done != nil {
		err = s.handler.Done(name, counts)
	}
	return counts, err
}

// tracker reports progress.
type tracker struct {
	fn    func(Progress)
	bytes atomic.Int64

	mu  sync.Mutex
	now Progress
}

// read returns what is to be told of bytes read.
func (t *tracker) read() func(int) {
	if t.fn == nil {
		return nil
	}
	return func(n int) {
		after := t.bytes.Add(int64(n))
		if after/progressEvery != (after-int64(n))/progressEvery {
			t.report(0)
		}
	}
}

func (t *tracker) file() {
	if t.fn != nil {
		t.report(1)
	}
}

func (t *tracker) report(files int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Files += files
	t.now.Bytes = t.bytes.Load()
	t.fn(t.now)
}
