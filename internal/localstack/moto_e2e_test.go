//go:build e2e

package localstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/internal/localstack/mapping"
)

// These tests are about moto behind its front: what the stack relies on.

func emulated(t *testing.T) *Stack {
	t.Helper()
	s, err := StartAWS(t.Context(), Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// queueWith makes a queue and its dead-letter queue, and returns both.
func (s *Stack) queueWith(t *testing.T, name string, visibility, maxReceives int) (q, dead queue) {
	t.Helper()
	attributes, fifo := map[string]string{}, strings.HasSuffix(name, ".fifo")
	if fifo {
		attributes["FifoQueue"] = "true"
	}
	q, dead = queue{name: name}, queue{name: "dead-" + name}
	_, err := s.sqs().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &dead.name, Attributes: attributes})
	require.NoError(t, err)
	attributes["VisibilityTimeout"] = fmt.Sprint(visibility)
	attributes["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, dead.arn(), maxReceives)
	_, err = s.sqs().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	require.NoError(t, err)
	return q, dead
}

// bring runs a mapping until the queue is empty, and returns the batches that
// the function got.
func (s *Stack) bring(t *testing.T, q queue, m mapping.Mapping, answer func(events.SQSEvent) (events.SQSEventResponse, error)) (batches []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	m.Queue, m.URL, m.ARN, m.ReportBatchItemFailures = s.sqs(), q.url(s.Endpoint), q.arn(), true
	m.Invoke = func(_ context.Context, event []byte) ([]byte, error) {
		var ev events.SQSEvent
		if err := json.Unmarshal(event, &ev); err != nil {
			return nil, err
		}
		var bodies []string
		for _, r := range ev.Records {
			bodies = append(bodies, r.Body)
		}
		mu.Lock()
		batches = append(batches, strings.Join(bodies, ","))
		mu.Unlock()
		out, err := answer(ev)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
	var wg sync.WaitGroup
	wg.Go(func() { m.Run(ctx) })
	require.NoError(t, s.drained(ctx, q.name))
	cancel()
	wg.Wait()
	return batches
}

func (s *Stack) send(t *testing.T, q queue, group string, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		in := &sqs.SendMessageInput{QueueUrl: aws.String(q.url(s.Endpoint)), MessageBody: aws.String(b)}
		if group != "" {
			in.MessageGroupId, in.MessageDeduplicationId = &group, aws.String(group+b)
		}
		_, err := s.sqs().SendMessage(t.Context(), in)
		require.NoError(t, err)
	}
}

// failed names the messages with these bodies.
func failed(ev events.SQSEvent, bodies ...string) (answer events.SQSEventResponse) {
	for _, r := range ev.Records {
		if slices.Contains(bodies, r.Body) {
			answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: r.MessageId})
		}
	}
	return answer
}

func TestMotoRedrivesWhatFailsTooOften(t *testing.T) {
	s := emulated(t)
	q, dead := s.queueWith(t, "q", 1, 2)
	s.send(t, q, "", "good", "bad", "fine")
	batches := s.bring(t, q, mapping.Mapping{Wait: time.Second}, func(ev events.SQSEvent) (events.SQSEventResponse, error) {
		return failed(ev, "bad"), nil
	})
	require.Equal(t, []string{"good,bad,fine", "bad"}, batches)
	d, err := s.depth(t.Context(), dead.name)
	require.NoError(t, err)
	require.Equal(t, Depth{Waiting: 1}, d)
}

func TestMotoKeepsTheOrderOfGroups(t *testing.T) {
	s := emulated(t)
	q, dead := s.queueWith(t, "q.fifo", 2, 5)
	s.send(t, q, "x", "x1", "x2", "x3")
	s.send(t, q, "y", "y1")
	s.send(t, q, "x", "x1") // again
	var mu sync.Mutex
	var done []string
	receives := map[string]string{}
	tries := 0
	s.bring(t, q, mapping.Mapping{BatchSize: 1, Concurrency: 3, Wait: time.Second}, func(ev events.SQSEvent) (events.SQSEventResponse, error) {
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		r := ev.Records[0]
		receives[r.Body] = r.Attributes["ApproximateReceiveCount"]
		if r.Body == "x1" {
			if tries++; tries < 3 {
				return events.SQSEventResponse{}, errors.New("as asked")
			}
		}
		done = append(done, r.Body)
		return events.SQSEventResponse{}, nil
	})
	require.Equal(t, []string{"y1", "x1", "x2", "x3"}, done)
	require.Equal(t, map[string]string{"x1": "3", "x2": "1", "x3": "1", "y1": "1"}, receives)
	s.send(t, q, "x", "x2") // within five minutes, although it is gone
	for _, name := range []string{q.name, dead.name} {
		d, err := s.depth(t.Context(), name)
		require.NoError(t, err)
		require.Zero(t, d)
	}
}

