package front_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/internal/localstack/front"
)

// world is a front before a server of the test's, and what it was told.
type world struct {
	*front.Endpoint
	t *testing.T

	mu     sync.Mutex
	calls  []front.Call
	asked  []string // "TARGET BODY" of what came through, or "METHOD PATH"
	killed int
}

func newWorld(t *testing.T, answer http.HandlerFunc) *world {
	t.Helper()
	w := &world{t: t}
	upstream := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		what := r.Method + " " + r.URL.Path
		if target := r.Header.Get("X-Amz-Target"); target != "" {
			what = target[strings.LastIndexByte(target, '.')+1:] + " " + string(body)
		}
		w.mu.Lock()
		w.asked = append(w.asked, what)
		w.mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		answer(rw, r)
	}))
	t.Cleanup(upstream.Close)
	f, err := front.New(upstream.URL, "111122223333")
	require.NoError(t, err)
	w.Endpoint, err = f.Open(front.Caller{
		Name: "ingest",
		Record: func(c front.Call) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.calls = append(w.calls, c)
		},
		Kill: func() int {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.killed++
			return 1
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return w
}

func (w *world) config() aws.Config {
	return aws.Config{
		Region: "eu-west-1", BaseEndpoint: &w.URL, Credentials: credentials.NewStaticCredentialsProvider("testing", "testing", ""),
		RetryMaxAttempts: 1,
	}
}

func (w *world) s3() *s3.Client {
	return s3.NewFromConfig(w.config(), func(o *s3.Options) { o.UsePathStyle = true })
}
func (w *world) sqs() *sqs.Client { return sqs.NewFromConfig(w.config()) }

func empty(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }

// TestCallsHaveTheNamesOfPolicies makes each call with AWS's own client. What it
// makes of the answer does not matter here.
func TestCallsHaveTheNamesOfPolicies(t *testing.T) {
	queue := aws.String("http://anywhere/111122223333/notify.fifo")
	key := map[string]ddbtypes.AttributeValue{"pk": &ddbtypes.AttributeValueMemberS{Value: "x"}}
	table := aws.String("keytrail")
	const (
		bucketARN = "arn:aws:s3:::lake"
		tableARN  = "arn:aws:dynamodb:eu-west-1:111122223333:table/keytrail"
		queueARN  = "arn:aws:sqs:eu-west-1:111122223333:notify.fifo"
		trailARN  = "arn:aws:cloudtrail:eu-west-1:444455556666:trail/organisation"
		secretARN = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:slack-AbCdEf" //nolint:gosec // the name of one
	)
	for name, c := range map[string]struct {
		do   func(ctx context.Context, w *world) error
		want []string
	}{
		"GetObject": {func(ctx context.Context, w *world) error {
			_, err := w.s3().GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("lake"), Key: aws.String("uses/a b=c/d.parquet")})
			return err
		}, []string{"s3:GetObject " + bucketARN + "/uses/a b=c/d.parquet"}},
		"GetObject of a version": {func(ctx context.Context, w *world) error {
			_, err := w.s3().GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("lake"), Key: aws.String("k"), VersionId: aws.String("v")})
			return err
		}, []string{"s3:GetObjectVersion " + bucketARN + "/k"}},
		"HeadObject": {func(ctx context.Context, w *world) error {
			_, err := w.s3().HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("lake"), Key: aws.String("k")})
			return err
		}, []string{"s3:GetObject " + bucketARN + "/k"}},
		"PutObject": {func(ctx context.Context, w *world) error {
			_, err := w.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("lake"), Key: aws.String("k"), Body: strings.NewReader("x")})
			return err
		}, []string{"s3:PutObject " + bucketARN + "/k"}},
		"CopyObject": {func(ctx context.Context, w *world) error {
			_, err := w.s3().CopyObject(ctx, &s3.CopyObjectInput{Bucket: aws.String("lake"), Key: aws.String("k"), CopySource: aws.String("trail/a%20b")})
			return err
		}, []string{"s3:GetObject arn:aws:s3:::trail/a b", "s3:PutObject " + bucketARN + "/k"}},
		"DeleteObject": {func(ctx context.Context, w *world) error {
			_, err := w.s3().DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("lake"), Key: aws.String("k")})
			return err
		}, []string{"s3:DeleteObject " + bucketARN + "/k"}},
		"DeleteObjects": {func(ctx context.Context, w *world) error {
			_, err := w.s3().DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: aws.String("lake"), Delete: &s3types.Delete{
				Objects: []s3types.ObjectIdentifier{{Key: aws.String("a")}, {Key: aws.String("b")}},
			}})
			return err
		}, []string{"s3:DeleteObject " + bucketARN + "/a", "s3:DeleteObject " + bucketARN + "/b"}},
		"ListObjectsV2": {func(ctx context.Context, w *world) error {
			_, err := w.s3().ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("lake"), Prefix: aws.String("inbox/")})
			return err
		}, []string{"s3:ListBucket " + bucketARN}},
		"GetItem": {func(ctx context.Context, w *world) error {
			_, err := dynamodb.NewFromConfig(w.config()).GetItem(ctx, &dynamodb.GetItemInput{TableName: table, Key: key})
			return err
		}, []string{"dynamodb:GetItem " + tableARN}},
		"BatchGetItem": {func(ctx context.Context, w *world) error {
			_, err := dynamodb.NewFromConfig(w.config()).BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
				RequestItems: map[string]ddbtypes.KeysAndAttributes{"keytrail": {Keys: []map[string]ddbtypes.AttributeValue{key}}},
			})
			return err
		}, []string{"dynamodb:BatchGetItem " + tableARN}},
		"TransactWriteItems": {func(ctx context.Context, w *world) error {
			put := ddbtypes.TransactWriteItem{Put: &ddbtypes.Put{TableName: table, Item: key}}
			_, err := dynamodb.NewFromConfig(w.config()).TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
				TransactItems: []ddbtypes.TransactWriteItem{
					put, put,
					{Delete: &ddbtypes.Delete{TableName: table, Key: key}},
					{ConditionCheck: &ddbtypes.ConditionCheck{TableName: table, Key: key, ConditionExpression: aws.String("n = :n")}},
				},
			})
			return err
		}, []string{"dynamodb:ConditionCheckItem " + tableARN, "dynamodb:DeleteItem " + tableARN, "dynamodb:PutItem " + tableARN}},
		"SendMessageBatch": {func(ctx context.Context, w *world) error {
			_, err := w.sqs().SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: queue, Entries: []sqstypes.SendMessageBatchRequestEntry{
				{Id: aws.String("0"), MessageBody: aws.String("x")},
			}})
			return err
		}, []string{"sqs:SendMessage " + queueARN}},
		"ChangeMessageVisibility": {func(ctx context.Context, w *world) error {
			_, err := w.sqs().ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: queue, ReceiptHandle: aws.String("r"), VisibilityTimeout: 1})
			return err
		}, []string{"sqs:ChangeMessageVisibility " + queueARN}},
		"GetSecretValue": {func(ctx context.Context, w *world) error {
			_, err := secretsmanager.NewFromConfig(w.config()).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(secretARN)})
			return err
		}, []string{"secretsmanager:GetSecretValue " + secretARN}},
		"GetParameter": {func(ctx context.Context, w *world) error {
			_, err := ssm.NewFromConfig(w.config()).GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("/keytrail/slack")})
			return err
		}, []string{"ssm:GetParameter arn:aws:ssm:eu-west-1:111122223333:parameter/keytrail/slack"}},
		"DescribeTrails": {func(ctx context.Context, w *world) error {
			_, err := cloudtrail.NewFromConfig(w.config()).DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{})
			return err
		}, []string{"cloudtrail:DescribeTrails *"}},
		"GetEventSelectors by name": {func(ctx context.Context, w *world) error {
			_, err := cloudtrail.NewFromConfig(w.config()).GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: aws.String("audit")})
			return err
		}, []string{"cloudtrail:GetEventSelectors arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit"}},
		"GetTrailStatus by ARN": {func(ctx context.Context, w *world) error {
			_, err := cloudtrail.NewFromConfig(w.config()).GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: aws.String(trailARN)})
			return err
		}, []string{"cloudtrail:GetTrailStatus " + trailARN}},
		"a call in a form": {func(ctx context.Context, w *world) error {
			_, err := sts.NewFromConfig(w.config()).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
			return err
		}, []string{"sts:GetCallerIdentity *"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, empty)
			_ = c.do(t.Context(), w) // what is answered is no answer to it
			var got []string
			for _, call := range w.calls {
				require.Equal(t, "ingest", call.Function)
				got = append(got, call.Action+" "+call.Resource)
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestWhoMissesAnObjectMustBeAllowedToList(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNotFound) })
	_, err := w.s3().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("lake"), Key: aws.String("k")})
	require.Error(t, err)
	require.Equal(t, []front.Call{
		{Function: "ingest", Action: "s3:GetObject", Resource: "arn:aws:s3:::lake/k"},
		{Function: "ingest", Action: "s3:ListBucket", Resource: "arn:aws:s3:::lake"},
	}, w.calls)
}

