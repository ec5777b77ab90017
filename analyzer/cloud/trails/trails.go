// Package trails tells what of KMS a CloudTrail trail does not record. It knows
// the settings of a trail as values only; package awssdk reads them.
//
// A trail that is on may still be blind. Encrypt, Decrypt, GenerateDataKey and
// the other uses of keys are read-only management events: a trail of writes
// has none of them, and a trail may leave out all of KMS to save its volume.
package trails

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const kms = "kms.amazonaws.com"

// Trail is a trail with its status and its selectors. Times are zero when
// CloudTrail does not say them.
type Trail struct {
	Name         string
	ARN          string
	HomeRegion   string
	Bucket       string // where the log files go
	MultiRegion  bool
	Organization bool
	Validated    bool // has digest files

	Logging bool
	Started time.Time // last
	Stopped time.Time // last

	Delivered         time.Time // the last log file
	DeliveryError     string    // of the last log file, as S3 gave it: "AccessDenied"
	DigestError       string    // of the last digest file
	NotificationError string    // of the last message to the trail's SNS topic

	// A trail has selectors of one kind. When it has none, it records all
	// management events.
	Selectors []Selector
	Advanced  []AdvancedSelector
}

// Selector is an event selector of the older kind. A trail records an event
// that any of its selectors takes.
type Selector struct {
	ReadWrite  string // All, ReadOnly or WriteOnly; empty means All
	Management bool
	Excluded   []string // sources of management events that are left out
}

// AdvancedSelector takes the events for which all its fields hold.
type AdvancedSelector struct {
	Name   string
	Fields []Field
}

// Field holds for an event whose field fits one value of each positive list
// that is given, and no value of a negative one.
type Field struct {
	Field                                 string
	Equals, StartsWith, EndsWith          []string
	NotEquals, NotStartsWith, NotEndsWith []string
}

// Blind says in sentences what of KMS a trail does not record, or records and
// does not deliver; nothing when it misses nothing. Texts out of the trail's
// settings are part of them: escape them for where they are shown. That a trail
// of one Region or account sees no others is not among them.
func Blind(t Trail) []string {
	var lacks []string
	if !t.Logging {
		lacks = append(lacks, stopped(t))
	}
	lacks = append(lacks, unselected(t)...)
	for _, d := range []struct{ what, err string }{
		{"The last log file could not be delivered to the bucket " + t.Bucket, t.DeliveryError},
		{"The last digest file could not be delivered to the bucket " + t.Bucket, t.DigestError},
		{"The last message to the trail's SNS topic could not be sent", t.NotificationError},
	} {
		if d.err != "" {
			lacks = append(lacks, fmt.Sprintf("%s: %s.", d.what, strings.TrimSuffix(d.err, ".")))
		}
	}
	return lacks
}

func stopped(t Trail) string {
	if t.Stopped.IsZero() {
		return "It records nothing: logging was never started."
	}
	return "It records nothing: logging was stopped at " + t.Stopped.UTC().Format(time.RFC3339) + "."
}

// take is what one selector takes of management events.
type take struct {
	reads, writes bool
	without       string   // why it leaves out KMS; empty when it does not
	where         []string // what else must hold of an event
}

// unselected says what the selectors leave out.
func unselected(t Trail) []string {
	takes := takesOf(t)
	if len(takes) == 0 {
		return []string{"It records no management events, and the calls of KMS are management events."}
	}
	reads := gapOf(takes, func(t take) bool { return t.reads }, "no selector takes reads")
	writes := gapOf(takes, func(t take) bool { return t.writes }, "no selector takes writes")
	if reads == writes {
		return reads.sentence("calls of KMS")
	}
	return append(reads.sentence("reads of KMS (Decrypt, Encrypt, GenerateDataKey and others)"),
		writes.sentence("writes of KMS (ScheduleKeyDeletion, PutKeyPolicy, CreateGrant and others)")...)
}

