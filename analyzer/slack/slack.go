// Package slack tells people about alerts in Slack.
//
// A Notice is an alert in words, made by BuildNotice from the alert and the
// templates of its detection. Render turns it into a Message without any side
// effect; Preview prints messages without sending.
//
// Two notifiers send. Bot has a bot token: one parent message an alert, updated
// in place, repeats in its thread, rises of severity shown in the channel.
// Webhook has an incoming webhook, which returns no timestamp and so knows
// neither threads nor updates: it sends the first message and rises of
// severity, and each message says so. Decide holds the rules of both.
//
// One page for one thing: before a message is sent, the attempt is written to
// the Ledger; after Slack's answer it is removed. An attempt found again means
// that the answer was lost (a timeout, a 5xx after the message was posted, a
// killed process). Bot then searches the channel for the alert's id in the
// message metadata before it posts again. A webhook cannot search: its second
// message says that it may be one.
//
// Text from logs is hostile. It is shown in rich_text blocks, which Slack does
// not parse, after clean took out what could deceive a reader; commands are
// built from shell words (fillCommand). Nothing from a log becomes a link or a
// mention.
package slack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Notifier sends what Slack does not show yet of an alert. It can be called any
// number of times for the same state. retry tells whether a later call may
// succeed without anybody changing a setting; with a *RateLimited error it says
// when.
type Notifier interface {
	Notify(ctx context.Context, n Notice) (retry bool, err error)
	// NotifyDigest sends the digest of a day, once.
	NotifyDigest(ctx context.Context, notices []Notice, day time.Time) (retry bool, err error)
	// Check finds out whether messages can be sent, without sending one.
	Check(ctx context.Context) error
}

var (
	_ Notifier = (*Bot)(nil)
	_ Notifier = (*Webhook)(nil)
)

// Options are what both notifiers need. Token is for a Bot, WebhookURL for a
// Webhook.
type Options struct {
	Token      Secret
	WebhookURL Secret
	Settings   analyzer.SlackSettings
	// Mentions by severity, as View has them.
	Mentions map[analyzer.Severity]string
	Ledger   Ledger
	Clock    Clock        // nil means WallClock
	Pace     Pacer        // nil means one of its own, for a process that is alone
	Log      *slog.Logger // nil means none
	// BaseURL of the Web API, ending in a slash; empty means Slack's own.
	BaseURL string
	HTTP    *http.Client  // nil means one of its own; redirects are never followed
	Timeout time.Duration // of one call; 0 means 15 seconds
}

const (
	defaultBaseURL = "https://slack.com/api/"
	defaultTimeout = 15 * time.Second
	// maxAnswer bounds what is read of an answer: a page of 200 messages with
	// their blocks is far below.
	maxAnswer = 16 << 20
)

func (o *Options) defaults() error {
	if o.Ledger == nil {
		return errors.New("slack: no ledger was given")
	}
	if o.Clock == nil {
		o.Clock = WallClock{}
	}
	if o.Pace == nil {
		o.Pace = newPacer(o.Clock)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.BaseURL == "" {
		o.BaseURL = defaultBaseURL
	}
	if !strings.HasSuffix(o.BaseURL, "/") {
		o.BaseURL += "/"
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	for _, m := range o.Mentions {
		if err := CheckMention(m); err != nil {
			return err
		}
	}
	return nil
}

// turn waits for this sender's turn in a channel.
func (o *Options) turn(ctx context.Context, op, channel string) error {
	err := o.Pace.Wait(ctx, channel)
	if limited := (*RateLimited)(nil); err == nil || errors.As(err, &limited) {
		return err
	}
	return &Error{Op: op, Channel: channel, Code: "cancelled", cause: err}
}

// checkSecretURL refuses to send a secret in the clear, except within this host.
func checkSecretURL(what, s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return fmt.Errorf("slack: the %s is not a web address", what) // the address may be the secret: not shown
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return fmt.Errorf("slack: the %s must begin with https://", what)
	}
	return nil
}

// client sends requests and turns what fails on the way into errors that hold
// no secret.
type client struct {
	http    *http.Client
	clock   Clock
	secrets []Secret
}

func newClient(o Options) *client {
	c := http.Client{}
	if o.HTTP != nil {
		c = *o.HTTP
	}
	if c.Timeout == 0 || c.Timeout > o.Timeout {
		c.Timeout = o.Timeout
	}
	// A redirect would carry the token or the message to somebody else.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{http: &c, clock: o.Clock, secrets: []Secret{o.Token, o.WebhookURL}}
}

// Do sends a request; slack-go calls it too.
func (c *client) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, hide(err, c.secrets...)
	}
	if limited := asRateLimit(resp, c.clock.Now()); limited != nil {
		_ = resp.Body.Close() // nothing in it that we need
		return nil, limited
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

const (
	firstBackoff = time.Second
	maxBackoff   = time.Minute
)

// Patient calls f, one of a notifier's methods, until it succeeds, fails for
// good, or has been tried so many times; in between it waits as long as Slack
// asks for, or a second, two, four … up to a minute. It is for a program that
// has nothing better to do; a Lambda function gives the item back to its queue
// with RateLimited.After instead.
func Patient(ctx context.Context, clock Clock, tries int, f func(context.Context) (retry bool, err error)) error {
	backoff := firstBackoff
	for try := 1; ; try++ {
		retry, err := f(ctx)
		switch {
		case err == nil:
			return nil
		case !retry, stopped(ctx):
			return err
		case try >= tries:
			return fmt.Errorf("slack: gave up after %s: %w", fmt.Sprintf("%d tries", try), err)
		}
		pause := backoff
		if limited := (*RateLimited)(nil); errors.As(err, &limited) {
			pause = limited.After
		} else {
			backoff = min(2*backoff, maxBackoff)
		}
		if cerr := clock.Sleep(ctx, pause); cerr != nil {
			return errors.Join(err, cerr)
		}
	}
}
