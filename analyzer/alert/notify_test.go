package alert_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
	"github.com/keytrail/keytrail/analyzer/store/memstore"
	"github.com/keytrail/keytrail/analyzer/store/storetest"
)

// about returns a finding of a severity about a key.
func about(key string, hours int, s analyzer.Severity) analyzer.Finding {
	return severity(storetest.Finding(detection, key, day.Add(time.Duration(hours)*time.Hour)), s)
}

func keys(alerts []analyzer.Alert) (names []string) {
	for _, a := range alerts {
		names = append(names, a.Key[len("arn:aws:kms:eu-west-1:111122223333:key/"):])
	}
	return names
}

func TestPendingIsInOrderOfUrgency(t *testing.T) {
	d := newDesk(t)
	d.tick(about("newer", 2, analyzer.High), about("older", 1, analyzer.High), about("low", 0, analyzer.Low),
		about("medium", 0, analyzer.Medium), about("critical", 3, analyzer.Critical))
	pending, err := alert.Pending(t.Context(), d.store, day)
	require.NoError(t, err)
	require.Equal(t, []string{"critical", "older", "newer", "medium"}, keys(pending))
	require.NoError(t, alert.MarkNotified(t.Context(), d.store, pending[1]))
	require.NoError(t, alert.MarkNotified(t.Context(), d.store, pending[1]), "again does no harm")
	pending, err = alert.Pending(t.Context(), d.store, day)
	require.NoError(t, err)
	require.Equal(t, []string{"critical", "newer", "medium"}, keys(pending))
}

func TestWhatChangedWhileItWasToldIsToldAgain(t *testing.T) {
	d := newDesk(t)
	d.tick(at(0))
	pending, err := alert.Pending(t.Context(), d.store, day)
	require.NoError(t, err)
	d.tick(at(0), at(1))
	require.NoError(t, alert.MarkNotified(t.Context(), d.store, pending[0]))
	pending, err = alert.Pending(t.Context(), d.store, day)
	require.NoError(t, err)
	require.Len(t, pending, 1)
	require.EqualValues(t, 2, pending[0].Count)
}

func TestAFailureKeepsOnlyThatAlertPending(t *testing.T) {
	d := newDesk(t)
	d.tick(about("bad", 0, analyzer.High), about("good", 1, analyzer.High))
	told, err := alert.Deliver(t.Context(), d.store, day, func(_ context.Context, a analyzer.Alert) error {
		if keys([]analyzer.Alert{a})[0] == "bad" {
			return errors.New("channel_not_found")
		}
		return nil
	})
	require.ErrorContains(t, err, "channel_not_found")
	require.Equal(t, 1, told)
	pending, err := alert.Pending(t.Context(), d.store, day)
	require.NoError(t, err)
	require.Equal(t, []string{"bad"}, keys(pending))

	ctx, cancel := context.WithCancel(t.Context())
	told, err = alert.Deliver(ctx, d.store, day, func(context.Context, analyzer.Alert) error {
		cancel()
		return ctx.Err()
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, told)
}

func TestAPostponedAlertWaits(t *testing.T) {
	d := newDesk(t)
	d.tick(at(0))
	require.NoError(t, alert.Postpone(t.Context(), d.store, d.only().ID, day.Add(time.Minute)))
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {time.Minute - 1, 0}, {time.Minute, 1}} {
		pending, err := alert.Pending(t.Context(), d.store, day.Add(test.after))
		require.NoError(t, err)
		require.Len(t, pending, test.want, test.after)
	}
}

