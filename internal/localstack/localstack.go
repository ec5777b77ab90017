// Package localstack runs the whole stack of template.yaml on one machine, on
// the loopback interface: the bootstraps that would be deployed, each in
// processes of its own behind Lambda's Runtime API (package runtimeapi), queues
// that feed them (mapping), schedules that start them (schedule), and a fake
// Slack with a page (slackpage). S3, SQS, DynamoDB, Secrets Manager and
// CloudTrail are moto's, an emulator in Python, behind a front that mends it,
// keeps a record of what each function asks for, and breaks calls on purpose
// (front).
//
//	stack, err := localstack.Start(ctx, localstack.Options{})
//	defer stack.Close()
//	err = stack.PutLog(ctx, "AWSLogs/111122223333/CloudTrail/…json.gz", body)
//	err = stack.Settle(ctx)
//	messages := stack.SlackMessages()
//
// What differs from AWS: nobody checks signatures or permissions, time-to-live
// never deletes, S3 keeps no versions, nothing is far away, EventBridge is
// PutEventBridge, and compaction runs when Invoke says so. Close leaves nothing
// behind; should the program be killed, its processes end with it on Linux.
package localstack

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
	"github.com/keytrail/keytrail/internal/localstack/front"
	"github.com/keytrail/keytrail/internal/localstack/mapping"
	"github.com/keytrail/keytrail/internal/localstack/runtimeapi"
	"github.com/keytrail/keytrail/internal/localstack/schedule"
	"github.com/keytrail/keytrail/internal/localstack/slackpage"
)

// Options are for Start. The zero Options are a stack in which analyze runs only
// when Tick says so.
type Options struct {
	// Root is the clone, where sources are and .cache is; default the one that
	// the working folder is in.
	Root string
	// Settings are the text of keytrail.yaml. Without a part "slack" they get
	// one with the channel #alerts.
	Settings []byte
	// Log gets what the functions write, and what the stack has to say, in
	// lines that begin with who says it; nil drops it.
	Log io.Writer
	// Bootstraps are programs by function, in place of those built from Root.
	Bootstraps map[string]string
	// Minute is how long a minute of the schedules takes; 0 is forever.
	Minute time.Duration
	// Visibility replaces the visibility timeout of the queues, 750 s, which a
	// test cannot wait for.
	Visibility time.Duration
	// Shards is in how many parts the lake is analysed; default 1.
	Shards int
	// Cores is how many cores a function uses at most; 0 is all. Lambda gives one
	// for 1,769 MB.
	Cores int
	// Reads lets EventBridge deliver calls that read, as the template's
	// parameter IncludeReads does.
	Reads bool
	// PagePort is the port of Slack's page; 0 is a free one.
	PagePort int
	// Record gets a line of JSON, a front.Call, for each call that a function
	// makes to AWS; nil gets none.
	Record io.Writer
	// Faults make calls of the functions, and of what feeds them, fail.
	Faults *front.Faults
	// Report is called after each invocation; nil is not.
	Report func(runtimeapi.Report)
}

// Stack is a running stack. Its methods may be called by many goroutines.
type Stack struct {
	Endpoint string            // of AWS, for AWS_ENDPOINT_URL
	PageURL  string            // of Slack's page
	Slack    *slacktest.Server // it limits its rate as Slack does

	o         Options
	dir       string
	secretARN string
	channels  []slackpage.Channel
	runtimes  map[string]*runtimeapi.Runtime
	endpoints []*front.Endpoint // of the functions and of what feeds them

	held    atomic.Bool // schedules skip their ticks
	stop    context.CancelFunc
	running sync.WaitGroup // mappings and schedules
	closers []func() error // in the order of making
	closing sync.Once
	closed  error

	logging sync.Mutex
}

