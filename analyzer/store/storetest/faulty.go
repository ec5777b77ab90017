package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// ErrCrash is what a Faulty store fails with.
var ErrCrash = errors.New("the process ended here")

// Faulty is a store that fails at one call, and at all after it, as if the
// process had ended there. Calls that write several items count as one call an
// item, as in a store without transactions.
type Faulty struct {
	analyzer.Store

	FailAt int  // the number of the call that fails, from 1; 0 is never
	After  bool // the failing call takes effect first, and only its answer is lost
	Cancel bool // fail by calling with a cancelled context, and only once

	Calls int // how many calls were made
}

// call makes one call, or fails.
func (s *Faulty) call(ctx context.Context, do func(context.Context) error) error {
	s.Calls++
	switch {
	case s.FailAt == 0 || s.Calls < s.FailAt:
		return do(ctx)
	case s.Cancel && s.Calls == s.FailAt:
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		return do(cancelled)
	case s.Cancel:
		return do(ctx)
	case s.After && s.Calls == s.FailAt:
		return errors.Join(do(ctx), ErrCrash)
	}
	return ErrCrash
}

func ask[T any](ctx context.Context, s *Faulty, do func(context.Context) (T, error)) (v T, err error) {
	err = s.call(ctx, func(ctx context.Context) error {
		v, err = do(ctx)
		return err
	})
	return v, err
}

// SaveFindings saves finding by finding.
func (s *Faulty) SaveFindings(ctx context.Context, findings []analyzer.Finding) (changes []analyzer.Change, err error) {
	for _, f := range findings {
		change, err := ask(ctx, s, func(ctx context.Context) ([]analyzer.Change, error) {
			return s.Store.SaveFindings(ctx, []analyzer.Finding{f})
		})
		if err != nil {
			return nil, err
		}
		changes = append(changes, change...)
	}
	return changes, nil
}

// Finding implements analyzer.FindingStore.
func (s *Faulty) Finding(ctx context.Context, id string) (analyzer.Finding, error) {
	return ask(ctx, s, func(ctx context.Context) (analyzer.Finding, error) { return s.Store.Finding(ctx, id) })
}

// Findings implements analyzer.FindingStore.
func (s *Faulty) Findings(ctx context.Context, detection string, from time.Time) ([]analyzer.Finding, error) {
	return ask(ctx, s, func(ctx context.Context) ([]analyzer.Finding, error) {
		return s.Store.Findings(ctx, detection, from)
	})
}

// FindingIDs implements analyzer.FindingStore.
func (s *Faulty) FindingIDs(ctx context.Context, detection string, from time.Time) ([]string, error) {
	return ask(ctx, s, func(ctx context.Context) ([]string, error) { return s.Store.FindingIDs(ctx, detection, from) })
}

// GroupFindings implements analyzer.FindingStore.
func (s *Faulty) GroupFindings(ctx context.Context, group string, from time.Time) ([]analyzer.FindingRef, error) {
	return ask(ctx, s, func(ctx context.Context) ([]analyzer.FindingRef, error) {
		return s.Store.GroupFindings(ctx, group, from)
	})
}

// TouchedGroups implements analyzer.FindingStore.
func (s *Faulty) TouchedGroups(ctx context.Context) ([]analyzer.TouchedGroup, error) {
	return ask(ctx, s, s.Store.TouchedGroups)
}

// ClearTouched clears mark by mark.
func (s *Faulty) ClearTouched(ctx context.Context, groups []string) error {
	for _, group := range groups {
		if err := s.call(ctx, func(ctx context.Context) error {
			return s.Store.ClearTouched(ctx, []string{group})
		}); err != nil {
			return err
		}
	}
	return nil
}

// Alert implements analyzer.AlertStore.
func (s *Faulty) Alert(ctx context.Context, id string) (analyzer.AlertRecord, error) {
	return ask(ctx, s, func(ctx context.Context) (analyzer.AlertRecord, error) { return s.Store.Alert(ctx, id) })
}

// Alerts implements analyzer.AlertStore.
func (s *Faulty) Alerts(ctx context.Context, since time.Time) ([]analyzer.AlertRecord, error) {
	return ask(ctx, s, func(ctx context.Context) ([]analyzer.AlertRecord, error) { return s.Store.Alerts(ctx, since) })
}

// GroupAlerts implements analyzer.AlertStore.
func (s *Faulty) GroupAlerts(ctx context.Context, group string) ([]analyzer.AlertRecord, error) {
	return ask(ctx, s, func(ctx context.Context) ([]analyzer.AlertRecord, error) {
		return s.Store.GroupAlerts(ctx, group)
	})
}

// PutAlerts writes alert by alert.
func (s *Faulty) PutAlerts(ctx context.Context, alerts []analyzer.AlertRecord) error {
	for _, r := range alerts {
		if err := s.call(ctx, func(ctx context.Context) error {
			return s.Store.PutAlerts(ctx, []analyzer.AlertRecord{r})
		}); err != nil {
			return err
		}
	}
	return nil
}

// DueAlerts implements analyzer.AlertStore.
func (s *Faulty) DueAlerts(ctx context.Context) ([]analyzer.AlertRecord, error) {
	return ask(ctx, s, s.Store.DueAlerts)
}

// Hidden implements analyzer.AlertStore.
func (s *Faulty) Hidden(ctx context.Context) (map[string]int64, error) {
	return ask(ctx, s, s.Store.Hidden)
}

// Unprinted implements analyzer.PrintStore.
func (s *Faulty) Unprinted(ctx context.Context) (findings, alerts map[string]string, err error) {
	err = s.call(ctx, func(ctx context.Context) error {
		findings, alerts, err = s.Store.Unprinted(ctx)
		return err
	})
	return findings, alerts, err
}

// MarkPrinted implements analyzer.PrintStore.
func (s *Faulty) MarkPrinted(ctx context.Context, findings, alerts map[string]string) error {
	return s.call(ctx, func(ctx context.Context) error { return s.Store.MarkPrinted(ctx, findings, alerts) })
}

// Get implements analyzer.ValueStore.
func (s *Faulty) Get(ctx context.Context, space, key string) ([]byte, error) {
	return ask(ctx, s, func(ctx context.Context) ([]byte, error) { return s.Store.Get(ctx, space, key) })
}

// Put implements analyzer.ValueStore.
func (s *Faulty) Put(ctx context.Context, space, key string, value []byte) error {
	return s.call(ctx, func(ctx context.Context) error { return s.Store.Put(ctx, space, key, value) })
}

// List implements analyzer.ValueStore.
func (s *Faulty) List(ctx context.Context, space string) (map[string][]byte, error) {
	return ask(ctx, s, func(ctx context.Context) (map[string][]byte, error) { return s.Store.List(ctx, space) })
}
