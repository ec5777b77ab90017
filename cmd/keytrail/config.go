package main

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer/report"
	"github.com/keytrail/keytrail/analyzer/settings"
)

func (a *app) configCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "config",
		Short: "Look after keytrail.yaml",
	}, a.configCheckCommand())
}

// configLine is what `keytrail config check --format json` prints.
type configLine struct {
	Type        string   `json:"type"`     // "config"
	File        string   `json:"file"`     // empty when there is none
	Warnings    []string `json:"warnings"` // odd, but no mistakes
	Assumptions []string `json:"assumptions"`
}

func (a *app) configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check the settings and say what is assumed",
		Long: `Reads the settings as all other commands do and reports everything that is
wrong with file, line and key. What the settings leave open is assumed, and said.`,
		Example: `  keytrail config check
  keytrail config check infra/keytrail.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.does(func(_ *cobra.Command, args []string) error {
			named := ""
			if len(args) == 1 {
				named = args[0]
			}
			a.configPath = cmp.Or(named, a.configPath, settings.Discover(a.env))
			c, err := builtInCatalog()
			if err != nil {
				return err
			}
			result := configLine{Type: "config", File: a.configPath, Warnings: []string{}}
			s := settings.Default()
			if result.File != "" {
				s, err = settings.Load(result.File, settings.WithDetections(c.Detections()), settings.WithWarnings(func(p settings.Problem) {
					result.Warnings = append(result.Warnings, p.Error())
				}))
				if err != nil {
					return err
				}
			}
			result.Assumptions = append([]string{}, settings.Assumptions(s)...)
			return a.printConfig(result)
		}),
	}
}

func (a *app) printConfig(c configLine) error {
	if a.format == formatJSON {
		lines := report.NewLines(a.stdout)
		if err := lines.Write(c); err != nil {
			return err
		}
		return lines.Flush()
	}
	for _, warning := range c.Warnings {
		a.say(report.Clean(warning))
	}
	if a.quiet {
		return nil
	}
	verdict := c.File + " is in order."
	if c.File == "" {
		verdict = "There are no settings here; keytrail works without."
	}
	return report.Assumptions(a.stdout, a.layout(), verdict, c.Assumptions)
}
