package cloudtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keytrail/keytrail/analyzer/cloud"
)

// Limits of SQS.
const (
	queueBatch       = 10             // messages of one call
	maxMessage       = 1 << 20        // bytes of a message, and of all of a batch
	maxInvisible     = 12 * time.Hour // from the receipt on
	maxDelay         = 15 * time.Minute
	dedupWindow      = 5 * time.Minute // of a FIFO queue
	defaultRetention = 4 * 24 * time.Hour
)

// QueueOptions say how a queue is. The zero value is a standard queue without
// redrive on the real clock.
type QueueOptions struct {
	Name string // begins the ids of its messages; set it where queues are told apart
	FIFO bool
	Now  func() time.Time
	Rand *rand.Rand // draws the order of delivery and what a partial fault concerns
	// Twice is the probability with which a standard queue delivers a message
	// once more, although it was deleted: the copy has its id and must be
	// deleted as well.
	Twice float64
	// Dead takes the messages that were received MaxReceives times and are not
	// deleted.
	Dead        *Queue
	MaxReceives int
	Retention   time.Duration // after which a message is dropped; 0 means SQS's 4 days
	Hooks       Hooks
}

// Queue is a queue in memory. Its methods may be called from several
// goroutines. Times are rounded up to whole seconds, which is all SQS knows.
type Queue struct {
	hooks Hooks
	state *queueState
}

var _ cloud.Queue = (*Queue)(nil)

// queueState is what all clients of a queue share.
type queueState struct {
	QueueOptions

	mu       sync.Mutex
	messages []*message           // those in the queue, in the order they were sent
	receipts map[string]*message  // all ever given
	sent     map[string]time.Time // dedup ids of the last minutes
	ids      int64
	dropped  int
}

// message is a message in a queue.
type message struct {
	cloud.Message

	id       string
	sent     time.Time
	hidden   time.Time // until when it is not delivered
	received time.Time // last
	receipt  string    // the last one given
	receives int
	gone     bool // deleted, dropped or dead
	copied   bool // has a copy, or is one
}

// NewQueue returns an empty queue.
func NewQueue(o QueueOptions) *Queue {
	if o.Dead != nil && (o.Dead.state.FIFO != o.FIFO || o.MaxReceives < 1) {
		panic("cloudtest: a queue and its dead-letter queue are of one kind, and a message is received at least once before it is dead")
	}
	o.Name, o.Retention = cmp.Or(o.Name, "queue"), cmp.Or(o.Retention, defaultRetention)
	o.Now, o.Rand = clock(o.Now), seeded(o.Rand)
	return &Queue{hooks: o.Hooks, state: &queueState{
		QueueOptions: o, receipts: map[string]*message{}, sent: map[string]time.Time{},
	}}
}

// With returns another client of the same queue.
func (q *Queue) With(h Hooks) *Queue { return &Queue{hooks: h, state: q.state} }

// Send implements cloud.Queue: a call for every ten messages. When a later call
// fails, the error is a *cloud.SendError that counts its messages and those
// after it as refused, although some of them may have been sent.
func (q *Queue) Send(ctx context.Context, messages ...cloud.Message) error {
	var refused cloud.SendError
	at := 0
	for _, batch := range batches(messages) {
		fault, err := q.hooks.enter(ctx, "sqs.Send")
		if err == nil {
			failed, reason := twice(fault, func() ([]int, error) { return q.state.send(batch, fault) })
			if fault.loses() && !fault.Partial {
				err = fault.lost("sqs.Send")
			}
			for _, i := range failed {
				refused.Failed = append(refused.Failed, at+i)
				refused.Reason = cmp.Or(refused.Reason, reason)
			}
		}
		if err != nil && at == 0 {
			return err // nothing is known to be sent
		}
		if err != nil {
			refused.Failed = slices.DeleteFunc(refused.Failed, func(i int) bool { return i >= at })
			for i := at; i < len(messages); i++ {
				refused.Failed = append(refused.Failed, i)
			}
			refused.Reason = cmp.Or(refused.Reason, err)
			break
		}
		at += len(batch)
	}
	if len(refused.Failed) > 0 {
		return &refused
	}
	return nil
}

// batches cuts messages as SQS takes them: ten, and 1 MiB, in one request.
func batches(messages []cloud.Message) (out [][]cloud.Message) {
	size := 0
	for i, m := range messages {
		size += len(m.Body)
		if len(out) == 0 || len(out[len(out)-1]) == queueBatch || size > maxMessage {
			out, size = append(out, nil), len(m.Body)
		}
		out[len(out)-1] = append(out[len(out)-1], messages[i])
	}
	return out
}

// send takes the messages of one request, and returns which it refused and why
// the first.
func (s *queueState) send(batch []cloud.Message, fault *Fault) (failed []int, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failing := make([]bool, len(batch))
	if fault != nil && fault.Partial {
		failing = fault.failing(s.Rand, len(batch))
	}
	for i, m := range batch {
		err := s.check(m)
		if err == nil && (!failing[i] || fault.After) {
			s.add(m)
		}
		if err == nil && failing[i] {
			err = fault.refusal("sqs.Send")
		}
		if err != nil {
			failed = append(failed, i)
			reason = cmp.Or(reason, err)
		}
	}
	return failed, reason
}

