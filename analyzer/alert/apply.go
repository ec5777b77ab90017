// Package alert turns findings into alerts and alerts into notices.
//
// An alert is never counted up: it is folded anew from the findings that the
// store has of its group (one detection, one entity), in the order of their
// windows. Whatever ticks the findings came in, in whatever order, repeated,
// amended or withdrawn, the same findings give the same alerts. Only three
// things are remembered beside the findings: the highest severity, which never
// falls; what people did with the alert; and what somebody was told of it.
//
// Every step may be cut short and done again. Saving a finding marks its group
// as touched before anything else depends on it; the mark goes only when the
// group's alerts are written. An alert is due as long as its revision is
// higher than the one last told, and a revision rises only when something that
// shows has changed.
package alert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// groupsAtOnce is how many groups are brought up to date in one write: enough
// that the disk's sync does not count, few enough to hold in memory.
const groupsAtOnce = 256

// tries is how often the alerts of a group are decided anew when other writers
// change them meanwhile.
const tries = 5

// Outcome says what a tick did.
type Outcome struct {
	Findings map[analyzer.Change]int
	// Alerts are those that changed, by (FirstTime, ID).
	Alerts []analyzer.Alert
}

// Store is what Apply needs of a store.
type Store interface {
	analyzer.FindingStore
	analyzer.AlertStore
	analyzer.ValueStore
}

// Apply saves what a tick found, withdraws what it found no more, and brings
// the alerts of all groups touched up to date, those included that an earlier
// run left behind. It may be repeated after a failure at any point, with the
// same or with later results.
func Apply(ctx context.Context, store Store, tick analyzer.TickResult, rules Rules) (Outcome, error) {
	out := Outcome{Findings: map[analyzer.Change]int{}}
	findings := distinct(tick.Findings)
	gone, err := withdrawn(ctx, store, findings, tick.Rerun)
	if err != nil {
		return out, err
	}
	findings = append(findings, gone...)
	changes, err := store.SaveFindings(ctx, findings)
	if err != nil {
		return out, err
	}
	// Marks name the touched groups, but another writer may have cleared one
	// of ours between its own reading and our saving.
	touched := map[string]time.Time{}
	for i := range findings {
		out.Findings[changes[i]]++
		if changes[i] != analyzer.ChangeSame {
			touch(touched, findings[i].Group(), findings[i].WindowStart)
		}
	}
	marks, err := store.TouchedGroups(ctx)
	if err != nil {
		return out, fmt.Errorf("read the touched groups: %w", err)
	}
	for _, m := range marks {
		touch(touched, m.Group, m.From)
	}
	out.Alerts, err = update(ctx, store, touched, rules)
	return out, err
}

func touch(groups map[string]time.Time, group string, from time.Time) {
	if have, ok := groups[group]; !ok || from.Before(have) {
		groups[group] = from
	}
}

// distinct returns the findings by (WindowStart, ID), each id once: the last
// given counts.
func distinct(findings []analyzer.Finding) []analyzer.Finding {
	at := make(map[string]int, len(findings))
	var out []analyzer.Finding
	for _, f := range findings {
		if i, ok := at[f.ID]; ok {
			out[i] = f
			continue
		}
		at[f.ID] = len(out)
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b analyzer.Finding) int {
		return cmp.Or(a.WindowStart.Compare(b.WindowStart), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// withdrawn returns the stored findings in the recomputed ranges that the tick
// did not find again and that are not withdrawn yet.
func withdrawn(ctx context.Context, store Store, found []analyzer.Finding, rerun []analyzer.Range) (gone []analyzer.Finding, err error) {
	held := make(map[string]bool, len(found))
	for i := range found {
		held[found[i].ID] = true
	}
	for _, r := range rerun {
		ids, err := store.FindingIDs(ctx, r.Detection, r.From)
		if err != nil {
			return nil, fmt.Errorf("read the findings of %s since %s: %w", r.Detection, r.From.Format(time.RFC3339), err)
		}
		for _, id := range ids {
			if held[id] {
				continue
			}
			f, err := store.Finding(ctx, id)
			if err != nil {
				return nil, fmt.Errorf("withdraw a finding of %s: %w", r.Detection, err)
			}
			if r.Only != "" && f.Status != r.Only {
				continue
			}
			held[id] = true // ranges of one detection may overlap
			if f.Status != analyzer.FindingWithdrawn {
				f.Status, f.Suppression = analyzer.FindingWithdrawn, ""
				gone = append(gone, f)
			}
		}
	}
	return gone, nil
}

// update brings the alerts of groups up to date, each from its first change on.
func update(ctx context.Context, store Store, touched map[string]time.Time, rules Rules) ([]analyzer.Alert, error) {
	if len(touched) == 0 {
		return nil, nil
	}
	silences, err := newSilencer(ctx, store, rules)
	if err != nil {
		return nil, err
	}
	f := &folder{store: store, silences: silences, reopenAfter: cmp.Or(rules.ReopenAfter, analyzer.DefaultReopenAfter)}
	groups := make([]string, 0, len(touched))
	for group := range touched {
		groups = append(groups, group)
	}
	slices.Sort(groups)

	var changed []analyzer.Alert
	for part := range slices.Chunk(groups, groupsAtOnce) {
		writes, err := f.writeAll(ctx, part, touched)
		if err != nil {
			return nil, err
		}
		if err := store.ClearTouched(ctx, part); err != nil {
			return nil, err
		}
		for i := range writes {
			changed = append(changed, writes[i].Alert)
		}
	}
	slices.SortFunc(changed, func(a, b analyzer.Alert) int {
		return cmp.Or(a.FirstTime.Compare(b.FirstTime), cmp.Compare(a.ID, b.ID))
	})
	return changed, nil
}

// writeAll decides and writes the alerts of some groups in one go; when one of
// them is in conflict, group by group.
func (f *folder) writeAll(ctx context.Context, groups []string, from map[string]time.Time) (writes []analyzer.AlertRecord, err error) {
	for _, group := range groups {
		w, err := f.fold(ctx, group, from[group])
		if err != nil {
			return nil, err
		}
		writes = append(writes, w...)
	}
	err = f.store.PutAlerts(ctx, writes)
	if err == nil || !errors.Is(err, analyzer.ErrConflict) {
		return writes, err
	}
	for _, group := range groups {
		err := retry(func() error {
			w, err := f.fold(ctx, group, from[group])
			if err != nil {
				return err
			}
			writes = append(writes, w...)
			return f.store.PutAlerts(ctx, w)
		})
		if err != nil {
			return nil, err
		}
	}
	return latestOf(writes), nil
}

// latestOf keeps the last of each alert that was tried several times.
func latestOf(writes []analyzer.AlertRecord) []analyzer.AlertRecord {
	seen := map[string]bool{}
	var out []analyzer.AlertRecord
	for _, r := range slices.Backward(writes) {
		if !seen[r.ID] {
			seen[r.ID] = true
			out = append(out, r)
		}
	}
	return out
}

// retry does a conditional write again when somebody else came first.
func retry(write func() error) (err error) {
	for range tries {
		if err = write(); err == nil || !errors.Is(err, analyzer.ErrConflict) {
			return err
		}
	}
	return err
}
