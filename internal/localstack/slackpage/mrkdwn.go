package slackpage

import (
	"regexp"
	"strings"
)

// plain makes lines of text that is shown as it is.
func plain(s string) []line {
	var out []line
	for l := range strings.SplitSeq(s, "\n") {
		out = append(out, line{Spans: []span{{Text: l}}})
	}
	return out
}

// unescape undoes the three entities that Slack has; nothing else is one.
var unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// mrkdwn makes lines of Slack's markup
// (docs.slack.dev/messaging/formatting-message-text).
func mrkdwn(s string) []line {
	var out []line
	for i, part := range strings.Split(s, "```") {
		if i%2 == 1 {
			for l := range strings.SplitSeq(strings.Trim(part, "\n"), "\n") {
				out = append(out, line{Pre: true, Spans: []span{{Text: unescape.Replace(l)}}})
			}
			continue
		}
		if part == "" && i > 0 {
			continue
		}
		for l := range strings.SplitSeq(part, "\n") {
			rest, quote := strings.CutPrefix(l, "&gt;")
			out = append(out, line{Quote: quote, Spans: markup(rest, span{})})
		}
	}
	return out
}

// inlineMark finds, in this order: code, what stands in angle brackets, and text
// between two marks of one kind that lean on it.
var inlineMark = regexp.MustCompile("`([^`\n]+)`" +
	`|<([^<>\n]+)>` +
	`|(?:^|[\s(])(\*(?:[^\s*]|[^\s*][^*\n]*[^\s*])\*|_(?:[^\s_]|[^\s_][^_\n]*[^\s_])_|~(?:[^\s~]|[^\s~][^~\n]*[^\s~])~)`)

// markup makes spans of a line; what is in it has at least the style.
func markup(s string, style span) (out []span) {
	add := func(v span) {
		if v.Text != "" {
			out = append(out, v)
		}
	}
	for s != "" {
		m := inlineMark.FindStringSubmatchIndex(s)
		if m == nil {
			break
		}
		begin, end := m[0], m[1]
		if m[6] >= 0 {
			begin = m[6] // the space or bracket before the mark is text
		}
		v := style
		v.Text = unescape.Replace(s[:begin])
		add(v)
		switch {
		case m[2] >= 0:
			v = style
			v.Text, v.Code = unescape.Replace(s[m[2]:m[3]]), true
			add(v)
		case m[4] >= 0:
			add(special(s[m[4]:m[5]], style))
		default:
			v = style
			switch s[m[6]] {
			case '*':
				v.Bold = true
			case '_':
				v.Italic = true
			default:
				v.Strike = true
			}
			out = append(out, markup(s[m[6]+1:m[7]-1], v)...)
		}
		s = s[end:]
	}
	style.Text = unescape.Replace(s)
	add(style)
	return out
}

// special is what stands in angle brackets: a link, a mention or a date.
func special(s string, style span) span {
	target, label, labelled := strings.Cut(s, "|")
	target, label = unescape.Replace(target), unescape.Replace(label)
	switch {
	case strings.HasPrefix(target, "!date^"):
		style.Text = label // the fallback
	case strings.HasPrefix(target, "!"):
		style.Text, style.Mention = "@"+target[1:], true
	case strings.HasPrefix(target, "@"), strings.HasPrefix(target, "#"):
		style.Text, style.Mention = target, true
	default:
		style.Text, style.Link = target, webOnly(target)
	}
	if labelled && label != "" && !style.Mention {
		style.Text = label
	}
	return style
}
