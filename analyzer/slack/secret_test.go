package slack_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/slack"
	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
)

// Every way to fail is tried, and everything that comes out is searched for
// the secrets: errors, logs, payloads, and what Slack keeps.
func TestNoSecretLeavesByErrorLogOrMessage(t *testing.T) {
	faults := []slacktest.Fault{
		{},
		{Status: 403},
		{Status: 429},
		{Status: 301},
		{Code: "invalid_auth"},
		{Code: slacktest.Token},
		{Code: "invalid_blocks"},
		{Body: slacktest.Token},
		{Body: `{"ok":false,"error":"` + slacktest.Token + `"}`},
		{Body: `{"ok":false,"error":"invalid_auth","response_metadata":{"messages":["` + slacktest.Token + `"]}}`},
		{Drop: true},
		{Stall: true},
	}
	for _, f := range lost {
		faults = append(faults, f)
	}
	methods := []string{"chat.postMessage", "chat.update", "conversations.history", "conversations.list", "conversations.info", "auth.test", "webhook"}
	for i, fault := range faults {
		b := newBench(t)
		b.opts.Timeout = 50 * time.Millisecond
		b.opts.Settings.Channel = "#alerts"
		for _, m := range methods {
			b.slack.Fail(m, fault, fault)
		}
		var out bytes.Buffer
		bot, hook := b.bot(), b.webhook()
		log := slog.New(slog.NewJSONHandler(&out, nil))
		for range 3 {
			for _, nf := range []slack.Notifier{bot, hook} {
				for _, n := range []slack.Notice{notice(deletion), grown(notice(deletion), 2)} {
					_, err := nf.Notify(t.Context(), n)
					fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
					log.Info("notify", "error", err)
				}
				err := nf.Check(t.Context())
				fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
			}
		}
		fmt.Fprint(&out, b.log.String())
		for _, m := range b.slack.Messages("C0ALERTS") {
			fmt.Fprintf(&out, "%s %s %s %s\n", m.Text, m.Blocks, m.Attachments, m.Metadata)
		}
		require.NotContains(t, out.String(), slacktest.Token, "fault %d", i)
		require.NotContains(t, out.String(), secret, "fault %d", i)
	}

	// Nobody listens there.
	b := newBench(t)
	b.opts.BaseURL = "http://127.0.0.1:1/" + slacktest.Token + "/"
	b.opts.WebhookURL = "http://127.0.0.1:1/services/T0/B0/" + secret
	for _, nf := range []slack.Notifier{b.bot(), b.webhook()} {
		_, err := nf.Notify(t.Context(), notice(deletion))
		require.Error(t, err)
		require.NotContains(t, err.Error(), slacktest.Token)
		require.NotContains(t, err.Error(), secret)
	}
}

func TestSecretsPrintAsRedacted(t *testing.T) {
	s := slack.Secret("xoxb-" + secret)
	o := slack.Options{Token: s, Mentions: map[analyzer.Severity]string{}}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", s, "options", fmt.Sprint(o))
	j, err := json.Marshal(map[string]any{"s": s, "p": &s})
	require.NoError(t, err)
	for _, out := range []string{
		s.String(), fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), fmt.Sprintf("%v %+v %#v", o, o, o), string(j), log.String(),
	} {
		require.NotContains(t, out, secret)
		require.Contains(t, out, "[redacted]")
	}
	require.Empty(t, slack.Secret("").String())
}

// strictLedger refuses what is asked in a context that has ended, as a database
// does.
type strictLedger struct{ slack.Ledger }

func (l strictLedger) Put(ctx context.Context, id string, p slack.Posted) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.Ledger.Put(ctx, id, p)
}

// cancelAfter ends the caller's context once the whole answer is here.
type cancelAfter func()

func (cancel cancelAfter) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	cancel()
	return resp, nil
}

func TestWhatWasSentIsRecordedAlthoughTheCallerGaveUp(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.opts.Ledger = strictLedger{b.ledger}
	b.opts.HTTP = &http.Client{Transport: cancelAfter(cancel)}
	b.opts.WebhookURL = slack.Secret(b.slack.Webhook("C0ALERTS"))
	_, err := b.bot().Notify(ctx, notice(deletion))
	require.NoError(t, err)
	require.NotEmpty(t, b.posted(notice(deletion).Alert.ID).TS)
}

func TestALostMessageIsLookedForOnceSlackCanShowIt(t *testing.T) {
	b := newBench(t)
	b.slack.Fail("chat.postMessage", slacktest.Fault{Drop: true, Posted: true})
	_, err := b.bot().Notify(t.Context(), notice(deletion))
	require.Error(t, err)
	b.clock.advance(2 * time.Second)
	b.must(b.bot(), notice(deletion))
	require.Equal(t, []time.Duration{3 * time.Second}, b.clock.slept, "five seconds after the attempt")
}

func TestACancelledCallSaysSo(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.slack.Fail("chat.postMessage", slacktest.Fault{Stall: true, Posted: true, Then: cancel})
	retry, err := b.bot().Notify(ctx, notice(deletion))
	require.True(t, retry)
	require.ErrorIs(t, err, context.Canceled)
	require.NotNil(t, b.posted(notice(deletion).Alert.ID).Trying, "recorded although the caller gave up")
	b.must(b.bot(), notice(deletion))
	b.one()
}
