package localstack

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
	"github.com/keytrail/keytrail/internal/localstack/runtimeapi"
)

func sqsOf(endpoint string) *sqs.Client { return sqs.NewFromConfig(configOf(endpoint)) }

// PutLog puts a log file, compressed with gzip, into the trail's bucket, which
// notifies the ingest queue. A file of a trail with a prefix, or of a second
// trail, is one whose key begins with it.
func (s *Stack) PutLog(ctx context.Context, key string, gz []byte) error {
	_, err := s.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(TrailBucket), Key: &key, Body: bytes.NewReader(gz)})
	if err != nil {
		return fmt.Errorf("put a log file: %w", err)
	}
	return nil
}

// PutLogUnseen puts a log file into the trail's bucket, and S3 forgets to notify
// the queue.
func (s *Stack) PutLogUnseen(ctx context.Context, key string, gz []byte) error {
	_, err := s.s3().PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String(TrailBucket), NotificationConfiguration: &s3types.NotificationConfiguration{},
	})
	if err != nil {
		return fmt.Errorf("silence the trail's bucket: %w", err)
	}
	return errors.Join(s.PutLog(ctx, key, gz), s.createNotification(ctx))
}

// Feed puts the log files of a folder into the trail's bucket as CloudTrail
// would have over days: those of a day, then a tick, then those of the next. The
// schedules wait meanwhile. last, when not 0, is how many of the last days there
// are files of are put. It returns how many files it put, and tells progress of
// each day.
//
// A key is the file's path from AWSLogs on, or from the folder on when there is
// no AWSLogs.
func (s *Stack) Feed(ctx context.Context, dir string, last int, progress func(day string, files int)) (n int, err error) {
	paths, err := logFiles(dir)
	if err != nil {
		return 0, err
	}
	s.held.Store(true)
	defer s.held.Store(false)
	var days []string
	byDay := map[string][]string{}
	for _, path := range paths {
		day, _, _ := strings.Cut(delivered(path), "T")
		if len(byDay[day]) == 0 {
			days = append(days, day)
		}
		byDay[day] = append(byDay[day], path)
	}
	if last > 0 {
		days = days[max(0, len(days)-last):]
	}
	for _, day := range days {
		for _, path := range byDay[day] {
			if err := putFile(ctx, s, dir, path); err != nil {
				return n, err
			}
			n++
		}
		if err := s.analyse(ctx); err != nil {
			return n, err
		}
		progress(day, len(byDay[day]))
	}
	return n, nil
}

// Feed puts the log files of a folder into the trail's bucket of a stack of
// another process, at its Endpoint, and waits for nothing.
func Feed(ctx context.Context, endpoint, dir string) (n int, err error) {
	paths, err := logFiles(dir)
	if err != nil {
		return 0, err
	}
	for _, path := range paths {
		if err := putFile(ctx, &Stack{Endpoint: endpoint}, dir, path); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// logFiles returns the log files of a folder, in the order of delivery.
func logFiles(dir string) (paths []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".json.gz") {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for log files: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("look for log files: %s has none that end in .json.gz", dir)
	}
	slices.SortStableFunc(paths, func(a, b string) int { return cmp.Compare(delivered(a), delivered(b)) })
	return paths, nil
}

func putFile(ctx context.Context, s *Stack, dir, path string) error {
	body, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read a log file: %w", err)
	}
	return s.PutLog(ctx, keyOf(dir, path), body)
}

// delivered is the part of a file's name that says when it was delivered, as in
// 111122223333_CloudTrail_eu-west-1_20260302T0005Z_abc.json.gz; empty without.
func delivered(path string) string {
	if parts := strings.Split(filepath.Base(path), "_"); len(parts) >= 5 {
		return parts[len(parts)-2]
	}
	return ""
}

// keyOf is the key of a file.
func keyOf(dir, path string) string {
	key := filepath.ToSlash(path)
	if i := strings.LastIndex("/"+key, "/AWSLogs/"); i >= 0 {
		return key[i:]
	}
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return filepath.Base(path)
	}
	return filepath.ToSlash(rel)
}

// trailCalls are the calls of CloudTrail that template.yaml's rule lets through.
var trailCalls = []string{
	"CreateEventDataStore", "CreateTrail", "DeleteTrail", "PutEventSelectors", "StopLogging", "UpdateEventDataStore", "UpdateTrail",
}

