package remote_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/remote"
)

// day is the first of the days in these tests; now is when they begin.
var (
	day = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	now = day.Add(9 * time.Hour)
)

var errDead = errors.New("the process ended here")

// mortal ends a process at its n-th call of the bucket, before the call takes
// effect or after, so that its answer is lost.
type mortal struct {
	at   int
	lost bool

	mu    sync.Mutex
	calls int
	dead  bool
}

func (m *mortal) hooks() cloudtest.Hooks {
	return cloudtest.Hooks{
		Before: func(string) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.calls++
			m.dead = m.dead || m.calls == m.at && !m.lost
			if m.dead {
				return errDead
			}
			return nil
		},
		Faults: func(string) *cloudtest.Fault {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.calls < m.at || m.at == 0 {
				return nil
			}
			m.dead = true
			return &cloudtest.Fault{Err: errDead, After: true}
		},
	}
}

// deaths prepares a bucket again and again and lets do die at each of its calls,
// before and after its effect. check looks at what is left.
func deaths(t *testing.T, prepare func(t *testing.T) *cloudtest.Bucket, do func(t *testing.T, b cloud.Bucket) error, check func(t *testing.T, b *cloudtest.Bucket)) {
	t.Helper()
	for at := 1; ; at++ {
		died := false
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("at call %d, lost answer: %t", at, lost), func(t *testing.T) {
				b := prepare(t)
				m := &mortal{at: at, lost: lost}
				err := do(t, b.With(m.hooks()))
				died = died || m.dead
				if !m.dead {
					require.NoError(t, err)
				}
				check(t, b)
			})
		}
		if !died {
			require.Greater(t, at, 2, "it makes calls")
			return
		}
	}
}

func newBucket(clock *cloudtest.Clock) *cloudtest.Bucket {
	return cloudtest.NewBucket(cloudtest.BucketOptions{Now: clock.Now})
}

// open opens the lake of a bucket as one process does.
func open(t *testing.T, b cloud.Bucket, change ...func(*remote.Options)) *remote.Lake {
	t.Helper()
	o := remote.Options{Bucket: b, Cache: t.TempDir(), Parallel: 1, Now: func() time.Time { return now }}
	for _, c := range change {
		c(&o)
	}
	l, err := remote.Open(o)
	require.NoError(t, err)
	return l
}

func at(clock *cloudtest.Clock) func(*remote.Options) {
	return func(o *remote.Options) { o.Now = clock.Now }
}

// use is a read of KMS, control a write.
func use(at time.Time, id string) analyzer.Event {
	return analyzer.Event{
		Time: at, ID: id, Account: "111122223333", Region: "us-east-1", Source: "kms.amazonaws.com", Name: "Decrypt", Type: "AwsApiCall",
		ReadOnly: true, Outcome: analyzer.OutcomeOK, Lane: analyzer.LaneDirect, Principal: "arn:aws:iam::111122223333:role/app", Context: `{"n":"` + id + `"}`,
	}
}

func control(at time.Time, id string) analyzer.Event {
	ev := use(at, id)
	ev.Name, ev.ReadOnly, ev.GrantOps, ev.DeletionDate = "ScheduleKeyDeletion", false, []string{"Decrypt", id}, at.Add(7*24*time.Hour)
	return ev
}

// batchOf writes events into a local lake, as ingest does.
func batchOf(t *testing.T, name string, events ...analyzer.Event) (*lake.Lake, lake.Batch) {
	t.Helper()
	l, err := lake.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	w, err := l.NewWriter(lake.WriterOptions{Name: name + "-0"})
	require.NoError(t, err)
	for i := range events {
		require.NoError(t, w.Add(&events[i]))
	}
	objects, err := w.Close()
	require.NoError(t, err)
	b := lake.Batch{Name: name, Objects: objects, Records: analyzer.RecordCounts{Read: int64(len(events)) + 2, Kept: int64(len(events)), NotOfInterest: 2}}
	if len(events) > 0 {
		require.NoError(t, l.Commit(t.Context(), b))
		written, err := l.Inbox(t.Context())
		require.NoError(t, err)
		b = written[0]
	}
	return l, b
}

func publish(t *testing.T, l *remote.Lake, name string, events ...analyzer.Event) {
	t.Helper()
	local, b := batchOf(t, name, events...)
	fresh, err := l.Publish(t.Context(), local, b)
	require.NoError(t, err)
	require.True(t, fresh)
}

// analyse takes all that waits out of the inbox.
func analyse(t *testing.T, l *remote.Lake) {
	t.Helper()
	require.NoError(t, l.Analysed(t.Context(), pending(t, l)))
	require.Empty(t, pending(t, l))
}

func pending(t *testing.T, l *remote.Lake) []analyzer.Object {
	t.Helper()
	objects, err := l.Pending(t.Context())
	require.NoError(t, err)
	return objects
}

func history(t *testing.T, l *remote.Lake, table analyzer.Table, from, to time.Time) []analyzer.Object {
	t.Helper()
	objects, err := l.History(t.Context(), table, from, to)
	require.NoError(t, err)
	return objects
}

func paths(objects []analyzer.Object) (all []string) {
	for _, o := range objects {
		all = append(all, o.Path)
	}
	return all
}

// rowsOf fetches objects and counts the rows of each event.
func rowsOf(t *testing.T, l *remote.Lake, objects []analyzer.Object) map[string]int {
	t.Helper()
	require.NoError(t, l.Fetch(t.Context(), objects))
	type row struct {
		Account string `parquet:"account"`
		ID      string `parquet:"event_id"`
	}
	seen := map[string]int{}
	for _, o := range objects {
		rows, err := parquet.ReadFile[row](filepath.Join(l.Root(), filepath.FromSlash(o.Path)))
		require.NoError(t, err)
		require.Len(t, rows, int(o.Rows), o.Path)
		for _, r := range rows {
			seen[r.Account+" "+r.ID]++
		}
	}
	return seen
}

// keys lists what is in a bucket under a prefix.
func keys(t *testing.T, b cloud.Reader, prefix string) (all []string) {
	t.Helper()
	objects, more, err := b.List(t.Context(), prefix, "")
	require.NoError(t, err)
	require.False(t, more)
	for _, o := range objects {
		all = append(all, o.Key)
	}
	return all
}

func text(t *testing.T, b cloud.Reader, key string) string {
	t.Helper()
	body, info, err := b.Get(t.Context(), key, "", "")
	require.NoError(t, err)
	out := make([]byte, info.Size)
	n, _ := body.Read(out)
	require.EqualValues(t, info.Size, n)
	require.NoError(t, body.Close())
	return string(out)
}

func put(t *testing.T, b cloud.Bucket, key, body string) {
	t.Helper()
	_, err := b.Put(t.Context(), key, strings.NewReader(body), cloud.Condition{})
	require.NoError(t, err)
}
