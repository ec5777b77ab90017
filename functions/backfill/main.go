// Command backfill is the Lambda function that posts what was missed.
package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/stack/backfill"
)

func main() { stack.Main(start) }

func start(ctx context.Context, env *stack.Environment, log *slog.Logger, metrics *stack.Metrics) (func(), error) {
	queue := env.Must(stack.EnvIngestQueue)
	if err := env.Check(); err != nil {
		return nil, err
	}
	clients, err := awssdk.Load(ctx, awssdk.Options{})
	if err != nil {
		return nil, err
	}
	h := &backfill.Handler{
		Bucket:  env.Get(stack.EnvTrailBucket),
		Buckets: func(name string) cloud.Reader { return awssdk.NewBucket(clients.S3(), name) },
		Queue:   awssdk.NewQueue(clients.SQS(), queue), Reserve: 20 * time.Second, Now: time.Now, Log: log, Metrics: metrics,
	}
	return func() { lambda.Start(h.Handle) }, nil
}
