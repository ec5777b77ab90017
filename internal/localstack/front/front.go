// Package front stands between programs that speak to AWS and moto, which
// answers in its place. It makes of moto what the programs may rely on, names
// what they ask for as IAM does, and breaks calls on purpose.
//
// What it mends: moto serves each call in a thread of its own without a lock
// around what a call reads and writes, so two conditional writes may both
// succeed, and a transaction that fails takes back what others wrote meanwhile.
// Here one call is served at a time, except reads of objects. A long poll of a
// queue is asked anew instead of being left to wait, since moto looks at a FIFO
// queue as it was when the poll began. And a message of a FIFO queue that was
// sent within five minutes is dropped although the first is gone from the queue,
// as SQS does and moto does not.
package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxBody  = 512 << 20              // bytes of a request or an answer
	pollStep = 500 * time.Millisecond // a long poll asks at least so often
)

// Front is in front of one moto.
type Front struct {
	upstream *url.URL
	account  string
	client   *http.Client
	dedup    dedup

	one sync.Mutex // moto serves one call at a time

	mu      sync.Mutex
	changed chan struct{} // closed when a queue may have got something
}

// New returns the front of a moto at an address such as http://127.0.0.1:5000.
// account is the one whose resources are named.
func New(upstream, account string) (*Front, error) {
	u, err := url.Parse(upstream)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is not the address of a server", upstream)
	}
	return &Front{
		upstream: u, account: account, changed: make(chan struct{}),
		// Connections are not kept: one that moto closes while a call is sent
		// would look like a fault that nobody asked for.
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}},
	}, nil
}

// Caller is a program that speaks to AWS.
type Caller struct {
	Name string
	// Record is told of each call; nil tells nobody. Calls may overlap.
	Record func(Call)
	// Kill ends what the program is doing, when a fault is to; nil cannot.
	Kill func() int
}

// Endpoint is where one caller finds AWS. Close it after use.
type Endpoint struct {
	URL string

	front  *Front
	caller Caller
	server *http.Server
	faults atomic.Pointer[dice]
}

// Open makes an endpoint on a free port of the loopback interface.
func (f *Front) Open(c Caller) (*Endpoint, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", c.Name, err)
	}
	e := &Endpoint{URL: "http://" + listener.Addr().String(), front: f, caller: c}
	e.server = &http.Server{Handler: e, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = e.server.Serve(listener) }() // until it is closed
	return e, nil
}

// Close stops the endpoint and drops its connections.
func (e *Endpoint) Close() error { return e.server.Close() }

// SetFaults makes calls fail from now on; nil ends that.
func (e *Endpoint) SetFaults(f *Faults) {
	if f == nil {
		e.faults.Store(nil)
		return
	}
	e.faults.Store(newDice(*f, e.caller.Name))
}

// request is a call as it came.
type request struct {
	*http.Request
	body    []byte
	service string // as in signatures: s3, dynamodb, sqs, …
	region  string
	target  string // of X-Amz-Target: the operation
}

// response is what is answered.
type response struct {
	status int
	header http.Header
	body   []byte
}

// ServeHTTP is one call.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, err := read(w, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	calls := e.front.callsOf(req)
	wrong := e.faults.Load().draw(req)
	switch {
	case !wait(r.Context(), wrong.delay):
		return
	case wrong.refuse != nil:
		e.record(calls)
		wrong.refuse.write(w, r)
		return
	case wrong.kill && !wrong.after:
		e.kill()
		panic(http.ErrAbortHandler)
	case wrong.drop && !wrong.after:
		panic(http.ErrAbortHandler)
	}
	held := req.takeEntries(wrong.partial)
	resp, err := e.front.serve(req)
	if err != nil {
		if r.Context().Err() == nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
		return
	}
	resp.refuseEntries(held)
	e.record(append(calls, missing(req, resp, calls)...))
	switch {
	case wrong.kill:
		e.kill()
		panic(http.ErrAbortHandler)
	case wrong.drop:
		panic(http.ErrAbortHandler)
	case wrong.instead != nil:
		wrong.instead.write(w, r)
		return
	case wrong.cut && len(resp.body) > 0:
		resp.cut(w)
	}
	resp.write(w, r)
}

