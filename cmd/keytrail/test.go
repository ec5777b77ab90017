package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cases"
	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/analyzer/intake"
	"github.com/keytrail/keytrail/analyzer/pipeline"
	"github.com/keytrail/keytrail/analyzer/report"
	"github.com/keytrail/keytrail/analyzer/settings"
)

// testCommand runs the cases of detections.
func (a *app) testCommand() *cobra.Command {
	var queriesDir, fixturesDir string
	cmd := &cobra.Command{
		Use:   "test [ID…]",
		Short: "Run the match and quiet cases of detections",
		Long: `Test runs the cases that a detection is kept with: each match case must find
what it expects, each quiet case nothing that could notify anybody. It reads
queries/ and fixtures/ in this folder, so that an author sees at once whether
a detection works.`,
		Example: `  keytrail test KMS-D01
  keytrail test              # all of them`,
		RunE: a.does(func(cmd *cobra.Command, ids []string) error {
			return a.test(cmd.Context(), queriesDir, fixturesDir, ids)
		}),
	}
	cmd.Flags().StringVar(&queriesDir, "queries", catalog.Root, "`folder` of the detections")
	cmd.Flags().StringVar(&fixturesDir, "fixtures", "fixtures", "`folder` of their cases")
	return cmd
}

func (a *app) test(ctx context.Context, queriesDir, fixturesDir string, ids []string) error {
	for _, dir := range []string{queriesDir, fixturesDir} {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return usagef("there is no folder %s here: run this in the repository, or name it with --queries and --fixtures", dir)
		}
	}
	fixtures := os.DirFS(fixturesDir)
	c, err := catalog.Load(os.DirFS(queriesDir), catalog.Options{Cases: fixtures, Memory: intake.MemoryEvents})
	if err != nil {
		return err
	}
	detections := c.Detections()
	if len(ids) > 0 {
		detections = detections[:0]
		for _, id := range ids {
			d, ok := c.ByID(strings.ToUpper(id))
			if !ok {
				return usagef("there is no detection %q in %s", id, queriesDir)
			}
			detections = append(detections, d)
		}
	}
	started := time.Now()
	results, err := runCases(ctx, fixtures, detections)
	if err != nil {
		return err
	}
	failed := 0
	for _, r := range results {
		if r.diff != "" {
			failed++
		}
		if err := a.showCase(r, filepath.Base(fixturesDir)); err != nil {
			return err
		}
	}
	if failed > 0 {
		return &statusError{status: statusFailed, err: fmt.Errorf("%d of %d cases failed", failed, len(results))}
	}
	if !a.quiet {
		_, err = fmt.Fprintf(a.stdout, "%d cases of %d detections passed in %s\n", len(results), len(detections), time.Since(started).Round(10*time.Millisecond))
	}
	return err
}

// caseResult is one case and what is wrong with it, or "".
type caseResult struct {
	cases.Case
	diff string
}

// runCases runs the cases of the detections, some at once.
func runCases(ctx context.Context, fixtures fs.FS, detections []analyzer.Detection) ([]caseResult, error) {
	var results []caseResult
	byID := map[string]analyzer.Detection{}
	var problems []error
	for _, d := range detections {
		byID[d.ID] = d
		list, err := cases.Load(fixtures, d)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, c := range list {
			results = append(results, caseResult{Case: c})
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range results {
		g.Go(func() error {
			diff, err := runCase(ctx, &results[i].Case, byID[results[i].Detection])
			if err != nil && ctx.Err() == nil {
				diff, err = err.Error(), nil // what is wrong with one case is its result
			}
			results[i].diff = diff
			return err
		})
	}
	return results, g.Wait()
}

// runCase runs one case and returns how what it found differs.
func runCase(ctx context.Context, c *cases.Case, d analyzer.Detection) (string, error) {
	s := settings.Default()
	if len(c.Settings) > 0 {
		var err error
		if s, err = settings.Parse(c.Path+" (settings)", c.Settings); err != nil {
			return "", err
		}
	}
	found, err := pipeline.Try(ctx, c.Records(), []analyzer.Detection{d}, s, c.LearnUntil)
	if err != nil {
		return "", err
	}
	return c.Compare(found), nil
}

// showCase prints one line for a case, and the difference when it failed.
func (a *app) showCase(r caseResult, folder string) error {
	if r.diff == "" {
		if a.quiet {
			return nil
		}
		_, err := fmt.Fprintf(a.stdout, "ok    %s  %s\n", r.Detection, report.Clean(r.Name))
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "FAIL  %s  %s\n      %s/%s: %s\n", r.Detection, report.Clean(r.Name), folder, report.Clean(r.Path), report.Clean(r.About))
	for _, line := range strings.Split(strings.TrimRight(r.diff, "\n"), "\n") {
		fmt.Fprintf(&b, "      %s\n", report.Clean(line))
	}
	_, err := a.stdout.Write([]byte(b.String()))
	return err
}
