package table_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

func reserve(t *testing.T, p table.Pace, channel string, now time.Time) time.Time {
	t.Helper()
	at, err := p.Reserve(t.Context(), channel, now)
	require.NoError(t, err)
	return at
}

func TestSlotsOfAChannelAreAGapApart(t *testing.T) {
	p := table.Pace{Table: cloudtest.NewTable(cloudtest.TableOptions{}), Gap: time.Second}
	require.Equal(t, day, reserve(t, p, "C0ALERTS", day))
	require.Equal(t, day.Add(time.Second), reserve(t, p, "C0ALERTS", day))
	require.Equal(t, day, reserve(t, p, "C0OTHER", day), "another channel")
	require.Equal(t, day.Add(2*time.Second), reserve(t, p, "C0ALERTS", day.Add(100*time.Millisecond)))
	later := day.Add(time.Minute + time.Microsecond)
	require.Equal(t, day.Add(time.Minute+time.Millisecond), reserve(t, p, "C0ALERTS", later), "no slot is in the past")
}

func TestManySendersShareAChannel(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	const senders, each = 8, 10
	var mu sync.Mutex
	var slots []time.Time
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			p := table.Pace{Table: db, Gap: time.Second}
			for range each {
				at, err := p.Reserve(t.Context(), "C0ALERTS", day)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				slots = append(slots, at)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.SortFunc(slots, time.Time.Compare)
	require.Len(t, slots, senders*each)
	for i, at := range slots {
		require.Equal(t, day.Add(time.Duration(i)*time.Second), at, "no slot is given twice, and none is left out")
	}
}

func TestASlotThatIsFarOffIsNotTaken(t *testing.T) {
	p := table.Pace{Table: cloudtest.NewTable(cloudtest.TableOptions{}), Gap: time.Second, Ahead: 2 * time.Second}
	for range 3 {
		reserve(t, p, "C0ALERTS", day)
	}
	for range 3 {
		at, err := p.Reserve(t.Context(), "C0ALERTS", day)
		require.ErrorIs(t, err, table.ErrFull)
		require.Equal(t, day.Add(3*time.Second), at, "when to come back; asking takes nothing")
	}
	require.Equal(t, day.Add(3*time.Second), reserve(t, p, "C0ALERTS", day.Add(time.Second)))
}

func TestALostAnswerCostsASlotAtMost(t *testing.T) {
	for _, op := range []string{"dynamodb.Get", "dynamodb.Write"} {
		for _, f := range []cloudtest.Fault{{}, {After: true}, {Repeat: true}} {
			db := cloudtest.NewTable(cloudtest.TableOptions{})
			p := table.Pace{Table: faulty(db, op, 1, f), Gap: time.Second}
			at, err := p.Reserve(t.Context(), "C0ALERTS", day)
			if err != nil {
				require.ErrorIs(t, err, cloudtest.ErrUnavailable)
				at = reserve(t, p, "C0ALERTS", day)
			}
			require.LessOrEqual(t, at.Sub(day), time.Second)
			require.Equal(t, at.Add(time.Second), reserve(t, p, "C0ALERTS", day))
		}
	}
}

func TestAChannelThatIsAlwaysTakenBeforeUsIsAConflict(t *testing.T) {
	db := cloudtest.NewTable(cloudtest.TableOptions{})
	rival := table.Pace{Table: db, Gap: time.Second}
	p := table.Pace{Gap: time.Second, Table: db.With(cloudtest.Hooks{Before: func(op string) error {
		if op == "dynamodb.Write" {
			_, err := rival.Reserve(t.Context(), "C0ALERTS", day)
			return err
		}
		return nil
	}})}
	_, err := p.Reserve(t.Context(), "C0ALERTS", day)
	require.ErrorIs(t, err, analyzer.ErrConflict)
	require.ErrorContains(t, err, "C0ALERTS")
}

func TestAChannelThatIsForgottenIsFree(t *testing.T) {
	clock := cloudtest.NewClock(day)
	db := cloudtest.NewTable(cloudtest.TableOptions{Now: clock.Now})
	p := table.Pace{Table: db, Gap: time.Second}
	reserve(t, p, "C0ALERTS", day)
	clock.Advance(40 * 24 * time.Hour)
	require.Equal(t, 1, db.Expire())
	require.Equal(t, clock.Now(), reserve(t, p, "C0ALERTS", clock.Now()))
}
