package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

const partitionLease = "LEASE"

// ErrHeld is wrapped by the error of Lease.Acquire when somebody else holds the
// lease and it has not run out.
var ErrHeld = errors.New("held by another process")

// Lease lets one process at a time do something. It runs out when its holder
// dies. Clocks differ, and a holder may be stopped for longer than it thinks, so
// a lease alone keeps nobody from writing: what it protects is written with its
// epoch as fence (Options.Fence), or on a condition.
type Lease struct {
	Table cloud.Table
	Name  string
	// TTL is how long it is held without a release: longer than the process may
	// take.
	TTL time.Duration
}

// Held is a lease that somebody has.
type Held struct {
	Owner string
	Epoch int64 // of all who ever had the lease, the newest has the highest
	Until time.Time
}

// holding is the body of a lease's item. Without an owner it is free.
type holding struct {
	Owner string    `json:"owner,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// Acquire takes the lease if it is free or has run out by now. owner names one
// run of one process: a second Acquire of the same owner returns what the first
// one took, so that it can be tried again when its answer was lost. The error
// wraps ErrHeld when somebody else has it.
func (l Lease) Acquire(ctx context.Context, owner string, now time.Time) (Held, error) {
	if owner == "" || l.TTL <= 0 {
		return Held{}, fmt.Errorf("acquire lease %s: it needs an owner and a time", l.Name)
	}
	for range tries {
		epoch, have, err := l.read(ctx)
		if err != nil {
			return Held{}, fmt.Errorf("acquire lease %s: %w", l.Name, err)
		}
		if have.Until.After(now) && have.Owner != "" {
			if have.Owner == owner {
				return Held{Owner: owner, Epoch: epoch, Until: have.Until}, nil
			}
			return Held{}, fmt.Errorf("acquire lease %s: %w: %s until %s", l.Name, ErrHeld, have.Owner, have.Until.Format(time.RFC3339))
		}
		until := now.Add(l.TTL).UTC()
		err = l.write(ctx, epoch, epoch+1, holding{Owner: owner, Until: until})
		if err == nil {
			return Held{Owner: owner, Epoch: epoch + 1, Until: until}, nil
		}
		// Somebody came first: it may be this very call, whose first try the
		// client repeated by itself.
		if !errors.Is(err, analyzer.ErrConflict) {
			return Held{}, fmt.Errorf("acquire lease %s: %w", l.Name, err)
		}
	}
	return Held{}, fmt.Errorf("acquire lease %s: %w: many want it at once", l.Name, ErrHeld)
}

// Release gives the lease back before its time. It may be repeated, and leaves
// a lease alone that has gone to another. Its epoch stays, so that the next is
// higher.
func (l Lease) Release(ctx context.Context, h Held) error {
	err := l.write(ctx, h.Epoch, h.Epoch, holding{})
	if err != nil && !errors.Is(err, analyzer.ErrConflict) {
		return fmt.Errorf("release lease %s: %w", l.Name, err)
	}
	return nil
}

// read returns the epoch of the lease, 0 if nobody ever had it, and who has it.
func (l Lease) read(ctx context.Context) (epoch int64, h holding, err error) {
	item, err := l.Table.Get(ctx, l.key())
	if errors.Is(err, analyzer.ErrNotFound) {
		return 0, h, nil
	}
	if err != nil {
		return 0, h, err
	}
	return item.Number, h, read("lease", l.Name, item.Body, &h)
}

// write replaces the lease if its epoch is before.
func (l Lease) write(ctx context.Context, before, epoch int64, h holding) error {
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	w := cloud.Write{Item: cloud.Item{Key: l.key(), Number: epoch, Body: body}, Test: cloud.IfNumber, Than: before}
	if before == 0 {
		w.Test = cloud.IfAbsent
	}
	return l.Table.Write(ctx, w)
}

func (l Lease) key() cloud.Key { return cloud.Key{Partition: partitionLease, Sort: l.Name} }
