package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer/memory"
)

// replayCommand reads logs and analyses them in one go.
func (a *app) replayCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "replay PATH…",
		Short: "Read CloudTrail logs and print what was done to keys",
		Long: `Replay reads CloudTrail logs (files, folders, patterns, - for standard input;
.json.gz, .json, JSON lines, lookup-events, EventBridge), runs all detections
over them and prints the alerts. It needs no AWS account and sends nothing
unless --slack says so.

Detections that learn what is usual need history: without --learn-until they
learn for their own number of days from the first event, and the summary says
which had too little.`,
		Example: `  keytrail replay logs/
  keytrail replay --learn-until 2026-03-01 'AWSLogs/**/*.json.gz'
  aws cloudtrail lookup-events --output json | keytrail replay -
  keytrail replay --format json logs/ | jq 'select(.type == "alert")'`,
		Args: needPaths,
		RunE: a.does(func(cmd *cobra.Command, args []string) error {
			return a.replay(cmd.Context(), o, args)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&o.lake, "lake", "", "keep the events and what was found in this `folder` (default: a temporary one)")
	o.register(f)
	return cmd
}

func (a *app) replay(ctx context.Context, o runOptions, paths []string) (err error) {
	started := time.Now()
	w, err := a.open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := w.ingest(ctx, paths); err != nil {
		return err
	}
	if err := w.analyze(ctx); err != nil {
		return err
	}
	return w.finish(ctx, started)
}

// ingestCommand writes logs into a lake without judging them.
func (a *app) ingestCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "ingest PATH… --lake DIR",
		Short: "Write CloudTrail logs into a lake, to be analysed later",
		Example: `  keytrail ingest --lake lake logs/
  keytrail analyze --lake lake`,
		Args: needPaths,
		RunE: a.does(func(cmd *cobra.Command, args []string) (err error) {
			started := time.Now()
			if o.lake == "" {
				return usagef("say where the lake is: keytrail ingest --lake DIR PATH…")
			}
			w, err := a.open(o)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, w.close()) }()
			if err := w.ingest(cmd.Context(), args); err != nil {
				return err
			}
			return w.finishIngest(started)
		}),
	}
	cmd.Flags().StringVar(&o.lake, "lake", "", "`folder` of the lake")
	cmd.Flags().IntVar(&o.workers, "workers", 0, "files read at once (default: one a processor)")
	return cmd
}

// analyzeCommand judges what is new in a lake.
func (a *app) analyzeCommand() *cobra.Command {
	var rebuild bool
	var o runOptions
	cmd := &cobra.Command{
		Use:   "analyze --lake DIR",
		Short: "Analyse what is new in a lake and print what changed",
		Long: `Analyze runs the detections over the events that came into the lake since the
last run, on top of what it remembers of those before. It prints the findings
and alerts that are new or have changed since they were last printed.`,
		Example: `  keytrail analyze --lake lake
  keytrail analyze --lake lake --format json --fail-on high
  keytrail analyze --lake lake --rebuild    # forget, and judge the whole lake again`,
		Args: cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) (err error) {
			started := time.Now()
			if o.lake == "" {
				return usagef("say where the lake is: keytrail analyze --lake DIR")
			}
			if _, err := os.Stat(o.lake); err != nil {
				return fmt.Errorf("open the lake: %w; `keytrail ingest --lake %s PATH…` makes one", err, o.lake)
			}
			w, err := a.open(o)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, w.close()) }()
			if rebuild {
				if err := w.forget(cmd.Context()); err != nil {
					return err
				}
			}
			if err := w.analyze(cmd.Context()); err != nil {
				return err
			}
			return w.finish(cmd.Context(), started)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&o.lake, "lake", "", "`folder` of the lake")
	f.BoolVar(&rebuild, "rebuild", false, "forget what is remembered and analyse the whole lake again, as after logs that came out of order")
	o.register(f)
	return cmd
}

// needPaths asks for at least one path, in words.
func needPaths(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("say what to read: %s PATH…, a file, a folder, a pattern or - for standard input", cmd.CommandPath())
	}
	return nil
}

// forget puts the whole lake before the next analysis, without memory. The
// findings and alerts stay: the same events give the same ids.
func (w *work) forget(ctx context.Context) error {
	if err := w.lake.Requeue(ctx); err != nil {
		return err
	}
	return memory.Open(filepath.Join(w.lake.Root(), "memory")).Remove()
}
