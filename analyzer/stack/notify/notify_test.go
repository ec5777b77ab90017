package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/settings"
	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/stack/config"
	"github.com/keytrail/keytrail/analyzer/store/storetest"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

const (
	secretARN = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:keytrail/slack-AbCdEf" //nolint:gosec // the name of a secret that is not there
	channel   = "C0SECURITY"
	hidden    = 6 * time.Minute
)

// fixture is a notify function over services in memory.
type fixture struct {
	*Handler
	t     *testing.T
	clock *cloudtest.Clock
	store *table.Store
	queue *cloudtest.Queue
	slack *slacktest.Server
	log   bytes.Buffer
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: cloudtest.NewClock(time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC))}
	now := f.clock.Now
	items := cloudtest.NewTable(cloudtest.TableOptions{Now: now})
	f.store = table.New(items, table.Options{Now: now})
	f.queue = cloudtest.NewQueue(cloudtest.QueueOptions{FIFO: true, Now: now})
	f.slack = slacktest.New(now)
	t.Cleanup(f.slack.Close)
	f.slack.AddChannel(slacktest.Channel{ID: channel, Name: "security", Member: true})
	catalog, err := config.Catalog()
	require.NoError(t, err)
	s := settings.Default()
	s.Slack.Channel = channel
	log := slog.New(slog.NewJSONHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.Handler = &Handler{
		Store: f.store, Queue: f.queue, Catalog: catalog, Reserve: 10 * time.Second, Now: now, Log: log,
		Settings: func(context.Context) (*analyzer.Settings, error) { return s, nil },
		Slack: FromSecret(SecretOptions{
			Secrets: cloudtest.NewSecrets(map[string]string{secretARN: slacktest.Token}, cloudtest.Hooks{}), ARN: secretARN,
			Values: f.store, Pace: Pace{Table: items, Now: now, Sleep: f.clock.Sleep}, BaseURL: f.slack.URL, Clock: f.clock, Log: log,
		}),
		Metrics: &stack.Metrics{Out: &f.log, Stack: "test", Now: now},
	}
	return f
}

// raise makes alerts about keys and queues them.
func (f *fixture) raise(keys ...string) {
	f.t.Helper()
	var findings []analyzer.Finding
	for _, k := range keys {
		findings = append(findings, storetest.Finding("KMS-D01", k, f.clock.Now()))
	}
	_, err := alert.Apply(f.t.Context(), f.store, analyzer.TickResult{Findings: findings}, alert.Rules{})
	require.NoError(f.t, err)
	due, err := alert.Unqueued(f.t.Context(), f.store)
	require.NoError(f.t, err)
	for _, a := range due {
		m, err := Message(Item{Alert: a.ID, Revision: a.Revision}, a.Thread)
		require.NoError(f.t, err)
		require.NoError(f.t, f.queue.Send(f.t.Context(), m))
		require.NoError(f.t, alert.MarkQueued(f.t.Context(), f.store, a))
	}
}

// deliver gives the function what the queue has, as Lambda does, and returns
// how many messages went back.
func (f *fixture) deliver() (back int) {
	f.t.Helper()
	messages, err := f.queue.Receive(f.t.Context(), hidden)
	require.NoError(f.t, err)
	var ev events.SQSEvent
	for _, m := range messages {
		ev.Records = append(ev.Records, events.SQSMessage{MessageId: m.ID, ReceiptHandle: m.Receipt, Body: m.Body, Attributes: map[string]string{
			"MessageGroupId": m.Group, "ApproximateReceiveCount": fmt.Sprint(m.Receives),
		}})
	}
	answer, err := f.Handle(f.t.Context(), ev)
	require.NoError(f.t, err)
	failed := map[string]bool{}
	for _, b := range answer.BatchItemFailures {
		failed[b.ItemIdentifier] = true
	}
	for _, m := range messages {
		if !failed[m.ID] {
			require.NoError(f.t, f.queue.Delete(f.t.Context(), m.Receipt))
		}
	}
	return len(failed)
}

func (f *fixture) messages() int { return len(f.slack.Messages(channel)) }

func TestAnAlertIsToldOnce(t *testing.T) {
	f := newFixture(t)
	f.raise("one", "two")
	require.Zero(t, f.deliver())
	require.Equal(t, 2, f.messages())
	require.Empty(t, f.queue.Messages())
	due, err := alert.Pending(t.Context(), f.store, f.clock.Now())
	require.NoError(t, err)
	require.Empty(t, due)

	// The same message again, as after an answer that SQS did not get.
	alerts, err := f.store.Alerts(t.Context(), time.Time{})
	require.NoError(t, err)
	m, err := Message(Item{Alert: alerts[0].ID, Revision: 1}, alerts[0].Thread)
	require.NoError(t, err)
	f.clock.Advance(6 * time.Minute) // the queue has forgotten it
	require.NoError(t, f.queue.Send(t.Context(), m))
	require.Zero(t, f.deliver())
	require.Equal(t, 2, f.messages())
}

func TestRetryAfterBecomesADelay(t *testing.T) {
	f := newFixture(t)
	f.raise("one")
	f.slack.Fail("chat.postMessage", slacktest.Fault{Status: 429, RetryAfter: "77"})
	require.Equal(t, 1, f.deliver())
	f.clock.Advance(76 * time.Second)
	require.Zero(t, f.queue.Waiting())
	f.clock.Advance(2 * time.Second)
	require.Equal(t, 1, f.queue.Waiting())
	require.Zero(t, f.deliver())
	require.Equal(t, 1, f.messages())
	require.Contains(t, f.log.String(), `"SlackRateLimited":1`)
}

