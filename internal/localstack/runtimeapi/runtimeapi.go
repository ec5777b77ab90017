// Package runtimeapi runs a Lambda function on this machine: the bootstrap that
// would be deployed, in processes of its own, fed through Lambda's Runtime API
// (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
//
//	ingest, err := runtimeapi.Start(runtimeapi.Function{
//		Name: "ingest", Bootstrap: ".cache/functions/ingest/bootstrap",
//		Timeout: time.Minute, MemoryMB: 512, Concurrency: 2,
//	}, runtimeapi.Options{})
//	answer, failed, err := ingest.Invoke(ctx, payload)
//
// A process is an environment in Lambda's words. It runs one invocation at a
// time and is used again as long as it is well; between two invocations it is
// frozen (SIGSTOP), so that what it does beside them is seen not to work. What
// passes its timeout or its memory is killed at once, as are its children.
//
// Memory is not limited by a control group, which an ordinary user cannot make,
// but by what the kernel says was the process's highest resident size. That is
// asked every 20 ms and once more before an answer counts, so that no peak
// escapes, though it may be far over the limit before the process dies. What
// Lambda has and this has not: less than a whole processor for little memory, a
// read-only file system, a limited /tmp, another account's network.
package runtimeapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Limits of Lambda that hold for every function
// (docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
const (
	maxPayload = 6 << 20 // bytes of an input and of an answer
	maxInit    = 10 * time.Second
)

// ErrThrottled is wrapped by the error of an invocation when as many run as the
// function's concurrency allows. Nothing was run.
var ErrThrottled = errors.New("too many at once")

// ErrClosed is wrapped by the error of an invocation after Close.
var ErrClosed = errors.New("the function is closed")

// Function is what Lambda would be told of a function.
type Function struct {
	Name      string
	Bootstrap string            // path of the program
	Env       map[string]string // beside what Lambda sets, which cannot be overridden
	Timeout   time.Duration     // default 3 s, as in Lambda
	MemoryMB  int               // default 128, as in Lambda
	// Concurrency is how many environments there are at most; default 1.
	Concurrency int
}

// Options are for Start. The zero Options suit.
type Options struct {
	Region  string    // default us-east-1
	Account string    // default 111122223333
	Dir     string    // folder for the environments' own; default the system's for temporary files
	Log     io.Writer // what the processes write; nil drops it
	// Report is called after each invocation, also for those that failed. Calls
	// may overlap.
	Report func(Report)
}

// Report is what Lambda writes into the log after an invocation.
type Report struct {
	Function  string
	RequestID string
	Cold      bool          // the environment was made for it
	Init      time.Duration // from the start of the process to its first request for work; zero unless Cold
	Duration  time.Duration // of the invocation without Init
	MaxRSS    int64         // bytes; the highest of the environment so far
	Failed    *FunctionError
}

