package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/keytrail/keytrail/analyzer"
)

// Bot notifies with a bot token. It needs the scopes chat:write and
// channels:history (groups:history for private channels), and channels:read
// (groups:read) when channels are given by name.
type Bot struct {
	o   Options
	api *slackapi.Client

	mu  sync.Mutex
	ids map[string]string // channel ids by name
}

// NewBot checks the options; it does not talk to Slack yet.
func NewBot(o Options) (*Bot, error) {
	if o.Token == "" {
		return nil, errors.New("slack: no bot token: set KEYTRAIL_SLACK_TOKEN")
	}
	if err := o.defaults(); err != nil {
		return nil, err
	}
	if err := checkSecretURL("base address of the API", o.BaseURL); err != nil {
		return nil, err
	}
	return &Bot{
		o: o,
		api: slackapi.New(o.Token.reveal(), slackapi.OptionAPIURL(o.BaseURL),
			slackapi.OptionHTTPClient(newClient(o))),
		ids: map[string]string{},
	}, nil
}

// Check asks Slack whether the token is good, and for each channel of the
// settings whether it exists, is open, has the bot in it and can be searched
// for lost messages.
func (b *Bot) Check(ctx context.Context) error {
	if _, err := b.api.AuthTestContext(ctx); err != nil {
		return b.failed("auth.test", "", err)
	}
	var errs []error
	for _, ch := range channels(b.o.Settings) {
		errs = append(errs, b.checkChannel(ctx, ch))
	}
	return errors.Join(errs...)
}

func (b *Bot) checkChannel(ctx context.Context, ch string) error {
	id, err := b.resolve(ctx, ch)
	if err != nil {
		return err
	}
	info, err := b.api.GetConversationInfoContext(ctx, &slackapi.GetConversationInfoInput{ChannelID: id})
	switch {
	case err != nil:
		return b.failed("conversations.info", ch, err)
	case info.IsArchived:
		return refused("conversations.info", ch, "is_archived", nil, "")
	case !info.IsMember && !info.IsIM:
		return refused("conversations.info", ch, "not_in_channel", nil, "")
	}
	_, err = b.api.GetConversationHistoryContext(ctx, &slackapi.GetConversationHistoryParameters{ChannelID: id, Limit: 1})
	return b.failed("conversations.history", ch, err)
}

// Notify posts, replies or updates as Decide says.
func (b *Bot) Notify(ctx context.Context, n Notice) (retry bool, err error) {
	err = b.notify(ctx, n)
	return retryable(err), err
}

func (b *Bot) notify(ctx context.Context, n Notice) error {
	was, err := b.settled(ctx, n.id())
	if err != nil {
		return err
	}
	view := View{Mentions: b.o.Mentions, Threads: true}
	digest := digestOfMessage(Render(n, view))
	d := Decide(was, n, digest, true)
	if d.Post {
		return b.first(ctx, n, was, digest)
	}
	if d.Reply {
		if was, err = b.reply(ctx, n, was, d); err != nil {
			if hasCode(err, "thread_not_found", "message_not_found") {
				was.TS = "" // somebody deleted the parent: begin anew
				return b.first(ctx, n, was, digest)
			}
			return err
		}
	}
	if d.Update {
		return b.update(ctx, n, was, digest)
	}
	return nil
}

// NotifyDigest posts the digest of a day to the default channel unless it is
// there already.
func (b *Bot) NotifyDigest(ctx context.Context, notices []Notice, day time.Time) (retry bool, err error) {
	err = b.digest(ctx, notices, day)
	return retryable(err), err
}

func (b *Bot) digest(ctx context.Context, notices []Notice, day time.Time) error {
	was, err := b.settled(ctx, DigestID(day))
	if err != nil || was.TS != "" || len(notices) == 0 {
		return err
	}
	m := RenderDigest(notices, day)
	plain := m
	plain.Blocks = slackapi.Blocks{BlockSet: []slackapi.Block{}}
	_, err = b.parent(ctx, DigestID(day), b.o.Settings.Channel, was, m, plain)
	return err
}

// first posts the parent of an alert.
func (b *Bot) first(ctx context.Context, n Notice, was Posted, digest string) error {
	view := View{Mentions: b.o.Mentions, Threads: true, Revision: was.Revision + 1}
	was.Count, was.Severity, was.Digest = n.Alert.Count, n.Alert.Severity, digest
	was.Replies, was.DataReplies, was.RepliedCount, was.KeyData = 0, 0, n.Alert.Count, n.keyData()
	_, err := b.parent(ctx, n.id(), Route(b.o.Settings, n.Alert), was, Render(n, view), Plain(n, view))
	return err
}

