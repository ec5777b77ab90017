package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"
)

// sentByWebhook stands in Posted.TS for the timestamp that a webhook does not
// return.
const sentByWebhook = "sent"

// Webhook notifies through an incoming webhook, which belongs to one channel
// and returns no timestamp: there are no threads, no updates and no search.
type Webhook struct {
	o      Options
	client *client
}

// NewWebhook checks the options; it does not talk to Slack yet.
func NewWebhook(o Options) (*Webhook, error) {
	if o.WebhookURL == "" {
		return nil, errors.New("slack: no webhook: set KEYTRAIL_SLACK_WEBHOOK")
	}
	if err := o.defaults(); err != nil {
		return nil, err
	}
	if err := checkSecretURL("webhook", o.WebhookURL.reveal()); err != nil {
		return nil, err
	}
	return &Webhook{o: o, client: newClient(o)}, nil
}

// Check sends an empty object, which Slack refuses for a webhook that exists
// and which no one sees.
func (w *Webhook) Check(ctx context.Context) error {
	err := w.deliver(ctx, []byte("{}"))
	if hasCode(err, "no_text", "invalid_payload", "missing_text_or_fallback_or_attachments") {
		return nil
	}
	return err
}

// Notify sends the first message of an alert and rises of its severity.
func (w *Webhook) Notify(ctx context.Context, n Notice) (retry bool, err error) {
	err = w.notify(ctx, n)
	return retryable(err), err
}

func (w *Webhook) notify(ctx context.Context, n Notice) error {
	was, err := w.o.Ledger.Get(ctx, n.id())
	if err != nil {
		return fmt.Errorf("slack: look up what was posted of %s: %w", n.id(), err)
	}
	view := View{Mentions: w.o.Mentions}
	digest := digestOfMessage(Render(n, view))
	if !Decide(was, n, digest, false).Post {
		return nil
	}
	p := was
	p.Revision++
	view.Revision = p.Revision
	view.MaybeSecond = was.Trying != nil
	p.Count, p.Severity, p.Digest = n.Alert.Count, n.Alert.Severity, digest
	p.RepliedCount, p.KeyData = n.Alert.Count, n.keyData()
	return w.send(ctx, n.id(), was, p, Render(n, view), Plain(n, view))
}

// NotifyDigest sends the digest of a day unless it was sent.
func (w *Webhook) NotifyDigest(ctx context.Context, notices []Notice, day time.Time) (retry bool, err error) {
	err = w.digest(ctx, notices, day)
	return retryable(err), err
}

func (w *Webhook) digest(ctx context.Context, notices []Notice, day time.Time) error {
	id := DigestID(day)
	was, err := w.o.Ledger.Get(ctx, id)
	if err != nil {
		return fmt.Errorf("slack: look up what was posted of %s: %w", id, err)
	}
	if was.TS != "" || len(notices) == 0 {
		return nil
	}
	p := was
	p.Revision++
	m := RenderDigest(notices, day)
	plain := m
	plain.Blocks = slackapi.Blocks{BlockSet: []slackapi.Block{}}
	return w.send(ctx, id, was, p, m, plain)
}

// send records the attempt, sends, and records what became of it. was is
// restored when Slack said no.
func (w *Webhook) send(ctx context.Context, id string, was, p Posted, m, plain Message) error {
	if err := w.o.turn(ctx, "webhook", sentByWebhook); err != nil {
		return err
	}
	now := w.o.Clock.Now()
	open := was
	open.Trying = &Attempt{Revision: p.Revision, First: now, Last: now}
	if was.Trying != nil {
		open.Trying.First = was.Trying.First
	}
	if err := w.put(ctx, id, open); err != nil {
		return err
	}
	err := w.deliverMessage(ctx, m)
	if badLayout(err) {
		w.o.Log.WarnContext(ctx, "slack does not take the layout of an alert, sending it as plain text", "alert", id, "error", err)
		err = w.deliverMessage(ctx, plain)
	}
	switch {
	case err == nil:
		p.TS, p.Trying = sentByWebhook, nil
		return w.put(ctx, id, p)
	case !mayHavePosted(err):
		return errors.Join(err, w.put(ctx, id, was))
	}
	return err
}

func (w *Webhook) put(ctx context.Context, id string, p Posted) error {
	if err := w.o.Ledger.Put(context.WithoutCancel(ctx), id, p); err != nil {
		return fmt.Errorf("slack: record what was posted of %s: %w", id, err)
	}
	return nil
}

func (w *Webhook) deliverMessage(ctx context.Context, m Message) error {
	m.Channel, m.Metadata = "", nil // a webhook has its own channel and takes no metadata
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("slack: write the message as JSON: %w", err)
	}
	return w.deliver(ctx, body)
}

// deliver posts to the webhook, which answers "ok" or one word that says why
// not (docs.slack.dev, "Handling errors" of incoming webhooks).
func (w *Webhook) deliver(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.o.WebhookURL.reveal(), bytes.NewReader(body))
	if err != nil {
		return failed("webhook", "", fmt.Errorf("%w: %w", errUnsent, err), w.o.WebhookURL)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := w.client.Do(req)
	if err != nil {
		return failed("webhook", "", err, w.o.WebhookURL)
	}
	defer func() { _ = resp.Body.Close() }() // read to the end or given up
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 200))
	word := strings.TrimSpace(string(answer))
	switch {
	case err != nil:
		return failed("webhook", "", err, w.o.WebhookURL)
	case resp.StatusCode == http.StatusOK && word == "ok":
		return nil
	case resp.StatusCode == http.StatusOK:
		return &Error{
			Op: "webhook", Code: "unknown_answer", Doubtful: true,
			Advice: "the answer was not Slack's; check any proxy on the way",
		}
	case resp.StatusCode < 500 && codeShape.MatchString(word):
		e := refused("webhook", "", word, nil, "")
		if own := (*Error)(nil); errors.As(e, &own) {
			own.Permanent = true // 4xx with a word of Slack's
		}
		return e
	}
	return httpFailure("webhook", "", resp.StatusCode)
}
