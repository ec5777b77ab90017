package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// MaxFindingIDs is how many finding ids an alert lists, the first in time: 24
// bytes each, they stay well within the 400 KB of a DynamoDB item.
const MaxFindingIDs = 10_000

const reasonWithdrawn = "withdrawn"

// folder makes the alerts of a group from its findings.
type folder struct {
	store       Store
	silences    *silencer
	reopenAfter time.Duration
}

// episode is a run of findings of one group without a long pause.
type episode struct {
	refs   []analyzer.FindingRef
	latest analyzer.Finding // what the alert's text is written from
	id     string
	// What is kept of earlier alerts about the same findings.
	own   *analyzer.AlertRecord
	taken []*analyzer.AlertRecord
}

// fold returns the alerts of a group that must be written after findings with
// windows at from or later have changed, in the order in which to write them.
func (f *folder) fold(ctx context.Context, group string, from time.Time) ([]analyzer.AlertRecord, error) {
	stored, err := f.store.GroupAlerts(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("read the alerts of group %s: %w", group, err)
	}
	start := reach(stored, from, f.reopenAfter)
	owners := owners(stored)
	stored = slices.DeleteFunc(stored, func(r analyzer.AlertRecord) bool { return r.Start.Before(start) })
	refs, err := f.store.GroupFindings(ctx, group, start)
	if err != nil {
		return nil, fmt.Errorf("read the findings of group %s: %w", group, err)
	}
	episodes := split(refs, f.reopenAfter)
	for i := range episodes {
		if err := f.describe(ctx, group, &episodes[i]); err != nil {
			return nil, err
		}
	}
	left := inherit(episodes, stored)
	for i := range episodes {
		for _, old := range episodes[i].taken {
			owners.release(old)
		}
	}

	var writes []analyzer.AlertRecord
	for i := range episodes {
		writes = f.write(writes, group, &episodes[i], owners)
	}
	for _, r := range left {
		writes = appendChanged(writes, withdraw(*r), r)
	}
	return writes, nil
}

// reach returns the time from which a group's findings must be read again: the
// start of the first alert that the change at from can have to do with, and so
// on for the alerts before it that are not a long pause away.
func reach(stored []analyzer.AlertRecord, from time.Time, reopenAfter time.Duration) time.Time {
	for moved := true; moved; {
		moved = false
		for i := range stored {
			if r := &stored[i]; r.Start.Before(from) && r.LastTime.Add(reopenAfter).After(from) {
				from, moved = r.Start, true
			}
		}
	}
	return from
}

