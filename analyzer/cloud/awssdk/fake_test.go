package awssdk_test

import (
	"encoding/json"
	"encoding/pem"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
)

// request is what a fake service was asked.
type request struct {
	*http.Request
	op   string         // "PutItem", or "PUT /bucket/key" for S3
	body map[string]any // of the JSON protocol
	raw  string
}

// reply is what it answers. Its body is sent as JSON unless it is a string.
type reply struct {
	status int // default 200
	header map[string]string
	body   any
	drop   bool // no answer: the connection is closed
	stall  bool // no answer: the connection stays open until the test ends
}

// refusal is an error of the JSON protocol.
func refusal(code string) reply {
	return reply{status: 400, body: map[string]any{"__type": "com.amazonaws#" + code, "message": code + " says the fake"}}
}

// service is a fake service: it answers with its replies, one after another,
// and remembers what it was asked.
type service struct {
	t       *testing.T
	server  *httptest.Server
	mu      sync.Mutex
	replies []reply
	asked   []request
}

// serve starts a fake service and makes it the endpoint of all of AWS.
func serve(t *testing.T, replies ...reply) *service {
	t.Helper()
	s := &service{t: t, replies: replies}
	ended := make(chan struct{})
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		answer := s.next(r, string(raw))
		switch {
		case answer.stall:
			select {
			case <-ended:
			case <-r.Context().Done():
			}
			return
		case answer.drop:
			panic(http.ErrAbortHandler)
		}
		answer.write(w, r)
	}))
	t.Cleanup(func() { close(ended); s.server.Close() })
	t.Setenv("AWS_ENDPOINT_URL", s.server.URL)
	return s
}

func (s *service) next(r *http.Request, raw string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := request{Request: r, raw: raw, op: r.Method + " " + r.URL.Path}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		asked.op = target[strings.LastIndexByte(target, '.')+1:]
		if err := json.Unmarshal([]byte(raw), &asked.body); err != nil {
			s.t.Errorf("%s: the body is no JSON: %v", asked.op, err)
		}
	}
	s.asked = append(s.asked, asked)
	if len(s.asked) > len(s.replies) {
		s.t.Errorf("call %d, %s, was not expected", len(s.asked), asked.op)
		return reply{status: 400}
	}
	return s.replies[len(s.asked)-1]
}

func (a reply) write(w http.ResponseWriter, r *http.Request) {
	body, isText := a.body.(string)
	if !isText && a.body != nil {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		out, err := json.Marshal(a.body)
		if err != nil {
			panic(err)
		}
		body = string(out)
		w.Header().Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(out)), 10)) // DynamoDB has it
	}
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = io.WriteString(w, body) // whoever asked may be gone
}

// calls returns what was asked.
func (s *service) calls() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]request(nil), s.asked...)
}

// ops returns the names of the calls.
func (s *service) ops() (names []string) {
	for _, c := range s.calls() {
		names = append(names, c.op)
	}
	return names
}

// inAFunction sets what a Lambda function finds, with credentials of nobody.
func inAFunction(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_SESSION_TOKEN": "",
		"AWS_LAMBDA_FUNCTION_NAME": "keytrail-test", "AWS_PROFILE": "", "HOME": t.TempDir(),
		"HTTP_PROXY": "", "HTTPS_PROXY": "", "AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL_DYNAMODB": "",
	} {
		t.Setenv(name, value)
	}
}

// pemOf returns the certificate of a server as a file of authorities has it.
func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// quick makes attempts that take no time between them.
var quick = awssdk.Options{Attempts: 3, MaxPause: time.Millisecond}

// clients loads clients of the endpoint that is set.
func clients(t *testing.T, o awssdk.Options) *awssdk.Clients {
	t.Helper()
	inAFunction(t)
	c, err := awssdk.Load(t.Context(), o)
	require.NoError(t, err)
	return c
}
