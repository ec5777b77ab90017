package localstack

import (
	"fmt"
	"runtime"
	"strconv"
	"time"
)

// Names in the stack, as template.yaml makes them of the stack's name.
const (
	Name        = "keytrail"
	LakeBucket  = "keytrail-lake"
	TrailBucket = "keytrail-trail"
	Table       = "keytrail"
	Region      = "eu-central-1"
	Account     = "111122223333"

	queueIngest     = "keytrail-ingest"
	queueIngestDead = "keytrail-ingest-dlq"
	queueNotify     = "keytrail-notify.fifo"
	queueNotifyDead = "keytrail-notify-dlq.fifo"
)

// Functions of the stack.
const (
	Ingest   = "ingest"
	Analyze  = "analyze"
	Notify   = "notify"
	Doctor   = "doctor"
	Backfill = "backfill"
)

// function is what template.yaml says of a function. A test compares the two.
type function struct {
	name        string
	timeout     time.Duration
	memoryMB    int
	concurrency int // in the cloud; 0 is what the account has
	// queue feeds it, in batches of so many, for which so long is waited.
	queue  string
	batch  int
	window time.Duration
	// every is its schedule, in minutes of the stack's clock. Events of the
	// schedule become maxAge minutes old at most and are tried again so often.
	every, maxAge, retries int
	env                    []string // variables beside those that all have
}

var functions = []function{
	{
		name: Ingest, timeout: 120 * time.Second, memoryMB: 1769, concurrency: 10, queue: queueIngest, batch: 10, window: 3 * time.Second,
		env: []string{"KEYTRAIL_SHARDS"},
	},
	{
		name: Analyze, timeout: 300 * time.Second, memoryMB: 1769, concurrency: 1, every: 1, maxAge: 1,
		env: []string{"KEYTRAIL_TABLE", "KEYTRAIL_NOTIFY_QUEUE", "KEYTRAIL_TEMP_MB", "KEYTRAIL_SHARDS"},
	},
	{
		name: Notify, timeout: 120 * time.Second, memoryMB: 512, concurrency: 4, queue: queueNotify, batch: 10,
		env: []string{"KEYTRAIL_TABLE", "KEYTRAIL_NOTIFY_QUEUE", "KEYTRAIL_SLACK_SECRET"},
	},
	{name: Doctor, timeout: 120 * time.Second, memoryMB: 256, every: 60, maxAge: 30, retries: 2},
	{
		name: Backfill, timeout: 300 * time.Second, memoryMB: 256,
		env: []string{"KEYTRAIL_INGEST_QUEUE", "KEYTRAIL_TRAIL_BUCKET"},
	},
}

func functionNamed(name string) function {
	for _, f := range functions {
		if f.name == name {
			return f
		}
	}
	panic("no function " + name)
}

// analyzeDiskMB is the size of /tmp of analyze. It is told to the function and
// not enforced.
const analyzeDiskMB = 2048

// concurrencyHere is how many of a function run at once on this machine: analyze
// once a shard, others no more often than makes sense on its processors, and
// twice at least where the cloud has several, so that what must not disturb one
// another has the occasion.
func (s *Stack) concurrencyHere(f function) int {
	switch {
	case f.name == Analyze:
		return s.o.Shards
	case f.concurrency == 0:
		return 1
	}
	return min(f.concurrency, max(2, runtime.NumCPU()))
}

// inputs are what the schedule of a function gives it, each in an event of its
// own.
func (s *Stack) inputs(f function) [][]byte {
	if f.name != Analyze {
		return [][]byte{[]byte("{}")}
	}
	var all [][]byte
	for n := range s.o.Shards {
		all = append(all, fmt.Appendf(nil, `{"shard":%d}`, n))
	}
	return all
}

// queue is what template.yaml says of a queue.
type queue struct {
	name        string
	dead        string // its dead-letter queue
	maxReceives int
	visibility  time.Duration
	fifo        bool
}

var queues = []queue{ // a dead-letter queue before the one that needs it
	{name: queueIngestDead},
	{name: queueNotifyDead, fifo: true},
	{name: queueIngest, dead: queueIngestDead, maxReceives: 120, visibility: 750 * time.Second},
	{name: queueNotify, dead: queueNotifyDead, maxReceives: 120, visibility: 750 * time.Second, fifo: true},
}

func (q queue) arn() string { return "arn:aws:sqs:" + Region + ":" + Account + ":" + q.name }

// url is where a function finds a queue. Its host does not matter: clients send
// to the endpoint that they have.
func (q queue) url(endpoint string) string { return endpoint + "/" + Account + "/" + q.name }

func queueNamed(name string) queue {
	for _, q := range queues {
		if q.name == name {
			return q
		}
	}
	panic("no queue " + name)
}

// variables are the environment of a function (docs/aws.md).
func (s *Stack) variables(f function, endpoint string) map[string]string {
	all := map[string]string{
		"KEYTRAIL_TABLE":        Table,
		"KEYTRAIL_INGEST_QUEUE": queueNamed(queueIngest).url(endpoint),
		"KEYTRAIL_NOTIFY_QUEUE": queueNamed(queueNotify).url(endpoint),
		"KEYTRAIL_SLACK_SECRET": s.secretARN,
		"KEYTRAIL_TRAIL_BUCKET": TrailBucket,
		"KEYTRAIL_TEMP_MB":      strconv.Itoa(analyzeDiskMB),
		"KEYTRAIL_SHARDS":       strconv.Itoa(s.o.Shards),
	}
	env := globals(endpoint, s.Slack.URL)
	for _, name := range f.env {
		env[name] = all[name]
	}
	if s.o.Cores > 0 {
		env["GOMAXPROCS"] = strconv.Itoa(s.o.Cores)
	}
	return env
}

// globals are what all functions have.
func globals(endpoint, slack string) map[string]string {
	return map[string]string{
		"KEYTRAIL_STACK": Name, "KEYTRAIL_BUCKET": LakeBucket, "KEYTRAIL_SETTINGS": settingsKey,
		// What the stack on this machine has and that in AWS has not.
		"AWS_ENDPOINT_URL": endpoint, "KEYTRAIL_SLACK_API": slack,
	}
}
