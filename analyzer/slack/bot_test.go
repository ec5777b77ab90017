package slack_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/slack"
	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
)

func TestAnAlertIsOneMessageThatGrows(t *testing.T) {
	b := newBench(t)
	bot, n := b.bot(), notice(deletion)

	b.must(bot, n)
	parent := b.one()
	require.Contains(t, string(parent.Metadata), n.Alert.ID)
	require.Contains(t, string(parent.Metadata), `"revision":1`)

	b.must(bot, n)
	require.Zero(t, b.one().Edits, "nothing is new, nothing is sent")

	// 1, 2, … 40 events: replies at the first repeat and at each doubling.
	for count := int64(2); count <= 40; count++ {
		b.must(bot, grown(n, count))
	}
	parent = b.one()
	require.Contains(t, string(parent.Attachments), "40 events")
	thread := b.slack.Thread("C0ALERTS", parent.TS)
	require.Len(t, thread, 5, "at 2, 4, 8, 16 and 32")
	require.Contains(t, string(thread[4].Blocks), "16 more since the last message here, 32 in all")

	raised := grown(n, 41)
	raised.Alert.Severity = analyzer.Critical
	b.must(bot, raised)
	list := b.slack.Messages("C0ALERTS")
	require.Len(t, list, 2, "the rise is shown in the channel")
	require.Equal(t, "thread_broadcast", list[1].Subtype)
	require.Contains(t, string(list[1].Blocks), "Severity rises from high to critical.")
	require.Contains(t, string(list[0].Blocks), "Critical")
	require.Contains(t, string(list[0].Attachments), "#c4161c")
}

func TestChangedKeyDataIsToldInTheThread(t *testing.T) {
	b := newBench(t)
	bot, n := b.bot(), notice(opened)
	b.must(bot, n)
	for i := range 30 {
		n = grown(n, 1)
		n.Changed = fmt.Sprintf("principals: %d", i)
		b.must(bot, n)
	}
	parent := b.one()
	require.Contains(t, string(parent.Attachments), "principals: 29")
	require.Len(t, b.slack.Thread("C0ALERTS", parent.TS), 10, "an attacker cannot fill the thread")
}

