package cloudtest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/cloud"
)

// OpenQueue returns an empty queue, standard or FIFO. If maxReceives is not 0,
// a message that was received so often goes to dead, a second empty queue.
type OpenQueue func(t *testing.T, fifo bool, maxReceives int) (queue, dead cloud.Queue)

// RunQueue runs what every queue must do. wait lets time pass: that of a fake's
// clock, or the real one, for some seconds at a time.
func RunQueue(t *testing.T, open OpenQueue, wait func(d time.Duration)) {
	t.Helper()
	for _, test := range []struct {
		name string
		fifo bool
		run  func(t *testing.T, q queueTest)
	}{
		{"a message comes out as it went in", false, messagesComeOut},
		{"a message that was received is hidden, and comes again if it is not deleted", false, messagesComeAgain},
		{"a message can be kept hidden, or shown at once", false, messagesAreDeferred},
		{"a message can be delayed", false, messagesAreDelayed},
		{"many messages go in and out", false, manyMessages},
		{"a message that is received too often is set aside", false, messagesAreSetAside},
		{"a message can be deleted late and twice", false, messagesAreDeletedLate},
		{"a receipt that is none is refused", false, receiptsAreChecked},
		{"depth counts what waits, visible or not", false, depthCounts},
		{"a message with all that it says goes through a FIFO queue", true, messagesComeOut},
		{"messages of a group come in order, and none while one is in flight", true, groupsAreOrdered},
		{"the order of a group is kept after a failure", true, groupsKeepTheirOrder},
		{"a repetition is dropped", true, repetitionsAreDropped},
		{"a message that is set aside lets its group go on", true, groupsGoOn},
		{"a cancelled context stops every call", false, queueCallsAreCancelled},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, queueTest{open: open, wait: wait, fifo: test.fifo})
		})
	}
}

// queueTest is what a test of queues works with.
type queueTest struct {
	open OpenQueue
	wait func(d time.Duration)
	fifo bool
}

// Visibilities for tests: one that ends within a test, after one pause, and one
// that does not.
const (
	brief = 2 * time.Second
	pause = 3 * time.Second
	long  = 10 * time.Minute
)

func (q queueTest) queue(t *testing.T) cloud.Queue {
	t.Helper()
	queue, _ := q.open(t, q.fifo, 0)
	return queue
}

// message returns a message of a group of a FIFO queue, or one for a standard queue.
func (q queueTest) message(group, body string) cloud.Message {
	m := cloud.Message{Body: body}
	if q.fifo {
		m.Group, m.Dedup = group, "dedup-"+body
	}
	return m
}

func (q queueTest) send(t *testing.T, queue cloud.Queue, messages ...cloud.Message) {
	t.Helper()
	require.NoError(t, queue.Send(t.Context(), messages...))
}

// take receives n messages, in as many calls as it takes: a queue may answer
// with fewer than it has.
func (q queueTest) take(t *testing.T, queue cloud.Queue, n int, visibility time.Duration) (got []cloud.Received) {
	t.Helper()
	for range 20 {
		received, err := queue.Receive(t.Context(), visibility)
		require.NoError(t, err)
		require.LessOrEqual(t, len(received), 10)
		got = append(got, received...)
		if len(got) >= n {
			break
		}
		q.wait(100 * time.Millisecond)
	}
	require.Len(t, got, n)
	return got
}

// none checks that a queue has nothing to deliver.
func (q queueTest) none(t *testing.T, queue cloud.Queue) {
	t.Helper()
	for range 3 {
		received, err := queue.Receive(t.Context(), long)
		require.NoError(t, err)
		require.Empty(t, received)
	}
}

// empty waits until a queue says that it has nothing: SQS counts late.
func (q queueTest) empty(t *testing.T, queue cloud.Queue) {
	t.Helper()
	q.depth(t, queue, 0)
	q.none(t, queue)
}

func (q queueTest) depth(t *testing.T, queue cloud.Queue, want int64) {
	t.Helper()
	var n int64
	for range 20 {
		var err error
		n, err = queue.Depth(t.Context())
		require.NoError(t, err)
		if n == want {
			return
		}
		q.wait(100 * time.Millisecond)
	}
	require.Equal(t, want, n)
}

func bodies(received []cloud.Received) (all []string) {
	for _, r := range received {
		all = append(all, r.Body)
	}
	return all
}

func receipts(received []cloud.Received) (all []string) {
	for _, r := range received {
		all = append(all, r.Receipt)
	}
	return all
}