// Start builds what is not built, starts everything, and returns when the stack
// is ready. ctx ends starting; Close ends the stack.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	s, err := newStack(o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("start the stack: %w", errors.Join(err, s.Close()))
		}
	}()
	settings, channels, err := settingsOf(o.Settings)
	if err != nil {
		return nil, err
	}
	s.channels = channels
	bootstraps, err := s.build(ctx)
	if err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "keytrail-stack-"); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	s.atClose(func() error { return os.RemoveAll(s.dir) })
	f, err := s.startAWS(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.startSlack(ctx); err != nil {
		return nil, err
	}
	if err := s.create(ctx, settings); err != nil {
		return nil, err
	}
	for _, fn := range functions {
		if err := s.startFunction(f, fn, bootstraps[fn.name]); err != nil {
			return nil, err
		}
	}
	if err := s.run(f); err != nil {
		return nil, err
	}
	s.SetFaults(o.Faults)
	return s, nil
}

func newStack(o Options) (_ *Stack, err error) {
	if o.Root == "" {
		if o.Root, err = findRoot(); err != nil {
			return nil, err
		}
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	o.Shards = max(o.Shards, 1)
	return &Stack{o: o, runtimes: map[string]*runtimeapi.Runtime{}}, nil
}

// build builds the functions.
func (s *Stack) build(ctx context.Context) (bootstraps map[string]string, err error) {
	bootstraps = map[string]string{}
	for _, f := range functions {
		path := s.o.Bootstraps[f.name]
		if path == "" {
			if path, err = buildFunction(ctx, s.o.Root, f.name); err != nil {
				return nil, err
			}
		}
		bootstraps[f.name] = path
	}
	return bootstraps, nil
}

// startAWS starts moto with an endpoint for us.
func (s *Stack) startAWS(ctx context.Context) (*front.Front, error) {
	python, err := installMoto(ctx, s.o.Root, s.log("stack"))
	if err != nil {
		return nil, err
	}
	m, err := startMoto(ctx, python)
	if err != nil {
		return nil, err
	}
	s.atClose(m.stop)
	f, err := front.New(m.url, Account)
	if err != nil {
		return nil, err
	}
	own, err := f.Open(front.Caller{Name: "stack"})
	if err != nil {
		return nil, err
	}
	s.atClose(own.Close)
	s.Endpoint = own.URL
	return f, nil
}

// StartAWS starts the emulated AWS of a stack and nothing else. Of the Options
// it takes Root and Log.
func StartAWS(ctx context.Context, o Options) (_ *Stack, err error) {
	s, err := newStack(o)
	if err != nil {
		return nil, err
	}
	if _, err := s.startAWS(ctx); err != nil {
		return nil, fmt.Errorf("start the emulated AWS: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

// startSlack starts the fake Slack and its page.
func (s *Stack) startSlack(ctx context.Context) error {
	s.Slack = slacktest.New(nil)
	s.atClose(func() error { s.Slack.Close(); return nil })
	s.Slack.LimitRate()
	for _, c := range s.channels {
		s.Slack.AddChannel(slacktest.Channel{ID: c.ID, Name: c.Name, Member: true})
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", s.o.PagePort))
	if err != nil {
		return fmt.Errorf("listen for Slack's page: %w", err)
	}
	page := &http.Server{Handler: slackpage.Handler(s.Slack, s.channels), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = page.Serve(listener) }() // until it is closed
	s.atClose(page.Close)
	s.PageURL = "http://" + listener.Addr().String() + "/"
	return nil
}

// startFunction opens an endpoint for a function and makes it ready to run.
func (s *Stack) startFunction(f *front.Front, fn function, bootstrap string) error {
	var r *runtimeapi.Runtime
	e, err := f.Open(front.Caller{Name: fn.name, Record: s.recorder(), Kill: func() int { return r.Kill() }})
	if err != nil {
		return err
	}
	s.atClose(e.Close)
	r, err = runtimeapi.Start(runtimeapi.Function{
		Name: Name + "-" + fn.name, Bootstrap: bootstrap, Env: s.variables(fn, e.URL),
		Timeout: fn.timeout, MemoryMB: fn.memoryMB, Concurrency: s.concurrencyHere(fn),
	}, runtimeapi.Options{Region: Region, Account: Account, Dir: s.dir, Log: s.log(fn.name), Report: s.o.Report})
	if err != nil {
		return err
	}
	s.atClose(r.Close)
	s.runtimes[fn.name] = r
	s.endpoints = append(s.endpoints, e)
	return nil
}

// run starts what feeds the functions: mappings with an endpoint of their own,
// and schedules.
func (s *Stack) run(f *front.Front) error {
	feeder, err := f.Open(front.Caller{Name: "lambda"})
	if err != nil {
		return err
	}
	s.endpoints = append(s.endpoints, feeder)
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.atClose(func() error {
		cancel()
		s.running.Wait()
		return feeder.Close()
	})
	log := slog.New(slog.NewJSONHandler(s.log("lambda"), nil))
	for _, fn := range functions {
		invoke := s.runtimes[fn.name].Invoke
		if fn.queue != "" {
			q := queueNamed(fn.queue)
			m := mapping.Mapping{
				Queue: sqsOf(feeder.URL), URL: q.url(feeder.URL), ARN: q.arn(), BatchSize: fn.batch, Window: fn.window,
				Concurrency: s.concurrencyHere(fn), ReportBatchItemFailures: true, Log: log,
				Invoke: func(ctx context.Context, event []byte) ([]byte, error) { return answerOf(invoke(ctx, event)) },
			}
			s.running.Go(func() { m.Run(ctx) })
		}
		if fn.every == 0 || s.o.Minute == 0 {
			continue
		}
		for _, input := range s.inputs(fn) {
			r := schedule.Rule{
				Name: fn.name, Every: time.Duration(fn.every) * s.o.Minute, Payload: input, Retries: fn.retries,
				MaxAge: time.Duration(fn.maxAge) * s.o.Minute, Minute: s.o.Minute, Log: log,
				Invoke: func(ctx context.Context, event []byte) error {
					if s.held.Load() {
						return nil
					}
					_, err := answerOf(invoke(ctx, event))
					if errors.Is(err, runtimeapi.ErrThrottled) {
						err = fmt.Errorf("%w: %w", schedule.ErrThrottled, err)
					}
					return err
				},
			}
			s.running.Go(func() { r.Run(ctx) })
		}
	}
	return nil
}

// answerOf makes one error of both kinds.
func answerOf(answer []byte, failed *runtimeapi.FunctionError, err error) ([]byte, error) {
	if failed != nil {
		err = cmp.Or(err, error(failed))
	}
	return answer, err
}

// SetFaults makes calls of the functions, and of what feeds them, fail from now
// on; nil ends that.
func (s *Stack) SetFaults(f *front.Faults) {
	for _, e := range s.endpoints {
		e.SetFaults(f)
	}
}

// Close stops everything and removes what was written, as fast as it can: what
// runs is killed. It may be called more than once.
func (s *Stack) Close() error {
	s.closing.Do(func() {
		if s.stop != nil {
			s.stop()
		}
		var errs []error
		for i := len(s.closers) - 1; i >= 0; i-- {
			errs = append(errs, s.closers[i]())
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}

func (s *Stack) atClose(f func() error) { s.closers = append(s.closers, f) }

// recorder writes calls as lines of JSON.
func (s *Stack) recorder() func(front.Call) {
	if s.o.Record == nil {
		return nil
	}
	return func(c front.Call) {
		line, err := json.Marshal(c)
		if err != nil {
			return // three strings are always JSON
		}
		s.logging.Lock()
		defer s.logging.Unlock()
		_, _ = s.o.Record.Write(append(line, '\n')) // a log that is gone stops nothing
	}
}

// log is where one of us writes to.
func (s *Stack) log(who string) io.Writer { return &prefixed{s: s, who: who} }

// prefixed puts who says it before each line.
type prefixed struct {
	s    *Stack
	who  string
	rest []byte // of a line that is not complete
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.s.logging.Lock()
	defer p.s.logging.Unlock()
	p.rest = append(p.rest, b...)
	for {
		i := bytes.IndexByte(p.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		_, _ = fmt.Fprintf(p.s.o.Log, "%-8s %s\n", p.who, p.rest[:i]) // a log that is gone stops nothing
		p.rest = p.rest[i+1:]
	}
}
