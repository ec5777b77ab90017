package mapping_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/internal/localstack/mapping"
)

const (
	standardARN = "arn:aws:sqs:eu-west-1:111122223333:ingest"
	fifoARN     = "arn:aws:sqs:eu-west-1:111122223333:notify.fifo"
)

// invocation is a batch that the function got.
type invocation struct {
	at     time.Duration // since the start
	bodies string        // with commas
}

// function is what a mapping invokes. It keeps what it got.
type function struct {
	t      *testing.T
	start  time.Time
	mu     sync.Mutex
	got    []invocation
	events []events.SQSEvent
	now    int // that run
	most   int // that ran at once
	// does says how it answers, with the number of the invocation from 1.
	does func(n int, ev events.SQSEvent) (string, error)
}

func (f *function) invoke(_ context.Context, event []byte) ([]byte, error) {
	var ev events.SQSEvent
	require.NoError(f.t, json.Unmarshal(event, &ev))
	f.mu.Lock()
	var bodies []string
	for _, r := range ev.Records {
		bodies = append(bodies, r.Body)
	}
	f.got = append(f.got, invocation{time.Since(f.start), strings.Join(bodies, ",")})
	f.events = append(f.events, ev)
	n := len(f.got)
	f.now++
	f.most = max(f.most, f.now)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now--
	}()
	if f.does == nil {
		return nil, nil
	}
	answer, err := f.does(n, ev)
	return []byte(answer), err
}

// failing answers that the messages with these bodies failed.
func failing(ev events.SQSEvent, bodies ...string) string {
	var answer events.SQSEventResponse
	for _, r := range ev.Records {
		if slices.Contains(bodies, r.Body) {
			answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: r.MessageId})
		}
	}
	out, _ := json.Marshal(answer)
	return string(out)
}

// play runs a mapping for a time, in which nothing really waits.
func play(t *testing.T, m mapping.Mapping, q *fakeQueue, f *function, d time.Duration) {
	t.Helper()
	f.t, f.start = t, time.Now()
	if q.visibility == 0 {
		q.visibility = time.Minute
	}
	m.Queue, m.URL, m.Invoke = q, "http://queue", f.invoke
	if m.ARN == "" {
		m.ARN = standardARN
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	m.Run(ctx)
}

func TestABatchIsWhatOneCallBrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, f := &fakeQueue{}, &function{}
		q.send("", "a", "b", "c")
		play(t, mapping.Mapping{BatchSize: 2}, q, f, time.Minute)
		require.Equal(t, []invocation{{0, "a,b"}, {0, "c"}}, f.got)
		require.Equal(t, []string{"a", "b", "c"}, q.deleted)
	})
}

func TestAMessageIsGivenAsLambdaGivesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, f := &fakeQueue{}, &function{}
		sent := time.Now()
		q.send("g", "a")
		var raw map[string]any
		f.does = func(_ int, ev events.SQSEvent) (string, error) { return "", nil }
		m := mapping.Mapping{ARN: fifoARN}
		play(t, m, q, f, time.Second)
		require.Len(t, f.events, 1)
		out, err := json.Marshal(f.events[0])
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(out, &raw))
		require.Equal(t, map[string]any{
			"messageId": "id-a", "receiptHandle": "id-a/1", "body": "a", "md5OfBody": "md5", "md5OfMessageAttributes": "",
			"attributes": map[string]any{
				"ApproximateReceiveCount": "1", "SentTimestamp": fmt.Sprint(sent.UnixMilli()), "MessageGroupId": "g",
			},
			"messageAttributes": map[string]any{"trace": map[string]any{
				"stringValue": "on", "stringListValues": []any{}, "binaryListValues": []any{}, "dataType": "String",
			}},
			"eventSource": "aws:sqs", "eventSourceARN": fifoARN, "awsRegion": "eu-west-1",
		}, raw["Records"].([]any)[0])
	})
}

func TestAWindowGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, f := &fakeQueue{perReceive: 10}, &function{}
		go func() {
			for i := range 25 {
				q.send("", fmt.Sprint(i))
				time.Sleep(100 * time.Millisecond)
			}
		}()
		play(t, mapping.Mapping{BatchSize: 20, Window: 5 * time.Second}, q, f, time.Minute)
		require.Len(t, f.got, 2)
		require.Len(t, f.events[0].Records, 20, "a full batch does not wait")
		require.InDelta(t, 1.9, f.got[0].at.Seconds(), 0.2)
		require.Len(t, f.events[1].Records, 5)
		require.InDelta(t, 7, f.got[1].at.Seconds(), 0.5, "until its window closes")
		require.Len(t, q.deleted, 25)
	})
}

func TestOnlyWhatFailedComesAgainWhenItsVisibilityIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, f := &fakeQueue{visibility: 30 * time.Second}, &function{}
		q.send("", "a", "b", "c")
		f.does = func(n int, ev events.SQSEvent) (string, error) {
			if n == 1 {
				return failing(ev, "b"), nil
			}
			return "", nil
		}
		play(t, mapping.Mapping{ReportBatchItemFailures: true}, q, f, time.Minute)
		require.Equal(t, "a,b,c", f.got[0].bodies)
		require.Equal(t, "b", f.got[1].bodies)
		require.InDelta(t, 30, f.got[1].at.Seconds(), 0.2)
		require.Equal(t, "2", f.events[1].Records[0].Attributes["ApproximateReceiveCount"])
		require.Equal(t, []string{"a", "c", "b"}, q.deleted)
	})
}

func TestWhatIsFailedTooOftenIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, f := &fakeQueue{visibility: 10 * time.Second, maxReceives: 3}, &function{}
		q.send("", "a", "b")
		f.does = func(_ int, ev events.SQSEvent) (string, error) { return failing(ev, "a"), nil }
		play(t, mapping.Mapping{ReportBatchItemFailures: true}, q, f, 2*time.Minute)
		require.Len(t, f.got, 3)
		require.Equal(t, []string{"a"}, q.dead)
		require.Equal(t, []string{"b"}, q.deleted)
		require.Empty(t, q.messages)
	})
}

func TestWhatAnAnswerKeeps(t *testing.T) {
	for name, c := range map[string]struct {
		answer  string
		err     error
		deleted string
	}{
		"nothing said":            {"", nil, "a,b"},
		"null":                    {"null", nil, "a,b"},
		"an empty object":         {"{}", nil, "a,b"},
		"an empty list":           {`{"batchItemFailures":[]}`, nil, "a,b"},
		"a null list":             {`{"batchItemFailures":null}`, nil, "a,b"},
		"one":                     {`{"batchItemFailures":[{"itemIdentifier":"id-a"}]}`, nil, "b"},
		"both":                    {`{"batchItemFailures":[{"itemIdentifier":"id-a"},{"itemIdentifier":"id-b"}]}`, nil, ""},
		"no JSON":                 {`{"batchItem`, nil, ""},
		"text":                    {`"fine"`, nil, ""},
		"no list":                 {`{"batchItemFailures":"id-a"}`, nil, ""},
		"an empty id":             {`{"batchItemFailures":[{"itemIdentifier":""}]}`, nil, ""},
		"a null id":               {`{"batchItemFailures":[{"itemIdentifier":null}]}`, nil, ""},
		"a misspelt id":           {`{"batchItemFailures":[{"ItemIdentifier":"id-a"}]}`, nil, ""},
		"a misspelt list":         {`{"BatchItemFailures":[{"itemIdentifier":"id-a"}]}`, nil, "a,b"},
		"an id of no message":     {`{"batchItemFailures":[{"itemIdentifier":"id-z"}]}`, nil, ""},
		"an error":                {"", errors.New("timed out"), ""},
		"an error after answers":  {`{"batchItemFailures":[]}`, errors.New("x"), ""},
		"one twice":               {`{"batchItemFailures":[{"itemIdentifier":"id-a"},{"itemIdentifier":"id-a"}]}`, nil, "b"},
		"one and one of no batch": {`{"batchItemFailures":[{"itemIdentifier":"id-a"},{"itemIdentifier":"z"}]}`, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, f := &fakeQueue{}, &function{}
				q.send("", "a", "b")
				f.does = func(int, events.SQSEvent) (string, error) { return c.answer, c.err }
				play(t, mapping.Mapping{ReportBatchItemFailures: true}, q, f, 10*time.Second)
				require.Equal(t, c.deleted, strings.Join(q.deleted, ","))
			})
		})
	}
}