// PutEventBridge lets EventBridge deliver CloudTrail records that the rules of
// template.yaml let through, in EventBridge's envelope, and returns how many
// those were. Records of calls that read go through only with Options.Reads.
func (s *Stack) PutEventBridge(ctx context.Context, records ...json.RawMessage) (n int, err error) {
	var entries []types.SendMessageBatchRequestEntry
	for i, r := range records {
		body, err := s.envelope(r)
		if err != nil {
			return 0, fmt.Errorf("put record %d on EventBridge: %w", i, err)
		}
		if body != nil {
			entries = append(entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(string(body))})
		}
	}
	for batch := range slices.Chunk(entries, 10) {
		out, err := s.sqs().SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: aws.String(queueNamed(queueIngest).url(s.Endpoint)), Entries: batch})
		if err != nil {
			return n, fmt.Errorf("put records on EventBridge: %w", err)
		}
		if len(out.Failed) > 0 {
			return n, fmt.Errorf("put records on EventBridge: %s", aws.ToString(out.Failed[0].Message))
		}
		n += len(batch)
	}
	return n, nil
}

// envelope wraps a record as EventBridge does; nil when no rule lets it through.
func (s *Stack) envelope(record json.RawMessage) ([]byte, error) {
	var r struct {
		EventID     string `json:"eventID"`
		EventSource string `json:"eventSource"`
		EventName   string `json:"eventName"`
		EventType   string `json:"eventType"`
		EventTime   string `json:"eventTime"`
		Region      string `json:"awsRegion"`
		Account     string `json:"recipientAccountId"`
		ReadOnly    bool   `json:"readOnly"`
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return nil, err
	}
	kind := map[string]string{"AwsApiCall": "AWS API Call via CloudTrail", "AwsServiceEvent": "AWS Service Event via CloudTrail"}[r.EventType]
	source := "aws." + strings.TrimSuffix(r.EventSource, ".amazonaws.com")
	switch {
	case kind == "", r.ReadOnly && !s.o.Reads:
		return nil, nil
	case source == "aws.kms":
	case source == "aws.cloudtrail" && r.EventType == "AwsApiCall" && slices.Contains(trailCalls, r.EventName):
	default:
		return nil, nil
	}
	id := sha256.Sum256([]byte(r.EventID)) // EventBridge draws one; the same record has the same here
	return json.Marshal(map[string]any{
		"version": "0", "id": fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16]),
		"detail-type": kind, "source": source, "account": r.Account, "time": r.EventTime, "region": r.Region,
		"resources": []string{}, "detail": record,
	})
}

// PutMessage puts a message into the ingest queue as it is.
func (s *Stack) PutMessage(ctx context.Context, body string) error {
	_, err := s.sqs().SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String(queueNamed(queueIngest).url(s.Endpoint)), MessageBody: &body})
	if err != nil {
		return fmt.Errorf("put a message: %w", err)
	}
	return nil
}

