package alert_test

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
	"github.com/keytrail/keytrail/analyzer/store"
	"github.com/keytrail/keytrail/analyzer/store/memstore"
	"github.com/keytrail/keytrail/analyzer/store/storetest"
)

var day = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

const detection = "KMS-D01"

// at returns a finding about the key "one", so many hours after the day began.
func at(hours int) analyzer.Finding {
	return storetest.Finding(detection, "one", day.Add(time.Duration(hours)*time.Hour))
}

// desk is a store with what is done to it at each tick.
type desk struct {
	*testing.T
	store analyzer.Store
	rules alert.Rules
	told  []analyzer.Alert
}

func newDesk(t *testing.T) *desk {
	return &desk{T: t, store: &memstore.Store{}, rules: alert.RulesOf(analyzer.Settings{})}
}

// tick applies what a tick over all time found.
func (d *desk) tick(findings ...analyzer.Finding) alert.Outcome {
	d.Helper()
	out, err := alert.Apply(d.Context(), d.store, tickOf(findings...), d.rules)
	require.NoError(d, err)
	return out
}

func tickOf(findings ...analyzer.Finding) analyzer.TickResult {
	return analyzer.TickResult{Findings: findings, Rerun: []analyzer.Range{{Detection: detection}}}
}

// deliver tells all that is pending and returns it.
func (d *desk) deliver() []analyzer.Alert {
	d.Helper()
	before := len(d.told)
	_, err := alert.Deliver(d.Context(), d.store, day, func(_ context.Context, a analyzer.Alert) error {
		d.told = append(d.told, a)
		return nil
	})
	require.NoError(d, err)
	return d.told[before:]
}

// live returns the alerts that have findings.
func (d *desk) live() []analyzer.AlertRecord {
	d.Helper()
	all, err := d.store.Alerts(d.Context(), time.Time{})
	require.NoError(d, err)
	var out []analyzer.AlertRecord
	for _, r := range all {
		if r.Count > 0 {
			out = append(out, r)
		}
	}
	return out
}

func (d *desk) only() analyzer.AlertRecord {
	d.Helper()
	live := d.live()
	require.Len(d, live, 1)
	return live[0]
}

func with(f analyzer.Finding, change func(*analyzer.Finding)) analyzer.Finding {
	change(&f)
	return f
}

func severity(f analyzer.Finding, s analyzer.Severity) analyzer.Finding {
	return with(f, func(f *analyzer.Finding) { f.Severity = s })
}

func TestFindingsOfOneEntityJoinOneAlert(t *testing.T) {
	d := newDesk(t)
	a, b := at(0), with(at(5), func(f *analyzer.Finding) { f.Count, f.Title = 3, "Again" })
	other := storetest.Finding(detection, "two", day)
	out := d.tick(b, other, a)
	require.Equal(t, map[analyzer.Change]int{analyzer.ChangeNew: 3}, out.Findings)
	require.Len(t, out.Alerts, 2)
	for _, r := range d.live() {
		if r.Key == other.Key {
			continue
		}
		require.Equal(t, analyzer.AlertID(detection, []string{a.Key}, a.WindowStart), r.ID)
		require.Equal(t, []string{a.ID, b.ID}, r.FindingIDs)
		require.EqualValues(t, 4, r.Count)
		require.Equal(t, a.FirstTime, r.FirstTime)
		require.Equal(t, b.LastTime, r.LastTime)
		require.Equal(t, "Again", r.Title, "of equal findings the newest gives the text")
		require.Equal(t, analyzer.ActionPage, r.Action)
		require.Equal(t, "severity high", r.Reason)
		require.Equal(t, analyzer.AlertOpen, r.State)
		require.EqualValues(t, 1, r.Revision)
		require.Equal(t, r.ID, r.Thread)
		require.Equal(t, a.Entity, r.Entity)
	}
	out = d.tick(a, b, other)
	require.Empty(t, out.Alerts, "the same again changes nothing")
	require.Equal(t, map[analyzer.Change]int{analyzer.ChangeSame: 3}, out.Findings)
}

