package remote_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/remote"
	"github.com/keytrail/keytrail/analyzer/rows"
)

// settledDay is a bucket with a day of small batches of which each brings again
// an event that another one brought, five days later.
func settledDay(t *testing.T) (*cloudtest.Bucket, *cloudtest.Clock) {
	t.Helper()
	clock := cloudtest.NewClock(now)
	b := newBucket(clock)
	if len(settledObjects) == 0 {
		l := open(t, b, at(clock))
		for i := range 5 {
			at := now.Add(time.Duration(i) * time.Minute)
			publish(t, l, fmt.Sprint("s3-", i), use(at, fmt.Sprint("u", i)), use(at.Add(time.Hour), "again"), control(at, fmt.Sprint("c", i)), control(at, "again"))
		}
		analyse(t, l)
		for _, key := range keys(t, b, "") {
			settledObjects[key] = text(t, b, key)
		}
	}
	for key, body := range settledObjects {
		put(t, b, key, body)
	}
	clock.Advance(5 * 24 * time.Hour)
	return b, clock
}

// settledObjects are what settledDay has in its bucket: it takes long to write.
var settledObjects = map[string]string{}

// wanted are the events of settledDay, for either table.
func wanted(table analyzer.Table) (ids []string) {
	for i := range 5 {
		ids = append(ids, fmt.Sprintf("111122223333 %c%d", table[0], i))
	}
	return append(ids, "111122223333 again")
}

var tables = []analyzer.Table{analyzer.TableUses, analyzer.TableControl}

// requireWhole checks that a reader finds every event of the settled day, and no
// more than once if it was in one object only.
func requireWhole(t *testing.T, b cloud.Bucket) {
	t.Helper()
	l := open(t, b)
	for _, table := range tables {
		seen := rowsOf(t, l, history(t, l, table, day, day))
		ids := make([]string, 0, len(seen))
		for id, n := range seen {
			ids = append(ids, id)
			if !strings.HasSuffix(id, "again") {
				require.Equal(t, 1, n, id)
			}
		}
		require.ElementsMatch(t, wanted(table), ids)
	}
}

// requireMerged checks that a day is one object for each table, with each event
// once.
func requireMerged(t *testing.T, b cloud.Bucket) {
	t.Helper()
	l := open(t, b)
	for _, table := range tables {
		objects := history(t, l, table, day, day)
		require.Len(t, objects, 1, table)
		require.Len(t, rowsOf(t, l, objects), 6)
		require.Equal(t, int64(6), objects[0].Rows)
		require.False(t, objects[0].MinTime.Before(now))
	}
}

var eager = remote.Compaction{MinObjects: 2, Open: rows.Open}

func compact(t *testing.T, l *remote.Lake, c remote.Compaction) remote.Compacted {
	t.Helper()
	c.Open = rows.Open
	did, err := l.Compact(t.Context(), c)
	require.NoError(t, err)
	return did
}

func TestSmallObjectsOfASettledDayBecomeOne(t *testing.T) {
	b, clock := settledDay(t)
	l := open(t, b, at(clock))
	require.Equal(t, remote.Compacted{Merged: 10, Into: 2, Duplicates: 8}, compact(t, l, eager))
	requireMerged(t, b)
	require.Len(t, keys(t, b, "uses/"), 6, "sources stay for a day")
	require.Equal(t, remote.Compacted{}, compact(t, l, eager), "there is no more to do")
	clock.Advance(23 * time.Hour)
	require.Zero(t, compact(t, l, eager))
	clock.Advance(2 * time.Hour)
	require.Equal(t, remote.Compacted{Deleted: 10}, compact(t, l, eager))
	require.Len(t, keys(t, b, "uses/"), 1)
	requireMerged(t, b)
	require.Zero(t, compact(t, l, eager))

	// What comes later is merged by itself.
	publish(t, l, "late-1", use(now, "l1"))
	publish(t, l, "late-2", use(now, "l2"))
	analyse(t, l)
	require.Equal(t, remote.Compacted{Merged: 2, Into: 1}, compact(t, l, eager))
	require.Len(t, rowsOf(t, l, history(t, l, analyzer.TableUses, day, day)), 8)
}

