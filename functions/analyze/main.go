// Command analyze is the Lambda function that runs the detections. It links
// DuckDB, statically.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/remote"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/stack/analyze"
	"github.com/keytrail/keytrail/analyzer/stack/config"
)

// lease is for how long a run is alone: longer than Lambda lets the function
// run at the most that template.yaml gives it, which is 5 minutes.
const lease = 6 * time.Minute

func main() { stack.Main(start) }

func start(ctx context.Context, env *stack.Environment, log *slog.Logger, metrics *stack.Metrics) (func(), error) {
	bucketName, table, queue := env.Must(stack.EnvBucket), env.Must(stack.EnvTable), env.Must(stack.EnvNotifyQueue)
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
	size, err := stack.Sizes(env)
	if err != nil {
		return nil, err
	}
	bucket, temp := awssdk.NewBucket(clients.S3(), bucketName), os.TempDir()
	spill := filepath.Join(temp, "duckdb")
	if err := os.RemoveAll(spill); err != nil { // of an invocation that was killed here
		return nil, fmt.Errorf("free space in %s: %w", temp, err)
	}
	count, err := stack.Shards(env)
	if err != nil {
		return nil, err
	}
	var shards []analyze.Shard
	for n := range count {
		dir := filepath.Join(temp, strconv.Itoa(n))
		l, err := remote.Open(remote.Options{
			Bucket: bucket, Shard: n, Shards: count, Cache: filepath.Join(dir, "lake"), CacheBytes: size.Cache / int64(count), Log: log,
		})
		if err != nil {
			return nil, err
		}
		m := remote.OpenMemory(remote.MemoryOptions{Bucket: bucket, Shard: n, Dir: filepath.Join(dir, "memory")})
		shards = append(shards, analyze.Shard{Lake: l, Memory: m})
	}
	settings := config.Of(bucket, env.Or(stack.EnvSettings, config.SettingsKey))
	h := &analyze.Handler{
		Shards: shards, Table: awssdk.NewTable(clients.DynamoDB(), table), Queue: awssdk.NewQueue(clients.SQS(), queue),
		Settings: settings, Catalog: catalog,
		Temp: spill, MemoryLimit: size.DuckDB, Threads: size.Threads, SliceBytes: size.Slice / int64(count),
		Lease: lease, Reserve: 30 * time.Second, Now: time.Now, Log: log, Metrics: metrics,
		Owner: func(ctx context.Context) string {
			if lc, ok := lambdacontext.FromContext(ctx); ok {
				return lc.AwsRequestID
			}
			return ""
		},
	}
	return func() { lambda.Start(h.Handle) }, nil
}
