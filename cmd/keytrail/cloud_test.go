package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/stack/analyze"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

// quietApp is an app whose output a test reads.
func quietApp() (*app, *bytes.Buffer, *bytes.Buffer) {
	var out, err bytes.Buffer
	return &app{stdout: &out, stderr: &err, env: func(string) string { return "" }, format: formatText}, &out, &err
}

func TestRedriveLooksAndSends(t *testing.T) {
	clock := cloudtest.NewClock(time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC))
	dead := cloudtest.NewQueue(cloudtest.QueueOptions{Name: "dead", Now: clock.Now})
	live := cloudtest.NewQueue(cloudtest.QueueOptions{Name: "live", Now: clock.Now})
	var bodies []string
	for n := range 25 {
		bodies = append(bodies, fmt.Sprint("message ", n, " \u202e"))
		require.NoError(t, dead.Send(t.Context(), cloud.Message{Body: bodies[n]}))
	}

	a, out, _ := quietApp()
	require.NoError(t, a.redrive(t.Context(), redrive{from: dead, limit: 100}))
	require.Equal(t, 25, strings.Count(out.String(), "waits"))
	require.NotContains(t, out.String(), "\u202e", "what is shown cannot deceive the reader")
	clock.Advance(redriveHold)
	require.Len(t, dead.Messages(), 25, "looking takes nothing away")

	// SQS refuses some of them: those stay.
	a, out, _ = quietApp()
	a.format = formatJSON
	refused := 0
	faulty := live.With(cloudtest.Hooks{Faults: func(string) *cloudtest.Fault {
		if refused++; refused%5 == 0 {
			return &cloudtest.Fault{Err: cloudtest.ErrThrottled}
		}
		return nil
	}})
	err := a.redrive(t.Context(), redrive{from: dead, to: faulty, limit: 100})
	var ended *statusError
	require.ErrorAs(t, err, &ended)
	require.Equal(t, statusFailed, ended.status)
	require.Len(t, live.Messages(), 20)
	require.Equal(t, 5, strings.Count(out.String(), `"status":"failed"`))
	clock.Advance(redriveHold)
	require.Len(t, dead.Messages(), 5)
	a, _, _ = quietApp()
	require.NoError(t, a.redrive(t.Context(), redrive{from: dead, to: live, limit: 100}))
	require.Empty(t, dead.Messages())
	require.Len(t, live.Messages(), 25)
}

func TestSettingsArePushedOverWhatWasRead(t *testing.T) {
	b := cloudtest.NewBucket(cloudtest.BucketOptions{})
	const key = "settings/keytrail.yaml"
	text, etag, err := remoteSettings(t.Context(), b, key)
	require.NoError(t, err)
	require.Nil(t, text)
	require.NoError(t, pushSettings(t.Context(), b, key, []byte("lateness: 3h\n"), etag))
	require.ErrorContains(t, pushSettings(t.Context(), b, key, []byte("lateness: 4h\n"), etag), "somebody else")
	text, etag, err = remoteSettings(t.Context(), b, key)
	require.NoError(t, err)
	require.Equal(t, "lateness: 3h\n", string(text))
	require.NoError(t, pushSettings(t.Context(), b, key, []byte("lateness: 4h\n"), etag))
}

func TestATestAlertIsAwaited(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	test := testAlert{account: "111122223333", region: "eu-west-1", by: "ann", id: "abc", now: func() time.Time { return now }}
	queue := cloudtest.NewQueue(cloudtest.QueueOptions{})
	require.NoError(t, test.send(t.Context(), queue))
	require.Contains(t, queue.Messages()[0].Body, `"eventName":"KeytrailTestAlert"`)

	store := table.New(cloudtest.NewTable(cloudtest.TableOptions{}), table.Options{})
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := test.await(short, store, time.Millisecond)
	require.ErrorContains(t, err, "no alert was raised")

	r := analyzer.AlertRecord{Group: "g-1", Alert: analyzer.Alert{
		ID: "a-1", Detection: testDetection, LastTime: now, FirstTime: now, Entity: map[string]string{"test": "ann-abc"}, Revision: 1, Action: analyzer.ActionPage,
	}}
	require.NoError(t, store.PutAlerts(t.Context(), []analyzer.AlertRecord{r}))
	short, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = test.await(short, store, time.Millisecond)
	require.ErrorContains(t, err, "nobody was told")

	r.Version, r.Notified = 1, 1
	require.NoError(t, store.PutAlerts(t.Context(), []analyzer.AlertRecord{r}))
	got, err := test.await(t.Context(), store, time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, "a-1", got.ID)
}

func TestRebuildKeepsAnalyzeOut(t *testing.T) {
	bucket, items := cloudtest.NewBucket(cloudtest.BucketOptions{}), cloudtest.NewTable(cloudtest.TableOptions{})
	_, err := bucket.Put(t.Context(), "memory/0/manifest.json", strings.NewReader(`{"version":1}`), cloud.Condition{})
	require.NoError(t, err)
	a, _, _ := quietApp()
	held, err := table.Lease{Table: items, Name: analyze.LeaseName(0), TTL: time.Hour}.Acquire(t.Context(), "a run", time.Now())
	require.NoError(t, err)
	require.ErrorContains(t, a.rebuild(t.Context(), bucket, items, 0, 1, t.TempDir()), "at work")
	require.NoError(t, table.Lease{Table: items, Name: analyze.LeaseName(0), TTL: time.Hour}.Release(t.Context(), held))
	require.NoError(t, a.rebuild(t.Context(), bucket, items, 0, 1, t.TempDir()))
	_, err = bucket.Head(t.Context(), "memory/0/manifest.json")
	require.ErrorIs(t, err, analyzer.ErrNotFound)
}

func TestRemoteVerbsSayWhatTheyNeed(t *testing.T) {
	for want, args := range map[string][]string{
		"--bucket, or KEYTRAIL_BUCKET":      {"config", "check", "--remote"},
		"--queue, or KEYTRAIL_INGEST_QUEUE": {"simulate", "alert", "--remote"},
		"say --remote":                      {"simulate", "alert"},
		"--from QUEUE_URL":                  {"redrive"},
		"--table, or KEYTRAIL_TABLE":        {"rebuild", "--bucket", "b"},
		"say what to bring":                 {"backfill", "--queue", "q"},
	} {
		var errs bytes.Buffer
		a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &errs, env: func(string) string { return "" }}
		require.Equal(t, statusUsage, a.run(t.Context(), args), "%v", args)
		require.Contains(t, errs.String(), want)
	}
}
