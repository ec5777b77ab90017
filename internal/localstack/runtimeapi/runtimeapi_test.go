//go:build unix

package runtimeapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/internal/localstack/runtimeapi"
	"github.com/keytrail/keytrail/internal/localstack/toy"
)

var bootstrap string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "toy-")
	if err == nil {
		bootstrap, err = toy.Build(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// stage is a running function and what was reported of it.
type stage struct {
	*runtimeapi.Runtime
	t   *testing.T
	dir string

	mu      sync.Mutex
	reports []runtimeapi.Report
	log     strings.Builder
}

func (s *stage) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *stage) last() runtimeapi.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reports[len(s.reports)-1]
}

func run(t *testing.T, f runtimeapi.Function) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir()}
	f.Name, f.Bootstrap = "echo", bootstrap
	var err error
	s.Runtime, err = runtimeapi.Start(f, runtimeapi.Options{
		Region: "eu-west-1", Dir: s.dir, Log: s,
		Report: func(r runtimeapi.Report) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.reports = append(s.reports, r)
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		left, err := os.ReadDir(s.dir)
		require.NoError(t, err)
		require.Empty(t, left, "environments leave nothing behind")
	})
	return s
}

// do invokes with {"do":what,"n":n} and wants it to go well.
func (s *stage) do(what string, n int) json.RawMessage {
	s.t.Helper()
	out, failed, err := s.Invoke(s.t.Context(), []byte(fmt.Sprintf(`{"do":%q,"n":%d}`, what, n)))
	require.NoError(s.t, err)
	require.Nil(s.t, failed, s.log.String())
	return out
}

// fails invokes and returns how the function failed.
func (s *stage) fails(what string, n int) *runtimeapi.FunctionError {
	s.t.Helper()
	out, failed, err := s.Invoke(s.t.Context(), []byte(fmt.Sprintf(`{"do":%q,"n":%d}`, what, n)))
	require.NoError(s.t, err)
	require.NotNil(s.t, failed)
	require.Nil(s.t, out)
	return failed
}

func TestAnEnvironmentIsUsedAgain(t *testing.T) {
	s := run(t, runtimeapi.Function{})
	for i := 1; i <= 3; i++ {
		require.JSONEq(t, strconv.Itoa(i), string(s.do("count", 0)))
	}
	require.True(t, s.reports[0].Cold)
	require.Positive(t, s.reports[0].Init)
	require.Positive(t, s.reports[0].MaxRSS)
	require.False(t, s.reports[2].Cold)
	require.Zero(t, s.reports[2].Init)
	require.Equal(t, 3, strings.Count(s.log.String(), "REPORT RequestId: "))
	require.Equal(t, 1, strings.Count(s.log.String(), " Init Duration: "))
}

func TestAnEnvironmentIsThatOfLambda(t *testing.T) {
	t.Setenv("SECRET_OF_THE_HOST", "x")
	s := run(t, runtimeapi.Function{MemoryMB: 256, Env: map[string]string{"KEYTRAIL_TABLE": "t", "AWS_REGION": "nowhere"}})
	var list []string
	require.NoError(t, json.Unmarshal(s.do("environment", 0), &list))
	env := map[string]string{}
	for _, v := range list {
		k, v, _ := strings.Cut(v, "=")
		env[k] = v
	}
	require.Regexp(t, `^127\.0\.0\.1:\d+$`, env["AWS_LAMBDA_RUNTIME_API"])
	require.Equal(t, s.dir, filepath.Dir(env["TMPDIR"]))
	require.Regexp(t, `^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Sampled=0$`, env["_X_AMZN_TRACE_ID"]) // the library sets it
	require.Equal(t, "/aws/lambda/echo", env["AWS_LAMBDA_LOG_GROUP_NAME"])
	for _, own := range []string{"AWS_LAMBDA_RUNTIME_API", "TMPDIR", "_X_AMZN_TRACE_ID", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"} {
		delete(env, own)
	}
	require.Equal(t, map[string]string{
		"_HANDLER": "bootstrap", "LAMBDA_TASK_ROOT": filepath.Dir(bootstrap), "LAMBDA_RUNTIME_DIR": filepath.Dir(bootstrap),
		"AWS_LAMBDA_FUNCTION_NAME": "echo", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
		"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1",
		"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_SESSION_TOKEN": "testing",
		"LANG": "en_US.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", "TZ": ":UTC", "KEYTRAIL_TABLE": "t",
	}, env, "and no HOME")
}

