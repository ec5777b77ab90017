package cloudtest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
)

const minute = time.Minute

func sendTo(t *testing.T, q cloud.Queue, messages ...cloud.Message) {
	t.Helper()
	require.NoError(t, q.Send(t.Context(), messages...))
}

func receive(t *testing.T, q cloud.Queue, visibility time.Duration) []cloud.Received {
	t.Helper()
	received, err := q.Receive(t.Context(), visibility)
	require.NoError(t, err)
	return received
}

func texts(received []cloud.Received) (all []string) {
	for _, r := range received {
		all = append(all, r.Body)
	}
	return all
}

// numbered returns n messages for a standard queue.
func numbered(n int) (messages []cloud.Message) {
	for i := range n {
		messages = append(messages, cloud.Message{Body: fmt.Sprintf("%02d", i)})
	}
	return messages
}

func inGroup(group, body string) cloud.Message {
	return cloud.Message{Body: body, Group: group, Dedup: body}
}

func TestAStandardQueueDeliversInTheOrderThatIsDrawn(t *testing.T) {
	deliver := func(n uint64) (order []string) {
		q := cloudtest.NewQueue(cloudtest.QueueOptions{Now: cloudtest.NewClock(day).Now, Rand: seed(n)})
		sendTo(t, q, numbered(25)...)
		for q.Waiting() > 0 {
			order = append(order, texts(receive(t, q, minute))...)
		}
		return order
	}
	require.False(t, slices.IsSorted(deliver(1)))
	require.Equal(t, deliver(1), deliver(1))
	require.NotEqual(t, deliver(1), deliver(2))
}

func TestAMessageMayBeDeliveredTwiceAndNoMore(t *testing.T) {
	for _, p := range []float64{0.5, 1} {
		q := cloudtest.NewQueue(cloudtest.QueueOptions{Now: cloudtest.NewClock(day).Now, Rand: seed(1), Twice: p})
		sendTo(t, q, numbered(40)...)
		seen, ids := map[string]int{}, map[string]string{}
		for len(q.Messages()) > 0 {
			for _, r := range receive(t, q, minute) {
				seen[r.Body]++
				require.Contains(t, []string{"", r.ID}, ids[r.Body], "the copy has the same id")
				ids[r.Body] = r.ID
				require.NoError(t, q.Delete(t.Context(), r.Receipt))
			}
		}
		twice := 0
		require.Len(t, seen, 40)
		for _, n := range seen {
			require.LessOrEqual(t, n, 2)
			twice += n - 1
		}
		if p == 1 {
			require.Equal(t, 40, twice)
		} else {
			require.NotZero(t, twice)
			require.Less(t, twice, 40)
		}
	}
}

func TestAnOldReceiptOfAMessageReceivedAgainDeletesItOrNot(t *testing.T) {
	deleted := 0
	for n := range uint64(50) {
		clock := cloudtest.NewClock(day)
		q := cloudtest.NewQueue(cloudtest.QueueOptions{Now: clock.Now, Rand: seed(n)})
		sendTo(t, q, numbered(1)...)
		old := receive(t, q, minute)[0]
		clock.Advance(minute)
		receive(t, q, minute)
		require.NoError(t, q.Delete(t.Context(), old.Receipt))
		deleted += 1 - len(q.Messages())
	}
	require.Greater(t, deleted, 10)
	require.Less(t, deleted, 40)
}

func TestAReceiptOfAFIFOQueueEndsWithItsTime(t *testing.T) {
	clock := cloudtest.NewClock(day)
	q := cloudtest.NewQueue(cloudtest.QueueOptions{FIFO: true, Now: clock.Now})
	sendTo(t, q, inGroup("g", "one"))
	first := receive(t, q, minute)[0]
	clock.Advance(minute)
	require.ErrorContains(t, q.Delete(t.Context(), first.Receipt), "expired")
	require.ErrorContains(t, q.Defer(t.Context(), first.Receipt, minute), "not in flight")
	second := receive(t, q, minute)[0]
	require.ErrorContains(t, q.Delete(t.Context(), first.Receipt), "expired")
	require.NoError(t, q.Delete(t.Context(), second.Receipt))
	require.NoError(t, q.Delete(t.Context(), second.Receipt), "it is deleted already")
	require.Empty(t, q.Messages())
}

