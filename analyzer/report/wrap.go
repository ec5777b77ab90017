package report

import (
	"strings"

	"github.com/clipperhouse/uax29/v2/graphemes"
)

// firstCluster returns the first user-perceived character of s.
func firstCluster(s string) string {
	g := graphemes.FromString(s)
	if g.Next() {
		return g.Value()
	}
	return s
}

// longestWhole is how long, in cells, an ARN or address may be and still stay
// in one piece; CloudTrail's own ARNs end well before.
const longestWhole = 512

// whole tells of texts that are worth nothing in two pieces, because people
// copy them: an ARN or an address that stands by itself. They may stand out
// over the right edge, where a terminal goes on in the next line and still
// copies one word.
func whole(text string) bool {
	if strings.Contains(text, " ") || width(text) > longestWhole {
		return false
	}
	return strings.HasPrefix(text, "arn:") || strings.HasPrefix(text, "https://")
}

// wrap sets clean text in lines of at most n cells, broken between words. Words
// that are longer are broken too, behind a separator where there is one.
func wrap(text string, n int) []string {
	var lines []string
	line, used := "", 0
	flush := func() {
		if line != "" {
			lines = append(lines, line)
		}
		line, used = "", 0
	}
	for _, word := range strings.Fields(text) {
		w := width(word)
		if used > 0 && used+1+w > n {
			flush()
		}
		for w > n {
			head := takeCells(word, n)
			head = head[:breakAfter(head)]
			lines = append(lines, head)
			word = word[len(head):]
			w = width(word)
		}
		if used > 0 {
			line += " "
			used++
		}
		line += word
		used += w
	}
	flush()
	return lines
}

// breakAfter returns how much of a part of a long word to keep on its line: up to
// the last separator, a strong one if there is any. Separators in the first half do
// not count, or short lines would follow one another.
func breakAfter(head string) int {
	for _, separators := range []string{"/:,;&?", "=-_."} {
		if i := strings.LastIndexAny(head, separators); i >= len(head)/2 {
			return i + 1
		}
	}
	return len(head)
}

// wrapParts sets parts in lines of at most n cells, with a blank between two
// on one line. Parts are not broken.
func wrapParts(parts []string, n int, lineEnd string) []string {
	var lines []string
	line := ""
	for _, part := range parts {
		switch {
		case line == "":
			line = part
		case width(line)+1+width(part)+len(lineEnd) <= n:
			line += " " + part
		default:
			lines = append(lines, line+lineEnd)
			line = part
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// takeCells returns the longest beginning of s of at most n cells, and at
// least one character.
func takeCells(s string, n int) string {
	end, used := 0, 0
	g := graphemes.FromString(s)
	for g.Next() {
		w := width(g.Value())
		if end > 0 && used+w > n {
			break
		}
		used += w
		end += len(g.Value())
	}
	return s[:end]
}

// wrapCommand sets a shell command line in lines of at most n cells that can be
// copied as they are: each but the last ends in a backslash. Quoted text stays
// in one piece, and an option with its value where that fits.
func wrapCommand(command string, n int) []string {
	words := shellWords(command)
	var parts []string
	for i := 0; i < len(words); i++ {
		part := words[i]
		if strings.HasPrefix(part, "--") && i+1 < len(words) && !strings.HasPrefix(words[i+1], "--") &&
			width(part)+1+width(words[i+1])+len(` \`) <= n {
			i++
			part += " " + words[i]
		}
		parts = append(parts, part)
	}

	return wrapParts(parts, n, ` \`)
}

// shellWords splits a command line at the blanks outside of quotes. The words
// keep their quotes.
func shellWords(command string) []string {
	var words []string
	start, quote := -1, byte(0)
	for i := 0; i < len(command); i++ {
		c := command[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			} else if c == '\\' && quote == '"' {
				i++
			}
		case c == ' ':
			if start >= 0 {
				words = append(words, command[start:i])
				start = -1
			}
			continue
		case c == '\'' || c == '"':
			quote = c
		case c == '\\':
			if start < 0 {
				start = i
			}
			i++
		}
		if start < 0 {
			start = i
		}
	}
	if start >= 0 {
		words = append(words, command[start:])
	}
	return words
}
