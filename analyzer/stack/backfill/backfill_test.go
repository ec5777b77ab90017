package backfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
)

const prefix = "AWSLogs/111122223333/CloudTrail/eu-west-1"

func logKey(day string, n int) string {
	return fmt.Sprintf("%s/%s/111122223333_CloudTrail_eu-west-1_%sT0905Z_%016d.json.gz", prefix, day, strings.ReplaceAll(day, "/", ""), n)
}

// ending is a context that ends at a time of a clock that tests move.
type ending struct {
	context.Context
	at time.Time
}

func (e ending) Deadline() (time.Time, bool) { return e.at, true }

func newHandler(t *testing.T, objects int) (*Handler, *cloudtest.Bucket, *cloudtest.Queue, *cloudtest.Clock) {
	t.Helper()
	clock := cloudtest.NewClock(time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC))
	bucket := cloudtest.NewBucket(cloudtest.BucketOptions{Now: clock.Now})
	queue := cloudtest.NewQueue(cloudtest.QueueOptions{Now: clock.Now})
	put := func(key string) {
		_, err := bucket.Put(t.Context(), key, strings.NewReader("x"), cloud.Condition{})
		require.NoError(t, err)
	}
	for n := range objects {
		put(logKey("2026/03/02", n))
	}
	put(logKey("2026/03/01", 1))
	put(logKey("2026/03/03", 1))
	put(prefix + "/2026/03/02/readme.txt")
	return &Handler{
		Bucket: "logs", Buckets: func(string) cloud.Reader { return bucket }, Queue: queue,
		Reserve: 20 * time.Second, Now: clock.Now, Log: slog.New(slog.DiscardHandler),
	}, bucket, queue, clock
}

func TestTheLogsOfADayArePosted(t *testing.T) {
	h, _, queue, _ := newHandler(t, 25)
	rep, err := h.Handle(t.Context(), Request{Prefix: prefix, Day: "2026-03-02"})
	require.NoError(t, err)
	require.Equal(t, Report{Posted: 25, Skipped: 1}, rep)
	require.Len(t, queue.Messages(), 25)
	require.Contains(t, queue.Messages()[0].Body, `"ObjectCreated:Put"`)
}

func TestWhatDoesNotFitIntoOneRunIsGoneOnWith(t *testing.T) {
	h, _, queue, clock := newHandler(t, 2500)
	seen, after, runs := 0, "", 0
	for {
		rep, err := h.Handle(ending{t.Context(), clock.Now().Add(19 * time.Second)}, Request{Bucket: "logs", Prefix: prefix, Day: "2026-03-02", After: after})
		require.NoError(t, err)
		seen += rep.Posted
		runs++
		if rep.Next == "" {
			break
		}
		after = rep.Next
	}
	require.Equal(t, 3, runs)
	require.Equal(t, 2500, seen)
	require.Len(t, queue.Messages(), 2500)
}

func TestMessagesThatSQSRefusesAreNamed(t *testing.T) {
	h, _, queue, _ := newHandler(t, 25)
	h.Queue = queue.With(cloudtest.Hooks{Faults: func(string) *cloudtest.Fault { return &cloudtest.Fault{Err: cloudtest.ErrThrottled, Partial: true} }})
	_, err := h.Handle(t.Context(), Request{Prefix: prefix, Day: "2026-03-02"})
	var refused *cloud.SendError
	require.True(t, errors.As(err, &refused), "%v", err)
	require.NotEmpty(t, refused.Failed)
}

func TestARequestThatMakesNoSenseIsRefused(t *testing.T) {
	h, _, _, _ := newHandler(t, 1)
	for want, req := range map[string]Request{
		"is not a day":   {Prefix: prefix, Day: "yesterday"},
		"does not lead":  {Prefix: "AWSLogs/111122223333", Day: "2026-03-02"},
		"2026-3-2":       {Prefix: prefix, Day: "2026-3-2"},
		"CloudTrail/eu-": {Prefix: "", Day: "2026-03-02"},
	} {
		_, err := h.Handle(t.Context(), req)
		require.ErrorContains(t, err, want)
	}
	h.Bucket = ""
	_, err := h.Handle(t.Context(), Request{Prefix: prefix, Day: "2026-03-02"})
	require.ErrorContains(t, err, "names no bucket")
}
