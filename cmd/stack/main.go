// Command stack runs all of Keytrail's stack on this machine, on the loopback
// interface: the functions that would be deployed, emulated AWS services, and a
// fake Slack with a page that shows its messages.
//
//	go run ./cmd/stack                         until Ctrl-C
//	go run ./cmd/stack -feed DIR               with the logs of a folder
//	go run ./cmd/stack feed -to ADDRESS DIR    more logs for a stack that runs
//	go run ./cmd/stack exec COMMAND…           a command beside emulated AWS alone
//
// It needs Go, make, a C++ compiler, and python3 with venv for the emulator,
// which it installs into .cache/venv-moto. Nothing is left behind when it ends.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/keytrail/keytrail/analyzer/report"
	"github.com/keytrail/keytrail/internal/localstack"
	"github.com/keytrail/keytrail/internal/localstack/front"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case errors.As(err, &exit):
		os.Exit(max(exit.ExitCode(), 1))
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, "stack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "feed":
			return feed(ctx, args[1:], out)
		case "exec":
			return execute(ctx, args[1:])
		}
	}
	return stack(ctx, args, out)
}

// options are what the flags say.
type options struct {
	localstack.Options
	feed     string
	last     int
	settings string
	lasts    time.Duration // 0 is until Ctrl-C
	log      string
	record   string
	seed     uint64
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("stack", flag.ContinueOnError)
	flags.StringVar(&o.feed, "feed", "", "`folder` with log files to put into the trail's bucket, day by day; its keytrail.yaml are the settings")
	flags.IntVar(&o.last, "last", 0, "of -feed, only this `number` of the last days")
	flags.StringVar(&o.settings, "settings", "", "`file` with the settings; default keytrail.yaml of -feed's folder, if there is one")
	flags.DurationVar(&o.lasts, "for", 0, "end after this `time`; default with Ctrl-C")
	flags.DurationVar(&o.Minute, "minute", 10*time.Second, "how long a minute of the schedules takes: analyze runs once in one")
	flags.IntVar(&o.Shards, "shards", 1, "in how many parts the lake is analysed")
	flags.BoolVar(&o.Reads, "reads", false, "EventBridge delivers calls that read, too")
	flags.IntVar(&o.PagePort, "port", 0, "port of Slack's page; default a free one")
	flags.StringVar(&o.log, "log", "", "`file` for what the functions write, - for here")
	flags.StringVar(&o.record, "record", "", "`file` for the calls that the functions make to AWS, as JSON lines")
	flags.Uint64Var(&o.seed, "faults", 0, "break calls of the functions at random, by this `seed`")
	if err := flags.Parse(args); err != nil {
		return o, flag.ErrHelp
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("there is nothing to do with %q: say -h for what there is", flags.Arg(0))
	}
	if o.Minute <= 0 {
		return o, errors.New("-minute must be a time, as 10s")
	}
	if o.seed != 0 {
		o.Faults = &front.Faults{Seed: o.seed, Rate: 0.05, Kill: 0.002, Delay: time.Second}
	}
	return o, o.readSettings()
}

// readSettings reads the file that is named, or the one beside the logs.
func (o *options) readSettings() (err error) {
	path := o.settings
	if path == "" && o.feed != "" {
		path = filepath.Join(o.feed, "keytrail.yaml")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	if path == "" {
		return nil
	}
	if o.Settings, err = os.ReadFile(path); err != nil {
		return fmt.Errorf("read the settings: %w", err)
	}
	return nil
}

// stack runs the stack until its time is over.
func stack(ctx context.Context, args []string, out io.Writer) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	var files []io.Closer
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Close())
		}
	}()
	o.Log = &problems{out: out}
	for _, f := range []struct {
		path string
		to   *io.Writer
	}{{o.log, &o.Log}, {o.record, &o.Record}} {
		switch f.path {
		case "":
		case "-":
			*f.to = out
		default:
			file, err := os.Create(f.path)
			if err != nil {
				return fmt.Errorf("write what was asked for: %w", err)
			}
			files = append(files, file)
			*f.to = file
		}
	}
	_, _ = fmt.Fprintln(out, "building and starting …")
	s, err := localstack.Start(ctx, o.Options)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() {
		_, _ = fmt.Fprintln(out, "stopping …")
		err = errors.Join(err, s.Close())
	}()
	guide(out, s, o)
	if o.lasts > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.lasts)
		defer cancel()
	}
	fed := make(chan error, 1)
	go func() { fed <- feedIn(ctx, s, o, out) }()
	follow(ctx, s, out)
	return interrupted(ctx, <-fed)
}

