package awssdk

import (
	"context"
	"time"

	"github.com/aws/smithy-go/middleware"
)

var (
	Pause         = pause
	PauseBefore   = pauseBefore
	Successor     = successor
	WithExtraTime = withExtraTime
)

// SetStallTimeout sets how long a body may keep its reader waiting.
func (b *Bucket) SetStallTimeout(d time.Duration) { b.stall = d }

// Attempt makes one attempt of a call, with next for what sends it.
func Attempt(ctx context.Context, limit time.Duration, next func(context.Context) error) error {
	_, _, err := attemptTimeout{limit}.HandleFinalize(ctx, middleware.FinalizeInput{}, middleware.FinalizeHandlerFunc(
		func(ctx context.Context, _ middleware.FinalizeInput) (out middleware.FinalizeOutput, m middleware.Metadata, err error) {
			return out, m, next(ctx)
		}))
	return err
}