func (e *Endpoint) record(calls []Call) {
	for _, c := range calls {
		if e.caller.Record != nil {
			c.Function = e.caller.Name
			e.caller.Record(c)
		}
	}
}

func (e *Endpoint) kill() {
	if e.caller.Kill != nil {
		e.caller.Kill()
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// read takes a call apart. All programs sign; the signature is not checked.
func read(w http.ResponseWriter, r *http.Request) (*request, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	req := &request{Request: r, body: body, service: "s3", region: "us-east-1"}
	// AWS4-HMAC-SHA256 Credential=KEY/20260302/eu-west-1/s3/aws4_request, …
	if _, scope, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		scope, _, _ = strings.Cut(scope, ",")
		if parts := strings.Split(scope, "/"); len(parts) == 5 {
			req.region, req.service = parts[2], parts[3]
		}
	}
	target := r.Header.Get("X-Amz-Target")
	req.target = target[strings.LastIndexByte(target, '.')+1:]
	return req, nil
}

// serve lets moto answer a call.
func (f *Front) serve(r *request) (*response, error) {
	switch {
	case r.service == "s3" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		return f.forward(r, r.body)
	case r.service == "sqs" && r.target == "ReceiveMessage":
		return f.poll(r)
	}
	f.one.Lock()
	defer f.one.Unlock()
	if r.service == "sqs" || r.service == "s3" { // which notifies queues
		defer f.tell()
	}
	if r.service == "sqs" {
		return f.dedup.send(r, func(body []byte) (*response, error) { return f.forward(r, body) })
	}
	return f.forward(r, r.body)
}

// tell wakes those who poll.
func (f *Front) tell() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Front) news() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// poll asks for messages until there are some or the caller has waited enough.
func (f *Front) poll(r *request) (*response, error) {
	until, body, err := longPoll(r.body)
	if err != nil {
		return f.forward(r, r.body) // moto says what is wrong with it
	}
	for {
		news := f.news()
		resp, err := f.ask(r, body)
		left := time.Until(until)
		if err != nil || resp.status != http.StatusOK || left <= 0 || bytes.Contains(resp.body, []byte(`"ReceiptHandle"`)) {
			return resp, err
		}
		select {
		case <-news:
		case <-time.After(min(left, pollStep)):
		case <-r.Context().Done():
			return nil, fmt.Errorf("poll: %w", r.Context().Err())
		}
	}
}

// ask polls once, unless the caller left, who would take messages and not have
// them.
func (f *Front) ask(r *request, body []byte) (*response, error) {
	f.one.Lock()
	defer f.one.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, fmt.Errorf("poll: %w", err)
	}
	return f.forward(r, body)
}

// forward sends a call to moto and reads its answer.
func (f *Front) forward(r *request, body []byte) (*response, error) {
	u := *r.URL
	u.Scheme, u.Host = f.upstream.Scheme, f.upstream.Host
	// A caller that leaves does not undo what it asked for, as with AWS.
	out, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, u.String(), bytes.NewReader(body)) //nolint:gosec // the host is always moto's
	if err != nil {
		return nil, fmt.Errorf("ask moto: %w", err)
	}
	out.Header = r.Header.Clone()
	out.Header.Del("Expect")
	out.Header.Del("Connection")
	out.ContentLength = int64(len(body))
	resp, err := f.client.Do(out) //nolint:gosec // the host is always moto's
	if err != nil {
		return nil, fmt.Errorf("ask moto: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read moto's answer: %w", err)
	}
	return &response{status: resp.StatusCode, header: resp.Header, body: answer}, nil
}

// write answers the caller, who may be gone.
func (a *response) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for k, v := range a.header {
		h[k] = v
	}
	h.Del("Connection")
	h.Del("Transfer-Encoding")
	if r.Method != http.MethodHead { // whose length is that of what is not sent
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) //nolint:gosec // for programs; no browser comes here
}

// cut answers with half of the body and drops the connection.
func (a *response) cut(w http.ResponseWriter) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body[:len(a.body)/2])    //nolint:gosec // for programs; no browser comes here
	_ = http.NewResponseController(w).Flush() // the caller may be gone
	panic(http.ErrAbortHandler)
}
