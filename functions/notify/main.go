// Command notify is the Lambda function that tells Slack.
package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk/secrets"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/stack/config"
	"github.com/keytrail/keytrail/analyzer/stack/notify"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

func main() { stack.Main(start) }

func start(ctx context.Context, env *stack.Environment, log *slog.Logger, metrics *stack.Metrics) (func(), error) {
	bucket, name, queue := env.Must(stack.EnvBucket), env.Must(stack.EnvTable), env.Must(stack.EnvNotifyQueue)
	secret := env.Must(stack.EnvSlackSecret)
	if err := env.Check(); err != nil {
		return nil, err
	}
	catalog, err := config.Catalog()
	if err != nil {
		return nil, err
	}
	clients, err := awssdk.Load(ctx, awssdk.Options{})
	if err != nil {
		return nil, err
	}
	items := awssdk.NewTable(clients.DynamoDB(), name)
	store := table.New(items, table.Options{Now: time.Now})
	settings := config.Of(awssdk.NewBucket(clients.S3(), bucket), env.Or(stack.EnvSettings, config.SettingsKey))
	h := &notify.Handler{
		Store: store, Queue: awssdk.NewQueue(clients.SQS(), queue), Settings: settings, Catalog: catalog,
		Slack: notify.FromSecret(notify.SecretOptions{
			Secrets: secrets.New(clients), ARN: secret, Values: store,
			Pace: notify.Pace{Table: items, Now: time.Now}, BaseURL: env.Get(stack.EnvSlackAPI), Log: log,
		}),
		Reserve: 20 * time.Second, Now: time.Now, Log: log, Metrics: metrics,
	}
	return func() { lambda.Start(h.Handle) }, nil
}
