package lake

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/keytrail/keytrail/analyzer"
)

// Pending returns the objects of all batches that are not analysed yet, each in
// its place.
func (l *Lake) Pending(ctx context.Context) ([]analyzer.Object, error) {
	batches, err := l.Inbox(ctx)
	if err != nil {
		return nil, err
	}
	var objects []analyzer.Object
	for _, b := range batches {
		objects = append(objects, b.Objects...)
	}
	return objects, nil
}

// Fetch makes objects readable under Root. Those of a folder are.
func (l *Lake) Fetch(context.Context, []analyzer.Object) error { return nil }

// Analysed takes objects out of what is pending: out of the markers that name
// them, each rewritten in one step and removed when it names none any more.
// Doing it twice is no error.
func (l *Lake) Analysed(ctx context.Context, objects []analyzer.Object) error {
	done := make(map[string]bool, len(objects))
	for _, o := range objects {
		done[o.Path] = true
	}
	batches, err := l.markers(ctx)
	if err != nil {
		return err
	}
	for _, b := range batches {
		left := slices.DeleteFunc(slices.Clone(b.Objects), func(o analyzer.Object) bool { return done[o.Path] })
		switch {
		case len(left) == len(b.Objects) && len(left) > 0:
			continue
		case len(left) == 0:
			if err := l.Done(ctx, b.Name); err != nil {
				return err
			}
			continue
		}
		b.Objects = left
		marker, err := json.MarshalIndent(b, "", "  ")
		if err != nil {
			return fmt.Errorf("rewrite the marker of batch %s: %w", b.Name, err)
		}
		if err := l.mark(b.Name, marker); err != nil {
			return fmt.Errorf("rewrite the marker of batch %s: %w", b.Name, err)
		}
	}
	return nil
}
