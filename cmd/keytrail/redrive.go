package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/report"
)

// redriveHold is for how long others do not see what is looked at.
const redriveHold = 2 * time.Minute

// redriveIdle is how often a queue may give nothing before it counts as empty:
// SQS may give none although there are some.
const redriveIdle = 3

// deadLine is what `keytrail redrive --format json` prints of a message.
type deadLine struct {
	Type     string    `json:"type"` // "dead_letter"
	ID       string    `json:"id"`
	Sent     time.Time `json:"sent"`
	Receives int       `json:"receives"`
	Group    string    `json:"group,omitempty"`
	Body     string    `json:"body"`
	Status   string    `json:"status"` // waits, sent, failed
	Error    string    `json:"error,omitempty"`
}

func (a *app) redriveCommand() *cobra.Command {
	var from, to string
	var limit int
	cmd := &cobra.Command{
		Use:   "redrive --from QUEUE_URL [--to QUEUE_URL]",
		Short: "Look into a dead-letter queue, and send back what is in it",
		Long: `Shows the messages of a dead-letter queue. With --to it sends each of them to
that queue and deletes it only when SQS has taken it: what fails stays where it is
and is named. A message that is sent twice does no harm; the functions know what
they have done.`,
		Example: `  keytrail redrive --from https://sqs.eu-west-1.amazonaws.com/111122223333/keytrail-ingest-dlq
  keytrail redrive --from …/keytrail-notify-dlq.fifo --to …/keytrail-notify.fifo`,
		Args: cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) error {
			if from == "" {
				return usagef("say which dead-letter queue: --from QUEUE_URL")
			}
			clients, err := a.aws(cmd.Context())
			if err != nil {
				return err
			}
			r := redrive{from: awssdk.NewQueue(clients.SQS(), from), limit: limit}
			if to != "" {
				r.to = awssdk.NewQueue(clients.SQS(), to)
			}
			return a.redrive(cmd.Context(), r)
		}),
	}
	cmd.Flags().StringVar(&from, "from", "", "`URL` of the dead-letter queue")
	cmd.Flags().StringVar(&to, "to", "", "`URL` of the queue to send to; without it messages are only shown")
	cmd.Flags().IntVar(&limit, "limit", 1000, "look at `n` messages at most")
	return cmd
}

// redrive is what is to be done.
type redrive struct {
	from, to cloud.Queue // to is nil to look only
	limit    int
}

func (a *app) redrive(ctx context.Context, r redrive) error {
	lines := report.NewLines(a.stdout)
	print := func(d deadLine) error {
		if a.format == formatJSON {
			return lines.Write(d)
		}
		text := fmt.Sprintf("%s  %s  received %d times  %s\n  %s", d.Status, d.Sent.UTC().Format(time.RFC3339), d.Receives, d.ID, report.Clean(d.Body))
		if d.Error != "" {
			text += "\n  " + report.Clean(d.Error)
		}
		_, err := fmt.Fprintln(a.stdout, text)
		return err
	}
	seen, failed, err := r.run(ctx, print)
	err = errors.Join(err, lines.Flush())
	if err != nil {
		return err
	}
	if !a.quiet {
		done := "looked at; give --to QUEUE_URL to send them back"
		if r.to != nil {
			done = "sent back"
		}
		a.say(fmt.Sprintf("%d messages %s, %d failed.", seen-failed, done, failed))
	}
	if failed > 0 {
		return &statusError{status: statusFailed}
	}
	return nil
}

// run goes through the queue. Messages that are looked at become visible again
// by themselves, so that each is seen once.
func (r *redrive) run(ctx context.Context, print func(deadLine) error) (seen, failed int, err error) {
	known := map[string]bool{}
	for idle := 0; seen < r.limit && idle < redriveIdle; {
		messages, err := r.from.Receive(ctx, redriveHold)
		if err != nil {
			return seen, failed, fmt.Errorf("read the dead-letter queue: %w", err)
		}
		idle++
		for _, m := range messages {
			if known[m.ID] {
				continue
			}
			known[m.ID] = true
			idle = 0
			seen++
			d := deadLine{Type: "dead_letter", ID: m.ID, Sent: m.Sent, Receives: m.Receives, Group: m.Group, Body: m.Body, Status: "waits"}
			if r.to != nil {
				d.Status = "sent"
				if err := r.send(ctx, m); err != nil {
					d.Status, d.Error = "failed", err.Error()
					failed++
				}
			}
			if err := print(d); err != nil {
				return seen, failed, err
			}
		}
	}
	return seen, failed, nil
}

// send moves one message. FIFO queues drop what they had in the last minutes: a
// message that is redriven gets a name of its own.
func (r *redrive) send(ctx context.Context, m cloud.Received) error {
	next := cloud.Message{Body: m.Body, Group: m.Group}
	if m.Group != "" {
		next.Dedup = fmt.Sprintf("redriven-%s-%d", m.ID, m.Receives)
	}
	if err := r.to.Send(ctx, next); err != nil {
		return err
	}
	return r.from.Delete(ctx, m.Receipt)
}
