// Package notify is the function that tells Slack. Its queue has one message
// for each state of an alert that was to be told, in order for each thread. What
// is told is the state that the store has when the message is taken, so a
// message that comes late or twice finds nothing left to say.
//
// A failure gives the message back with a delay, and with it those of the same
// thread behind it. How often Slack may be asked is counted for all senders
// together, in the table.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/slack"
	"github.com/keytrail/keytrail/analyzer/stack"
)

// Item is the body of a message: an alert, a digest, or a test.
type Item struct {
	Alert    string `json:"alert,omitempty"` // id
	Revision int64  `json:"revision,omitempty"`
	Digest   string `json:"digest,omitempty"` // day, as 2026-03-02
}

// Message returns the message for the queue. Messages of a thread come in order.
func Message(i Item, thread string) (cloud.Message, error) {
	body, err := json.Marshal(i)
	if err != nil {
		return cloud.Message{}, fmt.Errorf("queue alert %s: %w", i.Alert, err)
	}
	dedup := "digest-" + i.Digest
	if i.Alert != "" {
		dedup = i.Alert + "-" + strconv.FormatInt(i.Revision, 10)
	}
	return cloud.Message{Body: string(body), Group: thread, Dedup: dedup}, nil
}

// Handler is the notify function.
type Handler struct {
	Store alert.Store
	Queue cloud.Queue // its own, to set delays
	// Slack returns the notifier for the settings; it is asked for each
	// invocation, so that a new secret takes effect.
	Slack    func(ctx context.Context, s *analyzer.Settings) (slack.Notifier, error)
	Settings func(ctx context.Context) (*analyzer.Settings, error)
	Catalog  *catalog.Catalog
	Reserve  time.Duration // what must be left of the time to begin another message
	Now      func() time.Time
	Log      *slog.Logger
	Metrics  *stack.Metrics
}

// told counts what an invocation did.
type told struct{ ok, stale, limited, failed int64 }

// Handle tells of the messages, one after another. Those that it names in its
// answer come again.
func (h *Handler) Handle(ctx context.Context, ev events.SQSEvent) (events.SQSEventResponse, error) {
	var answer events.SQSEventResponse
	var sum told
	var room desk
	stuck := map[string]bool{} // threads with a message that comes again
	for i := range ev.Records {
		m := &ev.Records[i]
		group := m.Attributes["MessageGroupId"]
		var err error
		switch {
		case stuck[group]:
			err = errBehind
		case stack.Remaining(ctx, h.Now(), h.Reserve) <= 0:
			err = errNoTime
		default:
			err = h.tell(ctx, &room, m, &sum)
		}
		if err != nil {
			stuck[group] = true
			answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
			h.back(ctx, m, err, &sum)
		}
	}
	h.Metrics.Count(map[string]int64{
		"AlertsToldOK": sum.ok, "AlertsStale": sum.stale, "SlackRateLimited": sum.limited, "SlackErrors": sum.failed,
	})
	return answer, nil
}

var (
	errBehind = errors.New("a message of the same thread before it comes again")
	errNoTime = errors.New("no time is left in this invocation")
)

// desk is what an invocation needs to speak, made when it first does.
type desk struct {
	notifier slack.Notifier
	settings *analyzer.Settings
}

func (h *Handler) open(ctx context.Context, d *desk) error {
	if d.notifier != nil {
		return nil
	}
	s, err := h.Settings(ctx)
	if err != nil {
		h.Metrics.Count(map[string]int64{"SettingsInvalid": 1})
		return err
	}
	n, err := h.Slack(ctx, s)
	if err != nil {
		return err
	}
	d.notifier, d.settings = n, s
	return nil
}

// tell says what one message is about, if Slack does not know it yet.
func (h *Handler) tell(ctx context.Context, d *desk, m *events.SQSMessage, sum *told) error {
	var item Item
	if err := json.Unmarshal([]byte(m.Body), &item); err != nil {
		return fmt.Errorf("the message is not one of Keytrail's: %w", err)
	}
	switch {
	case item.Digest != "":
		return h.digest(ctx, d, item.Digest, sum)
	case item.Alert != "":
		return h.alert(ctx, d, item.Alert, sum)
	}
	return errors.New("the message is not one of Keytrail's: it names neither an alert nor a digest")
}

func (h *Handler) alert(ctx context.Context, d *desk, id string, sum *told) error {
	pending, err := alert.Pending(ctx, h.Store, h.Now())
	if err != nil {
		return err
	}
	for _, a := range pending {
		if a.ID != id {
			continue
		}
		if err := h.open(ctx, d); err != nil {
			return err
		}
		n := h.notice(a, d.settings)
		if _, err := d.notifier.Notify(ctx, n); err != nil {
			return err
		}
		if err := alert.MarkNotified(ctx, h.Store, a); err != nil {
			return err
		}
		sum.ok++
		return nil
	}
	sum.stale++ // it was told already, or another alert goes on with its thread
	return nil
}

func (h *Handler) notice(a analyzer.Alert, s *analyzer.Settings) slack.Notice {
	d, ok := h.Catalog.ByID(a.Detection)
	if !ok {
		d = analyzer.Detection{ID: a.Detection, Title: a.Title}
	}
	return slack.BuildNotice(a, d, slack.NamesOf(s))
}

func (h *Handler) digest(ctx context.Context, d *desk, name string, sum *told) error {
	day, err := time.Parse(time.DateOnly, name)
	if err != nil {
		return fmt.Errorf("the message is not one of Keytrail's: %w", err)
	}
	// A digest of an earlier day that was begun comes first.
	for {
		digest, err := alert.DueDigest(ctx, h.Store, day)
		if err != nil || len(digest.Alerts) == 0 {
			return err
		}
		if err := h.open(ctx, d); err != nil {
			return err
		}
		notices := make([]slack.Notice, len(digest.Alerts))
		for i, a := range digest.Alerts {
			notices[i] = h.notice(a, d.settings)
		}
		of, err := time.Parse(time.DateOnly, digest.Day)
		if err != nil {
			return fmt.Errorf("read the digest of %s: %w", digest.Day, err)
		}
		if _, err := d.notifier.NotifyDigest(ctx, notices, of); err != nil {
			return err
		}
		if err := alert.MarkDigested(ctx, h.Store, digest); err != nil {
			return err
		}
		sum.ok++
	}
}

const (
	firstDelay = 10 * time.Second
	maxDelay   = 15 * time.Minute
)

// back sets when a message comes again. Should that fail, it comes when the
// queue's visibility timeout is over.
func (h *Handler) back(ctx context.Context, m *events.SQSMessage, why error, sum *told) {
	delay := time.Duration(0)
	limited := (*slack.RateLimited)(nil)
	switch {
	case errors.Is(why, errBehind), errors.Is(why, errNoTime):
	case errors.As(why, &limited):
		sum.limited++
		delay = min(limited.After, maxDelay)
	default:
		sum.failed++
		receives, err := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
		if err != nil {
			receives = 1
		}
		delay = min(firstDelay<<min(max(receives-1, 0), 10), maxDelay)
	}
	h.Log.ErrorContext(ctx, "a message comes again", "message", m.MessageId, "delay", delay.String(),
		"permanent", errors.Is(why, slack.ErrPermanent), "error", why)
	if err := h.Queue.Defer(ctx, m.ReceiptHandle, delay); err != nil {
		h.Log.WarnContext(ctx, "its delay could not be set", "message", m.MessageId, "error", err)
	}
}
