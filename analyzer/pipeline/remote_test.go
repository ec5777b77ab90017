package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/intake"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/pipeline"
	"github.com/keytrail/keytrail/analyzer/remote"
	"github.com/keytrail/keytrail/analyzer/rows"
	"github.com/keytrail/keytrail/analyzer/trail"
)

var (
	_ pipeline.Lake   = (*lake.Lake)(nil)
	_ pipeline.Lake   = (*remote.Lake)(nil)
	_ pipeline.Memory = (*remote.Memory)(nil)
)

// account is a lake and a memory in a bucket, with what is found in a world.
type account struct {
	*world
	t      *testing.T
	clock  *cloudtest.Clock
	bucket *cloudtest.Bucket
	cache  int64 // bytes
}

func newAccount(t *testing.T, s *analyzer.Settings) *account {
	clock := cloudtest.NewClock(time.Date(2026, 3, 5, 9, 0, 0, 0, time.UTC))
	return &account{world: newWorld(t, s), t: t, clock: clock, bucket: cloudtest.NewBucket(cloudtest.BucketOptions{Now: clock.Now})}
}

func (a *account) open(b cloud.Bucket) *remote.Lake {
	l, err := remote.Open(remote.Options{Bucket: b, Cache: a.t.TempDir(), CacheBytes: a.cache, Parallel: 1, Now: a.clock.Now})
	require.NoError(a.t, err)
	return l
}

// publish reads one object of a trail, as the ingest function does.
func (a *account) publish(name string, body []byte) {
	a.t.Helper()
	local, err := lake.Open(a.t.TempDir())
	require.NoError(a.t, err)
	in := intake.Ingest{Lake: local, Run: name, Events: a.analysis.Catalog.Events(), Workers: 1}
	_, err = in.Inputs(context.Background(), []trail.Input{{
		Name: "s3://trail/" + name, Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}})
	require.NoError(a.t, err)
	batches, err := local.Inbox(context.Background())
	require.NoError(a.t, err)
	require.Len(a.t, batches, 1)
	_, err = a.open(a.bucket).Publish(context.Background(), local, batches[0])
	require.NoError(a.t, err)
	require.NoError(a.t, local.Close())
}

// tick runs an analysis as a process of its own, with nothing on its disk.
func (a *account) tick(b cloud.Bucket) (pipeline.Analyzed, error) {
	an := a.analysis
	an.Store, an.Lake = a.store, a.open(b)
	an.Memory = remote.OpenMemory(remote.MemoryOptions{Bucket: b, Dir: filepath.Join(a.t.TempDir(), "memory")})
	a.clock.Advance(time.Minute)
	got, err := an.Run(context.Background())
	a.kept += got.Counts.Kept
	a.repeated += got.Counts.Duplicate
	a.late += got.Counts.Late
	return got, err
}

// files are the incident in three objects, each of about a day, and the second
// of them again under another name: another trail recorded it, too.
func files() [][]byte {
	before, after := incident()
	middle := slices.IndexFunc(after, func(e entry) bool { return e.at.Day() != after[0].at.Day() })
	return [][]byte{pack(asRecords, before), pack(asGzip, after[:middle]), pack(asLines, after[middle:]), pack(asEnvelopes, after[:middle])}
}

func incidentSettings() *analyzer.Settings {
	settings := &analyzer.Settings{}
	settings.Defaults()
	only(settings, "KMS-D01", "KMS-D02", "KMS-D07", "KMS-G01", "KMS-G02", "KMS-U01", "KMS-U05", "KMS-U20")
	return settings
}

// local is the same on a folder: all but the last file in one go, and then what
// is late and seen already.
func local(t *testing.T) *world {
	w := newWorld(t, incidentSettings())
	t.Cleanup(w.close)
	all := files()
	w.ingest(1, all[:3]...)
	w.analyze()
	w.ingest(1, all[3])
	w.analyze()
	require.NotEmpty(t, w.findings())
	return w
}

