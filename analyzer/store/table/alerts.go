package table

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

func alertKey(id string) cloud.Key { return cloud.Key{Partition: partitionAlerts, Sort: id} }

func partKey(id string, n int) cloud.Key {
	return cloud.Key{Partition: partitionParts + id, Sort: fmt.Sprintf("%04d", n)}
}

// outgoing is an alert on its way into the table.
type outgoing struct {
	analyzer.AlertRecord // as it will be stored

	before int64 // the version that must be stored
	json   []byte
	writes []cloud.Write
	load   load
}

// encode makes the writes of an alert. Its body is the number of further parts
// as a varint, and the beginning of its JSON as gzip; the parts have the rest.
// Parts of an earlier, longer version are left to expire: their number, which
// the body has not, would have to be read first.
func (s *Store) encode(r analyzer.AlertRecord) (*outgoing, error) {
	if err := cmp.Or(checkName("group", r.Group), checkName("id", r.ID)); err != nil {
		return nil, fmt.Errorf("alert %s: %w", r.ID, err)
	}
	out := &outgoing{AlertRecord: r, before: r.Version}
	out.Version++
	var err error
	if out.json, err = json.Marshal(out.AlertRecord); err != nil {
		return nil, fmt.Errorf("alert %s: %w", r.ID, err)
	}
	packed, err := compress(out.json)
	if err != nil {
		return nil, fmt.Errorf("alert %s: %w", r.ID, err)
	}
	if len(packed) > maxBytes {
		return nil, fmt.Errorf("alert %s has %d bytes, compressed, more than the %d of a transaction", r.ID, len(packed), maxBytes)
	}

	expires := s.expiry(r.LastTime)
	put := func(key cloud.Key, body []byte, expires time.Time) {
		item := cloud.Item{Key: key, Number: out.Version, Body: body, Expires: expires}
		out.writes = append(out.writes, cloud.Write{Item: item})
		out.load = out.load.plus(load{1, len(body) + keyBytes})
	}
	first := packed[:min(len(packed), cloud.MaxBody-binary.MaxVarintLen64)]
	parts := slices.Collect(slices.Chunk(packed[len(first):], cloud.MaxBody))
	put(alertKey(r.ID), append(binary.AppendUvarint(nil, uint64(len(parts))), first...), expires)
	for i, part := range parts {
		put(partKey(r.ID, i+1), part, expires.Add(apart))
	}
	put(cloud.Key{Partition: partitionGroup + r.Group, Sort: sortAlerts + r.ID}, nil, expires.Add(apart))
	put(cloud.Key{Partition: partitionDue, Sort: r.ID}, nil, expires.Add(apart))
	out.writes[len(out.writes)-1].Delete = !r.Due()

	out.writes[0].Test, out.writes[0].Than = cloud.IfNumber, out.before
	if out.before == 0 {
		out.writes[0].Test = cloud.IfAbsent
	}
	return out, nil
}

// keyBytes is about how much an item counts beside its body.
const keyBytes = 200

// PutAlerts implements analyzer.AlertStore. Each alert is written as a whole;
// several may be written in one transaction.
func (s *Store) PutAlerts(ctx context.Context, alerts []analyzer.AlertRecord) error {
	all := make([]*outgoing, len(alerts))
	for i, r := range alerts {
		out, err := s.encode(r)
		if err != nil {
			return fmt.Errorf("write alert: %w", err)
		}
		all[i] = out
	}
	for _, batch := range batches(all) {
		err := s.put(ctx, batch)
		if errors.Is(err, analyzer.ErrConflict) {
			err = s.putEach(ctx, batch)
		}
		if err != nil {
			return fmt.Errorf("write alert: %w", err)
		}
	}
	return nil
}

// batches packs alerts into transactions, in their order. One that comes twice
// is in two of them.
func batches(all []*outgoing) (out [][]*outgoing) {
	var filled load
	seen := map[string]bool{}
	for _, a := range all {
		if len(out) == 0 || seen[a.ID] || !filled.plus(a.load).fits() {
			out, filled = append(out, nil), load{}
			clear(seen)
		}
		out[len(out)-1] = append(out[len(out)-1], a)
		seen[a.ID], filled = true, filled.plus(a.load)
	}
	return out
}