// Invoke runs a function once with an input, when its concurrency allows it.
func (s *Stack) Invoke(ctx context.Context, name string, payload []byte) ([]byte, error) {
	r := s.runtimes[name]
	if r == nil {
		return nil, fmt.Errorf("there is no function %q", name)
	}
	for {
		answer, err := answerOf(r.Invoke(ctx, payload))
		if !errors.Is(err, runtimeapi.ErrThrottled) {
			return answer, err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// TickReport is what analyze says of a tick.
type TickReport struct {
	Held   bool  `json:"held"` // another was at work; nothing was done
	Events int64 `json:"events"`
	Alerts int   `json:"alerts"`
	Queued int   `json:"queued"`
	Left   int64 `json:"left"`
}

// Tick runs analyze now, once for each shard, and not beside one of the
// schedule. What it returns is of all shards together.
func (s *Stack) Tick(ctx context.Context) (sum TickReport, err error) {
	fn := functionNamed(Analyze)
	for _, input := range s.inputs(fn) {
		answer, err := s.Invoke(ctx, Analyze, input)
		if err != nil {
			return sum, fmt.Errorf("tick: %w", err)
		}
		var rep TickReport
		if err := json.Unmarshal(answer, &rep); err != nil {
			return sum, fmt.Errorf("read analyze's answer: %w", err)
		}
		sum.Held = sum.Held || rep.Held
		sum.Events, sum.Alerts, sum.Queued, sum.Left = sum.Events+rep.Events, sum.Alerts+rep.Alerts, sum.Queued+rep.Queued, sum.Left+rep.Left
	}
	return sum, nil
}

// Settle waits until all that was put into the stack is through: ingest's queue
// is empty, a tick finds nothing, notify's queue is empty. A tick that fails is
// tried again. It ends with ctx.
func (s *Stack) Settle(ctx context.Context) error {
	if err := s.analyse(ctx); err != nil {
		return err
	}
	return s.drained(ctx, queueNotify)
}

// analyse waits until ingest's queue is empty, and runs ticks until one finds
// nothing.
func (s *Stack) analyse(ctx context.Context) error {
	if err := s.drained(ctx, queueIngest); err != nil {
		return err
	}
	for {
		rep, err := s.Tick(ctx)
		if err == nil && !rep.Held && rep.Events == 0 && rep.Left == 0 && rep.Queued == 0 {
			return nil
		}
		if err != nil || rep.Held {
			if perr := pause(ctx, 200*time.Millisecond); perr != nil {
				return fmt.Errorf("analyse: %w", errors.Join(perr, err))
			}
		}
	}
}

// drained waits until a queue has nothing, in flight or not.
func (s *Stack) drained(ctx context.Context, name string) error {
	for {
		d, err := s.depth(ctx, name)
		if err == nil && d == (Depth{}) {
			return nil
		}
		if perr := pause(ctx, 100*time.Millisecond); perr != nil {
			return fmt.Errorf("wait until %s is empty, which has %+v: %w", name, d, errors.Join(perr, err))
		}
	}
}

// Depth is how many messages a queue has.
type Depth struct {
	Waiting  int // to be received
	InFlight int // received and not deleted, or delayed
}

// Depths returns the depth of each queue.
func (s *Stack) Depths(ctx context.Context) (map[string]Depth, error) {
	depths := map[string]Depth{}
	for _, q := range queues {
		d, err := s.depth(ctx, q.name)
		if err != nil {
			return nil, err
		}
		depths[q.name] = d
	}
	return depths, nil
}

func (s *Stack) depth(ctx context.Context, name string) (d Depth, err error) {
	out, err := s.sqs().GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(queue{name: name}.url(s.Endpoint)), AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		return d, fmt.Errorf("ask how long %s is: %w", name, err)
	}
	number := func(name types.QueueAttributeName) int {
		n, nerr := strconv.Atoi(out.Attributes[string(name)])
		err = errors.Join(err, nerr)
		return n
	}
	d.Waiting = number(types.QueueAttributeNameApproximateNumberOfMessages)
	d.InFlight = number(types.QueueAttributeNameApproximateNumberOfMessagesNotVisible) + number(types.QueueAttributeNameApproximateNumberOfMessagesDelayed)
	return d, err
}

// SlackMessages returns all messages of all channels with the replies in
// threads, in the order in which they were posted.
func (s *Stack) SlackMessages() []slacktest.Message {
	var all []slacktest.Message
	for _, c := range s.channels {
		for _, m := range s.Slack.Messages(c.ID) {
			all = append(all, m)
			for _, r := range s.Slack.Thread(c.ID, m.TS) {
				if r.Subtype != "thread_broadcast" { // the channel has those
					all = append(all, r)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b slacktest.Message) int { return cmp.Compare(a.TS, b.TS) })
	return all
}

// ChannelName is the name of a channel, without #.
func (s *Stack) ChannelName(id string) string {
	for _, c := range s.channels {
		if c.ID == id {
			return c.Name
		}
	}
	return id
}

// Environment are variables for programs that are to speak to the stack: those
// of the AWS SDKs, and those by which keytrail's verbs find a deployed stack.
func (s *Stack) Environment() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.Endpoint, "AWS_REGION=" + Region, "AWS_ACCESS_KEY_ID=testing", "AWS_SECRET_ACCESS_KEY=testing",
		"KEYTRAIL_BUCKET=" + LakeBucket, "KEYTRAIL_TABLE=" + Table,
		"KEYTRAIL_INGEST_QUEUE=" + queueNamed(queueIngest).url(s.Endpoint),
		"KEYTRAIL_NOTIFY_QUEUE=" + queueNamed(queueNotify).url(s.Endpoint),
	}
}

// pause waits, and fails when ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
