package table_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

func put(t *testing.T, s *table.Store, alerts ...analyzer.AlertRecord) {
	t.Helper()
	require.NoError(t, s.PutAlerts(t.Context(), alerts))
}

func stored(t *testing.T, s *table.Store, id string) analyzer.AlertRecord {
	t.Helper()
	r, err := s.Alert(t.Context(), id)
	require.NoError(t, err)
	return r
}

func TestAnAlertOfFiftyThousandFindingsIsKept(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	s := table.New(db, options(1))
	small, large := record("a-small"), record("a-large")
	large.FindingIDs = manyIDs(50_000)
	put(t, s, small, large)
	require.GreaterOrEqual(t, len(keys(db, "ALERT#a-large")), 1)
	require.Empty(t, keys(db, "ALERT#a-small"))
	large.Version, small.Version = 1, 1
	require.Equal(t, large, stored(t, s, "a-large"))
	for _, read := range []func() ([]analyzer.AlertRecord, error){
		func() ([]analyzer.AlertRecord, error) { return s.Alerts(t.Context(), time.Time{}) },
		func() ([]analyzer.AlertRecord, error) { return s.GroupAlerts(t.Context(), large.Group) },
		func() ([]analyzer.AlertRecord, error) { return s.DueAlerts(t.Context()) },
	} {
		got, err := read()
		require.NoError(t, err)
		require.Equal(t, []analyzer.AlertRecord{large, small}, got)
	}

	shrunk := large
	shrunk.FindingIDs = shrunk.FindingIDs[:3]
	put(t, s, shrunk)
	require.Equal(t, shrunk.FindingIDs, stored(t, s, "a-large").FindingIDs)
	large.Version = 2
	put(t, s, large)
	require.Equal(t, large.FindingIDs, stored(t, s, "a-large").FindingIDs, "over what was left of the first")
}

func TestAnAlertThatIsTooLargeIsRefused(t *testing.T) {
	s := table.New(cloudtest.NewTable(cloudtest.TableOptions{}), options(1))
	r := record("a-large")
	text := make([]byte, 6_000_000)
	chance := rand.New(rand.NewPCG(1, 1))
	for i := range text {
		text[i] = "0123456789abcdefghijklmnopqrstuv"[chance.IntN(32)]
	}
	r.Title = string(text)
	require.ErrorContains(t, s.PutAlerts(t.Context(), []analyzer.AlertRecord{r}), "a-large has")
}

func TestAnAlertThatIsWrittenWhileItIsReadIsReadWhole(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	writer := table.New(db, options(0))
	r := record("a-large")
	r.FindingIDs = manyIDs(33_000)
	put(t, writer, r)
	require.Len(t, keys(db, "ALERT#a-large"), 1)
	overtaken := func(times int) *table.Store {
		n := 0
		return table.New(db.With(cloudtest.Hooks{Before: func(op string) error {
			if op == "dynamodb.GetMany" && n < times { // its parts, or itself again
				n++
				r = stored(t, writer, r.ID)
				r.Count++
				return writer.PutAlerts(t.Context(), []analyzer.AlertRecord{r})
			}
			return nil
		}}), options(0))
	}
	got := stored(t, overtaken(3), r.ID)
	require.Len(t, got.FindingIDs, 33_000)
	require.Equal(t, stored(t, writer, r.ID), got)
	_, err := overtaken(1000).Alert(t.Context(), r.ID)
	require.ErrorIs(t, err, analyzer.ErrConflict)
	require.ErrorContains(t, err, "a-large")
}

func TestAWriteWhoseAnswerWasLostIsRecognised(t *testing.T) {
	for name, f := range map[string]cloudtest.Fault{
		"before it took effect": {},
		"after it took effect":  {After: true},
	} {
		t.Run(name, func(t *testing.T) {
			db := cloudtest.NewTable(cloudtest.TableOptions{})
			s := table.New(faulty(db, "dynamodb.Write", 2, f), options(0))
			put(t, s, record("a-one"), record("a-two"))
			one, two := stored(t, s, "a-one"), stored(t, s, "a-two")
			one.Count, two.Count = 5, 6
			both := []analyzer.AlertRecord{one, two}
			require.ErrorIs(t, s.PutAlerts(t.Context(), both), cloudtest.ErrUnavailable)
			require.NoError(t, s.PutAlerts(t.Context(), both), "tried again")
			require.EqualValues(t, 2, stored(t, s, "a-one").Version)
			require.EqualValues(t, 5, stored(t, s, "a-one").Count)
			require.EqualValues(t, 6, stored(t, s, "a-two").Count)
			require.ErrorIs(t, s.PutAlerts(t.Context(), both), analyzer.ErrConflict, "now it was answered")
		})
	}
}

