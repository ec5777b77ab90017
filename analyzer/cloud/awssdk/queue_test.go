package awssdk_test

import (
	"crypto/md5" //nolint:gosec // SQS checks bodies so
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
)

func newQueue(t *testing.T, name string, replies ...reply) (*awssdk.Queue, *service) {
	t.Helper()
	s := serve(t, replies...)
	return awssdk.NewQueue(clients(t, quick).SQS(), s.server.URL+"/111122223333/"+name), s
}

// took answers a batch: the ids that SQS took, and those that it did not.
func took(bodies map[string]string, refused ...object) reply {
	done := []object{}
	for id, body := range bodies {
		sum := md5.Sum([]byte(body)) //nolint:gosec // see the import
		done = append(done, object{"Id": id, "MessageId": "m" + id, "MD5OfMessageBody": hex.EncodeToString(sum[:])})
	}
	return reply{body: object{"Successful": done, "Failed": refused}}
}

func itsFault(id string) object {
	return object{"Id": id, "Code": "InternalError", "Message": "try again", "SenderFault": false}
}

func ourFault(id string) object {
	return object{"Id": id, "Code": "InvalidMessageContents", "Message": "no such character", "SenderFault": true}
}

// bodiesOf returns the entries of a batch by id.
func bodiesOf(r request) map[string]string {
	bodies := map[string]string{}
	for _, e := range r.body["Entries"].([]any) {
		entry := e.(object)
		bodies[entry["Id"].(string)], _ = entry["MessageBody"].(string)
	}
	return bodies
}

func texts(n int) (all []cloud.Message, bodies map[string]string) {
	bodies = map[string]string{}
	for i := range n {
		all = append(all, cloud.Message{Body: fmt.Sprintf("body %d", i)})
		bodies[fmt.Sprint(i)] = all[i].Body
	}
	return all, bodies
}

// only returns those of the bodies with these ids.
func only(bodies map[string]string, ids ...string) map[string]string {
	some := map[string]string{}
	for _, id := range ids {
		some[id] = bodies[id]
	}
	return some
}

func TestMessagesAreSentTenAtATime(t *testing.T) {
	messages, bodies := texts(12)
	first := only(bodies, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	queue, s := newQueue(t, "ingest", took(first), took(only(bodies, "10", "11")))
	require.NoError(t, queue.Send(t.Context(), messages...))
	require.Equal(t, first, bodiesOf(s.calls()[0]))
	require.Equal(t, only(bodies, "10", "11"), bodiesOf(s.calls()[1]))

	queue, s = newQueue(t, "ingest")
	require.NoError(t, queue.Send(t.Context()))
	require.Empty(t, s.calls())
}

func TestARequestHasAQuarterOfAMegabyteOrOneMessage(t *testing.T) {
	large := func(kib int) cloud.Message { return cloud.Message{Body: strings.Repeat("x", kib<<10)} }
	messages := []cloud.Message{large(100), large(156), large(1), large(300), large(1)}
	reply := func(ids ...int) reply {
		bodies := map[string]string{}
		for _, i := range ids {
			bodies[fmt.Sprint(i)] = messages[i].Body
		}
		return took(bodies)
	}
	queue, s := newQueue(t, "ingest", reply(0, 1), reply(2), reply(3), reply(4))
	require.NoError(t, queue.Send(t.Context(), messages...))
	require.Len(t, s.calls(), 4)
}

func TestWhatAMessageSaysIsSent(t *testing.T) {
	m := cloud.Message{Body: "a", Delay: 1500 * time.Millisecond}
	queue, s := newQueue(t, "ingest", took(map[string]string{"0": "a"}))
	require.NoError(t, queue.Send(t.Context(), m))
	require.Equal(t, []any{object{"Id": "0", "MessageBody": "a", "DelaySeconds": 2.0}}, s.calls()[0].body["Entries"])

	m = cloud.Message{Body: "a", Group: "alert-1", Dedup: "alert-1/7"}
	queue, s = newQueue(t, "notify.fifo", took(map[string]string{"0": "a"}))
	require.NoError(t, queue.Send(t.Context(), m))
	require.Equal(t, []any{object{
		"Id": "0", "MessageBody": "a", "MessageGroupId": "alert-1", "MessageDeduplicationId": "alert-1/7",
	}}, s.calls()[0].body["Entries"])
	require.True(t, strings.HasSuffix(s.calls()[0].body["QueueUrl"].(string), "/111122223333/notify.fifo"))
}

func TestWhatSQSRefusesByItsOwnFaultIsSentAgain(t *testing.T) {
	messages, bodies := texts(4)
	queue, s := newQueue(
		t, "ingest",
		took(only(bodies, "0"), itsFault("1"), itsFault("3")), // and not a word of 2
		took(only(bodies, "3"), itsFault("1")),
		took(only(bodies, "1", "2")),
	)
	require.NoError(t, queue.Send(t.Context(), messages...))
	require.Equal(t, only(bodies, "1", "2", "3"), bodiesOf(s.calls()[1]))
	require.Equal(t, only(bodies, "1", "2"), bodiesOf(s.calls()[2]))
}

func TestTheErrorSaysWhichMessagesWereNotSent(t *testing.T) {
	messages, bodies := texts(13)
	queue, s := newQueue(
		t, "ingest",
		took(only(bodies, "0", "1", "2", "4", "6", "7", "8", "9"), ourFault("5"), itsFault("3")),
		took(nil, itsFault("3")),
		took(nil, itsFault("3")),
		took(only(bodies, "10", "11"), ourFault("12")),
	)
	err := queue.Send(t.Context(), messages...)
	var refused *cloud.SendError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, []int{3, 5, 12}, refused.Failed)
	require.ErrorContains(t, refused.Reason, "InvalidMessageContents: no such character")
	require.Equal(t, only(bodies, "3"), bodiesOf(s.calls()[1]), "our fault stays ours")
	require.Len(t, s.calls(), 4)
}

