package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// Rows is an object of the lake, open for reading, as package rows reads it.
type Rows interface {
	Name() string
	NumRows() int64
	// Events calls do with each event, in order. The event is reused.
	Events(do func(ev *analyzer.Event) error) error
	// IDs calls do with what tells the events apart and their times, in order.
	IDs(do func(account, id string, millis int64)) error
	Close() error
}

// ErrForeign is wrapped by the error of Compaction.Open for an object with
// columns that this version does not write: it is left as it is.
var ErrForeign = errors.New("it has a column that this version does not know")

// Compaction says what Compact does. Zero values have the defaults that the
// comments name.
type Compaction struct {
	// Open opens an object of a table that lies on the disk.
	Open func(name string, table analyzer.Table) (Rows, error)
	// Age is how long a day must be over. Default 3 days.
	Age time.Duration
	// Days is how many days are looked at, the last of them the youngest that is
	// old enough. Default 30, of the 90 for which receipts are kept.
	Days int
	// MinObjects is how many small objects make it worth to merge. Default 8.
	MinObjects int
	// SmallBytes is up to what size an object is small. Default 8 MiB.
	SmallBytes int64
	// MaxBytes and MaxRows bound what one object is merged from. The ids of its
	// rows are held in memory, some 70 bytes each. Default 64 MiB, 2 million.
	MaxBytes, MaxRows int64
	// Grace is for how long merged objects stay, because a query may have listed
	// them. Default 24 hours.
	Grace time.Duration
	// Keep are objects that are left as they are: those that memory names as hot.
	Keep []analyzer.Object
	// Stop, when set, is asked between merges. When it says true, the rest is
	// left to the next time.
	Stop func() bool
}

func (c *Compaction) defaults() {
	for _, d := range []struct {
		value *time.Duration
		by    time.Duration
	}{{&c.Age, 72 * time.Hour}, {&c.Grace, 24 * time.Hour}} {
		if *d.value <= 0 {
			*d.value = d.by
		}
	}
	for _, d := range []struct {
		value *int64
		by    int64
	}{{&c.SmallBytes, 8 << 20}, {&c.MaxBytes, 64 << 20}, {&c.MaxRows, 2_000_000}} {
		if *d.value <= 0 {
			*d.value = d.by
		}
	}
	if c.Days <= 0 {
		c.Days = 30
	}
	if c.MinObjects <= 0 {
		c.MinObjects = 8
	}
	if c.Stop == nil {
		c.Stop = func() bool { return false }
	}
}

// Compacted is what Compact did.
type Compacted struct {
	Merged     int   // objects that were merged
	Into       int   // others
	Duplicates int64 // events that were in several of them and are in one now
	Deleted    int   // objects that were merged before and are gone now
	Stopped    bool  // the rest is left
}

// compacting is a Compact under way.
type compacting struct {
	*Lake
	Compaction
	now  time.Time
	busy map[string]bool // objects that are left as they are
	did  Compacted
}

// Compact merges the small objects of settled days. No event is lost or counts
// twice at any time for a reader of History, wherever it is interrupted and
// however many do it at once:
//
//  1. The merged object is written, under a name made from those of its sources.
//     It does not count yet.
//  2. The day's ledger is replaced, if nobody else replaced it: from then on the
//     merged object counts, and its sources do not.
//  3. Another run, a day later, deletes the sources, when the merged object is
//     there. So it does with merged objects that no ledger names.
//
// Only what was analysed is merged, because what waits is told from what was seen
// by the names of objects.
func (l *Lake) Compact(ctx context.Context, c Compaction) (Compacted, error) {
	c.defaults()
	w := &compacting{Lake: l, Compaction: c, now: l.options.Now().UTC(), busy: map[string]bool{}}
	pending, err := l.Pending(ctx)
	if err != nil {
		return w.did, err
	}
	for _, o := range slices.Concat(pending, c.Keep) {
		w.busy[o.Path] = true
	}
	// The last moment of the youngest day that is over for long enough.
	to := w.now.Add(-c.Age).Truncate(24 * time.Hour).Add(-time.Millisecond)
	from := to.AddDate(0, 0, 1-c.Days)
	for _, table := range []analyzer.Table{analyzer.TableControl, analyzer.TableUses} {
		folders, err := l.folders(ctx, table, from, to)
		if err != nil {
			return w.did, fmt.Errorf("compact %s: %w", table, err)
		}
		for i := range folders {
			if w.Stop() {
				w.did.Stopped = true
				return w.did, nil
			}
			f := &folders[i]
			err := w.folder(ctx, f)
			if errors.Is(err, analyzer.ErrConflict) {
				l.options.Log.InfoContext(ctx, "another compaction is at this day", "day", folderOf(table, f.date), "error", err)
				continue
			}
			if err != nil {
				return w.did, fmt.Errorf("compact %s: %w", folderOf(table, f.date), err)
			}
		}
	}
	return w.did, nil
}

