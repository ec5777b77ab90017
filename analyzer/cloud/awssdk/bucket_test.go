package awssdk_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
)

// A bucket without versions is tried with the end-to-end tests: this emulator
// says versions in some answers all the same.
func TestABucketDoesWhatEveryBucketMust(t *testing.T) {
	cloudtest.RunBucket(t, emulated)
}

var lake = "lake"

// emulated returns an empty bucket with versions, of an S3 in this process.
func emulated(t *testing.T) cloud.Bucket {
	t.Helper()
	backend := s3mem.New()
	fake := gofakes3.New(backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.Header.Get("If-Match") != "" {
			// Where S3 answers 404, the emulator answers 412.
			if _, err := backend.HeadObject(lake, strings.TrimPrefix(r.URL.Path, "/"+lake+"/")); err != nil {
				s3Error(404, "NoSuchKey").write(w, r)
				return
			}
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	client := clients(t, quick).S3()
	_, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &lake})
	require.NoError(t, err)
	_, err = client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &lake, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	require.NoError(t, err)
	return awssdk.NewBucket(client, lake)
}

func newBucket(t *testing.T, replies ...reply) (*awssdk.Bucket, *service) {
	t.Helper()
	s := serve(t, replies...)
	return awssdk.NewBucket(clients(t, quick).S3(), lake), s
}

// s3Error is an error of S3.
func s3Error(status int, code string) reply {
	return reply{status: status, body: `<?xml version="1.0"?><Error><Code>` + code + `</Code><Message>` + code + ` says the fake</Message></Error>`}
}

// requireOnly checks that an error wraps one of what callers decide by, or none.
func requireOnly(t *testing.T, err, wanted error) {
	t.Helper()
	for _, sentinel := range []error{analyzer.ErrNotFound, analyzer.ErrConflict, cloud.ErrNotModified} {
		require.Equal(t, errors.Is(wanted, sentinel), errors.Is(err, sentinel), "%v: %v", sentinel, err)
	}
}

func TestWhatS3AnswersToAPut(t *testing.T) {
	for name, c := range map[string]struct {
		replies []reply
		is      error // of sentinels
		says    string
	}{
		"the condition does not hold":        {[]reply{s3Error(412, "PreconditionFailed")}, analyzer.ErrConflict, "PreconditionFailed"},
		"another write is under way":         {[]reply{s3Error(409, "ConditionalRequestConflict")}, analyzer.ErrConflict, "ConditionalRequestConflict"},
		"our own first try was not heard of": {[]reply{{drop: true}, s3Error(412, "PreconditionFailed")}, analyzer.ErrConflict, "PreconditionFailed"},
		"another 409":                        {[]reply{s3Error(409, "OperationAborted")}, nil, "OperationAborted"},
		"no object to match":                 {[]reply{s3Error(404, "NoSuchKey")}, analyzer.ErrNotFound, "NoSuchKey"},
		"no bucket":                          {[]reply{s3Error(404, "NoSuchBucket")}, nil, "NoSuchBucket"},
		"denied":                             {[]reply{s3Error(403, "AccessDenied")}, nil, "AccessDenied"},
		"never an answer":                    {[]reply{{drop: true}, {drop: true}, {drop: true}}, nil, "EOF"},
		"slow down":                          {[]reply{s3Error(503, "SlowDown"), s3Error(503, "SlowDown"), s3Error(503, "SlowDown")}, nil, "SlowDown"},
	} {
		t.Run(name, func(t *testing.T) {
			bucket, s := newBucket(t, c.replies...)
			_, err := bucket.Put(t.Context(), "memory/manifest.json", strings.NewReader("{}"), cloud.Condition{IfMatch: `"1"`})
			require.ErrorContains(t, err, "write s3://lake/memory/manifest.json: ")
			require.ErrorContains(t, err, c.says)
			requireOnly(t, err, c.is)
			require.Len(t, s.calls(), len(c.replies))
		})
	}
}

