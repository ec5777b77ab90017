package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/keytrail/keytrail/analyzer"
)

// Lines writes JSON lines: the output for programs. It may be used by many
// goroutines at once; each value is one whole line. After an error it writes
// nothing more and returns that error from every call.
type Lines struct {
	mu  sync.Mutex
	w   *bufio.Writer
	err error
}

// NewLines returns a writer of JSON lines to w. Call Flush at the end.
func NewLines(w io.Writer) *Lines { return &Lines{w: bufio.NewWriterSize(w, 64<<10)} }

// Write writes any value as one line. Findings and alerts come here in the
// shape that package alert gives them.
func (l *Lines) Write(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b) // ends each value with a line end
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode %T as JSON: %w", v, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if _, err := l.w.Write(b.Bytes()); err != nil {
		l.err = fmt.Errorf("write JSON line: %w", err)
	}
	return l.err
}

// Flush hands on what is buffered.
func (l *Lines) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if err := l.w.Flush(); err != nil {
		l.err = fmt.Errorf("write JSON lines: %w", err)
	}
	return l.err
}

// RejectLine is one rejected record or rest of a file.
type RejectLine struct {
	Type   string `json:"type"` // "reject"
	File   string `json:"file"`
	Offset int64  `json:"offset"` // in the inflated file
	Reason string `json:"reason"`
}

// Reject writes one reject line.
func (l *Lines) Reject(r analyzer.Reject) error {
	return l.Write(RejectLine{Type: "reject", File: r.File, Offset: r.Offset, Reason: r.Reason})
}

// SummaryLine is the last line of a run.
type SummaryLine struct {
	Type           string                `json:"type"` // "summary"
	Files          analyzer.FileCounts   `json:"files"`
	Records        analyzer.RecordCounts `json:"records"`
	EventsBySource map[string]int64      `json:"events_by_source"`
	Findings       map[string]int64      `json:"findings"`
	Alerts         map[string]int64      `json:"alerts"` // each severity, 0 too
	Suppressed     map[string]int64      `json:"suppressed"`
	Learning       []LearningLine        `json:"learning"`
	Late           int64                 `json:"late"`
	Assumptions    []string              `json:"assumptions"`
	Seconds        float64               `json:"seconds"`
	MaxRSSBytes    int64                 `json:"max_rss_bytes"`
}

// LearningLine is one detection that had too little history to judge.
type LearningLine struct {
	Detection string  `json:"detection"`
	HadDays   float64 `json:"had_days"`
	NeedDays  float64 `json:"need_days"`
	New       int64   `json:"new"`
}

// Line gives the summary the shape that programs read. Maps and lists are
// empty, never null.
func (s *Summary) Line() SummaryLine {
	line := SummaryLine{
		Type: "summary", Files: s.Files, Records: s.Records,
		EventsBySource: orEmpty(s.EventsBySource), Findings: orEmpty(s.Findings),
		Alerts: make(map[string]int64), Suppressed: orEmpty(s.Suppressed),
		Learning: make([]LearningLine, 0, len(s.Learning)), Late: s.Late,
		Assumptions: append([]string{}, s.Assumptions...),
		Seconds:     float64(s.Elapsed.Milliseconds()) / 1000, MaxRSSBytes: s.MaxRSSBytes,
	}
	for severity := analyzer.Info; severity <= analyzer.Critical; severity++ {
		line.Alerts[severity.String()] = s.Alerts[severity]
	}
	for _, d := range s.Learning {
		line.Learning = append(line.Learning, LearningLine{
			Detection: d.Detection, HadDays: days(d.Had), NeedDays: days(d.Need), New: d.New,
		})
	}
	return line
}

// Summary writes the summary line and flushes: nothing comes after it.
func (l *Lines) Summary(s *Summary) error {
	if err := l.Write(s.Line()); err != nil {
		return err
	}
	return l.Flush()
}

func orEmpty(m map[string]int64) map[string]int64 {
	if m == nil {
		return map[string]int64{}
	}
	return m
}
