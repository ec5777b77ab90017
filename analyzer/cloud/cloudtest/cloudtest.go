// Package cloudtest is the part of AWS that Keytrail uses, in memory: a bucket
// as S3 has them, a table as DynamoDB, queues as SQS, standard and FIFO, and
// secrets. Limits, conditions, orders and time-outs are AWS's, so that a
// simulation of the whole stack finds what AWS would find; time comes from the
// caller's clock and chance from the caller's seed, so that it finds it again.
//
// A fake is shared state; With gives each process of a simulation a client of
// its own to it. A client's Hooks end the process between any two calls, refuse
// calls, and lose their answers. What the real client sends in several requests
// (ten messages, a hundred keys, a page of 1 MB) is several calls to the hooks.
//
// RunBucket, RunTable and RunQueue are what any implementation of the
// interfaces of package cloud must do. They ask for nothing that an emulator of
// AWS lacks; what only the real service does is tested beside the fakes.
package cloudtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// ErrThrottled is a fault as AWS has it when a caller is too fast.
var ErrThrottled = errors.New("throttled: slow down")

// ErrUnavailable is a fault as AWS has it when a service is not well.
var ErrUnavailable = errors.New("service unavailable")

// Clock is a clock that is moved by hand. It may be used from several
// goroutines. The zero Clock stands at the zero time.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at a time.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now returns where the clock stands.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Set moves the clock to a time, back too, as clocks are when they are set right.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// Sleep moves the clock on in place of waiting.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.Advance(max(d, 0))
	return nil
}

// Fault is how a call goes wrong.
type Fault struct {
	// Err is wrapped by the error that the caller gets; nil means ErrUnavailable.
	Err error
	// After lets the call take effect and loses its answer: the error wraps
	// neither analyzer.ErrNotFound nor analyzer.ErrConflict. The answer of
	// Bucket.Get is lost in the middle of the body.
	After bool
	// Partial, for sqs.Send, sqs.Delete and s3.Delete, makes some of the items
	// fail, at least one, drawn from the seed; the others go well.
	Partial bool
	// Repeat, for s3.Put, dynamodb.Write, sqs.Send and sqs.Receive, lets the call
	// take effect and loses its answer on the way to a client that tries again by
	// itself: the caller gets the answer to the second try, such as a conflict
	// with its own first. A transaction is recognised by its token and answered
	// as the first time.
	Repeat bool
}

func (f *Fault) reason() error { return cmp.Or(f.Err, ErrUnavailable) }

// refusal is the error of an item that a partial fault concerns.
func (f *Fault) refusal(op string) error {
	if f.After {
		return f.lost(op)
	}
	return fmt.Errorf("%s: %w", op, f.reason())
}

// lost is the error of a call that took effect.
func (f *Fault) lost(op string) error {
	err := f.reason()
	if errors.Is(err, analyzer.ErrNotFound) || errors.Is(err, analyzer.ErrConflict) {
		err = errors.New(err.Error()) // these would be an answer
	}
	return fmt.Errorf("%s: the answer was lost: %w", op, err)
}

// Faults says how a call goes wrong; nil lets it go well. Calls are named as in
// s3.Put, dynamodb.Write, sqs.Send, secrets.Secret.
type Faults func(op string) *Fault

// Hooks are how a simulation reaches into the calls of one client. The zero
// Hooks leave them alone.
type Hooks struct {
	// Before is called before each call. Its error is returned in place of an
	// answer and nothing takes effect: a process that is to die here gets an
	// error from now on.
	Before func(op string) error
	Faults Faults
}

// partial names the calls of which a part can fail, repeated those that differ
// when they are made twice.
var (
	partial  = map[string]bool{"sqs.Send": true, "sqs.Delete": true, "s3.Delete": true}
	repeated = map[string]bool{"s3.Put": true, "dynamodb.Write": true, "sqs.Send": true, "sqs.Receive": true}
)

// enter begins a call. An error ends it before it takes effect; a fault is to
// be heeded after it has.
func (h Hooks) enter(ctx context.Context, op string) (*Fault, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if h.Before != nil {
		if err := h.Before(op); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	if h.Faults == nil {
		return nil, nil
	}
	f := h.Faults(op)
	switch {
	case f == nil, f.Repeat && !repeated[op]:
		return nil, nil
	case f.Repeat, f.After, f.Partial && partial[op]:
		return f, nil
	}
	return nil, fmt.Errorf("%s: %w", op, f.reason())
}

// twice makes a call again if its client does, and returns the last answer.
func twice[T any](f *Fault, call func() (T, error)) (T, error) {
	answer, err := call()
	if f != nil && f.Repeat {
		answer, err = call()
	}
	return answer, err
}

// loses tells whether the answer of a call that took effect is lost.
func (f *Fault) loses() bool { return f != nil && !f.Repeat }

// failing draws which of n items a fault concerns: all, or for a partial one
// some, at least one.
func (f *Fault) failing(r *rand.Rand, n int) []bool {
	failing := make([]bool, n)
	if f == nil || n == 0 {
		return failing
	}
	for i := range failing {
		failing[i] = !f.Partial || r.IntN(2) == 0
	}
	if f.Partial {
		failing[r.IntN(n)] = true
	}
	return failing
}

// clock returns the time of a fake, in UTC; nil means the real one.
func clock(now func() time.Time) func() time.Time {
	if now == nil {
		now = time.Now
	}
	return func() time.Time { return now().UTC() }
}

// seeded returns a stream of chance; nil means one that is always the same.
func seeded(r *rand.Rand) *rand.Rand {
	if r == nil {
		r = rand.New(rand.NewPCG(1, 1)) //nolint:gosec // a simulation must come out the same again; no secret is drawn
	}
	return r
}
