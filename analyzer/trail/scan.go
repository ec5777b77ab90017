package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

const (
	// rejectKept is how much of a rejected record is handed on.
	rejectKept = 64 << 10
	// foreignKept and foreignCut bound what is remembered of objects that are
	// not CloudTrail until it is known whether the file is.
	foreignKept = 100
	foreignCut  = 4 << 10
	// firstCheck is the size at which a record that is not at its end is looked
	// at for a missing bracket, and again at each doubling: that finds the end
	// of what can be trusted without reading anything more than twice.
	firstCheck = 16 << 10
)

// status is how the search for the end of a value ended.
type status int

const (
	closed status = iota
	cut           // the stream ended
	broken        // s.syntax says why; from s.from on it is worth to look for the next record
)

// scan reads one stream at a time. It holds the memory that is used again for
// the next.
type scan struct {
	handler Handler
	filter  *Filter
	limits  Limits

	ctx    context.Context //nolint:containedctx // of the one call of file
	fatal  error           // of the context
	name   string
	hint   FileHint
	named  bool // hint is what the name says
	counts Counts

	source inflater
	window window
	p      int // what comes next, in window.buf

	// The value that is being read. Its beginning is kept in the window.
	start      int // in window.buf; -1 when nothing is kept
	offset     int64
	cutting    bool   // it became too large and is not kept
	cutHead    []byte // its first bytes then
	candidates []candidate
	odd        bool // the candidates alone cannot tell what it is
	checkAt    int
	ending     status
	syntax     *jsonscan.SyntaxError
	from       int

	doc     jsonscan.Doc
	scratch []byte
	record  Record

	inArray    bool  // go on at the next record, not at the next line, if something is broken
	resumed    bool  // just now: no comma is expected
	gaveUp     bool  // the rest of the file is rejected already
	wasted     int64 // bytes that were scanned in vain
	containers int   // arrays of records seen, if only empty ones
	insights   int64
	digests    int64
	configs    int64
	foreign    []analyzer.Reject
	foreigners int64
	unlisted   int64 // rejects that are counted but not reported
	unlistedAt int64 // the offset of the last of them
}

// candidate is a quote that eventSource or eventName may follow, relative to
// the start of the value.
type candidate struct {
	at  int
	top bool // it opens a string at the top level of the object
}

// reading is how a file is read.
type reading struct {
	ahead bool      // inflate in a goroutine of its own
	read  func(int) // is told of bytes read, before inflating; may be nil
}

// file reads one stream to its end.
func (s *scan) file(ctx context.Context, name string, src io.Reader, how reading) (Counts, error) {
	s.ctx, s.fatal, s.name, s.counts = ctx, ctx.Err(), name, Counts{}
	s.hint, s.named = ParseObjectKey(name)
	s.start, s.inArray, s.resumed, s.gaveUp = -1, false, false, false
	s.containers, s.insights, s.digests, s.configs, s.foreigners = 0, 0, 0, 0, 0
	s.unlisted, s.unlistedAt = 0, 0
	s.foreign = nil
	s.p, s.wasted = 0, 0

	content := s.source.reset(src, s.limits, how.read)
	if how.ahead {
		ahead := newReadAhead(ctx, content)
		defer ahead.stop() // before the source is let go
		content = ahead
	}
	s.window.reset(content)
	verdict, err := s.open()
	if err == nil && verdict == "" {
		err = s.stream()
	}
	s.counts.Bytes = s.source.compressed.n.Load()
	s.counts.Inflated = s.window.offset(s.window.end)
	if err == nil {
		err = s.settle(verdict)
	}
	if err == nil && s.handler.Done != nil {
		err = s.handler.Done(name, s.counts)
	}
	s.ctx, s.window.src = nil, nil
	s.shrink()
	return s.counts, err
}

