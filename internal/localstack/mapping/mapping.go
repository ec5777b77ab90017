// Package mapping brings the messages of an SQS queue to a Lambda function, as
// Lambda's event-source mappings do
// (docs.aws.amazon.com/lambda/latest/dg/with-sqs.html): it polls, gathers
// batches, invokes, and deletes what the function is done with. What it is not
// done with becomes visible again when the queue's visibility timeout is over;
// the mapping does not touch it, and the queue moves it to its dead-letter queue
// when it was received too often.
//
// The queue is any endpoint that speaks SQS. Of a FIFO queue, whatever that
// endpoint does, no two batches with messages of one group are at work at once.
package mapping

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

const (
	maxReceive   = 10          // messages that SQS gives at once
	maxDelete    = 10          // messages that SQS deletes at once
	maxEvent     = 6 << 20     // bytes of an invocation's input
	deleteTries  = 3           // for what SQS did not delete, by a fault of its own
	pollPause    = time.Second // after SQS did not answer
	deletePause  = 200 * time.Millisecond
	defaultWait  = 20 * time.Second
	defaultBatch = 10
)

// Queue is what the mapping asks of SQS. A *sqs.Client is one.
type Queue interface {
	ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, o ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
}

var _ Queue = (*sqs.Client)(nil)

// Mapping says what is brought where.
type Mapping struct {
	Queue Queue
	URL   string
	ARN   string // of the queue; one that ends in .fifo is a FIFO queue
	// Invoke runs the function. Any error keeps the batch in the queue.
	Invoke func(ctx context.Context, event []byte) (answer []byte, err error)
	// BatchSize is how many messages one invocation gets at most; default 10.
	BatchSize int
	// Window is how long a batch is waited for after its first message. Without,
	// and for FIFO queues, a batch is what one call of SQS brings.
	Window time.Duration
	// Concurrency is how many invocations there are at once; default 1.
	Concurrency int
	// ReportBatchItemFailures makes the function's answer say which messages
	// stay. Without, an invocation that went well is done with all.
	ReportBatchItemFailures bool
	// Wait is how long SQS is to wait for a first message; default 20 s.
	Wait time.Duration
	Log  *slog.Logger // nil drops it
}

// Run brings messages until ctx ends, and returns when the invocations have.
// They get ctx.
func (m Mapping) Run(ctx context.Context) {
	m.BatchSize, m.Concurrency = cmp.Or(m.BatchSize, defaultBatch), max(m.Concurrency, 1)
	m.Wait = cmp.Or(m.Wait, defaultWait)
	if m.fifo() {
		m.Window = 0
	}
	if m.Log == nil {
		m.Log = slog.New(slog.DiscardHandler)
	}
	r := runner{Mapping: m, slots: make(chan struct{}, m.Concurrency), groups: map[string]int{}}
	defer r.wg.Wait()
	for ctx.Err() == nil {
		// No message is taken before there is somebody to work on it: its
		// visibility timeout would run.
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		batch := r.gather(ctx)
		if len(batch) == 0 {
			<-r.slots
			continue
		}
		r.wg.Go(func() {
			defer func() { <-r.slots }()
			defer r.leave(batch)
			r.work(ctx, batch)
		})
	}
}

func (m Mapping) fifo() bool { return strings.HasSuffix(m.ARN, ".fifo") }

// runner is a mapping at work.
type runner struct {
	Mapping
	slots chan struct{}
	wg    sync.WaitGroup

	mu     sync.Mutex
	groups map[string]int // messages in flight, by group
}

// gather polls until there is a batch, or nothing came within Wait.
func (r *runner) gather(ctx context.Context) (batch []types.Message) {
	var until time.Time // the batch's window closes
	for len(batch) < r.BatchSize {
		wait := r.Wait
		if len(batch) > 0 {
			if wait = min(wait, time.Until(until)); wait <= 0 {
				break
			}
		}
		got, err := r.receive(ctx, min(r.BatchSize-len(batch), maxReceive), wait)
		if err != nil {
			if ctx.Err() == nil {
				r.Log.ErrorContext(ctx, "SQS gave no messages", "queue", r.URL, "error", err)
				pause(ctx, pollPause)
			}
			break
		}
		if len(batch) == 0 {
			if len(got) == 0 {
				break
			}
			until = time.Now().Add(r.Window)
		}
		batch = append(batch, r.enter(got)...)
		if ctx.Err() != nil {
			break
		}
	}
	return batch
}

