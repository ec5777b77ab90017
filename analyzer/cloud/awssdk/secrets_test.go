package awssdk_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk/secrets"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
)

const (
	secretARN    = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:keytrail/slack-AbCdEf" //nolint:gosec // names no secret that there is
	parameterARN = "arn:aws-cn:ssm:cn-north-1:111122223333:parameter/keytrail/slack"
	hushed       = "xoxb-not-for-your-eyes"
)

func secretOf(value string) reply { return reply{body: object{"SecretString": value}} }

func newSecrets(t *testing.T, replies ...reply) (*secrets.Secrets, *cloudtest.Clock, *service) {
	t.Helper()
	s := serve(t, replies...)
	clock := cloudtest.NewClock(time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC))
	secrets := secrets.New(clients(t, quick))
	secrets.Now = clock.Now
	return secrets, clock, s
}

func TestASecretIsReadInTheRegionOfItsARN(t *testing.T) {
	secrets, _, s := newSecrets(t, secretOf(hushed), reply{body: object{"Parameter": object{"Value": hushed}}})
	for _, arn := range []string{secretARN, parameterARN} {
		value, err := secrets.Secret(t.Context(), arn)
		require.NoError(t, err)
		require.Equal(t, hushed, value)
	}
	calls := s.calls()
	require.Equal(t, []string{"GetSecretValue", "GetParameter"}, s.ops())
	require.Equal(t, object{"SecretId": secretARN}, calls[0].body)
	require.Contains(t, calls[0].Header.Get("Authorization"), "/eu-central-1/secretsmanager/")
	require.Equal(t, object{"Name": parameterARN, "WithDecryption": true}, calls[1].body)
	require.Contains(t, calls[1].Header.Get("Authorization"), "/cn-north-1/ssm/")
}

func TestWhatASecretIs(t *testing.T) {
	for text, want := range map[string]string{ //nolint:gosec // made up
		hushed:                       hushed,
		"  " + hushed + "\n":         hushed,
		`{"token":"` + hushed + `"}`: hushed,
		`{"webhook": " https://example.com/x\n"}`: "https://example.com/x",
		`{"token":"a","webhook":"b"}`:             `{"token":"a","webhook":"b"}`,
		`{"password":"a"}`:                        `{"password":"a"}`,
		`{"token":7}`:                             `{"token":7}`,
		`"` + hushed + `"`:                        `"` + hushed + `"`,
	} {
		secrets, _, _ := newSecrets(t, secretOf(text))
		value, err := secrets.Secret(t.Context(), secretARN)
		require.NoError(t, err)
		require.Equal(t, want, value, text)
	}
	secrets, _, _ := newSecrets(t, reply{body: object{"SecretBinary": base64.StdEncoding.EncodeToString([]byte(hushed))}})
	value, err := secrets.Secret(t.Context(), secretARN)
	require.NoError(t, err)
	require.Equal(t, hushed, value)
}

func TestASecretIsKeptForAWhile(t *testing.T) {
	secrets, clock, s := newSecrets(t, secretOf("first"), secretOf("second"), refusal("InternalServiceError"), refusal("InternalServiceError"), secretOf("third"))
	read := func(want string) {
		t.Helper()
		value, err := secrets.Secret(t.Context(), secretARN)
		require.NoError(t, err)
		require.Equal(t, want, value)
	}
	read("first")
	clock.Advance(5*time.Minute - time.Nanosecond)
	read("first")
	clock.Advance(time.Nanosecond)
	read("second")
	secrets.MaxAge = time.Hour
	clock.Advance(time.Hour)
	_, err := secrets.Secret(t.Context(), secretARN)
	require.Error(t, err)
	_, err = secrets.Secret(t.Context(), secretARN)
	require.Error(t, err, "a failure is not kept")
	read("third")
	clock.Advance(time.Hour - 1)
	read("third")
	require.Len(t, s.calls(), 5)
}

func TestOfManyCallersOneAsks(t *testing.T) {
	var asked atomic.Int64
	waiting := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-waiting
		secretOf(hushed).write(w, r)
	}))
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	secrets := secrets.New(clients(t, quick))

	var callers, started sync.WaitGroup
	for range 20 {
		started.Add(1)
		callers.Go(func() {
			started.Done()
			value, err := secrets.Secret(t.Context(), secretARN)
			if err != nil || value != hushed {
				t.Errorf("%q %v", value, err)
			}
		})
	}
	started.Wait()
	for asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := secrets.Secret(impatient, secretARN)
	require.ErrorIs(t, err, context.Canceled, "who waits may give up")
	close(waiting)
	callers.Wait()
	require.EqualValues(t, 1, asked.Load())
}