func TestADigestTellsEachDayOnce(t *testing.T) {
	d := newDesk(t)
	digest := func(day time.Time) alert.Digest {
		t.Helper()
		got, err := alert.DueDigest(t.Context(), d.store, day)
		require.NoError(t, err)
		return got
	}
	d.tick(about("info", 1, analyzer.Info), about("low", 2, analyzer.Low), about("page", 3, analyzer.High),
		about("tomorrow", 24, analyzer.Low))
	first := digest(day)
	require.Equal(t, "2026-03-02", first.Day)
	require.Equal(t, []string{"low", "info"}, keys(first.Alerts))

	// The answer was lost: the same again, though more has come.
	d.tick(about("info", 1, analyzer.Info), about("low", 2, analyzer.Low), about("page", 3, analyzer.High),
		about("tomorrow", 24, analyzer.Low), about("late", 4, analyzer.Low))
	require.Equal(t, keys(first.Alerts), keys(digest(day).Alerts))
	require.Equal(t, "2026-03-02", digest(day.Add(24*time.Hour)).Day, "the unfinished one comes first")
	require.NoError(t, alert.MarkDigested(t.Context(), d.store, digest(day)))
	require.NoError(t, alert.MarkDigested(t.Context(), d.store, first), "again does no harm")
	require.Empty(t, digest(day).Alerts)

	second := digest(day.Add(24 * time.Hour))
	require.Equal(t, "2026-03-03", second.Day)
	require.Equal(t, []string{"late", "tomorrow"}, keys(second.Alerts), "what came late goes with the next")
	require.NoError(t, alert.MarkDigested(t.Context(), d.store, second))
	require.Empty(t, digest(day.Add(48*time.Hour)).Alerts)
	require.Len(t, d.deliver(), 1, "the page was not in a digest")
}