// The engine takes of several rows of an event the one with the earliest time.
func TestTheEarliestOfRepeatedEventsStays(t *testing.T) {
	clock := cloudtest.NewClock(now)
	b := newBucket(clock)
	l := open(t, b, at(clock))
	event := func(minutes int, principal string) analyzer.Event {
		ev := control(now.Add(time.Duration(minutes)*time.Minute), "x")
		ev.Principal = principal
		return ev
	}
	publish(t, l, "a", event(3, "late"))
	publish(t, l, "b", event(1, "first"), event(1, "second"), event(2, "middle"))
	publish(t, l, "c", event(1, "third"))
	other := event(0, "another account")
	other.Account = "444455556666"
	publish(t, l, "d", other)
	analyse(t, l)
	clock.Advance(5 * 24 * time.Hour)
	require.Equal(t, remote.Compacted{Merged: 4, Into: 1, Duplicates: 4}, compact(t, l, eager))
	require.Equal(t, [][]any{{"another account"}, {"first"}}, query(t, l, history(t, l, analyzer.TableControl, day, day), "principal", "order by 1"))
}

// query reads objects with DuckDB.
func query(t *testing.T, l *remote.Lake, objects []analyzer.Object, columns, rest string) (all [][]any) {
	t.Helper()
	require.NoError(t, l.Fetch(t.Context(), objects))
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = "'" + filepath.Join(l.Root(), filepath.FromSlash(o.Path)) + "'"
	}
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	rows, err := db.QueryContext(t.Context(), fmt.Sprintf("select %s from read_parquet([%s], hive_partitioning = false) %s", columns, strings.Join(names, ", "), rest))
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	count, err := rows.Columns()
	require.NoError(t, err)
	for rows.Next() {
		values := make([]any, len(count))
		into := make([]any, len(count))
		for i := range values {
			into[i] = &values[i]
		}
		require.NoError(t, rows.Scan(into...))
		all = append(all, values)
	}
	require.NoError(t, rows.Err())
	return all
}

// full sets every field of an event to something of its own.
func full(id string, i int) analyzer.Event {
	ev := control(now.Add(time.Duration(i)*time.Second), id)
	v := reflect.ValueOf(&ev).Elem()
	for f := range v.NumField() {
		field := v.Field(f)
		name := v.Type().Field(f).Name
		switch {
		case !field.IsZero() || i%4 == 3: // some are left empty
		case field.Type() == reflect.TypeFor[time.Time]():
			field.Set(reflect.ValueOf(now.Add(time.Duration(f+i) * time.Minute)))
		case field.Kind() == reflect.String:
			field.SetString(fmt.Sprint(name, " ünïcödé ", i%7))
		case field.Kind() == reflect.Bool:
			field.SetBool(i%2 == 0)
		case field.Kind() == reflect.Int:
			field.SetInt(int64(f - 20*i))
		case field.Kind() == reflect.Slice:
			for n := range i % 3 {
				field.Set(reflect.Append(field, reflect.ValueOf(fmt.Sprint(name, n))))
			}
		}
	}
	return ev
}

func TestMergedEventsAreWhatTheyWere(t *testing.T) {
	clock := cloudtest.NewClock(now)
	b := newBucket(clock)
	l := open(t, b, at(clock))
	for n := range 3 {
		var events []analyzer.Event
		for i := range 700 {
			ev := full(fmt.Sprintf("%d-%d", n, i), i)
			ev.Source, ev.Type, ev.ReadOnly, ev.Outcome = "kms.amazonaws.com", "AwsApiCall", i%2 == 0, analyzer.OutcomeOK
			events = append(events, ev)
		}
		publish(t, l, fmt.Sprint("s3-", n), events...)
	}
	analyse(t, l)
	clock.Advance(5 * 24 * time.Hour)
	for _, table := range tables {
		before := query(t, l, history(t, l, table, day, day), "*", "order by event_id")
		require.Len(t, before, 1050)
		compact(t, l, eager)
		require.Len(t, history(t, l, table, day, day), 1)
		require.Equal(t, before, query(t, l, history(t, l, table, day, day), "*", "order by event_id"))
	}
}

