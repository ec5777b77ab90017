package cloudtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// Limits of DynamoDB.
const (
	maxPartitionKey    = 2048    // bytes
	maxSortKey         = 1024    // bytes
	maxTransactionSize = 4 << 20 // bytes of all items of a transaction
	queryPage          = 1 << 20 // bytes of the items that one Query reads
	getBatch           = 100     // keys of one BatchGetItem
)

// itemOverhead is what an item counts beside its keys and body: the names pk,
// sk, n, body and expires, and two numbers of at most 21 bytes.
const itemOverhead = 2 + 2 + 1 + 4 + 7 + 2*21

// TableOptions say how a table is. The zero value is one on the real clock.
type TableOptions struct {
	Now   func() time.Time // only Expire asks for it
	Hooks Hooks
}

// Table is a table in memory. Its methods may be called from several
// goroutines.
type Table struct {
	hooks Hooks
	state *tableState
}

var _ cloud.Table = (*Table)(nil)

// tableState is what all clients of a table share.
type tableState struct {
	now func() time.Time

	mu    sync.Mutex
	items map[string][]cloud.Item // by partition, in the order of their sort keys
}

// NewTable returns an empty table.
func NewTable(o TableOptions) *Table {
	return &Table{hooks: o.Hooks, state: &tableState{now: clock(o.Now), items: map[string][]cloud.Item{}}}
}

// With returns another client of the same table.
func (t *Table) With(h Hooks) *Table { return &Table{hooks: h, state: t.state} }

// Get implements cloud.Table.
func (t *Table) Get(ctx context.Context, key cloud.Key) (cloud.Item, error) {
	fault, err := t.hooks.enter(ctx, "dynamodb.Get")
	if err != nil {
		return cloud.Item{}, err
	}
	if fault != nil {
		return cloud.Item{}, fault.lost("dynamodb.Get")
	}
	if err := checkKey(key); err != nil {
		return cloud.Item{}, fmt.Errorf("dynamodb.Get: %w", err)
	}
	item, ok := t.state.get(key)
	if !ok {
		return cloud.Item{}, fmt.Errorf("dynamodb.Get %s %s: %w", key.Partition, key.Sort, analyzer.ErrNotFound)
	}
	return item, nil
}

func (s *tableState) get(key cloud.Key) (cloud.Item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.find(key)
	if !ok {
		return cloud.Item{}, false
	}
	return unshared(s.items[key.Partition][at]), true
}

// find returns where in its partition an item is or belongs.
func (s *tableState) find(key cloud.Key) (at int, ok bool) {
	return slices.BinarySearchFunc(s.items[key.Partition], key.Sort, func(item cloud.Item, sort string) int {
		return cmp.Compare(item.Sort, sort)
	})
}

// unshared copies an item. Like DynamoDB's, an empty body comes back as none.
func unshared(item cloud.Item) cloud.Item {
	item.Body = append([]byte(nil), item.Body...)
	return item
}

// GetMany implements cloud.Table: a call for every hundred keys.
func (t *Table) GetMany(ctx context.Context, keys []cloud.Key) ([]cloud.Item, error) {
	var items []cloud.Item
	for batch := range slices.Chunk(keys, getBatch) {
		fault, err := t.hooks.enter(ctx, "dynamodb.GetMany")
		if err != nil {
			return nil, err
		}
		if fault != nil {
			return nil, fault.lost("dynamodb.GetMany")
		}
		for _, key := range batch {
			if err := checkKey(key); err != nil {
				return nil, fmt.Errorf("dynamodb.GetMany: %w", err)
			}
			if item, ok := t.state.get(key); ok {
				items = append(items, item)
			}
		}
	}
	return items, nil
}

// Query implements cloud.Table: a call for every page of 1 MB. Between two
// pages others may write.
func (t *Table) Query(ctx context.Context, partition, prefix, from string) ([]cloud.Item, error) {
	var items []cloud.Item
	from = max(from, prefix)
	for {
		fault, err := t.hooks.enter(ctx, "dynamodb.Query")
		if err != nil {
			return nil, err
		}
		if fault != nil {
			return nil, fault.lost("dynamodb.Query")
		}
		page, more := t.state.page(partition, prefix, from)
		items = append(items, page...)
		if !more {
			return items, nil
		}
		from = page[len(page)-1].Sort + "\x00" // the smallest key after it
	}
}

func (s *tableState) page(partition, prefix, from string) (page []cloud.Item, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, _ := s.find(cloud.Key{Partition: partition, Sort: from})
	read := 0
	for _, item := range s.items[partition][at:] {
		if !strings.HasPrefix(item.Sort, prefix) {
			break
		}
		if read >= queryPage {
			return page, true
		}
		page = append(page, unshared(item))
		read += size(item)
	}
	return page, false
}