func TestAGroupWaitsForAllThatIsInFlight(t *testing.T) {
	clock := cloudtest.NewClock(day)
	q := cloudtest.NewQueue(cloudtest.QueueOptions{FIFO: true, Now: clock.Now})
	sendTo(t, q, inGroup("g", "one"), inGroup("g", "two"), inGroup("g", "three"))
	first := receive(t, q, minute)
	require.Equal(t, []string{"one", "two", "three"}, texts(first))
	require.Equal(t, 3, q.InFlight())
	sendTo(t, q, inGroup("g", "four"))
	require.NoError(t, q.Delete(t.Context(), first[0].Receipt))
	require.NoError(t, q.Defer(t.Context(), first[2].Receipt, 2*minute))
	clock.Advance(minute) // the second is visible again, the third is not
	require.Empty(t, receive(t, q, minute))
	clock.Advance(minute)
	require.Equal(t, []string{"two", "three", "four"}, texts(receive(t, q, minute)))
}

func TestGroupsComeInTheOrderThatIsDrawn(t *testing.T) {
	orders := map[string]bool{}
	for n := range uint64(20) {
		q := cloudtest.NewQueue(cloudtest.QueueOptions{FIFO: true, Now: cloudtest.NewClock(day).Now, Rand: seed(n)})
		sendTo(t, q, inGroup("a", "a1"), inGroup("b", "b1"), inGroup("a", "a2"), inGroup("b", "b2"))
		order := strings.Join(texts(receive(t, q, minute)), " ")
		require.Contains(t, []string{"a1 a2 b1 b2", "b1 b2 a1 a2"}, order)
		orders[order] = true
	}
	require.Len(t, orders, 2)
}

func TestARepetitionIsDroppedForFiveMinutesFromTheFirst(t *testing.T) {
	clock := cloudtest.NewClock(day)
	q := cloudtest.NewQueue(cloudtest.QueueOptions{FIFO: true, Now: clock.Now})
	sendTo(t, q, inGroup("g", "one"))
	require.NoError(t, q.Delete(t.Context(), receive(t, q, minute)[0].Receipt))
	for range 4 {
		clock.Advance(time.Minute)
		sendTo(t, q, inGroup("g", "one"))
		require.Empty(t, q.Messages(), "deleted or not")
	}
	clock.Advance(time.Minute)
	sendTo(t, q, inGroup("g", "one"))
	require.Len(t, q.Messages(), 1)
}

// The id decides, and not the body. moto answers with the checksum of the first
// body then, which the SDK refuses: the conformance tests cannot ask for it.
func TestAnotherBodyUnderTheSameIDIsARepetition(t *testing.T) {
	q := cloudtest.NewQueue(cloudtest.QueueOptions{FIFO: true, Now: cloudtest.NewClock(day).Now, Rand: seed(1)})
	again := inGroup("g", "another body")
	again.Dedup = inGroup("g", "one").Dedup
	sendTo(t, q, inGroup("g", "one"), inGroup("g", "one"))
	sendTo(t, q, again, inGroup("g", "two"))
	require.Equal(t, []string{"one", "two"}, texts(receive(t, q, minute)))
}

func TestAMessageIsHiddenForTwelveHoursAtMost(t *testing.T) {
	clock := cloudtest.NewClock(day)
	q := cloudtest.NewQueue(cloudtest.QueueOptions{Now: clock.Now})
	sendTo(t, q, numbered(1)...)
	_, err := q.Receive(t.Context(), 13*time.Hour)
	require.Error(t, err)
	r := receive(t, q, time.Hour)[0]
	require.Error(t, q.Defer(t.Context(), r.Receipt, cloud.MaxDefer+1))
	require.NoError(t, q.Defer(t.Context(), r.Receipt, cloud.MaxDefer))
	clock.Advance(2 * time.Hour)
	require.Error(t, q.Defer(t.Context(), r.Receipt, cloud.MaxDefer), "13 hours after it was received")
	require.NoError(t, q.Defer(t.Context(), r.Receipt, 10*time.Hour))
	clock.Advance(10*time.Hour - 1)
	require.Empty(t, receive(t, q, 0))
	clock.Advance(1)
	require.Len(t, receive(t, q, 0), 1)
}