func messagesComeOut(t *testing.T, q queueTest) {
	queue := q.queue(t)
	q.none(t, queue)
	sent := q.message("g", "{\"text\":\"<&>\\ ü \U0001F511\n\"}")
	if q.fifo {
		sent.Dedup = "a-2sxsoxmlaqiv3yr4x2wm_1"
	}
	q.send(t, queue, sent)
	got := q.take(t, queue, 1, long)[0]
	require.Equal(t, sent.Body, got.Body)
	require.Equal(t, sent.Group, got.Group)
	require.Equal(t, sent.Dedup, got.Dedup)
	require.NotEmpty(t, got.ID)
	require.NotEmpty(t, got.Receipt)
	require.Equal(t, 1, got.Receives)
	require.False(t, got.Sent.IsZero())
	require.Equal(t, time.UTC, got.Sent.Location())
	q.none(t, queue)
	require.NoError(t, queue.Delete(t.Context(), got.Receipt))
	q.empty(t, queue)
	require.NoError(t, queue.Send(t.Context()), "sending nothing")
	require.NoError(t, queue.Delete(t.Context()), "deleting nothing")
}

func messagesComeAgain(t *testing.T, q queueTest) {
	queue := q.queue(t)
	q.send(t, queue, q.message("", "one"))
	first := q.take(t, queue, 1, brief)[0]
	q.wait(pause)
	second := q.take(t, queue, 1, long)[0]
	require.Equal(t, first.ID, second.ID)
	require.Equal(t, first.Sent, second.Sent)
	require.Equal(t, 2, second.Receives)
	require.NotEqual(t, first.Receipt, second.Receipt)
	require.NoError(t, queue.Delete(t.Context(), second.Receipt))
	q.empty(t, queue)
}

func messagesAreDeferred(t *testing.T, q queueTest) {
	queue := q.queue(t)
	q.send(t, queue, q.message("", "one"))
	first := q.take(t, queue, 1, brief)[0]
	require.NoError(t, queue.Defer(t.Context(), first.Receipt, long))
	q.wait(pause)
	q.none(t, queue)
	require.NoError(t, queue.Defer(t.Context(), first.Receipt, 0))
	second := q.take(t, queue, 1, long)[0]
	require.Equal(t, 2, second.Receives)
	require.NoError(t, queue.Defer(t.Context(), second.Receipt, brief))
	q.wait(pause)
	require.Equal(t, 3, q.take(t, queue, 1, long)[0].Receives)
}

func messagesAreDelayed(t *testing.T, q queueTest) {
	queue := q.queue(t)
	late := q.message("", "late")
	late.Delay = brief
	q.send(t, queue, late, q.message("", "now"))
	require.Equal(t, []string{"now"}, bodies(q.take(t, queue, 1, long)))
	q.wait(pause)
	require.Equal(t, []string{"late"}, bodies(q.take(t, queue, 1, long)))
}

func manyMessages(t *testing.T, q queueTest) {
	queue := q.queue(t)
	var messages []cloud.Message
	var want []string
	for i := range 25 {
		messages = append(messages, q.message("", fmt.Sprintf("message %02d", i)))
		want = append(want, messages[i].Body)
	}
	q.send(t, queue, messages...)
	got := q.take(t, queue, 25, long)
	have := bodies(got)
	slices.Sort(have)
	require.Equal(t, want, have)
	require.NoError(t, queue.Delete(t.Context(), receipts(got)...))
	q.empty(t, queue)
}

func messagesAreSetAside(t *testing.T, q queueTest) {
	queue, dead := q.open(t, q.fifo, 2)
	q.send(t, queue, q.message("", "poison"))
	for n := 1; n <= 2; n++ {
		got := q.take(t, queue, 1, long)[0]
		require.Equal(t, n, got.Receives)
		q.none(t, dead)
		require.NoError(t, queue.Defer(t.Context(), got.Receipt, 0))
	}
	q.none(t, queue)
	got := q.take(t, dead, 1, long)[0]
	require.Equal(t, "poison", got.Body)
	q.depth(t, queue, 0)
	require.NoError(t, dead.Delete(t.Context(), got.Receipt))
	q.empty(t, dead)
}

func messagesAreDeletedLate(t *testing.T, q queueTest) {
	queue := q.queue(t)
	q.send(t, queue, q.message("", "one"))
	got := q.take(t, queue, 1, brief)[0]
	q.wait(pause)
	require.NoError(t, queue.Delete(t.Context(), got.Receipt), "its time is over, nobody else has it")
	q.empty(t, queue)
	require.NoError(t, queue.Delete(t.Context(), got.Receipt), "it is deleted already")
}

