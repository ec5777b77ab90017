package slack_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/slack"
	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
)

// clock counts; sleeping moves it.
type clock struct {
	mu    sync.Mutex
	t     time.Time
	slept []time.Duration
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
	c.slept = append(c.slept, d)
	return ctx.Err()
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// bench is a Slack with everything a notifier needs.
type bench struct {
	t      *testing.T
	slack  *slacktest.Server
	clock  *clock
	ledger slack.Ledger
	log    strings.Builder
	opts   slack.Options
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, clock: newClock(), ledger: &slack.MemoryLedger{}}
	b.slack = slacktest.New(b.clock.Now)
	t.Cleanup(b.slack.Close)
	b.opts = slack.Options{
		Token: slacktest.Token, BaseURL: b.slack.URL, Ledger: b.ledger, Clock: b.clock,
		Settings: analyzer.SlackSettings{Channel: "C0ALERTS"},
		Log:      slog.New(slog.NewTextHandler(&b.log, nil)),
	}
	return b
}

// bot is a process that starts: nothing but the ledger is shared with others.
func (b *bench) bot() *slack.Bot {
	b.t.Helper()
	bot, err := slack.NewBot(b.opts)
	require.NoError(b.t, err)
	return bot
}

func (b *bench) webhook() *slack.Webhook {
	b.t.Helper()
	if b.opts.WebhookURL == "" {
		b.opts.WebhookURL = slack.Secret(b.slack.Webhook("C0ALERTS"))
	}
	w, err := slack.NewWebhook(b.opts)
	require.NoError(b.t, err)
	return w
}

func (b *bench) must(nf slack.Notifier, n slack.Notice) {
	b.t.Helper()
	retry, err := nf.Notify(b.t.Context(), n)
	require.NoError(b.t, err)
	require.False(b.t, retry)
}

func (b *bench) posted(id string) slack.Posted {
	b.t.Helper()
	p, err := b.ledger.Get(b.t.Context(), id)
	require.NoError(b.t, err)
	return p
}

// one returns the only message of the channel.
func (b *bench) one() slacktest.Message {
	b.t.Helper()
	list := b.slack.Messages("C0ALERTS")
	require.Len(b.t, list, 1)
	return list[0]
}

var errCrash = errors.New("the process was killed")

// crashingLedger lets so many writes through and then fails: before the write
// took effect, as a killed process does.
type crashingLedger struct {
	slack.Ledger
	left int
}

func (l *crashingLedger) Put(ctx context.Context, id string, p slack.Posted) error {
	if l.left == 0 {
		return errCrash
	}
	l.left--
	return l.Ledger.Put(ctx, id, p)
}

const (
	key    = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	secret = "slacktestwebhooksecret"
)

var names = slack.Names{
	Account: func(id string) string {
		return map[string]string{"111122223333": "Payments production", "444455556666": "Data platform"}[id]
	},
	KeyAlias:    func(arn string) string { return map[string]string{key: "alias/payments-db"}[arn] },
	RunbookBase: "https://github.com/keytrail/keytrail/blob/main/infra/runbooks",
}

// deletion is a high alert: a key that is to be deleted.
func deletion() (analyzer.Alert, analyzer.Detection) {
	at := time.Date(2026, 3, 2, 2, 47, 9, 0, time.UTC)
	a := analyzer.Alert{
		ID: "a-dkf3m2xq7wl5t6ynhz4r", Detection: "KMS-D01", Severity: analyzer.High,
		Action: analyzer.ActionPage, Reason: "severity high", State: analyzer.AlertOpen,
		FindingIDs: []string{"f-1"}, FirstTime: at, LastTime: at, Count: 1, Title: "Key deletion scheduled",
		Principal: "arn:aws:iam::111122223333:role/deploy-ci", Key: key, Account: "111122223333", Region: "eu-west-1",
		Entity: map[string]string{"key_arn": key},
		Latest: analyzer.Finding{
			ID: "f-1", Detection: "KMS-D01", EventIDs: []string{"4f7c1c52-7a0e-4a8e-9d39-0d9a5a0c8b11"},
			Evidence: map[string]any{
				"principal_type": "role", "principal_name": "deploy-ci", "session_name": "build-4411",
				"source_ip": "198.51.100.23", "network": "public", "client": "aws-cli",
				"pending_window_days": 7, "deletion_date": time.Date(2026, 3, 9, 2, 47, 9, 0, time.UTC),
				"last_used": time.Date(2026, 3, 2, 2, 44, 0, 0, time.UTC),
			},
		},
	}
	d := analyzer.Detection{
		ID: "KMS-D01", Title: "Key deletion scheduled", Severity: analyzer.High, Family: "destruction",
		Summary: "{principal_name} scheduled the key {key_name} for deletion in {pending_window_days} days; until then nothing can be encrypted or decrypted with it.",
		AtRisk:  "Everything encrypted under {key_name} is unreadable now and lost for ever after {deletion_date}. It was last used on {last_used}.",
		Runbook: "1. Ask the owner of {principal_name} whether this was meant; if you cannot reach them within minutes, cancel the deletion: that costs nothing. 2. Look for more of the same caller: KMS-D02, D03, D04. 3. If the caller is not known to you, disable its credentials.\n\nMore in the runbook.",
		Undo:    "aws kms cancel-key-deletion --key-id {key_arn} --region {region}\naws kms enable-key --key-id {key_arn} --region {region}",
	}
	return a, d
}

