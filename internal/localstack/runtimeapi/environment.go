package runtimeapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/keytrail/keytrail/internal/localstack/process"
)

// memoryPoll is how often a running process is asked for its memory.
const memoryPoll = 20 * time.Millisecond

// environment is one process of a function with its own Runtime API and folder.
type environment struct {
	r      *Runtime
	dir    string // its /tmp
	cmd    *exec.Cmd
	server *http.Server
	peak   atomic.Int64 // bytes of memory, the highest seen

	work    chan job
	asked   atomic.Bool         // the process has asked for work
	current atomic.Pointer[job] // what the process works on and has not answered
	answers chan answer
	idle    chan struct{} // the process asks for work
	exited  chan struct{} // closed when the process is gone
}

// job is one invocation as the process gets it.
type job struct {
	id       string
	payload  []byte
	deadline time.Time
}

// answer is what the process said.
type answer struct {
	response []byte
	failed   *FunctionError
}

// launch starts a process.
func (r *Runtime) launch() (e *environment, err error) {
	e = &environment{
		r: r, work: make(chan job), answers: make(chan answer, 1), idle: make(chan struct{}, 1), exited: make(chan struct{}),
	}
	if e.dir, err = os.MkdirTemp(r.o.Dir, r.f.Name+"-"); err != nil {
		return nil, fmt.Errorf("make a folder for %s: %w", r.f.Name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(e.dir))
		}
	}()
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", r.f.Name, err)
	}
	e.cmd = exec.Command(r.f.Bootstrap) //nolint:gosec,noctx // the program to run is what Function names, and outlives any one call
	e.cmd.Dir = filepath.Dir(r.f.Bootstrap)
	e.cmd.Env = e.environ(listener.Addr().String())
	e.cmd.Stdout, e.cmd.Stderr = r.o.Log, r.o.Log
	e.cmd.SysProcAttr = process.Attributes()
	// A child of the process that holds its output does not hold us.
	e.cmd.WaitDelay = time.Second
	if err := e.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", r.f.Name, err), listener.Close())
	}
	e.server = &http.Server{Handler: e.api(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = e.server.Serve(listener) }() // until it is closed
	go func() {
		_ = e.cmd.Wait() // how it ended is in its state
		process.KillGroup(e.cmd.Process.Pid)
		close(e.exited)
	}()
	return e, nil
}

// environ is the environment of the process: that of Lambda for a function
// without a managed runtime, and nothing of ours
// (docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html). Lambda sets
// no HOME. TMPDIR stands for Lambda's /tmp.
func (e *environment) environ(api string) []string {
	f, o := e.r.f, e.r.o
	set := map[string]string{}
	for k, v := range f.Env {
		set[k] = v
	}
	for k, v := range map[string]string{
		"_HANDLER":                        "bootstrap",
		"AWS_LAMBDA_RUNTIME_API":          api,
		"AWS_LAMBDA_FUNCTION_NAME":        f.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(f.MemoryMB),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + f.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME":      filepath.Base(e.dir),
		"AWS_REGION":                      o.Region,
		"AWS_DEFAULT_REGION":              o.Region,
		"AWS_ACCESS_KEY_ID":               "testing",
		"AWS_SECRET_ACCESS_KEY":           "testing",
		"AWS_SESSION_TOKEN":               "testing",
		"LAMBDA_TASK_ROOT":                filepath.Dir(f.Bootstrap),
		"LAMBDA_RUNTIME_DIR":              filepath.Dir(f.Bootstrap),
		"LANG":                            "en_US.UTF-8",
		"PATH":                            "/usr/local/bin:/usr/bin:/bin",
		"TMPDIR":                          e.dir,
		"TZ":                              ":UTC",
	} {
		set[k] = v
	}
	env := make([]string, 0, len(set))
	for k, v := range set {
		env = append(env, k+"="+v)
	}
	return env
}

// ready waits until the process asks for work. Any other end is a failure of
// the function; the process is then to be closed.
func (e *environment) ready(ctx context.Context, limit time.Duration) (*FunctionError, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	poll := time.NewTicker(memoryPoll)
	defer poll.Stop()
	for {
		select {
		case <-e.idle:
			return e.overMemory(), nil
		case a := <-e.answers:
			return a.failed, nil
		case <-e.exited:
			return e.exit("start"), nil
		case <-poll.C:
			if failed := e.overMemory(); failed != nil {
				return failed, nil
			}
		case <-timer.C:
			return failure(typeTimeout, "the function did not ask for work within %s of its start", limit), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-e.r.done:
			return nil, ErrClosed
		}
	}
}

