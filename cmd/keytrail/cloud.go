package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/stack/config"
)

// The verbs that work on a deployed stack are told where it is by flags, or by
// the variables that the stack's output "Environment" sets.

// must returns a flag's value, or the variable's, or says which of them to give.
func (a *app) must(flag, value, variable string) (string, error) {
	if value = cmp.Or(value, a.env(variable)); value == "" {
		return "", usagef("say which: --%s, or %s in the environment, as the stack's output Environment has it", flag, variable)
	}
	return value, nil
}

// aws returns the clients of AWS.
func (a *app) aws(ctx context.Context) (*awssdk.Clients, error) {
	clients, err := awssdk.Load(ctx, awssdk.Options{})
	if err != nil {
		return nil, fmt.Errorf("%w (set AWS_PROFILE or sign in first)", err)
	}
	return clients, nil
}

// remoteSettings reads the settings of a stack as text. Without any it returns
// nothing.
func remoteSettings(ctx context.Context, bucket cloud.Reader, key string) (text []byte, etag string, err error) {
	body, info, err := bucket.Get(ctx, key, "", "")
	if errors.Is(err, analyzer.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the stack's settings: %w", err)
	}
	text, err = io.ReadAll(io.LimitReader(body, 2<<20))
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, "", fmt.Errorf("read the stack's settings: %w", err)
	}
	return text, info.ETag, nil
}

// pushSettings replaces the settings of a stack, if nobody else did meanwhile.
func pushSettings(ctx context.Context, bucket cloud.Bucket, key string, text []byte, was string) error {
	_, err := bucket.Put(ctx, key, bytes.NewReader(text), cloud.Condition{IfMatch: was, IfAbsent: was == ""})
	if errors.Is(err, analyzer.ErrConflict) {
		return errors.New("somebody else changed the stack's settings just now: look at theirs, and push again")
	}
	if err != nil {
		return fmt.Errorf("write the stack's settings: %w", err)
	}
	return nil
}

func (a *app) settingsKey() string { return cmp.Or(a.env(stack.EnvSettings), config.SettingsKey) }
