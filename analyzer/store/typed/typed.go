// Package typed reads and writes the values of a store as Go values.
package typed

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/keytrail/keytrail/analyzer"
)

// Space reads and writes the values of one space of a store as JSON of a T. The
// ledger of Slack messages is a Space[slack.Posted].
type Space[T any] struct {
	Values analyzer.ValueStore
	Name   string
}

// Get returns the zero T for a key that it does not know.
func (s Space[T]) Get(ctx context.Context, key string) (v T, err error) {
	data, err := s.Values.Get(ctx, s.Name, key)
	if err != nil || data == nil {
		return v, err
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("read %s %s from the state: %w", s.Name, key, err)
	}
	return v, nil
}

// Put replaces the value of a key.
func (s Space[T]) Put(ctx context.Context, key string, v T) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s %s: %w", s.Name, key, err)
	}
	return s.Values.Put(ctx, s.Name, key, data)
}
