package awssdk_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
)

func TestClientsAreMadeOnce(t *testing.T) {
	c := clients(t, quick)
	require.Same(t, c.S3(), c.S3())
	require.Same(t, c.DynamoDB(), c.DynamoDB())
	require.Same(t, c.SQS(), c.SQS())
}

func TestObjectsAreInThePathOnlyAtAnEndpoint(t *testing.T) {
	require.False(t, clients(t, quick).S3().Options().UsePathStyle)
	t.Setenv("AWS_ENDPOINT_URL", "http://localhost:5555")
	require.True(t, clients(t, quick).S3().Options().UsePathStyle)
	t.Setenv("AWS_ENDPOINT_URL", "")
	inAFunction(t)
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://localhost:5555")
	c, err := awssdk.Load(t.Context(), quick)
	require.NoError(t, err)
	require.True(t, c.S3().Options().UsePathStyle)
}

func TestWithoutARegionNothingStarts(t *testing.T) {
	inAFunction(t)
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	_, err := awssdk.Load(t.Context(), awssdk.Options{})
	require.ErrorContains(t, err, "set AWS_REGION")

	c, err := awssdk.Load(t.Context(), awssdk.Options{Region: "eu-west-1"})
	require.NoError(t, err)
	require.Equal(t, "eu-west-1", c.Config.Region)
}

func TestSettingsThatCannotBeReadStopIt(t *testing.T) {
	inAFunction(t)
	t.Setenv("AWS_CA_BUNDLE", filepath.Join(t.TempDir(), "nowhere.pem"))
	_, err := awssdk.Load(t.Context(), awssdk.Options{})
	require.ErrorContains(t, err, "load the settings of AWS")
}

// EC2's metadata service would answer after seconds, or never.
func TestAFunctionDoesNotAskForAnInstance(t *testing.T) {
	for _, inLambda := range []bool{true, false} {
		var asked atomic.Int64
		metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(http.StatusNotFound)
		}))
		t.Cleanup(metadata.Close)
		inAFunction(t)
		for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"} {
			t.Setenv(name, "")
		}
		t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.URL)
		if !inLambda {
			t.Setenv("AWS_LAMBDA_FUNCTION_NAME", "")
		}
		c, err := awssdk.Load(t.Context(), quick)
		require.NoError(t, err)
		require.Zero(t, asked.Load(), "loading asks nobody")
		_, err = c.Config.Credentials.Retrieve(t.Context())
		require.Error(t, err)
		require.Equal(t, inLambda, asked.Load() == 0)
	}
}

func TestAnAttemptWithoutAnAnswerIsFollowedByAnother(t *testing.T) {
	impatient := quick
	impatient.AttemptTimeout = 500 * time.Millisecond

	s := serve(t, reply{stall: true}, ok)
	table := awssdk.NewTable(clients(t, impatient).DynamoDB(), "state")
	require.NoError(t, table.Write(t.Context(), cloud.Write{Item: item("a", 1, "")}))
	require.Len(t, s.calls(), 2)

	s = serve(t, reply{stall: true}, reply{body: "body"})
	r, _, err := awssdk.NewBucket(clients(t, impatient).S3(), lake).Get(t.Context(), "k", "", "")
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Len(t, s.calls(), 2)

	impatient.AttemptTimeout = 50 * time.Millisecond
	s = serve(t, reply{stall: true}, reply{stall: true}, reply{stall: true})
	_, err = awssdk.NewQueue(clients(t, impatient).SQS(), s.server.URL+"/q").Depth(t.Context())
	require.ErrorContains(t, err, "no answer to GetQueueAttributes within 50ms")
	require.Len(t, s.calls(), 3)
}

func TestTheBodyOfAnObjectMayTakeLonger(t *testing.T) {
	impatient := quick
	impatient.AttemptTimeout = 500 * time.Millisecond
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 5 {
			_, _ = io.WriteString(w, "0123456789")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(150 * time.Millisecond) // the network's time, which no clock stands for
		}
	}))
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	r, _, err := awssdk.NewBucket(clients(t, impatient).S3(), lake).Get(t.Context(), "k", "", "")
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("0123456789", 5), string(got))
	require.NoError(t, r.Close())
}

func TestACallEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, reply{stall: true})
	table := awssdk.NewTable(clients(t, awssdk.Options{}).DynamoDB(), "state")
	go func() {
		for len(s.calls()) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	_, err := table.Get(ctx, key("a"))
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, s.calls(), 1, "nobody waits for another attempt")
}

func TestAnUploadHasTimeForItsSize(t *testing.T) {
	sent := func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond): // the network's time
			return nil
		}
	}
	err := awssdk.Attempt(t.Context(), time.Millisecond, sent)
	var late interface{ RetryableError() bool }
	require.ErrorAs(t, err, &late)
	require.True(t, late.RetryableError())
	require.NoError(t, awssdk.Attempt(awssdk.WithExtraTime(t.Context(), time.Minute), time.Millisecond, sent))
}

func TestAnAttemptLeavesTheAnswerAlone(t *testing.T) {
	broken := errors.New("broken")
	require.Equal(t, broken, awssdk.Attempt(t.Context(), time.Minute, func(context.Context) error { return broken }))
	var attempt context.Context
	remember := func(ctx context.Context) error { attempt = ctx; return nil }
	require.NoError(t, awssdk.Attempt(t.Context(), time.Minute, remember))
	require.Error(t, attempt.Err(), "it is over")
	require.NoError(t, awssdk.Attempt(awssdk.WithStream(t.Context()), time.Minute, remember))
	require.NoError(t, attempt.Err(), "its stream is yet to be read")

	untilTheEnd := func(ctx context.Context) error { <-ctx.Done(); return nil }
	require.NoError(t, awssdk.Attempt(t.Context(), time.Millisecond, untilTheEnd), "an answer in the last moment")
	require.Error(t, awssdk.Attempt(awssdk.WithStream(t.Context()), time.Millisecond, untilTheEnd), "its stream is cut off")
}

func TestPausesGrowToALimit(t *testing.T) {
	longest := func(attempts int, throttled bool) (most time.Duration) {
		for range 2000 {
			d := awssdk.PauseBefore(attempts, throttled, 5*time.Second)
			require.GreaterOrEqual(t, d, time.Duration(0))
			most = max(most, d)
		}
		return most
	}
	for _, c := range []struct {
		attempts  int
		throttled bool
		bound     time.Duration
	}{
		{1, false, 200 * time.Millisecond},
		{2, false, 400 * time.Millisecond},
		{1, true, time.Second},
		{2, true, 2 * time.Second},
		{9, true, 5 * time.Second},
		{100, false, 5 * time.Second},
	} {
		most := longest(c.attempts, c.throttled)
		require.LessOrEqual(t, most, c.bound)
		require.Greater(t, most, c.bound*9/10)
	}
	require.LessOrEqual(t, awssdk.PauseBefore(5, true, time.Millisecond), time.Millisecond)
}

// patient is a retryer that would wait for an hour.
type patient struct{ aws.NopRetryer }

func (patient) RetryDelay(int, error) (time.Duration, error) { return time.Hour, nil }

func TestAPauseEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, awssdk.Pause(ctx, patient{}, 1, nil), context.Canceled)
	require.ErrorContains(t, awssdk.Pause(t.Context(), aws.NopRetryer{}, 1, nil), "pause before another attempt")
}