// check refuses what SQS refuses.
func (s *queueState) check(m cloud.Message) error {
	switch {
	case m.Body == "":
		return errors.New("sqs.Send: the body is empty")
	case len(m.Body) > maxMessage:
		return fmt.Errorf("sqs.Send: the body is %d bytes long, more than %d", len(m.Body), maxMessage)
	case strings.ContainsFunc(m.Body, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	}):
		return errors.New("sqs.Send: the body has a character that SQS does not take")
	case m.Delay < 0 || m.Delay > maxDelay:
		return fmt.Errorf("sqs.Send: the delay %s is not from 0 to %s", m.Delay, maxDelay)
	case s.FIFO && (m.Group == "" || m.Dedup == ""):
		return errors.New("sqs.Send: a message for a FIFO queue needs a group and a dedup id")
	case s.FIFO && m.Delay != 0:
		return errors.New("sqs.Send: a FIFO queue does not delay single messages")
	case !s.FIFO && m.Dedup != "":
		return errors.New("sqs.Send: a standard queue takes no dedup id")
	}
	return nil
}

// add puts a message into the queue, unless it is a repetition.
func (s *queueState) add(m cloud.Message) {
	now := s.Now()
	if s.FIFO {
		for dedup, at := range s.sent {
			if now.Sub(at) >= dedupWindow {
				delete(s.sent, dedup)
			}
		}
		if _, known := s.sent[m.Dedup]; known {
			return
		}
		s.sent[m.Dedup] = now
	}
	s.ids++
	s.messages = append(s.messages, &message{
		Message: m, id: fmt.Sprintf("%s-%d", s.Name, s.ids),
		sent: now.Truncate(time.Millisecond), hidden: now.Add(seconds(m.Delay)),
	})
}

// seconds rounds up to whole seconds.
func seconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// Receive implements cloud.Queue. A lost answer hides the messages all the same.
func (q *Queue) Receive(ctx context.Context, visibility time.Duration) ([]cloud.Received, error) {
	if visibility < 0 || visibility > maxInvisible {
		return nil, fmt.Errorf("sqs.Receive: the visibility %s is not from 0 to %s", visibility, maxInvisible)
	}
	fault, err := q.hooks.enter(ctx, "sqs.Receive")
	if err != nil {
		return nil, err
	}
	received, _ := twice(fault, func() ([]cloud.Received, error) { return q.state.receive(visibility), nil })
	if fault.loses() {
		return nil, fault.lost("sqs.Receive")
	}
	return received, nil
}

func (s *queueState) receive(visibility time.Duration) (received []cloud.Received) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	s.tidy(now)
	s.redrive(now)
	next := s.deliverable(now)
	if s.FIFO {
		next = s.byGroup(next)
	} else {
		s.Rand.Shuffle(len(next), func(i, j int) { next[i], next[j] = next[j], next[i] })
	}
	for _, m := range next[:min(len(next), queueBatch)] {
		received = append(received, s.deliver(m, now, visibility))
	}
	return received
}

// tidy drops what is too old, and forgets what is gone.
func (s *queueState) tidy(now time.Time) {
	s.messages = slices.DeleteFunc(s.messages, func(m *message) bool {
		if !m.gone && now.Sub(m.sent) >= s.Retention {
			m.gone = true
			s.dropped++
		}
		return m.gone
	})
}

// redrive moves messages that were received too often to the dead-letter queue.
// SQS does it when it would deliver them.
func (s *queueState) redrive(now time.Time) {
	if s.Dead == nil {
		return
	}
	for _, m := range s.deliverable(now) {
		if m.receives >= s.MaxReceives {
			m.gone = true
			s.Dead.state.bury(*m)
		}
	}
	s.tidy(now)
}

func (s *queueState) bury(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.gone, m.receives, m.receipt, m.hidden = false, 0, "", time.Time{}
	s.messages = append(s.messages, &m)
}

// deliverable returns what may be delivered now, in the order it was sent. A
// group of a FIFO queue of which a message is in flight waits.
func (s *queueState) deliverable(now time.Time) (next []*message) {
	busy := map[string]bool{}
	for _, m := range s.messages {
		if s.FIFO && m.hidden.After(now) {
			busy[m.Group] = true
		}
	}
	for _, m := range s.messages {
		if m.hidden.After(now) || s.FIFO && busy[m.Group] {
			continue
		}
		next = append(next, m)
	}
	return next
}

// byGroup orders messages by group, the groups as they are drawn: only within
// a group SQS promises an order, and it fills a batch from one if it can.
func (s *queueState) byGroup(messages []*message) []*message {
	rank := map[string]int{}
	for _, m := range messages {
		if _, ok := rank[m.Group]; !ok {
			rank[m.Group] = len(rank)
		}
	}
	drawn := s.Rand.Perm(len(rank))
	slices.SortStableFunc(messages, func(a, b *message) int {
		return cmp.Compare(drawn[rank[a.Group]], drawn[rank[b.Group]])
	})
	return messages
}