func TestALongPauseStartsANewAlert(t *testing.T) {
	const week = 7 * 24
	for _, test := range []struct {
		name  string
		hours []int
		want  [][]int // hours by alert
	}{
		{"a pause below the limit joins", []int{0, week - 1}, [][]int{{0, week - 1}}},
		{"a pause of the limit parts", []int{0, week}, [][]int{{0}, {week}}},
		{"the pause counts from the last finding", []int{0, 100, 200, 300}, [][]int{{0, 100, 200, 300}}},
		{"each pause parts", []int{0, 200, 400}, [][]int{{0}, {200}, {400}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t)
			var findings []analyzer.Finding
			for _, h := range test.hours {
				findings = append(findings, at(h))
			}
			d.tick(findings...)
			var got [][]string
			for _, r := range d.live() {
				got = append(got, r.FindingIDs)
			}
			var want [][]string
			for _, hours := range test.want {
				var ids []string
				for _, h := range hours {
					ids = append(ids, at(h).ID)
				}
				want = append(want, ids)
			}
			require.Equal(t, want, got)
		})
	}
	t.Run("the pause begins at the last event, not at the last window", func(t *testing.T) {
		d := newDesk(t)
		long := with(at(0), func(f *analyzer.Finding) { f.LastTime = day.Add(20 * time.Hour) })
		d.tick(long, at(week+10))
		require.Len(t, d.live(), 1)
	})
	t.Run("a long window outlasts a short one that began later", func(t *testing.T) {
		d := newDesk(t)
		long := with(at(0), func(f *analyzer.Finding) { f.LastTime = day.Add(100 * time.Hour) })
		d.tick(long, at(10), at(week+20))
		require.Len(t, d.live(), 1)
	})
	t.Run("the settings say how long", func(t *testing.T) {
		d := newDesk(t)
		d.rules.ReopenAfter = time.Hour
		d.tick(at(0), at(1))
		require.Len(t, d.live(), 2)
	})
}

func TestAnAlertNeverFallsAndCountsWhatHolds(t *testing.T) {
	d := newDesk(t)
	d.tick(severity(at(0), analyzer.Medium))
	require.Equal(t, analyzer.ActionPost, d.only().Action)
	d.tick(severity(at(0), analyzer.Medium), severity(at(1), analyzer.Critical))
	require.Equal(t, analyzer.Critical, d.only().Severity)
	require.EqualValues(t, 2, d.only().Count)

	d.tick(severity(at(0), analyzer.Medium), severity(at(1), analyzer.Low))
	require.Equal(t, analyzer.Critical, d.only().Severity, "amended down")
	require.Equal(t, analyzer.ActionPage, d.only().Action)
	d.tick(severity(at(0), analyzer.Medium))
	require.Equal(t, analyzer.Critical, d.only().Severity, "withdrawn")
	require.EqualValues(t, 1, d.only().Count)
	require.Equal(t, []string{at(0).ID}, d.only().FindingIDs)
	f, err := d.store.Finding(t.Context(), at(1).ID)
	require.NoError(t, err)
	require.Equal(t, analyzer.FindingWithdrawn, f.Status, "it stays in the store")
}

func TestFindingsOutsideTheRecomputedRangeStay(t *testing.T) {
	d := newDesk(t)
	d.tick(at(0), at(5))
	out, err := alert.Apply(t.Context(), d.store, analyzer.TickResult{Rerun: []analyzer.Range{
		{Detection: detection, From: day.Add(5 * time.Hour)},
		{Detection: detection, From: day.Add(6 * time.Hour)},
		{Detection: "KMS-D02"},
	}}, d.rules)
	require.NoError(t, err)
	require.Equal(t, map[analyzer.Change]int{analyzer.ChangeWithdrawn: 1}, out.Findings)
	require.Equal(t, []string{at(0).ID}, d.only().FindingIDs)
}

