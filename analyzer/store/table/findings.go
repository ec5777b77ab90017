package table

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// incoming is a finding on its way into the table.
type incoming struct {
	analyzer.Finding
	at    int // in the caller's order
	group string
	key   cloud.Key // of the finding
	ref   cloud.Key // of its reference in the group
	json  []byte

	// What the table has under this id: the same, another, or nothing.
	same  bool
	old   *analyzer.Finding
	oldAt cloud.Key
}

// SaveFindings implements analyzer.FindingStore. What is in the table already
// is read in bulk and not written. The error wraps ErrFenced when a process with
// a higher fence has written one of the findings.
func (s *Store) SaveFindings(ctx context.Context, findings []analyzer.Finding) ([]analyzer.Change, error) {
	all, err := prepare(findings)
	if err != nil {
		return nil, err
	}
	changes := make([]analyzer.Change, len(findings))
	for len(all) > 0 {
		round, rest := distinct(all)
		if err := s.save(ctx, round, changes); err != nil {
			return nil, fmt.Errorf("save %d findings: %w", len(findings), err)
		}
		all = rest
	}
	return changes, nil
}

func prepare(findings []analyzer.Finding) ([]*incoming, error) {
	all := make([]*incoming, len(findings))
	for i, f := range findings {
		if err := cmp.Or(checkName("detection", f.Detection), checkName("id", f.ID)); err != nil {
			return nil, fmt.Errorf("save finding %s: %w", f.ID, err)
		}
		f = f.Normal()
		text, err := json.Marshal(f)
		if err != nil {
			return nil, fmt.Errorf("save finding %s of %s: its evidence has a value that JSON cannot carry: %w", f.ID, f.Detection, err)
		}
		all[i] = &incoming{
			Finding: f, at: i, group: f.Group(), json: text,
			key: findingKey(&f), ref: refKey(f.Group(), &f),
		}
	}
	return all, nil
}

func findingKey(f *analyzer.Finding) cloud.Key {
	return cloud.Key{Partition: partitionDetection + f.Detection, Sort: byTime(f.WindowStart, f.ID)}
}

func pointerKey(id string) cloud.Key {
	return cloud.Key{Partition: partitionFinding + id, Sort: sortOnly}
}

func refKey(group string, f *analyzer.Finding) cloud.Key {
	return cloud.Key{Partition: partitionGroup + group, Sort: sortFindings + byTime(f.WindowStart, f.ID)}
}

func markKey(group string) cloud.Key { return cloud.Key{Partition: partitionTouched, Sort: group} }

// distinct takes the first finding of each id; what says something else of one
// of them comes after it.
func distinct(all []*incoming) (round, rest []*incoming) {
	seen := make(map[string]bool, len(all))
	for _, in := range all {
		if seen[in.ID] {
			rest = append(rest, in)
			continue
		}
		seen[in.ID] = true
		round = append(round, in)
	}
	return round, rest
}