// invoke gives the process an input and waits until it asks for more. When it
// returns, the process is frozen, or gone.
func (e *environment) invoke(ctx context.Context, id string, payload []byte) (response []byte, failed *FunctionError, err error) {
	var given answer
	if given, err = e.run(ctx, id, payload); err != nil {
		e.end()
		return nil, nil, err
	}
	if given.failed == nil {
		given.failed = e.overMemory()
	}
	if given.failed != nil {
		given.response = nil
	}
	switch {
	case !e.alive():
	case given.failed != nil && lost[given.failed.Type]:
		e.end()
	default:
		process.Freeze(e.cmd.Process.Pid)
	}
	return given.response, given.failed, nil
}

// lost are the failures after which Lambda does not use an environment again.
var lost = map[string]bool{typeTimeout: true, typeExit: true, typeMemory: true, typeNoAnswer: true}

// run is invoke up to the end of the invocation.
func (e *environment) run(ctx context.Context, id string, payload []byte) (answer, error) {
	j := job{id: id, payload: payload, deadline: time.Now().Add(e.r.f.Timeout)}
	e.current.Store(&j)
	process.Thaw(e.cmd.Process.Pid)
	timer := time.NewTimer(e.r.f.Timeout)
	defer timer.Stop()
	poll := time.NewTicker(memoryPoll)
	defer poll.Stop()
	var given *answer
	// or is what was answered, if anything was, or else the failure.
	or := func(failed *FunctionError) (answer, error) {
		select {
		case a := <-e.answers:
			given = &a
		default:
		}
		if given != nil {
			return *given, nil
		}
		return answer{failed: failed}, nil
	}
	work := e.work
	for {
		select {
		case work <- j:
			work = nil // it has it
		case a := <-e.answers:
			given = &a
		case <-e.idle:
			return or(failure(typeNoAnswer, "the function asked for more work and had not answered"))
		case <-e.exited:
			return or(e.exit(id))
		case <-timer.C:
			e.end()
			return or(failure(typeTimeout, "%s Task timed out after %.2f seconds", id, e.r.f.Timeout.Seconds()))
		case <-poll.C:
			if failed := e.overMemory(); failed != nil {
				e.end()
				return answer{failed: failed}, nil
			}
		case <-ctx.Done():
			return answer{}, ctx.Err()
		case <-e.r.done:
			return answer{}, ErrClosed
		}
	}
}

// overMemory measures the process, and returns a failure when it has had more
// than its limit.
func (e *environment) overMemory() *FunctionError {
	if rss := process.ResidentPeak(e.cmd.Process.Pid); rss > e.peak.Load() {
		e.peak.Store(rss)
	}
	if limit := int64(e.r.f.MemoryMB) << 20; e.peak.Load() > limit {
		return failure(typeMemory, "the function used %d MB of %d MB", e.peak.Load()>>20, e.r.f.MemoryMB)
	}
	return nil
}

// exit says how the process ended. What the kernel counts as the highest size of
// a process that ended includes that of its parent, and is no help.
func (e *environment) exit(during string) *FunctionError {
	if failed := e.overMemory(); failed != nil {
		return failed
	}
	return failure(typeExit, "RequestId: %s Error: Runtime exited with error: %s", during, e.cmd.ProcessState)
}

func (e *environment) alive() bool {
	select {
	case <-e.exited:
		return false
	default:
		return true
	}
}

// kill makes the process and its children end, and does not wait.
func (e *environment) kill() { process.KillGroup(e.cmd.Process.Pid) }

// end kills the process and waits until it is gone.
func (e *environment) end() {
	if e.alive() {
		e.kill()
	}
	<-e.exited
}

// close ends the process and removes what it had.
func (e *environment) close() error {
	e.end()
	err := e.server.Close()
	if rerr := os.RemoveAll(e.dir); rerr != nil {
		err = errors.Join(err, fmt.Errorf("remove the folder of %s: %w", e.r.f.Name, rerr))
	}
	return err
}

// requestID is a random id in the form of Lambda's.
func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
