package hunt

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/keytrail/keytrail/analyzer/report"
)

const (
	// gathered is how many rows decide how wide columns are, and whether the
	// rows fit a table at all. Those that follow are written as they come.
	gathered = 200
	// longest is how many cells of one value a person at a terminal is shown.
	longest = 400
	gap     = 2
	// narrowest is how many cells a value gets at least, however long names are.
	narrowest = 20
)

// cells counts terminal cells as package report does.
var cells = &runewidth.Condition{StrictEmojiNeutral: true}

// Text writes rows for people: as a table where that fits the line, else one
// below the other with the name of each column that has a value. Values are
// cleaned, because logs are written by whoever made the calls.
type Text struct {
	w       io.Writer
	layout  report.Layout
	columns []string
	waiting [][]string
	widths  []int // of a table; nil for blocks
	begun   bool
	rows    int64
}

// NewText returns a writer of rows to w. Call Flush at the end.
func NewText(w io.Writer, l report.Layout) *Text { return &Text{w: w, layout: l} }

// Rows is how many rows there were.
func (t *Text) Rows() int64 { return t.rows }

// Row takes a row; it is a Row.
func (t *Text) Row(columns []string, values []any) error {
	row := make([]string, len(values))
	for i, v := range values {
		row[i] = t.show(v)
	}
	t.columns = columns
	t.rows++
	if t.begun {
		return t.write(row)
	}
	t.waiting = append(t.waiting, row)
	if len(t.waiting) < gathered {
		return nil
	}
	return t.Flush()
}

// Flush writes what was gathered.
func (t *Text) Flush() error {
	if t.begun || len(t.waiting) == 0 {
		return nil
	}
	t.begun = true
	t.rows -= int64(len(t.waiting)) // write counts blocks by it
	t.choose()
	if t.widths != nil {
		header := make([]string, len(t.columns))
		for i, c := range t.columns {
			header[i] = strings.ToUpper(report.Clean(c))
		}
		if err := t.line(header); err != nil {
			return err
		}
	}
	for _, row := range t.waiting {
		t.rows++
		if err := t.write(row); err != nil {
			return err
		}
	}
	t.waiting = nil
	return nil
}

// choose finds the widths of a table, or that it does not fit.
func (t *Text) choose() {
	widths := make([]int, len(t.columns))
	total := gap * (len(widths) - 1)
	for i, c := range t.columns {
		widths[i] = cells.StringWidth(report.Clean(c))
		for _, row := range t.waiting {
			widths[i] = max(widths[i], cells.StringWidth(row[i]))
		}
		total += widths[i]
	}
	if total <= t.width() {
		t.widths = widths
	}
}

func (t *Text) width() int {
	if t.layout.Width <= 0 {
		return report.DefaultWidth
	}
	return t.layout.Width
}

func (t *Text) write(row []string) error {
	if t.widths != nil {
		return t.line(row)
	}
	label := 0
	for i, c := range t.columns {
		if row[i] != "" {
			label = max(label, cells.StringWidth(report.Clean(c)))
		}
	}
	var b strings.Builder
	if t.rows > 1 {
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "Row %d\n", t.rows)
	indent := "  " + pad("", label) + "  "
	for i, c := range t.columns {
		if row[i] != "" {
			lines := fold(row[i], max(t.width()-len(indent), narrowest))
			fmt.Fprintf(&b, "  %s  %s\n", pad(report.Clean(c), label), strings.Join(lines, "\n"+indent))
		}
	}
	return t.put(b.String())
}

// fold sets text in lines of n cells, broken at blanks only: an ARN is copied
// whole even where it is longer.
func fold(text string, n int) []string {
	if cells.StringWidth(text) <= n {
		return []string{text}
	}
	var lines []string
	line := ""
	for _, word := range strings.SplitAfter(text, " ") {
		if line != "" && cells.StringWidth(line+strings.TrimRight(word, " ")) > n {
			lines = append(lines, strings.TrimRight(line, " "))
			line = ""
		}
		line += word
	}
	return append(lines, line)
}

// line writes one line of a table.
func (t *Text) line(row []string) error {
	parts := make([]string, len(row))
	for i, v := range row {
		parts[i] = pad(v, t.widths[i])
	}
	return t.put(strings.TrimRight(strings.Join(parts, strings.Repeat(" ", gap)), " ") + "\n")
}

func (t *Text) put(s string) error {
	if _, err := io.WriteString(t.w, s); err != nil {
		return fmt.Errorf("write the rows: %w", err)
	}
	return nil
}

// show writes a value; what says nothing is "".
func (t *Text) show(v any) string {
	var text string
	switch v := v.(type) {
	case nil:
		return ""
	case time.Time:
		text = v.UTC().Format("2006-01-02 15:04:05.999") + " UTC"
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = t.show(item)
		}
		text = strings.Join(items, ", ")
	default:
		text = report.Clean(fmt.Sprint(v))
	}
	if t.layout.Terminal {
		text = cells.Truncate(text, longest, "…")
	}
	return text
}

func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-cells.StringWidth(s))) }
