package table_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/store/memstore"
	"github.com/keytrail/keytrail/analyzer/store/storetest"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

var ctx = context.Background()

// tickOf returns a tick that found these, having computed all anew.
func tickOf(findings ...analyzer.Finding) analyzer.TickResult {
	return analyzer.TickResult{Findings: findings, Rerun: []analyzer.Range{{Detection: detection}}}
}

// story is a run of ticks with all that makes findings and alerts change: new
// ones, one joined by a late finding, amended, moved, withdrawn, found again.
func story() []analyzer.TickResult {
	two := storetest.Finding(detection, "two", day)
	graver, moved := two, two
	graver.Severity = analyzer.Critical
	moved.Entity = map[string]string{"key_arn": "three"}
	moved.WindowStart = moved.WindowStart.Add(time.Hour)
	return []analyzer.TickResult{
		tickOf(at(5), two),
		tickOf(at(5), at(3), graver),
		tickOf(at(5), at(3), at(200), graver),
		tickOf(at(5), at(200), moved),
		tickOf(at(3), moved),
	}
}

// apply goes through the story from the tick *done on, until a call fails.
func apply(t *testing.T, s *table.Store, done *int) error {
	t.Helper()
	for ticks := story(); *done < len(ticks); *done++ {
		if _, err := alert.Apply(t.Context(), s, ticks[*done], alert.RulesOf(analyzer.Settings{})); err != nil {
			return err
		}
	}
	return nil
}

// state is what a table holds, without what counts writes.
type state struct {
	Keys     []string
	Findings []analyzer.Finding
	Refs     map[string][]analyzer.FindingRef
	Alerts   []analyzer.AlertRecord
	Due      []string
	Touched  []analyzer.TouchedGroup
}

func stateOf(t require.TestingT, db *cloudtest.Table) (out state) {
	s := table.New(db, options(0))
	for _, item := range db.Items() {
		out.Keys = append(out.Keys, item.Partition+" "+item.Sort)
	}
	out.Findings, out.Refs, out.Touched = contents(t, s)
	var err error
	out.Alerts, err = s.Alerts(ctx, time.Time{})
	require.NoError(t, err)
	for i := range out.Alerts {
		out.Alerts[i].Version = 0
	}
	due, err := s.DueAlerts(ctx)
	require.NoError(t, err)
	for _, r := range due {
		out.Due = append(out.Due, r.ID)
	}
	require.Equal(t, out.Due, keys(db, "DUE"))
	return out
}

func TestACrashAtAnyCallOfATickChangesNothing(t *testing.T) {
	calm := cloudtest.NewTable(cloudtest.TableOptions{})
	calls := 0
	count := calm.With(cloudtest.Hooks{Before: func(string) error { calls++; return nil }})
	require.NoError(t, apply(t, table.New(count, options(1)), new(int)))
	want := stateOf(t, calm)
	require.Empty(t, want.Touched)
	require.Len(t, want.Due, 2)
	require.Greater(t, calls, 60)

	crash := errors.New("the process ended here")
	for _, kind := range []string{"before its effect", "after its effect", "its answer alone is lost", "refused once"} {
		for at := 1; at <= calls; at++ {
			name := fmt.Sprintf("call %d, %s", at, kind)
			db, done, n := cloudtest.NewTable(cloudtest.TableOptions{}), 0, 0
			s := table.New(db.With(cloudtest.Hooks{Faults: func(string) *cloudtest.Fault {
				n++
				switch {
				case n < at, n > at && kind != "before its effect" && kind != "after its effect":
					return nil
				case n == at:
					return &cloudtest.Fault{Err: crash, After: kind != "before its effect" && kind != "refused once"}
				}
				return &cloudtest.Fault{Err: crash}
			}}), options(1))
			require.ErrorIs(t, apply(t, s, &done), crash, name)
			if kind == "before its effect" || kind == "after its effect" {
				s = table.New(db, options(2)) // another process goes on
			}
			require.NoError(t, apply(t, s, &done), name)
			require.Equal(t, want, stateOf(t, db), name)
		}
	}
}