func TestAWithdrawnAlertIsClosedAndTold(t *testing.T) {
	d := newDesk(t)
	d.tick(at(0))
	d.deliver()
	d.tick()
	require.Empty(t, d.live())
	told := d.deliver()
	require.Len(t, told, 1)
	require.Equal(t, analyzer.AlertClosed, told[0].State)
	require.Equal(t, analyzer.ActionNone, told[0].Action)
	require.Equal(t, "withdrawn", told[0].Reason)
	require.Zero(t, told[0].Count)
	require.Equal(t, "Key deletion scheduled", told[0].Title, "the message still says what it was about")
	require.Empty(t, d.deliver())

	d.tick(at(0))
	told = d.deliver()
	require.Len(t, told, 1, "it came back")
	require.Equal(t, analyzer.AlertOpen, told[0].State)
	require.Equal(t, d.told[0].Thread, told[0].Thread)
}

func TestAnAlertWithdrawnBeforeItWasToldIsNeverTold(t *testing.T) {
	d := newDesk(t)
	d.tick(at(0))
	d.tick()
	require.Empty(t, d.deliver())
}

func TestALateFindingMovesTheStartAndKeepsTheThread(t *testing.T) {
	d := newDesk(t)
	d.tick(at(5))
	first := d.deliver()[0]
	d.tick(at(5), at(3))
	told := d.deliver()
	require.Len(t, told, 1, "one update, and no second message")
	require.NotEqual(t, first.ID, told[0].ID, "the id follows from the start, as in one go")
	require.Equal(t, analyzer.AlertID(detection, []string{at(3).Key}, at(3).WindowStart), told[0].ID)
	require.Equal(t, first.Thread, told[0].Thread)
	require.Greater(t, told[0].Revision, first.Revision)

	old, err := d.store.Alert(t.Context(), first.ID)
	require.NoError(t, err)
	require.Equal(t, "continued as "+told[0].ID, old.Reason)
	require.Empty(t, old.FindingIDs)

	d.tick(at(5))
	told = d.deliver()
	require.Len(t, told, 1)
	require.Equal(t, first.ID, told[0].ID, "the late finding did not hold")
	require.Equal(t, first.Thread, told[0].Thread)
	d.tick(at(5), at(3), at(2))
	told = d.deliver()
	require.Len(t, told, 1)
	require.Equal(t, first.Thread, told[0].Thread)
	require.Empty(t, d.deliver())
}

func TestALateFindingKeepsTheThreadOfAMessageThatWasNotConfirmed(t *testing.T) {
	d := newDesk(t)
	d.tick(at(5))
	first := d.only()
	d.tick(at(5), at(3))
	require.Equal(t, first.Thread, d.only().Thread)
	require.NotEqual(t, first.ID, d.only().ID)
}

func TestARunThatEndsWhileAThreadGoesOverLeavesOneNotice(t *testing.T) {
	d := newDesk(t)
	d.tick(at(5))
	_, err := alert.Apply(t.Context(), firstOnly{d.store}, tickOf(at(5), at(3)), d.rules)
	require.ErrorIs(t, err, storetest.ErrCrash)
	told := d.deliver()
	require.Len(t, told, 1)
	require.Equal(t, at(3).FirstTime, told[0].FirstTime, "the one that goes on")
	d.tick(at(5), at(3))
	require.Empty(t, d.deliver())
}

// firstOnly is a store whose process ends after the first alert of a write.
type firstOnly struct{ analyzer.Store }

func (s firstOnly) PutAlerts(ctx context.Context, alerts []analyzer.AlertRecord) error {
	return errors.Join(s.Store.PutAlerts(ctx, alerts[:1]), storetest.ErrCrash)
}

func TestALateFindingJoinsTwoAlerts(t *testing.T) {
	const week = 7 * 24
	d := newDesk(t)
	d.tick(at(0), at(week+24))
	told := d.deliver()
	require.Len(t, told, 2)
	d.tick(at(0), at(100), at(week+24))
	require.Equal(t, []string{at(0).ID, at(100).ID, at(week + 24).ID}, d.only().FindingIDs)
	update := d.deliver()
	require.Len(t, update, 2, "both threads are told")
	require.Equal(t, told[0].Thread, update[0].Thread)
	require.Equal(t, told[1].Thread, update[1].Thread)
	require.Equal(t, "continued as "+told[0].ID, update[1].Reason)
	require.Equal(t, analyzer.AlertClosed, update[1].State)
	require.Empty(t, d.deliver())

	d.tick(at(0), at(week+24))
	require.Len(t, d.live(), 2, "parted again")
	threads := map[string]bool{}
	for _, r := range d.live() {
		threads[r.Thread] = true
	}
	require.Len(t, threads, 2, "no thread is shared")
}