func (a *account) requireSame(want *world) {
	a.t.Helper()
	require.Empty(a.t, differences(want.findings(), a.findings()))
	require.Empty(a.t, gocmp.Diff(want.alerts(), a.alerts()))
	require.Equal(a.t, want.kept, a.kept, "events kept")
	require.Equal(a.t, want.repeated, a.repeated, "events repeated")
}

func TestALakeInABucketGivesTheSameFindings(t *testing.T) {
	needShipped(t)
	want := local(t)
	a := newAccount(t, incidentSettings())
	defer a.close()
	for i, body := range files() {
		a.publish(fmt.Sprint("s3-", i), body)
		_, err := a.tick(a.bucket)
		require.NoError(t, err)
	}
	a.requireSame(want)
	waits, err := a.open(a.bucket).Pending(context.Background())
	require.NoError(t, err)
	require.Empty(t, waits)
	got, err := a.tick(a.bucket)
	require.NoError(t, err)
	require.Zero(t, got.Ticks)

	// Merged, it is the same lake: what comes again is known.
	a.clock.Advance(10 * 24 * time.Hour)
	for range 2 {
		_, err := a.open(a.bucket).Compact(context.Background(), remote.Compaction{MinObjects: 2, Open: rows.Open})
		require.NoError(t, err)
		a.clock.Advance(25 * time.Hour)
	}
	merged, err := a.open(a.bucket).History(context.Background(), analyzer.TableUses, time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	require.Len(t, merged, 1)
	require.Contains(t, merged[0].Path, "compact-")
	for i, body := range files() {
		a.publish(fmt.Sprint("again-", i), body)
	}
	got, err = a.tick(a.bucket)
	require.NoError(t, err)
	require.Zero(t, got.Counts.Kept)
	require.Equal(t, got.Counts.Events, got.Counts.Duplicate)
	require.Empty(t, differences(want.findings(), a.findings()))

	// Memory is made anew from it.
	l := a.open(a.bucket)
	n, err := l.Requeue(context.Background())
	require.NoError(t, err)
	require.Positive(t, n)
	require.NoError(t, remote.OpenMemory(remote.MemoryOptions{Bucket: a.bucket, Dir: t.TempDir()}).Remove(context.Background()))
	got, err = a.tick(a.bucket)
	require.NoError(t, err)
	require.Equal(t, want.kept, got.Counts.Kept)
	require.Empty(t, differences(want.findings(), a.findings()))
}

// Invariant 4 with a bucket: whatever call a process dies at, and whether or not
// the call took effect, the next process finds the same.
func TestAnalysisKilledAtACallOfTheBucketFindsTheSame(t *testing.T) {
	needShipped(t)
	want := local(t)
	type death struct {
		at   int32
		lost bool
	}
	run := func(t *testing.T, d death) (a *account, calls int32) {
		t.Helper()
		a = newAccount(t, incidentSettings())
		a.analysis.SliceObjects = 2
		var made atomic.Int32
		client := a.bucket.With(cloudtest.Hooks{
			Before: func(string) error {
				if n := made.Add(1); d.at > 0 && (n > d.at || n == d.at && !d.lost) {
					return errKilled
				}
				return nil
			},
			Faults: func(string) *cloudtest.Fault {
				if made.Load() == d.at {
					return &cloudtest.Fault{Err: errKilled, After: true}
				}
				return nil
			},
		})
		tick := func() {
			t.Helper()
			_, err := a.tick(client)
			if err != nil {
				require.ErrorIs(t, err, errKilled)
				_, err = a.tick(a.bucket)
			}
			require.NoError(t, err)
		}
		all := files()
		for i, body := range all[:3] {
			a.publish(fmt.Sprint("s3-", i), body)
		}
		tick()
		a.publish("s3-3", all[3])
		tick()
		return a, made.Load()
	}
	whole, calls := run(t, death{})
	defer whole.close()
	whole.requireSame(want)
	require.Greater(t, calls, int32(50))
	// Neighbouring calls are alike; package remote tries each.
	for at := int32(1); at <= calls; at += 1 + calls/10 {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("at call %d of %d, lost answer: %t", at, calls, lost), func(t *testing.T) {
				a, _ := run(t, death{at, lost})
				defer a.close()
				require.Empty(t, differences(want.findings(), a.findings()))
				require.Empty(t, gocmp.Diff(want.alerts(), a.alerts()))
				waits, err := a.open(a.bucket).Pending(context.Background())
				require.NoError(t, err)
				require.Empty(t, waits)
			})
		}
	}
}

