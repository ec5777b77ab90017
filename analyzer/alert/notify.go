package alert

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Pending returns the alerts that a person must be told of now: those to page
// or post, and those with an earlier message that no longer says what is so
// (withdrawn, silenced, closed). The gravest come first, then the oldest.
func Pending(ctx context.Context, store analyzer.AlertStore, now time.Time) ([]analyzer.Alert, error) {
	due, err := store.DueAlerts(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the alerts to notify: %w", err)
	}
	return ready(due, now), nil
}

// ready picks those that may be told at a time; the zero time ignores delays.
func ready(due []analyzer.AlertRecord, now time.Time) []analyzer.Alert {
	// A run that ended while a thread went over from one alert to the next
	// leaves it with both: the next has the higher revision.
	newest := map[string]int64{}
	for i := range due {
		newest[due[i].Thread] = max(newest[due[i].Thread], due[i].Revision)
	}
	var out []analyzer.Alert
	for i := range due {
		r := &due[i]
		if r.Action != analyzer.ActionDigest && (now.IsZero() || !r.NotBefore.After(now)) && r.Revision == newest[r.Thread] {
			out = append(out, r.Alert)
		}
	}
	slices.SortFunc(out, byUrgency)
	return out
}

// byUrgency puts the gravest first, then the oldest.
func byUrgency(a, b analyzer.Alert) int {
	return cmp.Or(cmp.Compare(b.Severity, a.Severity), a.FirstTime.Compare(b.FirstTime), cmp.Compare(a.ID, b.ID))
}

// MarkNotified notes that somebody was told an alert as it was: a is what
// Pending returned. It is called after success only, and may be repeated.
func MarkNotified(ctx context.Context, store analyzer.AlertStore, a analyzer.Alert) error {
	var heir string
	err := edit(ctx, store, a.ID, func(r *analyzer.AlertRecord) {
		r.Notified, r.NotBefore = max(r.Notified, a.Revision), time.Time{}
		if r.Thread == a.Thread {
			r.Told, heir = stronger(r.Told, a.Action), ""
			return
		}
		heir = r.Successor
	})
	// While it was told, its thread went over to another alert.
	if err == nil && heir != "" {
		err = edit(ctx, store, heir, func(r *analyzer.AlertRecord) {
			if r.Thread == a.Thread {
				r.Told = stronger(r.Told, a.Action)
			}
		})
	}
	if err != nil {
		return fmt.Errorf("note that alert %s was notified: %w", a.ID, err)
	}
	return nil
}

// Postpone keeps an alert out of Pending until a time, as when the receiver
// asks to be left alone.
func Postpone(ctx context.Context, store analyzer.AlertStore, id string, until time.Time) error {
	err := edit(ctx, store, id, func(r *analyzer.AlertRecord) { r.NotBefore = until.UTC() })
	if err != nil {
		return fmt.Errorf("postpone alert %s: %w", id, err)
	}
	return nil
}

// Unqueued returns, of what Pending would return, the alerts whose state was
// not put into the notifier's queue yet, in the order of urgency.
func Unqueued(ctx context.Context, store analyzer.AlertStore) ([]analyzer.Alert, error) {
	due, err := store.DueAlerts(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the alerts to queue: %w", err)
	}
	queued := make(map[string]int64, len(due))
	for i := range due {
		queued[due[i].ID] = due[i].Queued
	}
	return slices.DeleteFunc(ready(due, time.Time{}), func(a analyzer.Alert) bool { return queued[a.ID] >= a.Revision }), nil
}

// MarkQueued notes that an alert was put into the queue as it was. It is called
// after success only; an alert that is queued twice is told once.
func MarkQueued(ctx context.Context, store analyzer.AlertStore, a analyzer.Alert) error {
	err := edit(ctx, store, a.ID, func(r *analyzer.AlertRecord) { r.Queued = max(r.Queued, a.Revision) })
	if err != nil {
		return fmt.Errorf("note that alert %s was queued: %w", a.ID, err)
	}
	return nil
}

// edit changes what is kept of an alert beside what shows.
func edit(ctx context.Context, store analyzer.AlertStore, id string, change func(*analyzer.AlertRecord)) error {
	return retry(func() error {
		stored, err := store.Alert(ctx, id)
		if err != nil {
			return err
		}
		r := stored
		change(&r)
		return store.PutAlerts(ctx, appendChanged(nil, r, &stored))
	})
}

