package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/keytrail/keytrail/analyzer"
)

const (
	// settleAfter is how long after an attempt Slack's history is believed to
	// show it.
	settleAfter = 5 * time.Second
	// skew is how far this clock and Slack's may be apart; searches reach so
	// much further both ways.
	skew = 10 * time.Minute
	// historyPage is the most that Slack recommends to ask for at once.
	historyPage = 200
)

// settled returns what Slack shows of id. An attempt whose end is unknown is
// looked up in Slack first; when it is not there, it stays in the result, so
// that the next search reaches as far back.
func (b *Bot) settled(ctx context.Context, id string) (Posted, error) {
	p, err := b.o.Ledger.Get(ctx, id)
	if err != nil {
		return Posted{}, fmt.Errorf("slack: look up what was posted of %s: %w", id, err)
	}
	if p.Trying == nil {
		return p, nil
	}
	if wait := settleAfter - b.o.Clock.Now().Sub(p.Trying.Last); wait > 0 {
		if err := b.o.Clock.Sleep(ctx, min(wait, settleAfter)); err != nil {
			return Posted{}, &Error{Op: "conversations.history", Channel: p.Trying.Channel, Code: "cancelled", cause: err}
		}
	}
	find := b.findParent
	if p.Trying.Reply {
		find = b.findReply
	}
	m, err := find(ctx, id, p)
	if err != nil {
		return Posted{}, err
	}
	if m == nil {
		return p, nil
	}
	payload := m.Metadata.EventPayload
	if p.Trying.Reply {
		p.told(number(payload["count"]), p.Trying.KeyData)
	} else {
		p.Channel, p.TS = p.Trying.Channel, m.Timestamp
		p.Count = number(payload["count"])
		p.RepliedCount = p.Count
	}
	if s, err := analyzer.ParseSeverity(fmt.Sprint(payload["severity"])); err == nil {
		p.Severity = s
	}
	p.Digest = "" // as found, not as remembered: the next update sets it right
	p.Trying = nil
	return p, b.put(ctx, id, p)
}

// findParent looks for the parent of id in its channel, newest first.
func (b *Bot) findParent(ctx context.Context, id string, p Posted) (*slackapi.Message, error) {
	q := &slackapi.GetConversationHistoryParameters{
		ChannelID: p.Trying.Channel, Limit: historyPage, IncludeAllMetadata: true, Inclusive: true,
		Oldest: stamp(p.Trying.First.Add(-skew)), Latest: stamp(p.Trying.Last.Add(skew)),
	}
	for {
		page, err := b.api.GetConversationHistoryContext(ctx, q)
		if err != nil {
			return nil, b.failed("conversations.history", p.Trying.Channel, err)
		}
		for i := range page.Messages {
			if m := &page.Messages[i]; ours(m, id) && m.Metadata.EventPayload["kind"] != "reply" {
				return m, nil
			}
		}
		if !page.HasMore || page.ResponseMetaData.NextCursor == "" {
			return nil, nil
		}
		q.Cursor = page.ResponseMetaData.NextCursor
	}
}

// findReply looks for the attempted reply in the thread.
func (b *Bot) findReply(ctx context.Context, id string, p Posted) (*slackapi.Message, error) {
	q := &slackapi.GetConversationRepliesParameters{
		ChannelID: p.Channel, Timestamp: p.TS, Limit: historyPage, IncludeAllMetadata: true, Inclusive: true,
		Oldest: stamp(p.Trying.First.Add(-skew)),
	}
	for {
		list, more, next, err := b.api.GetConversationRepliesContext(ctx, q)
		if err != nil {
			err = b.failed("conversations.replies", p.Channel, err)
		}
		if hasCode(err, "thread_not_found") {
			return nil, nil // the whole thread was deleted: there is nothing to find
		}
		if err != nil {
			return nil, err
		}
		for i := range list {
			if m := &list[i]; ours(m, id) && m.Metadata.EventPayload["kind"] == "reply" &&
				number(m.Metadata.EventPayload["revision"]) == int64(p.Trying.Revision) {
				return m, nil
			}
		}
		if !more || next == "" {
			return nil, nil
		}
		q.Cursor = next
	}
}

func ours(m *slackapi.Message, id string) bool {
	return m.Metadata.EventType == eventType && m.Metadata.EventPayload["alert_id"] == id
}

// number reads a number of a decoded JSON document.
func number(x any) int64 {
	switch v := x.(type) {
	case float64:
		return int64(v)
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return 0
		}
		return n
	}
	return 0
}

// stamp writes a time as Slack writes those of messages.
func stamp(t time.Time) string { return fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000) }

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