func TestDecisions(t *testing.T) {
	n := notice(deletion)
	told := slack.Posted{TS: "1.000001", Count: 1, RepliedCount: 1, Severity: analyzer.High, Digest: "d"}
	told.KeyData = keyDataOf(t, n)
	with := func(f func(p *slack.Posted, n *slack.Notice)) (slack.Posted, slack.Notice) {
		p, m := told, n
		f(&p, &m)
		return p, m
	}
	for name, c := range map[string]struct {
		change  func(p *slack.Posted, n *slack.Notice)
		digest  string
		webhook bool
		want    slack.Decision
	}{
		"nothing posted yet": {
			change: func(p *slack.Posted, _ *slack.Notice) { *p = slack.Posted{} },
			want:   slack.Decision{Reason: slack.ReasonFirst, Post: true},
		},
		"a digest alert is not posted": {
			change: func(p *slack.Posted, n *slack.Notice) { *p = slack.Posted{}; n.Alert.Action = analyzer.ActionDigest },
			want:   slack.Decision{Reason: slack.ReasonNotPosted},
		},
		"a silenced alert that was posted is kept true without a word": {
			change: func(_ *slack.Posted, n *slack.Notice) { n.Alert.Action = analyzer.ActionNone; n.Alert.Count = 9 },
			digest: "e", want: slack.Decision{Reason: slack.ReasonWentQuiet, Update: true},
		},
		"a silenced alert of a webhook": {
			change: func(_ *slack.Posted, n *slack.Notice) { n.Alert.Action = analyzer.ActionNone; n.Alert.Count = 9 },
			digest: "e", webhook: true, want: slack.Decision{Reason: slack.ReasonNotPosted},
		},
		"nothing changed": {want: slack.Decision{Reason: slack.ReasonUnchanged}},
		"the first repeat": {
			change: func(_ *slack.Posted, n *slack.Notice) { n.Alert.Count = 2 },
			want:   slack.Decision{Reason: slack.ReasonFirstRepeat, Update: true, Reply: true},
		},
		"the second repeat": {
			change: func(p *slack.Posted, n *slack.Notice) { p.Replies, p.Count, p.RepliedCount, n.Alert.Count = 1, 2, 2, 3 },
			want:   slack.Decision{Reason: slack.ReasonCountOnly, Update: true},
		},
		"twice the count": {
			change: func(p *slack.Posted, n *slack.Notice) { p.Replies, p.Count, p.RepliedCount, n.Alert.Count = 1, 3, 2, 4 },
			want:   slack.Decision{Reason: slack.ReasonCountDoubled, Update: true, Reply: true},
		},
		"a rise of severity": {
			change: func(_ *slack.Posted, n *slack.Notice) { n.Alert.Severity = analyzer.Critical },
			want:   slack.Decision{Reason: slack.ReasonSeverityRaised, Update: true, Reply: true, Broadcast: true},
		},
		"another principal": {
			change: func(_ *slack.Posted, n *slack.Notice) {
				n.Alert.Principal = "arn:aws:iam::111122223333:user/other"
			},
			want: slack.Decision{Reason: slack.ReasonKeyDataChanged, Update: true, Reply: true},
		},
		"another wording": {
			digest: "e", want: slack.Decision{Reason: slack.ReasonDetailChanged, Update: true},
		},
		"a repeat by webhook": {
			change: func(_ *slack.Posted, n *slack.Notice) { n.Alert.Count = 2 }, digest: "e", webhook: true,
			want: slack.Decision{Reason: slack.ReasonThreadsUnsupported},
		},
		"a rise by webhook": {
			change: func(_ *slack.Posted, n *slack.Notice) { n.Alert.Severity = analyzer.Critical }, webhook: true,
			want: slack.Decision{Reason: slack.ReasonSeverityRaised, Post: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.change == nil {
				c.change = func(*slack.Posted, *slack.Notice) {}
			}
			p, m := with(c.change)
			digest := "d"
			if c.digest != "" {
				digest = c.digest
			}
			require.Equal(t, c.want, slack.Decide(p, m, digest, !c.webhook))
		})
	}
}

// keyDataOf asks a notifier what it would record.
func keyDataOf(t *testing.T, n slack.Notice) string {
	t.Helper()
	b := newBench(t)
	b.must(b.bot(), n)
	return b.posted(n.Alert.ID).KeyData
}

// lost are the ways to lose Slack's answer.
var lost = map[string]slacktest.Fault{
	"a 503":                     {Status: 503},
	"a 500":                     {Status: 500},
	"a cut connection":          {Drop: true},
	"internal_error":            {Code: "internal_error"},
	"fatal_error":               {Code: "fatal_error"},
	"service_unavailable":       {Code: "service_unavailable"},
	"an answer that is not one": {Body: "<html>welcome to the hotel</html>"},
	"an empty answer":           {Body: "{}"},
	"half an answer":            {Body: `{"ok":true,"ts":"17`},
	"no answer in time":         {Stall: true},
}

func TestALostAnswerMakesNoSecondMessage(t *testing.T) {
	for name, fault := range lost {
		for _, posted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, posted %v", name, posted), func(t *testing.T) {
				b := newBench(t)
				b.opts.Timeout = 100 * time.Millisecond // real: for the stalled call only
				n := notice(deletion)
				fault.Posted = posted
				b.slack.Say("C0ALERTS", "a message of somebody else")
				b.slack.Fail("chat.postMessage", fault)

				retry, err := b.bot().Notify(t.Context(), n)
				require.Error(t, err)
				require.True(t, retry)
				require.NotErrorIs(t, err, slack.ErrPermanent)
				require.NotNil(t, b.posted(n.Alert.ID).Trying)

				b.opts.Timeout = 0
				b.clock.advance(3 * time.Minute)
				b.slack.Say("C0ALERTS", "another one")
				b.must(b.bot(), n)
				require.Len(t, b.slack.Messages("C0ALERTS"), 3, "ours and two of somebody else")
				p := b.posted(n.Alert.ID)
				require.Nil(t, p.Trying)
				require.NotEmpty(t, p.TS)

				// And the message that was found is the one that goes on.
				b.must(b.bot(), grown(n, 2))
				require.Len(t, b.slack.Thread("C0ALERTS", p.TS), 1)
			})
		}
	}
}

