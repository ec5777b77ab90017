// Command keytrail finds misuse of AWS KMS in CloudTrail logs.
//
// Each verb is one file of this package: it parses, wires the library and
// prints. What is judged is judged in package analyzer and below.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer/report"
)

// Exit statuses are part of the contract with scripts.
const (
	statusOK     = 0 // everything was read and done
	statusFailed = 1 // something was rejected or failed
	statusUsage  = 2 // wrong use
	statusFailOn = 3 // an alert reached --fail-on
)

func main() { os.Exit(mainStatus()) }

// mainStatus is main with a status in place of os.Exit, so that deferred
// calls run.
func mainStatus() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// When the reader of a pipe goes away, as head does, the write fails and the
	// run ends in order. The signal would end it with a temporary lake left behind.
	signal.Ignore(syscall.SIGPIPE)
	// The first signal asks to stop in order; a second one ends the process.
	context.AfterFunc(ctx, stop)

	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv}
	return a.run(ctx, os.Args[1:])
}

// app is what all verbs share: the three streams, the environment, and the
// flags that stand on every one of them.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	env    func(string) string

	configPath string
	format     string
	quiet      bool
	noColor    bool

	// working tells that a verb has begun: an error before that is wrong use.
	working bool
}

// Values of --format.
const (
	formatText = "text"
	formatJSON = "json"
)

// run carries out one command line and returns the exit status.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	return a.status(root.ExecuteContextC(ctx))
}

// status reports how a command ended and returns the exit status for it.
func (a *app) status(cmd *cobra.Command, err error) int {
	if err == nil {
		return statusOK
	}

	var ended *statusError
	if errors.As(err, &ended) {
		if ended.err != nil {
			a.complain(ended.err)
		}
		return ended.status
	}
	if a.working && readerGone(err) {
		return statusFailed // as it wished; there is nothing to say
	}
	if ctx := cmd.Context(); a.working && ctx != nil && ctx.Err() != nil {
		if !errors.Is(err, context.Canceled) {
			a.complain(err)
		}
		a.complain(errors.New("stopped before the end; nothing is lost or told twice when the same command is given again"))
		return statusFailed
	}
	var usage *usageError
	if !a.working || errors.As(err, &usage) {
		a.complain(err)
		a.say("See '" + cmd.CommandPath() + " --help'.")
		return statusUsage
	}
	a.complain(err)
	return statusFailed
}

// readerGone tells whether nobody reads standard output any more.
func readerGone(err error) bool {
	var failed *fs.PathError
	return errors.As(err, &failed) && errors.Is(failed.Err, syscall.EPIPE) && failed.Path == os.Stdout.Name()
}

// complain writes an error for people. Errors quote logs and file names, so
// each line is cleaned.
func (a *app) complain(err error) {
	for i, line := range strings.Split(strings.TrimRight(err.Error(), "\n"), "\n") {
		if i == 0 {
			line = "keytrail: " + line
		}
		a.say(report.Clean(strings.ReplaceAll(line, "\t", "  ")))
	}
}

// say writes a line to standard error. When that fails there is nobody left to
// tell.
func (a *app) say(line string) { _, _ = fmt.Fprintln(a.stderr, line) }

// root builds the command with all its verbs.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "keytrail",
		Short: "Find misuse of AWS KMS in CloudTrail logs",
		Long: `Keytrail reads CloudTrail logs, keeps what concerns KMS keys, and finds their
misuse: keys scheduled for deletion, policies and grants opened to strangers,
secrets read in bulk, trails made blind.

Exit status: 0 all was read and done · 1 something was rejected or failed ·
2 wrong use · 3 an alert reached --fail-on.`,
		Version:       buildVersion().Version,
		SilenceErrors: true, // run prints them
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.format != formatText && a.format != formatJSON {
				return usagef("--format %q is not known: it is %s or %s", a.format, formatText, formatJSON)
			}
			return nil
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate("keytrail {{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true // completion.go has ours

	flags := root.PersistentFlags()
	flags.StringVar(&a.configPath, "config", "", "settings `file` (default keytrail.yaml in this folder, if there is one)")
	flags.StringVar(&a.format, "format", formatText, "output for people (`text`) or programs (json)")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print results only, one line each")
	flags.BoolVar(&a.noColor, "no-color", false, "no colours; NO_COLOR in the environment does the same")
	if err := root.RegisterFlagCompletionFunc("format",
		cobra.FixedCompletions([]string{formatText, formatJSON}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was declared three lines above
	}

	root.AddCommand(
		a.replayCommand(),
		a.ingestCommand(),
		a.analyzeCommand(),
		a.explainCommand(),
		a.huntCommand(),
		a.testCommand(),
		a.detectionsCommand(builtInCatalog),
		a.configCommand(),
		a.redriveCommand(),
		a.doctorCommand(),
		a.backfillCommand(),
		a.rebuildCommand(),
		a.simulateCommand(),
		a.versionCommand(),
		a.completionCommand(),
	)
	return root
}

// does wraps what a verb does, so that errors of it are told from wrong use.
func (a *app) does(run func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.working = true
		return run(cmd, args)
	}
}

// group makes a command that only has verbs below it: naming none or an
// unknown one is wrong use.
func group(cmd *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(verbs...)
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		names := make([]string, 0, len(verbs))
		for _, v := range verbs {
			names = append(names, v.Name())
		}
		if len(args) == 0 {
			return usagef("say what to do: %s %s", cmd.CommandPath(), strings.Join(names, "|"))
		}
		return usagef("unknown command %q for %q: it has %s", args[0], cmd.CommandPath(), strings.Join(names, ", "))
	}
	return cmd
}

// layout is how text goes to standard output.
func (a *app) layout() report.Layout { return a.layoutOf(a.stdout) }

func (a *app) layoutOf(w io.Writer) report.Layout {
	f, _ := w.(*os.File)
	return report.Detect(f, a.env, a.noColor)
}

// progress returns bars on standard error, or nil where nobody looks on.
func (a *app) progress() *report.Progress {
	l := a.layoutOf(a.stderr)
	if !l.Terminal || a.quiet {
		return nil
	}
	return report.NewProgress(a.stderr, l.Width, report.After(report.ProgressDelay))
}

// usageError is wrong use that is found after the flags were read.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// statusError ends the process with a status; err is printed unless nil.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }
