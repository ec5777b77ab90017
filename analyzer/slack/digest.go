package slack

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/keytrail/keytrail/analyzer"
)

const (
	digestGroups = 15 // detections that are listed
	digestTop    = 5  // alerts of each that are named
)

// DigestID is the id under which the digest of a day is kept in the ledger and
// found in Slack.
func DigestID(day time.Time) string { return "digest-" + day.UTC().Format(time.DateOnly) }

// RenderDigest writes the daily message about what interrupted nobody: alerts
// by detection, most severe and most frequent first, with the busiest of each.
// Like Render it is pure and keeps Slack's limits for any input.
func RenderDigest(notices []Notice, day time.Time) Message {
	groups := byDetection(notices)
	var events int64
	for _, n := range notices {
		events += n.Alert.Count
	}
	title := "Keytrail digest of " + day.UTC().Format("2 January 2006")
	summary := fmt.Sprintf("%s and %s. Nothing here was urgent enough to interrupt you.",
		plural(int64(len(notices)), "alert"), plural(events, "event"))
	if len(notices) == 0 {
		summary = "Nothing to report."
	}

	for scale := 1; ; scale *= 2 {
		blocks := []slackapi.Block{
			slackapi.NewHeaderBlock(slackapi.NewTextBlockObject(slackapi.PlainTextType, title, false, false)),
			richText(section(text(summary))),
		}
		show := max(digestGroups/scale, 1)
		for i, g := range groups {
			if i == show {
				blocks = append(blocks, note(fmt.Sprintf("%s more with %s: keytrail lists them all.",
					plural(int64(len(groups)-show), "detection"), plural(g.restAlerts(groups[i:]), "alert"))))
				break
			}
			blocks = append(blocks, richText(section(g.elements(scale)...)))
		}
		m := Message{
			Text:        mrkdwn(title + ": " + summary),
			Blocks:      slackapi.Blocks{BlockSet: blocks},
			Attachments: []slackapi.Attachment{},
			Metadata: &slackapi.SlackMetadata{EventType: eventType, EventPayload: map[string]any{
				"alert_id": DigestID(day), "kind": "digest", "revision": 1,
				"alerts": len(notices), "count": events,
			}},
		}
		if m.size() <= maxLayout || scale >= 16 {
			return m
		}
	}
}

// digestGroup is one detection's share of the digest.
type digestGroup struct {
	detection, title string
	severity         analyzer.Severity
	events           int64
	notices          []Notice // busiest first
}

func byDetection(notices []Notice) []digestGroup {
	at := map[string]int{}
	var groups []digestGroup
	for _, n := range notices {
		i, ok := at[n.Alert.Detection]
		if !ok {
			i = len(groups)
			at[n.Alert.Detection] = i
			groups = append(groups, digestGroup{detection: n.Alert.Detection, title: n.Alert.Title})
		}
		g := &groups[i]
		g.severity = max(g.severity, n.Alert.Severity)
		g.events += n.Alert.Count
		g.notices = append(g.notices, n)
	}
	for i := range groups {
		slices.SortStableFunc(groups[i].notices, func(a, b Notice) int {
			return cmp.Or(cmp.Compare(b.Alert.Severity, a.Alert.Severity), cmp.Compare(b.Alert.Count, a.Alert.Count), cmp.Compare(a.Alert.ID, b.Alert.ID))
		})
	}
	slices.SortStableFunc(groups, func(a, b digestGroup) int {
		return cmp.Or(cmp.Compare(b.severity, a.severity), cmp.Compare(len(b.notices), len(a.notices)),
			cmp.Compare(b.events, a.events), cmp.Compare(a.detection, b.detection))
	})
	return groups
}

func (digestGroup) restAlerts(rest []digestGroup) (n int64) {
	for _, g := range rest {
		n += int64(len(g.notices))
	}
	return n
}

func (g digestGroup) elements(scale int) []slackapi.RichTextSectionElement {
	l := lookOf(g.severity)
	head := l.emoji + " " + clean(g.detection, 40) + " " + clean(g.title, 100/scale+10)
	list := []slackapi.RichTextSectionElement{
		bold(head),
		text(fmt.Sprintf("  %s, %s", plural(int64(len(g.notices)), "alert"), plural(g.events, "event"))),
	}
	for i, n := range g.notices {
		if i == digestTop {
			list = append(list, text(fmt.Sprintf("\n• and %d more", len(g.notices)-digestTop)))
			break
		}
		what := clean(n.What, 240/scale)
		if what == "" {
			what = clean(n.Alert.ID, 60)
		}
		list = append(list, text("\n• "+what))
		if n.Alert.Count > 1 {
			list = append(list, text(" ("+grouped(n.Alert.Count)+" times)"))
		}
	}
	return list
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(n) + " " + noun + "s"
}