func TestALostReplyMakesNoSecondReply(t *testing.T) {
	for name, fault := range lost {
		for _, posted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, posted %v", name, posted), func(t *testing.T) {
				b := newBench(t)
				b.opts.Timeout = 100 * time.Millisecond
				n := notice(deletion)
				b.must(b.bot(), n)
				fault.Posted = posted
				b.slack.Fail("chat.postMessage", fault)
				raised := grown(n, 2)
				raised.Alert.Severity = analyzer.Critical
				retry, err := b.bot().Notify(t.Context(), raised)
				require.Error(t, err)
				require.True(t, retry)

				b.must(b.bot(), raised)
				thread := b.slack.Thread("C0ALERTS", b.posted(n.Alert.ID).TS)
				require.Len(t, thread, 1)
				require.Equal(t, "thread_broadcast", thread[0].Subtype)
				require.Contains(t, string(b.slack.Messages("C0ALERTS")[0].Attachments), "2 events")
				b.must(b.bot(), raised)
				require.Len(t, b.slack.Thread("C0ALERTS", thread[0].ThreadTS), 1)
			})
		}
	}
}

func TestALostUpdateIsRepeated(t *testing.T) {
	for name, fault := range lost {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.opts.Timeout = 100 * time.Millisecond
			n := notice(deletion)
			b.must(b.bot(), n)
			b.slack.Fail("chat.update", fault)
			retry, err := b.bot().Notify(t.Context(), grown(n, 2))
			require.Error(t, err)
			require.True(t, retry)
			b.must(b.bot(), grown(n, 2))
			require.Contains(t, string(b.one().Attachments), "2 events")
			require.Len(t, b.slack.Thread("C0ALERTS", b.one().TS), 1)
		})
	}
}

// The process is killed before each write of the ledger in turn, then starts
// again and is given the same alerts.
func TestKilledAtAnyStepItPagesOnce(t *testing.T) {
	n := notice(deletion)
	raised := grown(n, 5)
	raised.Alert.Severity = analyzer.Critical
	story := []slack.Notice{n, grown(n, 2), grown(n, 3), raised}

	crashed := true
	steps := 0
	for ; crashed; steps++ {
		b := newBench(t)
		crash := &crashingLedger{Ledger: b.ledger, left: steps}
		b.opts.Ledger = crash
		crashed = false
		for i := 0; i < len(story); i++ {
			_, err := b.bot().Notify(t.Context(), story[i])
			if err != nil {
				require.ErrorIs(t, err, errCrash)
				require.False(t, crashed, "one crash only")
				crashed = true
				crash.left = -1 // restarted: from now on the ledger works
				i--
			}
		}
		list := b.slack.Messages("C0ALERTS")
		require.Len(t, list, 2, "step %d: the parent and the rise", steps)
		require.Len(t, b.slack.Thread("C0ALERTS", list[0].TS), 2, "step %d: the first repeat and the rise", steps)
		require.Contains(t, string(list[0].Attachments), "5 events", "step %d", steps)
	}
	require.Greater(t, steps, 8)
}

func TestTheSearchForALostMessageReadsEveryPage(t *testing.T) {
	b := newBench(t)
	n := notice(deletion)
	b.slack.Fail("chat.postMessage", slacktest.Fault{Drop: true, Posted: true})
	_, err := b.bot().Notify(t.Context(), n)
	require.Error(t, err)
	for i := range 450 {
		b.slack.Say("C0ALERTS", fmt.Sprint("chatter ", i))
	}
	b.must(b.bot(), n)
	require.Len(t, b.slack.Messages("C0ALERTS"), 451)
	require.Len(t, b.slack.Calls("conversations.history"), 3)
	first := b.slack.Calls("conversations.history")[0].Form
	require.NotEmpty(t, first.Get("oldest"), "the search is bounded")
	require.NotEmpty(t, first.Get("latest"))
}

