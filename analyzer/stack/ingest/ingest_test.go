package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/remote"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/stack/config"
)

const (
	logKey   = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/02/111122223333_CloudTrail_eu-west-1_20260302T0905Z_AbCdEfGhIjKlMnOp.json.gz"
	testKey  = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	s3Record = `{"Records":[{"eventSource":"aws:s3","eventName":"%s","s3":{"bucket":{"name":"logs"},"object":{"key":"%s","size":7,"eTag":"e1","versionId":"v1"}}}]}`
)

func TestEveryKindOfNotificationIsKnown(t *testing.T) {
	encoded := "a%2Bb+c/x.json.gz"
	s3 := fmt.Sprintf(s3Record, "ObjectCreated:Put", encoded)
	quoted, err := json.Marshal(s3)
	require.NoError(t, err)
	there := []object{{Bucket: "logs", Key: "a+b c/x.json.gz", Version: "v1", ETag: "e1", Size: 7}}
	for _, test := range []struct {
		name, body string
		want       delivery
	}{
		{"S3", s3, delivery{objects: there}},
		{"S3 through SNS", `{"Type":"Notification","Message":` + string(quoted) + `}`, delivery{objects: there}},
		{
			"S3 through EventBridge, whose keys are not encoded",
			`{"source":"aws.s3","detail-type":"Object Created","detail":{"bucket":{"name":"logs"},"object":{"key":"a+b c/x.json.gz","size":7,"etag":"e1","version-id":"v1"}}}`,
			delivery{objects: there},
		},
		{
			"CloudTrail's own through SNS", `{"s3Bucket":"logs","s3ObjectKey":["a.gz","b.gz"]}`,
			delivery{objects: []object{{Bucket: "logs", Key: "a.gz"}, {Bucket: "logs", Key: "b.gz"}}},
		},
		{"S3's test", `{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"logs"}`, delivery{ignored: "S3's test of the notification"}},
		{"an object removed", fmt.Sprintf(s3Record, "ObjectRemoved:Delete", "x"), delivery{ignored: "S3's ObjectRemoved:Delete"}},
		{"SNS's confirmation", `{"Type":"SubscriptionConfirmation","SubscribeURL":"https://example.com"}`, delivery{ignored: "SNS's SubscriptionConfirmation"}},
		{"an object tagged, through EventBridge", `{"source":"aws.s3","detail-type":"Object Tags Added","detail":{}}`, delivery{ignored: "S3's Object Tags Added"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parse(test.body)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
	for _, kind := range []string{"AWS API Call via CloudTrail", "AWS Service Event via CloudTrail"} {
		body := `{"detail-type":"` + kind + `","detail":{"eventSource":"kms.amazonaws.com"}}`
		got, err := parse(body)
		require.NoError(t, err)
		require.Equal(t, []json.RawMessage{json.RawMessage(body)}, got.calls)
	}
}

func TestWhatIsNoNotificationIsTold(t *testing.T) {
	nested := `{"Type":"Notification","Message":"x"}`
	for range 4 {
		quoted, err := json.Marshal(nested)
		require.NoError(t, err)
		nested = `{"Type":"Notification","Message":` + string(quoted) + `}`
	}
	for name, body := range map[string]string{
		"no JSON": "hello", "nothing": "", "an array": "[]", "another object": `{"what":1}`, "envelopes without end": nested,
		"an unknown record": `{"Records":[{"eventSource":"aws:sqs"}]}`, "no bucket": `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put"}]}`,
		"a key that is wrongly encoded": fmt.Sprintf(s3Record, "ObjectCreated:Put", "%zz"),
		"an unknown event of KMS":       `{"source":"aws.kms","detail-type":"KMS Something"}`,
		"a KMS event without key":       `{"source":"aws.kms","detail-type":"KMS CMK Deletion","id":"1","account":"111122223333","region":"eu-west-1"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(body)
			require.ErrorIs(t, err, errUnknown)
		})
	}
}

func TestADirectEventBecomesTheRecordOfItsEffect(t *testing.T) {
	d, err := parse(`{"version":"0","id":"6a7e8feb-b491-4cf7-a9f1-bf3703467718","detail-type":"KMS CMK Deletion","source":"aws.kms",` +
		`"account":"111122223333","time":"2026-03-02T09:00:00Z","region":"eu-west-1","resources":["` + testKey + `"],"detail":{"key-id":"1234abcd-12ab-34cd-56ef-1234567890ab"}}`)
	require.NoError(t, err)
	require.Len(t, d.calls, 1)
	f := newFixture(t)
	require.Empty(t, f.handle(t, message("m1", string(d.calls[0]))))
	require.Equal(t, int64(1), f.pending(t)[0].Rows)
}

// fixture is an ingest function over services in memory.
type fixture struct {
	*Handler
	lake, trail *cloudtest.Bucket
	clock       *cloudtest.Clock
	metrics     bytes.Buffer
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	clock := cloudtest.NewClock(time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC))
	f := &fixture{
		clock: clock, lake: cloudtest.NewBucket(cloudtest.BucketOptions{Now: clock.Now}), trail: cloudtest.NewBucket(cloudtest.BucketOptions{Now: clock.Now}),
	}
	l, err := remote.Open(remote.Options{Bucket: f.lake, Cache: t.TempDir(), Now: clock.Now})
	require.NoError(t, err)
	catalog, err := config.Catalog()
	require.NoError(t, err)
	f.Handler = &Handler{
		Lakes: []Lake{l}, Buckets: func(string) cloud.Reader { return f.trail }, Events: catalog.Events(), Temp: t.TempDir(),
		Reserve: 10 * time.Second, Now: clock.Now, Log: slog.New(slog.DiscardHandler),
		Metrics: &stack.Metrics{Out: &f.metrics, Stack: "test", Now: clock.Now},
	}
	return f
}

func message(id, body string) events.SQSMessage { return events.SQSMessage{MessageId: id, Body: body} }

// handle returns the ids of the messages that go back.
func (f *fixture) handle(t *testing.T, messages ...events.SQSMessage) (back []string) {
	t.Helper()
	answer, err := f.Handle(t.Context(), events.SQSEvent{Records: messages})
	require.NoError(t, err)
	for _, b := range answer.BatchItemFailures {
		back = append(back, b.ItemIdentifier)
	}
	return back
}

func (f *fixture) pending(t *testing.T) []analyzer.Object {
	t.Helper()
	l, err := remote.Open(remote.Options{Bucket: f.lake, Cache: t.TempDir(), Now: f.clock.Now})
	require.NoError(t, err)
	objects, err := l.Pending(t.Context())
	require.NoError(t, err)
	return objects
}

func (f *fixture) keys(t *testing.T, prefix string) (keys []string) {
	t.Helper()
	objects, _, err := f.lake.List(t.Context(), prefix, "")
	require.NoError(t, err)
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys
}

// record is a DisableKey at a minute of the day.
func record(minute int) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLE","arn":"arn:aws:iam::111122223333:user/alice",`+
		`"accountId":"111122223333","userName":"alice"},"eventTime":"2026-03-02T09:%02d:00Z","eventSource":"kms.amazonaws.com","eventName":"DisableKey",`+
		`"awsRegion":"eu-west-1","sourceIPAddress":"192.0.2.10","userAgent":"aws-cli/2.15.0","requestParameters":{"keyId":"%s"},`+
		`"eventID":"00000000-0000-4000-8000-%012d","readOnly":false,"eventType":"AwsApiCall","recipientAccountId":"111122223333"}`, minute, testKey, minute)
}

// put puts a log into the trail's bucket and returns S3's notification.
func (f *fixture) put(t *testing.T, key string, records ...string) string {
	t.Helper()
	return f.putBytes(t, key, []byte(`{"Records":[`+strings.Join(records, ",")+`]}`))
}

func (f *fixture) putBytes(t *testing.T, key string, text []byte) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(text)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	info, err := f.trail.Put(t.Context(), key, bytes.NewReader(b.Bytes()), cloud.Condition{})
	require.NoError(t, err)
	return fmt.Sprintf(`{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"logs"},"object":{"key":"%s","size":%d,"eTag":"%s"}}}]}`,
		url.QueryEscape(key), b.Len(), strings.Trim(info.ETag, `"`))
}

func TestAnObjectBecomesABatchOnce(t *testing.T) {
	f := newFixture(t)
	body := f.put(t, logKey, record(1), record(2))
	require.Empty(t, f.handle(t, message("m1", body)))
	require.Len(t, f.pending(t), 1)
	before := f.keys(t, "")
	// Again, in another company, and through another way.
	require.Empty(t, f.handle(t, message("m2", body), message("m3", body)))
	eb := `{"source":"aws.s3","detail-type":"Object Created","detail":{"bucket":{"name":"logs"},"object":{"key":"` + logKey + `"}}}`
	require.Empty(t, f.handle(t, message("m4", eb)))
	require.Equal(t, before, f.keys(t, ""))
	require.Contains(t, f.metrics.String(), `"ObjectsKnown":2`)
}

func TestAnObjectWrittenAnewIsReadAnew(t *testing.T) {
	f := newFixture(t)
	require.Empty(t, f.handle(t, message("m1", f.put(t, logKey, record(1)))))
	require.Empty(t, f.handle(t, message("m2", f.put(t, logKey, record(2)))))
	require.Len(t, f.pending(t), 2)
}

func TestDigestsAreNotRead(t *testing.T) {
	f := newFixture(t)
	body := f.put(t, "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/02/111122223333_CloudTrail-Digest_eu-west-1_main_eu-west-1_20260302T090500Z.json.gz")
	require.Empty(t, f.handle(t, message("m1", body)))
	require.Empty(t, f.keys(t, ""))
}

func TestCallsOfAnInvocationAreOneBatch(t *testing.T) {
	f := newFixture(t)
	call := func(minute int) string {
		return `{"detail-type":"AWS API Call via CloudTrail","source":"aws.kms","detail":` + record(minute) + `}`
	}
	require.Empty(t, f.handle(t, message("m1", call(1)), message("m2", call(2)), message("m3", call(1))))
	objects := f.pending(t)
	require.Len(t, objects, 1)
	require.Equal(t, int64(2), objects[0].Rows, "a call that is there twice counts once")
	before := f.keys(t, "")
	require.Empty(t, f.handle(t, message("m2", call(2)), message("m1", call(1))))
	require.Equal(t, before, f.keys(t, ""), "the same calls in another order are the same batch")
}

func TestWhatCannotBeReadGoesToQuarantineAndTheRestIsRead(t *testing.T) {
	f := newFixture(t)
	body := f.putBytes(t, logKey, []byte(`{"Records":[`+record(1)+`,{"eventVersion":"1.11","eventSource":"kms.amazonaws.com","eventName":"Decrypt"},`+record(2)+`,{"cut`))
	require.Empty(t, f.handle(t, message("m1", body), message("m2", "hello")), "to deliver it again would change nothing")
	require.Equal(t, int64(2), f.pending(t)[0].Rows)
	quarantine := f.keys(t, "quarantine/")
	require.Len(t, quarantine, 2)
	all := ""
	for _, key := range quarantine {
		b, _, err := f.lake.Get(t.Context(), key, "", "")
		require.NoError(t, err)
		text, err := io.ReadAll(b)
		require.NoError(t, err)
		all += string(text)
	}
	require.Contains(t, all, "s3://logs/"+logKey)
	require.Contains(t, all, `"record":"hello"`)
}

func TestWhatAServiceRefusesGoesBack(t *testing.T) {
	f := newFixture(t)
	body := f.put(t, logKey, record(1))
	missing := strings.ReplaceAll(body, "AbCdEfGhIjKlMnOp", "MissingMissing00")
	require.Equal(t, []string{"m1"}, f.handle(t, message("m1", missing), message("m2", body)))
	require.Len(t, f.pending(t), 1, "the other message is dealt with")
}

func TestAnAnswerThatBreaksOffIsNoShortFile(t *testing.T) {
	f := newFixture(t)
	body := f.put(t, logKey, record(1), record(2))
	broken := true
	f.Buckets = func(string) cloud.Reader {
		return f.trail.With(cloudtest.Hooks{Faults: func(op string) *cloudtest.Fault {
			if op == "s3.Get" && broken {
				return &cloudtest.Fault{Err: errors.New("connection reset"), After: true}
			}
			return nil
		}})
	}
	require.Equal(t, []string{"m1"}, f.handle(t, message("m1", body)))
	require.Empty(t, f.pending(t))
	require.Empty(t, f.keys(t, "done/"))
	broken = false
	require.Empty(t, f.handle(t, message("m1", body)))
	require.Equal(t, int64(2), f.pending(t)[0].Rows)
}

// ending is a context that ends at a time of a clock that tests move.
type ending struct {
	context.Context
	at time.Time
}

func (e ending) Deadline() (time.Time, bool) { return e.at, true }

func TestNothingIsBegunWithoutTimeToEndIt(t *testing.T) {
	f := newFixture(t)
	body := f.put(t, logKey, record(1))
	answer, err := f.Handle(ending{t.Context(), f.clock.Now().Add(9 * time.Second)}, events.SQSEvent{Records: []events.SQSMessage{message("m1", body)}})
	require.NoError(t, err)
	require.Len(t, answer.BatchItemFailures, 1)
	require.Empty(t, f.keys(t, ""))
}

// refusing is a lake that takes nothing.
type refusing struct{ Lake }

func (refusing) Publish(context.Context, *lake.Lake, lake.Batch) (bool, error) {
	return false, errors.New("no space")
}

func TestCallsThatCannotBeWrittenAllGoBack(t *testing.T) {
	f := newFixture(t)
	f.Lakes = []Lake{refusing{f.Lakes[0]}}
	call := `{"detail-type":"AWS API Call via CloudTrail","detail":` + record(1) + `}`
	require.Equal(t, []string{"m1", "m2"}, f.handle(t, message("m1", call), message("m2", strings.ReplaceAll(call, ":01:", ":02:"))))
}

func TestShardsPartAccountsAndRegions(t *testing.T) {
	f := newFixture(t)
	f.Lakes = nil
	const shards = 4
	for n := range shards {
		l, err := remote.Open(remote.Options{Bucket: f.lake, Cache: t.TempDir(), Now: f.clock.Now, Shard: n, Shards: shards})
		require.NoError(t, err)
		f.Lakes = append(f.Lakes, l)
	}
	var bodies []events.SQSMessage
	for n := range 8 {
		account := fmt.Sprintf("11112222333%d", n)
		moved := strings.ReplaceAll(logKey, "111122223333", account)
		rec := strings.ReplaceAll(record(n+1), "111122223333", account)
		bodies = append(bodies, message(fmt.Sprint("s3-", n), f.put(t, moved, rec)),
			message(fmt.Sprint("eb-", n), `{"detail-type":"AWS API Call via CloudTrail","detail":`+rec+`}`))
	}
	require.Empty(t, f.handle(t, bodies...))
	used := 0
	for n := range shards {
		keys := f.keys(t, fmt.Sprintf("inbox/%d/", n))
		want := map[string]bool{}
		for _, account := range []int{0, 1, 2, 3, 4, 5, 6, 7} {
			if shardOf(fmt.Sprintf("11112222333%d", account), "eu-west-1", shards) == n {
				want[fmt.Sprint(account)] = true
			}
		}
		if len(want) > 0 {
			used++
			require.Len(t, keys, len(want)+1, "a batch for each object and one of all calls")
		} else {
			require.Empty(t, keys)
		}
	}
	require.Greater(t, used, 1)
	// The way in which accounts are parted is for ever.
	require.Equal(t, []int{2, 13, 15}, []int{
		shardOf("111122223333", "eu-west-1", 16), shardOf("111122223333", "us-east-1", 16), shardOf("444455556666", "eu-west-1", 16),
	})
}
