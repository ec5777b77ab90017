package slack

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// plainArgument tells whether a shell takes the word as it is written.
func plainArgument(s string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case strings.ContainsRune("_./:@=+,-", r):
		default:
			return false
		}
	}
	return s != ""
}

// shellQuote writes s as one word of bash and zsh that means s and nothing
// else. Characters that a person cannot see are written as escapes, so that
// what is read is what runs.
func shellQuote(s string) string {
	if plainArgument(s) {
		return s
	}
	if !hasUnseen(s) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\\' || r == '\'':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == utf8.RuneError || invisible(r) || (r > 0x7e && !visible(r)):
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, `\%03o`, c) // three octal digits cannot swallow what follows
			}
		default:
			b.WriteRune(r)
		}
		i += size
	}
	b.WriteByte('\'')
	return b.String()
}

// hasUnseen tells whether s holds anything that shows as nothing or as
// something else than it is.
func hasUnseen(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || invisible(r) || (r > 0x7e && !visible(r)) {
			return true
		}
	}
	return false
}

// visible tells whether a rune beyond ASCII shows as itself on one line.
func visible(r rune) bool {
	return clean(string(r), 10) == string(r)
}