func TestWhatBecomesGraveLeavesTheDigest(t *testing.T) {
	d := newDesk(t)
	d.tick(about("one", 1, analyzer.Low))
	got, err := alert.DueDigest(t.Context(), d.store, day)
	require.NoError(t, err)
	require.Len(t, got.Alerts, 1)
	d.tick(about("one", 1, analyzer.High))
	got, err = alert.DueDigest(t.Context(), d.store, day)
	require.NoError(t, err)
	require.Empty(t, got.Alerts)
	require.Len(t, d.deliver(), 1)

	d.tick(about("one", 1, analyzer.High), about("two", 25, analyzer.Low))
	got, err = alert.DueDigest(t.Context(), d.store, day.Add(24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, "2026-03-03", got.Day, "an empty digest does not block the next")
	require.Len(t, got.Alerts, 1)
}

func TestAnAlertToldInADigestAndWithdrawnNeedsNoMessage(t *testing.T) {
	d := newDesk(t)
	d.tick(about("one", 1, analyzer.Low))
	got, err := alert.DueDigest(t.Context(), d.store, day)
	require.NoError(t, err)
	require.NoError(t, alert.MarkDigested(t.Context(), d.store, got))
	d.tick()
	require.Empty(t, d.deliver())
}

func TestLinesAreTheContract(t *testing.T) {
	d := newDesk(t)
	f := with(at(0), func(f *analyzer.Finding) {
		f.Time = f.Time.In(time.FixedZone("elsewhere", -5*3600)).Add(1500 * time.Millisecond)
		f.EventIDs, f.Evidence = nil, nil
	})
	line, err := json.Marshal(alert.FindingLine(f))
	require.NoError(t, err)
	require.Equal(t, `{"type":"finding","id":"`+f.ID+`","detection":"KMS-D01","severity":"high","status":"active",`+
		`"time":"2026-03-02T00:00:01.5Z","title":"Key deletion scheduled","account":"111122223333","region":"eu-west-1",`+
		`"principal":"arn:aws:iam::111122223333:role/deploy","key":"arn:aws:kms:eu-west-1:111122223333:key/one",`+
		`"entity":{"key_arn":"arn:aws:kms:eu-west-1:111122223333:key/one"},"count":1,"event_ids":[],"evidence":{}}`, string(line))

	d.tick(f)
	a := d.only().Alert
	line, err = json.Marshal(alert.Line(a))
	require.NoError(t, err)
	require.Equal(t, `{"type":"alert","id":"`+a.ID+`","detection":"KMS-D01","severity":"high","action":"page","reason":"severity high",`+
		`"finding_ids":["`+f.ID+`"],"first_time":"2026-03-02T00:00:00Z","last_time":"2026-03-02T00:00:00Z","count":1,`+
		`"title":"Key deletion scheduled","principal":"arn:aws:iam::111122223333:role/deploy",`+
		`"key":"arn:aws:kms:eu-west-1:111122223333:key/one","account":"111122223333","region":"eu-west-1"}`, string(line))

	line, err = json.Marshal(alert.Line(analyzer.Alert{}))
	require.NoError(t, err)
	require.NotContains(t, string(line), "null")
	require.Contains(t, string(line), `"action":"none"`)
	line, err = json.Marshal(alert.FindingLine(analyzer.Finding{}))
	require.NoError(t, err)
	require.NotContains(t, string(line), "null")
}

func TestOnlyWhatIsNewOrChangedIsPrinted(t *testing.T) {
	d := newDesk(t)
	edition := func() []string {
		t.Helper()
		e, err := alert.Unprinted(t.Context(), d.store)
		require.NoError(t, err)
		var types []string
		require.NoError(t, e.Write(func(line any) error {
			data, err := json.Marshal(line)
			require.NoError(t, err)
			var head struct{ Type, Status, Reason string }
			require.NoError(t, json.Unmarshal(data, &head))
			types = append(types, head.Type+" "+head.Status+head.Reason)
			return nil
		}))
		return types
	}
	print := func() []string {
		t.Helper()
		types := edition()
		e, err := alert.Unprinted(t.Context(), d.store)
		require.NoError(t, err)
		require.NoError(t, alert.MarkPrinted(t.Context(), d.store, e))
		return types
	}
	d.tick(at(0), at(1))
	require.Equal(t, []string{"finding active", "finding active", "alert severity high"}, edition())
	require.Equal(t, []string{"finding active", "finding active", "alert severity high"}, print(), "until it is marked")
	require.Empty(t, print())
	d.tick(at(0), at(1))
	d.deliver()
	require.Empty(t, print(), "telling somebody changes no line")

	d.tick(at(0), at(1), at(2))
	require.Equal(t, []string{"finding active", "alert severity high"}, print())
	d.tick(at(0), at(1), at(2), at(3))
	d.tick(at(0), at(1), at(2))
	require.Empty(t, print(), "what came and went is not printed")
	d.tick()
	require.Equal(t, []string{"finding withdrawn", "finding withdrawn", "finding withdrawn", "alert withdrawn"}, print())
	require.Empty(t, print())
}

func TestAnAlertIsQueuedOnceForEachOfItsStates(t *testing.T) {
	store := &memstore.Store{}
	f := storetest.Finding("KMS-D01", "one", day)
	apply := func() {
		_, err := alert.Apply(t.Context(), store, analyzer.TickResult{Findings: []analyzer.Finding{f}}, alert.Rules{})
		require.NoError(t, err)
	}
	unqueued := func() []analyzer.Alert {
		alerts, err := alert.Unqueued(t.Context(), store)
		require.NoError(t, err)
		return alerts
	}
	apply()
	first := unqueued()
	require.Len(t, first, 1)
	require.NoError(t, alert.MarkQueued(t.Context(), store, first[0]))
	require.NoError(t, alert.MarkQueued(t.Context(), store, first[0]), "twice is no error")
	require.Empty(t, unqueued())
	apply()
	require.Empty(t, unqueued(), "nothing has changed")

	f.Count++
	apply()
	second := unqueued()
	require.Len(t, second, 1, "it is queued again in its new state")
	require.Greater(t, second[0].Revision, first[0].Revision)
	require.NoError(t, alert.MarkQueued(t.Context(), store, first[0]), "an answer that comes late")
	require.Len(t, unqueued(), 1, "an older state does not stand for the newer")
	require.NoError(t, alert.MarkQueued(t.Context(), store, second[0]))
	require.Empty(t, unqueued())
}