// At every call of a compaction, and wherever it dies, a reader sees each event.
func TestCompactionKilledAtAnyCallLosesAndRepeatsNothing(t *testing.T) {
	b, clock := settledDay(t)
	watched := b.With(cloudtest.Hooks{Before: func(string) error {
		requireWhole(t, b)
		return nil
	}})
	compact(t, open(t, watched, at(clock)), eager)
	clock.Advance(25 * time.Hour)
	compact(t, open(t, watched, at(clock)), eager)
	requireMerged(t, b)

	prepare := func(t *testing.T) *cloudtest.Bucket {
		b, clock = settledDay(t)
		return b
	}
	finish := func(t *testing.T, b *cloudtest.Bucket) {
		requireWhole(t, b)
		compact(t, open(t, b, at(clock)), eager)
		requireMerged(t, b)
		clock.Advance(25 * time.Hour)
		compact(t, open(t, b, at(clock)), eager)
		requireMerged(t, b)
		require.Len(t, keys(t, b, "uses/"), 1)
		require.Len(t, keys(t, b, "control/"), 1)
	}
	do := func(t *testing.T, b cloud.Bucket) error {
		_, err := open(t, b, at(clock)).Compact(t.Context(), eager)
		return err
	}
	t.Run("merging", func(t *testing.T) { deaths(t, prepare, do, finish) })
	t.Run("deleting", func(t *testing.T) {
		deaths(t, func(t *testing.T) *cloudtest.Bucket {
			b := prepare(t)
			compact(t, open(t, b, at(clock)), eager)
			clock.Advance(25 * time.Hour)
			return b
		}, do, finish)
	})
}

// One compaction as a whole between any two calls of another that has listed
// less than it; and one that goes on a day later, when the other has deleted what
// it merged.
func TestTwoCompactionsAtOnceLoseAndRepeatNothing(t *testing.T) {
	for _, paused := range []time.Duration{0, 25 * time.Hour} {
		for call := 1; ; call++ {
			b, clock := settledDay(t)
			// The second sees one batch more, so that it merges something else.
			second := func() {
				l := open(t, b, at(clock))
				publish(t, l, "s3-more", use(now, "u9"), use(now, "again"), control(now, "c9"))
				analyse(t, l)
				compact(t, l, eager)
				if paused > 0 {
					clock.Advance(paused)
					compact(t, l, eager)
				}
			}
			calls := 0
			first := open(t, b.With(cloudtest.Hooks{Before: func(string) error {
				if calls++; calls == call {
					second()
				}
				return nil
			}}), at(clock))
			if _, err := first.Compact(t.Context(), eager); err != nil {
				require.ErrorIs(t, err, lake.ErrMissing, "what it was about to merge is merged")
				require.Positive(t, paused)
			}
			if calls < call {
				require.Greater(t, call, 10)
				break
			}
			check := func() {
				t.Helper()
				l := open(t, b)
				for _, table := range tables {
					seen := rowsOf(t, l, history(t, l, table, day, day))
					require.Len(t, seen, 7, "call %d", call)
					for id, n := range seen {
						require.True(t, n == 1 || strings.HasSuffix(id, "again"), "call %d: %s is there %d times", call, id, n)
					}
				}
			}
			check()
			for range 2 {
				clock.Advance(25 * time.Hour)
				compact(t, open(t, b, at(clock)), eager)
				check()
			}
			require.LessOrEqual(t, len(keys(t, b, "uses/")), 2, "what did not count is gone")
		}
	}
}

func TestAMergedObjectThatNoLedgerNamesDoesNotCountAndGoes(t *testing.T) {
	b, clock := settledDay(t)
	put(t, b, "uses/day=2026-03-02/compact-0123.parquet", text(t, b, "uses/day=2026-03-02/s3-1.parquet"))
	requireWhole(t, b)
	l := open(t, b, at(clock))
	require.Zero(t, compact(t, l, remote.Compaction{}))
	require.Len(t, keys(t, b, "uses/"), 6, "its ledger may be on its way")
	clock.Advance(25 * time.Hour)
	require.Equal(t, remote.Compacted{Deleted: 1}, compact(t, l, remote.Compaction{}))
	require.Len(t, keys(t, b, "uses/"), 5)
	requireWhole(t, b)
}

