package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// page gathers lines; it is written in one go, so that output is whole or
// not there.
type page struct {
	Layout
	b strings.Builder
}

func (p *page) line(s string) {
	p.b.WriteString(strings.TrimRight(s, " "))
	p.b.WriteByte('\n')
}

func (p *page) writeTo(w io.Writer) error {
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// place writes one clean line at an indent, or nearer to the left edge where it
// would otherwise stand out over the right one.
func (p *page) place(text string, indent int, s style) {
	for _, left := range []int{indent, 4, 2, 0} {
		if left <= indent && (left == 0 || left+width(text) <= p.width()) {
			p.line(strings.Repeat(" ", left) + p.paint(s, text))
			return
		}
	}
}

// paragraph writes text wrapped at an indent. Line ends in the text are kept,
// so it is for our own texts and for cleaned ones. The lines of a list item
// hang from its text.
func (p *page) paragraph(text string, indent int, s style) {
	text = strings.TrimSpace(text)
	if text == "" {
		return
	}
	for part := range strings.SplitSeq(text, "\n") {
		item := strings.TrimLeft(part, " ")
		left := min(indent+len(part)-len(item), p.width()/2)
		marker := 0
		if strings.HasPrefix(item, "- ") || strings.HasPrefix(item, "* ") {
			marker = 2
		} else if digits, _, ok := strings.Cut(item, ". "); ok && len(digits) <= 2 && strings.Trim(digits, "0123456789") == "" {
			marker = len(digits) + 2
		}
		lines := wrap(Clean(item[marker:]), p.width()-left-marker)
		if len(lines) == 0 {
			p.line("")
		}
		for i, line := range lines {
			if i == 0 && marker > 0 {
				p.place(item[:marker]+line, left, s)
				continue
			}
			p.place(line, left+marker, s)
		}
	}
}

// hang is where the text of a field begins: two cells, the longest label,
// two cells.
const hang = 2 + 8 + 2

// field writes a label with paragraphs to its right. Nothing is written when
// there is nothing to say.
func (p *page) field(label string, paragraphs ...string) {
	var lines []string
	for _, text := range paragraphs {
		if text = Clean(text); whole(text) {
			lines = append(lines, text)
		} else {
			lines = append(lines, wrap(text, p.width()-hang)...)
		}
	}
	p.fieldLines(label, lines)
}

// fieldLines writes a label with clean lines to its right.
func (p *page) fieldLines(label string, lines []string) {
	for i, line := range lines {
		switch {
		case i > 0 || label == "":
			p.place(line, hang, plain)
		case hang+width(line) <= p.width():
			p.line("  " + p.paint(dim, label) + strings.Repeat(" ", hang-2-width(label)) + line)
		default:
			p.line("  " + p.paint(dim, label))
			p.place(line, hang, plain)
		}
	}
}

// command writes a command line below its label, ready to be copied.
func (p *page) command(label, command string) {
	if strings.TrimSpace(command) == "" {
		return
	}
	p.line("  " + p.paint(dim, label))
	for one := range strings.SplitSeq(strings.TrimSpace(command), "\n") {
		for _, line := range wrapCommand(Clean(strings.TrimSpace(one)), p.width()-4) {
			p.place(line, 4, green)
		}
	}
}

const (
	dayTime = "2006-01-02 15:04:05"
	minutes = "2006-01-02 15:04"
)

// span says when something happened, in UTC.
func span(first, last time.Time) string {
	first, last = first.UTC(), last.UTC()
	switch {
	case last.IsZero() && first.IsZero():
		return ""
	case last.IsZero() || first.Equal(last):
		return first.Format(dayTime) + " UTC"
	case first.IsZero():
		return last.Format(dayTime) + " UTC"
	case first.YearDay() == last.YearDay() && first.Year() == last.Year():
		return first.Format(dayTime) + " to " + last.Format("15:04:05") + " UTC (" + long(last.Sub(first)) + ")"
	}
	return first.Format(dayTime) + " to " + last.Format(dayTime) + " UTC (" + long(last.Sub(first)) + ")"
}

// long says a duration in its largest unit that still says something.
func long(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return number(int64(d/(24*time.Hour))) + " days"
	case d >= 2*time.Hour:
		return number(int64(d/time.Hour)) + " h"
	case d >= 2*time.Minute:
		return number(int64(d/time.Minute)) + " min"
	default:
		return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
	}
}

// number groups digits by three.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// count says "1 file" and "2 files".
func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

func byteSize(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	default:
		return fmt.Sprintf("%d KiB", n>>10)
	}
}

// days gives a duration in days with two places.
func days(d time.Duration) float64 {
	return math.Round(d.Hours()/24*100) / 100
}

// Assumptions writes a verdict on settings and below it what they leave open.
func Assumptions(w io.Writer, l Layout, verdict string, assumptions []string) error {
	p := &page{Layout: l}
	p.paragraph(Clean(verdict), 0, plain)
	p.field("Assumed", assumptions...)
	return p.writeTo(w)
}