// A run that must end soon says what it left, and what it did is done.
func TestARunThatIsStoppedLeavesTheRestWaiting(t *testing.T) {
	needShipped(t)
	want := local(t)
	a := newAccount(t, incidentSettings())
	defer a.close()
	a.analysis.SliceObjects = 1
	all := files()
	for i, body := range all[:3] {
		a.publish(fmt.Sprint("s3-", i), body)
	}
	waits, err := a.open(a.bucket).Pending(context.Background())
	require.NoError(t, err)
	require.Len(t, waits, 6)
	a.analysis.Stop = func() bool { return true }
	last := time.Time{}
	for run := range waits {
		got, err := a.tick(a.bucket)
		require.NoError(t, err)
		require.Equal(t, 1, got.Ticks)
		require.Equal(t, run == len(waits)-1, got.Left == 0)
		require.Equal(t, got.Left == 0, got.Oldest.IsZero())
		require.True(t, got.Left == 0 || !got.Oldest.Before(last))
		last = got.Oldest
		left, err := a.open(a.bucket).Pending(context.Background())
		require.NoError(t, err)
		require.Len(t, left, len(waits)-run-1)
	}
	a.publish("s3-3", all[3])
	for left := int64(1); left > 0; {
		got, err := a.tick(a.bucket)
		require.NoError(t, err)
		left = got.Left
	}
	a.requireSame(want)
}

// asked is a lake that notes what History is asked for.
type asked struct {
	*lake.Lake
	ranges []string
}

func (a *asked) History(ctx context.Context, table analyzer.Table, from, to time.Time) ([]analyzer.Object, error) {
	a.ranges = append(a.ranges, fmt.Sprintf("%s %s to %s", table, from.Format(time.DateOnly), to.Format(time.DateOnly)))
	return a.Lake.History(ctx, table, from, to)
}

// Late events of two days do not make a tick read what lies between them.
func TestOnlyTheDaysOfLateEventsAreLookedAt(t *testing.T) {
	needShipped(t)
	h := &history{}
	for _, d := range []int{2, 3, 9, 20} {
		at := time.Date(2026, 3, d, 9, 0, 0, 0, time.UTC)
		h.add(h.kms(at, app, "Decrypt", ourKeys[0], nil))
		h.add(h.kms(at, alice, "DisableKey", ourKeys[0], nil))
	}
	w := newWorld(t, incidentSettings())
	defer w.close()
	w.ingest(1, pack(asRecords, h.entries))
	w.analyze()
	w.ingest(1, pack(asRecords, h.entries[:6]))
	l := &asked{Lake: w.lake}
	a := w.analysis
	a.Lake, a.Store, a.Memory = l, w.store, w.memory()
	got, err := a.Run(context.Background())
	require.NoError(t, err)
	require.Equal(t, int64(6), got.Counts.Duplicate)
	require.Zero(t, got.Counts.Kept)
	require.ElementsMatch(t, []string{
		"control 2026-03-02 to 2026-03-03", // of the 9th memory has the key's last change
		"uses 2026-03-02 to 2026-03-03", "uses 2026-03-09 to 2026-03-09",
	}, l.ranges)
}
