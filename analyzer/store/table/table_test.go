package table_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/store/storetest"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

var day = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

const detection = "KMS-D01"

// at returns a finding some hours into the day.
func at(hours int) analyzer.Finding {
	return storetest.Finding(detection, "one", day.Add(time.Duration(hours)*time.Hour))
}

// options are those of a process with a lease.
func options(fence int64) table.Options {
	return table.Options{Fence: fence, Now: func() time.Time { return day }, Workers: 1}
}

func save(t *testing.T, s *table.Store, findings ...analyzer.Finding) []analyzer.Change {
	t.Helper()
	changes, err := s.SaveFindings(t.Context(), findings)
	require.NoError(t, err)
	return changes
}

// counting returns a client of a table that counts its calls by name.
func counting(t *cloudtest.Table) (*cloudtest.Table, map[string]int) {
	calls := map[string]int{}
	return t.With(cloudtest.Hooks{Before: func(op string) error { calls[op]++; return nil }}), calls
}

// onWrite returns a client of a table that does something just before a write.
func onWrite(t *cloudtest.Table, n int, do func()) *cloudtest.Table {
	writes := 0
	return t.With(cloudtest.Hooks{Before: func(op string) error {
		if op == "dynamodb.Write" {
			if writes++; writes == n {
				do()
			}
		}
		return nil
	}})
}

// faulty returns a client of a table of which the n-th call of a name fails.
func faulty(t *cloudtest.Table, op string, n int, f cloudtest.Fault) *cloudtest.Table {
	calls := 0
	return t.With(cloudtest.Hooks{Faults: func(name string) *cloudtest.Fault {
		if name != op {
			return nil
		}
		if calls++; calls != n {
			return nil
		}
		return &f
	}})
}

func TestStore(t *testing.T) {
	for _, workers := range []int{1, 8} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			storetest.Run(t, func(*testing.T) analyzer.Store {
				return table.New(cloudtest.NewTable(cloudtest.TableOptions{}), table.Options{Fence: 1, Workers: workers, Print: true})
			})
		})
	}
}

func TestAStoreThatDoesNotPrintHasNothingUnprinted(t *testing.T) {
	s := table.New(cloudtest.NewTable(cloudtest.TableOptions{}), options(1))
	save(t, s, at(0))
	findings, alerts, err := s.Unprinted(t.Context())
	require.NoError(t, err)
	require.Empty(t, findings)
	require.Empty(t, alerts)
	require.NoError(t, s.MarkPrinted(t.Context(), map[string]string{at(0).ID: "mark"}, nil))
	for _, op := range []func(context.Context) error{
		func(ctx context.Context) error { _, _, err := s.Unprinted(ctx); return err },
		func(ctx context.Context) error { return s.MarkPrinted(ctx, nil, nil) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, op(ctx), context.Canceled)
	}
}

func TestValuesOfASpaceAreKeptAsLongAsItSays(t *testing.T) {
	clock := cloudtest.NewClock(day)
	db := cloudtest.NewTable(cloudtest.TableOptions{Now: clock.Now})
	s := table.New(db, table.Options{Now: clock.Now, KeepValues: map[string]time.Duration{"digests": 24 * time.Hour}})
	require.NoError(t, s.Put(t.Context(), "digests", "2026-03-02", []byte("{}")))
	require.NoError(t, s.Put(t.Context(), "slack", "a-one", []byte{}))
	clock.Advance(24*time.Hour - time.Second)
	require.Zero(t, db.Expire())
	clock.Advance(time.Second)
	require.Equal(t, 1, db.Expire())
	clock.Advance(10 * 365 * 24 * time.Hour)
	require.Zero(t, db.Expire())
	got, err := s.Get(t.Context(), "slack", "a-one")
	require.NoError(t, err)
	require.NotNil(t, got, "what is there is not nil, be it empty")
	all, err := s.List(t.Context(), "slack")
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"a-one": {}}, all)
}

