package awssdk

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/keytrail/keytrail/analyzer/cloud"
)

const (
	queueBatch = 10 // messages of one request
	itemTries  = 3  // of an item that SQS did not take by a fault of its own
	// batchBytes is how much the messages of one request may have together.
	// SQS takes 1 MiB since 2025; what it took before is enough everywhere.
	batchBytes = 256 << 10
	// receiveWait is how long Receive waits for a first message, in seconds. Any
	// wait makes SQS ask all of its servers and not only some.
	receiveWait = 1
)

// Queue is a queue of SQS; a FIFO queue if its URL ends so.
type Queue struct {
	client *sqs.Client
	url    string
}

var _ cloud.Queue = (*Queue)(nil)

// NewQueue returns the queue of that URL.
func NewQueue(client *sqs.Client, url string) *Queue { return &Queue{client: client, url: url} }

func (q *Queue) fifo() bool { return strings.HasSuffix(q.url, ".fifo") }

// Send implements cloud.Queue. What SQS refuses by a fault of its own is sent
// again. When a request fails as a whole nothing more is sent: if any message
// went before, the error is a *cloud.SendError that counts the rest as refused,
// although some of a request whose answer was lost may have been sent. In a
// FIFO queue, messages of a group are not sent after one of theirs was refused,
// and count as refused too: sent again in their order they arrive in it.
func (q *Queue) Send(ctx context.Context, messages ...cloud.Message) error {
	var refused []int
	var reason error
	held := map[string]bool{} // groups of which a message was refused
	for next := 0; next < len(messages); {
		batch := batchFrom(messages, next)
		next += len(batch)
		batch = slices.DeleteFunc(batch, func(i int) bool {
			if held[messages[i].Group] {
				refused = append(refused, i)
				return true
			}
			return false
		})
		failed, why, whole := q.batch(ctx, batch, func(batch []int) (map[int]refusal, error) { return q.send(ctx, messages, batch) })
		refused = append(refused, failed...)
		reason = cmp.Or(reason, why)
		for _, i := range failed {
			held[messages[i].Group] = messages[i].Group != ""
		}
		if whole {
			for ; next < len(messages); next++ {
				refused = append(refused, next)
			}
			if len(refused) == len(messages) {
				return fmt.Errorf("send %d messages to %s: %w", len(messages), q.url, reason)
			}
		}
	}
	if len(refused) == 0 {
		return nil
	}
	slices.Sort(refused)
	return &cloud.SendError{Failed: refused, Reason: fmt.Errorf("send to %s: %w", q.url, reason)}
}

// batchFrom returns the indexes of the messages that go into one request:
// neighbours, of a FIFO group only one, so that what is refused and sent again
// is not overtaken by its successor.
func batchFrom(messages []cloud.Message, first int) (batch []int) {
	size, groups := 0, map[string]bool{}
	for i := first; i < len(messages) && len(batch) < queueBatch; i++ {
		m := &messages[i]
		size += len(m.Body)
		if len(batch) > 0 && (size > batchBytes || groups[m.Group]) {
			break
		}
		groups[m.Group] = m.Group != ""
		batch = append(batch, i)
	}
	return batch
}

func (q *Queue) send(ctx context.Context, messages []cloud.Message, batch []int) (map[int]refusal, error) {
	in := &sqs.SendMessageBatchInput{QueueUrl: &q.url}
	for _, i := range batch {
		m := &messages[i]
		entry := types.SendMessageBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), MessageBody: &m.Body,
			MessageGroupId: optional(m.Group), MessageDeduplicationId: optional(m.Dedup),
		}
		if m.Delay > 0 {
			entry.DelaySeconds = seconds(m.Delay)
		}
		in.Entries = append(in.Entries, entry)
	}
	out, err := q.client.SendMessageBatch(ctx, in)
	if err != nil {
		return nil, err
	}
	done := make([]*string, len(out.Successful))
	for i, s := range out.Successful {
		done[i] = s.Id
	}
	return refusals(batch, done, out.Failed), nil
}

// refusal is what SQS says to one item of a request that it did not take.
type refusal struct {
	reason error
	final  bool // the sender's fault: it will be refused again
}

// refusals sorts out the answers to the items of a request, whose ids are
// indexes. What has no answer is refused too.
func refusals(batch []int, done []*string, failed []types.BatchResultErrorEntry) map[int]refusal {
	refused := make(map[int]refusal, len(batch))
	for _, i := range batch {
		refused[i] = refusal{reason: errors.New("SQS did not say what became of it")}
	}
	for _, id := range done {
		if i, err := strconv.Atoi(aws.ToString(id)); err == nil {
			delete(refused, i)
		}
	}
	for _, f := range failed {
		if i, err := strconv.Atoi(aws.ToString(f.Id)); err == nil {
			refused[i] = refusal{
				reason: &smithy.GenericAPIError{Code: aws.ToString(f.Code), Message: aws.ToString(f.Message)},
				final:  f.SenderFault,
			}
		}
	}
	return refused
}

