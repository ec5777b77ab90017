package slack

import (
	"strings"

	slackapi "github.com/slack-go/slack"
)

// RenderReply writes what a thread is told about a repeat: how much more, since
// when, and what is different from what was posted before. Like Render it is
// pure and keeps Slack's limits for any input.
func RenderReply(n Notice, was Posted, reason Reason, v View) Message {
	a := n.Alert
	l := lookOf(a.Severity)
	var rows rows
	switch reason {
	case ReasonSeverityRaised:
		old := lookOf(was.Severity)
		rows.add(l.emoji+" Severity rises from "+strings.ToLower(old.word)+" to "+strings.ToLower(l.word)+".", clean(n.What, 600))
	case ReasonKeyDataChanged:
		rows.add("Something is different now.", clean(n.What, 600))
		rows.add("Who", clean(n.Who, 300))
		rows.add("From", clean(n.From, 300))
		rows.code("Key", clean(a.Key, 300))
		rows.add("Changed", clean(n.Changed, 600))
	default:
		rows.add("It goes on.", clean(n.What, 600))
		rows.add("From", clean(n.From, 300))
	}
	s := grouped(a.Count) + " in all"
	if more := a.Count - was.RepliedCount; more > 0 {
		s = grouped(more) + " more since the last message here, " + s
	}
	rows.add("How often", s)
	if !a.LastTime.IsZero() {
		rows.name("Last")
		rows.list = append(rows.list, date(a.LastTime))
	}
	blocks := []slackapi.Block{richText(section(rows.elements()...))}
	text := l.emoji + " " + mrkdwn(string(reason)+": "+clean(n.What, 500))
	if reason == ReasonSeverityRaised {
		if m := mention(v.Mentions[a.Severity]); m != "" {
			blocks = append(blocks, slackapi.NewSectionBlock(slackapi.NewTextBlockObject(slackapi.MarkdownType, m, false, false), nil, nil))
		}
	}
	return Message{
		Text:      cut(text, maxText),
		Blocks:    slackapi.Blocks{BlockSet: blocks},
		Metadata:  metadata(n, "reply", v.Revision),
		Broadcast: reason == ReasonSeverityRaised,
	}
}

// plainReply is RenderReply without layout.
func plainReply(n Notice, was Posted, reason Reason, v View) Message {
	m := RenderReply(n, was, reason, v)
	m.Text = cut(m.Text+" ("+grouped(n.Alert.Count)+" in all)", maxText)
	m.Blocks = slackapi.Blocks{BlockSet: []slackapi.Block{}}
	return m
}