func TestFaultsOfTheTableAreReturnedWithWhatWasDone(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	s := table.New(db, options(1))
	save(t, s, at(0))
	require.NoError(t, s.PutAlerts(t.Context(), []analyzer.AlertRecord{record("a-one")}))
	ctx := t.Context()
	for _, test := range []struct {
		op   string
		call func(s *table.Store) error
		want string
	}{
		{"Get", func(s *table.Store) error { _, err := s.Get(ctx, "slack", "k"); return err }, "read k of slack"},
		{"Write", func(s *table.Store) error { return s.Put(ctx, "slack", "k", nil) }, "write k of slack"},
		{"Query", func(s *table.Store) error { _, err := s.List(ctx, "slack"); return err }, "values of slack"},
		{"GetMany", func(s *table.Store) error { _, err := s.SaveFindings(ctx, []analyzer.Finding{at(1)}); return err }, "save 1 findings"},
		{"Write", func(s *table.Store) error { _, err := s.SaveFindings(ctx, []analyzer.Finding{at(1)}); return err }, "save 1 findings"},
		{"Get", func(s *table.Store) error { _, err := s.Finding(ctx, at(0).ID); return err }, at(0).ID},
		{"Query", func(s *table.Store) error { _, err := s.Findings(ctx, detection, day); return err }, detection},
		{"Query", func(s *table.Store) error { _, err := s.FindingIDs(ctx, detection, day); return err }, detection},
		{"Query", func(s *table.Store) error { _, err := s.GroupFindings(ctx, "g-one", day); return err }, "g-one"},
		{"Query", func(s *table.Store) error { _, err := s.TouchedGroups(ctx); return err }, "touched groups"},
		{"Write", func(s *table.Store) error { return s.ClearTouched(ctx, []string{groupOf(at(0))}) }, "clear the marks"},
		{"Get", func(s *table.Store) error { _, err := s.Alert(ctx, "a-one"); return err }, "a-one"},
		{"Query", func(s *table.Store) error { _, err := s.Alerts(ctx, day); return err }, "read the alerts"},
		{"Query", func(s *table.Store) error { _, err := s.GroupAlerts(ctx, "g-one"); return err }, "g-one"},
		{"Query", func(s *table.Store) error { _, err := s.DueAlerts(ctx); return err }, "due"},
		{"GetMany", func(s *table.Store) error { _, err := s.DueAlerts(ctx); return err }, "read 1 alerts"},
		{"Query", func(s *table.Store) error { _, err := s.Hidden(ctx); return err }, "read the alerts"},
		{"Write", func(s *table.Store) error { return s.PutAlerts(ctx, []analyzer.AlertRecord{record("a-two")}) }, "a-two"},
	} {
		err := test.call(table.New(faulty(db, "dynamodb."+test.op, 1, cloudtest.Fault{Err: cloudtest.ErrThrottled}), options(1)))
		require.ErrorIs(t, err, cloudtest.ErrThrottled, test.op)
		require.ErrorContains(t, err, test.want, test.op)
	}
}

// What belongs together is removed days apart, in any order. Whatever part of it
// is gone, nothing may point at what is not there.
func TestNothingPointsAtWhatHasExpired(t *testing.T) {
	clock := cloudtest.NewClock(day)
	db := cloudtest.NewTable(cloudtest.TableOptions{Now: clock.Now})
	s := table.New(db, table.Options{Fence: 1, Now: clock.Now, Keep: 100 * 24 * time.Hour})
	var findings []analyzer.Finding
	var alerts []analyzer.AlertRecord
	for i := range 10 {
		f := at(i * 5 * 24)
		r := record(fmt.Sprintf("a-%d", i))
		r.Group, r.LastTime = f.Group(), f.LastTime
		if i == 5 {
			r.FindingIDs = manyIDs(33_000) // in several parts
		}
		findings, alerts = append(findings, f), append(alerts, r)
	}
	save(t, s, findings...)
	require.NoError(t, s.PutAlerts(t.Context(), alerts))
	group := findings[0].Group()

	var sawFewer bool
	for len(db.Items()) > 1 { // the mark of the group stays
		clock.Advance(6 * 24 * time.Hour)
		db.Expire()
		require.Less(t, clock.Now().Sub(day), 365*24*time.Hour)
		refs, err := s.GroupFindings(t.Context(), group, day)
		require.NoError(t, err)
		ids, err := s.FindingIDs(t.Context(), detection, day)
		require.NoError(t, err)
		for _, ref := range refs {
			require.Contains(t, ids, ref.ID)
		}
		for _, id := range ids {
			_, err := s.Finding(t.Context(), id)
			require.NoError(t, err)
		}
		all, err := s.Alerts(t.Context(), time.Time{})
		require.NoError(t, err)
		ofGroup, err := s.GroupAlerts(t.Context(), group)
		require.NoError(t, err)
		due, err := s.DueAlerts(t.Context())
		require.NoError(t, err)
		require.Equal(t, all, ofGroup)
		require.Len(t, due, len(all))
		sawFewer = sawFewer || len(all) > 0 && len(all) < len(alerts)
	}
	require.True(t, sawFewer)
}

