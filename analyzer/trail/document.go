package trail

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// container is what an object was found in.
type container int

const (
	alone       container = iota // a document of its own
	inRecords                    // {"Records":[…]}
	inEvents                     // {"Events":[…]} of lookup-events
	inBareArray                  // […]
	unwrapped                    // out of an envelope
)

const (
	// maxRejects is how many rejects of one file are reported one by one: a
	// file of a million broken things must not fill the disk with reports.
	maxRejects = 1000
	// resumeAhead is how far "eventVersion" may be behind its bracket: no
	// pretty-printer indents further.
	resumeAhead = 64
	// maxWaste and maxWasteRatio bound the bytes that are scanned again because
	// of what is broken.
	maxWaste      = 64 << 20
	maxWasteRatio = 64
)

// document reads the object at p: a container of records, or one record. The
// members are gone through one by one, because an array of records must be
// read as a stream, whatever comes before it.
func (s *scan) document() error {
	s.begin()
	if s.startsWithKey("eventVersion") { // as records do, and no container
		return s.element(s.brackets(0), alone)
	}
	doc := s.offset
	container, tooLarge := false, false // seen one; it, or one of its members
	wrong := func(reason string) error {
		return s.lost(doc, "invalid JSON: "+reason, max(s.start+1, s.p-resumeAhead))
	}
	ended := func(st status) error {
		if container && st == cut {
			return s.cutOff(s.here(), "the file ends inside a JSON object", nil)
		}
		return s.element(st, alone)
	}

	s.p++
	for first := true; ; first = false {
		c, ok := s.next()
		if !ok {
			return ended(s.ending)
		}
		if c == '}' {
			s.p++
			break
		}
		if !first {
			if c != ',' {
				return wrong("expected a comma or the end of an object")
			}
			s.p++
			if c, ok = s.next(); !ok {
				return ended(s.ending)
			}
		}
		if c != '"' {
			return wrong("expected a key")
		}
		if s.start < 0 { // behind a container, or in an object that is too large
			tooLarge = tooLarge || s.cutting
			s.begin()
		}
		key, st := s.text()
		if st != closed {
			return ended(st)
		}
		kind := alone
		switch string(key) {
		case "Records":
			kind = inRecords
		case "Events":
			kind = inEvents
		}
		if c, ok = s.next(); !ok {
			return ended(s.ending)
		}
		if c != ':' {
			return wrong("expected a colon")
		}
		s.p++
		if c, ok = s.next(); !ok {
			return ended(s.ending)
		}
		if c == '[' && kind != alone {
			container = true
			s.start = -1
			s.p++
			if err := s.array(kind, false); err != nil {
				return err
			}
			continue
		}
		if st := s.value(c, 1); st != closed {
			return ended(st)
		}
		if container {
			s.start = -1
		}
	}
	tooLarge = tooLarge || s.cutting
	switch {
	case container:
		return nil
	case tooLarge:
		return s.reject(doc, s.tooLarge(), s.cutHead)
	}
	s.odd = true // its own keys were not looked at for candidates
	return s.element(closed, alone)
}

// startsWithKey tells whether the first key of the object at p is this one.
func (s *scan) startsWithKey(key string) bool {
	w := &s.window
	text := w.buf[s.p+1 : min(s.p+64, w.end)]
	if len(text) > 0 {
		text = trimSpace(text)
	}
	return len(text) > len(key)+1 && text[0] == '"' && string(text[1:len(key)+1]) == key && text[len(key)+1] == '"'
}

