package slack

import (
	"context"
	"sync"
	"time"
)

// Clock tells and spends time. Tests pass one that only counts.
type Clock interface {
	Now() time.Time
	// Sleep returns after d, or with the context's error as soon as it ends.
	Sleep(ctx context.Context, d time.Duration) error
}

// WallClock is the real one.
type WallClock struct{}

// Now returns the present in UTC.
func (WallClock) Now() time.Time { return time.Now().UTC() }

// Sleep waits for d or the end of the context.
func (WallClock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// perMessage is the distance that Slack asks for between messages to one
// channel (docs.slack.dev, "Rate limits": one a second, short bursts allowed).
// We do not use the burst: what comes in bursts is an incident, and then other
// apps post to the channel too.
const perMessage = time.Second

// Pacer spaces messages to a channel over everybody who sends to it.
type Pacer interface {
	// Wait returns when it is the caller's turn in the channel. An error that
	// wraps *RateLimited says when to come back in place of waiting.
	Wait(ctx context.Context, channel string) error
}

// pacer spaces messages to each channel within this process.
type pacer struct {
	clock Clock
	mu    sync.Mutex
	free  map[string]time.Time // when the channel may be written next
}

func newPacer(c Clock) *pacer { return &pacer{clock: c, free: map[string]time.Time{}} }

// Wait returns when it is this caller's turn in the channel.
func (p *pacer) Wait(ctx context.Context, channel string) error {
	p.mu.Lock()
	now := p.clock.Now()
	turn := p.free[channel]
	if turn.Before(now) {
		turn = now
	}
	p.free[channel] = turn.Add(perMessage)
	p.mu.Unlock()
	if d := turn.Sub(now); d > 0 {
		return p.clock.Sleep(ctx, d)
	}
	return ctx.Err()
}
