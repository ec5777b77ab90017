package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/lake"
)

// requeuedObjects is how many objects one marker of Requeue names.
const requeuedObjects = 500

// Requeue puts every object that was analysed into the inbox again, so that the
// next analysis without memory sees the whole history, and returns how many. No
// analysis may be under way. Memory is to be removed only afterwards: until then
// an analysis finds nothing but events that it knows.
func (l *Lake) Requeue(ctx context.Context) (int, error) {
	var objects []analyzer.Object
	for _, table := range []analyzer.Table{analyzer.TableControl, analyzer.TableUses} {
		of, err := l.History(ctx, table, time.Time{}, time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))
		if err != nil {
			return 0, fmt.Errorf("put the whole lake into the inbox: %w", err)
		}
		objects = append(objects, of...)
	}
	pending, err := l.Pending(ctx)
	if err != nil {
		return 0, err
	}
	waits := map[string]bool{}
	for _, o := range pending {
		waits[o.Path] = true
	}
	objects = slices.DeleteFunc(objects, func(o analyzer.Object) bool { return waits[o.Path] })
	at := l.options.Now().UTC().Format("20060102T150405")
	var done int
	for part := range slices.Chunk(objects, requeuedObjects) {
		b := lake.Batch{Name: fmt.Sprintf("requeue-%s-%05d", at, done/requeuedObjects), Objects: part}
		for _, o := range part {
			b.Events += o.Rows
		}
		_, err := putJSON(ctx, l.options.Bucket, l.markerKey(b.Name), marker{Batch: b}, cloud.Condition{IfAbsent: true})
		if err != nil && !errors.Is(err, analyzer.ErrConflict) {
			return done, fmt.Errorf("put the whole lake into the inbox: %w", err)
		}
		done += len(part)
	}
	return done, nil
}
