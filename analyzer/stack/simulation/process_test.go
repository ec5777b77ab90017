package simulation

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/remote"
	"github.com/keytrail/keytrail/analyzer/slack"
	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
	"github.com/keytrail/keytrail/analyzer/stack/analyze"
	"github.com/keytrail/keytrail/analyzer/stack/ingest"
	"github.com/keytrail/keytrail/analyzer/stack/notify"
	"github.com/keytrail/keytrail/analyzer/store/table"
	"github.com/keytrail/keytrail/analyzer/store/typed"
)

// environment is what a function keeps between invocations: its process.
type environment struct {
	function string
	w        *world
	current  *process
	fault    *cloudtest.Fault // of the call under way
	ingest   *ingest.Handler
	analyze  *analyze.Handler
	notify   *notify.Handler
}

// process is one invocation, which runs only when the scheduler lets it.
type process struct {
	env     *environment
	id      int
	began   time.Time
	timeout time.Duration
	resume  chan verdict
	yielded chan string // the next call; closed at the end
	killed  bool
	end     func() // what its answer does, when it is not killed
	op      string // the call that it is about to make
}

// verdict is what becomes of the next call.
type verdict struct {
	kill  bool
	fault *cloudtest.Fault
}

// hooks let the scheduler into every call of the environment's invocation.
func (e *environment) hooks() cloudtest.Hooks {
	return cloudtest.Hooks{Before: e.before, Faults: func(string) *cloudtest.Fault { return e.fault }}
}

func (e *environment) before(op string) error {
	p := e.current
	if p == nil { // of a drill, which has no scheduler
		return nil
	}
	if p.killed {
		return errKilled
	}
	p.yielded <- op
	v := <-p.resume
	e.fault = v.fault
	if v.kill {
		p.killed = true
		return errKilled
	}
	return nil
}

// RoundTrip carries a call to Slack. What was sent and whether it arrived is up
// to the scheduler, as for every other service.
func (e *environment) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := e.before("slack" + req.URL.Path); err != nil {
		return nil, err
	}
	fault := e.fault
	if fault != nil && !fault.After {
		return nil, fault.Err
	}
	// Simulated deadlines are long over: the network must not heed them.
	resp, err := http.DefaultTransport.RoundTrip(req.WithContext(context.WithoutCancel(req.Context())))
	if err != nil {
		return nil, fmt.Errorf("the fake Slack does not answer: %w", err)
	}
	if fault != nil {
		_ = resp.Body.Close()
		return nil, fault.Err
	}
	return resp, nil
}

// moment is a context whose deadline is on the simulated clock.
type moment struct {
	context.Context
	deadline time.Time
}

func (m moment) Deadline() (time.Time, bool) { return m.deadline, true }

// logger writes what functions log, when somebody looks on.
func (w *world) logger(function string) *slog.Logger {
	if w.log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})).With("function", function)
}

// environment returns a warm environment of a function, or a new one.
func (w *world) environment(function string) *environment {
	if idle := w.warm[function]; len(idle) > 0 && !w.chance(0.2) {
		w.warm[function] = idle[:len(idle)-1]
		return idle[len(idle)-1]
	}
	e := &environment{function: function, w: w}
	w.ids++
	dir := filepath.Join(w.dir, fmt.Sprintf("%s-%d", function, w.ids))
	require.NoError(w.t, os.MkdirAll(dir, 0o700))
	h, log, now := e.hooks(), w.logger(function), w.clock.Now
	bucket, tbl := w.lake.With(h), w.table.With(h)
	var lakes []ingest.Lake
	var shards []analyze.Shard
	for n := range w.shards {
		part := filepath.Join(dir, fmt.Sprint(n))
		l, err := remote.Open(remote.Options{Bucket: bucket, Shard: n, Shards: w.shards, Cache: filepath.Join(part, "lake"), Parallel: 1, Now: now, Log: log})
		require.NoError(w.t, err)
		m := remote.OpenMemory(remote.MemoryOptions{Bucket: bucket, Shard: n, Dir: filepath.Join(part, "memory")})
		lakes, shards = append(lakes, l), append(shards, analyze.Shard{Lake: l, Memory: m})
	}
	settings := func(context.Context) (*analyzer.Settings, error) { return w.settings, nil }
	switch function {
	case "ingest":
		e.ingest = &ingest.Handler{
			Lakes: lakes, Buckets: func(string) cloud.Reader { return w.trail.With(h) }, Events: w.catalog.Events(),
			Temp: dir, Reserve: 10 * time.Second, Now: now, Log: log,
		}
	case "analyze":
		e.analyze = &analyze.Handler{
			Shards: shards, Table: tbl, Queue: w.notifyQueue.With(h), Settings: settings, Catalog: w.catalog,
			Temp: dir, MemoryLimit: 256 << 20, Threads: 1, Lease: leaseTime, Reserve: 20 * time.Second, Workers: 1,
			Owner: func(context.Context) string { return fmt.Sprintf("invocation-%d", e.current.id) }, Now: now, Log: log,
		}
	case "notify":
		values := table.New(tbl, table.Options{Now: now, Workers: 1})
		e.notify = &notify.Handler{
			Store: values, Queue: w.notifyQueue.With(h), Settings: settings, Catalog: w.catalog,
			Reserve: 10 * time.Second, Now: now, Log: log,
			Slack: func(_ context.Context, s *analyzer.Settings) (slack.Notifier, error) {
				return slack.NewBot(slack.Options{
					Token: slacktest.Token, BaseURL: w.slack.URL, Settings: s.Slack, Clock: w.clock, HTTP: &http.Client{Transport: e},
					Ledger: typed.Space[slack.Posted]{Values: values, Name: "slack"},
					Pace:   notify.Pace{Table: tbl, Now: now, Sleep: w.clock.Sleep},
				})
			},
		}
	}
	return e
}