func TestTwoAlertsThatPartNeverShareAThread(t *testing.T) {
	d := newDesk(t)
	d.tick(at(2), at(10))
	d.deliver()
	d.tick(at(10))
	told := d.deliver()
	require.Equal(t, at(2).Key, told[0].Key)
	thread := d.only().Thread
	d.rules.ReopenAfter = time.Hour
	d.tick(at(2), at(10))
	live := d.live()
	require.Len(t, live, 2)
	require.NotEqual(t, live[0].Thread, live[1].Thread)
	require.Equal(t, thread, live[1].Thread, "the one that people know keeps its thread")
	told = d.deliver()
	require.Len(t, told, 1, "only the new one is told")
	require.Equal(t, live[0].ID, told[0].ID)
}

func TestTheTextComesFromWhatMayNotify(t *testing.T) {
	d := newDesk(t)
	hidden := with(severity(at(1), analyzer.Critical), func(f *analyzer.Finding) {
		f.Status, f.Suppression, f.Principal = analyzer.FindingSuppressed, "rule nightly", "arn:aws:iam::111122223333:role/scanner"
	})
	d.tick(severity(at(0), analyzer.Medium), severity(at(2), analyzer.Low), hidden)
	r := d.only()
	require.Equal(t, at(0).Principal, r.Principal)
	require.Equal(t, at(0).ID, r.Latest.ID)
	require.Equal(t, analyzer.ActionPost, r.Action)
	require.Equal(t, "severity medium; critical suppressed by rule nightly", r.Reason)
	require.Equal(t, map[string]int64{"rule nightly": 1}, r.Hidden)
}

func TestHiddenFindingsAreCountedByName(t *testing.T) {
	d := newDesk(t)
	d.rules.Silences = []analyzer.Silence{{Name: "migration", From: day.Add(3 * time.Hour), Until: day.Add(5 * time.Hour)}}
	hide := func(f analyzer.Finding, status analyzer.FindingStatus, by string) analyzer.Finding {
		return with(f, func(f *analyzer.Finding) { f.Status, f.Suppression = status, by })
	}
	findings := []analyzer.Finding{
		hide(at(0), analyzer.FindingSuppressed, "rule nightly"), hide(at(1), analyzer.FindingSuppressed, "rule nightly"),
		hide(at(2), analyzer.FindingStaged, ""), at(3), at(4), hide(at(6), analyzer.FindingLearning, ""),
	}
	d.tick(findings...)
	d.tick(findings...)
	hidden, err := d.store.Hidden(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"rule nightly": 2, "staged": 1, "silence migration": 2, "learning": 1}, hidden)
	require.Equal(t, analyzer.AlertSilenced, d.only().State)
	require.Empty(t, d.deliver())
	d.tick(append(findings, at(5))...)
	require.Equal(t, analyzer.AlertOpen, d.only().State, "the silence is over")
	require.Len(t, d.deliver(), 1)
	d.tick(at(3))
	hidden, err = d.store.Hidden(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"silence migration": 1}, hidden)
}

func TestAcknowledgedUntilGraver(t *testing.T) {
	d := newDesk(t)
	d.tick(severity(at(0), analyzer.Medium))
	d.deliver()
	now := day.Add(24 * time.Hour)
	a, err := alert.Acknowledge(t.Context(), d.store, d.only().ID, "ana", now)
	require.NoError(t, err)
	require.Equal(t, analyzer.AlertAcknowledged, a.State)
	require.Equal(t, "ana", a.StateBy)
	require.Equal(t, now, a.StateTime)
	require.Len(t, d.deliver(), 1, "the message is brought up to date")
	again, err := alert.Acknowledge(t.Context(), d.store, a.ID, "ben", now.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, a, again, "the first counts")
	require.Empty(t, d.deliver())

	d.tick(severity(at(0), analyzer.Medium), severity(at(1), analyzer.Medium))
	require.Equal(t, analyzer.AlertAcknowledged, d.only().State)
	d.tick(severity(at(0), analyzer.Medium), severity(at(1), analyzer.High))
	require.Equal(t, analyzer.AlertOpen, d.only().State)
	require.Empty(t, d.only().StateBy)

	_, err = alert.Acknowledge(t.Context(), d.store, "a-unknown", "ana", now)
	require.ErrorIs(t, err, analyzer.ErrNotFound)
}