// opened is a critical alert: a key policy that lets anybody in.
func opened() (analyzer.Alert, analyzer.Detection) {
	at := time.Date(2026, 3, 2, 3, 12, 44, 0, time.UTC)
	a := analyzer.Alert{
		ID: "a-p3q7wl5t6ynhz4rdkf3m", Detection: "KMS-P03", Severity: analyzer.Critical,
		Action: analyzer.ActionPage, Reason: "severity critical", State: analyzer.AlertOpen,
		FindingIDs: []string{"f-2"}, FirstTime: at, LastTime: at, Count: 1, Title: "Key policy opened to everyone",
		Principal: "arn:aws:iam::111122223333:role/support-tools", Key: key, Account: "111122223333", Region: "eu-west-1",
		Entity: map[string]string{"key_arn": key},
		Latest: analyzer.Finding{
			ID: "f-2", Detection: "KMS-P03", EventIDs: []string{"c8a1b7e2-5f5d-4c55-8f26-7be9f1a0d6aa"},
			Evidence: map[string]any{
				"principal_type": "role", "principal_name": "support-tools", "person": "mallory@example.com",
				"source_ip": "203.0.113.77", "network": "public", "client": "boto3", "mfa": "false",
				"principals_before": []string{"arn:aws:iam::111122223333:root"},
				"principals_after":  []string{"*", "arn:aws:iam::111122223333:root"},
				"policy_public":     []string{"AllowAll: kms:Decrypt, kms:CreateGrant"},
			},
		},
	}
	d := analyzer.Detection{
		ID: "KMS-P03", Title: "Key policy opened to everyone", Severity: analyzer.Critical, Family: "policy",
		Summary: "{principal_name} changed the policy of the key {key_name} so that anybody with an AWS account may use it.",
		AtRisk:  "Whoever holds data encrypted under {key_name} can decrypt it from any AWS account, and can keep that right with a grant.",
		Runbook: "Put the previous policy back now, then look for uses of the key by other accounts (KMS-U07) and for new grants (KMS-G01) since the change.",
		Undo:    "aws kms get-key-policy --key-id {key_arn} --policy-name default --region {region} --output text > opened-policy.json\naws kms put-key-policy --key-id {key_arn} --policy-name default --region {region} --policy file://previous-policy.json",
	}
	return a, d
}

// spike is a medium alert: many decrypts.
func spike() (analyzer.Alert, analyzer.Detection) {
	first := time.Date(2026, 3, 2, 14, 5, 0, 0, time.UTC)
	ids := make([]string, 0, 50)
	for i := range 50 {
		ids = append(ids, strings.Repeat("0", 7)+string(rune('0'+i%10))+"-aaaa-4bbb-8ccc-"+strings.Repeat("d", 12))
	}
	a := analyzer.Alert{
		ID: "a-u3ynhz4rdkf3mp3q7wl5", Detection: "KMS-U03", Severity: analyzer.Medium,
		Action: analyzer.ActionPost, Reason: "severity medium", State: analyzer.AlertOpen,
		FindingIDs: []string{"f-3", "f-4"}, FirstTime: first, LastTime: first.Add(38 * time.Minute), Count: 12480,
		Title:     "Decrypt spike",
		Principal: "arn:aws:iam::444455556666:user/anna", Account: "444455556666", Region: "eu-central-1",
		Key:    "arn:aws:kms:eu-central-1:444455556666:key/mrk-0123456789abcdef0123456789abcdef",
		Entity: map[string]string{"principal": "arn:aws:iam::444455556666:user/anna"},
		Latest: analyzer.Finding{
			ID: "f-4", Detection: "KMS-U03", EventIDs: ids,
			Evidence: map[string]any{
				"principal_type": "user", "principal_name": "anna", "source_ip": "192.0.2.14", "network": "public",
				"client": "boto3", "usual_per_hour": 210.0, "key_count": 1,
			},
		},
	}
	d := analyzer.Detection{
		ID: "KMS-U03", Title: "Decrypt spike", Severity: analyzer.Medium, Family: "use",
		Summary: "{principal_name} decrypted {count} times with the key {key_name}; {usual_per_hour} an hour is usual.",
		AtRisk:  "The data behind {key_name} may be read out in bulk.",
		Runbook: "Ask {principal_name} what runs. If nobody knows, deactivate the access key and look at which data was read.",
		Undo:    "aws iam list-access-keys --user-name {principal_name}\naws iam update-access-key --user-name {principal_name} --access-key-id {access_key} --status Inactive",
	}
	return a, d
}

func notice(f func() (analyzer.Alert, analyzer.Detection)) slack.Notice {
	a, d := f()
	return slack.BuildNotice(a, d, names)
}

// grown is the notice with more events.
func grown(n slack.Notice, count int64) slack.Notice {
	n.Alert.Count = count
	n.Alert.LastTime = n.Alert.LastTime.Add(time.Duration(count) * time.Second)
	return n
}