func TestAQueueCountsInWholeSeconds(t *testing.T) {
	clock := cloudtest.NewClock(day)
	q := cloudtest.NewQueue(cloudtest.QueueOptions{Now: clock.Now})
	sendTo(t, q, numbered(1)...)
	receive(t, q, 1200*time.Millisecond)
	clock.Advance(1900 * time.Millisecond)
	require.Empty(t, receive(t, q, 0))
	clock.Advance(100 * time.Millisecond)
	require.Len(t, receive(t, q, 0), 1)
}

func TestAMessageIsDroppedAfterItsRetention(t *testing.T) {
	clock := cloudtest.NewClock(day)
	q := cloudtest.NewQueue(cloudtest.QueueOptions{Now: clock.Now})
	sendTo(t, q, numbered(2)...)
	clock.Advance(4*24*time.Hour - 1)
	require.Len(t, receive(t, q, 0), 2)
	clock.Advance(1)
	require.Empty(t, receive(t, q, 0))
	require.Equal(t, 2, q.Dropped())
}

func TestADeadMessageKeepsItsNameAndAge(t *testing.T) {
	clock := cloudtest.NewClock(day)
	dead := cloudtest.NewQueue(cloudtest.QueueOptions{Name: "dead", Now: clock.Now})
	q := cloudtest.NewQueue(cloudtest.QueueOptions{Name: "q", Now: clock.Now, Dead: dead, MaxReceives: 1})
	sendTo(t, q, numbered(1)...)
	before := receive(t, q, minute)[0]
	require.Equal(t, 1, q.InFlight())
	clock.Advance(minute)
	require.Equal(t, 1, q.Waiting(), "it is moved when it would be delivered")
	require.Empty(t, receive(t, q, minute))
	require.Empty(t, q.Messages())
	after := receive(t, dead, minute)[0]
	require.Equal(t, before.ID, after.ID)
	require.Equal(t, before.Sent, after.Sent)
	require.NoError(t, q.Delete(t.Context(), before.Receipt), "the receipt is of a message that is gone")
	require.Len(t, dead.Messages(), 1)
}

func TestWhatSQSRefusesIsNamedAndTheOthersAreSent(t *testing.T) {
	standard := cloudtest.NewQueue(cloudtest.QueueOptions{})
	fifo := cloudtest.NewQueue(cloudtest.QueueOptions{FIFO: true})
	good := cloud.Message{Body: "good"}
	for name, test := range map[string]struct {
		q    *cloudtest.Queue
		good cloud.Message
		bad  cloud.Message
	}{
		"no body":                 {standard, good, cloud.Message{}},
		"a character":             {standard, good, cloud.Message{Body: "\x00"}},
		"a mebibyte":              {standard, good, cloud.Message{Body: strings.Repeat("x", 1<<20+1)}},
		"a long delay":            {standard, good, cloud.Message{Body: "x", Delay: 16 * time.Minute}},
		"a dedup id":              {standard, good, cloud.Message{Body: "x", Dedup: "d"}},
		"no group":                {fifo, inGroup("g", "1"), cloud.Message{Body: "x", Dedup: "d"}},
		"no dedup id":             {fifo, inGroup("g", "2"), cloud.Message{Body: "x", Group: "g"}},
		"a delay within an order": {fifo, inGroup("g", "3"), cloud.Message{Body: "x", Group: "g", Dedup: "d", Delay: time.Minute}},
	} {
		before := len(test.q.Messages())
		err := test.q.Send(t.Context(), test.good, test.bad)
		var refused *cloud.SendError
		require.ErrorAs(t, err, &refused, name)
		require.Equal(t, []int{1}, refused.Failed, name)
		require.Error(t, refused.Reason, name)
		require.Len(t, test.q.Messages(), before+1, name)
	}
}

func TestAPartOfASendCanFail(t *testing.T) {
	for n := range uint64(20) {
		q := cloudtest.NewQueue(cloudtest.QueueOptions{Rand: seed(n)})
		err := q.With(once("sqs.Send", 2, cloudtest.Fault{Partial: true})).Send(t.Context(), numbered(25)...)
		var refused *cloud.SendError
		require.ErrorAs(t, err, &refused)
		require.ErrorIs(t, err, cloudtest.ErrUnavailable)
		require.NotEmpty(t, refused.Failed)
		require.True(t, slices.IsSorted(refused.Failed))
		var want []string
		for i := range 25 {
			if !slices.Contains(refused.Failed, i) {
				want = append(want, fmt.Sprintf("%02d", i))
			} else {
				require.True(t, i >= 10 && i < 20, "%d is not of the second ten", i)
			}
		}
		require.Equal(t, want, texts(q.Messages()))
	}
}