func TestWhatIsFoundInOldLogsIsKeptFromNowOn(t *testing.T) {
	clock := cloudtest.NewClock(day.AddDate(3, 0, 0))
	db := cloudtest.NewTable(cloudtest.TableOptions{Now: clock.Now})
	s := table.New(db, table.Options{Fence: 1, Now: clock.Now})
	save(t, s, at(0))
	require.NoError(t, s.PutAlerts(t.Context(), []analyzer.AlertRecord{record("a-one")}))
	clock.Advance(table.DefaultKeep - time.Second)
	require.Zero(t, db.Expire())
	clock.Advance(61 * 24 * time.Hour)
	require.NotZero(t, db.Expire())
	_, err := s.Finding(t.Context(), at(0).ID)
	require.ErrorIs(t, err, analyzer.ErrNotFound)
	_, err = s.Alert(t.Context(), "a-one")
	require.ErrorIs(t, err, analyzer.ErrNotFound)
}

func TestWhatHasExpiredInPartCanComeAgain(t *testing.T) {
	clock := cloudtest.NewClock(day)
	db := cloudtest.NewTable(cloudtest.TableOptions{Now: clock.Now})
	s := table.New(db, table.Options{Fence: 1, Now: clock.Now})
	save(t, s, at(0))
	require.NoError(t, s.PutAlerts(t.Context(), []analyzer.AlertRecord{record("a-one")}))

	clock.Set(day.Add(table.DefaultKeep + 5*24*time.Hour))
	db.Expire()
	require.Equal(t, []string{"a-one"}, keys(db, "DUE"), "what points at the alert outlives it")
	require.NoError(t, s.PutAlerts(t.Context(), []analyzer.AlertRecord{record("a-one")}), "there is none")

	clock.Set(day.Add(table.DefaultKeep + 35*24*time.Hour))
	db.Expire()
	require.Equal(t, []string{"@"}, keys(db, "F#"+at(0).ID), "what points at the finding outlives it")
	_, err := s.Finding(t.Context(), at(0).ID)
	require.ErrorIs(t, err, analyzer.ErrNotFound)
	require.Equal(t, []analyzer.Change{"new"}, save(t, s, at(0)))
	_, err = s.Finding(t.Context(), at(0).ID)
	require.NoError(t, err)
}

// keys returns the keys of a partition.
func keys(db *cloudtest.Table, partition string) (all []string) {
	for _, item := range db.Items() {
		if item.Partition == partition {
			all = append(all, item.Sort)
		}
	}
	return all
}

func manyIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = analyzer.FindingID(detection, []string{"one"}, day.Add(time.Duration(i)*time.Second))
	}
	return ids
}

// record returns a pageable alert in its first revision.
func record(id string) analyzer.AlertRecord {
	f := at(0)
	return analyzer.AlertRecord{
		Alert: analyzer.Alert{
			ID: id, Detection: detection, Severity: analyzer.High, Action: analyzer.ActionPage, Reason: "severity high",
			State: analyzer.AlertOpen, FindingIDs: []string{f.ID}, FirstTime: day, LastTime: day, Count: 1,
			Entity: f.Entity, Latest: f, Revision: 1, Thread: id,
		},
		Group: f.Group(), Start: day,
	}
}
