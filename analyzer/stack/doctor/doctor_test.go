package doctor

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/cloud/trails"
	"github.com/keytrail/keytrail/analyzer/stack"
)

func TestAnAccountSeesKMSWhenOneTrailDoes(t *testing.T) {
	sees := trails.Trail{Name: "all", ARN: "arn:aws:cloudtrail:eu-west-1:111122223333:trail/all", Logging: true, MultiRegion: true}
	writes := trails.Trail{
		Name: "writes", ARN: "arn:aws:cloudtrail:eu-west-1:111122223333:trail/writes", Logging: true,
		Selectors: []trails.Selector{{ReadWrite: "WriteOnly", Management: true}},
	}
	for _, test := range []struct {
		name   string
		trails []trails.Trail
		sees   bool
		metric string
	}{
		{"none", nil, false, `"TrailBlind":1`},
		{"a trail of writes alone", []trails.Trail{writes}, false, `"TrailBlind":1`},
		{"both", []trails.Trail{writes, sees}, true, `"TrailBlind":0`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			h := Handler{
				Trails:  func(context.Context) ([]trails.Trail, error) { return test.trails, nil },
				Log:     slog.New(slog.NewJSONHandler(&out, nil)),
				Metrics: &stack.Metrics{Out: &out, Stack: "test", Now: func() time.Time { return time.Unix(1772442000, 0) }},
			}
			rep, err := h.Handle(t.Context())
			require.NoError(t, err)
			require.Equal(t, test.sees, rep.Sees)
			require.Len(t, rep.Trails, len(test.trails))
			require.Contains(t, out.String(), test.metric)
		})
	}
}

func TestTrailsThatCannotBeReadAreAnError(t *testing.T) {
	h := Handler{Trails: func(context.Context) ([]trails.Trail, error) { return nil, errors.New("access denied") }, Log: slog.New(slog.DiscardHandler)}
	_, err := h.Handle(t.Context())
	require.ErrorContains(t, err, "access denied")
}
