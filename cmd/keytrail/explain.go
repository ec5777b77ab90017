package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
	"github.com/keytrail/keytrail/analyzer/engine"
	"github.com/keytrail/keytrail/analyzer/memory"
	"github.com/keytrail/keytrail/analyzer/pipeline"
	"github.com/keytrail/keytrail/analyzer/report"
)

// explainCommand shows how a finding came about.
func (a *app) explainCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "explain FINDING_ID --lake DIR",
		Short: "Show how a finding came about: its SQL, parameters, events and evidence",
		Long: `Explain shows the detection's SQL as it ran, its parameters, the finding with
its evidence, and the events that it names, as they stand in the lake. The id
may be that of a finding (f-…) or of an alert (a-…), which shows its findings.`,
		Example: `  keytrail replay --lake lake logs/
  keytrail explain f-k3v6q2m5x7 --lake lake`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("say which finding or alert: %s FINDING_ID --lake DIR", cmd.CommandPath())
			}
			return nil
		},
		RunE: a.does(func(cmd *cobra.Command, args []string) (err error) {
			if o.lake == "" {
				return usagef("say where the lake is: keytrail replay --lake DIR PATH… keeps one, keytrail explain %s --lake DIR reads it", args[0])
			}
			if _, err := os.Stat(o.lake); err != nil {
				return fmt.Errorf("open the lake: %w", err)
			}
			w, err := a.open(o)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, w.close()) }()
			return w.explain(cmd.Context(), args[0])
		}),
	}
	cmd.Flags().StringVar(&o.lake, "lake", "", "`folder` of the lake")
	cmd.Flags().StringVar(&o.rules, "queries", "", "`folder` of detections to use in place of the built-in ones")
	return cmd
}

func (w *work) explain(ctx context.Context, id string) error {
	ids := []string{id}
	if strings.HasPrefix(id, "a-") {
		al, err := w.store.Alert(ctx, id)
		if err != nil {
			return fmt.Errorf("this lake: %w", err)
		}
		ids = al.FindingIDs
	}
	dir := memory.Open(filepath.Join(w.lake.Root(), "memory"))
	m, err := dir.Load(ctx)
	if err != nil {
		return err
	}
	e, err := engine.Open(ctx, engine.Config{LakeRoot: w.lake.Root(), MemoryRoot: dir.Root(), Settings: w.settings})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	for _, id := range ids {
		f, err := w.store.Finding(ctx, id)
		if err != nil {
			return fmt.Errorf("this lake: %w", err)
		}
		if err := w.explainFinding(ctx, e, m, f); err != nil {
			return err
		}
	}
	if w.lines != nil {
		return w.lines.Flush()
	}
	return err
}

func (w *work) explainFinding(ctx context.Context, e *engine.Engine, m memory.Manifest, f analyzer.Finding) error {
	x := report.Explanation{Finding: f}
	if d, ok := w.catalog.ByID(f.Detection); ok {
		at := engine.Moment{
			Now: m.Now, HistoryStart: m.HistoryStart, HasOrg: len(w.settings.Organisation) > 0,
			LearnUntil: m.HistoryStart.Add(time.Duration(d.LearnDays) * 24 * time.Hour),
		}
		sql, err := pipeline.Render(d, w.settings, at)
		if err != nil {
			return err
		}
		x.Detection, x.SQL = d, sql
		x.Params = map[string]any{"now": at.Now, "learn_until": at.LearnUntil, "history_start": at.HistoryStart, "has_org": at.HasOrg}
		for name, v := range d.Params {
			x.Params[name] = v
		}
		for name, v := range w.settings.Detections[d.ID].Params {
			x.Params[name] = v
		}
	}
	var objects []analyzer.Object
	for _, table := range []analyzer.Table{analyzer.TableControl, analyzer.TableUses} {
		of, err := w.lake.History(ctx, table, f.FirstTime, f.LastTime)
		if err != nil {
			return err
		}
		objects = append(objects, of...)
	}
	rows, err := e.Events(ctx, objects, f.EventIDs)
	if err != nil {
		return err
	}
	x.Events = append(x.Events, rows...)
	if w.lines != nil {
		line := struct {
			Type    string           `json:"type"` // "explanation"
			Finding any              `json:"finding"`
			SQL     string           `json:"sql"`
			Params  map[string]any   `json:"params"`
			Events  []map[string]any `json:"events"`
		}{"explanation", alert.FindingLine(f), x.SQL, x.Params, slices.Clone(x.Events)}
		return w.lines.Write(line)
	}
	return x.Text(w.stdout, w.layout())
}