// receive polls once. SQS waits whole seconds.
func (r *runner) receive(ctx context.Context, n int, wait time.Duration) ([]types.Message, error) {
	seconds := (wait + time.Second - 1) / time.Second
	out, err := r.Queue.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &r.URL, MaxNumberOfMessages: int32(n), WaitTimeSeconds: int32(seconds), //nolint:gosec // at most 10 and 20
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		return nil, fmt.Errorf("receive from %s: %w", r.URL, err)
	}
	return out.Messages, nil
}

// enter marks the groups of messages as being at work, and drops messages of
// groups that are. A FIFO queue gives such ones only when the visibility
// timeout of those at work is over; they come again.
func (r *runner) enter(messages []types.Message) []types.Message {
	if !r.fifo() {
		return messages
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	mine := map[string]bool{}
	var free []types.Message
	for _, m := range messages {
		group := groupOf(m)
		if r.groups[group] > 0 && !mine[group] {
			r.Log.Warn("a message of a group that is at work waits", "queue", r.URL, "message", aws.ToString(m.MessageId))
			continue
		}
		mine[group] = true
		r.groups[group]++
		free = append(free, m)
	}
	return free
}

// leave undoes enter for a batch that was worked on.
func (r *runner) leave(batch []types.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range batch {
		group := groupOf(m)
		if r.groups[group]--; r.groups[group] <= 0 {
			delete(r.groups, group)
		}
	}
}

func groupOf(m types.Message) string {
	return m.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)]
}

// work invokes the function with a batch, in parts when it is larger than an
// invocation's input may be, and deletes what it is done with.
func (r *runner) work(ctx context.Context, batch []types.Message) {
	for len(batch) > 0 {
		event, n, err := eventOf(batch, r.ARN, maxEvent)
		if err != nil {
			r.Log.ErrorContext(ctx, "a batch cannot be written as an event", "queue", r.URL, "error", err)
			return
		}
		part := batch[:n]
		batch = batch[n:]
		answer, err := r.Invoke(ctx, event)
		if err != nil {
			r.Log.WarnContext(ctx, "a batch stays in the queue", "queue", r.URL, "messages", n, "error", err)
			continue
		}
		done := part
		if r.ReportBatchItemFailures {
			failed, err := failures(answer, part)
			if err != nil {
				r.Log.WarnContext(ctx, "a batch stays in the queue", "queue", r.URL, "messages", n, "error", err)
				continue
			}
			done = without(part, failed)
		}
		if err := r.remove(ctx, done); err != nil {
			r.Log.ErrorContext(ctx, "messages that are done come again", "queue", r.URL, "error", err)
		}
	}
}

func without(batch []types.Message, failed map[string]bool) (done []types.Message) {
	for _, m := range batch {
		if !failed[aws.ToString(m.MessageId)] {
			done = append(done, m)
		}
	}
	return done
}

// remove deletes messages.
func (r *runner) remove(ctx context.Context, messages []types.Message) error {
	var errs []error
	for len(messages) > 0 {
		n := min(len(messages), maxDelete)
		errs = append(errs, r.removeBatch(ctx, messages[:n]))
		messages = messages[n:]
	}
	return errors.Join(errs...)
}

func (r *runner) removeBatch(ctx context.Context, messages []types.Message) error {
	in := &sqs.DeleteMessageBatchInput{QueueUrl: &r.URL}
	for i, m := range messages {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
	}
	for try := 1; ; try++ {
		out, err := r.Queue.DeleteMessageBatch(ctx, in)
		if err != nil {
			return fmt.Errorf("delete from %s: %w", r.URL, err)
		}
		if len(out.Failed) == 0 {
			return nil
		}
		if try == deleteTries || ctx.Err() != nil {
			return fmt.Errorf("delete %d messages from %s: %s", len(out.Failed), r.URL, aws.ToString(out.Failed[0].Message))
		}
		again := map[string]bool{}
		for _, f := range out.Failed {
			again[aws.ToString(f.Id)] = true
		}
		var rest []types.DeleteMessageBatchRequestEntry
		for _, e := range in.Entries {
			if again[*e.Id] {
				rest = append(rest, e)
			}
		}
		in.Entries = rest
		pause(ctx, deletePause)
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