func TestASecretThatIsNotThere(t *testing.T) {
	secrets, _, _ := newSecrets(t, refusal("ResourceNotFoundException"), refusal("ParameterNotFound"), refusal("AccessDeniedException"), secretOf(" \n"), reply{body: object{}})
	for _, arn := range []string{secretARN, parameterARN} {
		_, err := secrets.Secret(t.Context(), arn)
		require.ErrorIs(t, err, analyzer.ErrNotFound)
		require.ErrorContains(t, err, arn)
	}
	_, err := secrets.Secret(t.Context(), secretARN)
	require.NotErrorIs(t, err, analyzer.ErrNotFound)
	require.ErrorContains(t, err, "AccessDeniedException")
	_, err = secrets.Secret(t.Context(), secretARN)
	require.ErrorContains(t, err, "it is empty")
	_, err = secrets.Secret(t.Context(), parameterARN)
	require.ErrorContains(t, err, "it is empty")
}

// Everything that can go wrong is tried, and everything that comes out is
// searched for the secret.
func TestNoSecretIsInAnErrorOrLog(t *testing.T) {
	var log bytes.Buffer
	was := slog.Default()
	defer slog.SetDefault(was)
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil))) // the standard log, which the SDK may write to, goes there too

	value, err := json.Marshal(hushed)
	require.NoError(t, err)
	faults := []reply{
		{body: `{"SecretString":` + string(value)},
		{body: `{"SecretString":` + string(value) + `,"CreatedDate":` + string(value) + `}`},
		{body: `{"SecretString":[` + string(value) + `]}`},
		{body: `{"SecretBinary":` + string(value) + `}`},
		{body: `{"Parameter":{"Value":` + string(value)},
		{body: `{"Parameter":` + string(value) + `}`},
		{body: `{"Parameter":{"Value":{"x":` + string(value) + `}}}`},
		{body: hushed},
		{body: string(value)},
		{status: 400, body: hushed},
		{status: 400, body: `{"__type":` + string(value)},
		{status: 404, body: `<html>` + hushed + `</html>`},
	}
	for i, fault := range faults {
		for _, arn := range []string{secretARN, parameterARN} {
			secrets, _, _ := newSecrets(t, fault, fault, fault)
			_, err := secrets.Secret(t.Context(), arn)
			for e := err; e != nil; e = unwrap(e) {
				fmt.Fprintf(&log, "%v %+v %#v %s\n", e, e, e, bytesOf(fmt.Sprintf("%#v", e)))
			}
			slog.Info("read the secret", "error", err, "secrets", fmt.Sprintf("%v %+v", secrets, secrets))
			require.False(t, strings.Contains(log.String(), hushed), "fault %d of %s: %v", i, arn, err)
		}
	}

	secrets, _, _ := newSecrets(t)
	for _, wrong := range []string{
		hushed, "https://example.com/services/" + hushed, "arn:aws:s3:::" + hushed, "arn:aws:ssm:eu-central-1:111122223333:document/" + hushed, "",
	} {
		_, err := secrets.Secret(t.Context(), wrong)
		require.ErrorContains(t, err, "is not the ARN of a secret")
		require.NotContains(t, fmt.Sprintf("%v %#v", err, err), hushed, "somebody put the secret in the place of its ARN")
	}

	secrets, _, _ = newSecrets(t, secretOf(hushed))
	_, err = secrets.Secret(t.Context(), secretARN)
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", secrets, secrets, secrets), hushed, "what is kept is not printed")
}

// unwrap goes one step down, into the first of several.
func unwrap(err error) error {
	switch e := err.(type) { //nolint:errorlint // it walks the chain itself
	case interface{ Unwrap() error }:
		return e.Unwrap()
	case interface{ Unwrap() []error }:
		return e.Unwrap()[len(e.Unwrap())-1]
	}
	return nil
}

// bytesOf writes the bytes that a dump shows as numbers as text again.
func bytesOf(dump string) string {
	var text strings.Builder
	for _, word := range strings.FieldsFunc(dump, func(r rune) bool { return r == ',' || r == ' ' || r == '{' || r == '}' }) {
		var b byte
		if n, err := fmt.Sscanf(word, "0x%x", &b); n == 1 && err == nil {
			text.WriteByte(b)
		}
	}
	return text.String()
}