// Write implements cloud.Table.
func (t *Table) Write(ctx context.Context, writes ...cloud.Write) error {
	if len(writes) == 0 {
		return ctx.Err()
	}
	fault, err := t.hooks.enter(ctx, "dynamodb.Write")
	if err != nil {
		return err
	}
	err = checkWrites(writes)
	if err == nil {
		err = t.state.write(writes)
	}
	if err == nil && fault != nil && fault.Repeat && len(writes) == 1 {
		err = t.state.write(writes)
	}
	if fault.loses() {
		return fault.lost("dynamodb.Write")
	}
	if err != nil {
		return fmt.Errorf("dynamodb.Write: %w", err)
	}
	return nil
}

// checkWrites refuses what DynamoDB refuses before it looks at the table.
func checkWrites(writes []cloud.Write) error {
	if len(writes) > cloud.MaxTransaction {
		return fmt.Errorf("%d writes are more than the %d of a transaction", len(writes), cloud.MaxTransaction)
	}
	seen, total := map[cloud.Key]bool{}, 0
	for _, w := range writes {
		if err := checkKey(w.Key); err != nil {
			return err
		}
		if seen[w.Key] {
			return fmt.Errorf("%s %s is in the transaction twice", w.Partition, w.Sort)
		}
		seen[w.Key] = true
		if len(w.Body) > cloud.MaxBody {
			return fmt.Errorf("the body of %s %s is %d bytes long, more than %d", w.Partition, w.Sort, len(w.Body), cloud.MaxBody)
		}
		total += size(w.Item)
	}
	if total > maxTransactionSize {
		return fmt.Errorf("the items of the transaction have %d bytes, more than %d", total, maxTransactionSize)
	}
	return nil
}

func checkKey(key cloud.Key) error {
	for _, k := range []struct {
		name, value string
		limit       int
	}{{"partition", key.Partition, maxPartitionKey}, {"sort", key.Sort, maxSortKey}} {
		if k.value == "" || len(k.value) > k.limit || !utf8.ValidString(k.value) {
			return fmt.Errorf("the %s key %.100q is not 1 to %d bytes of UTF-8", k.name, k.value, k.limit)
		}
	}
	return nil
}

func size(item cloud.Item) int {
	return itemOverhead + len(item.Partition) + len(item.Sort) + len(item.Body)
}

func (s *tableState) write(writes []cloud.Write) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range writes {
		at, ok := s.find(w.Key)
		var number int64
		if ok {
			number = s.items[w.Partition][at].Number
		}
		if !holds(w, ok, number) {
			return fmt.Errorf("%s %s: %w", w.Partition, w.Sort, analyzer.ErrConflict)
		}
	}
	for _, w := range writes {
		s.apply(w)
	}
	return nil
}

// holds tells whether the condition of a write does; there tells whether there
// is an item, with that number.
func holds(w cloud.Write, there bool, number int64) bool {
	switch w.Test {
	case cloud.Always:
		return true
	case cloud.IfAbsent:
		return !there
	case cloud.IfNumber:
		return there && number == w.Than
	case cloud.IfAtMost:
		return !there || number <= w.Than
	case cloud.IfGreater:
		return !there || number > w.Than
	}
	panic(fmt.Sprintf("cloudtest: a write has the unknown test %d", w.Test))
}

func (s *tableState) apply(w cloud.Write) {
	at, ok := s.find(w.Key)
	partition := s.items[w.Partition]
	item := unshared(w.Item)
	if !item.Expires.IsZero() {
		item.Expires = time.Unix(item.Expires.Unix(), 0).UTC() // TTL counts whole seconds
	}
	switch {
	case w.Delete && ok:
		partition = slices.Delete(partition, at, at+1)
	case w.Delete:
	case ok:
		partition[at] = item
	default:
		partition = slices.Insert(partition, at, item)
	}
	if len(partition) == 0 {
		delete(s.items, w.Partition)
		return
	}
	s.items[w.Partition] = partition
}

// Expire removes the items whose time to live has passed and returns how many.
// DynamoDB does so some time within days; a fake only when it is asked to.
func (t *Table) Expire() int {
	s := t.state
	s.mu.Lock()
	defer s.mu.Unlock()
	now, removed := s.now(), 0
	for partition, items := range s.items {
		kept := slices.DeleteFunc(items, func(item cloud.Item) bool {
			return !item.Expires.IsZero() && !item.Expires.After(now)
		})
		removed += len(items) - len(kept)
		s.items[partition] = kept
		if len(kept) == 0 {
			delete(s.items, partition)
		}
	}
	return removed
}

// Items returns all items, by partition and sort key.
func (t *Table) Items() (all []cloud.Item) {
	s := t.state
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, items := range s.items {
		for _, item := range items {
			all = append(all, unshared(item))
		}
	}
	slices.SortFunc(all, func(a, b cloud.Item) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Sort, b.Sort))
	})
	return all
}