// split cuts the findings that hold into episodes: a new one begins where
// nothing happened for reopenAfter.
func split(refs []analyzer.FindingRef, reopenAfter time.Duration) (episodes []episode) {
	var last time.Time
	for _, ref := range refs {
		if ref.Status == analyzer.FindingWithdrawn {
			continue
		}
		if len(episodes) == 0 || ref.FirstTime.Sub(last) >= reopenAfter {
			episodes = append(episodes, episode{})
			last = ref.LastTime
		}
		e := &episodes[len(episodes)-1]
		e.refs = append(e.refs, ref)
		last = latest(last, ref.LastTime)
	}
	return episodes
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// describe finds the finding that the episode's text is written from, and the
// id that follows from its start.
func (f *folder) describe(ctx context.Context, group string, e *episode) (err error) {
	best := e.refs[0]
	for _, ref := range e.refs[1:] {
		if outranks(ref, best) {
			best = ref
		}
	}
	e.latest, err = f.store.Finding(ctx, best.ID)
	if err != nil {
		return fmt.Errorf("read the latest finding of group %s: %w", group, err)
	}
	e.id = analyzer.AlertID(e.latest.Detection, analyzer.EntityValues(e.latest.Entity), e.refs[0].WindowStart)
	return nil
}

// outranks tells whether a is a better text for an alert than b: what may
// notify before what may not, then the more severe, then the newer.
func outranks(a, b analyzer.FindingRef) bool {
	if x, y := a.Status == analyzer.FindingActive, b.Status == analyzer.FindingActive; x != y {
		return x
	}
	if a.Severity != b.Severity {
		return a.Severity > b.Severity
	}
	if !a.LastTime.Equal(b.LastTime) {
		return a.LastTime.After(b.LastTime)
	}
	return a.ID > b.ID
}

// inherit gives each episode the stored alerts whose life it goes on with: the
// one of its own id, and those whose id no episode has any more because a late
// or withdrawn finding moved their start, if they share a finding. It returns
// the alerts that nothing goes on with.
func inherit(episodes []episode, stored []analyzer.AlertRecord) (left []*analyzer.AlertRecord) {
	byID, byFinding := map[string]int{}, map[string]int{}
	for i := range episodes {
		byID[episodes[i].id] = i
		for _, ref := range episodes[i].refs {
			byFinding[ref.ID] = i
		}
	}
	for i := range stored {
		r := &stored[i]
		if at, ok := byID[r.ID]; ok {
			episodes[at].own = r
			continue
		}
		heir := len(episodes)
		for _, id := range r.FindingIDs {
			if at, ok := byFinding[id]; ok {
				heir = min(heir, at)
			}
		}
		switch {
		case heir < len(episodes):
			episodes[heir].taken = append(episodes[heir].taken, r)
		case r.Successor == "":
			left = append(left, r)
		}
	}
	return left
}

// write appends the episode's alert and those that it goes on with, as far as
// they change. The heir comes first: a run that ends between the two finds the
// thread in both and does not start another.
func (f *folder) write(writes []analyzer.AlertRecord, group string, e *episode, owners threadOwners) []analyzer.AlertRecord {
	r := analyzer.AlertRecord{Group: group}
	r.ID = e.id
	f.aggregate(&r, e)
	line := lineage(e)
	carry(&r, line)
	r.Thread = owners.assign(e.id, line)
	for _, old := range line {
		if old.Thread == r.Thread {
			r.Notified = max(r.Notified, old.Notified)
			r.Told = stronger(r.Told, old.Told)
			r.NotBefore = latest(r.NotBefore, old.NotBefore)
		}
	}
	if e.own != nil {
		r.Version, r.Revision, r.Queued = e.own.Version, e.own.Revision, e.own.Queued
	}
	settle(&r)
	if e.own == nil || !sameAlert(r.Alert, e.own.Alert) {
		for _, old := range line {
			r.Revision = max(r.Revision, old.Revision)
		}
		r.Revision++
	}
	writes = appendChanged(writes, r, e.own)
	for _, old := range e.taken {
		writes = appendChanged(writes, hand(*old, &r), old)
	}
	return writes
}

// aggregate folds the findings of an episode into its alert.
func (f *folder) aggregate(r *analyzer.AlertRecord, e *episode) {
	first := e.refs[0]
	r.Start, r.FirstTime, r.LastTime = first.WindowStart.UTC(), first.FirstTime.UTC(), first.LastTime.UTC()
	r.Detection, r.Latest, r.Entity = e.latest.Detection, e.latest, e.latest.Entity
	r.Title, r.Principal, r.Key = e.latest.Title, e.latest.Principal, e.latest.Key
	r.Account, r.Region = e.latest.Account, e.latest.Region
	for _, old := range lineage(e) {
		r.Severity, r.Peak = max(r.Severity, old.Severity), max(r.Peak, old.Peak)
	}
	judged := make([]Judged, len(e.refs))
	for i, ref := range e.refs {
		j := Judged{Severity: ref.Severity, Status: ref.Status, Suppression: ref.Suppression}
		j.Silence = f.silences.covers(r.Detection, r.Group, ref)
		judged[i] = j
		if name, _ := j.quiet(); name == "" {
			r.Peak = max(r.Peak, ref.Severity)
		} else {
			if r.Hidden == nil {
				r.Hidden = map[string]int64{}
			}
			r.Hidden[name]++
			r.Silenced = r.Silenced || ref.Status == analyzer.FindingActive
		}
		r.Severity = max(r.Severity, ref.Severity)
		r.Count += ref.Count
		r.LastTime = latest(r.LastTime, ref.LastTime.UTC())
		if ref.FirstTime.Before(r.FirstTime) {
			r.FirstTime = ref.FirstTime.UTC()
		}
		if i < MaxFindingIDs {
			r.FindingIDs = append(r.FindingIDs, ref.ID)
		}
	}
	r.Judged, r.JudgedReason = Decide(judged, r.Peak)
	r.Silenced = r.Silenced && r.Judged == analyzer.ActionNone
}

// lineage lists the alerts that an episode goes on with, its own first.
func lineage(e *episode) []*analyzer.AlertRecord {
	if e.own == nil {
		return e.taken
	}
	return append([]*analyzer.AlertRecord{e.own}, e.taken...)
}

// carry takes over what a person did last with any of the alerts.
func carry(r *analyzer.AlertRecord, line []*analyzer.AlertRecord) {
	for _, old := range line {
		if old.Handled != nil && (r.Handled == nil || old.Handled.At.After(r.Handled.At)) {
			r.Handled = old.Handled
		}
	}
}

// threadOwners says which alert of a group keeps its messages in which thread,
// so that no two share one.
type threadOwners map[string]string

func owners(stored []analyzer.AlertRecord) threadOwners {
	o := threadOwners{}
	for i := range stored {
		if r := &stored[i]; r.Thread != "" && o.free(r.Thread, r.ID) {
			o[r.Thread] = r.ID
		}
	}
	return o
}

func (o threadOwners) free(thread, id string) bool { return o[thread] == "" || o[thread] == id }

// release gives up the thread of an alert that another goes on with.
func (o threadOwners) release(r *analyzer.AlertRecord) {
	if o[r.Thread] == r.ID {
		delete(o, r.Thread)
	}
}

// assign chooses the thread of an alert from those that it goes on with: where
// somebody was told something, else where a message may have been sent that
// was not confirmed, else one under its own id.
func (o threadOwners) assign(id string, line []*analyzer.AlertRecord) string {
	choose := func() string {
		for _, old := range line {
			if old.Thread != "" && wasPosted(old) && o.free(old.Thread, id) {
				return old.Thread
			}
		}
		for _, old := range line {
			if old.Thread != "" && o.free(old.Thread, id) {
				return old.Thread
			}
		}
		name := id
		for n := 2; !o.free(name, id); n++ {
			name = id + "-" + strconv.Itoa(n)
		}
		return name
	}
	thread := choose()
	o[thread] = id
	return thread
}

func wasPosted(r *analyzer.AlertRecord) bool {
	return r.Told == analyzer.ActionPage || r.Told == analyzer.ActionPost
}

// stronger returns the action that asks for more.
func stronger(a, b analyzer.Action) analyzer.Action {
	rank := []analyzer.Action{"", analyzer.ActionNone, analyzer.ActionDigest, analyzer.ActionPost, analyzer.ActionPage}
	if slices.Index(rank, b) > slices.Index(rank, a) {
		return b
	}
	return a
}

// gone tells whether no finding is left to an alert.
func gone(r *analyzer.AlertRecord) bool {
	return r.Successor != "" || r.JudgedReason == reasonWithdrawn
}

// withdraw closes an alert whose findings were all withdrawn. It still lists
// them, so that it goes on if they come back.
func withdraw(r analyzer.AlertRecord) analyzer.AlertRecord {
	empty(&r, reasonWithdrawn)
	settle(&r)
	return r
}

// hand closes an alert whose findings now belong to heir. If messages about it
// are in a thread of their own, that thread is told.
func hand(r analyzer.AlertRecord, heir *analyzer.AlertRecord) analyzer.AlertRecord {
	r.Successor, r.FindingIDs, r.Handled = heir.ID, []string{}, nil
	if r.Thread == heir.Thread || !wasPosted(&r) {
		r.Thread, r.Told = "", ""
	}
	empty(&r, "continued as "+heir.ID)
	settle(&r)
	return r
}

func empty(r *analyzer.AlertRecord, reason string) {
	r.Count, r.Hidden, r.Silenced = 0, nil, false
	r.Judged, r.JudgedReason = analyzer.ActionNone, reason
}

// appendChanged appends an alert if it is not as stored. What shows and has
// changed raises its revision.
func appendChanged(writes []analyzer.AlertRecord, r analyzer.AlertRecord, stored *analyzer.AlertRecord) []analyzer.AlertRecord {
	if stored == nil {
		return append(writes, r)
	}
	if r.Revision == stored.Revision && !sameAlert(r.Alert, stored.Alert) {
		r.Revision++
	}
	if sameJSON(r, *stored) {
		return writes
	}
	return append(writes, r)
}

// sameAlert tells whether two alerts show the same, whatever their revision
// and wherever messages about them are.
func sameAlert(a, b analyzer.Alert) bool {
	a.Revision, b.Revision = 0, 0
	a.Thread, b.Thread = "", ""
	return sameJSON(a, b)
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
