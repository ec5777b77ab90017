package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/keytrail/keytrail/analyzer"
)

// Typed reads and writes the values of one space as JSON of a T. The ledger of
// Slack messages is a Typed[slack.Posted].
type Typed[T any] struct {
	Values analyzer.ValueStore
	Space  string
}

// Get returns the zero T for a key that it does not know.
func (t Typed[T]) Get(ctx context.Context, key string) (v T, err error) {
	data, err := t.Values.Get(ctx, t.Space, key)
	if err != nil || data == nil {
		return v, err
	}
	return v, read(t.Space, key, data, &v)
}

// Put replaces the value of a key.
func (t Typed[T]) Put(ctx context.Context, key string, v T) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s %s: %w", t.Space, key, err)
	}
	return t.Values.Put(ctx, t.Space, key, data)
}
