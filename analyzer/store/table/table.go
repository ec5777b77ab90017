// Package table keeps findings, alerts and what was said about them in one
// DynamoDB table, through package cloud, so that the functions of an AWS account
// share them.
//
// Items lie as package store lays them out: findings by detection and start of
// their window, and each group's findings in short in the same order. What
// belongs together is written in one transaction, so that the process may end,
// or an answer be lost, at any point.
//
//	partition      sort key               number         body
//	D#DETECTION    WINDOW#FINDING         fence          finding as JSON
//	F#FINDING      @                      fence          partition and sort key of the above
//	G#GROUP        F#WINDOW#FINDING       fence          finding reference as JSON
//	TOUCHED        GROUP                  random         window start
//	ALERT          ALERT                  version        see encode
//	ALERT#ALERT    PART                   version        what did not fit
//	G#GROUP        A#ALERT                -              -
//	DUE            ALERT                  version        -
//	V#SPACE        KEY                    -              value
//	LEASE          NAME                   epoch          see Lease
//	PACE           CHANNEL                next free slot -
//	NEWS           FINDING                -              - (only with Options.Print)
//	PRINTED        f or a, and id         revision       mark (only with Options.Print)
//
// Two writers cannot undo each other's work. Alerts have versions. Findings have
// a fence: the epoch of the Lease under which they were written. A process whose
// lease went to another has the lower epoch, and is refused where the other has
// written.
//
// DynamoDB removes items some days after they expire, each in its own time. So
// that nothing is found whose other half is gone, what points at an item
// expires a month after it, except for references in groups, which are read
// alone: they expire a month before their finding.
package table

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// ErrFenced is wrapped by the error of SaveFindings when a process with a higher
// fence has written one of the findings. This process has lost its lease: it
// must stop.
var ErrFenced = errors.New("the lease has gone to another process")

// The partitions, and the beginnings of their names.
const (
	partitionDetection = "D#"
	partitionFinding   = "F#"
	partitionGroup     = "G#"
	partitionTouched   = "TOUCHED"
	partitionAlerts    = "ALERT"
	partitionParts     = "ALERT#"
	partitionDue       = "DUE"
	partitionValues    = "V#"
	partitionNews      = "NEWS"
	partitionPrinted   = "PRINTED"
)

const (
	sortOnly     = "@"  // of partitions of one item
	sortFindings = "F#" // in a group
	sortAlerts   = "A#" // in a group
)

// DefaultKeep is how long findings and alerts are kept after their last event:
// a year, and some weeks in which to look back at it.
const DefaultKeep = 400 * 24 * time.Hour

// apart is the time between the ends of items that belong together. DynamoDB
// removes most within two days ("Using time to live", DynamoDB Developer Guide).
const apart = 30 * 24 * time.Hour

// tries is how often a write is decided anew when another writer came first.
const tries = 5

// Options say how a store works. The zero value suits those who write no
// findings.
type Options struct {
	// Fence is the epoch of the lease under which findings are written.
	Fence int64
	// Shard keeps the findings of several analyses apart that share one table,
	// and so their alerts; empty for one that is alone. Their ids must differ,
	// too (see pipeline.Analysis.Shard).
	Shard string
	// Now is the clock; nil means the real one.
	Now func() time.Time
	// Keep is how long findings and alerts are kept after their last event, and
	// at least from now; 0 means DefaultKeep.
	Keep time.Duration
	// KeepValues is how long the values of a space are kept after they were
	// written. Those of a space that it does not name are kept for ever.
	KeepValues map[string]time.Duration
	// Workers is how many transactions of findings are under way at once; 0
	// means 8. With 1, calls are made in an order that depends on the arguments
	// and the table only.
	Workers int
	// Print remembers what was printed, at a write more for each finding. If
	// not set, nothing is ever unprinted.
	Print bool
}

// Store is a store in a table. Its methods may be called from several goroutines.
type Store struct {
	table cloud.Table
	o     Options

	mu sync.Mutex
	// told are the versions of alerts that the table has told this store to be
	// written; see landed.
	told map[string]int64
	// marks are the numbers of the marks that TouchedGroups gave last.
	marks map[string]int64
}

var _ analyzer.Store = (*Store)(nil)

// New returns the store in a table.
func New(t cloud.Table, o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Keep, o.Workers = cmp.Or(o.Keep, DefaultKeep), cmp.Or(o.Workers, 8)
	return &Store{table: t, o: o, told: map[string]int64{}}
}

// expiry is when something expires whose last event was at a time. Logs that
// are read years late are kept as long as others.
func (s *Store) expiry(last time.Time) time.Time {
	if now := s.o.Now(); now.After(last) {
		last = now
	}
	return last.Add(s.o.Keep)
}

// each does n things, as many at once as there are workers, until one fails.
func (s *Store) each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.o.Workers)
	for i := range n {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return do(ctx, i)
		})
	}
	return group.Wait()
}

// Get implements analyzer.ValueStore.
func (s *Store) Get(ctx context.Context, space, key string) ([]byte, error) {
	item, err := s.table.Get(ctx, valueKey(space, key))
	if errors.Is(err, analyzer.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", key, space, err)
	}
	return value(item), nil
}

// value returns the body of an item that is there, which is never nil.
func value(item cloud.Item) []byte {
	if item.Body == nil {
		return []byte{}
	}
	return item.Body
}

// Put implements analyzer.ValueStore.
func (s *Store) Put(ctx context.Context, space, key string, value []byte) error {
	w := cloud.Write{Item: cloud.Item{Key: valueKey(space, key), Body: value}, Delete: value == nil}
	if keep := s.o.KeepValues[space]; keep > 0 {
		w.Expires = s.o.Now().Add(keep)
	}
	if err := s.table.Write(ctx, w); err != nil {
		return fmt.Errorf("write %s of %s: %w", key, space, err)
	}
	return nil
}

// List implements analyzer.ValueStore.
func (s *Store) List(ctx context.Context, space string) (map[string][]byte, error) {
	items, err := s.table.Query(ctx, partitionValues+space, "", "")
	if err != nil {
		return nil, fmt.Errorf("read the values of %s: %w", space, err)
	}
	values := make(map[string][]byte, len(items))
	for _, item := range items {
		values[item.Sort] = value(item)
	}
	return values, nil
}

func valueKey(space, key string) cloud.Key {
	return cloud.Key{Partition: partitionValues + space, Sort: key}
}

// layoutSortable writes times in UTC so that they sort as text, over all years
// that JSON can carry.
const layoutSortable = "2006-01-02T15:04:05.000000000Z"

// sortable writes a time for a sort key. What is beyond the years of the layout
// sorts before or after all others.
func sortable(t time.Time) string {
	t = t.UTC()
	switch year := t.Year(); {
	case year < 0:
		return ""
	case year > 9999:
		return "~"
	}
	return t.Format(layoutSortable)
}

// byTime is a sort key that sorts by time and id.
func byTime(t time.Time, id string) string { return sortable(t) + "#" + id }

// checkName refuses names that could not be kept apart in keys.
func checkName(what, name string) error {
	if name == "" || strings.Contains(name, "\x00") {
		return fmt.Errorf("%s %q is empty or has a zero byte", what, name)
	}
	return nil
}

// read decodes what the store wrote.
func read(what, id string, data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read %s %s from the table: %w", what, id, err)
	}
	return nil
}