// interrupted drops an error that comes from being stopped, which is no failure.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// feedIn feeds what the flags name. Should that fail, the stack goes on.
func feedIn(ctx context.Context, s *localstack.Stack, o options, out io.Writer) error {
	if o.feed == "" {
		return nil
	}
	n, err := s.Feed(ctx, o.feed, o.last, func(day string, files int) {
		_, _ = fmt.Fprintf(out, "        the logs of %s: %d files\n", report.Clean(day), files)
	})
	if err != nil && ctx.Err() == nil {
		_, _ = fmt.Fprintln(out, "the logs were not all put into the bucket:", report.Clean(err.Error()))
		return err
	}
	_, _ = fmt.Fprintf(out, "        all %d files are in\n", n)
	return nil
}

// guide says where things are and what to try.
func guide(out io.Writer, s *localstack.Stack, o options) {
	_, _ = fmt.Fprintf(out, `
Slack            %s
AWS              %s
trail bucket     s3://%s (put log files here, under AWSLogs/)
lake bucket      s3://%s
analyze runs     every %s

Try, in another terminal:

  make build
  export %s
  bin/keytrail simulate alert --remote --account %s     a test alert through all of it
  bin/keytrail config check --remote
  bin/keytrail simulate incident --out /tmp/incident    six weeks and a theft at their end
  go run ./cmd/stack feed -to %s /tmp/incident

Ctrl-C ends it and removes all of it.

`, s.PageURL, s.Endpoint, localstack.TrailBucket, localstack.LakeBucket, o.Minute, strings.Join(s.Environment(), " "), localstack.Account, s.Endpoint)
}

// plain undoes what keeps Slack from making links and pictures of names.
var plain = strings.NewReplacer("\u200b", "", "꞉", ":")

// follow prints what is said in Slack until ctx ends.
func follow(ctx context.Context, s *localstack.Stack, out io.Writer) {
	shown := map[string]bool{}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, m := range s.SlackMessages() {
			if id := m.Channel + m.TS; !shown[id] {
				shown[id] = true
				mark := "Slack"
				if m.ThreadTS != "" && m.ThreadTS != m.TS {
					mark = "  ↳  "
				}
				_, _ = fmt.Fprintf(out, "%s   #%s  %s\n", mark, s.ChannelName(m.Channel), report.Clean(plain.Replace(m.Text)))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// problems shows of the functions' log only what is a warning or worse, and how
// invocations failed.
type problems struct{ out io.Writer }

func (p *problems) Write(b []byte) (int, error) {
	who, line, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	line = strings.TrimSpace(line)
	var said struct {
		Level   string `json:"level"`
		Msg     string `json:"msg"`
		Error   string `json:"error"`
		Message string `json:"errorMessage"`
	}
	if i := strings.IndexByte(line, '{'); i >= 0 {
		_ = json.Unmarshal([]byte(line[i:]), &said) // or there is nothing to show
	}
	var err error
	switch {
	case who == "stack":
		_, err = fmt.Fprintln(p.out, report.Clean(line))
	case said.Level == "WARN" || said.Level == "ERROR":
		_, err = fmt.Fprintf(p.out, "%-8s %s: %s\n", who, report.Clean(said.Msg), report.Clean(said.Error))
	case said.Message != "":
		_, err = fmt.Fprintf(p.out, "%-8s %s\n", who, report.Clean(said.Message))
	}
	return len(b), err
}

// feed puts logs into the bucket of a stack that runs.
func feed(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("feed", flag.ContinueOnError)
	to := flags.String("to", os.Getenv("AWS_ENDPOINT_URL"), "`address` of the stack's AWS (default $AWS_ENDPOINT_URL)")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	if flags.NArg() != 1 || *to == "" {
		return errors.New("say feed -to ADDRESS FOLDER, with the address that the stack printed")
	}
	n, err := localstack.Feed(ctx, *to, flags.Arg(0))
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%d files are in the bucket\n", n)
	return nil
}

// execute runs a command beside emulated AWS alone, and tells it where that is
// by KEYTRAIL_E2E_ENDPOINT, as tests with the tag e2e ask.
func execute(ctx context.Context, args []string) (err error) {
	if len(args) == 0 {
		return errors.New("say exec COMMAND…")
	}
	s, err := localstack.StartAWS(ctx, localstack.Options{Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // the command that the user gave
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "KEYTRAIL_E2E_ENDPOINT="+s.Endpoint)
	return cmd.Run()
}