func TestWithoutReportsAnInvocationIsDoneWithAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, f := &fakeQueue{}, &function{}
		q.send("", "a", "b")
		f.does = func(n int, ev events.SQSEvent) (string, error) {
			if n == 1 {
				return "", errors.New("as asked")
			}
			return failing(ev, "a"), nil
		}
		play(t, mapping.Mapping{}, q, f, 90*time.Second)
		require.Len(t, f.got, 2)
		require.Equal(t, []string{"a", "b"}, q.deleted)
	})
}

func TestNoMoreAreTakenThanThereIsConcurrencyFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, f := &fakeQueue{}, &function{}
		for i := range 10 {
			q.send("", fmt.Sprint(i))
		}
		f.does = func(int, events.SQSEvent) (string, error) {
			time.Sleep(5 * time.Second)
			return "", nil
		}
		play(t, mapping.Mapping{BatchSize: 1, Concurrency: 3}, q, f, time.Minute)
		require.Equal(t, 3, f.most)
		require.Len(t, f.got, 10, "none was received twice: none waited with its visibility running")
		require.InDelta(t, 15, f.got[9].at.Seconds(), 0.5)
	})
}

func TestAGroupHasOneBatchAtWork(t *testing.T) {
	for _, loose := range []bool{false, true} { // whatever the endpoint does
		synctest.Test(t, func(t *testing.T) {
			q, f := &fakeQueue{visibility: 20 * time.Second, loose: loose}, &function{}
			q.send("x", "x1", "x2", "x3")
			q.send("y", "y1")
			at := map[string]int{}
			var mu sync.Mutex
			f.does = func(n int, ev events.SQSEvent) (string, error) {
				for _, r := range ev.Records {
					mu.Lock()
					at[r.Attributes["MessageGroupId"]]++
					require.Equal(t, 1, at[r.Attributes["MessageGroupId"]])
					mu.Unlock()
				}
				time.Sleep(5 * time.Second)
				for _, r := range ev.Records {
					mu.Lock()
					at[r.Attributes["MessageGroupId"]]--
					mu.Unlock()
				}
				if n == 1 {
					return failing(ev, "x1"), nil
				}
				return "", nil
			}
			play(t, mapping.Mapping{ARN: fifoARN, BatchSize: 1, Concurrency: 4, ReportBatchItemFailures: true}, q, f, 5*time.Minute)
			require.Empty(t, q.messages)
			if !loose {
				require.Less(t, slices.Index(q.deleted, "x1"), slices.Index(q.deleted, "x2"))
				require.Less(t, slices.Index(q.deleted, "x2"), slices.Index(q.deleted, "x3"))
			}
			require.Equal(t, 2, f.most, "the groups are worked on side by side")
		})
	}
}

func TestABatchLargerThanAnInputIsParted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, f := &fakeQueue{}, &function{}
		for i := range 10 {
			q.send("", strings.Repeat(fmt.Sprint(i), 1<<20-100))
		}
		play(t, mapping.Mapping{}, q, f, 10*time.Second)
		var parts []int // lengths only: nobody wants to read these messages
		for _, ev := range f.events {
			parts = append(parts, len(ev.Records))
		}
		require.Equal(t, []int{5, 5}, parts)
		require.Equal(t, 10, len(q.deleted))
	})
}

func TestFaultsOfSQSAreWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, f := &fakeQueue{failReceive: 3, refuse: 3}, &function{}
		q.send("", "a", "b")
		play(t, mapping.Mapping{}, q, f, 30*time.Second)
		require.Equal(t, []invocation{{3 * time.Second, "a,b"}}, f.got)
		require.Equal(t, []string{"b", "a"}, q.deleted, "b with the second call and a with the third")
	})
}

func TestWhatSQSDoesNotDeleteComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, f := &fakeQueue{refuse: 3}, &function{}
		q.send("", "a")
		play(t, mapping.Mapping{}, q, f, 90*time.Second)
		require.Len(t, f.got, 2)
		require.Equal(t, []string{"a"}, q.deleted)
	})
}