func TestARequestThatFailsEndsTheSending(t *testing.T) {
	messages, bodies := texts(25)
	first := only(bodies, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	queue, s := newQueue(t, "ingest", took(first), refusal("AccessDenied"))
	err := queue.Send(t.Context(), messages...)
	var refused *cloud.SendError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, []int{10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}, refused.Failed)
	require.ErrorContains(t, err, "AccessDenied")
	require.Len(t, s.calls(), 2)

	for name, replies := range map[string][]reply{
		"refused":         {refusal("AccessDenied")},
		"never an answer": {{drop: true}, {drop: true}, {drop: true}},
	} {
		queue, s = newQueue(t, "ingest", replies...)
		err = queue.Send(t.Context(), messages...)
		require.Error(t, err, name)
		require.NotErrorAs(t, err, &refused, "nothing is known to be sent")
		require.Len(t, s.calls(), len(replies))
	}

	queue, _ = newQueue(t, "ingest", refusal("ThrottlingException"), took(first), took(only(bodies, "10")))
	require.NoError(t, queue.Send(t.Context(), messages[:11]...), "but throttling passes")
}

func TestAnAnswerAboutAnotherBodyIsAnError(t *testing.T) {
	queue, _ := newQueue(t, "ingest", took(map[string]string{"0": "another body"}))
	require.ErrorContains(t, queue.Send(t.Context(), cloud.Message{Body: "a"}), "checksum")
}

func TestNoMessageOvertakesAnotherOfItsGroup(t *testing.T) {
	grouped := func(groups ...string) (all []cloud.Message) {
		for i, g := range groups {
			all = append(all, cloud.Message{Body: fmt.Sprint(i), Group: g, Dedup: fmt.Sprint(i)})
		}
		return all
	}
	same := func(ids ...string) map[string]string {
		bodies := map[string]string{}
		for _, id := range ids {
			bodies[id] = id
		}
		return bodies
	}
	queue, s := newQueue(t, "notify.fifo", took(same("0", "1")), took(same("2", "3")), took(same("4")))
	require.NoError(t, queue.Send(t.Context(), grouped("a", "b", "a", "c", "a")...))
	require.Equal(t, same("2", "3"), bodiesOf(s.calls()[1]))

	// a's first is refused: its others are held back, those of b and c are not.
	queue, s = newQueue(t, "notify.fifo", took(same("1"), ourFault("0")), took(same("3")))
	err := queue.Send(t.Context(), grouped("a", "b", "a", "c", "a")...)
	var refused *cloud.SendError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, []int{0, 2, 4}, refused.Failed)
	require.Len(t, s.calls(), 2)

	// What SQS refused by its own fault is sent before the next of its group.
	queue, s = newQueue(t, "notify.fifo", took(same("1"), itsFault("0")), took(same("0")), took(same("2")))
	require.NoError(t, queue.Send(t.Context(), grouped("a", "b", "a")...))
	require.Equal(t, same("0"), bodiesOf(s.calls()[1]))
}

