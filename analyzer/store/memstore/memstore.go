// Package memstore keeps findings and alerts in memory, with the conditions
// that every store puts on writes: for tests, and for runs that keep nothing.
package memstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Store is a store in memory. The zero value is empty and ready. Items are
// kept as JSON, as every other store does, so that nothing is shared with the
// caller and what JSON loses is lost here too.
type Store struct {
	mu       sync.Mutex
	findings map[string][]byte
	alerts   map[string][]byte
	touched  map[string]time.Time
	values   map[[2]string][]byte
	news     map[[2]string]bool // kind, id
	printed  map[[2]string]string
}

var _ analyzer.Store = (*Store)(nil)

const (
	kindFinding = "finding"
	kindAlert   = "alert"
)

// lock takes the lock and makes the zero value ready.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.findings == nil {
		s.findings, s.alerts = map[string][]byte{}, map[string][]byte{}
		s.touched, s.values = map[string]time.Time{}, map[[2]string][]byte{}
		s.news, s.printed = map[[2]string]bool{}, map[[2]string]string{}
	}
	return s.mu.Unlock, nil
}

func decode[T any](data []byte) (v T, err error) {
	err = json.Unmarshal(data, &v)
	return v, err
}

// SaveFindings implements analyzer.FindingStore.
func (s *Store) SaveFindings(ctx context.Context, findings []analyzer.Finding) ([]analyzer.Change, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	changes := make([]analyzer.Change, len(findings))
	for i, f := range findings {
		if changes[i], err = s.save(f.Normal()); err != nil {
			return nil, fmt.Errorf("save finding %s of %s: %w", f.ID, f.Detection, err)
		}
	}
	return changes, nil
}

func (s *Store) save(f analyzer.Finding) (analyzer.Change, error) {
	value, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	change := analyzer.ChangeNew
	if oldValue, ok := s.findings[f.ID]; ok {
		if string(oldValue) == string(value) {
			return analyzer.ChangeSame, nil
		}
		old, err := decode[analyzer.Finding](oldValue)
		if err != nil {
			return "", err
		}
		change = analyzer.ChangeAmended
		if f.Status == analyzer.FindingWithdrawn && old.Status != analyzer.FindingWithdrawn {
			change = analyzer.ChangeWithdrawn
		}
		s.touch(old.Group(), old.WindowStart)
	}
	s.touch(f.Group(), f.WindowStart)
	s.findings[f.ID] = value
	s.news[[2]string{kindFinding, f.ID}] = true
	return change, nil
}

func (s *Store) touch(group string, from time.Time) {
	if have, ok := s.touched[group]; !ok || from.Before(have) {
		s.touched[group] = from
	}
}

// Finding implements analyzer.FindingStore.
func (s *Store) Finding(ctx context.Context, id string) (analyzer.Finding, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return analyzer.Finding{}, err
	}
	defer unlock()
	value, ok := s.findings[id]
	if !ok {
		return analyzer.Finding{}, fmt.Errorf("finding %q: %w", id, analyzer.ErrNotFound)
	}
	return decode[analyzer.Finding](value)
}

// Findings implements analyzer.FindingStore.
func (s *Store) Findings(ctx context.Context, detection string, from time.Time) ([]analyzer.Finding, error) {
	return s.choose(ctx, func(f *analyzer.Finding) bool {
		return f.Detection == detection && !f.WindowStart.Before(from)
	})
}

func (s *Store) choose(ctx context.Context, want func(*analyzer.Finding) bool) (findings []analyzer.Finding, err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, value := range s.findings {
		f, err := decode[analyzer.Finding](value)
		if err != nil {
			return nil, err
		}
		if want(&f) {
			findings = append(findings, f)
		}
	}
	slices.SortFunc(findings, func(a, b analyzer.Finding) int {
		return cmp.Or(a.WindowStart.Compare(b.WindowStart), cmp.Compare(a.ID, b.ID))
	})
	return findings, nil
}

// FindingIDs implements analyzer.FindingStore.
func (s *Store) FindingIDs(ctx context.Context, detection string, from time.Time) (ids []string, err error) {
	findings, err := s.Findings(ctx, detection, from)
	for i := range findings {
		ids = append(ids, findings[i].ID)
	}
	return ids, err
}

// GroupFindings implements analyzer.FindingStore.
func (s *Store) GroupFindings(ctx context.Context, group string, from time.Time) (refs []analyzer.FindingRef, err error) {
	findings, err := s.choose(ctx, func(f *analyzer.Finding) bool {
		return f.Group() == group && !f.WindowStart.Before(from)
	})
	for i := range findings {
		refs = append(refs, findings[i].Ref())
	}
	return refs, err
}

// TouchedGroups implements analyzer.FindingStore.
func (s *Store) TouchedGroups(ctx context.Context) (groups []analyzer.TouchedGroup, err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, group := range slices.Sorted(maps.Keys(s.touched)) {
		groups = append(groups, analyzer.TouchedGroup{Group: group, From: s.touched[group]})
	}
	return groups, nil
}

