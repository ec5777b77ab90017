package slack

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// ellipsis marks what was cut.
const ellipsis = "…"

// maxMarks is how many combining marks in a row are kept: enough for every
// living script, too few to smear over the neighbouring lines.
const maxMarks = 2

// clean makes text from a log fit to be read on one line: invalid UTF-8,
// control characters, direction overrides, invisible characters and private-use
// characters become one visible "�", line breaks and odd spaces become one
// space, and nothing longer than limit remains.
//
// Angle brackets become single quotation marks of the same shape and "://"
// loses its meaning, so that no reader of the result, Slack's parser included,
// can find a mention or a link in it.
func clean(s string, limit int) string {
	var b strings.Builder
	space, odd, marks := false, false, 0
	for _, r := range strings.ToValidUTF8(s, "\ufffd") {
		switch {
		case unicode.IsSpace(r) || unicode.Is(unicode.Z, r):
			space, odd, marks = true, false, 0
			continue
		case unicode.In(r, unicode.Mn, unicode.Me):
			if marks++; marks > maxMarks {
				continue
			}
		case invisible(r) || r == utf8.RuneError:
			if odd && !space {
				continue // a run of them is one
			}
			r, odd, marks = '\ufffd', true, 0
		default:
			odd, marks = false, 0
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		switch r {
		case '<':
			r = '‹'
		case '>':
			r = '›'
		}
		b.WriteRune(r)
	}
	return cut(strings.ReplaceAll(b.String(), "://", "[:]//"), limit)
}

// invisible tells whether a rune shows nothing, or changes how others show.
func invisible(r rune) bool {
	switch r {
	case '\u115f', '\u1160', '\u3164', '\uffa0', '\u2800': // letters and signs that are blank
		return true
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs) ||
		r&0xfffe == 0xfffe // noncharacters
}

// cut shortens s to at most limit UTF-16 units, the strictest of the ways in
// which a "character" can be counted, without splitting a rune, and shows that
// it did.
func cut(s string, limit int) string {
	if width(s) <= limit {
		return s
	}
	if limit < 1 {
		return ""
	}
	n := 1 // for the ellipsis
	for i, r := range s {
		if n += max(utf16.RuneLen(r), 1); n > limit {
			return strings.TrimRightFunc(s[:i], func(r rune) bool {
				return r == ' ' || unicode.In(r, unicode.Mn, unicode.Me)
			}) + ellipsis
		}
	}
	return s
}

// width is the length of s in UTF-16 units.
func width(s string) (n int) {
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}

var (
	// hostDot is a dot that makes a name look like a host: Slack's server turns
	// such names into links in mrkdwn.
	hostDot = regexp.MustCompile(`(\pL|\pN|-)\.(\pL{2})`)
	// emojiName is what Slack would show as an emoji.
	emojiName = regexp.MustCompile(`:([\pL\pN_+'-]+):`)
	// wordEdge is an underscore that could start or end italics; one inside a
	// word means nothing to Slack.
	wordEdge = regexp.MustCompile(`(^|[^\pL\pN])_|_([^\pL\pN]|$)`)

	mrkdwnEntities  = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	mrkdwnEmphasis  = strings.NewReplacer("*", "∗", "~", "∼", "`", "ʹ", "@", "＠")
	zeroWidthSpaced = "${1}.\u200b${2}"
)

// mrkdwn escapes text for a place that Slack parses. mrkdwn has no escape for
// its own marks, so they become signs that look alike. Only the fallback text
// of a message is written so; everything else is in blocks that Slack does not
// parse.
func mrkdwn(s string) string {
	s = mrkdwnEntities.Replace(s)
	s = mrkdwnEmphasis.Replace(s)
	for emojiName.MatchString(s) { // a:b:c:d overlaps
		s = emojiName.ReplaceAllString(s, "꞉${1}꞉")
	}
	for wordEdge.MatchString(s) {
		s = wordEdge.ReplaceAllString(s, "${1}ˍ${2}")
	}
	return hostDot.ReplaceAllString(s, zeroWidthSpaced)
}
