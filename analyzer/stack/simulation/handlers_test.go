package simulation

import (
	"context"

	"github.com/aws/aws-lambda-go/events"
)

func handleIngest(ctx context.Context, e *environment, ev events.SQSEvent) (events.SQSEventResponse, error) {
	return e.ingest.Handle(ctx, ev)
}

func handleNotify(ctx context.Context, e *environment, ev events.SQSEvent) (events.SQSEventResponse, error) {
	return e.notify.Handle(ctx, ev)
}