// deliver hides a message and gives out a receipt for it.
func (s *queueState) deliver(m *message, now time.Time, visibility time.Duration) cloud.Received {
	if !s.FIFO && !m.copied && s.Twice > 0 && s.Rand.Float64() < s.Twice {
		m.copied = true
		again := *m
		again.receipt = ""
		s.messages = append(s.messages, &again)
	}
	m.receives++
	m.received, m.hidden = now, now.Add(seconds(visibility))
	m.receipt = fmt.Sprintf("%s/%s/%d", s.Name, m.id, len(s.receipts)+1)
	s.receipts[m.receipt] = m
	return m.view()
}

func (m *message) view() cloud.Received {
	return cloud.Received{Message: m.Message, ID: m.id, Receipt: m.receipt, Receives: m.receives, Sent: m.sent}
}

// Delete implements cloud.Queue: a call for every ten receipts. A standard
// queue takes a receipt whose time is over; if the message was received again
// since, it may ignore it without a word, which is drawn. A FIFO queue refuses it.
func (q *Queue) Delete(ctx context.Context, receipts ...string) error {
	var failed []error
	for batch := range slices.Chunk(receipts, queueBatch) {
		fault, err := q.hooks.enter(ctx, "sqs.Delete")
		if err != nil {
			return errors.Join(append(failed, err)...)
		}
		failed = append(failed, q.state.delete(batch, fault)...)
	}
	return errors.Join(failed...)
}

func (s *queueState) delete(receipts []string, fault *Fault) (failed []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failing := fault.failing(s.Rand, len(receipts))
	for i, receipt := range receipts {
		var err error
		if !failing[i] || fault.After {
			err = s.remove(receipt)
		}
		if failing[i] {
			err = fault.refusal("sqs.Delete")
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

func (s *queueState) remove(receipt string) error {
	m, ok := s.receipts[receipt]
	now := s.Now()
	switch {
	case !ok:
		return fmt.Errorf("sqs.Delete: the receipt %q is none of this queue", receipt)
	case m.gone:
		return nil
	case s.FIFO && !m.inFlight(receipt, now):
		return fmt.Errorf("sqs.Delete: the receipt %q has expired", receipt)
	case m.receipt != receipt && s.Rand.IntN(2) == 0:
		return nil
	}
	m.gone = true
	s.tidy(now)
	return nil
}

// inFlight tells whether a receipt is the one under which a message is hidden.
func (m *message) inFlight(receipt string, now time.Time) bool {
	return !m.gone && m.receipt == receipt && m.hidden.After(now)
}

// Defer implements cloud.Queue. A message that is visible again is out of reach.
func (q *Queue) Defer(ctx context.Context, receipt string, d time.Duration) error {
	if d < 0 || d > cloud.MaxDefer {
		return fmt.Errorf("sqs.Defer: %s is not from 0 to %s", d, cloud.MaxDefer)
	}
	fault, err := q.hooks.enter(ctx, "sqs.Defer")
	if err != nil {
		return err
	}
	err = q.state.postpone(receipt, d)
	if fault != nil {
		return fault.lost("sqs.Defer")
	}
	return err
}

func (s *queueState) postpone(receipt string, d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	m, ok := s.receipts[receipt]
	switch until := now.Add(seconds(d)); {
	case !ok:
		return fmt.Errorf("sqs.Defer: the receipt %q is none of this queue", receipt)
	case !m.inFlight(receipt, now):
		return fmt.Errorf("sqs.Defer: the message of receipt %q is not in flight", receipt)
	case until.Sub(m.received) > maxInvisible:
		return fmt.Errorf("sqs.Defer: %s more than %s after the message was received", until.Sub(m.received)-maxInvisible, maxInvisible)
	default:
		m.hidden = until
		return nil
	}
}

// Depth implements cloud.Queue.
func (q *Queue) Depth(ctx context.Context) (int64, error) {
	fault, err := q.hooks.enter(ctx, "sqs.Depth")
	if err != nil {
		return 0, err
	}
	if fault != nil {
		return 0, fault.lost("sqs.Depth")
	}
	return int64(len(q.Messages())), nil
}

// Messages returns what is in the queue, waiting, delayed or in flight, in the
// order it was sent. Receipt is the last one given.
func (q *Queue) Messages() (all []cloud.Received) {
	s := q.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tidy(s.Now())
	for _, m := range s.messages {
		all = append(all, m.view())
	}
	return all
}

// Waiting returns how many messages are not in flight, delayed ones included.
func (q *Queue) Waiting() int { return len(q.Messages()) - q.InFlight() }

// InFlight returns how many messages were received and are hidden.
func (q *Queue) InFlight() (n int) {
	s := q.state
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	s.tidy(now)
	for _, m := range s.messages {
		if m.receipt != "" && m.inFlight(m.receipt, now) {
			n++
		}
	}
	return n
}

// Dropped returns how many messages were kept so long that SQS dropped them.
func (q *Queue) Dropped() int {
	s := q.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tidy(s.Now())
	return s.dropped
}
