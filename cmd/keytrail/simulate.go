package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer/report"
	"github.com/keytrail/keytrail/analyzer/simulate"
)

func (a *app) simulateCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "simulate",
		Short: "Write CloudTrail logs that nobody has to worry about",
	}, a.simulateTrafficCommand(), a.simulateIncidentCommand(), a.simulateAlertCommand())
}

// simulatedLine is what the simulate commands print with --format json.
type simulatedLine struct {
	Type      string  `json:"type"` // "traffic" or "incident"
	Folder    string  `json:"folder"`
	Files     int64   `json:"files"`
	Records   int64   `json:"records"`
	KMS       int64   `json:"kms_records"`
	RawBytes  int64   `json:"raw_bytes"`
	GzipBytes int64   `json:"gzip_bytes"`
	Seconds   float64 `json:"seconds"`
}

func (a *app) simulateTrafficCommand() *cobra.Command {
	var (
		o        simulate.Options
		out      string
		start    string
		duration durationFlag
		force    bool
	)
	cmd := &cobra.Command{
		Use:   "traffic --out DIR",
		Short: "Write the ordinary life of an organisation",
		Long: `Writes CloudTrail log files as AWS delivers them: applications that encrypt
and decrypt, secrets read, buckets, databases, deploys, people, partners, noise.
The same options give the same bytes.`,
		Example: `  # a day of three accounts, KMS records only
  keytrail simulate traffic --out logs

  # ten million records of which one in twenty is of KMS, in 400 files
  keytrail simulate traffic --out logs --records 10000000 --kms-share 0.05 --files 400

  # thirty days of an organisation trail with digest files
  keytrail simulate traffic --out logs --duration 30d --organisation o-exampleorg --digests`,
		Args: cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) error {
			if start != "" {
				t, err := time.Parse(time.RFC3339, start)
				if err != nil {
					return usagef("--start %q is not a time such as %s", start, simulate.DefaultStart.Format(time.RFC3339))
				}
				o.Start = t
			}
			o.Duration = time.Duration(duration)
			if err := emptyFolder(out, force); err != nil {
				return err
			}

			began := time.Now()
			totals, err := simulate.Traffic(cmd.Context(), o, simulate.Dir(out))
			if err != nil {
				return fmt.Errorf("simulate traffic in %s: %w", out, err)
			}
			return a.printSimulated("traffic", out, totals, time.Since(began))
		}),
	}
	flags := cmd.Flags()
	flags.StringVarP(&out, "out", "o", "", "`folder` to write into")
	flags.BoolVar(&force, "force", false, "write into a folder that is not empty")
	flags.Uint64Var(&o.Seed, "seed", 1, "another `number` gives other logs")
	flags.StringVar(&start, "start", "", "`time` of the first record (default 2026-03-02T00:00:00Z)")
	flags.Var(&duration, "duration", "how long the logs run: 36h, 30d (default 24h)")
	flags.Int64Var(&o.Records, "records", 0, "`number` of records (default --per-day for each day)")
	flags.Int64Var(&o.PerDay, "per-day", 0, "`number` of records a day (default 100000)")
	flags.Float64Var(&o.KMSShare, "kms-share", 0, "`share` of KMS among the records, above 0 and up to 1 (default 1)")
	flags.IntVar(&o.Accounts, "accounts", 0, "`number` of accounts (default 3)")
	flags.StringSliceVar(&o.Regions, "regions", nil, "Regions, the busiest first (default eu-west-1,us-east-1)")
	flags.StringVar(&o.Organisation, "organisation", "", "`id` of an organisation trail, o-…; part of the path of its files")
	flags.IntVar(&o.Files, "files", 0, "`number` of files (default as CloudTrail delivers: each account, Region and 5 minutes)")
	flags.IntVar(&o.FileRecords, "file-records", 0, "most records in one file (default 10000)")
	flags.BoolVar(&o.Digests, "digests", false, "write hourly digest files too")
	flags.IntVar(&o.Level, "level", 0, "gzip `level`, 1 to 9 (default 6)")
	flags.IntVar(&o.Workers, "workers", 0, "`number` of files written at once (default one for each core)")
	mustFlag(cmd.MarkFlagRequired("out"))
	mustFlag(cmd.MarkFlagDirname("out"))
	return cmd
}

func (a *app) simulateIncidentCommand() *cobra.Command {
	var (
		o     simulate.IncidentOptions
		out   string
		force bool
	)
	cmd := &cobra.Command{
		Use:   "incident --out DIR",
		Short: "Write six weeks of a small company and the theft at their end",
		Long: `Writes the story that fixtures/incident tells: the logs, the company's
keytrail.yaml, README.md with what happened when, and expected.json with what a
replay must find. The same seed gives the same bytes.`,
		Example: `  keytrail simulate incident --out incident
  keytrail replay --config incident/keytrail.yaml incident`,
		Args: cobra.NoArgs,
		RunE: a.does(func(*cobra.Command, []string) error {
			if err := emptyFolder(out, force); err != nil {
				return err
			}
			began := time.Now()
			totals, err := simulate.Incident(o, simulate.Dir(out))
			if err != nil {
				return fmt.Errorf("write to %s: %w", out, err)
			}
			return a.printSimulated("incident", out, totals, time.Since(began))
		}),
	}
	flags := cmd.Flags()
	flags.StringVarP(&out, "out", "o", "", "`folder` to write into")
	flags.BoolVar(&force, "force", false, "write into a folder that is not empty")
	flags.Uint64Var(&o.Seed, "seed", simulate.IncidentSeed, "another `number` gives another incident of the same story")
	mustFlag(cmd.MarkFlagRequired("out"))
	mustFlag(cmd.MarkFlagDirname("out"))
	return cmd
}

// printSimulated tells what was written.
func (a *app) printSimulated(kind, folder string, totals simulate.Totals, took time.Duration) error {
	if a.format == formatJSON {
		lines := report.NewLines(a.stdout)
		if err := lines.Write(simulatedLine{
			Type: kind, Folder: folder, Files: totals.Files, Records: totals.Records, KMS: totals.KMS,
			RawBytes: totals.RawBytes, GzipBytes: totals.GzBytes, Seconds: float64(took.Milliseconds()) / 1000,
		}); err != nil {
			return err
		}
		return lines.Flush()
	}
	if a.quiet {
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, "%s: %d records (%d of KMS) in %d files, %.1f MiB inflated, %.1f MiB compressed, %.1f s\n",
		report.Clean(folder), totals.Records, totals.KMS, totals.Files, mib(totals.RawBytes), mib(totals.GzBytes), took.Seconds())
	return err
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// emptyFolder makes sure that nothing of the user's is mixed with what is
// written: the folder is empty or not there yet, unless force is set.
func emptyFolder(dir string, force bool) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look into the folder to write to: %w", err)
	case len(entries) > 0 && !force:
		return usagef("folder %s is not empty: name another one, or say --force to write into it", dir)
	}
	return nil
}

// mustFlag panics when a flag's name is misspelt in this source.
func mustFlag(err error) {
	if err != nil {
		panic(err)
	}
}
