package mapping_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// fakeQueue is an SQS queue with visibility, groups and a dead-letter queue.
type fakeQueue struct {
	mu          sync.Mutex
	visibility  time.Duration
	maxReceives int  // 0 means any number
	loose       bool // gives messages of groups that are in flight, as no queue should
	perReceive  int  // gives at most so many at once; 0 means what is asked for
	messages    []*message
	dead        []string // bodies
	deleted     []string // bodies
	receives    int
	failReceive int // calls that fail
	refuse      int // deletions that are refused
}

type message struct {
	id, body, group string
	visible         time.Time
	receives        int
	receipt         string
	sent            time.Time
}

func (q *fakeQueue) send(group string, bodies ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, b := range bodies {
		q.messages = append(q.messages, &message{id: "id-" + b[:min(len(b), 8)], body: b, group: group, sent: time.Now()})
	}
}

func (q *fakeQueue) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, _ ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	until := time.Now().Add(time.Duration(in.WaitTimeSeconds) * time.Second)
	for {
		out, err := q.receive(int(in.MaxNumberOfMessages))
		if err != nil || len(out) > 0 || !time.Now().Before(until) {
			return &sqs.ReceiveMessageOutput{Messages: out}, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (q *fakeQueue) receive(n int) (out []types.Message, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.receives++
	if q.failReceive > 0 {
		q.failReceive--
		return nil, errors.New("no network")
	}
	if q.perReceive > 0 {
		n = min(n, q.perReceive)
	}
	now := time.Now()
	blocked := map[string]bool{}
	var keep []*message
	for _, m := range q.messages {
		if now.Before(m.visible) {
			blocked[m.group] = m.group != "" && !q.loose
			keep = append(keep, m)
			continue
		}
		if len(out) == n || blocked[m.group] {
			keep = append(keep, m)
			continue
		}
		if q.maxReceives > 0 && m.receives == q.maxReceives {
			q.dead = append(q.dead, m.body)
			continue
		}
		m.receives++
		m.visible, m.receipt = now.Add(q.visibility), fmt.Sprintf("%s/%d", m.id, m.receives)
		attributes := map[string]string{
			"ApproximateReceiveCount": strconv.Itoa(m.receives), "SentTimestamp": strconv.FormatInt(m.sent.UnixMilli(), 10),
		}
		if m.group != "" {
			attributes["MessageGroupId"] = m.group
		}
		out = append(out, types.Message{
			MessageId: &m.id, Body: &m.body, ReceiptHandle: aws.String(m.receipt), MD5OfBody: aws.String("md5"), Attributes: attributes,
			MessageAttributes: map[string]types.MessageAttributeValue{"trace": {DataType: aws.String("String"), StringValue: aws.String("on")}},
		})
		keep = append(keep, m)
	}
	q.messages = keep
	return out, nil
}

func (q *fakeQueue) DeleteMessageBatch(_ context.Context, in *sqs.DeleteMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := &sqs.DeleteMessageBatchOutput{}
	for _, e := range in.Entries {
		if q.refuse > 0 {
			q.refuse--
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Message: aws.String("refused")})
			continue
		}
		out.Successful = append(out.Successful, types.DeleteMessageBatchResultEntry{Id: e.Id})
		for i, m := range q.messages {
			if m.receipt == *e.ReceiptHandle {
				q.deleted = append(q.deleted, m.body)
				q.messages = append(q.messages[:i:i], q.messages[i+1:]...)
				break
			}
		}
	}
	return out, nil
}