func TestAnInvocationKnowsItsIdAndDeadline(t *testing.T) {
	s := run(t, runtimeapi.Function{Timeout: 20 * time.Second})
	before := time.Now()
	var c map[string]string
	require.NoError(t, json.Unmarshal(s.do("context", 0), &c))
	require.Equal(t, s.last().RequestID, c["id"])
	require.Equal(t, "arn:aws:lambda:eu-west-1:111122223333:function:echo", c["arn"])
	deadline, err := time.Parse(time.RFC3339Nano, c["deadline"])
	require.NoError(t, err)
	require.WithinRange(t, deadline, before.Add(20*time.Second-time.Millisecond), time.Now().Add(20*time.Second))
}

func TestAFunctionThatFailsIsUsedAgainUnlessItDied(t *testing.T) {
	s := run(t, runtimeapi.Function{})
	require.Equal(t, "1", string(s.do("count", 0)))

	failed := s.fails("fail", 0)
	require.Equal(t, "as asked", failed.Message)
	require.JSONEq(t, `{"errorMessage":"as asked","errorType":"errorString"}`, string(failed.Payload))
	require.Equal(t, "3", string(s.do("count", 0)))

	require.Equal(t, "as asked", s.fails("panic", 0).Message)
	require.Equal(t, "1", string(s.do("count", 0)), "a new process")

	failed = s.fails("exit", 7)
	require.Equal(t, "Runtime.ExitError", failed.Type)
	require.Contains(t, failed.Message, "exit status 7")
	require.Equal(t, "1", string(s.do("count", 0)), "a new process")
	require.True(t, s.last().Cold)
}

func TestWhatPassesItsTimeoutIsKilled(t *testing.T) {
	s := run(t, runtimeapi.Function{Timeout: 200 * time.Millisecond})
	failed := s.fails("sleep", 60_000)
	require.Equal(t, "Sandbox.Timedout", failed.Type)
	require.Contains(t, failed.Message, "Task timed out after 0.20 seconds")
	require.Equal(t, "1", string(s.do("count", 0)), "a new process")
}

func TestWhatPassesItsMemoryIsKilled(t *testing.T) {
	s := run(t, runtimeapi.Function{MemoryMB: 128, Timeout: 20 * time.Second})
	s.do("allocate", 32)
	failed := s.fails("allocate", 512)
	require.Equal(t, "Runtime.OutOfMemory", failed.Type)
	require.Greater(t, s.last().MaxRSS, int64(128<<20))
	require.Equal(t, "1", string(s.do("count", 0)), "a new process")
}

func TestAProcessTakesItsChildrenAlong(t *testing.T) {
	s := run(t, runtimeapi.Function{})
	var child int
	require.NoError(t, json.Unmarshal(s.do("spawn", 0), &child))
	require.NoError(t, syscall.Kill(child, 0))
	require.NoError(t, s.Close())
	require.Eventually(t, func() bool { return gone(child) }, 5*time.Second, 10*time.Millisecond)
}

// gone tells whether a process has ended; its parent may not have noticed yet.
func gone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil && syscall.Kill(pid, 0) != nil || strings.Contains(string(stat), ") Z ")
}

func TestAProcessIsFrozenBetweenInvocations(t *testing.T) {
	s := run(t, runtimeapi.Function{Timeout: 20 * time.Second})
	path := filepath.Join(t.TempDir(), "done")
	_, failed, err := s.Invoke(t.Context(), []byte(fmt.Sprintf(`{"do":"work beside","n":50,"path":%q}`, path)))
	require.NoError(t, err)
	require.Nil(t, failed)
	time.Sleep(250 * time.Millisecond) // five times what an unfrozen one would need
	require.NoFileExists(t, path)
	s.do("sleep", 200) // thawed, it goes on with that, too
	require.FileExists(t, path)
}

