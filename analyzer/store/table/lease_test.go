package table_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

func leaseOn(db cloud.Table) table.Lease {
	return table.Lease{Table: db, Name: "analyze", TTL: 10 * time.Minute}
}

func TestALeaseIsHeldByOneAtATime(t *testing.T) {
	l := leaseOn(cloudtest.NewTable(cloudtest.TableOptions{}))
	first, err := l.Acquire(t.Context(), "run 1", day)
	require.NoError(t, err)
	require.Equal(t, table.Held{Owner: "run 1", Epoch: 1, Until: day.Add(10 * time.Minute)}, first)
	_, err = l.Acquire(t.Context(), "run 2", day.Add(10*time.Minute-1))
	require.ErrorIs(t, err, table.ErrHeld)
	require.ErrorContains(t, err, "run 1 until 2026-03-02T00:10:00Z")

	other := l
	other.Name = "compact"
	_, err = other.Acquire(t.Context(), "run 2", day)
	require.NoError(t, err, "another lease")

	second, err := l.Acquire(t.Context(), "run 2", day.Add(10*time.Minute))
	require.NoError(t, err, "its holder is dead")
	require.EqualValues(t, 2, second.Epoch)
	require.NoError(t, l.Release(t.Context(), first), "the first was not dead, but late")
	_, err = l.Acquire(t.Context(), "run 3", day.Add(11*time.Minute))
	require.ErrorIs(t, err, table.ErrHeld, "that leaves the second alone")

	require.NoError(t, l.Release(t.Context(), second))
	require.NoError(t, l.Release(t.Context(), second))
	third, err := l.Acquire(t.Context(), "run 2", day.Add(11*time.Minute))
	require.NoError(t, err)
	require.EqualValues(t, 3, third.Epoch, "the epoch outlives a release")
}

func TestALeaseNeedsAnOwnerAndATime(t *testing.T) {
	l := leaseOn(cloudtest.NewTable(cloudtest.TableOptions{}))
	_, err := l.Acquire(t.Context(), "", day)
	require.Error(t, err)
	l.TTL = 0
	_, err = l.Acquire(t.Context(), "run 1", day)
	require.Error(t, err)
}

func TestALeaseWhoseAnswerWasLostIsRecognised(t *testing.T) {
	for _, op := range []string{"dynamodb.Get", "dynamodb.Write"} {
		for _, f := range []cloudtest.Fault{{}, {After: true}, {Repeat: true}} {
			for _, before := range []int64{0, 1} { // epochs
				name := fmt.Sprintf("%s %+v after epoch %d", op, f, before)
				db := cloudtest.NewTable(cloudtest.TableOptions{})
				if before == 1 {
					held, err := leaseOn(db).Acquire(t.Context(), "run 1", day)
					require.NoError(t, err, name)
					require.NoError(t, leaseOn(db).Release(t.Context(), held), name)
				}
				l := leaseOn(faulty(db, op, 1, f))
				held, err := l.Acquire(t.Context(), "run 2", day)
				require.Equal(t, f.Repeat, err == nil, name)
				if err != nil {
					require.ErrorIs(t, err, cloudtest.ErrUnavailable, name)
					require.NotErrorIs(t, err, table.ErrHeld, name)
					held, err = l.Acquire(t.Context(), "run 2", day.Add(time.Second))
					require.NoError(t, err, name)
				}
				require.Equal(t, before+1, held.Epoch, name)
				_, err = l.Acquire(t.Context(), "run 3", day.Add(time.Second))
				require.ErrorIs(t, err, table.ErrHeld, name)
			}
		}
	}
}

func TestAReleaseWhoseAnswerWasLostCanBeRepeated(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	for i, f := range []cloudtest.Fault{{}, {After: true}} {
		l := leaseOn(faulty(db, "dynamodb.Write", 2, f))
		held, err := l.Acquire(t.Context(), "run", day)
		require.NoError(t, err)
		require.EqualValues(t, i+1, held.Epoch)
		require.ErrorIs(t, l.Release(t.Context(), held), cloudtest.ErrUnavailable)
		require.NoError(t, l.Release(t.Context(), held))
	}
}

func TestOfManyContendersOneGetsTheLease(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	var mu sync.Mutex
	holders, most := 0, 0
	var epochs []int64
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for run := range 50 {
				held, err := leaseOn(db).Acquire(t.Context(), fmt.Sprint(n, " ", run), day)
				if errors.Is(err, table.ErrHeld) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				holders++
				most = max(most, holders)
				epochs = append(epochs, held.Epoch)
				mu.Unlock()
				runtime.Gosched()
				mu.Lock()
				holders--
				mu.Unlock()
				if err := leaseOn(db).Release(t.Context(), held); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.Equal(t, 1, most)
	require.NotEmpty(t, epochs)
	require.True(t, slices.IsSorted(epochs), "epochs rise: %v", epochs)
	require.Len(t, slices.Compact(epochs), len(epochs), "each once: %v", epochs)
}

func TestOfContendersForADeadHoldersLeaseOneGetsIt(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	_, err := leaseOn(db).Acquire(t.Context(), "dead", day)
	require.NoError(t, err)
	results := make([]error, 8)
	var all sync.WaitGroup
	for n := range results {
		all.Go(func() {
			_, results[n] = leaseOn(db).Acquire(t.Context(), fmt.Sprint("run ", n), day.Add(time.Hour))
		})
	}
	all.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, table.ErrHeld)
	}
	require.Equal(t, 1, won)
}

// The lease decides who writes; the fence keeps a late holder from undoing what
// the next one wrote.
func TestALateHolderOfALeaseIsFenced(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	late, err := leaseOn(db).Acquire(t.Context(), "late", day)
	require.NoError(t, err)
	next, err := leaseOn(db).Acquire(t.Context(), "next", day.Add(time.Hour))
	require.NoError(t, err)
	f := at(0)
	f.Status = analyzer.FindingWithdrawn
	save(t, table.New(db, options(next.Epoch)), f)
	_, err = table.New(db, options(late.Epoch)).SaveFindings(t.Context(), []analyzer.Finding{at(0)})
	require.ErrorIs(t, err, table.ErrFenced)
}

func TestALeaseThatNobodyCanReadIsNotTaken(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	item := cloud.Item{Key: cloud.Key{Partition: "LEASE", Sort: "analyze"}, Number: 4, Body: []byte("{")}
	require.NoError(t, db.Write(t.Context(), cloud.Write{Item: item}))
	_, err := leaseOn(db).Acquire(t.Context(), "run", day)
	require.ErrorContains(t, err, "read lease analyze")
}

func TestALeaseThatIsAlwaysTakenBeforeUsIsHeld(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	rivals := 0
	l := leaseOn(db.With(cloudtest.Hooks{Before: func(op string) error {
		if op != "dynamodb.Write" {
			return nil
		}
		rivals++
		held, err := leaseOn(db).Acquire(t.Context(), fmt.Sprint("rival ", rivals), day)
		return errors.Join(err, leaseOn(db).Release(t.Context(), held))
	}}))
	_, err := l.Acquire(t.Context(), "run", day)
	require.ErrorIs(t, err, table.ErrHeld)
}
