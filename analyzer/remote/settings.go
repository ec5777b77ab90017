package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
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
