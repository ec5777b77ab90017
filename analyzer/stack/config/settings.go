// Package config reads what the functions are told: the detections that they
// carry, and the settings in the lake bucket.
package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/settings"
	"github.com/keytrail/keytrail/fixtures"
	"github.com/keytrail/keytrail/queries"
)

// SettingsKey is where the settings are unless something else is said.
const SettingsKey = "settings/keytrail.yaml"

// maxSettings is the longest settings that are read.
const maxSettings = 1 << 20

// Settings are the settings in a bucket. It is safe for concurrent use.
type Settings struct {
	Bucket cloud.Reader
	Key    string // default SettingsKey
	// Parse reads the text of the object of a key.
	Parse func(key string, text []byte) (*analyzer.Settings, error)

	mu      sync.Mutex
	current *analyzer.Settings
	etag    string
}

// Load returns the settings and their ETag. They are read again only when they
// changed; the caller must not change them. Without an object the defaults hold,
// and the ETag is empty.
func (s *Settings) Load(ctx context.Context) (*analyzer.Settings, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.Key
	if key == "" {
		key = SettingsKey
	}
	body, info, err := s.Bucket.Get(ctx, key, "", s.etag)
	switch {
	case errors.Is(err, cloud.ErrNotModified) && s.current != nil:
		return s.current, s.etag, nil
	case errors.Is(err, analyzer.ErrNotFound):
		s.current, s.etag = &analyzer.Settings{}, ""
		s.current.Defaults()
		return s.current, "", nil
	case err != nil:
		return nil, "", fmt.Errorf("read the settings %s: %w", key, err)
	}
	text, err := io.ReadAll(io.LimitReader(body, maxSettings+1))
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, "", fmt.Errorf("read the settings %s: %w", key, err)
	}
	if len(text) > maxSettings {
		return nil, "", fmt.Errorf("read the settings %s: they have more than %d bytes", key, maxSettings)
	}
	parsed, err := s.Parse(key, text)
	if err != nil {
		return nil, "", fmt.Errorf("read the settings: %w", err)
	}
	s.current, s.etag = parsed, info.ETag
	return parsed, info.ETag, nil
}

// Catalog reads the detections that the functions carry. It is read once a
// process.
var Catalog = sync.OnceValues(func() (*catalog.Catalog, error) {
	c, err := catalog.Load(queries.Files, catalog.Options{Cases: fixtures.Cases})
	if err != nil {
		return nil, fmt.Errorf("the built-in detections are not valid:\n%w", err)
	}
	return c, nil
})

// Parse reads settings as the functions and `keytrail config check` do.
func Parse(name string, text []byte) (*analyzer.Settings, error) {
	c, err := Catalog()
	if err != nil {
		return nil, err
	}
	return settings.Parse(name, text, settings.WithDetections(c.Detections()))
}

// Of returns what handlers ask for the settings in a bucket.
func Of(bucket cloud.Reader, key string) func(context.Context) (*analyzer.Settings, error) {
	s := &Settings{Bucket: bucket, Key: key, Parse: Parse}
	return func(ctx context.Context) (*analyzer.Settings, error) {
		v, _, err := s.Load(ctx)
		return v, err
	}
}
