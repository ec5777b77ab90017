package alert_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
	"github.com/keytrail/keytrail/analyzer/store"
	"github.com/keytrail/keytrail/analyzer/store/memstore"
	"github.com/keytrail/keytrail/analyzer/store/storetest"
)

// history is what the engine would find after each tick, by finding id.
type history []map[string]analyzer.Finding

// drawHistory draws findings that come in any order, are amended, withdrawn
// and found again. When growing, none is withdrawn.
func drawHistory(t *rapid.T, growing bool) history {
	h := make(history, rapid.IntRange(1, 6).Draw(t, "ticks"))
	view := map[string]analyzer.Finding{}
	for i := range h {
		for range rapid.IntRange(0, 5).Draw(t, "changes") {
			f := drawFinding(t)
			_, known := view[f.ID]
			if known && !growing && rapid.Bool().Draw(t, "withdraw") {
				delete(view, f.ID)
				continue
			}
			if known && growing {
				f.LastTime = f.LastTime.Add(time.Hour) // an episode only grows
				if f.LastTime.Before(view[f.ID].LastTime) {
					f.LastTime = view[f.ID].LastTime
				}
				f.FirstTime = view[f.ID].FirstTime
			}
			view[f.ID] = f
		}
		h[i] = maps.Clone(view)
	}
	return h
}

// drawFinding draws one of few findings, in one of many versions. Windows are
// some days apart, so that pauses of a week come and go.
func drawFinding(t *rapid.T) analyzer.Finding {
	key := rapid.SampledFrom([]string{"one", "two"}).Draw(t, "key")
	id := rapid.SampledFrom([]string{"KMS-D01", "KMS-D02"}).Draw(t, "detection")
	start := day.Add(time.Duration(rapid.IntRange(0, 12).Draw(t, "window")) * 60 * time.Hour)
	f := storetest.Finding(id, key, start)
	f.Severity = analyzer.Severity(rapid.IntRange(0, 4).Draw(t, "severity"))
	f.Status = rapid.SampledFrom([]analyzer.FindingStatus{
		analyzer.FindingActive, analyzer.FindingActive, analyzer.FindingSuppressed, analyzer.FindingStaged,
	}).Draw(t, "status")
	if f.Status == analyzer.FindingSuppressed {
		f.Suppression = "rule " + rapid.SampledFrom([]string{"a", "b"}).Draw(t, "rule")
	}
	f.Count = int64(rapid.IntRange(1, 3).Draw(t, "count"))
	f.LastTime = start.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "length")) * time.Hour)
	f.Time = f.LastTime
	f.Evidence = map[string]any{"n": f.Count}
	return f
}

// tick returns what the engine gives at tick i: all that it recomputes, which
// is at least what changed.
func (h history) tick(t *rapid.T, i int) analyzer.TickResult {
	var before map[string]analyzer.Finding
	if i > 0 {
		before = h[i-1]
	}
	var out analyzer.TickResult
	for _, id := range []string{"KMS-D01", "KMS-D02"} {
		from := day.Add(time.Duration(rapid.IntRange(-1, 13).Draw(t, "from")) * 60 * time.Hour)
		for _, pair := range []struct{ is, was map[string]analyzer.Finding }{{h[i], before}, {before, h[i]}} {
			for fid, f := range pair.is {
				if was, ok := pair.was[fid]; f.Detection == id && (!ok || !sameFinding(f, was)) && f.WindowStart.Before(from) {
					from = f.WindowStart
				}
			}
		}
		out.Rerun = append(out.Rerun, analyzer.Range{Detection: id, From: from})
		for _, fid := range slices.Sorted(maps.Keys(h[i])) {
			if f := h[i][fid]; f.Detection == id && !f.WindowStart.Before(from) {
				out.Findings = append(out.Findings, f)
			}
		}
	}
	if len(out.Findings) > 1 {
		out.Findings = rapid.Permutation(out.Findings).Draw(t, "order")
	}
	return out
}

func sameFinding(a, b analyzer.Finding) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// shown is what must not depend on how findings came.
type shown struct {
	ID, Detection, Title, Key, Latest string
	FindingIDs                        []string
	Count                             int64
	First, Last                       time.Time
	Hidden                            map[string]int64
}

// outcome returns the live alerts of a store as they must be, and their
// severities, which may differ upwards.
func outcome(t require.TestingT, s analyzer.Store) (alerts map[string]shown, severities map[string]analyzer.Severity) {
	all, err := s.Alerts(context.Background(), time.Time{})
	require.NoError(t, err)
	alerts, severities = map[string]shown{}, map[string]analyzer.Severity{}
	threads := map[string]string{}
	for _, r := range all {
		if r.Count == 0 {
			continue
		}
		alerts[r.ID] = shown{
			r.ID, r.Detection, r.Title, r.Key, r.Latest.ID, r.FindingIDs, r.Count, r.FirstTime, r.LastTime, r.Hidden,
		}
		severities[r.ID] = r.Severity
		require.Empty(t, threads[r.Thread], "alerts %s and %s share thread %s", threads[r.Thread], r.ID, r.Thread)
		threads[r.Thread] = r.ID
	}
	groups, err := s.TouchedGroups(context.Background())
	require.NoError(t, err)
	require.Empty(t, groups)
	return alerts, severities
}

