package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/keytrail/keytrail/analyzer"
)

// Alert implements analyzer.AlertStore.
func (s *Bolt) Alert(ctx context.Context, id string) (r analyzer.AlertRecord, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		value := tx.Bucket(bucketAlerts).Get([]byte(id))
		if value == nil {
			return fmt.Errorf("alert %q: %w", id, analyzer.ErrNotFound)
		}
		return read("alert", id, value, &r)
	})
	return r, err
}

// Alerts implements analyzer.AlertStore.
func (s *Bolt) Alerts(ctx context.Context, since time.Time) (alerts []analyzer.AlertRecord, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketAlerts).ForEach(func(k, v []byte) error {
			var r analyzer.AlertRecord
			if err := read("alert", string(k), v, &r); err != nil {
				return err
			}
			if !r.LastTime.Before(since) {
				alerts = append(alerts, r)
			}
			return nil
		})
	})
	sortAlerts(alerts)
	return alerts, err
}

// GroupAlerts implements analyzer.AlertStore.
func (s *Bolt) GroupAlerts(ctx context.Context, group string) (alerts []analyzer.AlertRecord, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		prefix := join(group, "")
		return scan(tx.Bucket(bucketByGroup), prefix, prefix, func(k, _ []byte) error {
			alerts, err = appendAlert(tx, alerts, k[len(prefix):])
			return err
		})
	})
	sortAlerts(alerts)
	return alerts, err
}

// DueAlerts implements analyzer.AlertStore.
func (s *Bolt) DueAlerts(ctx context.Context) (alerts []analyzer.AlertRecord, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketDue).ForEach(func(k, _ []byte) error {
			alerts, err = appendAlert(tx, alerts, k)
			return err
		})
	})
	return alerts, err
}

func appendAlert(tx *bbolt.Tx, alerts []analyzer.AlertRecord, id []byte) ([]analyzer.AlertRecord, error) {
	var r analyzer.AlertRecord
	if err := read("alert", string(id), tx.Bucket(bucketAlerts).Get(id), &r); err != nil {
		return nil, err
	}
	return append(alerts, r), nil
}

func sortAlerts(alerts []analyzer.AlertRecord) {
	slices.SortFunc(alerts, func(a, b analyzer.AlertRecord) int {
		return cmp.Or(a.FirstTime.Compare(b.FirstTime), cmp.Compare(a.ID, b.ID))
	})
}

// PutAlerts implements analyzer.AlertStore. All are written or none.
func (s *Bolt) PutAlerts(ctx context.Context, alerts []analyzer.AlertRecord) error {
	if len(alerts) == 0 {
		return nil
	}
	return s.update(ctx, func(tx *bbolt.Tx) error {
		for i := range alerts {
			if err := putAlert(tx, alerts[i]); err != nil {
				return fmt.Errorf("write alert: %w", err)
			}
		}
		return nil
	})
}

func putAlert(tx *bbolt.Tx, r analyzer.AlertRecord) error {
	if err := checkName("group", r.Group); err != nil {
		return fmt.Errorf("alert %s: %w", r.ID, err)
	}
	id := []byte(r.ID)
	var old analyzer.AlertRecord
	if value := tx.Bucket(bucketAlerts).Get(id); value != nil {
		if err := read("alert", r.ID, value, &old); err != nil {
			return err
		}
	}
	if err := r.CheckVersion(old.Version); err != nil {
		return err
	}
	r.Version++
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("alert %s: %w", r.ID, err)
	}
	if err := tx.Bucket(bucketAlerts).Put(id, value); err != nil {
		return fmt.Errorf("alert %s: %w", r.ID, err)
	}
	if err := tx.Bucket(bucketByGroup).Put(join(r.Group, r.ID), []byte{}); err != nil {
		return fmt.Errorf("alert %s: %w", r.ID, err)
	}
	if err := index(tx.Bucket(bucketDue), id, r.Due()); err != nil {
		return fmt.Errorf("alert %s: %w", r.ID, err)
	}
	if r.Revision != old.Revision {
		if err := tx.Bucket(bucketNews).Put([]byte("a"+r.ID), []byte{}); err != nil {
			return fmt.Errorf("alert %s: %w", r.ID, err)
		}
	}
	return recount(tx, old.Hidden, r.Hidden)
}

// index puts an id into a set, or takes it out.
func index(set *bbolt.Bucket, id []byte, in bool) error {
	if in {
		return set.Put(id, []byte{})
	}
	return set.Delete(id)
}

// recount brings the sums of hidden findings from what an alert had to what it has.
func recount(tx *bbolt.Tx, before, after map[string]int64) error {
	delta := map[string]int64{}
	for name, n := range before {
		delta[name] -= n
	}
	for name, n := range after {
		delta[name] += n
	}
	hidden := tx.Bucket(bucketHidden)
	for name, n := range delta {
		if n == 0 {
			continue
		}
		have, _ := binary.Varint(hidden.Get([]byte(name)))
		if err := hidden.Put([]byte(name), binary.AppendVarint(nil, have+n)); err != nil {
			return fmt.Errorf("count what %q hides: %w", name, err)
		}
	}
	return nil
}

// Hidden implements analyzer.AlertStore.
func (s *Bolt) Hidden(ctx context.Context) (map[string]int64, error) {
	counts := map[string]int64{}
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketHidden).ForEach(func(k, v []byte) error {
			if n, _ := binary.Varint(v); n != 0 {
				counts[string(k)] = n
			}
			return nil
		})
	})
	return counts, err
}