func TestMotoNotifiesAQueueOfObjects(t *testing.T) {
	s := emulated(t)
	require.NoError(t, s.create(t.Context(), nil))
	require.NoError(t, s.PutLog(t.Context(), "AWSLogs/1 2/ä+b=c.json.gz", []byte("x")))
	require.NoError(t, s.PutLog(t.Context(), "AWSLogs/other.txt", []byte("x")))
	out, err := s.sqs().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: aws.String(queueNamed(queueIngest).url(s.Endpoint)), MaxNumberOfMessages: 10, WaitTimeSeconds: 1,
	})
	require.NoError(t, err)
	var bodies []string
	for _, m := range out.Messages {
		if !strings.Contains(*m.Body, "s3:TestEvent") {
			bodies = append(bodies, *m.Body)
		}
	}
	require.Len(t, bodies, 1)
	require.Contains(t, bodies[0], `"key": "AWSLogs%2F1+2%2F%C3%A4%2Bb%3Dc.json.gz"`)
	require.Contains(t, bodies[0], `"name": "keytrail-trail"`)
}

// TestMotoBehindItsFrontIsAtomic lets many write at once on a condition.
func TestMotoBehindItsFrontIsAtomic(t *testing.T) {
	s := emulated(t)
	require.NoError(t, s.createTable(t.Context()))
	_, err := s.s3().CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: aws.String("some-bucket"), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: Region},
	})
	require.NoError(t, err)
	table := dynamodb.NewFromConfig(configOf(s.Endpoint))
	item := func(sk string) map[string]ddbtypes.AttributeValue {
		return map[string]ddbtypes.AttributeValue{
			"pk": &ddbtypes.AttributeValueMemberS{Value: "p"}, "sk": &ddbtypes.AttributeValueMemberS{Value: sk},
		}
	}
	absent := aws.String("attribute_not_exists(pk)")
	var mu sync.Mutex
	won := map[string]int{}
	var others []string
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			_, err := s.s3().PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: aws.String("some-bucket"), Key: aws.String("k"), Body: strings.NewReader(fmt.Sprint(n)), IfNoneMatch: aws.String("*"),
			})
			var api smithy.APIError
			mu.Lock()
			if err == nil {
				won["object"]++
			} else if !errors.As(err, &api) || api.ErrorCode() != "PreconditionFailed" {
				others = append(others, err.Error())
			}
			mu.Unlock()
			own := fmt.Sprintf("own-%d", n)
			_, err = table.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{TransactItems: []ddbtypes.TransactWriteItem{
				{Put: &ddbtypes.Put{TableName: aws.String(Table), Item: item("one"), ConditionExpression: absent}},
				{Put: &ddbtypes.Put{TableName: aws.String(Table), Item: item("with-" + own)}},
			}})
			mu.Lock()
			if err == nil {
				won["transaction"]++
			}
			mu.Unlock()
			// What others roll back meanwhile must not take this along.
			_, err = table.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String(Table), Item: item(own)})
			if err != nil {
				mu.Lock()
				others = append(others, err.Error())
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Empty(t, others)
	require.Equal(t, map[string]int{"object": 1, "transaction": 1}, won)
	out, err := table.Query(t.Context(), &dynamodb.QueryInput{
		TableName: aws.String(Table), KeyConditionExpression: aws.String("pk = :pk"),
		ExpressionAttributeValues: map[string]ddbtypes.AttributeValue{":pk": &ddbtypes.AttributeValueMemberS{Value: "p"}},
	})
	require.NoError(t, err)
	require.Len(t, out.Items, 1+1+16)
}

// TestNoMessageIsLostBetweenSendersAndDeleters sends while others delete, which
// moto by itself loses messages by.
func TestNoMessageIsLostBetweenSendersAndDeleters(t *testing.T) {
	s := emulated(t)
	q, _ := s.queueWith(t, "q", 60, 5)
	const each = 40
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range each {
				_, _ = s.sqs().SendMessage(t.Context(), &sqs.SendMessageInput{
					QueueUrl: aws.String(q.url(s.Endpoint)), MessageBody: aws.String(fmt.Sprintf("%d-%d", n, i)),
				})
			}
		})
	}
	var mu sync.Mutex
	got := map[string]int{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				out, err := s.sqs().ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String(q.url(s.Endpoint)), MaxNumberOfMessages: 10, WaitTimeSeconds: 1})
				if err != nil {
					continue
				}
				in := &sqs.DeleteMessageBatchInput{QueueUrl: aws.String(q.url(s.Endpoint))}
				mu.Lock()
				for i, m := range out.Messages {
					got[*m.Body]++
					in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: m.ReceiptHandle})
				}
				all := len(got) == 4*each
				mu.Unlock()
				if len(in.Entries) > 0 {
					_, _ = s.sqs().DeleteMessageBatch(ctx, in)
				}
				if all {
					return
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, got, 4*each)
	require.Equal(t, 1, slices.Max(slices.Collect(maps.Values(got))), "none was given twice")
}