// ClearTouched implements analyzer.FindingStore.
func (s *Store) ClearTouched(ctx context.Context, groups []string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, group := range groups {
		delete(s.touched, group)
	}
	return nil
}

// Alert implements analyzer.AlertStore.
func (s *Store) Alert(ctx context.Context, id string) (analyzer.AlertRecord, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return analyzer.AlertRecord{}, err
	}
	defer unlock()
	value, ok := s.alerts[id]
	if !ok {
		return analyzer.AlertRecord{}, fmt.Errorf("alert %q: %w", id, analyzer.ErrNotFound)
	}
	return decode[analyzer.AlertRecord](value)
}

func (s *Store) chooseAlerts(ctx context.Context, want func(*analyzer.AlertRecord) bool) (alerts []analyzer.AlertRecord, err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, value := range s.alerts {
		r, err := decode[analyzer.AlertRecord](value)
		if err != nil {
			return nil, err
		}
		if want(&r) {
			alerts = append(alerts, r)
		}
	}
	slices.SortFunc(alerts, func(a, b analyzer.AlertRecord) int {
		return cmp.Or(a.FirstTime.Compare(b.FirstTime), cmp.Compare(a.ID, b.ID))
	})
	return alerts, nil
}

// Alerts implements analyzer.AlertStore.
func (s *Store) Alerts(ctx context.Context, since time.Time) ([]analyzer.AlertRecord, error) {
	return s.chooseAlerts(ctx, func(r *analyzer.AlertRecord) bool { return !r.LastTime.Before(since) })
}

// GroupAlerts implements analyzer.AlertStore.
func (s *Store) GroupAlerts(ctx context.Context, group string) ([]analyzer.AlertRecord, error) {
	return s.chooseAlerts(ctx, func(r *analyzer.AlertRecord) bool { return r.Group == group })
}

// DueAlerts implements analyzer.AlertStore.
func (s *Store) DueAlerts(ctx context.Context) ([]analyzer.AlertRecord, error) {
	alerts, err := s.chooseAlerts(ctx, (*analyzer.AlertRecord).Due)
	slices.SortFunc(alerts, func(a, b analyzer.AlertRecord) int { return cmp.Compare(a.ID, b.ID) })
	return alerts, err
}

// PutAlerts implements analyzer.AlertStore. When one is refused, those before
// it stay written, as in a store without transactions.
func (s *Store) PutAlerts(ctx context.Context, alerts []analyzer.AlertRecord) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, r := range alerts {
		var old analyzer.AlertRecord
		if value, ok := s.alerts[r.ID]; ok {
			if old, err = decode[analyzer.AlertRecord](value); err != nil {
				return fmt.Errorf("write alert %s: %w", r.ID, err)
			}
		}
		if err := r.CheckVersion(old.Version); err != nil {
			return fmt.Errorf("write alert: %w", err)
		}
		r.Version++
		value, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("write alert %s: %w", r.ID, err)
		}
		s.alerts[r.ID] = value
		if r.Revision != old.Revision {
			s.news[[2]string{kindAlert, r.ID}] = true
		}
	}
	return nil
}

// Hidden implements analyzer.AlertStore.
func (s *Store) Hidden(ctx context.Context) (map[string]int64, error) {
	counts := map[string]int64{}
	_, err := s.chooseAlerts(ctx, func(r *analyzer.AlertRecord) bool {
		for name, n := range r.Hidden {
			counts[name] += n
		}
		return false
	})
	return counts, err
}

// Unprinted implements analyzer.PrintStore.
func (s *Store) Unprinted(ctx context.Context) (findings, alerts map[string]string, err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	findings, alerts = map[string]string{}, map[string]string{}
	for item := range s.news {
		into := findings
		if item[0] == kindAlert {
			into = alerts
		}
		into[item[1]] = s.printed[item]
	}
	return findings, alerts, nil
}

// MarkPrinted implements analyzer.PrintStore.
func (s *Store) MarkPrinted(ctx context.Context, findings, alerts map[string]string) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for kind, marks := range map[string]map[string]string{kindFinding: findings, kindAlert: alerts} {
		for id, mark := range marks {
			s.printed[[2]string{kind, id}] = mark
			delete(s.news, [2]string{kind, id})
		}
	}
	return nil
}

// Get implements analyzer.ValueStore.
func (s *Store) Get(ctx context.Context, space, key string) ([]byte, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return slices.Clone(s.values[[2]string{space, key}]), nil
}

// Put implements analyzer.ValueStore.
func (s *Store) Put(ctx context.Context, space, key string, value []byte) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if value == nil {
		delete(s.values, [2]string{space, key})
		return nil
	}
	s.values[[2]string{space, key}] = slices.Clone(value)
	return nil
}

// List implements analyzer.ValueStore.
func (s *Store) List(ctx context.Context, space string) (map[string][]byte, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	values := map[string][]byte{}
	for name, value := range s.values {
		if name[0] == space {
			values[name[1]] = slices.Clone(value)
		}
	}
	return values, nil
}
