package report

import (
	"os"
	"strings"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"

	"github.com/keytrail/keytrail/analyzer"
)

// Widths in terminal cells.
const (
	DefaultWidth = 80  // when the terminal does not say, and in pipes
	MaxWidth     = 120 // longer lines are hard to read
	MinWidth     = 40  // below this nothing can be laid out
)

// Layout is how text is set.
type Layout struct {
	Width int // cells a line; 0 means DefaultWidth
	Color bool
	// Terminal tells that a person looks on: one-line output is then cut to
	// Width, whereas a program at the end of a pipe gets whole lines.
	Terminal bool
}

// Detect chooses the layout for a file such as os.Stdout. Colour is for
// terminals; NO_COLOR (https://no-color.org) and noColor switch it off,
// CLICOLOR_FORCE (https://bixense.com/clicolors) switches it on in pipes, and
// where both are set NO_COLOR has its way.
func Detect(f *os.File, env func(string) string, noColor bool) Layout {
	l := Layout{Width: DefaultWidth}
	if f != nil && term.IsTerminal(int(f.Fd())) {
		l.Terminal = true
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			l.Width = w
		}
	}
	l.Width = min(max(l.Width, MinWidth), MaxWidth)
	l.Color = wantColor(l.Terminal, env, noColor)
	return l
}

func wantColor(terminal bool, env func(string) string, noColor bool) bool {
	if noColor || env("NO_COLOR") != "" {
		return false
	}
	if force := env("CLICOLOR_FORCE"); force != "" && force != "0" {
		return true
	}
	return terminal && env("CLICOLOR") != "0" && env("TERM") != "dumb"
}

func (l Layout) width() int {
	if l.Width <= 0 {
		return DefaultWidth
	}
	return max(l.Width, MinWidth)
}

// style is an SGR parameter (ECMA-48 8.3.117).
type style string

const (
	plain    style = ""
	bold     style = "1"
	dim      style = "2"
	heading  style = "1;4"
	red      style = "31"
	yellow   style = "33"
	cyan     style = "36"
	green    style = "32"
	boldRed  style = "1;31"
	alarming style = "1;97;41"
)

// paint sets text in a style; it expects clean text.
func (l Layout) paint(s style, text string) string {
	if !l.Color || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

func severityStyle(s analyzer.Severity) style {
	switch s {
	case analyzer.Critical:
		return alarming
	case analyzer.High:
		return boldRed
	case analyzer.Medium:
		return yellow
	case analyzer.Low:
		return cyan
	default:
		return dim
	}
}

// cells measures text. The condition is our own because the package's default
// depends on the locale, and output must not.
var cells = &runewidth.Condition{StrictEmojiNeutral: true}

func width(s string) int { return cells.StringWidth(s) }

// pad fills text with spaces to n cells.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-width(s)))
}

// cutEnd shortens text to n cells, with … for what is left out.
func cutEnd(s string, n int) string {
	if width(s) <= n {
		return s
	}
	return cells.Truncate(s, n, "…")
}

// cutMiddle shortens text to n cells and keeps both ends, because names differ
// at the end and ARNs of one account begin alike.
func cutMiddle(s string, n int) string {
	if width(s) <= n {
		return s
	}
	if n <= 1 {
		return cells.Truncate("…", n, "")
	}
	head := cells.Truncate(s, (n-1)/3, "")
	tail := s
	for width(head)+1+width(tail) > n {
		tail = tail[len(firstCluster(tail)):]
	}
	return head + "…" + tail
}
