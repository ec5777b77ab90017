package table

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
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
	all, err := s.prepare(findings)
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

func (s *Store) prepare(findings []analyzer.Finding) ([]*incoming, error) {
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
			key: s.findingKey(&f), ref: refKey(f.Group(), &f),
		}
	}
	return all, nil
}

func (s *Store) findingKey(f *analyzer.Finding) cloud.Key {
	return cloud.Key{Partition: s.partition(f.Detection), Sort: byTime(f.WindowStart, f.ID)}
}

// partition is where this shard's findings of a detection lie. What one shard
// does not find again it withdraws, and must not see what others found.
func (s *Store) partition(detection string) string {
	if s.o.Shard == "" {
		return partitionDetection + detection
	}
	return partitionDetection + detection + "#" + s.o.Shard
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
		marks, err := s.readMarks(ctx, slices.Sorted(maps.Keys(t.touched())))
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

// mark says that a group changed from a time on. Each write of it has a number
// that no other has: whoever clears a mark clears what it has read, and not what
// another writer set meanwhile, who may die before it heeds its own.
type mark struct {
	number int64
	from   int64 // milliseconds since 1970, rounded down
}

func readMark(item cloud.Item) (m mark, err error) {
	m.number = item.Number
	if m.from, err = strconv.ParseInt(string(item.Body), 10, 64); err != nil {
		return m, fmt.Errorf("read the mark of group %s from the table: %w", item.Sort, err)
	}
	return m, nil
}

// readMarks returns the marks that groups have.
func (s *Store) readMarks(ctx context.Context, groups []string) (map[string]mark, error) {
	var keys []cloud.Key
	for _, group := range groups {
		keys = append(keys, markKey(group))
	}
	items, err := s.table.GetMany(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read the marks of groups: %w", err)
	}
	marks := make(map[string]mark, len(items))
	for _, item := range items {
		if marks[item.Sort], err = readMark(item); err != nil {
			return nil, err
		}
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
func (s *Store) writes(t transaction, marks map[string]mark) (writes []cloud.Write, err error) {
	for _, in := range t {
		w, err := s.findingWrites(in)
		if err != nil {
			return nil, fmt.Errorf("finding %s of %s: %w", in.ID, in.Detection, err)
		}
		writes = append(writes, w...)
	}
	touched := t.touched()
	for _, group := range slices.Sorted(maps.Keys(touched)) {
		from := touched[group]
		w := cloud.Write{Item: cloud.Item{Key: markKey(group), Number: rand.Int64()}, Test: cloud.IfAbsent} //nolint:gosec // a name, not a secret
		if have, ok := marks[group]; ok {
			from, w.Test, w.Than = min(from, have.from), cloud.IfNumber, have.number
		}
		w.Body = strconv.AppendInt(nil, from, 10)
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
	items, err := s.table.Query(ctx, s.partition(detection), "", sortable(from))
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
	read := make(map[string]int64, len(items))
	for _, item := range items {
		m, err := readMark(item)
		if err != nil {
			return nil, err
		}
		read[item.Sort] = m.number
		groups = append(groups, analyzer.TouchedGroup{Group: item.Sort, From: time.UnixMilli(m.from).UTC()})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks = read
	return groups, nil
}

// ClearTouched implements analyzer.FindingStore. A mark goes only if it is the
// one that TouchedGroups gave last: one that was set anew stays for the next.
func (s *Store) ClearTouched(ctx context.Context, groups []string) error {
	writes, err := s.clearing(ctx, slices.Compact(slices.Sorted(slices.Values(groups))))
	if err != nil {
		return err
	}
	for part := range slices.Chunk(writes, cloud.MaxTransaction) {
		err := s.table.Write(ctx, part...)
		if errors.Is(err, analyzer.ErrConflict) {
			err = s.clearEach(ctx, part)
		}
		if err != nil {
			return fmt.Errorf("clear the marks of %d groups: %w", len(groups), err)
		}
	}
	return nil
}

// clearing returns what clears the marks of groups as they were read.
func (s *Store) clearing(ctx context.Context, groups []string) (writes []cloud.Write, err error) {
	s.mu.Lock()
	numbers := maps.Clone(s.marks)
	s.mu.Unlock()
	var unread []string
	for _, group := range groups {
		if _, ok := numbers[group]; !ok {
			unread = append(unread, group)
		}
	}
	marks, err := s.readMarks(ctx, unread)
	if err != nil {
		return nil, err
	}
	for _, group := range groups {
		number, ok := numbers[group]
		if m, now := marks[group]; now {
			number, ok = m.number, true
		}
		if ok {
			writes = append(writes, cloud.Write{Item: cloud.Item{Key: markKey(group)}, Delete: true, Test: cloud.IfNumber, Than: number})
		}
	}
	return writes, nil
}

// clearEach clears marks one by one. One that is another by now, or gone, is
// left as it is.
func (s *Store) clearEach(ctx context.Context, writes []cloud.Write) error {
	for _, w := range writes {
		if err := s.table.Write(ctx, w); err != nil && !errors.Is(err, analyzer.ErrConflict) {
			return err
		}
	}
	return nil
}
