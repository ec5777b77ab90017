package cloudtest_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
)

var day = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func seed(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, 0)) }

// once returns faults that make the n-th call of a name go wrong, from 1.
func once(op string, n int, f cloudtest.Fault) cloudtest.Hooks {
	calls := 0
	return cloudtest.Hooks{Faults: func(name string) *cloudtest.Fault {
		if name != op {
			return nil
		}
		if calls++; calls != n {
			return nil
		}
		return &f
	}}
}

func TestBucket(t *testing.T) {
	for name, versions := range map[string]bool{"without versions": false, "with versions": true} {
		t.Run(name, func(t *testing.T) {
			cloudtest.RunBucket(t, func(*testing.T) cloud.Bucket {
				return cloudtest.NewBucket(cloudtest.BucketOptions{Versions: versions})
			})
		})
	}
}

func TestTable(t *testing.T) {
	cloudtest.RunTable(t, func(*testing.T) cloud.Table { return cloudtest.NewTable(cloudtest.TableOptions{}) })
}

func TestQueue(t *testing.T) {
	clock := cloudtest.NewClock(day)
	open := func(_ *testing.T, fifo bool, maxReceives int) (queue, dead cloud.Queue) {
		o := cloudtest.QueueOptions{FIFO: fifo, Now: clock.Now}
		if maxReceives == 0 {
			return cloudtest.NewQueue(o), nil
		}
		aside := cloudtest.NewQueue(o)
		o.Dead, o.MaxReceives = aside, maxReceives
		return cloudtest.NewQueue(o), aside
	}
	cloudtest.RunQueue(t, open, clock.Advance)
}

func TestSecrets(t *testing.T) {
	values := map[string]string{"arn:one": "value"}
	s := cloudtest.NewSecrets(values, cloudtest.Hooks{})
	values["arn:one"] = "changed"
	got, err := s.Secret(t.Context(), "arn:one")
	require.NoError(t, err)
	require.Equal(t, "value", got)
	_, err = s.Secret(t.Context(), "arn:two")
	require.ErrorIs(t, err, analyzer.ErrNotFound)
	for _, after := range []bool{false, true} {
		f := cloudtest.Fault{Err: cloudtest.ErrThrottled, After: after}
		_, err = s.With(once("secrets.Secret", 1, f)).Secret(t.Context(), "arn:one")
		require.ErrorIs(t, err, cloudtest.ErrThrottled)
	}
}

func TestAClockStandsUntilItIsMoved(t *testing.T) {
	c := cloudtest.NewClock(day)
	require.Equal(t, day, c.Now())
	c.Advance(time.Minute)
	require.Equal(t, day.Add(time.Minute), c.Now())
	require.NoError(t, c.Sleep(t.Context(), time.Minute))
	require.NoError(t, c.Sleep(t.Context(), -time.Hour))
	require.Equal(t, day.Add(2*time.Minute), c.Now())
	c.Set(day)
	require.Equal(t, day, c.Now())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.Sleep(ctx, time.Hour), context.Canceled)
	require.Equal(t, day, c.Now())

	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { c.Advance(time.Second) })
	}
	all.Wait()
	require.Equal(t, day.Add(8*time.Second), c.Now())
}

func TestAProcessThatIsEndedDoesNothingAnyMore(t *testing.T) {
	table := cloudtest.NewTable(cloudtest.TableOptions{})
	ended := errors.New("ended")
	var ops []string
	mine := table.With(cloudtest.Hooks{Before: func(op string) error {
		ops = append(ops, op)
		if len(ops) > 2 {
			return ended
		}
		return nil
	}})
	w := cloud.Write{Item: cloud.Item{Key: cloud.Key{Partition: "p", Sort: "s"}, Number: 1}}
	require.NoError(t, mine.Write(t.Context(), w))
	_, err := mine.Get(t.Context(), w.Key)
	require.NoError(t, err)
	w.Number = 2
	require.ErrorIs(t, mine.Write(t.Context(), w), ended)
	_, err = mine.Get(t.Context(), w.Key)
	require.ErrorIs(t, err, ended)
	require.Equal(t, []string{"dynamodb.Write", "dynamodb.Get", "dynamodb.Write", "dynamodb.Get"}, ops)
	got, err := table.Get(t.Context(), w.Key)
	require.NoError(t, err)
	require.EqualValues(t, 1, got.Number, "another client of the same table goes on")
}

func TestALostAnswerIsNoAnswer(t *testing.T) {
	for _, reason := range []error{nil, cloudtest.ErrThrottled, analyzer.ErrConflict, analyzer.ErrNotFound} {
		table := cloudtest.NewTable(cloudtest.TableOptions{})
		lossy := table.With(once("dynamodb.Write", 1, cloudtest.Fault{Err: reason, After: true}))
		w := cloud.Write{Item: cloud.Item{Key: cloud.Key{Partition: "p", Sort: "s"}}, Test: cloud.IfAbsent}
		err := lossy.Write(t.Context(), w)
		require.ErrorContains(t, err, "the answer was lost")
		require.NotErrorIs(t, err, analyzer.ErrConflict)
		require.NotErrorIs(t, err, analyzer.ErrNotFound)
		require.Equal(t, reason == nil, errors.Is(err, cloudtest.ErrUnavailable))
		require.Len(t, table.Items(), 1, "it took effect")

		err = table.With(once("dynamodb.Write", 1, cloudtest.Fault{After: true})).Write(t.Context(), w)
		require.ErrorContains(t, err, "the answer was lost")
		require.NotErrorIs(t, err, analyzer.ErrConflict, "a refusal is lost too")
	}
}

func TestAClientThatTriesAgainByItselfMeetsItsOwnWrite(t *testing.T) {
	again := cloudtest.Fault{Repeat: true}
	bucket := cloudtest.NewBucket(cloudtest.BucketOptions{})
	_, err := bucket.With(once("s3.Put", 1, again)).Put(t.Context(), "k", strings.NewReader("x"), cloud.Condition{IfAbsent: true})
	require.ErrorIs(t, err, analyzer.ErrConflict)
	_, err = bucket.With(once("s3.Head", 1, again)).Head(t.Context(), "k")
	require.NoError(t, err)

	table := cloudtest.NewTable(cloudtest.TableOptions{})
	one, two := itemOf("one", 1), itemOf("two", 1)
	err = table.With(once("dynamodb.Write", 1, again)).Write(t.Context(), cloud.Write{Item: one, Test: cloud.IfAbsent})
	require.ErrorIs(t, err, analyzer.ErrConflict)
	err = table.With(once("dynamodb.Write", 1, again)).Write(t.Context(),
		cloud.Write{Item: one, Test: cloud.IfNumber, Than: 1}, cloud.Write{Item: two, Test: cloud.IfAbsent})
	require.NoError(t, err, "a transaction has a token")

	queue := cloudtest.NewQueue(cloudtest.QueueOptions{})
	require.NoError(t, queue.With(once("sqs.Send", 1, again)).Send(t.Context(), cloud.Message{Body: "x"}))
	require.Len(t, queue.Messages(), 2)
	received, err := queue.With(once("sqs.Receive", 1, again)).Receive(t.Context(), minute)
	require.NoError(t, err)
	require.Empty(t, received)
	require.Equal(t, 2, queue.InFlight(), "the first answer had them")
}