// parent posts a message of its own and records it. plain is sent when Slack
// does not take the layout of m.
func (b *Bot) parent(ctx context.Context, id, channel string, p Posted, m, plain Message) (Posted, error) {
	if channel == "" {
		return p, &Error{
			Op: "chat.postMessage", Code: "no_channel", Permanent: true,
			Advice: "set slack.channel in keytrail.yaml",
		}
	}
	ch, err := b.resolve(ctx, channel)
	if err != nil {
		return p, err
	}
	p.Channel = ch
	p.Revision++
	p, sent, err := b.send(ctx, id, p, Attempt{}, m, plain)
	if err != nil {
		return p, err
	}
	p.Channel, p.TS = sent.channel, sent.ts
	return p, b.put(ctx, id, p)
}

// reply posts in the thread and records what the thread now knows.
func (b *Bot) reply(ctx context.Context, n Notice, p Posted, d Decision) (Posted, error) {
	before := p
	p.Revision++
	view := View{Mentions: b.o.Mentions, Threads: true, Revision: p.Revision}
	m, plain := RenderReply(n, before, d.Reason, view), plainReply(n, before, d.Reason, view)
	m.ThreadTS, plain.ThreadTS = p.TS, p.TS
	p, sent, err := b.send(ctx, n.id(), p, Attempt{Reply: true, KeyData: n.keyData()}, m, plain)
	if err != nil {
		return p, err
	}
	p.told(n.Alert.Count, n.keyData())
	p.Severity = n.Alert.Severity
	if sent.thread == "" {
		// The parent was deleted in Slack, and the reply stands on its own: it
		// becomes the parent, and the update that follows writes it in full.
		p.TS, p.Digest = sent.ts, ""
	}
	return p, b.put(ctx, n.id(), p)
}

// told records that the thread was told of so many events and this key data.
func (p *Posted) told(count int64, keyData string) {
	p.Replies++
	if keyData != p.KeyData {
		p.DataReplies++
	}
	p.RepliedCount, p.KeyData = count, keyData
}

// update writes the parent anew, in place. It can be repeated without harm, so
// no attempt is recorded.
func (b *Bot) update(ctx context.Context, n Notice, p Posted, digest string) error {
	p.Revision++
	view := View{Mentions: b.o.Mentions, Threads: true, Revision: p.Revision}
	err := b.change(ctx, p, Render(n, view))
	if badLayout(err) {
		b.o.Log.WarnContext(ctx, "slack does not take the layout of an alert, updating it as plain text", "alert", n.id(), "error", err)
		err = b.change(ctx, p, Plain(n, view))
	}
	// A parent that was deleted, belongs to the app's former self or may not be
	// edited any more is left alone: replies and rises still come through.
	if err != nil && !hasCode(err, "message_not_found", "cant_update_message", "edit_window_closed") {
		return err
	}
	p.Count, p.Digest = n.Alert.Count, digest
	return b.put(ctx, n.id(), p)
}

func (b *Bot) change(ctx context.Context, p Posted, m Message) error {
	if err := b.o.turn(ctx, "chat.update", p.Channel); err != nil {
		return err
	}
	_, ts, _, err := b.api.UpdateMessageContext(ctx, p.Channel, p.TS, m.options()...)
	if err == nil && ts == "" {
		return emptyAnswer("chat.update", p.Channel)
	}
	return b.failed("chat.update", p.Channel, err)
}

// landed is where a message is.
type landed struct{ channel, ts, thread string }

// send records the attempt, posts, and records what became of it. On success
// the attempt is removed from the Posted it returns; the caller puts that.
func (b *Bot) send(ctx context.Context, id string, p Posted, a Attempt, m, plain Message) (Posted, landed, error) {
	if err := b.o.turn(ctx, "chat.postMessage", p.Channel); err != nil {
		return p, landed{}, err
	}
	earlier := p.Trying
	now := b.o.Clock.Now()
	a.Revision, a.Channel, a.First, a.Last = p.Revision, p.Channel, now, now
	p.Trying = &a
	if earlier != nil {
		p.Trying.First = earlier.First
	}
	open := p
	if !a.Reply {
		open.TS = "" // until Slack says so
	}
	if err := b.put(ctx, id, open); err != nil {
		return p, landed{}, err
	}
	sent, err := b.post(ctx, p.Channel, m)
	if badLayout(err) {
		b.o.Log.WarnContext(ctx, "slack does not take the layout of an alert, sending it as plain text", "alert", id, "error", err)
		sent, err = b.post(ctx, p.Channel, plain)
	}
	if err == nil {
		p.Trying = nil
		return p, sent, nil
	}
	if !mayHavePosted(err) {
		// Slack said no: there is nothing to look for. Should this be lost, the
		// next try looks in vain, no more.
		open.Trying = earlier
		return p, landed{}, errors.Join(err, b.put(ctx, id, open))
	}
	return p, landed{}, err
}

