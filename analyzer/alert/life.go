package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Acknowledge notes that somebody looks after an alert. It stays acknowledged
// until it becomes graver. Doing it twice changes nothing.
func Acknowledge(ctx context.Context, store analyzer.AlertStore, id, actor string, now time.Time) (analyzer.Alert, error) {
	return handle(ctx, store, id, analyzer.Handling{State: analyzer.AlertAcknowledged, By: actor, At: now.UTC()})
}

// Close ends an alert. A newer or graver finding opens it again.
func Close(ctx context.Context, store analyzer.AlertStore, id, actor string, now time.Time) (analyzer.Alert, error) {
	return handle(ctx, store, id, analyzer.Handling{State: analyzer.AlertClosed, By: actor, At: now.UTC()})
}

func handle(ctx context.Context, store analyzer.AlertStore, id string, h analyzer.Handling) (a analyzer.Alert, err error) {
	err = retry(func() error {
		stored, err := current(ctx, store, id)
		if err != nil {
			return err
		}
		a = stored.Alert
		if stored.State == h.State || gone(&stored) {
			return nil
		}
		r := stored
		h.Severity, h.LastTime = r.Severity, r.LastTime
		r.Handled = &h
		settle(&r)
		writes := appendChanged(nil, r, &stored)
		if len(writes) > 0 {
			a = writes[0].Alert
		}
		return store.PutAlerts(ctx, writes)
	})
	if err != nil {
		return a, fmt.Errorf("mark alert %s as %s: %w", id, h.State, err)
	}
	return a, nil
}

// SilenceAlert keeps what an alert is about (its detection and entity) quiet
// until a time, the events of the past included, and returns the alert as it
// then is. A later silence replaces an earlier one.
func SilenceAlert(ctx context.Context, store Store, rules Rules, id, actor, reason string, until, now time.Time) (analyzer.Alert, error) {
	if !until.After(now) {
		return analyzer.Alert{}, fmt.Errorf("silence alert %s until %s: that is over: give a time to come", id, until.UTC().Format(time.RFC3339))
	}
	r, err := current(ctx, store, id)
	if err != nil {
		return analyzer.Alert{}, fmt.Errorf("silence alert %s: %w", id, err)
	}
	silence := Silence{Group: r.Group, Actor: actor, At: now.UTC()}
	silence.Detection, silence.Until, silence.Reason = r.Detection, until.UTC(), reason
	value, err := json.Marshal(silence)
	if err != nil {
		return analyzer.Alert{}, fmt.Errorf("silence alert %s: %w", id, err)
	}
	if err := store.Put(ctx, spaceSilences, r.Group, value); err != nil {
		return analyzer.Alert{}, fmt.Errorf("silence alert %s: %w", id, err)
	}
	if _, err := update(ctx, store, map[string]time.Time{r.Group: r.Start}, rules); err != nil {
		return analyzer.Alert{}, fmt.Errorf("silence alert %s: %w", id, err)
	}
	r, err = current(ctx, store, id)
	return r.Alert, err
}

// current returns an alert, or the one that goes on with it.
func current(ctx context.Context, store analyzer.AlertStore, id string) (r analyzer.AlertRecord, err error) {
	for seen := map[string]bool{}; !seen[id]; id = r.Successor {
		seen[id] = true
		if r, err = store.Alert(ctx, id); err != nil || r.Successor == "" {
			return r, err
		}
	}
	return r, nil
}