func TestOneCallIsServedAtATime(t *testing.T) {
	var now, most atomic.Int64
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(2 * time.Millisecond)
		now.Add(-1)
		empty(rw, r)
	})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, _ = w.s3().PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("lake"), Key: aws.String(fmt.Sprint(i)), Body: strings.NewReader("x")})
			_, _ = w.sqs().SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: aws.String("http://x/q"), MessageBody: aws.String("x")})
		})
	}
	wg.Wait()
	require.Equal(t, int64(1), most.Load())
}

func TestALongPollEndsWhenSomethingCame(t *testing.T) {
	var filled atomic.Bool
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.Header.Get("X-Amz-Target"), "SendMessage"):
			filled.Store(true)
			empty(rw, r)
		case filled.Load():
			_, _ = io.WriteString(rw, `{"Messages":[{"MessageId":"1","ReceiptHandle":"r","Body":"x"}]}`)
		default:
			empty(rw, r)
		}
	})
	got := make(chan int)
	began := time.Now()
	go func() {
		out, err := w.sqs().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: aws.String("http://x/q"), WaitTimeSeconds: 20})
		if err != nil {
			got <- -1
			return
		}
		got <- len(out.Messages)
	}()
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.asked) > 0
	}, 10*time.Second, time.Millisecond)
	require.Contains(t, w.asked[0], `"WaitTimeSeconds":0`, "moto does not wait")
	_, err := w.sqs().SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: aws.String("http://x/q"), MessageBody: aws.String("x")})
	require.NoError(t, err)
	require.Equal(t, 1, <-got)
	require.Less(t, time.Since(began), 10*time.Second)

	filled.Store(false)
	out, err := w.sqs().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: aws.String("http://x/q"), WaitTimeSeconds: 1})
	require.NoError(t, err)
	require.Empty(t, out.Messages, "it ends when it has waited enough, too")
}