// stream reads document after document.
func (s *scan) stream() error {
	for {
		s.start, s.resumed = -1, false
		c, ok := s.next()
		if !ok {
			break
		}
		var err error
		switch {
		case c == '{':
			err = s.document()
		case c == '[':
			s.p++
			err = s.array(inBareArray, false)
		case c == ',' && s.counts.Records.Read > 0: // an array without its beginning
			err = s.array(inBareArray, true)
		case bytes.HasPrefix(s.window.buf[s.p:s.window.end], []byte(bom)):
			s.p += len(bom) // files put together by cat
		default:
			s.begin()
			err = s.lost(s.offset, fmt.Sprintf("unexpected %q between documents", c), s.p)
		}
		if err != nil {
			return err
		}
	}
	if s.fatal != nil {
		return s.fatal
	}
	if failure := s.window.failure(); failure != nil && !s.gaveUp {
		return s.reject(s.window.offset(s.window.end), describe(failure), nil)
	}
	return nil
}

// settle decides what the file was, once all of it is read.
func (s *scan) settle(verdict string) error {
	c := &s.counts
	some := c.Records.Read > 0
	if s.insights > 0 && some {
		c.Records.Read += s.insights
		c.Records.NotOfInterest += s.insights
		s.insights = 0
	}
	if verdict == "" && c.Records.Read == 0 && s.containers == 0 {
		verdict = s.nature()
	}
	if s.containers > 0 && c.Records.Read == 0 && s.insights > 0 {
		verdict = SkippedInsight
	}
	if verdict == SkippedJSON && s.named && s.hint.Kind == KindLog {
		if err := s.reject(0, "named as a CloudTrail log but holds other JSON", nil); err != nil {
			return err
		}
	}
	if some && s.foreigners > 0 {
		for _, r := range s.foreign {
			if err := s.reject(r.Offset, r.Reason, r.Record); err != nil {
				return err
			}
		}
		if more := s.foreigners - int64(len(s.foreign)); more > 0 {
			last := s.foreign[len(s.foreign)-1]
			reason := fmt.Sprintf("%d more objects after this one are not CloudTrail records", more)
			if err := s.reject(last.Offset, reason, nil); err != nil {
				return err
			}
			c.Records.Read += more - 1
			c.Records.Rejected += more - 1
		}
	}
	if s.unlisted > 0 {
		reason := fmt.Sprintf("%d more are rejected in this file and not listed; this is where the last one is", s.unlisted)
		if err := s.report(s.unlistedAt, reason, nil); err != nil {
			return err
		}
	}
	switch {
	case c.Records.Rejected > 0:
		c.Files.Rejected = 1
	case verdict != "":
		c.Files.Skipped = 1
		c.skip(verdict, 1)
	default:
		c.Files.Read = 1
	}
	return nil
}

// nature names what a file without any record was.
func (s *scan) nature() string {
	switch {
	case s.digests > 0:
		return SkippedDigest
	case s.configs > 0:
		return SkippedConfig
	case s.insights > 0:
		return SkippedInsight
	case s.foreigners > 0:
		return SkippedJSON
	}
	return SkippedEmpty
}

// next skips white space and returns the byte at p. When there is none,
// s.ending says why.
func (s *scan) next() (byte, bool) {
	for {
		w := &s.window
		for p := s.p; p < w.limit; p++ {
			if c := w.buf[p]; c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
				s.p = p
				return c, true
			}
		}
		s.p = w.limit
		if s.ending = s.grow(); s.ending != closed {
			return 0, false
		}
	}
}

func (s *scan) here() int64 { return s.window.offset(s.p) }

// more gets more of the stream; what is from start, or p, on is kept.
func (s *scan) more() bool {
	if s.fatal == nil {
		s.fatal = s.ctx.Err()
	}
	if s.fatal != nil {
		return false
	}
	keep := s.p
	if s.start >= 0 {
		keep = min(keep, s.start)
	}
	shift, ok := s.window.more(keep)
	if !ok { // it may have waited until the context ended
		s.fatal = s.ctx.Err()
	}
	s.p -= shift
	if s.start >= 0 {
		s.start -= shift
	}
	return ok
}