func TestThrottlingPasses(t *testing.T) {
	bucket, s := newBucket(t, s3Error(503, "SlowDown"), reply{status: 500}, reply{header: map[string]string{"ETag": `"2"`}})
	info, err := bucket.Put(t.Context(), "k", strings.NewReader("body"), cloud.Condition{})
	require.NoError(t, err)
	require.Equal(t, cloud.ObjectInfo{Key: "k", Size: 4, ETag: `"2"`}, info)
	for _, c := range s.calls() {
		require.Equal(t, "body", c.raw, "every try sends it from the beginning")
	}
}

func TestAConditionIsS3s(t *testing.T) {
	for _, c := range []struct {
		condition            cloud.Condition
		ifNoneMatch, ifMatch string
	}{
		{cloud.Condition{}, "", ""},
		{cloud.Condition{IfAbsent: true}, "*", ""},
		{cloud.Condition{IfMatch: `"1"`}, "", `"1"`},
	} {
		bucket, s := newBucket(t, reply{})
		_, err := bucket.Put(t.Context(), "a b", strings.NewReader(""), c.condition)
		require.NoError(t, err)
		call := s.calls()[0]
		require.Equal(t, "PUT /lake/a b", call.op, "in the path, as emulators want it")
		require.Equal(t, c.ifNoneMatch, call.Header.Get("If-None-Match"))
		require.Equal(t, c.ifMatch, call.Header.Get("If-Match"))
		require.EqualValues(t, 0, call.ContentLength)
	}
	bucket, s := newBucket(t)
	_, err := bucket.Put(t.Context(), "k", strings.NewReader(""), cloud.Condition{IfAbsent: true, IfMatch: `"1"`})
	require.ErrorContains(t, err, "cannot be absent and have an ETag")
	require.Empty(t, s.calls())
}

// As in AWS, where a body is sent with its checksum at its end.
func TestAFileIsSentWithItsLengthAndStaysOpen(t *testing.T) {
	content := bytes.Repeat([]byte("neither hex nor\n"), 1<<16)
	name := filepath.Join(t.TempDir(), "memory.tar")
	require.NoError(t, os.WriteFile(name, content, 0o600))
	f, err := os.Open(name)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close(), "the caller closes it") }()
	_, err = f.Seek(7, io.SeekStart)
	require.NoError(t, err)

	var tries atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read what was sent: %v", err)
		}
		plain := regexp.MustCompile(`(?m)^[0-9a-f]+\r\n|\r\n0\r\nx-amz-checksum-crc32:\S+\r\n\r\n$`).ReplaceAll(got, nil)
		if !bytes.Equal(content, plain) {
			t.Errorf("%d bytes came of %d", len(plain), len(content))
		}
		if r.ContentLength != int64(len(got)) || r.TransferEncoding != nil || r.Header.Get("X-Amz-Decoded-Content-Length") != strconv.Itoa(len(content)) {
			t.Errorf("sent without its length: %d %v %v", r.ContentLength, r.TransferEncoding, r.Header)
		}
		if tries.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(authority, pemOf(server), 0o600))
	t.Setenv("AWS_CA_BUNDLE", authority)
	t.Setenv("AWS_ENDPOINT_URL", server.URL)

	info, err := awssdk.NewBucket(clients(t, quick).S3(), lake).Put(t.Context(), "memory/1.tar", f, cloud.Condition{})
	require.NoError(t, err)
	require.EqualValues(t, len(content), info.Size)
	require.EqualValues(t, 2, tries.Load())
}