// fifo answers as moto does to what is sent, with ids in order.
func fifo() http.HandlerFunc {
	n := 0
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		const md5OfX = "9dd4e461268c8034f5c8564e155c67a6"
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "SendMessage") {
			n++
			_, _ = fmt.Fprintf(w, `{"MessageId":"m%d","MD5OfMessageBody":%q}`, n, md5OfX)
			return
		}
		var done []string
		for _, id := range []string{"0", "1", "2"} {
			if strings.Contains(string(body), `"Id":"`+id+`"`) {
				n++
				done = append(done, fmt.Sprintf(`{"Id":%q,"MessageId":"m%d","MD5OfMessageBody":%q}`, id, n, md5OfX))
			}
		}
		_, _ = io.WriteString(w, `{"Successful":[`+strings.Join(done, ",")+`],"Failed":[]}`)
	}
}

func TestWhatWasSentToAFIFOQueueIsDroppedForFiveMinutes(t *testing.T) {
	w := newWorld(t, fifo())
	queue := aws.String("http://x/notify.fifo")
	send := func(dedup string) string {
		out, err := w.sqs().SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: queue, MessageBody: aws.String("x"), MessageGroupId: aws.String("g"), MessageDeduplicationId: &dedup,
		})
		require.NoError(t, err)
		return *out.MessageId
	}
	require.Equal(t, "m1", send("a"))
	require.Equal(t, "m1", send("a"), "the answer is that of the first")
	require.Equal(t, "m2", send("b"))
	require.Len(t, w.asked, 2)

	entry := func(id, dedup string) sqstypes.SendMessageBatchRequestEntry {
		return sqstypes.SendMessageBatchRequestEntry{Id: &id, MessageBody: aws.String("x"), MessageGroupId: aws.String("g"), MessageDeduplicationId: &dedup}
	}
	batch := func(entries ...sqstypes.SendMessageBatchRequestEntry) map[string]string {
		out, err := w.sqs().SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{QueueUrl: queue, Entries: entries})
		require.NoError(t, err)
		require.Empty(t, out.Failed)
		ids := map[string]string{}
		for _, s := range out.Successful {
			ids[*s.Id] = *s.MessageId
		}
		return ids
	}
	require.Equal(t, map[string]string{"0": "m2", "1": "m3", "2": "m1"}, batch(entry("0", "b"), entry("1", "c"), entry("2", "a")))
	require.Len(t, w.asked, 3)
	require.Equal(t, map[string]string{"0": "m3"}, batch(entry("0", "c")))
	require.Len(t, w.asked, 3, "nothing is left to send")

	queue = aws.String("http://x/ingest")
	require.Equal(t, "m4", send("a"), "another queue, and no FIFO queue")
	require.Equal(t, "m5", send("a"))
}

