package simulate_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/keytrail/keytrail/analyzer/simulate"
)

func inflate(t testing.TB, data []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	require.NoError(t, err)
	b, err := io.ReadAll(z)
	require.NoError(t, err)
	return b
}

type discard struct{}

func (discard) Create(string) (io.WriteCloser, error) { return discard{}, nil }
func (discard) Write(b []byte) (int, error)           { return len(b), nil }
func (discard) Close() error                          { return nil }

func TestTrafficIsAsLongAndAsDenseAsRealLogs(t *testing.T) {
	for _, c := range []struct {
		name  string
		share float64
	}{{"KMS alone", 1}, {"5 % KMS", 0.05}} {
		t.Run(c.name, func(t *testing.T) {
			got, err := simulate.Traffic(context.Background(), simulate.Options{Seed: 7, Records: 60_000, KMSShare: c.share, Files: 12}, discard{})
			require.NoError(t, err)
			size := float64(got.RawBytes) / float64(got.Records)
			ratio := float64(got.RawBytes) / float64(got.GzBytes)
			t.Logf("%.0f bytes a record, %.1f : 1, %d KMS", size, ratio, got.KMS)
			require.EqualValues(t, 60_000, got.Records)
			require.InDelta(t, 1400, size, 200, "bytes a record")
			require.InDelta(t, 10, ratio, 2, "compression")
			require.InDelta(t, c.share, float64(got.KMS)/float64(got.Records), 0.02)
		})
	}
}

func BenchmarkTraffic(b *testing.B) {
	got, err := simulate.Traffic(context.Background(), simulate.Options{Seed: 1, Records: int64(b.N), Workers: 1, Level: -2}, discard{})
	require.NoError(b, err)
	b.SetBytes(got.RawBytes / got.Records)
}

var (
	_ = json.Valid
	_ = gjson.Valid
	_ = time.Now
)