// Deliver tells a notifier of all pending alerts, one after another, and notes
// each success. A failure keeps that alert pending and does not keep back the
// others; the failures are returned together. After a crash between telling and
// noting, the same alert is told again with the same revision: the notifier
// must know its own messages again.
func Deliver(ctx context.Context, store analyzer.AlertStore, now time.Time, notify func(context.Context, analyzer.Alert) error) (told int, err error) {
	pending, err := Pending(ctx, store, now)
	if err != nil {
		return 0, err
	}
	var failures []error
	for _, a := range pending {
		if err := ctx.Err(); err != nil {
			return told, errors.Join(append(failures, err)...)
		}
		if err := notify(ctx, a); err != nil {
			failures = append(failures, fmt.Errorf("notify alert %s: %w", a.ID, err))
			continue
		}
		if err := MarkNotified(ctx, store, a); err != nil {
			return told, errors.Join(append(failures, err)...)
		}
		told++
	}
	return told, errors.Join(failures...)
}

// Digest is what is said once a day of alerts that do not interrupt anybody.
type Digest struct {
	Day    string           `json:"day"` // 2026-03-02, in UTC; with it a notifier knows its own digest again
	Alerts []analyzer.Alert `json:"alerts"`
}

// spaceDigests holds the digests begun, by day.
const spaceDigests = "digests"

// digestState is what a digest was going to say when it was first asked for:
// after a lost answer the same one is asked for again.
type digestState struct {
	Revisions map[string]int64 `json:"revisions,omitempty"` // by alert id
	Done      bool             `json:"done"`
}

// DueDigest returns the digest to send for a day that is over: the alerts for
// the digest whose last event was on that day or before, as far as they were
// not told. Until MarkDigested it returns the same alerts; a digest of an
// earlier day that was begun and not finished comes first. A day with nothing
// to tell gives a digest without alerts, which needs no mark.
func DueDigest(ctx context.Context, store Store, day time.Time) (Digest, error) {
	name := day.UTC().Format(time.DateOnly)
	begun, err := store.List(ctx, spaceDigests)
	if err != nil {
		return Digest{}, fmt.Errorf("read the digests: %w", err)
	}
	for _, earlier := range slices.Sorted(maps.Keys(begun)) {
		var state digestState
		if err := json.Unmarshal(begun[earlier], &state); err != nil {
			return Digest{}, fmt.Errorf("read the digest of %s: %w", earlier, err)
		}
		if earlier <= name && !state.Done {
			d, err := fill(ctx, store, earlier, state)
			if err != nil || len(d.Alerts) > 0 {
				return d, err
			}
			// All it was to tell has become worth messages of its own.
			if err := MarkDigested(ctx, store, d); err != nil {
				return Digest{}, err
			}
		}
		if earlier == name {
			return Digest{Day: name, Alerts: []analyzer.Alert{}}, nil
		}
	}
	due, err := store.DueAlerts(ctx)
	if err != nil {
		return Digest{}, fmt.Errorf("read the alerts for the digest: %w", err)
	}
	state := digestState{Revisions: map[string]int64{}}
	for i := range due {
		if due[i].Action == analyzer.ActionDigest && due[i].LastTime.UTC().Format(time.DateOnly) <= name {
			state.Revisions[due[i].ID] = due[i].Revision
		}
	}
	if len(state.Revisions) == 0 {
		return Digest{Day: name, Alerts: []analyzer.Alert{}}, nil
	}
	if err := putDigest(ctx, store, name, state); err != nil {
		return Digest{}, err
	}
	return fill(ctx, store, name, state)
}

// fill reads the alerts of a digest, each under the revision that it was
// entered with. What has become worth a message of its own is left to Pending.
func fill(ctx context.Context, store Store, day string, state digestState) (Digest, error) {
	d := Digest{Day: day, Alerts: []analyzer.Alert{}}
	for id, revision := range state.Revisions {
		r, err := store.Alert(ctx, id)
		if err != nil {
			return Digest{}, fmt.Errorf("read the digest of %s: %w", day, err)
		}
		if r.Action == analyzer.ActionDigest {
			r.Revision = revision
			d.Alerts = append(d.Alerts, r.Alert)
		}
	}
	slices.SortFunc(d.Alerts, byUrgency)
	return d, nil
}

// MarkDigested notes that a digest was sent. It is called after success only,
// and may be repeated.
func MarkDigested(ctx context.Context, store Store, d Digest) error {
	for _, a := range d.Alerts {
		if err := MarkNotified(ctx, store, a); err != nil {
			return err
		}
	}
	return putDigest(ctx, store, d.Day, digestState{Done: true})
}

func putDigest(ctx context.Context, store Store, day string, state digestState) error {
	value, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("note the digest of %s: %w", day, err)
	}
	if err := store.Put(ctx, spaceDigests, day, value); err != nil {
		return fmt.Errorf("note the digest of %s: %w", day, err)
	}
	return nil
}
