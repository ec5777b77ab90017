package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/lake"
)

// marker is what is in the inbox: a batch whose Objects still wait.
type marker struct {
	lake.Batch
	// Analysed are the objects of the batch that do not wait any more.
	Analysed []analyzer.Object `json:"analysed,omitempty"`
}

// receipt says that all objects of a batch were analysed.
type receipt struct {
	lake.Batch
	AnalysedAt time.Time `json:"analysed_at"`
}

// waiting is a marker with where it was read.
type waiting struct {
	marker
	key, etag string
}

// inbox reads all markers, in the order of their names. Those that did not
// change since the last time are not read again.
func (l *Lake) inbox(ctx context.Context) ([]waiting, error) {
	var listed []cloud.ObjectInfo
	prefix := l.inboxPrefix()
	err := list(ctx, l.options.Bucket, prefix, "", func(o cloud.ObjectInfo) bool {
		if strings.HasSuffix(o.Key, jsonExt) {
			listed = append(listed, o)
		}
		return false
	})
	if err != nil {
		return nil, fmt.Errorf("read the inbox: %w", err)
	}
	l.mu.Lock()
	known := maps.Clone(l.markers)
	l.mu.Unlock()
	all := make([]waiting, len(listed))
	err = l.each(ctx, len(listed), func(ctx context.Context, i int) (err error) {
		o := listed[i]
		if w, ok := known[o.Key]; ok && w.etag == o.ETag {
			all[i] = w
			return nil
		}
		all[i], err = l.readMarker(ctx, o.Key)
		if errors.Is(err, analyzer.ErrNotFound) {
			return nil // done meanwhile
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the inbox: %w", err)
	}
	all = slices.DeleteFunc(all, func(w waiting) bool { return w.key == "" })
	read := make(map[string]waiting, len(all))
	for _, w := range all {
		read[w.key] = w
	}
	l.mu.Lock()
	l.markers = read
	l.mu.Unlock()
	return all, nil
}

func (l *Lake) readMarker(ctx context.Context, key string) (waiting, error) {
	var w waiting
	info, err := getJSON(ctx, l.options.Bucket, key, "", &w.marker)
	if errors.Is(err, analyzer.ErrNotFound) {
		return waiting{}, err
	}
	if err != nil {
		return waiting{}, fmt.Errorf("%w; when it is damaged, move it away and read again what it named", err)
	}
	for _, o := range w.Objects {
		if !fs.ValidPath(o.Path) {
			return waiting{}, fmt.Errorf("read %s: %q leads out of the lake", key, o.Path)
		}
	}
	w.key, w.etag = key, info.ETag
	w.Name = strings.TrimSuffix(strings.TrimPrefix(key, l.inboxPrefix()), jsonExt)
	return w, nil
}

// Pending returns the objects of all batches that are not analysed yet.
//
// A marker may be in the inbox although its batch is done: an ingest that was
// given the same message twice looks for the marker and the receipt, finds none,
// reads on, and meanwhile its twin publishes the batch and it is analysed; then
// the marker is written once more. A process may also have died between writing
// the receipt and deleting the marker. Such markers are deleted here.
func (l *Lake) Pending(ctx context.Context) ([]analyzer.Object, error) {
	all, err := l.inbox(ctx)
	if err != nil {
		return nil, err
	}
	done := make([]bool, len(all))
	err = l.each(ctx, len(all), func(ctx context.Context, i int) (err error) {
		done[i], err = l.exists(ctx, l.receiptKey(all[i].Name))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the inbox: %w", err)
	}
	var objects []analyzer.Object
	var stale []string
	for i, w := range all {
		if done[i] {
			stale = append(stale, w.key)
			continue
		}
		objects = append(objects, w.Objects...)
	}
	if len(stale) > 0 {
		if err := l.options.Bucket.Delete(ctx, stale...); err != nil {
			return nil, fmt.Errorf("take batches that are done out of the inbox: %w", err)
		}
	}
	return objects, nil
}

// Analysed takes objects out of what is pending: out of the markers that name
// them. A marker that names others, too, is rewritten; for one that does not, the
// batch's receipt is written and then the marker is deleted. Doing it twice is
// no error.
func (l *Lake) Analysed(ctx context.Context, objects []analyzer.Object) error {
	done := make(map[string]bool, len(objects))
	for _, o := range objects {
		done[o.Path] = true
	}
	all, err := l.inbox(ctx)
	if err != nil {
		return err
	}
	return l.each(ctx, len(all), func(ctx context.Context, i int) error { return l.settle(ctx, all[i], done) })
}

// settle takes what is done out of one marker.
func (l *Lake) settle(ctx context.Context, w waiting, done map[string]bool) error {
	const tries = 5 // it is one analysis that does this, or two by mistake
	for range tries {
		var left, taken []analyzer.Object
		for _, o := range w.Objects {
			if done[o.Path] {
				taken = append(taken, o)
			} else {
				left = append(left, o)
			}
		}
		if len(left) == 0 {
			return l.finish(ctx, w)
		}
		if len(taken) == 0 {
			return nil
		}
		next := marker{Batch: w.Batch, Analysed: append(slices.Clone(w.Analysed), taken...)}
		next.Objects = left
		_, err := putJSON(ctx, l.options.Bucket, w.key, next, cloud.Condition{IfMatch: w.etag})
		if err == nil {
			return nil
		}
		if !errors.Is(err, analyzer.ErrConflict) && !errors.Is(err, analyzer.ErrNotFound) {
			return fmt.Errorf("take objects out of the inbox: %w", err)
		}
		w, err = l.readMarker(ctx, w.key)
		if errors.Is(err, analyzer.ErrNotFound) {
			return nil // whoever deleted it has written its receipt
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("take objects out of %s: %w, %d times in a row", w.key, analyzer.ErrConflict, tries)
}

// finish writes the receipt of a batch and deletes its marker, in this order: a
// batch without either would be read once more.
func (l *Lake) finish(ctx context.Context, w waiting) error {
	b := w.Batch
	b.Objects = append(slices.Clone(w.Analysed), w.Objects...)
	if _, err := l.putReceipt(ctx, b); err != nil {
		return fmt.Errorf("take batch %s out of the inbox: %w", b.Name, err)
	}
	if err := l.options.Bucket.Delete(ctx, w.key); err != nil {
		return fmt.Errorf("take batch %s out of the inbox: %w", b.Name, err)
	}
	return nil
}

// maxReceipts is how many receipts are remembered, some 200 bytes each.
const maxReceipts = 50_000

// receiptOf returns the objects that a batch's receipt names, nil when there is
// no receipt.
func (l *Lake) receiptOf(ctx context.Context, name string) ([]analyzer.Object, error) {
	l.mu.Lock()
	objects, ok := l.receipts[name]
	l.mu.Unlock()
	if ok {
		return objects, nil
	}
	var r receipt
	_, err := getJSON(ctx, l.options.Bucket, l.receiptKey(name), "", &r)
	if errors.Is(err, analyzer.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.receipts) >= maxReceipts {
		clear(l.receipts)
	}
	l.receipts[name] = r.Objects
	return r.Objects, nil
}
