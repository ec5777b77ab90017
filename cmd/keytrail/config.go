package main

import (
	"cmp"
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/report"
	"github.com/keytrail/keytrail/analyzer/settings"
	"github.com/keytrail/keytrail/analyzer/stack"
)

func (a *app) configCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "config",
		Short: "Look after keytrail.yaml",
	}, a.configCheckCommand(), a.configPushCommand())
}

// configLine is what `keytrail config check --format json` prints.
type configLine struct {
	Type        string   `json:"type"`     // "config"
	File        string   `json:"file"`     // empty when there is none
	Warnings    []string `json:"warnings"` // odd, but no mistakes
	Assumptions []string `json:"assumptions"`
}

func (a *app) configCheckCommand() *cobra.Command {
	var remote bool
	var bucket string
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check the settings and say what is assumed",
		Long: `Reads the settings as all other commands do and reports everything that is
wrong with file, line and key. What the settings leave open is assumed, and said.

With --remote it reads those of a deployed stack, as its functions do.`,
		Example: `  keytrail config check
  keytrail config check infra/keytrail.yaml
  keytrail config check --remote`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.does(func(cmd *cobra.Command, args []string) error {
			if remote {
				return a.checkRemote(cmd.Context(), bucket, args)
			}
			named := ""
			if len(args) == 1 {
				named = args[0]
			}
			a.configPath = cmp.Or(named, a.configPath, settings.Discover(a.env))
			if a.configPath == "" {
				return a.printConfig(configLine{Type: "config", Warnings: []string{}, Assumptions: append([]string{}, settings.Assumptions(settings.Default())...)})
			}
			text, err := readSettings(a.configPath)
			if err != nil {
				return err
			}
			result, err := checkConfig(a.configPath, text)
			if err != nil {
				return err
			}
			return a.printConfig(result)
		}),
	}
	cmd.Flags().BoolVar(&remote, "remote", false, "check the settings of a deployed stack")
	cmd.Flags().StringVar(&bucket, "bucket", "", "lake `bucket` of the stack (default $"+stack.EnvBucket+")")
	return cmd
}

// readSettings reads a file of settings, no larger than settings may be.
func readSettings(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	if info.Size() > settings.MaxSize {
		return nil, fmt.Errorf("read the settings: %s has %d bytes; at most %d are read", path, info.Size(), settings.MaxSize)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	return text, nil
}

// checkConfig reads settings and says what is odd and what is assumed.
func checkConfig(name string, text []byte) (configLine, error) {
	result := configLine{Type: "config", File: name, Warnings: []string{}}
	c, err := builtInCatalog()
	if err != nil {
		return result, err
	}
	var s *analyzer.Settings
	s, err = settings.Parse(name, text, settings.WithDetections(c.Detections()), settings.WithWarnings(func(p settings.Problem) {
		result.Warnings = append(result.Warnings, p.Error())
	}))
	if err != nil {
		return result, err
	}
	result.Assumptions = append([]string{}, settings.Assumptions(s)...)
	return result, nil
}

func (a *app) checkRemote(ctx context.Context, bucket string, args []string) error {
	if len(args) > 0 {
		return usagef("--remote reads the settings of the stack: leave %s out, or push it first: keytrail config push %s", args[0], args[0])
	}
	bucket, err := a.must("bucket", bucket, stack.EnvBucket)
	if err != nil {
		return err
	}
	clients, err := a.aws(ctx)
	if err != nil {
		return err
	}
	text, _, err := remoteSettings(ctx, awssdk.NewBucket(clients.S3(), bucket), a.settingsKey())
	if err != nil {
		return err
	}
	if text == nil {
		a.say("The stack has no settings: its functions work with the defaults. keytrail config push FILE gives it some.")
	}
	result, err := checkConfig("s3://"+bucket+"/"+a.settingsKey(), text)
	if err != nil {
		return err
	}
	return a.printConfig(result)
}

func (a *app) configPushCommand() *cobra.Command {
	var bucket string
	cmd := &cobra.Command{
		Use:   "push [FILE]",
		Short: "Check the settings and give them to a deployed stack",
		Long: `Checks the settings and, when they are in order, writes them to the lake bucket
of a stack. Its functions take them up within a minute.`,
		Example: `  keytrail config push keytrail.yaml`,
		Args:    cobra.MaximumNArgs(1),
		RunE: a.does(func(cmd *cobra.Command, args []string) error {
			path := cmp.Or(a.configPath, settings.Discover(a.env))
			if len(args) == 1 {
				path = args[0]
			}
			if path == "" {
				return usagef("say which file: keytrail config push keytrail.yaml")
			}
			bucket, err := a.must("bucket", bucket, stack.EnvBucket)
			if err != nil {
				return err
			}
			text, err := readSettings(path)
			if err != nil {
				return err
			}
			result, err := checkConfig(path, text)
			if err != nil {
				return err
			}
			clients, err := a.aws(cmd.Context())
			if err != nil {
				return err
			}
			b := awssdk.NewBucket(clients.S3(), bucket)
			_, was, err := remoteSettings(cmd.Context(), b, a.settingsKey())
			if err != nil {
				return err
			}
			if err := pushSettings(cmd.Context(), b, a.settingsKey(), text, was); err != nil {
				return err
			}
			return a.printConfig(result)
		}),
	}
	cmd.Flags().StringVar(&bucket, "bucket", "", "lake `bucket` of the stack (default $"+stack.EnvBucket+")")
	return cmd
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