func TestClosedUntilNewer(t *testing.T) {
	d := newDesk(t)
	d.tick(at(5))
	d.deliver()
	a, err := alert.Close(t.Context(), d.store, d.only().ID, "ana", day)
	require.NoError(t, err)
	require.Equal(t, analyzer.AlertClosed, a.State)
	require.Equal(t, "closed by ana", a.Reason)
	require.Len(t, d.deliver(), 1)

	d.tick(at(5), at(4))
	require.Equal(t, analyzer.AlertClosed, d.only().State, "a late finding of before does not open it")
	d.deliver()
	d.tick(at(5), at(4), at(6))
	require.Equal(t, analyzer.AlertOpen, d.only().State)
	require.Equal(t, analyzer.ActionPage, d.only().Action)
	require.Len(t, d.deliver(), 1)
}

func TestSilencedByAPerson(t *testing.T) {
	d := newDesk(t)
	d.tick(at(0))
	thread := d.deliver()[0].Thread
	until := day.Add(24 * time.Hour)
	a, err := alert.SilenceAlert(t.Context(), d.store, d.rules, d.only().ID, "ana", "planned", until, day.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, analyzer.AlertSilenced, a.State)
	require.Equal(t, analyzer.ActionNone, a.Action)
	require.Equal(t, "silenced by ana until 2026-03-03 00:00 UTC", a.Reason)
	require.Len(t, d.deliver(), 1, "the message says so")
	d.tick(at(0), at(2))
	require.Equal(t, analyzer.AlertSilenced, d.only().State)
	d.deliver()
	d.tick(at(0), at(2), at(24))
	require.Equal(t, analyzer.AlertOpen, d.only().State)
	require.Equal(t, thread, d.only().Thread)

	d.tick(at(0), at(2), at(24), storetest.Finding(detection, "two", day))
	require.Len(t, d.live(), 2)
	for _, r := range d.live() {
		require.Equal(t, analyzer.AlertOpen, r.State, "others are not silenced")
	}
	_, err = alert.SilenceAlert(t.Context(), d.store, d.rules, a.ID, "ana", "", day, day)
	require.ErrorContains(t, err, "is over")
	_, err = alert.SilenceAlert(t.Context(), d.store, d.rules, "a-unknown", "ana", "", until, day)
	require.ErrorIs(t, err, analyzer.ErrNotFound)
}

func TestAButtonOnAnOldMessageActsOnTheAlertThatGoesOn(t *testing.T) {
	d := newDesk(t)
	d.tick(at(5))
	old := d.only().ID
	d.tick(at(5), at(3))
	a, err := alert.Acknowledge(t.Context(), d.store, old, "ana", day)
	require.NoError(t, err)
	require.Equal(t, d.only().ID, a.ID)
	d.tick(at(5), at(3), at(1))
	require.Equal(t, analyzer.AlertAcknowledged, d.only().State, "the acknowledgement goes on too")
}

func TestTheAlertsOfOtherWritersAreReadAgain(t *testing.T) {
	d := newDesk(t)
	d.tick(at(0), storetest.Finding(detection, "two", day))
	id := d.live()[0].ID
	rival := &overtaken{Store: d.store, once: func() {
		_, err := alert.Acknowledge(t.Context(), d.store, id, "ana", day)
		require.NoError(t, err)
	}}
	out, err := alert.Apply(t.Context(), rival, tickOf(at(0), at(1),
		storetest.Finding(detection, "two", day), storetest.Finding(detection, "two", day.Add(time.Hour))), d.rules)
	require.NoError(t, err)
	require.Len(t, out.Alerts, 2)
	for _, r := range d.live() {
		require.EqualValues(t, 2, r.Count)
		if r.ID == id {
			require.Equal(t, analyzer.AlertAcknowledged, r.State)
		}
	}
	groups, err := d.store.TouchedGroups(t.Context())
	require.NoError(t, err)
	require.Empty(t, groups)
}