// batch makes a request, and makes it again with the items that SQS did not
// take by a fault of its own. It returns the indexes that failed in the end and
// why the first did; whole says that a request failed, and not only items.
func (q *Queue) batch(ctx context.Context, batch []int, request func([]int) (map[int]refusal, error)) (failed []int, reason error, whole bool) {
	for tries := 1; len(batch) > 0; tries++ {
		refused, err := request(batch)
		if err != nil {
			return append(failed, batch...), cmp.Or(reason, err), true
		}
		var again []int
		var last error
		for _, i := range batch {
			r, ok := refused[i]
			switch {
			case !ok:
			case r.final || tries == itemTries:
				failed, reason = append(failed, i), cmp.Or(reason, r.reason)
			default:
				again, last = append(again, i), r.reason
			}
		}
		if batch = again; len(batch) == 0 {
			break
		}
		if err := pause(ctx, q.client.Options().Retryer, tries, last); err != nil {
			return append(failed, batch...), cmp.Or(reason, err), true
		}
	}
	return failed, reason, false
}

// Receive implements cloud.Queue. It waits up to a second for a first message.
func (q *Queue) Receive(ctx context.Context, visibility time.Duration) ([]cloud.Received, error) {
	in := &sqs.ReceiveMessageInput{
		QueueUrl: &q.url, MaxNumberOfMessages: queueBatch, WaitTimeSeconds: receiveWait, VisibilityTimeout: seconds(visibility),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameSentTimestamp,
			types.MessageSystemAttributeNameMessageGroupId, types.MessageSystemAttributeNameMessageDeduplicationId,
		},
	}
	if q.fifo() {
		// When an answer is lost, the SDK's next try gets the same messages and
		// does not have to wait until they are visible again.
		in.ReceiveRequestAttemptId = aws.String(rand.Text())
	}
	out, err := q.client.ReceiveMessage(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("receive from %s: %w", q.url, err)
	}
	received := make([]cloud.Received, 0, len(out.Messages))
	for _, m := range out.Messages {
		r, err := receivedOf(m)
		if err != nil {
			return nil, fmt.Errorf("receive from %s: message %s: %w", q.url, aws.ToString(m.MessageId), err)
		}
		received = append(received, r)
	}
	return received, nil
}

func receivedOf(m types.Message) (cloud.Received, error) {
	attribute := func(name types.MessageSystemAttributeName) string { return m.Attributes[string(name)] }
	receives, err := strconv.Atoi(attribute(types.MessageSystemAttributeNameApproximateReceiveCount))
	if err != nil {
		return cloud.Received{}, fmt.Errorf("read how often it was received: %w", err)
	}
	sent, err := strconv.ParseInt(attribute(types.MessageSystemAttributeNameSentTimestamp), 10, 64)
	if err != nil {
		return cloud.Received{}, fmt.Errorf("read when it was sent: %w", err)
	}
	return cloud.Received{
		Message: cloud.Message{
			Body:  aws.ToString(m.Body),
			Group: attribute(types.MessageSystemAttributeNameMessageGroupId),
			Dedup: attribute(types.MessageSystemAttributeNameMessageDeduplicationId),
		},
		ID: aws.ToString(m.MessageId), Receipt: aws.ToString(m.ReceiptHandle),
		Receives: receives, Sent: time.UnixMilli(sent).UTC(),
	}, nil
}

// Delete implements cloud.Queue. It goes on after what failed.
func (q *Queue) Delete(ctx context.Context, receipts ...string) error {
	all := make([]int, len(receipts))
	for i := range all {
		all[i] = i
	}
	failed := 0
	var reason error
	for batch := range slices.Chunk(all, queueBatch) {
		bad, why, _ := q.batch(ctx, batch, func(batch []int) (map[int]refusal, error) { return q.remove(ctx, receipts, batch) })
		failed += len(bad)
		reason = cmp.Or(reason, why)
	}
	if failed > 0 {
		return fmt.Errorf("delete %d of %d messages from %s: %w", failed, len(receipts), q.url, reason)
	}
	return nil
}

func (q *Queue) remove(ctx context.Context, receipts []string, batch []int) (map[int]refusal, error) {
	in := &sqs.DeleteMessageBatchInput{QueueUrl: &q.url}
	for _, i := range batch {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{
			Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &receipts[i],
		})
	}
	out, err := q.client.DeleteMessageBatch(ctx, in)
	if err != nil {
		return nil, err
	}
	done := make([]*string, len(out.Successful))
	for i, s := range out.Successful {
		done[i] = s.Id
	}
	return refusals(batch, done, out.Failed), nil
}

// Defer implements cloud.Queue. What is longer than cloud.MaxDefer is cut to it.
func (q *Queue) Defer(ctx context.Context, receipt string, d time.Duration) error {
	_, err := q.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &q.url, ReceiptHandle: &receipt, VisibilityTimeout: seconds(min(d, cloud.MaxDefer)),
	})
	if err != nil {
		return fmt.Errorf("defer a message of %s for %s: %w", q.url, d, err)
	}
	return nil
}

// Depth implements cloud.Queue: messages that can be received, that are being
// worked on, and that are delayed.
func (q *Queue) Depth(ctx context.Context) (int64, error) {
	names := []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages,
		types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		types.QueueAttributeNameApproximateNumberOfMessagesDelayed,
	}
	out, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &q.url, AttributeNames: names})
	if err != nil {
		return 0, fmt.Errorf("ask how long %s is: %w", q.url, err)
	}
	var depth int64
	for _, name := range names {
		n, err := strconv.ParseInt(out.Attributes[string(name)], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("ask how long %s is: read %s: %w", q.url, name, err)
		}
		depth += n
	}
	return depth, nil
}

// seconds rounds up to whole seconds, which is all that SQS knows. SQS refuses
// what is over 12 hours.
func seconds(d time.Duration) int32 {
	d = min(max(d, 0), 24*time.Hour)
	return int32((d + time.Second - 1) / time.Second)
}