// begin says that a value begins at p.
func (s *scan) begin() {
	s.start, s.offset = s.p, s.here()
	s.cutting, s.odd = false, false
	s.candidates, s.cutHead = s.candidates[:0], s.cutHead[:0]
	s.checkAt = firstCheck
	s.syntax = nil
}

// grow gets more of the value that is being read, unless it is too large or
// turns out to be broken.
func (s *scan) grow() status {
	if s.start >= 0 {
		size := s.window.limit - s.start
		if size >= s.checkAt {
			s.checkAt = 2 * size
			if s.isBroken() {
				return broken
			}
		}
		if size > s.limits.MaxRecord {
			s.cutHead = append(s.cutHead[:0], s.window.buf[s.start:][:min(size, rejectKept)]...)
			s.cutting, s.start = true, -1
		}
	}
	if !s.more() {
		if s.start >= 0 && s.fatal == nil && s.isBroken() {
			return broken
		}
		return cut
	}
	return closed
}

// isBroken tells whether what is there of the value shows that brackets or
// quotes are missing, and that reading can go on at a later place.
func (s *scan) isBroken() bool {
	w := &s.window
	err := s.doc.ParseIndexed(w.buf[s.start:w.limit], w.blocks, s.start-w.origin)
	if !errors.As(err, &s.syntax) || !s.syntax.Lost {
		return false
	}
	s.from = s.suspect(s.syntax)
	return s.resumption(s.from, s.window.end) >= 0
}

// suspect returns from where on in the window the value that err is about may
// be another: a quote that is missing shows only at the next one, which may
// belong to the next record's first key.
func (s *scan) suspect(err *jsonscan.SyntaxError) int {
	return s.start + max(1, err.Offset-resumeAhead)
}

// brackets goes from p, which is at an opening bracket, to behind the one that
// closes it. Before the first, depth brackets are open.
func (s *scan) brackets(depth int) status {
	w := &s.window
	outside := depth
	bit := (s.p - w.origin) % jsonscan.BlockSize
	pos := s.p - bit // of the block that is looked at
	mask := ^uint64(0) << bit
	for {
		blocks := w.blocks[(pos-w.origin)/jsonscan.BlockSize:]
		for i := range blocks {
			b := &blocks[i]
			opens, closes := b.Open&mask, b.Close&mask
			candidates, escapes := b.Candidate&mask, b.Escape&mask
			mask = ^uint64(0)

			closing := bits.OnesCount64(closes)
			if depth-closing > outside { // the end is not in here
				if candidates != 0 {
					s.remember(pos, b, opens, closes, candidates, depth)
				}
				if escapes != 0 && depth-closing <= 1 {
					s.escapes(opens, closes, escapes, depth)
				}
				depth += bits.OnesCount64(opens) - closing
				s.odd = s.odd || depth > s.limits.MaxDepth
				pos += jsonscan.BlockSize
				continue
			}
			for at, m := depth, opens|closes; m != 0; m &= m - 1 {
				if m&-m&opens != 0 {
					at++
					continue
				}
				if at--; at == outside {
					inside := m&-m - 1
					if candidates &= inside; candidates != 0 {
						s.remember(pos, b, opens, closes, candidates, depth)
					}
					s.escapes(opens, closes, escapes&inside, depth)
					s.p = pos + bits.TrailingZeros64(m) + 1
					return closed
				}
			}
			if candidates != 0 {
				s.remember(pos, b, opens, closes, candidates, depth)
			}
			s.escapes(opens, closes, escapes, depth)
			depth += bits.OnesCount64(opens) - closing
			s.odd = s.odd || depth > s.limits.MaxDepth
			pos += jsonscan.BlockSize
		}
		s.p = w.limit
		if st := s.grow(); st != closed {
			return st
		}
		pos = s.p
	}
}

// remember notes the candidates of a block for judging them when the record
// is there as a whole.
func (s *scan) remember(pos int, b *jsonscan.Block, opens, closes, candidates uint64, depth int) {
	for ; candidates != 0; candidates &= candidates - 1 {
		bit := bits.TrailingZeros64(candidates)
		before := uint64(1)<<bit - 1
		at := depth + bits.OnesCount64(opens&before) - bits.OnesCount64(closes&before)
		if s.start < 0 || len(s.candidates) >= 16 {
			s.odd = true
			return
		}
		s.candidates = append(s.candidates, candidate{
			at:  pos + bit - s.start,
			top: at == 1 && b.String>>bit&1 == 1,
		})
	}
}

