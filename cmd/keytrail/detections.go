package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/analyzer/report"
	"github.com/keytrail/keytrail/fixtures"
	"github.com/keytrail/keytrail/queries"
)

// builtInCatalog reads the detections that this program carries; one without a
// match and a quiet case does not load.
func builtInCatalog() (*catalog.Catalog, error) {
	c, err := catalog.Load(queries.Files, catalog.Options{Cases: fixtures.Cases})
	if err != nil {
		return nil, fmt.Errorf("the built-in detections are not valid:\n%w", err)
	}
	return c, nil
}

// detectionsCommand shows the catalogue that load returns.
func (a *app) detectionsCommand(load func() (*catalog.Catalog, error)) *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "List the detections",
		Example: `  keytrail detections list

  # the front matter of each, one JSON object a line
  keytrail detections list --format json | jq -r 'select(.severity == "critical") | .id'`,
		Args: cobra.NoArgs,
		RunE: a.does(func(*cobra.Command, []string) error {
			c, err := load()
			if err != nil {
				return err
			}
			return a.listDetections(c.Detections())
		}),
	}
	show := &cobra.Command{
		Use:     "show ID",
		Short:   "Show what one detection looks for, how, and what to do about it",
		Example: "  keytrail detections show KMS-D01",
		Args:    cobra.ExactArgs(1),
		RunE: a.does(func(_ *cobra.Command, args []string) error {
			c, err := load()
			if err != nil {
				return err
			}
			d, ok := c.ByID(strings.ToUpper(args[0]))
			if !ok {
				return usagef("there is no detection %q: `keytrail detections list` names all", args[0])
			}
			if a.format == formatJSON {
				return a.printDetections(d)
			}
			return report.DetectionDetails(a.stdout, a.layout(), &d)
		}),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			c, err := load()
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var ids []cobra.Completion
			for _, d := range c.Detections() {
				ids = append(ids, cobra.CompletionWithDesc(d.ID, d.Title))
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
	}
	return group(&cobra.Command{Use: "detections", Short: "Show what is looked for"}, list, show)
}

func (a *app) listDetections(detections []analyzer.Detection) error {
	if a.format == formatJSON {
		return a.printDetections(detections...)
	}
	if a.quiet {
		for i := range detections {
			if _, err := a.stdout.Write([]byte(report.Clean(detections[i].ID) + "\n")); err != nil {
				return err
			}
		}
		return nil
	}
	return report.DetectionTable(a.stdout, a.layout(), detections)
}

// printDetections writes one JSON object a detection.
func (a *app) printDetections(detections ...analyzer.Detection) error {
	lines := report.NewLines(a.stdout)
	for i := range detections {
		if err := lines.Write(report.NewDetectionLine(&detections[i])); err != nil {
			return err
		}
	}
	return lines.Flush()
}