func takesOf(t Trail) (takes []take) {
	if len(t.Selectors) == 0 && len(t.Advanced) == 0 {
		return []take{{reads: true, writes: true}}
	}
	for _, s := range t.Selectors {
		if s.Management {
			takes = append(takes, s.take())
		}
	}
	for _, s := range t.Advanced {
		if took, management := s.take(); management {
			takes = append(takes, took)
		}
	}
	return takes
}

func (s Selector) take() take {
	t := take{
		reads:  !strings.EqualFold(s.ReadWrite, "WriteOnly"),
		writes: !strings.EqualFold(s.ReadWrite, "ReadOnly"),
	}
	if slices.ContainsFunc(s.Excluded, func(source string) bool { return strings.EqualFold(strings.TrimSpace(source), kms) }) {
		t.without = "a selector excludes the source " + kms
	}
	return t
}

func (s AdvancedSelector) take() (t take, management bool) {
	t.reads, t.writes = true, true
	for _, f := range s.Fields {
		switch f.Field {
		case "eventCategory":
			management = f.admits("Management")
		case "readOnly":
			t.reads, t.writes = t.reads && f.admits("true"), t.writes && f.admits("false")
		case "eventSource":
			if !f.admits(kms) {
				t.without = "an advanced selector takes events only where " + f.String()
			}
		default:
			t.where = append(t.where, f.String())
		}
	}
	return t, management
}

// operators are the lists of a field with how they compare and read.
func (f Field) operators() []operator {
	return []operator{
		{f.Equals, strings.EqualFold, true, "is"},
		{f.StartsWith, strings.HasPrefix, true, "begins with"},
		{f.EndsWith, strings.HasSuffix, true, "ends with"},
		{f.NotEquals, strings.EqualFold, false, "is not"},
		{f.NotStartsWith, strings.HasPrefix, false, "does not begin with"},
		{f.NotEndsWith, strings.HasSuffix, false, "does not end with"},
	}
}

type operator struct {
	values   []string
	fits     func(value, pattern string) bool
	positive bool
	words    string
}

func (f Field) admits(value string) bool {
	for _, op := range f.operators() {
		fit := slices.ContainsFunc(op.values, func(pattern string) bool { return op.fits(value, pattern) })
		if len(op.values) > 0 && fit != op.positive {
			return false
		}
	}
	return true
}

// shownValues is how many values of a list are in a sentence.
const shownValues = 5

// String reads eventName is not "Decrypt" or "Encrypt". Values are quoted, so
// that they cannot pass for words of the sentence.
func (f Field) String() string {
	var clauses []string
	for _, op := range f.operators() {
		if len(op.values) == 0 {
			continue
		}
		var shown []string
		for _, v := range op.values[:min(len(op.values), shownValues)] {
			shown = append(shown, strconv.Quote(v))
		}
		clause := op.words + " " + strings.Join(shown, " or ")
		if more := len(op.values) - len(shown); more > 0 {
			clause += fmt.Sprintf(" or one of %d others", more)
		}
		clauses = append(clauses, clause)
	}
	return f.Field + " " + strings.Join(clauses, " and ")
}

// gap is how much of the reads or writes is recorded, and why not all.
type gap struct {
	extent extent
	why    string
}

type extent int

const (
	all extent = iota
	some
	none
)

// gapOf puts together what all selectors take of a direction. One that takes
// all is enough, whatever the others leave out.
func gapOf(takes []take, direction func(take) bool, otherwise string) gap {
	var parts, without []string
	for _, t := range takes {
		switch {
		case !direction(t):
		case t.without != "":
			without = append(without, t.without)
		case len(t.where) > 0:
			parts = append(parts, strings.Join(t.where, " and "))
		default:
			return gap{extent: all}
		}
	}
	switch {
	case len(parts) > 0:
		return gap{some, list(parts, ", or where ")}
	case len(without) > 0:
		return gap{none, list(without, ", and ")}
	}
	return gap{none, otherwise}
}

// list joins different texts in a fixed order.
func list(texts []string, separator string) string {
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), separator)
}

func (g gap) sentence(of string) []string {
	switch g.extent {
	case some:
		return []string{"Of the " + of + " it records only those where " + g.why + "."}
	case none:
		return []string{"It does not record the " + of + ": " + g.why + "."}
	}
	return nil
}