func TestAnotherAlertsMessageIsNotTakenForOurs(t *testing.T) {
	b := newBench(t)
	n, other := notice(deletion), notice(opened)
	b.must(b.bot(), other)
	b.slack.Fail("chat.postMessage", slacktest.Fault{Drop: true})
	_, err := b.bot().Notify(t.Context(), n)
	require.Error(t, err)
	b.must(b.bot(), n)
	require.Len(t, b.slack.Messages("C0ALERTS"), 2)
	require.NotEqual(t, b.posted(n.Alert.ID).TS, b.posted(other.Alert.ID).TS)
}

func TestRateLimitsAreReportedWithTheDelayThatSlackAsksFor(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		want   slack.RateLimited
	}{
		"seconds":         {"7", slack.RateLimited{After: 7 * time.Second, Said: true}},
		"a date":          {"Mon, 02 Mar 2026 09:02:00 GMT", slack.RateLimited{After: 2 * time.Minute, Said: true}},
		"nothing":         {"", slack.RateLimited{After: 30 * time.Second}},
		"nonsense":        {"soon", slack.RateLimited{After: 30 * time.Second}},
		"zero":            {"0", slack.RateLimited{After: time.Second, Said: true}},
		"a week, no less": {"604800", slack.RateLimited{After: 15 * time.Minute, Said: true}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			n := notice(deletion)
			b.slack.Fail("chat.postMessage", slacktest.Fault{Status: 429, RetryAfter: c.header})
			retry, err := b.bot().Notify(t.Context(), n)
			require.True(t, retry)
			var limited *slack.RateLimited
			require.ErrorAs(t, err, &limited)
			require.Equal(t, c.want, *limited)
			require.Nil(t, b.posted(n.Alert.ID).Trying, "nothing was posted, nothing has to be looked for")
			b.must(b.bot(), n)
			require.Empty(t, b.slack.Calls("conversations.history"))
			b.one()

			hook := b.webhook()
			b.slack.Fail("webhook", slacktest.Fault{Status: 429, RetryAfter: c.header})
			retry, err = hook.Notify(t.Context(), notice(opened))
			require.True(t, retry)
			require.ErrorAs(t, err, &limited)
			require.Equal(t, c.want.After, limited.After)
		})
	}
}

func TestPatientWaitsAsLongAsSlackAsks(t *testing.T) {
	b := newBench(t)
	n := notice(deletion)
	b.slack.Fail("chat.postMessage",
		slacktest.Fault{Status: 429, RetryAfter: "17"}, slacktest.Fault{Status: 429},
		slacktest.Fault{Code: "service_unavailable"}, slacktest.Fault{Status: 502})
	bot := b.bot()
	err := slack.Patient(t.Context(), b.clock, 10, func(ctx context.Context) (bool, error) { return bot.Notify(ctx, n) })
	require.NoError(t, err)
	b.one()
	// 17 s as asked, 30 s by default, 1 s and 2 s of backoff, each of the two
	// doubtful answers looked up once it can be seen.
	require.Subset(t, b.clock.slept, []time.Duration{17 * time.Second, 30 * time.Second, time.Second, 2 * time.Second})
}

func TestPatientGivesUp(t *testing.T) {
	b := newBench(t)
	calls := 0
	fail := func(retry bool) func(context.Context) (bool, error) {
		return func(context.Context) (bool, error) { calls++; return retry, errors.New("no") }
	}
	require.ErrorContains(t, slack.Patient(t.Context(), b.clock, 4, fail(true)), "gave up after 4 tries: no")
	require.Equal(t, 4, calls)
	calls = 0
	require.EqualError(t, slack.Patient(t.Context(), b.clock, 4, fail(false)), "no")
	require.Equal(t, 1, calls, "what cannot succeed is not repeated")
}

func TestMessagesKeepToOneASecond(t *testing.T) {
	b := newBench(t)
	b.slack.LimitRate()
	bot, start := b.bot(), b.clock.Now()
	for i := range 30 {
		n := notice(deletion)
		n.Alert.ID = fmt.Sprint("a-", i)
		b.must(bot, n) // no 429, although thirty come at once
	}
	require.Len(t, b.slack.Messages("C0ALERTS"), 30)
	require.Equal(t, 29*time.Second, b.clock.Now().Sub(start))
}