// put writes alerts in one transaction.
func (s *Store) put(ctx context.Context, batch []*outgoing) error {
	var writes []cloud.Write
	for _, a := range batch {
		writes = append(writes, a.writes...)
	}
	if err := s.table.Write(ctx, writes...); err != nil {
		if len(batch) == 1 {
			return fmt.Errorf("alert %s: %w", batch[0].ID, err)
		}
		return fmt.Errorf("alerts %s to %s: %w", batch[0].ID, batch[len(batch)-1].ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range batch {
		s.told[a.ID] = a.Version
	}
	return nil
}

// putEach writes alerts one after another, up to the one that is in conflict.
func (s *Store) putEach(ctx context.Context, batch []*outgoing) error {
	var keys []cloud.Key
	for _, a := range batch {
		keys = append(keys, alertKey(a.ID))
	}
	mains, err := s.table.GetMany(ctx, keys)
	if err != nil {
		return err
	}
	stored, err := s.bodies(ctx, mains)
	if err != nil {
		return err
	}
	for _, a := range batch {
		have := stored[a.ID]
		if s.landed(a, have.json) {
			continue
		}
		asRead := a.AlertRecord
		asRead.Version = a.before
		if err := asRead.CheckVersion(have.version); err != nil {
			return err
		}
		if err := s.put(ctx, []*outgoing{a}); err != nil {
			return err
		}
	}
	return nil
}

// landed tells whether a write that is in conflict has in truth been done: the
// table has to the byte what it was to write. Then an earlier try of it, by the
// caller or by the client within one call, took effect and its answer was lost.
// (Or another writer decided the same; then too the table has what the caller
// wants, and no decision of anybody is undone.) Without this, a lost answer
// would end as a conflict with nobody.
//
// It is not so if this store was told that the version is written: then no
// answer was lost, and the caller goes by what it read before.
func (s *Store) landed(a *outgoing, stored []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told[a.ID] >= a.Version || !bytes.Equal(stored, a.json) {
		return false
	}
	s.told[a.ID] = a.Version
	return true
}

// storedAlert is an alert as the table has it.
type storedAlert struct {
	version int64
	json    []byte
}

// bodies puts together the bodies of alerts whose items were read. One that was
// written while its parts were read is read again.
func (s *Store) bodies(ctx context.Context, mains []cloud.Item) (map[string]storedAlert, error) {
	whole := make(map[string]storedAlert, len(mains))
	var torn []cloud.Key
	for range tries {
		var err error
		if torn, err = s.join(ctx, mains, whole); err != nil {
			return nil, err
		}
		if len(torn) == 0 {
			return whole, nil
		}
		if mains, err = s.table.GetMany(ctx, torn); err != nil {
			return nil, fmt.Errorf("read alerts again: %w", err)
		}
	}
	return nil, fmt.Errorf("read alert %s: %w while it was read, %d times", torn[0].Sort, analyzer.ErrConflict, tries)
}

// join adds to whole the alerts whose parts are all of their version, and
// returns the keys of the others.
func (s *Store) join(ctx context.Context, mains []cloud.Item, whole map[string]storedAlert) (torn []cloud.Key, err error) {
	var keys []cloud.Key
	for _, main := range mains {
		parts, _ := split(main)
		keys = append(keys, parts...)
	}
	found, err := s.readAll(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read the parts of alerts: %w", err)
	}
	for _, main := range mains {
		parts, first := split(main)
		packed, complete := slices.Clone(first), true
		for _, key := range parts {
			part, ok := found[key]
			complete = complete && ok && part.Number == main.Number
			packed = append(packed, part.Body...)
		}
		if !complete {
			torn = append(torn, main.Key)
			continue
		}
		text, err := expand(packed)
		if err != nil {
			return nil, fmt.Errorf("read alert %s from the table: %w", main.Sort, err)
		}
		whole[main.Sort] = storedAlert{version: main.Number, json: text}
	}
	return torn, nil
}

// split returns the keys of an alert's further parts, and the beginning of its
// body. More parts than fit into a transaction are none of encode's.
func split(main cloud.Item) (parts []cloud.Key, first []byte) {
	count, at := binary.Uvarint(main.Body)
	for n := 1; n <= int(min(count, cloud.MaxTransaction)); n++ {
		parts = append(parts, partKey(main.Sort, n))
	}
	return parts, main.Body[max(at, 0):]
}

// records reads the alerts of items, by (FirstTime, ID).
func (s *Store) records(ctx context.Context, mains []cloud.Item) (alerts []analyzer.AlertRecord, err error) {
	bodies, err := s.bodies(ctx, mains)
	if err != nil {
		return nil, err
	}
	for id, stored := range bodies {
		var r analyzer.AlertRecord
		if err := read("alert", id, stored.json, &r); err != nil {
			return nil, err
		}
		alerts = append(alerts, r)
	}
	slices.SortFunc(alerts, func(a, b analyzer.AlertRecord) int {
		return cmp.Or(a.FirstTime.Compare(b.FirstTime), cmp.Compare(a.ID, b.ID))
	})
	return alerts, nil
}

// Alert implements analyzer.AlertStore.
func (s *Store) Alert(ctx context.Context, id string) (r analyzer.AlertRecord, err error) {
	main, err := s.table.Get(ctx, alertKey(id))
	if err != nil {
		return r, fmt.Errorf("alert %q: %w", id, err)
	}
	alerts, err := s.records(ctx, []cloud.Item{main})
	if err != nil {
		return r, err
	}
	if len(alerts) == 0 {
		return r, fmt.Errorf("alert %q: %w", id, analyzer.ErrNotFound)
	}
	return alerts[0], nil
}

// Alerts implements analyzer.AlertStore. It reads all alerts.
func (s *Store) Alerts(ctx context.Context, since time.Time) ([]analyzer.AlertRecord, error) {
	mains, err := s.table.Query(ctx, partitionAlerts, "", "")
	if err != nil {
		return nil, fmt.Errorf("read the alerts: %w", err)
	}
	alerts, err := s.records(ctx, mains)
	return slices.DeleteFunc(alerts, func(r analyzer.AlertRecord) bool { return r.LastTime.Before(since) }), err
}

// GroupAlerts implements analyzer.AlertStore.
func (s *Store) GroupAlerts(ctx context.Context, group string) ([]analyzer.AlertRecord, error) {
	items, err := s.table.Query(ctx, partitionGroup+group, sortAlerts, "")
	if err != nil {
		return nil, fmt.Errorf("read the alerts of group %s: %w", group, err)
	}
	for i := range items {
		items[i].Sort = items[i].Sort[len(sortAlerts):]
	}
	return s.named(ctx, items)
}

// DueAlerts implements analyzer.AlertStore.
func (s *Store) DueAlerts(ctx context.Context) ([]analyzer.AlertRecord, error) {
	items, err := s.table.Query(ctx, partitionDue, "", "")
	if err != nil {
		return nil, fmt.Errorf("read the alerts that are due: %w", err)
	}
	alerts, err := s.named(ctx, items)
	// One may have been told since its mark was read.
	alerts = slices.DeleteFunc(alerts, func(r analyzer.AlertRecord) bool { return !r.Due() })
	slices.SortFunc(alerts, func(a, b analyzer.AlertRecord) int { return cmp.Compare(a.ID, b.ID) })
	return alerts, err
}

// named reads the alerts whose ids are the sort keys of items. Those that have
// expired are left out.
func (s *Store) named(ctx context.Context, items []cloud.Item) ([]analyzer.AlertRecord, error) {
	keys := make([]cloud.Key, len(items))
	for i, item := range items {
		keys[i] = alertKey(item.Sort)
	}
	mains, err := s.table.GetMany(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read %d alerts: %w", len(keys), err)
	}
	return s.records(ctx, mains)
}

// Hidden implements analyzer.AlertStore. It reads all alerts.
func (s *Store) Hidden(ctx context.Context) (map[string]int64, error) {
	alerts, err := s.Alerts(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for i := range alerts {
		for name, n := range alerts[i].Hidden {
			counts[name] += n
		}
	}
	return counts, nil
}
