package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/slack"
	"github.com/keytrail/keytrail/analyzer/store/table"
	"github.com/keytrail/keytrail/analyzer/store/typed"
)

// SecretOptions say how to speak to Slack.
type SecretOptions struct {
	Secrets cloud.Secrets
	// ARN names a secret with a bot token or the address of a webhook.
	ARN     string
	Values  analyzer.ValueStore // for the ledger of what was posted
	Pace    slack.Pacer
	BaseURL string      // of the Web API; empty means Slack's own
	Clock   slack.Clock // nil means the wall clock
	Log     *slog.Logger
}

// FromSecret returns what makes a notifier from a secret: a webhook when it is
// an address, else a bot.
func FromSecret(o SecretOptions) func(context.Context, *analyzer.Settings) (slack.Notifier, error) {
	return func(ctx context.Context, s *analyzer.Settings) (slack.Notifier, error) {
		secret, err := o.Secrets.Secret(ctx, o.ARN)
		if err != nil {
			return nil, err
		}
		mentions, err := slack.MentionsOf(s)
		if err != nil {
			return nil, err
		}
		options := slack.Options{
			Settings: s.Slack, Mentions: mentions, Pace: o.Pace, BaseURL: o.BaseURL, Clock: o.Clock, Log: o.Log,
			Ledger: typed.Space[slack.Posted]{Values: o.Values, Name: "slack"},
		}
		if strings.HasPrefix(secret, "https://") || strings.HasPrefix(secret, "http://") {
			options.WebhookURL = slack.Secret(secret)
			return slack.NewWebhook(options)
		}
		options.Token = slack.Secret(secret)
		return slack.NewBot(options)
	}
}

const (
	// gap is the distance that Slack asks for between messages to one channel
	// (docs.slack.dev, "Rate limits").
	gap = time.Second
	// ahead is how long a message waits for its turn in a channel. One that would
	// wait longer goes back to its queue for that time.
	ahead = 3 * time.Second
)

// Pace spaces the messages to a channel over all senders. It implements
// slack.Pacer.
type Pace struct {
	Table cloud.Table
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error // nil means by the wall clock
}

// Wait returns when it is the caller's turn, or says how long that would take.
func (p Pace) Wait(ctx context.Context, channel string) error {
	now := p.Now()
	turn, err := table.Pace{Table: p.Table, Gap: gap, Ahead: ahead}.Reserve(ctx, channel, now)
	if errors.Is(err, table.ErrFull) {
		return &slack.RateLimited{After: turn.Sub(now), Said: true}
	}
	if err != nil {
		return fmt.Errorf("wait for a turn in the channel: %w", err)
	}
	sleep := p.Sleep
	if sleep == nil {
		sleep = slack.WallClock{}.Sleep
	}
	return sleep(ctx, turn.Sub(now))
}