// String is the line of the log.
func (r Report) String() string {
	s := fmt.Sprintf("REPORT RequestId: %s Duration: %.2f ms Max Memory Used: %d MB", r.RequestID, ms(r.Duration), r.MaxRSS>>20)
	if r.Cold {
		s += fmt.Sprintf(" Init Duration: %.2f ms", ms(r.Init))
	}
	if r.Failed != nil {
		s += " Error: " + r.Failed.Type
	}
	return s
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// FunctionError is the failure of a function, as opposed to one of Lambda.
type FunctionError struct {
	// Type is the function's own, or one of Lambda's: Sandbox.Timedout,
	// Runtime.ExitError, Runtime.OutOfMemory, Function.ResponseSizeTooLarge.
	Type    string
	Message string
	Payload []byte // JSON, as the caller of Lambda gets it
}

// Error gives type and message.
func (e *FunctionError) Error() string { return e.Type + ": " + e.Message }

// Lambda's own types of errors.
const (
	typeTimeout  = "Sandbox.Timedout"
	typeExit     = "Runtime.ExitError"
	typeMemory   = "Runtime.OutOfMemory"
	typeTooLarge = "Function.ResponseSizeTooLarge"
	typeNoAnswer = "Runtime.NoAnswer"
)

func failure(kind, format string, args ...any) *FunctionError {
	e := &FunctionError{Type: kind, Message: fmt.Sprintf(format, args...)}
	// Two strings are always JSON.
	e.Payload, _ = json.Marshal(map[string]string{"errorType": e.Type, "errorMessage": e.Message})
	return e
}

// Runtime runs one function. It may be used by many goroutines.
type Runtime struct {
	f    Function
	o    Options
	done chan struct{}
	wg   sync.WaitGroup // invocations

	mu     sync.Mutex
	free   []*environment // the one used last is at the end, and used next
	busy   map[*environment]bool
	starts int // environments that are being made
	closed bool
}

// Start checks that the function can be run. No process is started before the
// first invocation.
func Start(f Function, o Options) (*Runtime, error) {
	f.Timeout = cmp.Or(f.Timeout, 3*time.Second)
	f.MemoryMB = cmp.Or(f.MemoryMB, 128)
	f.Concurrency = max(f.Concurrency, 1)
	o.Region, o.Account = cmp.Or(o.Region, "us-east-1"), cmp.Or(o.Account, "111122223333")
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Report == nil {
		o.Report = func(Report) {}
	}
	o.Log = &lockedWriter{w: o.Log}
	path, err := filepath.Abs(f.Bootstrap)
	if err != nil {
		return nil, fmt.Errorf("find the bootstrap of %s: %w", f.Name, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("find the bootstrap of %s: %w", f.Name, err)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return nil, fmt.Errorf("the bootstrap of %s is no program: %s", f.Name, path)
	}
	f.Bootstrap = path
	return &Runtime{f: f, o: o, done: make(chan struct{}), busy: map[*environment]bool{}}, nil
}

// Name returns the function's name.
func (r *Runtime) Name() string { return r.f.Name }

// ARN returns the name that Lambda would give the function.
func (r *Runtime) ARN() string {
	return fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", r.o.Region, r.o.Account, r.f.Name)
}

// Invoke runs the function once and waits for the end. When the function failed,
// in whatever way, failed says how, and response is nil. err is about running it:
// it wraps ErrThrottled or ErrClosed, or ctx's error, in which case the
// environment was killed.
func (r *Runtime) Invoke(ctx context.Context, payload []byte) (response []byte, failed *FunctionError, err error) {
	if len(payload) > maxPayload {
		return nil, nil, fmt.Errorf("invoke %s: an input of %d bytes is more than %d", r.f.Name, len(payload), maxPayload)
	}
	env, err := r.acquire()
	if err != nil {
		return nil, nil, fmt.Errorf("invoke %s: %w", r.f.Name, err)
	}
	defer r.wg.Done()
	report := Report{Function: r.f.Name, RequestID: requestID(), Cold: env == nil}
	if env == nil {
		env, failed, err = r.initialise(ctx, &report)
	}
	if env != nil {
		began := time.Now()
		response, failed, err = env.invoke(ctx, report.RequestID, payload)
		report.Duration, report.MaxRSS = time.Since(began), env.peak.Load()
		r.release(env)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("invoke %s: %w", r.f.Name, err)
	}
	report.Failed = failed
	_, _ = fmt.Fprintln(r.o.Log, report) // a log that is gone stops nothing
	r.o.Report(report)
	return response, failed, nil
}

// Running returns how many invocations run.
func (r *Runtime) Running() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.busy) + r.starts
}

// Kill kills the environments that run an invocation, as when their machine is
// lost. It returns how many there were.
func (r *Runtime) Kill() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for e := range r.busy {
		e.kill()
	}
	return len(r.busy)
}

// Close kills all environments and waits until they and their folders are gone.
func (r *Runtime) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.done)
	}
	free := r.free
	r.free = nil
	r.mu.Unlock()
	r.wg.Wait()
	var errs []error
	for _, e := range free {
		errs = append(errs, e.close())
	}
	return errors.Join(errs...)
}

// acquire takes a free environment, or returns nil when one is to be made. It
// counts an invocation in r.wg.
func (r *Runtime) acquire() (*environment, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	for len(r.free) > 0 {
		e := r.free[len(r.free)-1]
		r.free = r.free[:len(r.free)-1]
		if e.alive() {
			r.busy[e] = true
			r.wg.Add(1)
			return e, nil
		}
		r.wg.Go(func() { r.discard(e) })
	}
	if len(r.busy)+r.starts >= r.f.Concurrency {
		return nil, ErrThrottled
	}
	r.starts++
	r.wg.Add(1)
	return nil, nil
}

// initialise makes an environment. One that takes too long is made once more,
// with the function's timeout, as Lambda does.
func (r *Runtime) initialise(ctx context.Context, report *Report) (env *environment, failed *FunctionError, err error) {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.starts--
		if env != nil {
			r.busy[env] = true
		}
	}()
	for _, limit := range []time.Duration{maxInit, r.f.Timeout} {
		began := time.Now()
		var e *environment
		if e, err = r.launch(); err != nil {
			return nil, nil, err
		}
		if failed, err = e.ready(ctx, limit); failed == nil && err == nil {
			report.Init = time.Since(began)
			return e, nil, nil
		}
		report.MaxRSS = e.peak.Load()
		if cerr := e.close(); err == nil {
			err = cerr
		}
		if err != nil || failed.Type != typeTimeout {
			break
		}
	}
	return nil, failed, err
}

// release gives an environment back, or its folder when it is dead.
func (r *Runtime) release(e *environment) {
	r.mu.Lock()
	delete(r.busy, e)
	keep := e.alive() && !r.closed
	if keep {
		r.free = append(r.free, e)
	}
	r.mu.Unlock()
	if !keep {
		r.discard(e)
	}
}

// discard removes what is left of an environment that is not used again.
func (r *Runtime) discard(e *environment) {
	if err := e.close(); err != nil {
		_, _ = fmt.Fprintln(r.o.Log, "an environment of", r.f.Name, "left something behind:", err)
	}
}

// lockedWriter lets the lines of several processes not run into one another.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}
