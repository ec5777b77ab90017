package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the output that the scripts compare with")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"keytrail": func() { os.Exit(mainStatus()) },
	})
}

// TestScripts runs the command as people do; each script in testdata reads
// like a terminal.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TZ", "Pacific/Auckland") // output must not depend on it
			env.Setenv("ESC", "\x1b")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": runForStatus,
		},
	})
}

// runForStatus is the script command `status N program args…`: it runs the
// program and checks its exit status, which `! exec` does not tell apart.
func runForStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N program args…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = exitStatus(err)
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s: %v", got, args[0], err)
	}
}

func TestDurationFlagReadsDays(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"14d": 14 * 24 * time.Hour, "0.5d": 12 * time.Hour, "36h": 36 * time.Hour, "90m": 90 * time.Minute,
	} {
		var d durationFlag
		require.NoError(t, d.Set(in))
		require.Equal(t, want, time.Duration(d))
		var again durationFlag
		require.NoError(t, again.Set(d.String()))
		require.Equal(t, d, again)
	}
	var d durationFlag
	require.ErrorContains(t, d.Set("two days"), "is not a duration such as 14d")
	require.ErrorContains(t, d.Set("xd"), "number of days")
}

func exitStatus(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return strconv.Itoa(exit.ExitCode())
	}
	return err.Error()
}