func receiptsAreChecked(t *testing.T, q queueTest) {
	queue := q.queue(t)
	q.send(t, queue, q.message("", "one"), q.message("", "two"))
	got := q.take(t, queue, 2, long)
	require.Error(t, queue.Delete(t.Context(), got[0].Receipt, "no receipt", got[1].Receipt))
	q.empty(t, queue)
	require.Error(t, queue.Defer(t.Context(), "no receipt", brief))
}

func depthCounts(t *testing.T, q queueTest) {
	queue := q.queue(t)
	delayed := q.message("", "delayed")
	delayed.Delay = 15 * time.Minute
	q.send(t, queue, q.message("", "one"), q.message("", "two"), delayed)
	q.depth(t, queue, 3)
	got := q.take(t, queue, 2, long)
	q.depth(t, queue, 3)
	require.NoError(t, queue.Delete(t.Context(), got[0].Receipt))
	q.depth(t, queue, 2)
}

func groupsAreOrdered(t *testing.T, q queueTest) {
	queue := q.queue(t)
	var want []string
	for i := range 12 {
		q.send(t, queue, q.message("busy", fmt.Sprintf("busy %02d", i)))
		want = append(want, fmt.Sprintf("busy %02d", i))
	}
	var got []string
	for tries := 0; len(got) < len(want); tries++ {
		require.Less(t, tries, 40, "the group stands still")
		received, err := queue.Receive(t.Context(), long)
		require.NoError(t, err)
		if len(received) == 0 {
			q.wait(100 * time.Millisecond)
			continue
		}
		got = append(got, bodies(received)...)
		require.Equal(t, want[:len(got)], got)
		if len(got) < len(want) {
			q.none(t, queue)
		}
		name := fmt.Sprintf("other %02d", len(got))
		q.send(t, queue, q.message("group "+name, name))
		other := q.take(t, queue, 1, long)[0]
		require.Equal(t, name, other.Body, "another group does not wait")
		require.NoError(t, queue.Delete(t.Context(), receipts(received)...))
		require.NoError(t, queue.Delete(t.Context(), other.Receipt))
	}
	q.empty(t, queue)
}

func groupsKeepTheirOrder(t *testing.T, q queueTest) {
	queue := q.queue(t)
	q.send(t, queue, q.message("g", "one"))
	q.take(t, queue, 1, brief)
	q.send(t, queue, q.message("g", "two"), q.message("g", "three"))
	q.wait(pause)
	second := q.take(t, queue, 3, long)
	require.Equal(t, []string{"one", "two", "three"}, bodies(second))
	require.Equal(t, 2, second[0].Receives)
	require.Equal(t, 1, second[1].Receives)
	require.NoError(t, queue.Delete(t.Context(), second[0].Receipt))
	require.NoError(t, queue.Defer(t.Context(), second[2].Receipt, 0))
	q.none(t, queue) // the second is in flight
	require.NoError(t, queue.Defer(t.Context(), second[1].Receipt, 0))
	third := q.take(t, queue, 2, long)
	require.Equal(t, []string{"two", "three"}, bodies(third))
	require.NoError(t, queue.Delete(t.Context(), receipts(third)...))
	q.empty(t, queue)
}

func repetitionsAreDropped(t *testing.T, q queueTest) {
	queue := q.queue(t)
	q.send(t, queue, q.message("g", "one"), q.message("g", "one"))
	q.send(t, queue, q.message("g", "one"), q.message("g", "two"))
	got := q.take(t, queue, 2, long)
	require.Equal(t, []string{"one", "two"}, bodies(got))
	require.NoError(t, queue.Delete(t.Context(), receipts(got)...))
	q.empty(t, queue)
}

func groupsGoOn(t *testing.T, q queueTest) {
	queue, dead := q.open(t, true, 1)
	q.send(t, queue, q.message("g", "poison"))
	poison := q.take(t, queue, 1, long)[0]
	q.send(t, queue, q.message("g", "next"))
	q.none(t, queue)
	require.NoError(t, queue.Defer(t.Context(), poison.Receipt, 0))
	require.Equal(t, []string{"next"}, bodies(q.take(t, queue, 1, long)))
	require.Equal(t, []string{"poison"}, bodies(q.take(t, dead, 1, long)))
}

func queueCallsAreCancelled(t *testing.T, q queueTest) {
	queue := q.queue(t)
	q.send(t, queue, q.message("", "one"))
	got := q.take(t, queue, 1, long)[0]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, queue.Send(ctx, q.message("", "two")), context.Canceled)
	_, err := queue.Receive(ctx, long)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, queue.Delete(ctx, got.Receipt), context.Canceled)
	require.ErrorIs(t, queue.Defer(ctx, got.Receipt, 0), context.Canceled)
	_, err = queue.Depth(ctx)
	require.ErrorIs(t, err, context.Canceled)
	q.depth(t, queue, 1)
}