// folder brings one day of a table into order.
func (w *compacting) folder(ctx context.Context, f *folder) error {
	p := w.part(f)
	if err := w.sweep(ctx, p); err != nil {
		return err
	}
	others, err := w.analysed(ctx, p.others)
	if err != nil {
		return err
	}
	var small []analyzer.Object
	entries := ledger{}
	for _, e := range p.entries {
		if len(e.Sources) == 0 && w.small(e.Object) {
			small = append(small, e.Object)
		}
		entries.Settled = append(entries.Settled, e)
	}
	changed := len(p.entries) < len(f.Settled)
	for _, o := range others {
		if w.small(o) {
			small = append(small, o)
		}
		// As long as it is not merged, the ledger says that it was analysed: its
		// receipt is not kept for ever.
		entries.Settled = append(entries.Settled, settled{Object: o, At: w.now})
		changed = true
	}
	for _, group := range w.groups(small) {
		if w.Stop() {
			w.did.Stopped = true
			break
		}
		made, repeated, err := w.merge(ctx, f, group, w.MaxRows)
		if err != nil {
			return err
		}
		if made.Sources == nil {
			continue
		}
		entries.replace(made)
		if err := w.write(ctx, f, entries); err != nil {
			return err
		}
		w.did.Merged += len(made.Sources)
		w.did.Into++
		w.did.Duplicates += repeated
		changed = false
	}
	if !changed {
		return nil
	}
	return w.write(ctx, f, entries)
}

// small tells whether an object is to be merged with others.
func (w *compacting) small(o analyzer.Object) bool {
	return o.Bytes <= w.SmallBytes && !w.busy[o.Path] && !w.isMerged(o.Path)
}

// replace puts a merged object in the place of its sources.
func (l *ledger) replace(made settled) {
	merged := map[string]bool{}
	for _, s := range made.Sources {
		merged[s.Path] = true
	}
	l.Settled = append(slices.DeleteFunc(l.Settled, func(e settled) bool { return merged[e.Object.Path] }), made)
}

// write replaces the ledger of a day, unless another did since it was read.
func (w *compacting) write(ctx context.Context, f *folder, entries ledger) error {
	condition := cloud.Condition{IfMatch: f.etag, IfAbsent: f.etag == ""}
	info, err := putJSON(ctx, w.options.Bucket, w.ledgerKey(f.table, f.date), entries, condition)
	if errors.Is(err, analyzer.ErrNotFound) {
		return fmt.Errorf("%w: %w", analyzer.ErrConflict, err) // it was removed meanwhile
	}
	f.etag = info.ETag
	return err
}

// sweep deletes what was merged long enough ago.
func (w *compacting) sweep(ctx context.Context, p parted) error {
	before := w.now.Add(-w.Grace)
	var keys []string
	for _, s := range p.sources {
		if s.at.Before(before) && !w.busy[s.key] {
			keys = append(keys, s.key)
		}
	}
	for _, o := range p.orphans {
		// A compaction that is about to name it in its ledger loses nothing: an
		// entry counts only as long as its object is there.
		if o.Modified.Before(before) && !w.busy[o.Key] {
			keys = append(keys, o.Key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	if err := w.options.Bucket.Delete(ctx, keys...); err != nil {
		return fmt.Errorf("delete what was merged: %w", err)
	}
	w.did.Deleted += len(keys)
	return nil
}

// groups parts objects into what is merged into one each.
func (w *compacting) groups(objects []analyzer.Object) (groups [][]analyzer.Object) {
	slices.SortFunc(objects, func(a, b analyzer.Object) int { return strings.Compare(a.Path, b.Path) })
	var bytes, rows int64
	for i, o := range objects {
		if i == 0 || bytes+o.Bytes > w.MaxBytes || rows+o.Rows > w.MaxRows {
			groups = append(groups, nil)
			bytes, rows = 0, 0
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], o)
		bytes, rows = bytes+o.Bytes, rows+o.Rows
	}
	return slices.DeleteFunc(groups, func(g []analyzer.Object) bool { return len(g) < max(w.MinObjects, 2) })
}

// mergedName names the object that is merged from others.
func mergedName(sources []source) string {
	h := sha256.New()
	for _, s := range sources {
		_, _ = fmt.Fprintln(h, s.Path, s.ETag) // a hash does not fail
	}
	return compactPrefix + hex.EncodeToString(h.Sum(nil)[:16])
}