func TestRefusalsThatOnlyAPersonCanMend(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(b *bench)
		want string
	}{
		"a wrong token": {
			func(b *bench) { b.opts.Token = "xoxb-wrong" },
			"slack chat.postMessage to C0ALERTS: invalid_auth: Slack does not know this token",
		},
		"an unknown channel": {
			func(b *bench) { b.opts.Settings.Channel = "C0NOWHERE" },
			"to C0NOWHERE: channel_not_found: no such channel for this app: check the channel in keytrail.yaml",
		},
		"an unknown channel name": {
			func(b *bench) { b.opts.Settings.Channel = "#nowhere" },
			"to #nowhere: channel_not_found",
		},
		"no channel at all": {
			func(b *bench) { b.opts.Settings.Channel = "" },
			"set slack.channel in keytrail.yaml",
		},
		"a channel without the bot": {
			func(b *bench) { b.slack.AddChannel(slacktest.Channel{ID: "C0ALERTS", Name: "alerts"}) },
			"not_in_channel: the app is not a member of the channel: invite the bot with /invite @keytrail",
		},
		"an archived channel": {
			func(b *bench) {
				b.slack.AddChannel(slacktest.Channel{ID: "C0ALERTS", Name: "alerts", Member: true, Archived: true})
			},
			"is_archived: the channel is archived",
		},
		"a missing scope": {
			func(b *bench) { b.slack.SetScopes("channels:history") },
			"missing_scope: the app lacks the scope chat:write",
		},
		"a deactivated app": {
			func(b *bench) { b.slack.Fail("chat.postMessage", slacktest.Fault{Code: "account_inactive"}) },
			"account_inactive: the app or its workspace was deactivated",
		},
		"a proxy that forbids": {
			func(b *bench) { b.slack.Fail("chat.postMessage", slacktest.Fault{Status: 403}) },
			"http_403: check the address and any proxy",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c.set(b)
			n := notice(deletion)
			retry, err := b.bot().Notify(t.Context(), n)
			require.False(t, retry)
			require.ErrorIs(t, err, slack.ErrPermanent)
			require.ErrorContains(t, err, c.want)
			require.Empty(t, b.slack.Messages("C0ALERTS"))
			require.Nil(t, b.posted(n.Alert.ID).Trying)

			// Once it is mended the alert goes out.
			b.opts.Token, b.opts.Settings.Channel = slacktest.Token, "C0ALERTS"
			b.slack.AddChannel(slacktest.Channel{ID: "C0ALERTS", Name: "alerts", Member: true})
			b.slack.SetScopes("chat:write", "channels:history", "channels:read")
			b.must(b.bot(), n)
			b.one()
		})
	}
}

func TestPassingErrorsAreTriedAgain(t *testing.T) {
	for _, code := range []string{"internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited", "team_added_to_org", "a_word_invented_yesterday"} {
		t.Run(code, func(t *testing.T) {
			b := newBench(t)
			b.slack.Fail("chat.postMessage", slacktest.Fault{Code: code})
			retry, err := b.bot().Notify(t.Context(), notice(deletion))
			require.Error(t, err)
			require.True(t, retry)
			b.must(b.bot(), notice(deletion))
			b.one()
		})
	}
}

func TestAnAlertThatSlackWillNotLayOutIsSentPlain(t *testing.T) {
	for _, code := range []string{"invalid_blocks", "invalid_attachments", "msg_blocks_too_long", "msg_too_long"} {
		t.Run(code, func(t *testing.T) {
			b := newBench(t)
			n := notice(deletion)
			b.slack.Fail("chat.postMessage", slacktest.Fault{Code: code})
			b.must(b.bot(), n)
			require.Contains(t, b.one().Text, "Slack did not take the full message")
			require.Contains(t, b.one().Text, "deploy-ci scheduled the key")
			require.Contains(t, b.log.String(), code)

			b.slack.Fail("chat.postMessage", slacktest.Fault{Code: code})
			b.slack.Fail("chat.update", slacktest.Fault{Code: code})
			b.must(b.bot(), grown(n, 2))
			require.Equal(t, 1, b.one().Edits)
			require.Len(t, b.slack.Thread("C0ALERTS", b.one().TS), 1)

			b.slack.Fail("webhook", slacktest.Fault{Status: 400, Code: "invalid_blocks"})
			other := notice(opened)
			b.must(b.webhook(), other)
			require.Len(t, b.slack.Messages("C0ALERTS"), 2)

			b.slack.Fail("chat.postMessage", slacktest.Fault{Code: code}, slacktest.Fault{Code: code})
			other.Alert.ID = "a-other"
			retry, err := b.bot().Notify(t.Context(), other)
			require.False(t, retry)
			require.ErrorContains(t, err, "please report this as a bug")
		})
	}
}