func TestASendThatFailsInTheMiddleNamesTheRest(t *testing.T) {
	for _, after := range []bool{false, true} {
		q := cloudtest.NewQueue(cloudtest.QueueOptions{})
		err := q.With(once("sqs.Send", 2, cloudtest.Fault{Err: cloudtest.ErrThrottled, After: after})).Send(t.Context(), numbered(25)...)
		var refused *cloud.SendError
		require.ErrorAs(t, err, &refused)
		require.ErrorIs(t, err, cloudtest.ErrThrottled)
		require.Len(t, refused.Failed, 15)
		require.Equal(t, 10, refused.Failed[0])
		require.Len(t, q.Messages(), map[bool]int{false: 10, true: 20}[after])

		q = cloudtest.NewQueue(cloudtest.QueueOptions{})
		err = q.With(once("sqs.Send", 1, cloudtest.Fault{After: after})).Send(t.Context(), numbered(5)...)
		require.ErrorIs(t, err, cloudtest.ErrUnavailable)
		require.False(t, errors.As(err, &refused), "of nothing it is known whether it was sent")
		require.Len(t, q.Messages(), map[bool]int{false: 0, true: 5}[after])
	}
}

func TestAPartOfADeletionCanFail(t *testing.T) {
	for n := range uint64(20) {
		for _, after := range []bool{false, true} {
			q := cloudtest.NewQueue(cloudtest.QueueOptions{Rand: seed(n)})
			sendTo(t, q, numbered(5)...)
			var receipts []string
			for _, r := range receive(t, q, minute) {
				receipts = append(receipts, r.Receipt)
			}
			lossy := q.With(once("sqs.Delete", 1, cloudtest.Fault{Partial: true, After: after}))
			require.ErrorIs(t, lossy.Delete(t.Context(), receipts...), cloudtest.ErrUnavailable)
			require.Equal(t, after, len(q.Messages()) == 0)
			require.NoError(t, q.Delete(t.Context(), receipts...))
			require.Empty(t, q.Messages())
		}
	}
}

func TestMessagesWhoseReceiptWasLostComeAgain(t *testing.T) {
	clock := cloudtest.NewClock(day)
	q := cloudtest.NewQueue(cloudtest.QueueOptions{Now: clock.Now})
	sendTo(t, q, numbered(1)...)
	_, err := q.With(once("sqs.Receive", 1, cloudtest.Fault{After: true})).Receive(t.Context(), minute)
	require.ErrorIs(t, err, cloudtest.ErrUnavailable)
	require.Empty(t, receive(t, q, minute))
	clock.Advance(minute)
	require.Equal(t, 2, receive(t, q, minute)[0].Receives)
}

func TestOtherLostAnswersOfAQueueTakeEffect(t *testing.T) {
	q := cloudtest.NewQueue(cloudtest.QueueOptions{})
	sendTo(t, q, numbered(1)...)
	r := receive(t, q, minute)[0]
	err := q.With(once("sqs.Defer", 1, cloudtest.Fault{After: true})).Defer(t.Context(), r.Receipt, 0)
	require.ErrorIs(t, err, cloudtest.ErrUnavailable)
	require.Zero(t, q.InFlight())
	_, err = q.With(once("sqs.Depth", 1, cloudtest.Fault{After: true})).Depth(t.Context())
	require.ErrorIs(t, err, cloudtest.ErrUnavailable)
}

func TestAQueueAndItsDeadLetterQueueAreOfOneKind(t *testing.T) {
	fifo := cloudtest.NewQueue(cloudtest.QueueOptions{FIFO: true})
	require.Panics(t, func() { cloudtest.NewQueue(cloudtest.QueueOptions{Dead: fifo, MaxReceives: 1}) })
	require.Panics(t, func() { cloudtest.NewQueue(cloudtest.QueueOptions{FIFO: true, Dead: fifo}) })
}
