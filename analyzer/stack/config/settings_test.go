package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/settings"
	"github.com/keytrail/keytrail/analyzer/stack/config"
)

func put(t *testing.T, b cloud.Bucket, key, text string) {
	t.Helper()
	_, err := b.Put(t.Context(), key, strings.NewReader(text), cloud.Condition{})
	require.NoError(t, err)
}

func TestSettingsAreReadWhenTheyChange(t *testing.T) {
	b := cloudtest.NewBucket(cloudtest.BucketOptions{})
	parsed := 0
	s := config.Settings{Bucket: b, Parse: func(key string, text []byte) (*analyzer.Settings, error) {
		parsed++
		return settings.Parse(key, text)
	}}
	lateness := func(want time.Duration, times int) (etag string) {
		t.Helper()
		got, etag, err := s.Load(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, got.Lateness)
		require.Equal(t, times, parsed)
		return etag
	}
	require.Empty(t, lateness(analyzer.DefaultLateness, 0))
	put(t, b, "settings/keytrail.yaml", "lateness: 3h\n")
	etag := lateness(3*time.Hour, 1)
	require.NotEmpty(t, etag)
	require.Equal(t, etag, lateness(3*time.Hour, 1))
	put(t, b, "settings/keytrail.yaml", "lateness: 4h\n")
	require.NotEqual(t, etag, lateness(4*time.Hour, 2))

	put(t, b, "settings/keytrail.yaml", "latness: 4h\n")
	_, _, err := s.Load(t.Context())
	require.ErrorContains(t, err, "settings/keytrail.yaml:1")
	require.NoError(t, b.Delete(t.Context(), "settings/keytrail.yaml"))
	require.Empty(t, lateness(analyzer.DefaultLateness, 3))
	put(t, b, "settings/keytrail.yaml", string(make([]byte, 2<<20)))
	_, _, err = s.Load(t.Context())
	require.ErrorContains(t, err, "more than")
}