func TestWhatS3AnswersToAGet(t *testing.T) {
	for name, c := range map[string]struct {
		reply reply
		is    error
		says  string
	}{
		"not modified":      {reply{status: 304}, cloud.ErrNotModified, "304"},
		"no object":         {s3Error(404, "NoSuchKey"), analyzer.ErrNotFound, "NoSuchKey"},
		"no version":        {s3Error(404, "NoSuchVersion"), analyzer.ErrNotFound, "NoSuchVersion"},
		"no bucket":         {s3Error(404, "NoSuchBucket"), nil, "NoSuchBucket"},
		"denied":            {s3Error(403, "AccessDenied"), nil, "without s3:ListBucket on the bucket, S3 answers so when there is no such object"},
		"in another Region": {reply{status: 301, header: map[string]string{"X-Amz-Bucket-Region": "us-east-1"}}, nil, "the bucket is in the Region us-east-1"},
	} {
		t.Run(name, func(t *testing.T) {
			bucket, s := newBucket(t, c.reply)
			_, _, err := bucket.Get(t.Context(), "settings/keytrail.yaml", "v1", `"1"`)
			require.ErrorContains(t, err, "read s3://lake/settings/keytrail.yaml: ")
			require.ErrorContains(t, err, c.says)
			requireOnly(t, err, c.is)
			call := s.calls()[0]
			require.Equal(t, "v1", call.URL.Query().Get("versionId"))
			require.Equal(t, `"1"`, call.Header.Get("If-None-Match"))
		})
	}
}

func TestAHeadHasNoBodyToTellFrom(t *testing.T) {
	bucket, _ := newBucket(t, reply{status: 404}, reply{status: 403})
	_, err := bucket.Head(t.Context(), "k")
	require.ErrorIs(t, err, analyzer.ErrNotFound)
	_, err = bucket.Head(t.Context(), "k")
	require.NotErrorIs(t, err, analyzer.ErrNotFound)
	require.ErrorContains(t, err, "without s3:ListBucket")
}

// CloudTrail's log files have Content-Encoding: gzip, which HTTP clients like to
// undo.
func TestACompressedObjectComesAsItIs(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte(`{"Records":[]}`))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	bucket, s := newBucket(t, reply{body: packed.String(), header: map[string]string{"Content-Encoding": "gzip", "Content-Type": "application/json"}})
	r, info, err := bucket.Get(t.Context(), "AWSLogs/x.json.gz", "", "")
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, packed.String(), string(got))
	require.EqualValues(t, packed.Len(), info.Size)
	require.Equal(t, "identity", s.calls()[0].Header.Get("Accept-Encoding"))
}

// brokenOff sends the first half of a body and then waits or hangs up.
func brokenOff(t *testing.T, hang bool) *awssdk.Bucket {
	t.Helper()
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "01234")
		_ = http.NewResponseController(w).Flush()
		if !hang {
			panic(http.ErrAbortHandler)
		}
		<-ended
	}))
	t.Cleanup(func() { close(ended); server.Close() })
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	return awssdk.NewBucket(clients(t, quick).S3(), lake)
}

func TestABodyThatEndsEarlyIsNotAFaultOfTheData(t *testing.T) {
	r, _, err := brokenOff(t, false).Get(t.Context(), "k", "", "")
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.Equal(t, "01234", string(got))
	require.ErrorContains(t, err, "read s3://lake/k: the connection ended before the object did")
	require.NotErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NoError(t, r.Close())
}

func TestABodyThatStandsStillIsGivenUp(t *testing.T) {
	bucket := brokenOff(t, true)
	bucket.SetStallTimeout(50 * time.Millisecond)
	r, _, err := bucket.Get(t.Context(), "k", "", "")
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	require.ErrorContains(t, err, "read s3://lake/k: no byte came for 50ms")
	require.NotErrorIs(t, err, context.Canceled, "nobody cancelled it")
	require.NoError(t, r.Close())
}

func TestABodyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, _, err := brokenOff(t, true).Get(ctx, "k", "", "")
	require.NoError(t, err)
	cancel()
	_, err = io.ReadAll(r)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, r.Close())
}

func TestABodyWithAnotherChecksumIsAnError(t *testing.T) {
	header := map[string]string{"X-Amz-Checksum-Crc32": "AAAAAA==", "X-Amz-Checksum-Type": "FULL_OBJECT"}
	bucket, s := newBucket(t, reply{body: "body", header: header})
	r, _, err := bucket.Get(t.Context(), "k", "", "")
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	require.ErrorContains(t, err, "checksum")
	require.NoError(t, r.Close())
	require.Equal(t, "ENABLED", s.calls()[0].Header.Get("X-Amz-Checksum-Mode"))
}