func TestALostAnswerIsNotTakenForThatOfAnother(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	other := table.New(db, options(0))
	put(t, other, record("a-one"))
	s := table.New(faulty(db, "dynamodb.Write", 1, cloudtest.Fault{}), options(0))
	mine, theirs := stored(t, s, "a-one"), stored(t, other, "a-one")
	mine.Count, theirs.Count = 5, 6
	require.ErrorIs(t, s.PutAlerts(t.Context(), []analyzer.AlertRecord{mine}), cloudtest.ErrUnavailable)
	put(t, other, theirs)
	err := s.PutAlerts(t.Context(), []analyzer.AlertRecord{mine})
	require.ErrorIs(t, err, analyzer.ErrConflict)
	require.ErrorContains(t, err, "a-one")
	require.EqualValues(t, 6, stored(t, s, "a-one").Count)
}

func TestOneConflictLeavesTheAlertsBeforeItWritten(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	s := table.New(db, options(0))
	put(t, s, record("a-b"))
	changed := stored(t, s, "a-b")
	changed.Count = 9
	put(t, table.New(db, options(0)), changed)
	stale := record("a-b")
	stale.Version = 1
	err := s.PutAlerts(t.Context(), []analyzer.AlertRecord{record("a-a"), stale, record("a-c")})
	require.ErrorIs(t, err, analyzer.ErrConflict)
	require.ErrorContains(t, err, "read at version 1, stored is 2")
	require.Equal(t, []string{"a-a", "a-b"}, keys(db, "ALERT"))
	require.EqualValues(t, 9, stored(t, s, "a-b").Count)
}

func TestManyAlertsShareTransactions(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	counted, calls := counting(db)
	s := table.New(counted, options(0))
	var alerts []analyzer.AlertRecord
	for i := range 256 {
		alerts = append(alerts, record(fmt.Sprintf("a-%03d", i)))
	}
	put(t, s, alerts...)
	require.Equal(t, 8, calls["dynamodb.Write"])
	again := record("a-000")
	again.Version = 1
	next := again
	next.Version, next.Count = 2, 2
	put(t, s, again, next)
	require.EqualValues(t, 3, stored(t, s, "a-000").Version, "one that comes twice is written twice")
}

func TestADueMarkGoesWithWhatItMarks(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	s := table.New(db, options(0))
	put(t, s, record("a-one"), record("a-two"))
	require.Equal(t, []string{"a-one", "a-two"}, keys(db, "DUE"))
	told := stored(t, s, "a-one")
	told.Notified, told.Told = 1, analyzer.ActionPage
	put(t, s, told)
	require.Equal(t, []string{"a-two"}, keys(db, "DUE"))

	// An alert that is told between the reading of the mark and its own.
	told = stored(t, s, "a-two")
	told.Notified, told.Told = 1, analyzer.ActionPage
	queries := 0
	reader := table.New(db.With(cloudtest.Hooks{Before: func(op string) error {
		if op == "dynamodb.GetMany" {
			if queries++; queries == 1 {
				put(t, s, told)
			}
		}
		return nil
	}}), options(0))
	due, err := reader.DueAlerts(t.Context())
	require.NoError(t, err)
	require.Empty(t, due)
}

func TestOfManyWritersOfAnAlertOneWinsEachVersion(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	put(t, table.New(db, options(0)), record("a-one"))
	const writers, times = 8, 20
	var wins atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			s := table.New(db, options(0))
			for range times {
				r, err := s.Alert(t.Context(), "a-one")
				if err != nil {
					t.Error(err)
					return
				}
				r.Count++
				if err = s.PutAlerts(t.Context(), []analyzer.AlertRecord{r}); err == nil {
					wins.Add(1)
				}
			}
		})
	}
	all.Wait()
	got := stored(t, table.New(db, options(0)), "a-one")
	require.Equal(t, got.Version-1, got.Count-1, "no write was undone")
	require.GreaterOrEqual(t, wins.Load(), got.Count-1, "who decided the same may be told so")
}

func TestAnItemThatIsNoAlertIsAnError(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	for name, body := range map[string][]byte{
		"empty": nil, "no varint": {0xff}, "no gzip": {0, 0x1f, 0x8b, 1}, "cut short": {0, '{'}, "many parts": {0xff, 0xff, 0x7f},
	} {
		item := cloud.Item{Key: cloud.Key{Partition: "ALERT", Sort: "a-one"}, Number: 1, Body: body}
		require.NoError(t, db.Write(t.Context(), cloud.Write{Item: item}))
		_, err := table.New(db, options(0)).Alert(t.Context(), "a-one")
		require.ErrorContains(t, err, "a-one", name)
	}
}
