// Command doctor is the Lambda function that checks whether the trails see KMS.
package main

import (
	"context"
	"log/slog"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk/cloudtrail"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/stack/doctor"
)

func main() { stack.Main(start) }

func start(ctx context.Context, _ *stack.Environment, log *slog.Logger, metrics *stack.Metrics) (func(), error) {
	clients, err := awssdk.Load(ctx, awssdk.Options{})
	if err != nil {
		return nil, err
	}
	trails := cloudtrail.New(clients)
	trails.Shadows = true // also those of other Regions and of the organisation
	h := &doctor.Handler{Trails: trails.Trails, Log: log, Metrics: metrics}
	return func() { lambda.Start(h.Handle) }, nil
}