// save saves findings of different ids and notes what that did to each.
func (s *Store) save(ctx context.Context, all []*incoming, changes []analyzer.Change) error {
	if err := s.readOld(ctx, all); err != nil {
		return err
	}
	var changed []*incoming
	for _, in := range all {
		changes[in.at] = in.change()
		if changes[in.at] != analyzer.ChangeSame {
			changed = append(changed, in)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	lanes, moved := s.plan(changed)
	if err := s.each(ctx, len(lanes), func(ctx context.Context, i int) error {
		for _, t := range lanes[i] {
			if err := s.commit(ctx, t); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for _, in := range moved {
		if err := s.commit(ctx, transaction{in}); err != nil {
			return err
		}
	}
	return nil
}

// readOld finds what the table has of findings: most are where they belong, the
// others are looked up by their id.
func (s *Store) readOld(ctx context.Context, all []*incoming) error {
	keys := make([]cloud.Key, len(all))
	for i, in := range all {
		keys[i] = in.key
	}
	found, err := s.readAll(ctx, keys)
	if err != nil {
		return err
	}
	var pointers []cloud.Key
	for _, in := range all {
		item, ok := found[in.key]
		if !ok {
			pointers = append(pointers, pointerKey(in.ID))
		} else if err := in.was(item); err != nil {
			return err
		}
	}
	pointed, err := s.readAll(ctx, pointers)
	if err != nil {
		return err
	}
	keys = keys[:0]
	for _, in := range all {
		if pointer, ok := pointed[pointerKey(in.ID)]; ok {
			in.oldAt = pointee(pointer)
			keys = append(keys, in.oldAt)
		}
	}
	if found, err = s.readAll(ctx, keys); err != nil {
		return err
	}
	for _, in := range all {
		// What has expired is not there, although something points at it.
		if item, ok := found[in.oldAt]; ok {
			if err := in.was(item); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) readAll(ctx context.Context, keys []cloud.Key) (map[cloud.Key]cloud.Item, error) {
	items, err := s.table.GetMany(ctx, keys)
	if err != nil {
		return nil, err
	}
	found := make(map[cloud.Key]cloud.Item, len(items))
	for _, item := range items {
		found[item.Key] = item
	}
	return found, nil
}

// was notes what the table has of a finding.
func (in *incoming) was(item cloud.Item) error {
	text, err := expand(item.Body)
	if err != nil {
		return fmt.Errorf("read finding %s from the table: %w", in.ID, err)
	}
	in.oldAt = item.Key
	if in.same = in.oldAt == in.key && bytes.Equal(text, in.json); in.same {
		return nil
	}
	in.old = &analyzer.Finding{}
	return read("finding", in.ID, text, in.old)
}

// change says what saving a finding does to the table.
func (in *incoming) change() analyzer.Change {
	switch {
	case in.same:
		return analyzer.ChangeSame
	case in.old == nil:
		return analyzer.ChangeNew
	case in.Status == analyzer.FindingWithdrawn && in.old.Status != analyzer.FindingWithdrawn:
		return analyzer.ChangeWithdrawn
	}
	return analyzer.ChangeAmended
}

// moved tells whether the detection, entity or window of a finding is not what
// it was, which a change of the rule for ids may cause.
func (in *incoming) moved() bool {
	return in.old != nil && (in.oldAt != in.key || in.oldRef() != in.ref)
}

func (in *incoming) oldRef() cloud.Key { return refKey(in.old.Group(), in.old) }

// transaction is findings that are written together.
type transaction []*incoming

// maxBytes is how much one transaction writes at most: DynamoDB's 4 MB, less
// what keys and references take.
const maxBytes = 3_500_000

// load is how much of a transaction something takes.
type load struct{ writes, bytes int }

func (l load) plus(m load) load { return load{l.writes + m.writes, l.bytes + m.bytes} }

func (l load) fits() bool { return l.writes <= cloud.MaxTransaction && l.bytes <= maxBytes }

// plan packs findings into transactions, and these into lanes. Lanes may be
// written at the same time, the transactions of one must follow one another: a
// group is in one lane only, since DynamoDB refuses a transaction while another
// has an item of it, and all findings of a group share its mark. What has moved
// marks two groups, and comes after all others.
func (s *Store) plan(changed []*incoming) (lanes [][]transaction, moved []*incoming) {
	groups := map[string][]*incoming{}
	for _, in := range changed {
		if in.moved() {
			moved = append(moved, in)
			continue
		}
		groups[in.group] = append(groups[in.group], in)
	}
	mark := load{writes: 1}
	var filled load // of the last transaction of the last lane
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		whole := mark
		for _, in := range groups[group] {
			whole = whole.plus(s.load(in))
		}
		if len(lanes) == 0 || !filled.plus(whole).fits() {
			lanes, filled = append(lanes, []transaction{nil}), load{}
		}
		lane := &lanes[len(lanes)-1]
		filled = filled.plus(mark)
		for _, in := range groups[group] {
			if !filled.plus(s.load(in)).fits() {
				*lane, filled = append(*lane, nil), mark
			}
			last := &(*lane)[len(*lane)-1]
			*last, filled = append(*last, in), filled.plus(s.load(in))
		}
	}
	return lanes, moved
}

// load is what a finding that has not moved takes, without its mark.
func (s *Store) load(in *incoming) load {
	l := load{writes: 3, bytes: len(in.json) + refBytes}
	if s.o.Print {
		l.writes++
	}
	return l
}

// refBytes is about how long a reference is, with the keys of all items of a
// finding.
const refBytes = 2000

// commit writes a transaction. A mark that another writer set or cleared
// meanwhile is read again.
func (s *Store) commit(ctx context.Context, t transaction) error {
	var conflict error
	for range tries {
		marks, err := s.readMarks(ctx, t)
		if err != nil {
			return err
		}
		writes, err := s.writes(t, marks)
		if err != nil {
			return err
		}
		conflict = s.table.Write(ctx, writes...)
		if !errors.Is(conflict, analyzer.ErrConflict) {
			return conflict
		}
		if err := s.checkFence(ctx, t); err != nil {
			return err
		}
	}
	return conflict
}

// readMarks returns the marks that the groups of a transaction have.
func (s *Store) readMarks(ctx context.Context, t transaction) (map[string]int64, error) {
	var keys []cloud.Key
	for _, group := range slices.Sorted(maps.Keys(t.touched())) {
		keys = append(keys, markKey(group))
	}
	items, err := s.table.GetMany(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read the marks of groups: %w", err)
	}
	marks := make(map[string]int64, len(items))
	for _, item := range items {
		marks[item.Sort] = item.Number
	}
	return marks, nil
}

// touched returns from when on the groups of a transaction change, in
// milliseconds since 1970, rounded down.
func (t transaction) touched() map[string]int64 {
	from := map[string]int64{}
	touch := func(group string, at time.Time) {
		if have, ok := from[group]; !ok || at.UnixMilli() < have {
			from[group] = at.UnixMilli()
		}
	}
	for _, in := range t {
		touch(in.group, in.WindowStart)
		if in.moved() {
			touch(in.old.Group(), in.old.WindowStart)
		}
	}
	return from
}

// writes returns what a transaction writes, given the marks that groups have.
func (s *Store) writes(t transaction, marks map[string]int64) (writes []cloud.Write, err error) {
	for _, in := range t {
		w, err := s.findingWrites(in)
		if err != nil {
			return nil, fmt.Errorf("finding %s of %s: %w", in.ID, in.Detection, err)
		}
		writes = append(writes, w...)
	}
	touched := t.touched()
	for _, group := range slices.Sorted(maps.Keys(touched)) {
		w := cloud.Write{Item: cloud.Item{Key: markKey(group), Number: touched[group]}, Test: cloud.IfGreater, Than: touched[group]}
		// An earlier mark stays, and must still be there when the findings are:
		// it may be cleared at any time.
		if have, ok := marks[group]; ok && have <= w.Number {
			w.Number, w.Test, w.Than = have, cloud.IfNumber, have
		}
		writes = append(writes, w)
	}
	return writes, nil
}

// findingWrites returns the writes of one finding. Besides the finding its
// pointer is fenced, which has the same key wherever the finding goes.
func (s *Store) findingWrites(in *incoming) ([]cloud.Write, error) {
	ref, err := json.Marshal(in.Ref())
	if err != nil {
		return nil, err
	}
	body := in.json
	if len(body) > cloud.MaxBody {
		if body, err = compress(body); err != nil {
			return nil, err
		}
	}
	expires := s.expiry(in.Ref().LastTime)
	put := func(key cloud.Key, body []byte, expires time.Time, test cloud.Test) cloud.Write {
		item := cloud.Item{Key: key, Number: s.o.Fence, Body: body, Expires: expires}
		return cloud.Write{Item: item, Test: test, Than: s.o.Fence}
	}
	writes := []cloud.Write{
		put(in.key, body, expires.Add(apart), cloud.IfAtMost),
		put(pointerKey(in.ID), pointer(in.key), expires.Add(2*apart), cloud.IfAtMost),
		put(in.ref, ref, expires, cloud.Always),
	}
	if s.o.Print {
		writes = append(writes, put(newsKey(in.ID), nil, expires, cloud.Always))
	}
	if !in.moved() {
		return writes, nil
	}
	if in.oldAt != in.key {
		old := put(in.oldAt, nil, time.Time{}, cloud.IfAtMost)
		old.Delete = true
		writes = append(writes, old)
	}
	if in.oldRef() != in.ref {
		writes = append(writes, cloud.Write{Item: cloud.Item{Key: in.oldRef()}, Delete: true})
	}
	return writes, nil
}

// pointer is the body of an item that points at another.
func pointer(at cloud.Key) []byte { return []byte(at.Partition + "\x00" + at.Sort) }

func pointee(item cloud.Item) (at cloud.Key) {
	at.Partition, at.Sort, _ = strings.Cut(string(item.Body), "\x00")
	return at
}

// checkFence fails when a process with a higher fence has written one of the
// findings.
func (s *Store) checkFence(ctx context.Context, t transaction) error {
	var keys []cloud.Key
	for _, in := range t {
		keys = append(keys, pointerKey(in.ID), in.key)
	}
	items, err := s.table.GetMany(ctx, keys)
	if err != nil {
		return fmt.Errorf("read who wrote findings: %w", err)
	}
	for _, item := range items {
		if item.Number > s.o.Fence {
			return fmt.Errorf("%w: %s %s has fence %d and ours is %d", ErrFenced, item.Partition, item.Sort, item.Number, s.o.Fence)
		}
	}
	return nil
}

// Finding implements analyzer.FindingStore.
func (s *Store) Finding(ctx context.Context, id string) (f analyzer.Finding, err error) {
	var at cloud.Key
	for range tries {
		pointer, err := s.table.Get(ctx, pointerKey(id))
		if err != nil {
			return f, fmt.Errorf("finding %q: %w", id, err)
		}
		if pointee(pointer) == at {
			break // it has expired
		}
		at = pointee(pointer)
		item, err := s.table.Get(ctx, at)
		if err == nil {
			return decodeFinding(item)
		}
		if !errors.Is(err, analyzer.ErrNotFound) {
			return f, fmt.Errorf("finding %q: %w", id, err)
		}
		// It may have moved since the pointer was read.
	}
	return f, fmt.Errorf("finding %q: %w", id, analyzer.ErrNotFound)
}

func decodeFinding(item cloud.Item) (f analyzer.Finding, err error) {
	text, err := expand(item.Body)
	if err != nil {
		return f, fmt.Errorf("read finding %s from the table: %w", item.Sort, err)
	}
	return f, read("finding", item.Sort, text, &f)
}

// Findings implements analyzer.FindingStore.
func (s *Store) Findings(ctx context.Context, detection string, from time.Time) (findings []analyzer.Finding, err error) {
	items, err := s.findings(ctx, detection, from)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		f, err := decodeFinding(item)
		if err != nil {
			return nil, err
		}
		findings = append(findings, f)
	}
	return findings, nil
}

// FindingIDs implements analyzer.FindingStore. DynamoDB counts what it reads,
// not what it answers, so that it costs as much as Findings.
func (s *Store) FindingIDs(ctx context.Context, detection string, from time.Time) (ids []string, err error) {
	items, err := s.findings(ctx, detection, from)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		_, id, _ := strings.Cut(item.Sort, "#")
		ids = append(ids, id)
	}
	return ids, nil
}

func (s *Store) findings(ctx context.Context, detection string, from time.Time) ([]cloud.Item, error) {
	items, err := s.table.Query(ctx, partitionDetection+detection, "", sortable(from))
	if err != nil {
		return nil, fmt.Errorf("read the findings of %s: %w", detection, err)
	}
	return items, nil
}

// GroupFindings implements analyzer.FindingStore.
func (s *Store) GroupFindings(ctx context.Context, group string, from time.Time) (refs []analyzer.FindingRef, err error) {
	items, err := s.table.Query(ctx, partitionGroup+group, sortFindings, sortFindings+sortable(from))
	if err != nil {
		return nil, fmt.Errorf("read the findings of group %s: %w", group, err)
	}
	for _, item := range items {
		var ref analyzer.FindingRef
		if err := read("a finding of", group, item.Body, &ref); err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// TouchedGroups implements analyzer.FindingStore.
func (s *Store) TouchedGroups(ctx context.Context) (groups []analyzer.TouchedGroup, err error) {
	items, err := s.table.Query(ctx, partitionTouched, "", "")
	if err != nil {
		return nil, fmt.Errorf("read the touched groups: %w", err)
	}
	for _, item := range items {
		groups = append(groups, analyzer.TouchedGroup{Group: item.Sort, From: time.UnixMilli(item.Number).UTC()})
	}
	return groups, nil
}

// ClearTouched implements analyzer.FindingStore.
func (s *Store) ClearTouched(ctx context.Context, groups []string) error {
	var writes []cloud.Write
	for _, group := range slices.Compact(slices.Sorted(slices.Values(groups))) {
		writes = append(writes, cloud.Write{Item: cloud.Item{Key: markKey(group)}, Delete: true})
	}
	for part := range slices.Chunk(writes, cloud.MaxTransaction) {
		if err := s.table.Write(ctx, part...); err != nil {
			return fmt.Errorf("clear the marks of %d groups: %w", len(groups), err)
		}
	}
	return nil
}