// array reads the elements of an array to behind its end; p is behind its
// opening bracket or, when it has begun already, behind one of its elements.
func (s *scan) array(in container, begun bool) error {
	if in != inBareArray {
		s.containers++
	}
	outer := s.inArray
	s.inArray, s.resumed = true, false
	defer func() { s.inArray = outer }()

	for comma := begun; ; {
		c, ok := s.next()
		switch {
		case !ok || !comma || c == ']':
		case c == ',':
			s.p++
			if c, ok = s.next(); ok && c == ']' {
				if err := s.reject(s.here(), "a comma with no record behind it", nil); err != nil {
					return err
				}
			}
		case c == '{':
			if err := s.reject(s.here(), "a comma is missing before this record", nil); err != nil {
				return err
			}
		default:
			c = 0
		}
		if !ok {
			return s.cutOff(s.here(), "the file ends inside an array of records", nil)
		}
		if c == ']' {
			s.p++
			return nil
		}
		s.begin()
		var err error
		switch {
		case c == '{':
			err = s.element(s.brackets(0), in)
		case c == '"', c == '[', c == '-', c >= '0' && c <= '9', c >= 'a' && c <= 'z':
			err = s.notAnObject(s.value(c, 0), in)
		default:
			err = s.lost(s.offset, fmt.Sprintf("unexpected %q between records", s.window.buf[s.p]), s.p)
		}
		if err != nil {
			return err
		}
		s.start = -1
		comma, s.resumed = !s.resumed, false
	}
}

// element takes the object from start to p, or deals with what st says that
// there is in its place.
func (s *scan) element(st status, in container) error {
	w := &s.window
	switch {
	case st == cut:
		return s.cutOff(s.offset, "the file ends inside a record", s.kept())
	case st == broken:
		return s.lost(s.offset, invalid(s.syntax), s.from)
	case s.cutting:
		return s.reject(s.offset, s.tooLarge(), s.cutHead)
	}
	record := w.buf[s.start:s.p]
	source, name, known := s.quick(record)
	if known && !s.filter.Wants(source, name) {
		s.counts.Records.Read++
		s.counts.Records.NotOfInterest++
		s.start = -1
		return nil
	}
	if err := s.doc.ParseIndexed(record, w.blocks, s.start-w.origin); err != nil {
		var syntax *jsonscan.SyntaxError
		errors.As(err, &syntax)
		if syntax.Lost {
			from := s.suspect(syntax)
			if s.resumption(from, s.p) >= 0 || record[len(record)-1] != '}' {
				return s.lost(s.offset, invalid(syntax), from)
			}
		}
		defer func() { s.start = -1 }()
		return s.reject(s.offset, invalid(syntax), record)
	}
	s.start = -1
	if known {
		return s.deliver(record, source, name, s.doc.Root().Get("eventTime"), s.offset)
	}
	return s.judge(record, s.offset, in)
}

// notAnObject counts an element of an array that cannot be a record.
func (s *scan) notAnObject(st status, in container) error {
	switch {
	case s.start >= 0 && s.window.buf[s.start] == '[' && s.resumption(s.start+1, s.p) >= 0:
		return s.lost(s.offset, "a bracket before this record", s.start+1)
	case st == cut:
		return s.cutOff(s.offset, "the file ends inside an array of records", s.kept())
	case st == broken:
		return s.lost(s.offset, invalid(s.syntax), s.from)
	case in == inRecords:
		return s.reject(s.offset, "not a record: it is no JSON object", s.kept())
	}
	s.notCloudTrail(s.offset, s.kept())
	return nil
}

// kept returns what there is of the value from start to p.
func (s *scan) kept() []byte {
	if s.start < 0 {
		return s.cutHead[:min(len(s.cutHead), rejectKept)]
	}
	return s.window.buf[s.start:s.p]
}

func (s *scan) tooLarge() string {
	return fmt.Sprintf("larger than %d bytes, which is more than any CloudTrail record", s.limits.MaxRecord)
}

func invalid(err *jsonscan.SyntaxError) string {
	return "invalid JSON: " + err.Error() + " of the record"
}

// cutOff rejects what the end of the stream has cut off.
func (s *scan) cutOff(offset int64, reason string, data []byte) error {
	if s.fatal != nil {
		return s.fatal
	}
	if s.gaveUp {
		return nil
	}
	if failure := s.window.failure(); failure != nil {
		reason = describe(failure) + " (" + reason + ")"
	}
	return s.giveUp(offset, reason, data)
}