func TestFailuresComeAgainLaterEachTime(t *testing.T) {
	f := newFixture(t)
	f.raise("one")
	var waits []time.Duration
	for range 9 {
		f.slack.Fail("chat.postMessage", slacktest.Fault{Code: "channel_not_found"})
		require.Equal(t, 1, f.deliver())
		began := f.clock.Now()
		for f.queue.Waiting() == 0 {
			f.clock.Advance(time.Second)
		}
		waits = append(waits, f.clock.Now().Sub(began))
	}
	require.Equal(t, []time.Duration{
		10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 320 * time.Second,
		640 * time.Second, 15 * time.Minute, 15 * time.Minute,
	}, waits)
	// Somebody has invited the bot.
	require.Zero(t, f.deliver())
	require.Equal(t, 1, f.messages())
}

func TestAThreadKeepsItsOrder(t *testing.T) {
	f := newFixture(t)
	f.raise("one", "two")
	f.slack.Fail("chat.postMessage", slacktest.Fault{Status: 503})
	require.Equal(t, 1, f.deliver(), "the other thread goes on")
	require.Equal(t, 1, f.messages())

	var sum told
	var room desk
	stuck := events.SQSMessage{MessageId: "a", Body: "no JSON"}
	require.Error(t, f.tell(t.Context(), &room, &stuck, &sum))
	answer, err := f.Handle(t.Context(), events.SQSEvent{Records: []events.SQSMessage{
		{MessageId: "a", Body: "no JSON", Attributes: map[string]string{"MessageGroupId": "g"}},
		{MessageId: "b", Body: `{"alert":"a-gone"}`, Attributes: map[string]string{"MessageGroupId": "g"}},
		{MessageId: "c", Body: `{"alert":"a-gone"}`, Attributes: map[string]string{"MessageGroupId": "h"}},
	}})
	require.NoError(t, err)
	require.Equal(t, []events.SQSBatchItemFailure{{ItemIdentifier: "a"}, {ItemIdentifier: "b"}}, answer.BatchItemFailures)
}

func TestSendersShareThePaceOfAChannel(t *testing.T) {
	f := newFixture(t)
	var names []string
	for i := range 9 {
		names = append(names, fmt.Sprint("key", i))
	}
	f.raise(names...)
	began := f.clock.Now()
	f.deliver()
	require.LessOrEqual(t, f.messages(), int(f.clock.Now().Sub(began)/time.Second)+1, "one message a second")
	for len(f.queue.Messages()) > 0 {
		f.clock.Advance(time.Second)
		f.deliver()
	}
	require.Equal(t, 9, f.messages())
	stamps := map[string]bool{}
	for _, m := range f.slack.Messages(channel) {
		second, _, _ := strings.Cut(m.TS, ".")
		require.False(t, stamps[second], "two messages in second %s", second)
		stamps[second] = true
	}
}

func TestTheDigestOfADayIsToldOnce(t *testing.T) {
	f := newFixture(t)
	finding := storetest.Finding("KMS-D02", "one", f.clock.Now().AddDate(0, 0, -1))
	finding.Severity = analyzer.Low
	_, err := alert.Apply(t.Context(), f.store, analyzer.TickResult{Findings: []analyzer.Finding{finding}}, alert.Rules{})
	require.NoError(t, err)
	for range 2 {
		m, err := Message(Item{Digest: "2026-03-01"}, "digest")
		require.NoError(t, err)
		require.NoError(t, f.queue.Send(t.Context(), m))
		require.Zero(t, f.deliver())
		f.clock.Advance(6 * time.Minute)
	}
	require.Equal(t, 1, f.messages())
	require.Contains(t, f.slack.Messages(channel)[0].Text, "1 March 2026")
}

func TestTheSecretIsNeverLogged(t *testing.T) {
	f := newFixture(t)
	f.raise("one")
	faults := []slacktest.Fault{
		{Code: "invalid_auth"},
		{Status: 500},
		{Drop: true},
		{Status: 302},
		{Body: slacktest.Token},
		{Code: "internal_error", Posted: true},
		{Status: 429},
	}
	for _, fault := range faults {
		f.slack.Fail("chat.postMessage", fault)
		f.deliver()
		f.clock.Advance(time.Hour)
	}
	f.deliver()
	require.NotContains(t, f.log.String(), slacktest.Token)
	require.NotContains(t, f.log.String(), slacktest.Token[5:30])
	require.Contains(t, f.log.String(), "invalid_auth", "what went wrong is said")
	secret := f.Slack
	f.Slack = FromSecret(SecretOptions{
		Secrets: cloudtest.NewSecrets(map[string]string{secretARN: "http://hooks.example.com/T000/B000/secretsecret"}, cloudtest.Hooks{}), //nolint:gosec // a made-up address
		ARN:     secretARN, Values: f.store, Log: f.Log,
	})
	f.raise("two")
	f.deliver()
	f.Slack = secret
	require.NotContains(t, f.log.String(), "secretsecret")
}

func TestMessagesNameWhatTheyAreAbout(t *testing.T) {
	m, err := Message(Item{Alert: "a-1", Revision: 3}, "a-0")
	require.NoError(t, err)
	require.Equal(t, cloud.Message{Body: `{"alert":"a-1","revision":3}`, Group: "a-0", Dedup: "a-1-3"}, m)
	m, err = Message(Item{Digest: "2026-03-01"}, "digest")
	require.NoError(t, err)
	require.True(t, json.Valid([]byte(m.Body)))
	require.Equal(t, "digest-2026-03-01", m.Dedup)
}
