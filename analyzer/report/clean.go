package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks may follow one another: living scripts
// need two or three, stacks of them spill over the lines above and below.
const maxMarks = 4

// Clean makes text from a log safe for a terminal and keeps it readable: every
// character that is not visible by itself (control characters with ESC and line
// ends, direction marks, zero-width and private ones) and every byte that is
// not UTF-8 is written as an escape such as \x1b or \u202e. The result is one
// line. What is visible is left as it is, a backslash too.
func Clean(s string) string {
	clean := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			clean = false
			break
		}
	}
	if clean {
		return s
	}

	var b strings.Builder
	b.Grow(len(s) + 16)
	marks := maxMarks // no mark without a character to stand on
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case unicode.Is(unicode.M, r):
			marks++
		case r == ' ' || !unicode.IsPrint(r):
			marks = maxMarks
		default:
			marks = 0
		}
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r) && marks <= maxMarks && !blank(r):
			b.WriteString(s[i : i+n])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += n
	}
	return b.String()
}

// blank tells of letters and symbols that Unicode counts as printable and
// terminals show as nothing: the Hangul fillers and the blank Braille pattern.
func blank(r rune) bool {
	switch r {
	case 0x115F, 0x1160, 0x3164, 0xFFA0, 0x2800:
		return true
	}
	return false
}
