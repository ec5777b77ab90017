// Command ingest is the Lambda function that reads logs into the lake.
package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/remote"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/stack/config"
	"github.com/keytrail/keytrail/analyzer/stack/ingest"
)

func main() { stack.Main(start) }

func start(ctx context.Context, env *stack.Environment, log *slog.Logger, metrics *stack.Metrics) (func(), error) {
	bucket := env.Must(stack.EnvBucket)
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
	shards, err := stack.Shards(env)
	if err != nil {
		return nil, err
	}
	var lakes []ingest.Lake
	for n := range shards {
		l, err := remote.Open(remote.Options{
			Bucket: awssdk.NewBucket(clients.S3(), bucket), Shard: n, Shards: shards,
			Cache: filepath.Join(os.TempDir(), "lake", strconv.Itoa(n)), Log: log,
		})
		if err != nil {
			return nil, err
		}
		lakes = append(lakes, l)
	}
	h := &ingest.Handler{
		Lakes:   lakes,
		Buckets: func(name string) cloud.Reader { return awssdk.NewBucket(clients.S3(), name) },
		Events:  catalog.Events(), Reserve: 15 * time.Second, Now: time.Now, Log: log, Metrics: metrics,
	}
	return func() { lambda.Start(h.Handle) }, nil
}