func TestAParentThatWasDeletedComesBackWithTheNextReply(t *testing.T) {
	b := newBench(t)
	n := notice(deletion)
	b.must(b.bot(), n)
	b.slack.Delete("C0ALERTS", b.one().TS)
	b.must(b.bot(), grown(n, 2))
	require.Contains(t, string(b.one().Attachments), "2 events", "written in full")
	require.Empty(t, b.one().ThreadTS)
	require.Equal(t, b.one().TS, b.posted(n.Alert.ID).TS)

	b.slack.Delete("C0ALERTS", b.one().TS)
	b.must(b.bot(), grown(n, 3))
	require.Empty(t, b.slack.Messages("C0ALERTS"), "a mere count does not bring it back")

	b.slack.Fail("chat.postMessage", slacktest.Fault{Code: "thread_not_found"})
	b.must(b.bot(), grown(n, 8))
	require.Contains(t, string(b.one().Attachments), "8 events")
}

func TestAnAlertThatWasTakenCareOfSaysSo(t *testing.T) {
	b := newBench(t)
	n := notice(deletion)
	b.must(b.bot(), n)
	n.Alert.State, n.Alert.StateBy, n.Alert.Action, n.Alert.Reason = analyzer.AlertAcknowledged, "anna", analyzer.ActionNone, "acknowledged"
	b.must(b.bot(), n)
	require.Contains(t, string(b.one().Attachments), "acknowledged by anna")
	require.Equal(t, 1, b.one().Edits)
	require.Empty(t, b.slack.Thread("C0ALERTS", b.one().TS))
}

// A late event moves the start of an alert and with it the id; the message
// stays the same.
func TestAnAlertWithANewIDKeepsItsMessage(t *testing.T) {
	b := newBench(t)
	n := notice(deletion)
	n.Alert.Thread = n.Alert.ID
	b.slack.Fail("chat.postMessage", slacktest.Fault{Drop: true, Posted: true})
	_, err := b.bot().Notify(t.Context(), n)
	require.Error(t, err)
	n.Alert.ID = "a-moved"
	b.must(b.bot(), grown(n, 2))
	require.Len(t, b.slack.Thread("C0ALERTS", b.one().TS), 1)
	require.Empty(t, b.posted("a-moved"))
}

func TestAWorkspaceThatForbidsEditsStillGetsReplies(t *testing.T) {
	b := newBench(t)
	b.slack.ForbidEdits()
	n := notice(deletion)
	b.must(b.bot(), n)
	b.must(b.bot(), grown(n, 2))
	require.Len(t, b.slack.Thread("C0ALERTS", b.one().TS), 1)
}

func TestChannelsMayBeGivenByName(t *testing.T) {
	b := newBench(t)
	b.slack.AddChannel(slacktest.Channel{ID: "C0PRIVATE", Name: "keys", Member: true, Private: true})
	b.opts.Settings = analyzer.SlackSettings{Channel: "#alerts", Channels: map[string]string{"critical": "#keys"}}
	bot := b.bot()
	require.NoError(t, bot.Check(t.Context()))
	b.must(bot, notice(deletion))
	b.must(bot, notice(opened))
	b.one()
	require.Len(t, b.slack.Messages("C0PRIVATE"), 1)
	require.Equal(t, "C0PRIVATE", b.posted(notice(opened).Alert.ID).Channel, "searching needs the id")
	require.Len(t, b.slack.Calls("conversations.list"), 2, "asked once for each")

	b.slack.SetScopes("chat:write", "channels:read", "channels:history")
	b.opts.Settings.Channels = nil
	require.NoError(t, b.bot().Check(t.Context()), "public channels need no groups:read")
}