// lost rejects what begins at offset, where brackets or quotes are missing,
// and goes on at the next place at or after from, in the window, where a
// record or document surely begins.
func (s *scan) lost(offset int64, reason string, from int) error {
	w := &s.window
	if s.fatal != nil {
		return s.fatal
	}
	found := s.resumption(from, w.end)
	if s.start >= 0 {
		end := w.end
		if found >= 0 {
			end = found
		}
		s.cutHead = append(s.cutHead[:0], w.buf[s.start:min(end, s.start+rejectKept)]...)
	}
	for found < 0 {
		// What may be the beginning of one stays.
		from = max(from, w.end-resumeAhead)
		s.start, s.p = -1, min(from, w.limit)
		ahead := from - s.p
		if !s.more() {
			if s.fatal != nil {
				return s.fatal
			}
			s.p = w.limit
			return s.giveUp(offset, reason+"; the rest of the file is given up", s.cutHead)
		}
		from = s.p + ahead
		found = s.resumption(from, w.end)
	}
	// What was indexed and scanned beyond is done again. That is bounded, so
	// that nobody can make a file of which each byte costs thousands.
	s.wasted += int64(max(0, w.limit-found))
	if s.wasted > maxWaste+maxWasteRatio*w.offset(found) {
		w.restart(w.end)
		w.err = io.EOF
		s.start, s.p = -1, w.end
		return s.giveUp(offset, reason+"; so much is broken that the rest of the file is given up", s.cutHead)
	}
	w.restart(found)
	s.start, s.p, s.resumed = -1, found, true
	return s.reject(offset, reason, s.cutHead)
}

