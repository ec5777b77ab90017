package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/memory"
	"github.com/keytrail/keytrail/analyzer/pipeline"
	"github.com/keytrail/keytrail/analyzer/settings"
	"github.com/keytrail/keytrail/analyzer/store"
	"github.com/keytrail/keytrail/fixtures"
	"github.com/keytrail/keytrail/queries"
)

// split analyses a copy of a lake and tells how long each step took, summed
// over all ticks.
func split(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("bench split", flag.ContinueOnError)
	profile := flags.String("cpuprofile", "", "write a CPU profile of the Go side to this `file`")
	sliceEvents := flags.Int64("slice", 0, "events that a tick takes (default as in the program)")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	if flags.NArg() != 1 {
		return errors.New("usage: bench split [-cpuprofile FILE] [-slice EVENTS] LAKE")
	}
	dir, err := os.MkdirTemp(filepath.Dir(flags.Arg(0)), "split-")
	if err != nil {
		return fmt.Errorf("make room for a copy of the lake: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := copyLake(flags.Arg(0), filepath.Join(dir, "lake")); err != nil {
		return err
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return fmt.Errorf("write the profile: %w", err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("start the profile: %w", err)
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, f.Close())
		}()
	}
	return timeSteps(ctx, filepath.Join(dir, "lake"), *sliceEvents, out)
}

func timeSteps(ctx context.Context, root string, sliceEvents int64, out io.Writer) (err error) {
	started := time.Now()
	c, err := catalog.Load(queries.Files, catalog.Options{Cases: fixtures.Cases})
	if err != nil {
		return err
	}
	l, err := lake.Open(root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	s, err := store.Open(filepath.Join(root, "state.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var order []string
	spent := map[string]time.Duration{}
	last := time.Now()
	lap := func(step string) {
		now := time.Now()
		if !slices.Contains(order, step) {
			order = append(order, step)
		}
		spent[step] += now.Sub(last)
		last = now
	}
	lap("open")
	a := pipeline.Analysis{
		Lake: l, Memory: memory.Open(filepath.Join(root, "memory")), Store: s, Settings: settings.Default(), Catalog: c,
		SliceEvents: sliceEvents,
		Step: func(step string) error {
			lap(step)
			return nil
		},
	}
	res, err := a.Run(ctx)
	if err != nil {
		return err
	}
	lap("close")
	for _, step := range order {
		if _, err := fmt.Fprintf(out, "%-10s %8.3f s\n", step, spent[step].Seconds()); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "%-10s %8.3f s in %d ticks of %d events; %d alerts changed\n",
		"all", time.Since(started).Seconds(), res.Ticks, res.Counts.Events, len(res.Alerts))
	return err
}