// An entry of a ledger counts as long as its object is there.
func TestWhatWasMergedCountsAgainWhenTheMergedObjectIsGone(t *testing.T) {
	b, clock := settledDay(t)
	l := open(t, b, at(clock))
	compact(t, l, eager)
	for _, table := range tables {
		require.NoError(t, b.Delete(t.Context(), history(t, l, table, day, day)[0].Path))
	}
	requireWhole(t, b)
	clock.Advance(25 * time.Hour)
	require.Equal(t, remote.Compacted{Merged: 10, Into: 2, Duplicates: 8}, compact(t, l, eager), "and nothing is deleted")
	requireMerged(t, b)
}

func TestCompactionLeavesAloneWhatItMust(t *testing.T) {
	whole := func(t *testing.T, b *cloudtest.Bucket, clock *cloudtest.Clock, c remote.Compaction) {
		t.Helper()
		require.Zero(t, compact(t, open(t, b, at(clock)), c))
	}
	t.Run("days that are not over for long enough", func(t *testing.T) {
		b, clock := settledDay(t)
		clock.Set(day.AddDate(0, 0, 4).Add(-time.Second))
		whole(t, b, clock, eager)
		clock.Advance(time.Second)
		require.Equal(t, 10, compact(t, open(t, b, at(clock)), eager).Merged)
	})
	t.Run("days that are over for too long", func(t *testing.T) {
		b, clock := settledDay(t)
		clock.Advance(30 * 24 * time.Hour)
		whole(t, b, clock, eager)
		c := eager
		c.Days = 60
		require.Equal(t, 10, compact(t, open(t, b, at(clock)), c).Merged)
	})
	t.Run("few objects", func(t *testing.T) {
		b, clock := settledDay(t)
		whole(t, b, clock, remote.Compaction{MinObjects: 6})
	})
	t.Run("large objects, which the ledger names", func(t *testing.T) {
		b, clock := settledDay(t)
		whole(t, b, clock, remote.Compaction{MinObjects: 2, SmallBytes: 10})
		// The receipts expire; what was analysed is known even so.
		require.NoError(t, b.Delete(t.Context(), keys(t, b, "done/")...))
		requireWhole(t, b)
		require.Len(t, history(t, open(t, b), analyzer.TableUses, day, day), 5)
		require.Equal(t, 10, compact(t, open(t, b, at(clock)), eager).Merged, "they are small now")
		requireMerged(t, b)
	})
	t.Run("what memory calls hot", func(t *testing.T) {
		b, clock := settledDay(t)
		c := eager
		c.Keep = objectsOf("uses/day=2026-03-02/s3-1.parquet", "uses/day=2026-03-02/s3-4.parquet")
		require.Equal(t, 8, compact(t, open(t, b, at(clock)), c).Merged)
		requireWhole(t, b)
		clock.Advance(25 * time.Hour)
		c.Keep = append(c.Keep, objectsOf("uses/day=2026-03-02/s3-2.parquet")...)
		require.Equal(t, 7, compact(t, open(t, b, at(clock)), c).Deleted)
		requireWhole(t, b)
	})
	t.Run("what waits, and what is on its way", func(t *testing.T) {
		b, clock := settledDay(t)
		l := open(t, b, at(clock))
		publish(t, l, "s3-waits", use(now, "w"))
		local, batch := batchOf(t, "s3-way", use(now, "y"))
		m := &mortal{at: 4}
		_, err := open(t, b.With(m.hooks())).Publish(t.Context(), local, batch)
		require.ErrorIs(t, err, errDead)
		require.Equal(t, 10, compact(t, l, eager).Merged)
		requireMerged(t, b)
		_, err = l.Publish(t.Context(), local, batch)
		require.NoError(t, err)
		require.Len(t, rowsOf(t, l, pending(t, l)), 2)
		analyse(t, l)
		require.Len(t, rowsOf(t, l, history(t, l, analyzer.TableUses, day, day)), 8)
	})
	t.Run("objects with columns of a later version", func(t *testing.T) {
		b, clock := settledDay(t)
		for _, key := range keys(t, b, "control/") {
			// A table with other columns, as a later version may write.
			put(t, b, strings.Replace(key, "control", "uses", 1), text(t, b, key))
		}
		require.Equal(t, 5, compact(t, open(t, b, at(clock)), eager).Merged)
	})
	t.Run("too many rows and bytes for one object", func(t *testing.T) {
		b, clock := settledDay(t)
		require.Equal(t, remote.Compacted{Merged: 8, Into: 4, Duplicates: 4}, compact(t, open(t, b, at(clock)), remote.Compaction{MinObjects: 2, MaxRows: 5}))
		requireWhole(t, b)
		b, clock = settledDay(t)
		whole(t, b, clock, remote.Compaction{MinObjects: 2, MaxBytes: 1000})
	})
	t.Run("what there is no time for", func(t *testing.T) {
		b, clock := settledDay(t)
		asked := 0
		c := eager
		c.Stop = func() bool { asked++; return asked > 3 }
		did := compact(t, open(t, b, at(clock)), c)
		require.Equal(t, remote.Compacted{Merged: 5, Into: 1, Duplicates: 4, Stopped: true}, did)
		require.Equal(t, 5, compact(t, open(t, b, at(clock)), eager).Merged)
	})
	t.Run("the objects of other shards", func(t *testing.T) {
		clock := cloudtest.NewClock(now)
		b := newBucket(clock)
		var lakes []*remote.Lake
		for n := range 2 {
			l := open(t, b, at(clock), func(o *remote.Options) { o.Shard, o.Shards = n, 2 })
			publish(t, l, "a", use(now, "1"))
			publish(t, l, "b", use(now, "2"))
			analyse(t, l)
			lakes = append(lakes, l)
		}
		clock.Advance(5 * 24 * time.Hour)
		require.Equal(t, 2, compact(t, lakes[1], eager).Merged)
		require.Equal(t, []string{"uses/day=2026-03-02/a-s00.parquet", "uses/day=2026-03-02/b-s00.parquet"}, paths(history(t, lakes[0], analyzer.TableUses, day, day)))
		require.Equal(t, 2, compact(t, lakes[0], eager).Merged)
		for _, l := range lakes {
			objects := history(t, l, analyzer.TableUses, day, day)
			require.Len(t, objects, 1)
			require.Len(t, rowsOf(t, l, objects), 2)
		}
	})
}

