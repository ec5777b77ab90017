package awssdk

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
)

type stack = middleware.Stack

// attemptTimeout ends an attempt that takes too long, so that the retryer can
// begin another. The SDK has no such limit of its own: its HTTP client has one
// for a whole download.
type attemptTimeout struct{ limit time.Duration }

func addAttemptTimeout(limit time.Duration) func(*stack) error {
	return func(s *stack) error {
		if _, ok := s.Finalize.Get("Retry"); !ok {
			return nil // nothing is sent
		}
		return s.Finalize.Insert(attemptTimeout{limit}, "Retry", middleware.After)
	}
}

// ID names the middleware.
func (attemptTimeout) ID() string { return "KeytrailAttemptTimeout" }

// HandleFinalize makes one attempt.
func (a attemptTimeout) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	middleware.FinalizeOutput, middleware.Metadata, error,
) {
	extra, _ := ctx.Value(extraTime{}).(time.Duration)
	limit := a.limit + max(extra, 0)
	attempt, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(limit, cancel)
	out, metadata, err := next.HandleFinalize(attempt, in)
	inTime := timer.Stop()
	if err != nil || extra != streams {
		cancel()
	}
	if !inTime && ctx.Err() == nil && (err != nil || extra == streams) { // a stream would be cut off
		err = &attemptError{operation: awsmiddleware.GetOperationName(ctx), limit: limit}
	}
	return out, metadata, err
}

// attemptError stands for the cancellation that ended an attempt, which the
// SDK would take for the caller's and not retry.
type attemptError struct {
	operation string
	limit     time.Duration
}

// Error says how long the attempt took.
func (e *attemptError) Error() string {
	return fmt.Sprintf("no answer to %s within %s", e.operation, e.limit)
}

// RetryableError tells the retryer to try again.
func (e *attemptError) RetryableError() bool { return true }

// Timeout tells the retryer what to count it as.
func (e *attemptError) Timeout() bool { return true }

type extraTime struct{}

// streams is an extra time that lasts for as long as the output is read.
const streams time.Duration = -1

// withExtraTime gives each attempt of a call more time.
func withExtraTime(ctx context.Context, extra time.Duration) context.Context {
	return context.WithValue(ctx, extraTime{}, max(extra, 0))
}

// WithStream is for calls whose output is a stream that is read after the call:
// the timeout of an attempt is for the headers of its answer only. Cancel the
// context when the stream has been read.
func WithStream(ctx context.Context) context.Context {
	return context.WithValue(ctx, extraTime{}, streams)
}

// pause waits as a retryer would after that many attempts.
func pause(ctx context.Context, r aws.Retryer, attempts int, cause error) error {
	d, err := r.RetryDelay(attempts, cause)
	if err != nil {
		return fmt.Errorf("pause before another attempt: %w", err)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("pause before another attempt: %w", ctx.Err())
	}
}