// notifier records what it is told, as Slack shows it.
type notifier struct {
	revisions map[string]bool // "id revision"
	threads   map[string]analyzer.Alert
	parents   int
	repeated  int
}

func newNotifier() *notifier {
	return &notifier{revisions: map[string]bool{}, threads: map[string]analyzer.Alert{}}
}

func (n *notifier) notify(_ context.Context, a analyzer.Alert) error {
	name := fmt.Sprintf("%s %d", a.ID, a.Revision)
	if n.revisions[name] {
		n.repeated++
	}
	n.revisions[name] = true
	if _, ok := n.threads[a.Thread]; !ok {
		n.parents++
	}
	n.threads[a.Thread] = a
	return nil
}

func deliver(t require.TestingT, s analyzer.Store, n *notifier) {
	_, err := alert.Deliver(context.Background(), s, day, n.notify)
	require.NoError(t, err)
}

func TestAnySequenceOfTicksGivesTheAlertsOfOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		rules := alert.RulesOf(analyzer.Settings{})
		h := drawHistory(t, false)
		inTicks, inOne := &memstore.Store{}, &memstore.Store{}
		n := newNotifier()
		for i := range h {
			tick := h.tick(t, i)
			for range rapid.IntRange(1, 2).Draw(t, "times") {
				_, err := alert.Apply(ctx, inTicks, tick, rules)
				require.NoError(t, err)
			}
			if rapid.Bool().Draw(t, "deliver") {
				deliver(t, inTicks, n)
			}
		}
		last := analyzer.TickResult{Findings: slices.Collect(maps.Values(h[len(h)-1]))}
		_, err := alert.Apply(ctx, inOne, last, rules)
		require.NoError(t, err)

		want, severities := outcome(t, inOne)
		got, seen := outcome(t, inTicks)
		require.Equal(t, want, got)
		for id := range want {
			require.GreaterOrEqual(t, seen[id], severities[id])
		}
		wantHidden, err := inOne.Hidden(ctx)
		require.NoError(t, err)
		hidden, err := inTicks.Hidden(ctx)
		require.NoError(t, err)
		require.Equal(t, wantHidden, hidden)

		deliver(t, inTicks, n)
		require.Zero(t, n.repeated, "no revision is told twice")
		pending, err := alert.Pending(ctx, inTicks, day)
		require.NoError(t, err)
		require.Empty(t, pending)
		all, err := inTicks.Alerts(ctx, time.Time{})
		require.NoError(t, err)
		for _, r := range all {
			if r.Thread == "" {
				continue
			}
			shows, ok := n.threads[r.Thread]
			if r.Action == analyzer.ActionPage || r.Action == analyzer.ActionPost {
				require.True(t, ok, "alert %s was told", r.ID)
			}
			if ok && r.Count > 0 && r.Action != analyzer.ActionDigest {
				require.Equal(t, r.ID, shows.ID, "thread %s", r.Thread)
				require.Equal(t, r.Revision, shows.Revision, "thread %s shows how alert %s is", r.Thread, r.ID)
			}
		}
	})
}

func TestAFindingThatWasToldNeverStartsAnotherMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := alert.RulesOf(analyzer.Settings{})
		h := drawHistory(t, true)
		s, n := &memstore.Store{}, newNotifier()
		told := map[string]bool{} // findings
		for i := range h {
			_, err := alert.Apply(context.Background(), s, h.tick(t, i), rules)
			require.NoError(t, err)
			pending, err := alert.Pending(context.Background(), s, day)
			require.NoError(t, err)
			for _, a := range pending {
				for _, id := range a.FindingIDs {
					if told[id] {
						require.Contains(t, n.threads, a.Thread, "alert %s has finding %s, which was told", a.ID, id)
					}
				}
			}
			for _, a := range pending {
				for _, id := range a.FindingIDs {
					told[id] = true
				}
			}
			deliver(t, s, n)
		}
	})
}

// story is a fixed run of ticks with all that makes alerts change: joined by a
// late finding, moved, amended, withdrawn, found again.
func story() []analyzer.TickResult {
	two := storetest.Finding(detection, "two", day)
	return []analyzer.TickResult{
		tickOf(at(5), severity(two, analyzer.Medium)),
		tickOf(at(5), at(3), severity(two, analyzer.High)),
		tickOf(at(5), at(3), at(200)),
		tickOf(at(5), at(3), at(100), at(200), two),
		tickOf(at(5), at(200)),
	}
}

// place is how far a run has come: what outlives a crash because it is written
// beside the store.
type place struct {
	ticks     int  // committed
	delivered bool // the notices of the last committed tick are out
}

