package cloudtest

import (
	"context"
	"fmt"
	"maps"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// Secrets are secrets by their ARN.
type Secrets struct {
	hooks  Hooks
	values map[string]string
}

var _ cloud.Secrets = (*Secrets)(nil)

// NewSecrets returns secrets that are never changed.
func NewSecrets(values map[string]string, h Hooks) *Secrets {
	return &Secrets{hooks: h, values: maps.Clone(values)}
}

// With returns another client of the same secrets.
func (s *Secrets) With(h Hooks) *Secrets { return &Secrets{hooks: h, values: s.values} }

// Secret implements cloud.Secrets. The error wraps analyzer.ErrNotFound when
// there is none of that ARN.
func (s *Secrets) Secret(ctx context.Context, arn string) (string, error) {
	fault, err := s.hooks.enter(ctx, "secrets.Secret")
	if err != nil {
		return "", err
	}
	if fault != nil {
		return "", fault.lost("secrets.Secret")
	}
	value, ok := s.values[arn]
	if !ok {
		return "", fmt.Errorf("secrets.Secret %s: %w", arn, analyzer.ErrNotFound)
	}
	return value, nil
}