func (b *Bot) post(ctx context.Context, channel string, m Message) (landed, error) {
	ch, ts, msg, err := b.api.PostMessageWithResponseContext(ctx, channel, m.options()...)
	if err != nil {
		return landed{}, b.failed("chat.postMessage", channel, err)
	}
	if ts == "" {
		return landed{}, emptyAnswer("chat.postMessage", channel)
	}
	if ch == "" {
		ch = channel
	}
	return landed{channel: ch, ts: ts, thread: msg.ThreadTimestamp}, nil
}

// emptyAnswer is for {}, which slack-go takes for a good answer.
func emptyAnswer(op, channel string) error {
	return &Error{
		Op: op, Channel: channel, Code: "empty_answer", Doubtful: true,
		Advice: "the answer was not Slack's; check any proxy on the way",
	}
}

func (m Message) options() []slackapi.MsgOption {
	list := []slackapi.MsgOption{
		slackapi.MsgOptionText(m.Text, false), // escaped already
		slackapi.MsgOptionBlocks(m.Blocks.BlockSet...),
		slackapi.MsgOptionAttachments(m.Attachments...),
		slackapi.MsgOptionDisableLinkUnfurl(), slackapi.MsgOptionDisableMediaUnfurl(),
	}
	if m.Metadata != nil {
		list = append(list, slackapi.MsgOptionMetadata(*m.Metadata))
	}
	if m.ThreadTS != "" {
		list = append(list, slackapi.MsgOptionTS(m.ThreadTS))
	}
	if m.Broadcast {
		list = append(list, slackapi.MsgOptionBroadcast())
	}
	return list
}

// put records, even when the caller has given up meanwhile: what was sent was
// sent.
func (b *Bot) put(ctx context.Context, id string, p Posted) error {
	if err := b.o.Ledger.Put(context.WithoutCancel(ctx), id, p); err != nil {
		return fmt.Errorf("slack: record what was posted of %s: %w", id, err)
	}
	return nil
}

func (b *Bot) failed(op, channel string, err error) error {
	return failed(op, channel, err, b.o.Token)
}

var channelID = regexp.MustCompile(`^[CGD][A-Z0-9]{6,}$`)

// resolve finds the id of a channel that is given by name: posting takes a
// name, searching does not.
func (b *Bot) resolve(ctx context.Context, channel string) (string, error) {
	if channelID.MatchString(channel) {
		return channel, nil
	}
	name := strings.TrimPrefix(channel, "#")
	b.mu.Lock()
	id := b.ids[name]
	b.mu.Unlock()
	if id != "" {
		return id, nil
	}
	params := &slackapi.GetConversationsParameters{Limit: 1000, ExcludeArchived: true, Types: []string{"public_channel", "private_channel"}}
	for {
		list, next, err := b.api.GetConversationsContext(ctx, params)
		if hasCode(b.failed("conversations.list", channel, err), "missing_scope") && len(params.Types) > 1 {
			params.Types = params.Types[:1] // groups:read is not needed for public channels
			continue
		}
		if err != nil {
			return "", b.failed("conversations.list", channel, err)
		}
		for _, c := range list {
			if c.Name == name {
				b.mu.Lock()
				b.ids[name] = c.ID
				b.mu.Unlock()
				return c.ID, nil
			}
		}
		if next == "" {
			return "", refused("conversations.list", channel, "channel_not_found", nil, "")
		}
		params.Cursor = next
	}
}

// channels lists the distinct channels of the settings.
func channels(s analyzer.SlackSettings) []string {
	seen := map[string]bool{"": true}
	var list []string
	add := func(c string) {
		if !seen[c] {
			seen[c] = true
			list = append(list, c)
		}
	}
	add(s.Channel)
	for _, k := range sortedKeys(s.Channels) {
		add(s.Channels[k])
	}
	return list
}

// digestOfMessage tells whether two renderings differ for a reader; metadata
// does not count.
func digestOfMessage(m Message) string {
	m.Metadata = nil
	j, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	return digestOf(string(j))
}
