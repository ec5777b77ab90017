package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/lake"
)

// Known tells whether a batch of that name is in the lake already, analysed or
// not. What was read may then be forgotten.
func (l *Lake) Known(ctx context.Context, name string) (bool, error) {
	// In this order: the receipt is there before the marker goes.
	for _, key := range []string{l.markerKey(name), l.receiptKey(name)} {
		if there, err := l.exists(ctx, key); err != nil || there {
			return there, err
		}
	}
	return false, nil
}

// Publish copies a batch from a local lake: its objects, the quarantine file of
// its name if there is one, and at last the marker, from which on it exists. A
// batch without objects is done at once; its receipt keeps its accounting. fresh
// is false when the batch was there. To do it twice, or at once in two places,
// is no error.
func (l *Lake) Publish(ctx context.Context, local *lake.Lake, b lake.Batch) (fresh bool, err error) {
	if err := checkName(b.Name); err != nil {
		return false, fmt.Errorf("publish: %w", err)
	}
	known, err := l.Known(ctx, b.Name)
	if err != nil || known {
		return false, err
	}
	files := l.place(&b)
	err = l.each(ctx, len(b.Objects), func(ctx context.Context, i int) error {
		return l.upload(ctx, b.Objects[i].Path, filepath.Join(local.Root(), filepath.FromSlash(files[i])))
	})
	if err != nil {
		return false, fmt.Errorf("publish batch %s: %w", b.Name, err)
	}
	rejects := filepath.Join(local.Root(), "quarantine", b.Name+".jsonl")
	if _, err := os.Stat(rejects); err == nil {
		if err := l.upload(ctx, l.quarantineKey(b.Name), rejects); err != nil {
			return false, fmt.Errorf("publish batch %s: %w", b.Name, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("publish batch %s: %w", b.Name, err)
	}
	if len(b.Objects) == 0 {
		fresh, err = l.putReceipt(ctx, b)
		return fresh, err
	}
	return l.putMarker(ctx, b)
}

// place gives the objects of a batch the names that they have in the bucket and
// completes what the batch says about them. It returns the local path of each.
func (l *Lake) place(b *lake.Batch) (files []string) {
	objects := slices.Clone(b.Objects)
	slices.SortFunc(objects, func(x, y analyzer.Object) int { return strings.Compare(x.Path, y.Path) })
	b.Objects, b.Staged = objects, nil
	b.Events, b.MinTime, b.MaxTime = 0, time.Time{}, time.Time{}
	numbers := map[string]int{}
	for i := range objects {
		o := &objects[i]
		files = append(files, o.Path)
		folder := path.Dir(o.Path)
		o.Path = l.objectPath(folder, b.Name, numbers[folder])
		numbers[folder]++
		b.Events += o.Rows
		if b.MinTime.IsZero() || o.MinTime.Before(b.MinTime) {
			b.MinTime = o.MinTime
		}
		if o.MaxTime.After(b.MaxTime) {
			b.MaxTime = o.MaxTime
		}
	}
	return files
}

// upload writes a file under a key. Names say what is in a file, so one that is
// there already is the same.
func (l *Lake) upload(ctx context.Context, key, file string) (err error) {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read what is to be published: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	_, err = l.options.Bucket.Put(ctx, key, f, cloud.Condition{IfAbsent: true})
	if err == nil || !errors.Is(err, analyzer.ErrConflict) {
		return wrap(err, "write %s", key)
	}
	// S3 says conflict also while another write is under way, which may fail yet.
	there, err := l.options.Bucket.Head(ctx, key)
	if err != nil {
		return fmt.Errorf("look at %s, which another wrote: %w", key, err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == there.Size {
		return wrap(err, "read %s", file)
	}
	// Another version of Keytrail read the same input and died before its marker.
	_, err = l.options.Bucket.Put(ctx, key, f, cloud.Condition{IfMatch: there.ETag})
	return wrap(err, "replace %s", key)
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// putMarker makes a batch exist. fresh tells whether it did not before.
func (l *Lake) putMarker(ctx context.Context, b lake.Batch) (fresh bool, err error) {
	_, err = putJSON(ctx, l.options.Bucket, l.markerKey(b.Name), marker{Batch: b}, cloud.Condition{IfAbsent: true})
	if err == nil || !errors.Is(err, analyzer.ErrConflict) {
		return err == nil, err
	}
	known, lookErr := l.Known(ctx, b.Name)
	if lookErr == nil && known {
		return false, nil
	}
	return false, errors.Join(err, lookErr)
}

// putReceipt notes that a batch is done. fresh tells whether it was not before.
func (l *Lake) putReceipt(ctx context.Context, b lake.Batch) (fresh bool, err error) {
	key := l.receiptKey(b.Name)
	_, err = putJSON(ctx, l.options.Bucket, key, receipt{Batch: b, AnalysedAt: l.options.Now().UTC()}, cloud.Condition{IfAbsent: true})
	if err == nil || !errors.Is(err, analyzer.ErrConflict) {
		return err == nil, err
	}
	there, lookErr := l.exists(ctx, key)
	if lookErr == nil && there {
		return false, nil
	}
	return false, errors.Join(err, lookErr)
}
