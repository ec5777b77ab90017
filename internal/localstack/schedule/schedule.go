// Package schedule starts a function at a rate, as EventBridge Scheduler does
// through Lambda's asynchronous invocation
// (docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html):
// an event that finds the function at its concurrency waits and is tried again,
// one whose invocation failed is tried again as often as the rule says, and
// those that become too old are dropped. So events may run late, out of order
// and close together, but never more at once than the function allows.
package schedule

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// ErrThrottled is to be wrapped by the error of Rule.Invoke when the function is
// at its concurrency and nothing was run.
var ErrThrottled = errors.New("the function is at its concurrency")

// Rule is a schedule of one function.
type Rule struct {
	Name    string
	Every   time.Duration
	Payload []byte
	// Invoke runs the function and waits for its end.
	Invoke func(ctx context.Context, payload []byte) error
	// Retries is how often an event is tried again after its invocation failed:
	// after one minute, and then after two each.
	Retries int
	// MaxAge is how old an event may become; default 6 hours.
	MaxAge time.Duration
	// Minute is how long a minute of the waits takes; default a minute. A stack
	// whose time runs faster has shorter ones.
	Minute time.Duration
	Log    *slog.Logger // nil drops it
}

// Waits of Lambda, in minutes.
const (
	firstBackoff = 1.0 / 60
	maxBackoff   = 5.0
	firstRetry   = 1.0
	laterRetries = 2.0
)

// Run starts the function now and at every tick, until ctx ends. It returns when
// all invocations have; they get ctx.
func (r Rule) Run(ctx context.Context) {
	r.MaxAge, r.Minute = cmp.Or(r.MaxAge, 6*time.Hour), cmp.Or(r.Minute, time.Minute)
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ticks := time.NewTicker(r.Every)
	defer ticks.Stop()
	for ctx.Err() == nil {
		wg.Go(func() { r.deliver(ctx) })
		select {
		case <-ticks.C:
		case <-ctx.Done():
		}
	}
}

// deliver brings one event to the function.
func (r Rule) deliver(ctx context.Context) {
	born := time.Now()
	backoff, failures := r.minutes(firstBackoff), 0
	for {
		err := r.Invoke(ctx, r.Payload)
		if err == nil || ctx.Err() != nil {
			return
		}
		var wait time.Duration
		switch {
		case errors.Is(err, ErrThrottled):
			wait, backoff = backoff, min(2*backoff, r.minutes(maxBackoff))
		case failures == r.Retries:
			r.Log.ErrorContext(ctx, "an event of a schedule is given up", "schedule", r.Name, "error", err)
			return
		default:
			wait = r.minutes(laterRetries)
			if failures++; failures == 1 {
				wait = r.minutes(firstRetry)
			}
		}
		if time.Since(born)+wait > r.MaxAge {
			r.Log.ErrorContext(ctx, "an event of a schedule became too old", "schedule", r.Name, "error", err)
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (r Rule) minutes(n float64) time.Duration { return time.Duration(n * float64(r.Minute)) }