// resumption returns where in the window, from from to before to, a record or
// document surely begins, or -1: at a bracket that begins a line, but in an
// array at one that stands before "eventVersion" only, as CloudTrail begins its
// records. In JSON line feeds and quotes inside of strings are escaped, so
// neither can be text.
func (s *scan) resumption(from, to int) int {
	w := &s.window
	for from < to {
		i := bytes.IndexByte(w.buf[from:to], '{')
		if i < 0 {
			return -1
		}
		i += from
		from = i + 1
		if !s.inArray && i > 0 && w.buf[i-1] == '\n' {
			return i
		}
		text := w.buf[i+1 : min(i+resumeAhead, w.end)]
		for len(text) > 0 && isSpace(text[0]) {
			text = text[1:]
		}
		if bytes.HasPrefix(text, []byte(`"eventVersion"`)) {
			return i
		}
	}
	return -1
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// judge decides what the object in s.doc is; data is its text.
func (s *scan) judge(data []byte, offset int64, in container) error {
	var source, name, eventTime, detail, detailType, wrapped, digest, config jsonscan.Value
	insight, marked := false, false
	for m := s.doc.Root().Members(); m.Next(); {
		v := m.Value()
		switch string(m.Key()) {
		case "eventSource":
			source, marked = v, true
		case "eventName":
			name, marked = v, true
		case "eventTime":
			eventTime, marked = v, true
		case "eventVersion", "eventID", "userIdentity", "awsRegion":
			marked = true
		case "insightDetails":
			insight = true
		case "eventCategory":
			insight = insight || string(v.Bytes()) == "Insight"
		case "detail":
			detail = v
		case "detail-type":
			detailType = v
		case "CloudTrailEvent":
			wrapped = v
		case "digestStartTime":
			digest = v
		case "configurationItems", "configSnapshotId":
			config = v
		}
	}
	switch {
	case len(source.Bytes()) > 0 && len(name.Bytes()) > 0:
		if !s.filter.Wants(source.Bytes(), name.Bytes()) {
			s.counts.Records.Read++
			s.counts.Records.NotOfInterest++
			return nil
		}
		return s.deliver(data, source.Bytes(), name.Bytes(), eventTime, offset)
	case insight:
		s.insights++
		return nil
	case in != unwrapped && detail.Kind() == jsonscan.Object && detailType.Kind() == jsonscan.String:
		return s.unwrap(detail.Raw(), offset+int64(detail.Offset()), offset, data)
	case in != unwrapped && wrapped.Kind() == jsonscan.String:
		s.scratch = append(s.scratch[:0], wrapped.Bytes()...)
		return s.unwrap(s.scratch, offset, offset, data)
	case in == inRecords || marked:
		return s.reject(offset, "not a CloudTrail record: "+missing(source, name), data)
	case digest.Kind() != jsonscan.Missing:
		s.digests++
	case config.Kind() != jsonscan.Missing:
		s.configs++
	default:
		s.notCloudTrail(offset, data)
	}
	return nil
}

func missing(source, name jsonscan.Value) string {
	switch {
	case len(source.Bytes()) > 0:
		return "it has no eventName"
	case len(name.Bytes()) > 0:
		return "it has no eventSource"
	}
	return "it has neither eventSource nor eventName"
}

// unwrap reads a record that an envelope carries; whole is the envelope, which
// begins at outer.
func (s *scan) unwrap(record []byte, offset, outer int64, whole []byte) error {
	err := s.doc.Parse(record)
	var syntax *jsonscan.SyntaxError
	if errors.As(err, &syntax) {
		return s.reject(outer, "in CloudTrailEvent: "+invalid(syntax), whole)
	}
	if root := s.doc.Root(); root.Kind() != jsonscan.Object {
		return s.reject(outer, "the CloudTrailEvent is no JSON object", whole)
	}
	return s.judge(record, offset, unwrapped)
}

// deliver hands a record on that is wanted and valid, unless it lacks its time.
func (s *scan) deliver(data, source, name []byte, eventTime jsonscan.Value, offset int64) error {
	if len(eventTime.Bytes()) == 0 {
		return s.reject(offset, "not a CloudTrail record: it has no eventTime", data)
	}
	s.counts.Records.Read++
	s.counts.Records.Kept++
	if s.handler.Record == nil {
		return nil
	}
	s.record = Record{Data: data, Doc: &s.doc, Source: source, Name: name, File: s.name, Offset: offset, Hint: &s.hint}
	return s.handler.Record(&s.record)
}

// notCloudTrail remembers an object that is no record until it is known
// whether the file has any.
func (s *scan) notCloudTrail(offset int64, data []byte) {
	s.foreigners++
	if len(s.foreign) < foreignKept {
		s.foreign = append(s.foreign, analyzer.Reject{
			File: s.name, Offset: offset, Reason: "JSON that is not a CloudTrail record",
			Record: append([]byte(nil), data[:min(len(data), foreignCut)]...),
		})
	}
}

// giveUp rejects the rest of the file. This is always reported.
func (s *scan) giveUp(offset int64, reason string, data []byte) error {
	s.gaveUp = true
	s.counts.Records.Read++
	s.counts.Records.Rejected++
	return s.report(offset, reason, data)
}

// reject counts what could not be read, and reports it unless there was too
// much of it already.
func (s *scan) reject(offset int64, reason string, data []byte) error {
	s.counts.Records.Read++
	s.counts.Records.Rejected++
	if s.counts.Records.Rejected > maxRejects {
		s.unlisted, s.unlistedAt = s.unlisted+1, max(s.unlistedAt, offset)
		return nil
	}
	return s.report(offset, reason, data)
}

func (s *scan) report(offset int64, reason string, data []byte) error {
	if s.handler.Reject == nil {
		return nil
	}
	return s.handler.Reject(analyzer.Reject{
		File: s.name, Offset: offset, Reason: reason,
		Record: append([]byte(nil), data[:min(len(data), rejectKept)]...),
	})
}