func TestCheckFindsWhatWouldFailLater(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.bot().Check(t.Context()))
	require.Empty(t, b.slack.Messages("C0ALERTS"), "checking posts nothing")

	b.slack.AddChannel(slacktest.Channel{ID: "C0OLD0000", Name: "old", Member: true, Archived: true})
	b.slack.AddChannel(slacktest.Channel{ID: "C0OTHER00", Name: "other"})
	b.opts.Settings.Channels = map[string]string{"high": "C0OLD0000", "low": "C0OTHER00", "111122223333": "C0MISSING"}
	err := b.bot().Check(t.Context())
	require.ErrorIs(t, err, slack.ErrPermanent)
	require.ErrorContains(t, err, "C0OLD0000: is_archived")
	require.ErrorContains(t, err, "C0OTHER00: not_in_channel")
	require.ErrorContains(t, err, "C0MISSING: channel_not_found")

	b.opts.Settings.Channels = nil
	b.slack.SetScopes("chat:write", "channels:read")
	require.ErrorContains(t, b.bot().Check(t.Context()), "lacks the scope channels:history", "needed to find lost messages")

	b.opts.Token = "xoxb-wrong"
	require.ErrorContains(t, b.bot().Check(t.Context()), "invalid_auth")
}

func TestTheDigestIsPostedOnce(t *testing.T) {
	b := newBench(t)
	day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	list := []slack.Notice{notice(spike)}
	b.slack.Fail("chat.postMessage", slacktest.Fault{Status: 500, Posted: true})
	retry, err := b.bot().NotifyDigest(t.Context(), list, day)
	require.Error(t, err)
	require.True(t, retry)
	for range 2 {
		_, err = b.bot().NotifyDigest(t.Context(), list, day)
		require.NoError(t, err)
	}
	require.Contains(t, b.one().Text, "digest of 2 March 2026")

	_, err = b.bot().NotifyDigest(t.Context(), nil, day.AddDate(0, 0, 1))
	require.NoError(t, err)
	b.one()

	hook := b.webhook()
	for range 2 {
		_, err = hook.NotifyDigest(t.Context(), list, day.AddDate(0, 0, 2))
		require.NoError(t, err)
	}
	require.Len(t, b.slack.Messages("C0ALERTS"), 2)
}

func TestAFailingLedgerIsNamed(t *testing.T) {
	b := newBench(t)
	b.opts.Ledger = &crashingLedger{Ledger: b.ledger}
	retry, err := b.bot().Notify(t.Context(), notice(deletion))
	require.True(t, retry)
	require.ErrorIs(t, err, errCrash)
	require.ErrorContains(t, err, "record what was posted of a-dkf3m2xq7wl5t6ynhz4r")
	require.Empty(t, b.slack.Messages("C0ALERTS"), "what cannot be remembered is not sent")
}

func TestTheTokenIsNotCarriedElsewhere(t *testing.T) {
	b := newBench(t)
	asked := 0
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked++ }))
	defer thief.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	}))
	defer front.Close()
	b.opts.BaseURL = front.URL
	retry, err := b.bot().Notify(t.Context(), notice(deletion))
	require.False(t, retry)
	require.ErrorContains(t, err, "redirects")
	require.Zero(t, asked)

	b.opts.BaseURL = "http://slack.example.com/api"
	_, err = slack.NewBot(b.opts)
	require.ErrorContains(t, err, "must begin with https://")
}

func TestOptionsAreCheckedAtTheStart(t *testing.T) {
	b := newBench(t)
	for name, change := range map[string]func(o *slack.Options){
		"no bot token":    func(o *slack.Options) { o.Token = "" },
		"no ledger":       func(o *slack.Options) { o.Ledger = nil },
		"use here":        func(o *slack.Options) { o.Mentions = map[analyzer.Severity]string{analyzer.High: "@all"} },
		"not a web addre": func(o *slack.Options) { o.BaseURL = "slack" },
	} {
		o := b.opts
		change(&o)
		_, err := slack.NewBot(o)
		require.ErrorContains(t, err, name)
	}
	_, err := slack.NewWebhook(b.opts)
	require.ErrorContains(t, err, "no webhook")
	o := b.opts
	o.WebhookURL = "http://hooks.example.com/services/" + secret
	_, err = slack.NewWebhook(o)
	require.ErrorContains(t, err, "must begin with https://")
	require.NotContains(t, err.Error(), secret)
}