// overtaken is a store in which somebody else writes just before the first
// write of alerts.
type overtaken struct {
	analyzer.Store
	once func()
}

func (s *overtaken) PutAlerts(ctx context.Context, alerts []analyzer.AlertRecord) error {
	if s.once != nil {
		s.once()
		s.once = nil
	}
	return s.Store.PutAlerts(ctx, alerts)
}

func TestAMarkClearedByAnotherWriterLosesNothing(t *testing.T) {
	d := newDesk(t)
	_, err := alert.Apply(t.Context(), clearing{d.store}, tickOf(at(0)), d.rules)
	require.NoError(t, err)
	require.Equal(t, []string{at(0).ID}, d.only().FindingIDs)
}

// clearing is a store in which another writer clears each mark at once.
type clearing struct{ analyzer.Store }

func (s clearing) SaveFindings(ctx context.Context, findings []analyzer.Finding) ([]analyzer.Change, error) {
	changes, err := s.Store.SaveFindings(ctx, findings)
	for i := range findings {
		err = errors.Join(err, s.ClearTouched(ctx, []string{findings[i].Group()}))
	}
	return changes, err
}

func TestAWriteThatIsAlwaysOvertakenFails(t *testing.T) {
	d := newDesk(t)
	never := refusing{d.store}
	_, err := alert.Apply(t.Context(), never, tickOf(at(0)), d.rules)
	require.ErrorIs(t, err, analyzer.ErrConflict)
}

type refusing struct{ analyzer.Store }

func (refusing) PutAlerts(context.Context, []analyzer.AlertRecord) error {
	return errors.Join(analyzer.ErrConflict)
}

func BenchmarkTickOnAnAlertOfFiveThousandFindings(b *testing.B) {
	s, err := store.Open(filepath.Join(b.TempDir(), "state.db"))
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Close()) }()
	rules := alert.RulesOf(analyzer.Settings{})
	var findings []analyzer.Finding
	for i := range 5000 {
		findings = append(findings, storetest.Finding(detection, "one", day.Add(time.Duration(i)*time.Minute)))
	}
	_, err = alert.Apply(b.Context(), s, analyzer.TickResult{Findings: findings}, rules)
	require.NoError(b, err)
	last := findings[len(findings)-1]
	for b.Loop() {
		last.Count++
		_, err := alert.Apply(b.Context(), s, analyzer.TickResult{
			Findings: []analyzer.Finding{last}, Rerun: []analyzer.Range{{Detection: detection, From: last.WindowStart}},
		}, rules)
		require.NoError(b, err)
	}
}

func BenchmarkTickOfTenThousandAlerts(b *testing.B) {
	rules := alert.RulesOf(analyzer.Settings{})
	var findings []analyzer.Finding
	for i := range 10_000 {
		findings = append(findings, storetest.Finding(detection, strconv.Itoa(i), day))
	}
	for b.Loop() {
		s, err := store.Open(filepath.Join(b.TempDir(), "state.db"))
		require.NoError(b, err)
		_, err = alert.Apply(b.Context(), s, analyzer.TickResult{Findings: findings}, rules)
		require.NoError(b, err)
		require.NoError(b, s.Close())
	}
}

func TestManyFindingsInOneAlert(t *testing.T) {
	d := newDesk(t)
	var findings []analyzer.Finding
	for i := range alert.MaxFindingIDs + 10 {
		findings = append(findings, storetest.Finding(detection, "one", day.Add(time.Duration(i)*time.Second)))
	}
	d.tick(findings...)
	r := d.only()
	require.Len(t, r.FindingIDs, alert.MaxFindingIDs)
	require.EqualValues(t, len(findings), r.Count)
}
