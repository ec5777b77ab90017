//go:build e2e && linux

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// program builds the command.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stack")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput() //nolint:gosec // a folder of the test's
	require.NoError(t, err, "%s", out)
	return path
}

// session returns the processes of a session, of which the first is the leader.
func session(t *testing.T, leader int) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// 123 (name) S parent group session …
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) > 3 && fields[3] == strconv.Itoa(leader) && fields[0] != "Z" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// start starts the command in a session and a folder for temporary files of its
// own, and waits until it has started all processes.
func start(t *testing.T, args ...string) (cmd *exec.Cmd, temp string) {
	t.Helper()
	temp = t.TempDir()
	cmd = exec.Command(program(t), args...) //nolint:gosec,noctx // built by the test, and ended by it
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Ctrl-C ends it") {
			break
		}
	}
	go func() {
		for lines.Scan() { // or it could not write on
		}
	}()
	require.Eventually(t, func() bool { return len(session(t, cmd.Process.Pid)) >= 3 }, time.Minute, 50*time.Millisecond,
		"itself, the emulator, and a function")
	return cmd, temp
}

func TestCtrlCLeavesNothingBehind(t *testing.T) {
	cmd, temp := start(t, "-minute", "1s")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait(), "exit status 0")
	require.Empty(t, session(t, cmd.Process.Pid))
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestItEndsWhenItsTimeIsOver(t *testing.T) {
	cmd, temp := start(t, "-minute", "1s", "-for", "3s")
	require.NoError(t, cmd.Wait())
	require.Empty(t, session(t, cmd.Process.Pid))
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestItsProcessesDieWithIt kills the stack, which then can remove nothing.
func TestItsProcessesDieWithIt(t *testing.T) {
	cmd, _ := start(t, "-minute", "1s")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed
	require.Eventually(t, func() bool { return len(session(t, cmd.Process.Pid)) == 0 }, 10*time.Second, 10*time.Millisecond)
}

func TestExecRunsACommandBesideAWS(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), program(t), "exec", "sh", "-c", "echo $KEYTRAIL_E2E_ENDPOINT; exit 7") //nolint:gosec // built by the test
	out, err := cmd.Output()
	require.Regexp(t, `^http://127\.0\.0\.1:\d+\n$`, string(out))
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 7, exit.ExitCode())
}
