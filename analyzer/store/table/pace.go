package table

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

const partitionPace = "PACE"

// ErrFull is wrapped by the error of Pace.Reserve when the next free slot is
// further off than Pace.Ahead.
var ErrFull = errors.New("no slot is free soon")

// Pace spaces the messages to a channel over all who send to it.
type Pace struct {
	Table cloud.Table
	Gap   time.Duration // at least, between two messages; whole milliseconds
	// Ahead is how far off a slot may be that is reserved; 0 means any. Whoever
	// would rather come back later than wait must set it: slots that are
	// reserved and not used put off all others.
	Ahead time.Duration
}

// paceTries is how often a slot is tried for. Each try that fails is another
// sender's that succeeds.
const paceTries = 20

// Reserve takes the channel's next free slot: the caller may send one message at
// that time, and nobody else within Gap of it. If that is more than Ahead from
// now it takes none, the error wraps ErrFull, and the time is when one would
// have been free.
func (p Pace) Reserve(ctx context.Context, channel string, now time.Time) (time.Time, error) {
	for range paceTries {
		at, err := p.reserve(ctx, channel, now)
		if err == nil || errors.Is(err, ErrFull) {
			return at, err
		}
		if !errors.Is(err, analyzer.ErrConflict) {
			return time.Time{}, fmt.Errorf("reserve a slot of %s: %w", channel, err)
		}
	}
	return time.Time{}, fmt.Errorf("reserve a slot of %s: %w: many want one at once", channel, analyzer.ErrConflict)
}

func (p Pace) reserve(ctx context.Context, channel string, now time.Time) (at time.Time, err error) {
	key := cloud.Key{Partition: partitionPace, Sort: channel}
	w := cloud.Write{Item: cloud.Item{Key: key}, Test: cloud.IfNumber}
	item, err := p.Table.Get(ctx, key)
	switch {
	case errors.Is(err, analyzer.ErrNotFound):
		w.Test = cloud.IfAbsent
	case err != nil:
		return at, err
	}
	w.Than = item.Number
	// Rounded up, so that no slot is in the past.
	at = time.UnixMilli(max(item.Number, now.Add(time.Millisecond-1).UnixMilli())).UTC()
	if p.Ahead > 0 && at.Sub(now) > p.Ahead {
		return at, fmt.Errorf("%s: %w: the next is at %s", channel, ErrFull, at.Format(time.RFC3339))
	}
	next := at.Add(p.Gap)
	w.Number, w.Expires = next.UnixMilli(), next.Add(apart)
	return at, p.Table.Write(ctx, w)
}
