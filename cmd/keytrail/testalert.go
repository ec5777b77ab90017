package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

// testDetection is the detection that a test alert is of.
const testDetection = "KMS-A90"

// testPoll is how often the table is asked whether the test alert was told.
const testPoll = 5 * time.Second

var accountForm = regexp.MustCompile(`^[0-9]{12}$`)

func (a *app) simulateAlertCommand() *cobra.Command {
	var remote bool
	var queue, tableName, account, by string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "alert --remote",
		Short: "Send a harmless alert through a deployed stack",
		Long: `Posts a record to the stack's ingest queue, as EventBridge does, of a call that
KMS does not have. It becomes an alert of KMS-A90 that says that it is a test, and
comes through all functions to Slack. With --table it waits until notify has told it,
and says how long that took.`,
		Example: `  keytrail simulate alert --remote --account 111122223333`,
		Args:    cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) error {
			if !remote {
				return usagef("it goes through a deployed stack: say --remote. On a laptop, make replay shows alerts")
			}
			queue, err := a.must("queue", queue, stack.EnvIngestQueue)
			if err != nil {
				return err
			}
			if !accountForm.MatchString(account) {
				return usagef("--account %q is not an account id of 12 digits", account)
			}
			clients, err := a.aws(cmd.Context())
			if err != nil {
				return err
			}
			test := testAlert{account: account, region: clients.Config.Region, by: by, id: strings.ToLower(rand.Text())[:12], now: time.Now}
			if err := test.send(cmd.Context(), awssdk.NewQueue(clients.SQS(), queue)); err != nil {
				return err
			}
			if !a.quiet {
				a.say("A test alert is on its way: look into Slack for " + testDetection + " in about two minutes.")
			}
			if tableName == "" {
				tableName = a.env(stack.EnvTable)
			}
			if tableName == "" {
				return nil
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			store := table.New(awssdk.NewTable(clients.DynamoDB(), tableName), table.Options{})
			told, err := test.await(ctx, store, testPoll)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "alert %s was told %d s after the record was posted\n", told.ID, int(time.Since(test.sent).Seconds()))
			return err
		}),
	}
	flags := cmd.Flags()
	flags.BoolVar(&remote, "remote", false, "send it through a deployed stack")
	flags.StringVar(&queue, "queue", "", "`URL` of the ingest queue (default $"+stack.EnvIngestQueue+")")
	flags.StringVar(&tableName, "table", "", "`table` of the stack, to wait for the end (default $"+stack.EnvTable+")")
	flags.StringVar(&account, "account", "", "account `id` that the alert is to be about")
	flags.StringVar(&by, "by", "keytrail", "`name` of who asks for the test")
	flags.DurationVar(&wait, "wait", 10*time.Minute, "give up after this `time`")
	return cmd
}

// testAlert is a test under way.
type testAlert struct {
	account, region, by, id string
	now                     func() time.Time
	sent                    time.Time
}

// session is what tells one test from another.
func (t *testAlert) session() string { return t.by + "-" + t.id }

// send posts the record.
func (t *testAlert) send(ctx context.Context, queue cloud.Queue) error {
	t.sent = t.now()
	type m = map[string]any
	role := "arn:aws:iam::" + t.account + ":role/keytrail-test"
	body, err := json.Marshal(m{
		"version": "0", "source": "aws.kms", "detail-type": "AWS API Call via CloudTrail", "account": t.account, "region": t.region,
		"detail": m{
			"eventVersion": "1.11", "eventSource": "kms.amazonaws.com", "eventName": "KeytrailTestAlert", "awsRegion": t.region,
			"eventTime": t.sent.UTC().Format(time.RFC3339), "eventID": "test-" + t.id, "eventType": "AwsApiCall",
			"recipientAccountId": t.account, "managementEvent": true, "eventCategory": "Management", "readOnly": true,
			"sourceIPAddress": "127.0.0.1", "userAgent": "keytrail simulate alert",
			"userIdentity": m{
				"type": "AssumedRole", "accountId": t.account, "principalId": "AROAKEYTRAILTEST:" + t.session(),
				"arn":            "arn:aws:sts::" + t.account + ":assumed-role/keytrail-test/" + t.session(),
				"sessionContext": m{"sessionIssuer": m{"type": "Role", "accountId": t.account, "userName": "keytrail-test", "arn": role}},
			},
		},
	})
	if err != nil {
		return fmt.Errorf("write the test record: %w", err)
	}
	return queue.Send(ctx, cloud.Message{Body: string(body)})
}

// await asks the table until notify has told the alert.
func (t *testAlert) await(ctx context.Context, store analyzer.AlertStore, every time.Duration) (analyzer.AlertRecord, error) {
	found := false
	for {
		alerts, err := store.Alerts(ctx, t.sent.Add(-time.Minute))
		if err != nil && ctx.Err() == nil {
			return analyzer.AlertRecord{}, err
		}
		for i := range alerts {
			if r := &alerts[i]; r.Detection == testDetection && r.Entity["test"] == t.session() {
				found = true
				if r.Notified >= r.Revision {
					return *r, nil
				}
			}
		}
		select {
		case <-ctx.Done():
			if found {
				return analyzer.AlertRecord{}, errors.New("the alert was raised and nobody was told: look at the log of notify and into its dead-letter queue (keytrail redrive)")
			}
			return analyzer.AlertRecord{}, errors.New("no alert was raised: look at the logs of ingest and analyze, and into ingest's dead-letter queue (keytrail redrive)")
		case <-time.After(every):
		}
	}
}
