package remote_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
)

func TestHistoryListsTheDaysAskedFor(t *testing.T) {
	b := newBucket(cloudtest.NewClock(now))
	l := open(t, b)
	for i, name := range []string{"a", "b", "c", "d"} {
		publish(t, l, name, use(now.AddDate(0, 0, i), name), control(now.AddDate(0, 0, i), name+"2"))
	}
	analyse(t, l)
	put(t, b, "uses/day=2026-03-03/README.txt", "not an object")
	put(t, b, "uses/notes/2026-03-03.parquet", "not of a day")
	got := history(t, l, analyzer.TableUses, day.AddDate(0, 0, 1).Add(23*time.Hour), day.AddDate(0, 0, 2))
	require.Equal(t, []string{"uses/day=2026-03-03/b.parquet", "uses/day=2026-03-04/c.parquet"}, paths(got))
	require.Equal(t, now.AddDate(0, 0, 1), got[0].MinTime)
	require.Equal(t, int64(1), got[0].Rows)
	require.Positive(t, got[0].Bytes)
	require.Equal(t, analyzer.TableUses, got[0].Table)
	require.Len(t, history(t, l, analyzer.TableControl, time.Time{}, time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)), 4)
	require.Empty(t, history(t, l, analyzer.TableControl, day.AddDate(0, 0, 4), day.AddDate(0, 0, 9)))
}

// An event of an object on its way would pass for seen, and when the object
// arrives, for seen again: it would be lost.
func TestWhatWasNotAnalysedIsNotInHistory(t *testing.T) {
	b := newBucket(cloudtest.NewClock(now))
	l := open(t, b)
	publish(t, l, "s3-a", use(now, "1"))
	require.Empty(t, history(t, l, analyzer.TableUses, now, now), "it waits")
	local, batch := batchOf(t, "s3-b", use(now, "2"))
	m := &mortal{at: 4} // two looks, the object, and no marker
	_, err := open(t, b.With(m.hooks())).Publish(t.Context(), local, batch)
	require.ErrorIs(t, err, errDead)
	require.Len(t, keys(t, b, "uses/"), 2)
	analyse(t, l)
	require.Equal(t, []string{"uses/day=2026-03-02/s3-a.parquet"}, paths(history(t, l, analyzer.TableUses, now, now)))

	// An object that an attempt left and that the batch does not name.
	put(t, b, "uses/day=2026-03-02/s3-a.1.parquet", "PAR1")
	require.Len(t, history(t, l, analyzer.TableUses, now, now), 1)
}

func TestTheWholeLakeIsAnalysedAgain(t *testing.T) {
	b := newBucket(cloudtest.NewClock(now))
	l := open(t, b)
	publish(t, l, "a", use(now, "1"), control(now, "2"))
	publish(t, l, "b", use(now.AddDate(0, 0, 1), "3"))
	analyse(t, l)
	publish(t, l, "c", use(now, "4"))
	all := []string{"control/day=2026-03-02/a.parquet", "uses/day=2026-03-02/a.parquet", "uses/day=2026-03-02/c.parquet", "uses/day=2026-03-03/b.parquet"}
	n, err := l.Requeue(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.ElementsMatch(t, all, paths(pending(t, l)))
	n, err = l.Requeue(t.Context())
	require.NoError(t, err)
	require.Zero(t, n, "all of it waits")
	analyse(t, l)
	require.Len(t, history(t, l, analyzer.TableUses, now, now.AddDate(0, 0, 1)), 3)
}