func TestAFunctionThatCannotStart(t *testing.T) {
	s := run(t, runtimeapi.Function{Env: map[string]string{"INIT": "exit"}})
	failed := s.fails("count", 0)
	require.Equal(t, "Runtime.ExitError", failed.Type)
	require.Contains(t, failed.Message, "exit status 3")

	s = run(t, runtimeapi.Function{Env: map[string]string{"INIT": "error"}})
	failed = s.fails("count", 0)
	require.Equal(t, "Echo.NoStart", failed.Type)

	_, err := runtimeapi.Start(runtimeapi.Function{Name: "x", Bootstrap: t.TempDir()}, runtimeapi.Options{})
	require.ErrorContains(t, err, "the bootstrap of x is no program")
	_, err = runtimeapi.Start(runtimeapi.Function{Name: "x", Bootstrap: "nowhere"}, runtimeapi.Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestSixMegabytesAreTheLimit(t *testing.T) {
	s := run(t, runtimeapi.Function{Timeout: 20 * time.Second})
	require.Equal(t, "Function.ResponseSizeTooLarge", s.fails("large", 6<<20).Type)
	require.Len(t, s.do("large", 6<<20-2), 6<<20)
	_, _, err := s.Invoke(t.Context(), make([]byte, 6<<20+1))
	require.ErrorContains(t, err, "an input of 6291457 bytes is more than 6291456")
}

func TestNoMoreRunAtOnceThanConcurrencyAllows(t *testing.T) {
	s := run(t, runtimeapi.Function{Timeout: 20 * time.Second, Concurrency: 2})
	path := filepath.Join(t.TempDir(), "go")
	input := []byte(fmt.Sprintf(`{"do":"wait for file","path":%q}`, path))
	pids := make(chan string, 2)
	for range 2 {
		go func() {
			out, _, _ := s.Invoke(t.Context(), input)
			pids <- string(out)
		}()
	}
	require.Eventually(t, func() bool { return s.Running() == 2 }, 10*time.Second, time.Millisecond)
	_, _, err := s.Invoke(t.Context(), []byte(`{"do":"count"}`))
	require.ErrorIs(t, err, runtimeapi.ErrThrottled)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	a, b := <-pids, <-pids
	require.NotEmpty(t, a)
	require.NotEmpty(t, b)
	require.NotEqual(t, a, b)
	s.do("count", 0)
}

func TestKillEndsWhatRuns(t *testing.T) {
	s := run(t, runtimeapi.Function{Timeout: 20 * time.Second})
	s.do("count", 0)
	require.Zero(t, s.Kill(), "nothing runs")
	failed := make(chan *runtimeapi.FunctionError)
	go func() {
		_, f, _ := s.Invoke(t.Context(), []byte(`{"do":"sleep","n":15000}`))
		failed <- f
	}()
	require.Eventually(t, func() bool { return s.Kill() == 1 }, 10*time.Second, time.Millisecond)
	f := <-failed
	require.NotNil(t, f)
	require.Equal(t, "Runtime.ExitError", f.Type)
	require.Contains(t, f.Message, "signal: killed")
}

func TestAnInvocationEndsWithItsContextAndWithTheRuntime(t *testing.T) {
	s := run(t, runtimeapi.Function{Timeout: 20 * time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, _, err := s.Invoke(ctx, []byte(`{"do":"sleep","n":15000}`))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, "1", string(s.do("count", 0)), "a new process")

	ended := make(chan error)
	go func() {
		_, _, err := s.Invoke(t.Context(), []byte(`{"do":"sleep","n":15000}`))
		ended <- err
	}()
	require.Eventually(t, func() bool { return s.Running() == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-ended, runtimeapi.ErrClosed)
	_, _, err = s.Invoke(t.Context(), nil)
	require.ErrorIs(t, err, runtimeapi.ErrClosed)
}