// contents returns the findings of a store, those of each group, and the marks.
func contents(t require.TestingT, s analyzer.Store) (findings []analyzer.Finding, refs map[string][]analyzer.FindingRef, marks []analyzer.TouchedGroup) {
	refs = map[string][]analyzer.FindingRef{}
	for _, id := range []string{detection, "KMS-D02"} {
		some, err := s.Findings(ctx, id, time.Time{})
		require.NoError(t, err)
		for _, f := range some {
			byID, err := s.Finding(ctx, f.ID)
			require.NoError(t, err)
			require.Equal(t, f, byID)
			refs[f.Group()], err = s.GroupFindings(ctx, f.Group(), time.Time{})
			require.NoError(t, err)
		}
		findings = append(findings, some...)
	}
	marks, err := s.TouchedGroups(ctx)
	require.NoError(t, err)
	return findings, refs, marks
}

// Whatever is saved in whatever order, with whatever faults, each call being
// repeated until it goes well, the table holds what memory holds.
func TestAnySavesWithFaultsGiveWhatMemoryHas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		db, memory := cloudtest.NewTable(cloudtest.TableOptions{}), &memstore.Store{}
		failing := 0
		lossy := db.With(cloudtest.Hooks{Faults: func(string) *cloudtest.Fault {
			if failing == 0 {
				return nil
			}
			failing--
			return rapid.SampledFrom([]*cloudtest.Fault{nil, nil, {}, {After: true}, {Repeat: true}}).Draw(t, "fault")
		}})
		for fence := int64(1); fence <= 4; fence++ {
			o := options(fence)
			s := table.New(lossy, o)
			for range rapid.IntRange(0, 3).Draw(t, "saves") {
				findings := rapid.SliceOfN(rapid.Custom(drawFinding), 0, 8).Draw(t, "findings")
				want, err := memory.SaveFindings(ctx, findings)
				require.NoError(t, err)
				failing = rapid.IntRange(0, 6).Draw(t, "failing")
				got, err := s.SaveFindings(ctx, findings)
				whole := err == nil
				for err != nil {
					require.ErrorIs(t, err, cloudtest.ErrUnavailable)
					got, err = s.SaveFindings(ctx, findings)
				}
				failing = 0
				if whole {
					require.Equal(t, want, got)
				}
			}
			if rapid.Bool().Draw(t, "clear") {
				groups, err := memory.TouchedGroups(ctx)
				require.NoError(t, err)
				for _, g := range groups {
					require.NoError(t, s.ClearTouched(ctx, []string{g.Group}))
					require.NoError(t, memory.ClearTouched(ctx, []string{g.Group}))
				}
			}
		}
		wantFindings, wantRefs, wantMarks := contents(t, memory)
		findings, refs, marks := contents(t, table.New(db, options(0)))
		require.Equal(t, wantFindings, findings)
		require.Equal(t, wantRefs, refs)
		require.Equal(t, wantMarks, marks)
	})
}

// drawFinding draws one of few findings, in one of many versions and places.
func drawFinding(t *rapid.T) analyzer.Finding {
	n := rapid.IntRange(0, 5).Draw(t, "n")
	f := storetest.Finding(detection, fmt.Sprint("key", n%2), day.Add(time.Duration(n)*time.Hour))
	f.Count = int64(rapid.IntRange(1, 3).Draw(t, "count"))
	f.Status = rapid.SampledFrom([]analyzer.FindingStatus{analyzer.FindingActive, analyzer.FindingWithdrawn}).Draw(t, "status")
	switch rapid.IntRange(0, 7).Draw(t, "place") {
	case 0:
		f.Detection = "KMS-D02"
	case 1:
		f.WindowStart = f.WindowStart.Add(30 * time.Minute)
	case 2:
		f.Entity = map[string]string{"key_arn": "elsewhere"}
	}
	return f
}
