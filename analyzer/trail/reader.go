package trail

import (
	"context"
	"io"
	"sync"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// Record is one CloudTrail record as it stands in the log. All of it is valid
// during the callback only: copy what must last.
type Record struct {
	// Data is the record: one JSON object, valid JSON and UTF-8.
	Data []byte
	// Doc has the places of the values in Data.
	Doc *jsonscan.Doc
	// Source and Name are eventSource and eventName.
	Source, Name []byte
	// File and Offset, in the inflated stream, say where the record begins. A
	// record out of a string (lookup-events) has the offset of the object that
	// the string is in.
	File   string
	Offset int64
	// Hint is what the name of the file says; empty when it says nothing.
	Hint *FileHint
}

// Handler takes what a file gives, one call after the other. Functions may be
// nil. An error from one of them ends the reading and is returned as it is.
type Handler struct {
	Record func(*Record) error
	// Reject is told of what could not be read. Reject.Record is cut at 64 KiB.
	// Of one file, 1,000 rejects are told; a last one gives the number of the
	// others.
	Reject func(analyzer.Reject) error
	// Done is called after each file with its counts.
	Done func(file string, counts Counts) error
}

// Reader reads logs. The zero Reader keeps every record, within the default
// limits. It may be used by many goroutines; its fields must not change then.
type Reader struct {
	Filter *Filter
	Limits Limits

	scans  sync.Pool
	window int // size of the window at first, for tests
}

// Read reads one input to its end. name is for rejects, records and the hint
// that it may give; r is read as far as it goes. The error is the context's or
// the handler's: what is wrong with the input is rejected and counted.
func (r *Reader) Read(ctx context.Context, name string, src io.Reader, h Handler) (Counts, error) {
	s := r.scan(h)
	defer r.release(s)
	return s.file(ctx, name, src, reading{})
}

func (r *Reader) scan(h Handler) *scan {
	s, _ := r.scans.Get().(*scan)
	if s == nil {
		s = &scan{}
		s.doc.Known = jsonscan.NewKnown()
	}
	s.window.size = r.window
	s.handler, s.filter, s.limits = h, r.Filter, r.Limits.withDefaults()
	s.doc.MaxDepth = s.limits.MaxDepth
	return s
}

func (r *Reader) release(s *scan) {
	s.handler = Handler{}
	s.source.release()
	r.scans.Put(s)
}