func TestReceivedMessagesSayAllThatSQSKnows(t *testing.T) {
	answer := reply{body: object{"Messages": []object{{
		"Body": "a", "MessageId": "m1", "ReceiptHandle": "r1",
		"Attributes": object{
			"ApproximateReceiveCount": "3", "SentTimestamp": "1772442000123", "MessageGroupId": "alert-1", "MessageDeduplicationId": "alert-1/7",
		},
	}}}}
	queue, s := newQueue(t, "notify.fifo", reply{drop: true}, answer)
	got, err := queue.Receive(t.Context(), 61500*time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, []cloud.Received{{
		Message: cloud.Message{Body: "a", Group: "alert-1", Dedup: "alert-1/7"},
		ID:      "m1", Receipt: "r1", Receives: 3, Sent: time.Date(2026, 3, 2, 9, 0, 0, 123e6, time.UTC),
	}}, got)
	first, second := s.calls()[0].body, s.calls()[1].body
	require.Equal(t, first, second)
	attempt, _ := first["ReceiveRequestAttemptId"].(string)
	require.NotEmpty(t, attempt, "the second try gets the messages that the first one hid")
	delete(first, "ReceiveRequestAttemptId")
	delete(first, "QueueUrl")
	require.Equal(t, object{
		"MaxNumberOfMessages": 10.0, "WaitTimeSeconds": 1.0, "VisibilityTimeout": 62.0,
		"MessageSystemAttributeNames": []any{"ApproximateReceiveCount", "SentTimestamp", "MessageGroupId", "MessageDeduplicationId"},
	}, first)

	queue, s = newQueue(t, "ingest", ok)
	got, err = queue.Receive(t.Context(), time.Minute)
	require.NoError(t, err)
	require.Empty(t, got)
	require.NotContains(t, s.calls()[0].body, "ReceiveRequestAttemptId")
}

func TestAMessageWithoutItsAttributesIsAnError(t *testing.T) {
	for _, attributes := range []object{{}, {"ApproximateReceiveCount": "1"}} {
		queue, _ := newQueue(t, "ingest", reply{body: object{"Messages": []object{{"Body": "a", "MessageId": "m1", "Attributes": attributes}}}})
		_, err := queue.Receive(t.Context(), time.Minute)
		require.ErrorContains(t, err, "message m1: read")
	}
}

func TestMessagesAreDeletedTenAtATime(t *testing.T) {
	receipts := make([]string, 12)
	done := map[string]string{}
	for i := range receipts {
		receipts[i] = fmt.Sprintf("r%d", i)
		if i < 10 && i != 4 && i != 7 {
			done[fmt.Sprint(i)] = ""
		}
	}
	rest := map[string]string{"10": "", "11": ""}
	queue, s := newQueue(t, "ingest", took(done, itsFault("4"), ourFault("7")), took(map[string]string{"4": ""}), took(rest))
	err := queue.Delete(t.Context(), receipts...)
	require.ErrorContains(t, err, "delete 1 of 12 messages from ")
	require.ErrorContains(t, err, "InvalidMessageContents")
	require.Equal(t, []any{object{"Id": "4", "ReceiptHandle": "r4"}}, s.calls()[1].body["Entries"])
	require.Len(t, s.calls()[2].body["Entries"], 2)

	queue, _ = newQueue(t, "ingest", refusal("AccessDenied"), took(rest))
	err = queue.Delete(t.Context(), receipts...)
	require.ErrorContains(t, err, "delete 10 of 12 messages")

	queue, s = newQueue(t, "ingest")
	require.NoError(t, queue.Delete(t.Context()))
	require.Empty(t, s.calls())
}

func TestAMessageIsDeferredForWholeSecondsUpToALimit(t *testing.T) {
	for d, wanted := range map[time.Duration]float64{
		-time.Second: 0, 0: 0, time.Millisecond: 1, time.Second: 1, 90*time.Second + 1: 91, cloud.MaxDefer: 39600, 24 * time.Hour: 39600,
	} {
		queue, s := newQueue(t, "notify.fifo", ok)
		require.NoError(t, queue.Defer(t.Context(), "r1", d))
		require.Equal(t, []string{"ChangeMessageVisibility"}, s.ops())
		require.Equal(t, wanted, s.calls()[0].body["VisibilityTimeout"], d)
		require.Equal(t, "r1", s.calls()[0].body["ReceiptHandle"])
	}
	queue, _ := newQueue(t, "notify.fifo", refusal("MessageNotInflight"))
	require.ErrorContains(t, queue.Defer(t.Context(), "r1", time.Minute), "MessageNotInflight")
}

func TestDepthIsOfAllThatWaits(t *testing.T) {
	counts := object{"ApproximateNumberOfMessages": "3", "ApproximateNumberOfMessagesNotVisible": "4", "ApproximateNumberOfMessagesDelayed": "5"}
	queue, s := newQueue(t, "ingest", reply{body: object{"Attributes": counts}})
	depth, err := queue.Depth(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 12, depth)
	require.ElementsMatch(t, []any{
		"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed",
	}, s.calls()[0].body["AttributeNames"])

	delete(counts, "ApproximateNumberOfMessagesDelayed")
	queue, _ = newQueue(t, "ingest", reply{body: object{"Attributes": counts}})
	_, err = queue.Depth(t.Context())
	require.ErrorContains(t, err, "ApproximateNumberOfMessagesDelayed")
}