// run goes through the story from a place on, and returns when a step fails.
func run(ctx context.Context, s analyzer.Store, n *notifier, at *place) error {
	rules, ticks := alert.RulesOf(analyzer.Settings{}), story()
	for {
		if at.ticks > 0 && !at.delivered {
			if _, err := alert.Deliver(ctx, s, day, n.notify); err != nil {
				return err
			}
			at.delivered = true
		}
		if at.ticks == len(ticks) {
			return nil
		}
		if _, err := alert.Apply(ctx, s, ticks[at.ticks], rules); err != nil {
			return err
		}
		at.ticks, at.delivered = at.ticks+1, false
	}
}

func TestACrashAtAnyCallChangesNothing(t *testing.T) {
	for _, kind := range []struct {
		name string
		open func(t *testing.T, name string) analyzer.Store
	}{
		{"memory", func(*testing.T, string) analyzer.Store { return &memstore.Store{} }},
		{"bolt", func(t *testing.T, name string) analyzer.Store {
			s, err := store.Open(filepath.Join(t.TempDir(), name), store.WithoutSync())
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			return s
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			calm, want := kind.open(t, "calm"), newNotifier()
			count := &storetest.Faulty{Store: calm}
			require.NoError(t, run(t.Context(), count, want, &place{}))
			require.Zero(t, want.repeated)
			wantAlerts := records(t, calm)
			require.Greater(t, count.Calls, 50)

			for _, after := range []bool{false, true} {
				for at := 1; at <= count.Calls; at++ {
					name := fmt.Sprintf("crash at call %d, after its effect: %t", at, after)
					s, n, where := kind.open(t, name), newNotifier(), place{}
					err := run(t.Context(), &storetest.Faulty{Store: s, FailAt: at, After: after}, n, &where)
					require.ErrorIs(t, err, storetest.ErrCrash, name)
					require.NoError(t, run(t.Context(), s, n, &where), name)
					require.Equal(t, wantAlerts, records(t, s), name)
					require.LessOrEqual(t, n.repeated, 1, name) // the one that was under way
					require.Equal(t, want.revisions, n.revisions, name)
					require.Equal(t, want.parents, n.parents, name)
				}
			}
		})
	}
}

func TestNoticesThatACrashLeftBehindGoOutAfterTheNextTick(t *testing.T) {
	calls := &storetest.Faulty{Store: &memstore.Store{}}
	want := newNotifier()
	require.NoError(t, run(t.Context(), calls, want, &place{}))
	for _, after := range []bool{false, true} {
		for at := 1; at <= calls.Calls; at++ {
			name := fmt.Sprintf("crash at call %d, after its effect: %t", at, after)
			s, n, where := &memstore.Store{}, newNotifier(), place{}
			require.ErrorIs(t, run(t.Context(), &storetest.Faulty{Store: s, FailAt: at, After: after}, n, &where), storetest.ErrCrash, name)
			where.delivered = where.ticks < len(story())
			require.NoError(t, run(t.Context(), s, n, &where), name)
			require.LessOrEqual(t, n.repeated, 1, name)
			require.LessOrEqual(t, n.parents, want.parents, name)
			for _, r := range records(t, s) {
				if r.Count > 0 {
					require.Equal(t, r.Alert, n.threads[r.Thread], name)
				}
			}
		}
	}
}

func TestNoticesInTheMiddleOfATickStartNoSecondMessage(t *testing.T) {
	calls := &storetest.Faulty{Store: &memstore.Store{}}
	want := newNotifier()
	require.NoError(t, run(t.Context(), calls, want, &place{}))
	for at := 1; at <= calls.Calls; at++ {
		name := fmt.Sprintf("crash at call %d", at)
		s, n, where := &memstore.Store{}, newNotifier(), place{}
		require.ErrorIs(t, run(t.Context(), &storetest.Faulty{Store: s, FailAt: at}, n, &where), storetest.ErrCrash, name)
		deliver(t, s, n)
		require.NoError(t, run(t.Context(), s, n, &where), name)
		require.Equal(t, want.parents, n.parents, name)
		for _, r := range records(t, s) {
			if r.Count > 0 {
				require.Equal(t, r.Alert, n.threads[r.Thread], name)
			}
		}
	}
}

// records returns all alerts without what counts writes.
func records(t *testing.T, s analyzer.Store) []analyzer.AlertRecord {
	t.Helper()
	all, err := s.Alerts(t.Context(), time.Time{})
	require.NoError(t, err)
	for i := range all {
		all[i].Version = 0
	}
	return all
}

func TestACrashOfTheNotifierTellsOnlyWhatWasNotConfirmed(t *testing.T) {
	s := &memstore.Store{}
	_, err := alert.Apply(t.Context(), s, story()[0], alert.RulesOf(analyzer.Settings{}))
	require.NoError(t, err)
	n := newNotifier()
	lost := errors.New("the answer was lost")
	_, err = alert.Deliver(t.Context(), s, day, func(ctx context.Context, a analyzer.Alert) error {
		return errors.Join(n.notify(ctx, a), lost)
	})
	require.ErrorIs(t, err, lost)
	deliver(t, s, n)
	require.Equal(t, 2, n.repeated)
	deliver(t, s, n)
	require.Equal(t, 2, n.repeated)
}
