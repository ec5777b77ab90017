package remote_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/remote"
)

// several is a batch of two days and both tables, with a record in quarantine.
func several(t *testing.T) (*lake.Lake, lake.Batch) {
	local, b := batchOf(t, "s3-a", use(now, "1"), use(now, "2"), use(now.AddDate(0, 0, 1), "3"), control(now, "4"))
	q, err := local.Quarantine("s3-a")
	require.NoError(t, err)
	require.NoError(t, q.Add(analyzer.Reject{File: "x", Reason: "cut"}))
	_, _, err = q.Close()
	require.NoError(t, err)
	return local, b
}

var ofSeveral = []string{
	"control/day=2026-03-02/s3-a.parquet",
	"uses/day=2026-03-02/s3-a.parquet",
	"uses/day=2026-03-03/s3-a.parquet",
}

func TestABatchIsPublishedOnce(t *testing.T) {
	b := newBucket(cloudtest.NewClock(now))
	l := open(t, b)
	known := func(want bool) {
		t.Helper()
		got, err := l.Known(t.Context(), "s3-a")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	known(false)
	local, batch := several(t)
	fresh, err := l.Publish(t.Context(), local, batch)
	require.NoError(t, err)
	require.True(t, fresh)
	known(true)
	require.Equal(t, ofSeveral, paths(pending(t, l)))
	require.Equal(t, map[string]int{"111122223333 1": 1, "111122223333 2": 1, "111122223333 3": 1, "111122223333 4": 1}, rowsOf(t, l, pending(t, l)))
	require.Contains(t, text(t, b, "quarantine/s3-a.jsonl"), "cut")

	fresh, err = l.Publish(t.Context(), local, batch)
	require.NoError(t, err)
	require.False(t, fresh)
	analyse(t, l)
	known(true)
	fresh, err = l.Publish(t.Context(), local, batch)
	require.NoError(t, err)
	require.False(t, fresh)
	require.Empty(t, pending(t, l))
}

// Until the marker is written the batch does not exist; after it, it is whole.
func TestPublishKilledAtAnyCallIsDoneAgain(t *testing.T) {
	deaths(t,
		func(*testing.T) *cloudtest.Bucket { return newBucket(cloudtest.NewClock(now)) },
		func(t *testing.T, b cloud.Bucket) error {
			local, batch := several(t)
			_, err := open(t, b).Publish(t.Context(), local, batch)
			return err
		},
		func(t *testing.T, b *cloudtest.Bucket) {
			l := open(t, b)
			if waits := pending(t, l); len(waits) > 0 {
				require.Equal(t, ofSeveral, paths(waits))
				require.Len(t, rowsOf(t, l, waits), 4)
			}
			for _, table := range []analyzer.Table{analyzer.TableUses, analyzer.TableControl} {
				require.Empty(t, history(t, l, table, now, now.AddDate(0, 0, 1)), "nothing was analysed")
			}
			local, batch := several(t)
			_, err := l.Publish(t.Context(), local, batch)
			require.NoError(t, err)
			require.Equal(t, ofSeveral, paths(pending(t, l)))
			require.Len(t, rowsOf(t, l, pending(t, l)), 4)
			require.Len(t, keys(t, b, "quarantine/"), 1)
			require.Len(t, keys(t, b, ""), 5)
		})
}

func TestABatchWithoutEventsIsDoneAtOnce(t *testing.T) {
	deaths(t,
		func(*testing.T) *cloudtest.Bucket { return newBucket(cloudtest.NewClock(now)) },
		func(t *testing.T, b cloud.Bucket) error {
			local, batch := batchOf(t, "s3-none")
			_, err := open(t, b).Publish(t.Context(), local, batch)
			return err
		},
		func(t *testing.T, b *cloudtest.Bucket) {
			l := open(t, b)
			local, batch := batchOf(t, "s3-none")
			_, err := l.Publish(t.Context(), local, batch)
			require.NoError(t, err)
			require.Equal(t, []string{"done/0/s3-none.json"}, keys(t, b, ""))
			var receipt struct {
				lake.Batch
				AnalysedAt time.Time `json:"analysed_at"`
			}
			require.NoError(t, json.Unmarshal([]byte(text(t, b, "done/0/s3-none.json")), &receipt))
			require.Equal(t, analyzer.RecordCounts{Read: 2, NotOfInterest: 2}, receipt.Records)
			require.Equal(t, now, receipt.AnalysedAt)
		})
}

// What an attempt of another version left is no use to the marker of this one.
func TestWhatAnInterruptedPublishLeftIsReplacedWhenItDiffers(t *testing.T) {
	b := newBucket(cloudtest.NewClock(now))
	l := open(t, b)
	put(t, b, "uses/day=2026-03-02/s3-a.parquet", "PAR1 of another version")
	publish(t, l, "s3-a", use(now, "1"))
	require.Len(t, rowsOf(t, l, pending(t, l)), 1)
}

// An ingest that was given the same message as its twin writes the marker once
// more, after the batch was analysed.
func TestAMarkerThatComesAgainAfterItsBatchIsDoneIsClearedAway(t *testing.T) {
	b := newBucket(cloudtest.NewClock(now))
	l := open(t, b)
	local, batch := several(t)
	puts := 0
	slow := open(t, b.With(cloudtest.Hooks{Before: func(op string) error {
		if op != "s3.Put" {
			return nil
		}
		if puts++; puts == 5 { // the marker, after three objects and the quarantine
			_, err := l.Publish(t.Context(), local, batch)
			require.NoError(t, err)
			analyse(t, l)
		}
		return nil
	}}))
	_, err := slow.Publish(t.Context(), local, batch)
	require.NoError(t, err)
	require.Equal(t, 5, puts)
	require.Equal(t, []string{"inbox/0/s3-a.json"}, keys(t, b, "inbox/"))
	require.Empty(t, pending(t, l))
	require.Empty(t, keys(t, b, "inbox/"))
}

// S3 answers conflict also to a write that races another, which may fail yet.
func TestAConflictAboutAMarkerThatIsNotThereIsNotTakenForSuccess(t *testing.T) {
	b := newBucket(cloudtest.NewClock(now))
	local, batch := batchOf(t, "s3-a", use(now, "1"))
	puts := 0
	l := open(t, b.With(cloudtest.Hooks{Faults: func(op string) *cloudtest.Fault {
		if op != "s3.Put" {
			return nil
		}
		if puts++; puts != 2 {
			return nil
		}
		return &cloudtest.Fault{Err: fmt.Errorf("another write is under way: %w", analyzer.ErrConflict)}
	}}))
	_, err := l.Publish(t.Context(), local, batch)
	require.ErrorIs(t, err, analyzer.ErrConflict)
	require.Empty(t, pending(t, l))
	fresh, err := l.Publish(t.Context(), local, batch)
	require.NoError(t, err)
	require.True(t, fresh)
	require.Len(t, pending(t, l), 1)
}

func TestShardsDoNotSeeOneAnother(t *testing.T) {
	b := newBucket(cloudtest.NewClock(now))
	shard := func(n int) *remote.Lake {
		return open(t, b, func(o *remote.Options) { o.Shard, o.Shards = n, 12 })
	}
	one, eleven := shard(1), shard(11)
	publish(t, one, "s3-a", use(now, "1"))
	publish(t, eleven, "s3-a", use(now, "2"))
	require.Equal(t, []string{"uses/day=2026-03-02/s3-a-s01.parquet"}, paths(pending(t, one)))
	require.Equal(t, []string{"uses/day=2026-03-02/s3-a-s11.parquet"}, paths(pending(t, eleven)))
	analyse(t, one)
	require.Equal(t, []string{"uses/day=2026-03-02/s3-a-s01.parquet"}, paths(history(t, one, analyzer.TableUses, now, now)))
	require.Empty(t, history(t, eleven, analyzer.TableUses, now, now))
	require.Len(t, pending(t, eleven), 1)
	analyse(t, eleven)
	require.Equal(t, []string{"uses/day=2026-03-02/s3-a-s11.parquet"}, paths(history(t, eleven, analyzer.TableUses, now, now)))
	require.Equal(t, []string{"done/1/s3-a.json", "done/11/s3-a.json"}, keys(t, b, "done/"))
	_, err := remote.Open(remote.Options{Bucket: b, Cache: t.TempDir(), Shard: 2, Shards: 2})
	require.ErrorContains(t, err, "no shard 2 of 2")
}

func TestNamesOfBatchesAreChecked(t *testing.T) {
	l := open(t, newBucket(cloudtest.NewClock(now)))
	for _, name := range []string{"", "a/b", "..", "a.b", "compact-a", `a\b`} {
		_, err := l.Publish(t.Context(), nil, lake.Batch{Name: name})
		require.ErrorContains(t, err, "cannot be the name of a batch", name)
	}
}
