package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk/cloudtrail"
	"github.com/keytrail/keytrail/analyzer/report"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/stack/backfill"
	"github.com/keytrail/keytrail/analyzer/stack/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check whether the account's trails see KMS",
		Long: `Looks at the trails of the account and Region that the environment's credentials
lead to, and says of each what it does not record of KMS. It needs
cloudtrail:DescribeTrails, GetTrailStatus and GetEventSelectors. Exit status 1 when
no trail sees all that KMS does.`,
		Example: `  AWS_PROFILE=audit AWS_REGION=eu-west-1 keytrail doctor`,
		Args:    cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) error {
			clients, err := a.aws(cmd.Context())
			if err != nil {
				return err
			}
			trails := cloudtrail.New(clients)
			trails.Shadows = true // also those of other Regions and of the organisation
			h := doctor.Handler{Trails: trails.Trails, Log: slog.New(slog.DiscardHandler)}
			rep, err := h.Handle(cmd.Context())
			if err != nil {
				return err
			}
			return a.printDoctor(rep)
		}),
	}
}

// doctorLine is what `keytrail doctor --format json` prints.
type doctorLine struct {
	Type string `json:"type"` // "doctor"
	doctor.Report
}

func (a *app) printDoctor(rep doctor.Report) error {
	ended := error(nil)
	if !rep.Sees {
		ended = &statusError{status: statusFailed}
	}
	if a.format == formatJSON {
		lines := report.NewLines(a.stdout)
		if err := lines.Write(doctorLine{"doctor", rep}); err != nil {
			return err
		}
		if err := lines.Flush(); err != nil {
			return err
		}
		return ended
	}
	for _, t := range rep.Trails {
		verdict := "sees all that KMS does"
		if len(t.Blind) > 0 {
			verdict = "does not see all that KMS does"
		}
		if _, err := fmt.Fprintf(a.stdout, "%s  %s\n", report.Clean(t.ARN), verdict); err != nil {
			return err
		}
		for _, what := range t.Blind {
			if _, err := fmt.Fprintf(a.stdout, "  %s\n", report.Clean(what)); err != nil {
				return err
			}
		}
	}
	if rep.Unread != "" {
		a.say(report.Clean("Some trails could not be read: " + rep.Unread))
	}
	if !rep.Sees {
		a.say(fmt.Sprintf("No trail of %d sees all that KMS does here: misuse of keys can go unseen.", len(rep.Trails)))
	}
	return ended
}

func (a *app) backfillCommand() *cobra.Command {
	var queue, bucket, prefix string
	var from, to timeFlag
	cmd := &cobra.Command{
		Use:   "backfill --bucket B --prefix P --from DAY [--to DAY]",
		Short: "Bring logs into a deployed stack that it has missed",
		Long: `Lists the log objects of days in a trail's bucket and posts to the stack's ingest
queue what S3 would have sent. Objects that the stack has are known to it and cost
one look each.`,
		Example: `  keytrail backfill --bucket trail-logs --prefix AWSLogs/111122223333/CloudTrail/eu-west-1 \
    --from 2026-03-01 --to 2026-03-31`,
		Args: cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) error {
			queue, err := a.must("queue", queue, stack.EnvIngestQueue)
			if err != nil {
				return err
			}
			first, last := time.Time(from), time.Time(to)
			if first.IsZero() || bucket == "" || prefix == "" {
				return usagef("say what to bring: --bucket B --prefix AWSLogs/ACCOUNT/CloudTrail/REGION --from DAY")
			}
			if last.IsZero() {
				last = first
			}
			if last.Before(first) {
				return usagef("--to %s is before --from %s", &to, &from)
			}
			clients, err := a.aws(cmd.Context())
			if err != nil {
				return err
			}
			h := backfill.Handler{
				Buckets: func(name string) cloud.Reader { return awssdk.NewBucket(clients.S3(), name) },
				Queue:   awssdk.NewQueue(clients.SQS(), queue), Now: time.Now, Log: slog.New(slog.DiscardHandler),
			}
			return a.backfill(cmd.Context(), &h, backfill.Request{Bucket: bucket, Prefix: prefix}, first, last)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&queue, "queue", "", "`URL` of the ingest queue (default $"+stack.EnvIngestQueue+")")
	flags.StringVar(&bucket, "bucket", "", "`bucket` of the trail")
	flags.StringVar(&prefix, "prefix", "", "what stands before the year in the keys")
	flags.Var(&from, "from", "first `day` of delivery")
	flags.Var(&to, "to", "last `day` of delivery (default the first)")
	return cmd
}

// backfillLine is what `keytrail backfill --format json` prints of a day.
type backfillLine struct {
	Type string `json:"type"` // "backfill"
	Day  string `json:"day"`
	backfill.Report
}

func (a *app) backfill(ctx context.Context, h *backfill.Handler, req backfill.Request, first, last time.Time) error {
	lines := report.NewLines(a.stdout)
	for day := first; !day.After(last); day = day.AddDate(0, 0, 1) {
		req.Day = day.Format(time.DateOnly)
		rep, err := h.Handle(ctx, req)
		if err != nil {
			return err
		}
		if a.format == formatJSON {
			err = lines.Write(backfillLine{"backfill", req.Day, rep})
		} else {
			_, err = fmt.Fprintf(a.stdout, "%s  %d log objects posted, %d others left out\n", req.Day, rep.Posted, rep.Skipped)
		}
		if err != nil {
			return err
		}
	}
	return lines.Flush()
}