// get asks for an object and says how that ended.
func (w *world) get(ctx context.Context) string {
	out, err := w.s3().GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("lake"), Key: aws.String("k")})
	var api smithy.APIError
	switch {
	case errors.As(err, &api):
		return api.ErrorCode()
	case err != nil:
		return "lost"
	}
	_, err = io.ReadAll(out.Body)
	if _ = out.Body.Close(); err != nil {
		return "cut"
	}
	return "ok"
}

func TestASeedGivesTheSameFaults(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, strings.Repeat("x", 1000)) })
	play := func(seed uint64) (ends []string) {
		w.SetFaults(&front.Faults{Seed: seed, Rate: 0.3, Kill: 0.05})
		for range 200 {
			ends = append(ends, w.get(t.Context()))
		}
		return ends
	}
	a := play(1)
	require.Equal(t, a, play(1))
	require.NotEqual(t, a, play(2))
	seen := map[string]int{}
	for _, end := range a {
		seen[end]++
	}
	for _, end := range []string{"ok", "lost", "cut", "InternalError", "SlowDown"} {
		require.Positive(t, seen[end], "%s in %v", end, seen)
	}
	require.Positive(t, w.killed)

	w.SetFaults(nil)
	for range 50 {
		require.Equal(t, "ok", w.get(t.Context()))
	}
}

func TestABatchMayBeDoneInPart(t *testing.T) {
	w := newWorld(t, fifo())
	w.SetFaults(&front.Faults{Seed: 3, Rate: 1})
	id := func(n int) *string { return aws.String(fmt.Sprint(n)) }
	done, failed := 0, 0
	for range 100 {
		before := len(w.asked)
		in := &sqs.SendMessageBatchInput{QueueUrl: aws.String("http://x/ingest")}
		for n := range 3 {
			in.Entries = append(in.Entries, sqstypes.SendMessageBatchRequestEntry{Id: id(n), MessageBody: aws.String("x")})
		}
		out, err := w.sqs().SendMessageBatch(t.Context(), in)
		if err != nil || len(out.Failed) == 0 {
			continue
		}
		require.Len(t, w.asked, before+1)
		for _, f := range out.Failed {
			require.False(t, f.SenderFault)
			require.NotContains(t, w.asked[before], `"Id":"`+*f.Id+`"`)
		}
		require.Equal(t, 3, len(out.Failed)+len(out.Successful))
		done, failed = done+len(out.Successful), failed+len(out.Failed)
	}
	require.Positive(t, done)
	require.Positive(t, failed)
}
