// Command bench measures what DESIGN promises, each figure against a reference
// that runs in turn with it on the same machine, and writes docs/bench.md.
//
//	go run ./cmd/bench                 all figures; what they read is made once
//	go run ./cmd/bench -only 1,2       these; the others keep their last row
//	go run ./cmd/bench -quick          all in small, to see that it works
//	go run ./cmd/bench split LAKE      where the time of an analysis goes
//
// Nothing fails on a timing: machines differ, and a ratio says more. What does
// fail is a run that loses a record. Logs and lakes are kept in .cache/bench
// and made anew when the code that makes them changes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "scan":
			return scan(ctx, args[1:], os.Stdout)
		case "split":
			return split(ctx, args[1:], os.Stdout)
		}
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "small sizes and few runs, to see that it works; nothing is written")
	only := flags.String("only", "", "figures to measure, as 1,2; the others keep their last row")
	out := flags.String("out", "docs/bench.md", "file to write the table to; - for none")
	stale := flags.Bool("stale", false, "take cached logs and lakes that other code has made")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("there is nothing to do with %q: say -h for what there is", flags.Arg(0))
	}
	b, err := newBench(*quick, *stale)
	if err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if b.facts, err = b.machine(ctx); err != nil {
		return err
	}
	results, err := b.load()
	if err != nil {
		return err
	}
	for _, f := range chosen {
		b.say("\nFigure %d: %s\n", f.number, f.title)
		r, err := f.run(ctx, b)
		if err != nil {
			return fmt.Errorf("figure %d: %w", f.number, err)
		}
		r.Figure, r.Title, r.Facts = f.number, f.title, b.facts
		results[f.number] = r
		// A later figure may fail or be stopped: what is measured stays.
		if err := b.save(results); err != nil {
			return err
		}
		r.print(b.out)
	}
	if *quick || *out == "-" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(b.root, *out), []byte(page(b.facts, results)), 0o644); err != nil { //nolint:gosec // documentation
		return fmt.Errorf("write the table: %w", err)
	}
	b.say("\nThe table is in %s.\n", *out)
	return nil
}

// figure is one thing that is measured.
type figure struct {
	number int
	title  string
	run    func(context.Context, *bench) (result, error)
}

func figures() []figure {
	return []figure{
		{1, "read to Parquet, logs of KMS alone", readKMS},
		{2, "read to Parquet, mixed logs with 5 % KMS", readMixed},
		{3, "replay of 4,000 small files", replaySmall},
		{4, "a tick after 30 and after 300 days", tickHistory},
		{5, "all detections over 10 million events", detectAll},
		{6, "cold start", coldStart},
		{7, "an author's test of one detection", testOne},
		{8, "the deployed functions, by the Runtime API", invocations},
	}
}

func choose(only string) ([]figure, error) {
	all := figures()
	if only == "" {
		return all, nil
	}
	var chosen []figure
	for _, s := range strings.Split(only, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		i := slices.IndexFunc(all, func(f figure) bool { return f.number == n })
		if err != nil || i < 0 {
			return nil, fmt.Errorf("-only %s: the figures are 1 to %d", only, len(all))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// bench is what all figures share.
type bench struct {
	root     string // of the repository
	cache    string // .cache/bench
	keytrail string // the program that is measured
	self     string // this program
	cores    int
	quick    bool
	stale    bool
	facts    facts
	out      io.Writer
}

func newBench(quick, stale bool) (*bench, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	b := &bench{
		root: root, cache: filepath.Join(root, ".cache", "bench"), keytrail: filepath.Join(root, "bin", "keytrail"),
		self: self, cores: runtime.GOMAXPROCS(0), quick: quick, stale: stale, out: os.Stdout,
	}
	if quick {
		b.cache = filepath.Join(b.cache, "quick")
	}
	if _, err := os.Stat(b.keytrail); err != nil {
		return nil, fmt.Errorf("%w: `make build` makes it", err)
	}
	if err := os.MkdirAll(b.cache, 0o750); err != nil {
		return nil, fmt.Errorf("make a folder for logs and lakes: %w", err)
	}
	return b, nil
}

// repository is the folder with go.mod, here or above.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", errors.New("run this in the repository: there is no go.mod here or above")
		}
		dir = above
	}
}

func (b *bench) say(format string, args ...any) { _, _ = fmt.Fprintf(b.out, format, args...) }

// sized is n, or a twentieth of it in a quick run.
func (b *bench) sized(n int64) int64 {
	if b.quick {
		return n / 20
	}
	return n
}

// rounds is how often something is measured after a warm-up.
func (b *bench) rounds(n int) int {
	if b.quick {
		return 2
	}
	return n
}