// invoke begins an invocation. run is the function; its result is what its
// answer does.
func (w *world) invoke(function string, timeout time.Duration, run func(context.Context, *environment) func()) {
	e := w.environment(function)
	w.ids++
	p := &process{env: e, id: w.ids, began: w.clock.Now(), timeout: timeout, resume: make(chan verdict), yielded: make(chan string)}
	e.current = p
	w.running = append(w.running, p)
	w.say("%s %d begins", function, p.id)
	ctx := moment{context.Background(), p.began.Add(timeout)}
	go func() {
		defer close(p.yielded)
		p.end = run(ctx, e)
	}()
	w.await(p)
}

// await waits until the invocation makes its next call, or ends.
func (w *world) await(p *process) {
	op, more := <-p.yielded
	p.op = op
	if more {
		return
	}
	w.running = slices.DeleteFunc(w.running, func(r *process) bool { return r == p })
	if p.killed {
		w.killed++
		w.say("%s %d is dead", p.env.function, p.id)
		return
	}
	w.say("%s %d ends", p.env.function, p.id)
	w.warm[p.env.function] = append(w.warm[p.env.function], p.env)
	if p.end != nil {
		p.end()
	}
}

// goOn lets an invocation make its next call, or not.
func (w *world) goOn(p *process) {
	w.calls++
	w.clock.Advance(time.Duration(1+w.rng.IntN(60)) * time.Millisecond)
	if w.chance(0.02) {
		w.clock.Advance(time.Duration(w.rng.IntN(90)) * time.Second) // a slow service, or a long pause
	}
	var v verdict
	switch {
	case w.clock.Now().Sub(p.began) > p.timeout:
		v.kill = true
	case w.chance(0.008):
		v.kill = true
	case w.chance(0.025):
		errs := []error{cloudtest.ErrThrottled, cloudtest.ErrUnavailable, io.ErrUnexpectedEOF}
		v.fault = &cloudtest.Fault{Err: errs[w.rng.IntN(len(errs))], After: w.rng.IntN(2) == 0, Partial: w.rng.IntN(3) == 0}
		w.faults++
	}
	switch {
	case v.kill:
		w.say("%s %d  %s: killed before it", p.env.function, p.id, p.op)
	case v.fault != nil:
		w.say("%s %d  %s: %v, after %v, partial %v", p.env.function, p.id, p.op, v.fault.Err, v.fault.After, v.fault.Partial)
	default:
		w.say("%s %d  %s", p.env.function, p.id, p.op)
	}
	p.resume <- v
	w.await(p)
}

// consume begins an invocation for what a queue has, as an event source mapping
// does: what the answer does not name is deleted.
func (w *world) consume(function string, q *cloudtest.Queue, timeout time.Duration, handle func(context.Context, *environment, events.SQSEvent) (events.SQSEventResponse, error)) {
	messages, err := q.Receive(context.Background(), visibility)
	require.NoError(w.t, err)
	if len(messages) == 0 {
		return
	}
	ev := eventOf(messages)
	w.invoke(function, timeout, func(ctx context.Context, e *environment) func() {
		answer, err := handle(ctx, e, ev)
		if err != nil {
			return nil // all of them come again
		}
		back := map[string]bool{}
		for _, f := range answer.BatchItemFailures {
			back[f.ItemIdentifier] = true
		}
		return func() {
			for _, m := range messages {
				if !back[m.ID] && !w.chance(0.05) { // what is not deleted is delivered again
					_ = q.Delete(context.Background(), m.Receipt) // too late is as good as not at all
				}
			}
		}
	})
}

// eventOf is what a function gets of messages.
func eventOf(messages []cloud.Received) (ev events.SQSEvent) {
	for _, m := range messages {
		ev.Records = append(ev.Records, events.SQSMessage{
			MessageId: m.ID, ReceiptHandle: m.Receipt, Body: m.Body,
			Attributes: map[string]string{"MessageGroupId": m.Group, "ApproximateReceiveCount": fmt.Sprint(m.Receives)},
		})
	}
	return ev
}

// analyzes begins a run of analyze.
func (w *world) analyzes() {
	w.lastRun = w.clock.Now()
	shard := w.runs % w.shards
	w.runs++
	w.clean[shard] = false // a run that dies may have left what it found unqueued
	w.invoke("analyze", analyzeTimeout, func(ctx context.Context, e *environment) func() {
		rep, err := e.analyze.Handle(ctx, analyze.Request{Shard: shard})
		return func() { w.analysed(shard, rep, err) }
	})
}

func (w *world) analysed(shard int, rep analyze.Report, err error) {
	w.clean[shard] = err == nil && !rep.Held && rep.Left == 0
	w.say("analyze: %+v, %v", rep, err)
}

// count returns how many invocations of a function are under way.
func (w *world) count(function string) (n int) {
	for _, p := range w.running {
		if p.env.function == function {
			n++
		}
	}
	return n
}