// page is a page of a listing.
func page(next string, keys ...string) reply {
	var b strings.Builder
	fmt.Fprintf(&b, `<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>%t</IsTruncated><NextContinuationToken>%s</NextContinuationToken>`, next != "", next)
	for _, k := range keys {
		fmt.Fprintf(&b, `<Contents><Key>%s</Key><Size>1</Size><ETag>"1"</ETag><LastModified>2026-03-02T09:00:00.000Z</LastModified></Contents>`, k)
	}
	return reply{body: b.String() + `</ListBucketResult>`}
}

func TestAListGoesOnAfterAnEmptyPage(t *testing.T) {
	bucket, s := newBucket(t, page("t1"), page("t2", "in/a+b%2Bc%0A"))
	objects, more, err := bucket.List(t.Context(), "in/", "in/A")
	require.NoError(t, err)
	require.True(t, more)
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	require.Equal(t, []cloud.ObjectInfo{{Key: "in/a b+c\n", Size: 1, ETag: `"1"`, Modified: at}}, objects)
	first, second := s.calls()[0].URL.Query(), s.calls()[1].URL.Query()
	require.Equal(t, "in/", first.Get("prefix"))
	require.Equal(t, "in/A", first.Get("start-after"))
	require.Equal(t, "t1", second.Get("continuation-token"))

	bucket, _ = newBucket(t, page("", "in/%zz"))
	_, _, err = bucket.List(t.Context(), "in/", "")
	require.ErrorContains(t, err, "decode the key")

	bucket, _ = newBucket(t, s3Error(403, "AccessDenied"))
	_, _, err = bucket.List(t.Context(), "in/", "")
	require.NotContains(t, err.Error(), "no such object")
}

func TestThousandsAreDeletedAThousandAtATime(t *testing.T) {
	keys := make([]string, 2500)
	for i := range keys {
		keys[i] = fmt.Sprintf("inbox/%d.json", i)
	}
	refused := reply{body: `<DeleteResult><Error><Key>inbox/3.json</Key><Code>AccessDenied</Code><Message>no</Message></Error>` +
		`<Error><Key>inbox/4.json</Key><Code>NoSuchKey</Code></Error></DeleteResult>`}
	done := reply{body: `<DeleteResult></DeleteResult>`}
	bucket, s := newBucket(t, refused, s3Error(403, "AccessDenied"), done)
	err := bucket.Delete(t.Context(), keys...)
	require.ErrorContains(t, err, "delete s3://lake/inbox/3.json: api error AccessDenied: no")
	require.ErrorContains(t, err, "delete 1000 objects, the first of which is s3://lake/inbox/1000.json: ")
	require.NotContains(t, err.Error(), "inbox/4.json", "it is not there, which was asked for")
	var sizes []int
	for _, c := range s.calls() {
		require.Equal(t, "POST /lake", c.op)
		sizes = append(sizes, strings.Count(c.raw, "<Key>"))
	}
	require.Equal(t, []int{1000, 1000, 500}, sizes, "what fails does not keep the others")
}

func TestParallelDownloadsKeepTheirConnections(t *testing.T) {
	const parallel = 32
	var opened atomic.Int64
	var round sync.WaitGroup
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		round.Done()
		round.Wait() // all are under way at once
		_, _ = io.WriteString(w, "body")
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	bucket := awssdk.NewBucket(clients(t, quick).S3(), lake)
	for range 3 {
		round.Add(parallel)
		var downloads sync.WaitGroup
		for range parallel {
			downloads.Go(func() {
				r, _, err := bucket.Get(t.Context(), "k", "", "")
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadAll(r); err != nil {
					t.Error(err)
				}
				_ = r.Close()
			})
		}
		downloads.Wait()
	}
	require.EqualValues(t, parallel, opened.Load())
}
