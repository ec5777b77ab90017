package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// Options say where a lake is. Zero values have defaults where the comment
// names one.
type Options struct {
	Bucket cloud.Bucket
	// Shard is which part of the lake this is, of how many. Default 0 of 1.
	Shard, Shards int

	Cache string // folder for what is read
	// CacheBytes is how large the cache becomes at most; 0 means any size.
	CacheBytes int64
	// Parallel is how many calls of the bucket are under way at once. Default 16.
	Parallel int

	Now func() time.Time // default time.Now
	Log *slog.Logger     // default none
}

// Lake is the part of a lake in a bucket that one shard has. It is safe for
// concurrent use; the folder of its cache is for one process.
type Lake struct {
	options Options

	fetching sync.Mutex // held while the cache changes

	mu sync.Mutex
	// markers are those of the inbox as they were read last, by key.
	markers map[string]waiting
	// receipts has the objects of batches that are known to be done, by name.
	receipts map[string][]analyzer.Object
}

// Open opens the lake of a bucket; nothing is read yet. The folder of the cache
// is made when it is not there.
func Open(o Options) (*Lake, error) {
	o.Shards = max(o.Shards, 1)
	if o.Shard < 0 || o.Shard >= o.Shards {
		return nil, fmt.Errorf("open the lake: there is no shard %d of %d; they are counted from 0", o.Shard, o.Shards)
	}
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Lake{options: o, markers: map[string]waiting{}, receipts: map[string][]analyzer.Object{}}
	// What a process that died was writing is of no use to this one.
	if err := errors.Join(os.RemoveAll(l.temp()), os.MkdirAll(l.temp(), 0o750)); err != nil {
		return nil, fmt.Errorf("make the cache of the lake: %w", err)
	}
	return l, nil
}

// Root returns the folder of the cache, which the paths of fetched objects are
// relative to.
func (l *Lake) Root() string { return l.options.Cache }

// temp is the folder for what is being written.
func (l *Lake) temp() string { return filepath.Join(l.options.Cache, "tmp") }

// each calls do for the numbers below n, several at once, until one fails.
func (l *Lake) each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(l.options.Parallel)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// maxJSON is the longest marker, receipt or ledger that is read. A ledger of a
// day with 100,000 objects takes a third of it.
const maxJSON = 64 << 20

// getJSON reads a value. known, when set, is the ETag of one that is known.
func getJSON(ctx context.Context, from cloud.Reader, key, known string, v any) (cloud.ObjectInfo, error) {
	body, info, err := from.Get(ctx, key, "", known)
	if err != nil {
		return info, fmt.Errorf("read %s: %w", key, err)
	}
	text, err := io.ReadAll(io.LimitReader(body, maxJSON+1))
	if err := errors.Join(err, body.Close()); err != nil {
		return info, fmt.Errorf("read %s: %w", key, err)
	}
	if len(text) > maxJSON {
		return info, fmt.Errorf("read %s: it has more than %d bytes", key, maxJSON)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return info, fmt.Errorf("read %s: %w", key, err)
	}
	return info, nil
}

// putJSON writes a value.
func putJSON(ctx context.Context, to cloud.Bucket, key string, v any, c cloud.Condition) (cloud.ObjectInfo, error) {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return cloud.ObjectInfo{}, fmt.Errorf("write %s: %w", key, err)
	}
	info, err := to.Put(ctx, key, bytes.NewReader(text), c)
	if err != nil {
		return info, fmt.Errorf("write %s: %w", key, err)
	}
	return info, nil
}

// exists tells whether there is an object of a key.
func (l *Lake) exists(ctx context.Context, key string) (bool, error) {
	_, err := l.options.Bucket.Head(ctx, key)
	if errors.Is(err, analyzer.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", key, err)
	}
	return true, nil
}

// list lists all objects of a prefix that come after a key, until stop says so.
func list(ctx context.Context, from cloud.Reader, prefix, after string, add func(cloud.ObjectInfo) (stop bool)) error {
	for more := true; more; {
		var page []cloud.ObjectInfo
		var err error
		if page, more, err = from.List(ctx, prefix, after); err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		for _, o := range page {
			if add(o) {
				return nil
			}
			after = o.Key
		}
		if more && len(page) == 0 {
			return fmt.Errorf("list %s: the bucket has more but gives none", prefix)
		}
	}
	return nil
}
