package remote

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// History lists the objects of a table for the days from and to and those
// between that were analysed: those that the ledger of their day or the receipt
// of their batch names, and those that were taken out of a marker. It lists none
// whose events are in another one, too, because of a merge.
//
// Receipts are kept for 90 days: compaction must have seen a day before, for its
// ledger to name what is left.
func (l *Lake) History(ctx context.Context, table analyzer.Table, from, to time.Time) ([]analyzer.Object, error) {
	folders, err := l.folders(ctx, table, from, to)
	if err != nil {
		return nil, fmt.Errorf("list the days of %s: %w", table, err)
	}
	var objects []analyzer.Object
	var others []cloud.ObjectInfo
	for i := range folders {
		p := l.part(&folders[i])
		for _, e := range p.entries {
			objects = append(objects, e.Object)
		}
		others = append(others, p.others...)
	}
	analysed, err := l.analysed(ctx, others)
	if err != nil {
		return nil, fmt.Errorf("list the days of %s: %w", table, err)
	}
	objects = append(objects, analysed...)
	slices.SortFunc(objects, func(a, b analyzer.Object) int { return strings.Compare(a.Path, b.Path) })
	return objects, nil
}

// analysed returns those of the listed objects that were analysed. Others may be
// on their way: ingest writes objects before the marker that makes them count.
func (l *Lake) analysed(ctx context.Context, listed []cloud.ObjectInfo) ([]analyzer.Object, error) {
	batches := map[string]bool{}
	for _, o := range listed {
		batches[l.batchOf(o.Key)] = true
	}
	names := slices.Sorted(maps.Keys(batches))
	receipts := make([][]analyzer.Object, len(names))
	err := l.each(ctx, len(names), func(ctx context.Context, i int) (err error) {
		receipts[i], err = l.receiptOf(ctx, names[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	known := map[string]analyzer.Object{}
	for _, objects := range receipts {
		for _, o := range objects {
			known[o.Path] = o
		}
	}
	if slices.ContainsFunc(listed, func(o cloud.ObjectInfo) bool { return known[o.Key].Path == "" }) {
		// A batch of which a part was analysed has no receipt yet.
		markers, err := l.inbox(ctx)
		if err != nil {
			return nil, err
		}
		for _, w := range markers {
			for _, o := range w.Analysed {
				known[o.Path] = o
			}
		}
	}
	var objects []analyzer.Object
	for _, i := range listed {
		if o, ok := known[i.Key]; ok {
			o.Bytes = i.Size
			objects = append(objects, o)
		}
	}
	return objects, nil
}
