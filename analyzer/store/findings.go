package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/keytrail/keytrail/analyzer"
)

// incoming is a finding on its way into the store.
type incoming struct {
	analyzer.Finding
	at    int // in the caller's order
	key   []byte
	value []byte
}

// SaveFindings implements analyzer.FindingStore.
func (s *Bolt) SaveFindings(ctx context.Context, findings []analyzer.Finding) ([]analyzer.Change, error) {
	all := make([]incoming, len(findings))
	for i, f := range findings {
		if err := checkName("detection", f.Detection); err != nil {
			return nil, fmt.Errorf("save finding %s: %w", f.ID, err)
		}
		value, err := json.Marshal(f.Normal())
		if err != nil {
			return nil, fmt.Errorf("save finding %s of %s: its evidence has a value that JSON cannot carry: %w", f.ID, f.Detection, err)
		}
		all[i] = incoming{Finding: f.Normal(), at: i, key: ordered(f.Detection, f.WindowStart, f.ID), value: value}
	}
	// In the order of their keys, neighbours share pages.
	slices.SortStableFunc(all, func(a, b incoming) int { return bytes.Compare(a.key, b.key) })

	changes := make([]analyzer.Change, len(findings))
	for part := range slices.Chunk(all, batch) {
		err := s.update(ctx, func(tx *bbolt.Tx) error {
			for _, in := range part {
				change, err := save(tx, in)
				if err != nil {
					return fmt.Errorf("save finding %s of %s: %w", in.ID, in.Detection, err)
				}
				changes[in.at] = change
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return changes, nil
}

func save(tx *bbolt.Tx, in incoming) (analyzer.Change, error) {
	findings := tx.Bucket(bucketFindings)
	change := analyzer.ChangeNew
	if oldKey := tx.Bucket(bucketIDs).Get([]byte(in.ID)); oldKey != nil {
		oldValue := findings.Get(oldKey)
		if bytes.Equal(oldKey, in.key) && bytes.Equal(oldValue, in.value) {
			return analyzer.ChangeSame, nil
		}
		var old analyzer.Finding
		if err := read("finding", in.ID, oldValue, &old); err != nil {
			return "", err
		}
		change = analyzer.ChangeAmended
		if in.Status == analyzer.FindingWithdrawn && old.Status != analyzer.FindingWithdrawn {
			change = analyzer.ChangeWithdrawn
		}
		if err := removeMoved(tx, old, bytes.Clone(oldKey), in); err != nil {
			return "", err
		}
	}
	ref, err := json.Marshal(in.Ref())
	if err != nil {
		return "", err
	}
	group := in.Group()
	if err := touch(tx, group, in.WindowStart); err != nil {
		return "", err
	}
	for _, put := range []struct{ bucket, key, value []byte }{
		{bucketFindings, in.key, in.value},
		{bucketIDs, []byte(in.ID), in.key},
		{bucketGroups, ordered(group, in.WindowStart, in.ID), ref},
		{bucketNews, []byte("f" + in.ID), []byte{}},
	} {
		if err := tx.Bucket(put.bucket).Put(put.key, put.value); err != nil {
			return "", err
		}
	}
	return change, nil
}

// removeMoved removes the old place of a finding whose detection, entity or
// window are not what they were, which a change of the rule for ids may cause.
func removeMoved(tx *bbolt.Tx, old analyzer.Finding, oldKey []byte, in incoming) error {
	if !bytes.Equal(oldKey, in.key) {
		if err := tx.Bucket(bucketFindings).Delete(oldKey); err != nil {
			return err
		}
	}
	oldGroup := old.Group()
	if oldGroup == in.Group() && old.WindowStart.Equal(in.WindowStart) {
		return nil
	}
	if err := touch(tx, oldGroup, old.WindowStart); err != nil {
		return err
	}
	return tx.Bucket(bucketGroups).Delete(ordered(oldGroup, old.WindowStart, old.ID))
}

// touch marks a group as having changed from a time on.
func touch(tx *bbolt.Tx, group string, from time.Time) error {
	touched := tx.Bucket(bucketTouched)
	if have := touched.Get([]byte(group)); have != nil && bytes.Compare(have, sortable(from)) <= 0 {
		return nil
	}
	return touched.Put([]byte(group), sortable(from))
}

// Finding implements analyzer.FindingStore.
func (s *Bolt) Finding(ctx context.Context, id string) (f analyzer.Finding, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		key := tx.Bucket(bucketIDs).Get([]byte(id))
		if key == nil {
			return fmt.Errorf("finding %q: %w", id, analyzer.ErrNotFound)
		}
		return read("finding", id, tx.Bucket(bucketFindings).Get(key), &f)
	})
	return f, err
}

// Findings implements analyzer.FindingStore.
func (s *Bolt) Findings(ctx context.Context, detection string, from time.Time) (findings []analyzer.Finding, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		return scan(tx.Bucket(bucketFindings), join(detection, ""), ordered(detection, from, ""), func(_, v []byte) error {
			var f analyzer.Finding
			if err := read("a finding of", detection, v, &f); err != nil {
				return err
			}
			findings = append(findings, f)
			return nil
		})
	})
	return findings, err
}

// FindingIDs implements analyzer.FindingStore.
func (s *Bolt) FindingIDs(ctx context.Context, detection string, from time.Time) (ids []string, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		prefix := join(detection, "")
		return scan(tx.Bucket(bucketFindings), prefix, ordered(detection, from, ""), func(k, _ []byte) error {
			ids = append(ids, string(k[len(prefix)+12:]))
			return nil
		})
	})
	return ids, err
}

// GroupFindings implements analyzer.FindingStore.
func (s *Bolt) GroupFindings(ctx context.Context, group string, from time.Time) (refs []analyzer.FindingRef, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		return scan(tx.Bucket(bucketGroups), join(group, ""), ordered(group, from, ""), func(_, v []byte) error {
			var ref analyzer.FindingRef
			if err := read("a finding of", group, v, &ref); err != nil {
				return err
			}
			refs = append(refs, ref)
			return nil
		})
	})
	return refs, err
}

// TouchedGroups implements analyzer.FindingStore.
func (s *Bolt) TouchedGroups(ctx context.Context) (groups []analyzer.TouchedGroup, err error) {
	err = s.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketTouched).ForEach(func(k, v []byte) error {
			groups = append(groups, analyzer.TouchedGroup{Group: string(k), From: fromSortable(v)})
			return nil
		})
	})
	return groups, err
}

// ClearTouched implements analyzer.FindingStore.
func (s *Bolt) ClearTouched(ctx context.Context, groups []string) error {
	if len(groups) == 0 {
		return nil
	}
	return s.update(ctx, func(tx *bbolt.Tx) error {
		for _, group := range groups {
			if err := tx.Bucket(bucketTouched).Delete([]byte(group)); err != nil {
				return fmt.Errorf("clear the mark of group %s: %w", group, err)
			}
		}
		return nil
	})
}
