package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/remote"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/stack/analyze"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

func (a *app) rebuildCommand() *cobra.Command {
	var bucketName, tableName string
	var shards int
	cmd := &cobra.Command{
		Use:   "rebuild --bucket B",
		Short: "Make the memory of a deployed stack anew from its lake",
		Long: `Puts all objects of the lake into the inbox again and then removes the memory, so
that the next runs of analyze judge the whole history anew, slice by slice. It is for
a memory that is damaged, or logs that came in the wrong order. Findings and alerts
keep their ids: what was told is not told again. On a laptop,
keytrail analyze --rebuild does the same.`,
		Example: `  keytrail rebuild --bucket keytrail-lake`,
		Args:    cobra.NoArgs,
		RunE: a.does(func(cmd *cobra.Command, _ []string) error {
			name, err := a.must("bucket", bucketName, stack.EnvBucket)
			if err != nil {
				return err
			}
			items, err := a.must("table", tableName, stack.EnvTable)
			if err != nil {
				return err
			}
			clients, err := a.aws(cmd.Context())
			if err != nil {
				return err
			}
			cache, err := os.MkdirTemp("", "keytrail-rebuild-")
			if err != nil {
				return fmt.Errorf("make a temporary folder: %w", err)
			}
			defer func() { _ = os.RemoveAll(cache) }()
			bucket := awssdk.NewBucket(clients.S3(), name)
			for n := range shards {
				if err := a.rebuild(cmd.Context(), bucket, awssdk.NewTable(clients.DynamoDB(), items), n, shards, cache); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&bucketName, "bucket", "", "lake `bucket` of the stack (default $"+stack.EnvBucket+")")
	cmd.Flags().StringVar(&tableName, "table", "", "`table` of the stack (default $"+stack.EnvTable+")")
	cmd.Flags().IntVar(&shards, "shards", 1, "how many `shards` the stack has")
	return cmd
}

// rebuildTime is for how long analyze is kept from working at most.
const rebuildTime = 15 * time.Minute

// rebuild does one shard, while its analyze is kept out.
func (a *app) rebuild(ctx context.Context, bucket cloud.Bucket, items cloud.Table, shard, shards int, cache string) (err error) {
	lease := table.Lease{Table: items, Name: analyze.LeaseName(shard), TTL: rebuildTime}
	held, err := lease.Acquire(ctx, "keytrail rebuild "+rand.Text(), time.Now())
	if errors.Is(err, table.ErrHeld) {
		return fmt.Errorf("analyze is at work: try again in a minute (%w)", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx), held)) }()
	l, err := remote.Open(remote.Options{Bucket: bucket, Shard: shard, Shards: shards, Cache: cache})
	if err != nil {
		return err
	}
	objects, err := l.Requeue(ctx)
	if err != nil {
		return err
	}
	if err := remote.OpenMemory(remote.MemoryOptions{Bucket: bucket, Shard: shard, Dir: cache}).Remove(ctx); err != nil {
		return err
	}
	if !a.quiet {
		a.say(fmt.Sprintf("Shard %d: %d objects wait to be analysed anew.", shard, objects))
	}
	return nil
}