func TestPostedSurvivesJSON(t *testing.T) {
	p := slack.Posted{
		Channel: "C0ALERTS", TS: "1.000002", Revision: 3, Count: 4, Severity: analyzer.High, Digest: "d", Replies: 1,
		DataReplies: 1, RepliedCount: 2, KeyData: "k",
		Trying: &slack.Attempt{Reply: true, Revision: 3, Channel: "C0ALERTS", KeyData: "k", First: time.Unix(1, 0).UTC(), Last: time.Unix(2, 0).UTC()},
	}
	j := mustJSON(t, p)
	require.Less(t, len(j), 500)
	var back slack.Posted
	require.NoError(t, json.Unmarshal(j, &back))
	require.Equal(t, p, back)
}

func TestRoutesTheMoreSpecificFirst(t *testing.T) {
	s := analyzer.SlackSettings{Channel: "#all", Channels: map[string]string{"high": "#high", "111122223333": "#payments"}}
	require.Equal(t, "#payments", slack.Route(s, analyzer.Alert{Account: "111122223333", Severity: analyzer.High}))
	require.Equal(t, "#high", slack.Route(s, analyzer.Alert{Account: "444455556666", Severity: analyzer.High}))
	require.Equal(t, "#all", slack.Route(s, analyzer.Alert{Account: "444455556666", Severity: analyzer.Low}))
}

func TestWebhooksSendTheFirstAndTheRise(t *testing.T) {
	b := newBench(t)
	hook, n := b.webhook(), notice(deletion)
	b.must(hook, n)
	require.Contains(t, string(b.one().Attachments), "Sent by webhook: repeats are not shown here")
	require.NotContains(t, string(b.one().Blocks), "second copy")
	for count := int64(2); count < 20; count++ {
		b.must(hook, grown(n, count))
	}
	b.one()
	raised := grown(n, 20)
	raised.Alert.Severity = analyzer.Critical
	b.must(hook, raised)
	b.must(hook, raised)
	list := b.slack.Messages("C0ALERTS")
	require.Len(t, list, 2)
	require.Contains(t, string(list[1].Blocks), "Critical")
}

func TestAWebhookSaysWhenItsMessageMayBeTheSecond(t *testing.T) {
	for name, fault := range lost {
		if fault.Code != "" {
			continue // words of the Web API
		}
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.opts.Timeout = 100 * time.Millisecond
			n := notice(deletion)
			fault.Posted = true
			b.slack.Fail("webhook", fault)
			retry, err := b.webhook().Notify(t.Context(), n)
			require.Error(t, err)
			require.True(t, retry)
			b.must(b.webhook(), n)
			b.must(b.webhook(), n)
			list := b.slack.Messages("C0ALERTS")
			require.Len(t, list, 2, "a webhook cannot search")
			require.Contains(t, string(list[1].Blocks), "this may be the second copy of one alert")
		})
	}
}

func TestWebhookRefusals(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.webhook().Check(t.Context()))
	require.Empty(t, b.slack.Messages("C0ALERTS"))

	b.slack.AddChannel(slacktest.Channel{ID: "C0ALERTS", Name: "alerts", Member: true, Archived: true})
	retry, err := b.webhook().Notify(t.Context(), notice(deletion))
	require.False(t, retry)
	require.ErrorContains(t, err, "slack webhook: channel_is_archived: the channel is archived")

	b.opts.WebhookURL = slack.Secret(strings.TrimSuffix(b.slack.URL, "api/") + "services/T0/B0/" + secret)
	retry, err = b.webhook().Notify(t.Context(), notice(deletion))
	require.False(t, retry)
	require.ErrorIs(t, err, slack.ErrPermanent)
	require.ErrorContains(t, err, "no_service: the webhook does not exist any more")
	require.Error(t, b.webhook().Check(t.Context()))
}