// A batch may come again after its receipt expired and its objects were deleted,
// and a later version may keep more of it.
func TestAnObjectThatComesAgainWithMoreInItCounts(t *testing.T) {
	b, clock := settledDay(t)
	l := open(t, b, at(clock))
	compact(t, l, eager)
	clock.Advance(25 * time.Hour)
	compact(t, l, eager)
	require.NoError(t, b.Delete(t.Context(), keys(t, b, "done/")...))
	l = open(t, b, at(clock)) // of a process that does not know the receipts
	publish(t, l, "s3-1", use(now.Add(time.Minute), "u1"), use(now, "new"))
	publish(t, l, "s3-2", use(now.Add(2*time.Minute), "u2"), use(now.Add(2*time.Minute+time.Hour), "again"), control(now.Add(2*time.Minute), "c2"), control(now.Add(2*time.Minute), "again"))
	analyse(t, l)
	seen := rowsOf(t, l, history(t, l, analyzer.TableUses, day, day))
	require.Len(t, seen, 7)
	require.Equal(t, 1, seen["111122223333 u2"], "the same object again is known to be merged")
	clock.Advance(25 * time.Hour)
	require.Equal(t, 2, compact(t, l, eager).Deleted)
	require.Len(t, rowsOf(t, l, history(t, l, analyzer.TableUses, day, day)), 7)
}