// escapes marks the record when there is a backslash at its top level: it may
// be in a key.
func (s *scan) escapes(opens, closes, escapes uint64, depth int) {
	for ; escapes != 0 && !s.odd; escapes &= escapes - 1 {
		before := escapes&-escapes - 1
		s.odd = depth+bits.OnesCount64(opens&before)-bits.OnesCount64(closes&before) <= 1
	}
}

// quick returns eventSource and eventName of a whole record by its candidates.
// ok is false when it takes a closer look to know them.
func (s *scan) quick(record []byte) (source, name []byte, ok bool) {
	if s.odd {
		return nil, nil, false
	}
	for _, c := range s.candidates {
		text := record[c.at:]
		var value *[]byte
		switch {
		case bytes.HasPrefix(text, []byte(`"eventSource"`)):
			text, value = text[len(`"eventSource"`):], &source
		case bytes.HasPrefix(text, []byte(`"eventName"`)):
			text, value = text[len(`"eventName"`):], &name
		default:
			continue
		}
		if !c.top {
			return nil, nil, false // nested, or in what should be no string
		}
		if text = trimSpace(text); text[0] != ':' {
			continue // a value
		}
		if text = trimSpace(text[1:]); text[0] != '"' {
			return nil, nil, false
		}
		end := bytes.IndexByte(text[1:], '"')
		if end < 0 {
			return nil, nil, false
		}
		*value = text[1 : end+1]
	}
	return source, name, len(source) > 0 && len(name) > 0
}

// trimSpace leaves at least one byte: records end with a bracket.
func trimSpace(b []byte) []byte {
	for len(b) > 1 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\r' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// text goes from the quote at p to behind the string and returns what is
// between the quotes. When nothing is kept it may have been lost.
func (s *scan) text() (text []byte, st status) {
	w := &s.window
	quote := s.here() // positions move
	for pos := s.p + 1; ; {
		for pos < w.limit {
			bit := pos - w.origin
			if ends := ^w.blocks[bit/jsonscan.BlockSize].String >> (bit % jsonscan.BlockSize); ends != 0 {
				if pos += bits.TrailingZeros64(ends); pos < w.limit {
					s.p = pos + 1
					if s.start >= 0 {
						text = w.buf[int(quote-w.base)+1 : pos]
					}
					return text, closed
				}
				break
			}
			pos += jsonscan.BlockSize - bit%jsonscan.BlockSize
		}
		s.p = w.limit
		if st := s.grow(); st != closed {
			return nil, st
		}
		pos = s.p
	}
}

// scalar goes behind a number or literal, or whatever stands in its place.
func (s *scan) scalar() status {
	for {
		w := &s.window
		for ; s.p < w.limit; s.p++ {
			switch w.buf[s.p] {
			case ',', ']', '}', '{', '[', '"', ' ', '\t', '\n', '\r':
				return closed
			}
		}
		if st := s.grow(); st != closed {
			return st
		}
	}
}

// value goes behind the value that begins with c at p.
func (s *scan) value(c byte, depth int) status {
	switch c {
	case '{', '[':
		return s.brackets(depth)
	case '"':
		_, st := s.text()
		return st
	}
	return s.scalar()
}

// shrink gives back memory that an uncommonly large record took.
func (s *scan) shrink() {
	if s.doc.Size() > windowKept {
		s.doc = jsonscan.Doc{MaxDepth: s.doc.MaxDepth, Known: s.doc.Known}
	}
	if cap(s.scratch) > windowKept {
		s.scratch = nil
	}
	if len(s.window.buf) > max(windowKept, s.window.size) {
		s.window.buf, s.window.blocks = nil, nil
	}
	s.foreign, s.syntax = nil, nil
	s.record = Record{}
}
