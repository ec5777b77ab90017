package analyzer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrNotFound is wrapped by the errors of a store that does not have the
// finding or alert asked for.
var ErrNotFound = errors.New("not found")

// ErrConflict is wrapped by the errors of a store that refused a write because
// somebody else has written the item since it was read. Read it again, decide
// again, and write again.
var ErrConflict = errors.New("changed by another writer")

// ErrLocked is wrapped by the error of opening a store that another process
// holds open.
var ErrLocked = errors.New("in use by another process")

// TickResult is what one tick of the engine found.
type TickResult struct {
	// Findings are judged: severity and status, suppressions included, are final.
	Findings []Finding
	// Rerun says what was computed. What the store has in these ranges and
	// Findings lacks is withdrawn.
	Rerun []Range
}

// Range is the part of a detection's findings that a tick computed anew: those
// whose window starts at From or later.
type Range struct {
	Detection string
	From      time.Time
	// Only, when set, leaves findings of any other status as they are.
	Only FindingStatus
}

// Change tells what saving a finding did to the store.
type Change string

// What saving a finding can do.
const (
	ChangeNew       Change = "new"       // its id was not known
	ChangeAmended   Change = "amended"   // known, and now says something else
	ChangeWithdrawn Change = "withdrawn" // known, and now no longer holds
	ChangeSame      Change = "same"      // known, and says the same
)

// FindingRef is what alerts are folded from: the part of a finding that stays
// cheap to read when an alert has thousands.
type FindingRef struct {
	ID          string        `json:"id"`
	Severity    Severity      `json:"severity"`
	Status      FindingStatus `json:"status"`
	Suppression string        `json:"suppression,omitempty"`
	Count       int64         `json:"count"`
	WindowStart time.Time     `json:"window_start"`
	FirstTime   time.Time     `json:"first_time"`
	LastTime    time.Time     `json:"last_time"`
	Account     string        `json:"account"`
	Principal   string        `json:"principal"`
	Key         string        `json:"key"`
}

// Ref returns the part of a finding that alerts are folded from. A finding
// that does not say when its events were is taken to be at its time, or else
// at the start of its window.
func (f *Finding) Ref() FindingRef {
	last := firstSet(f.LastTime, f.Time, f.WindowStart)
	return FindingRef{
		ID: f.ID, Severity: f.Severity, Status: f.Status, Suppression: f.Suppression, Count: f.Count,
		WindowStart: f.WindowStart, FirstTime: firstSet(f.FirstTime, f.WindowStart, last), LastTime: last,
		Account: f.Account, Principal: f.Principal, Key: f.Key,
	}
}

func firstSet(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// Normal returns the finding as stores keep it: times in UTC, and no list or
// map nil, so that equal findings are equal as JSON too.
func (f Finding) Normal() Finding {
	f.Time, f.WindowStart, f.WindowEnd = f.Time.UTC(), f.WindowStart.UTC(), f.WindowEnd.UTC()
	f.FirstTime, f.LastTime = f.FirstTime.UTC(), f.LastTime.UTC()
	if f.EventIDs == nil {
		f.EventIDs = []string{}
	}
	if f.Entity == nil {
		f.Entity = map[string]string{}
	}
	if f.Evidence == nil {
		f.Evidence = map[string]any{}
	}
	return f
}

// UnmarshalJSON reads a finding. Whole numbers of the evidence come back as
// int64, not as float64, so that they read the same before and after a store.
func (f *Finding) UnmarshalJSON(data []byte) error {
	type plain Finding // without this method
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode((*plain)(f)); err != nil {
		return err
	}
	for name, v := range f.Evidence {
		f.Evidence[name] = numbers(v)
	}
	return nil
}

// numbers replaces json.Number in what JSON can hold.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		x, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return x
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

// Group returns the id of the group that the finding belongs to: all findings
// of one detection about one entity.
func (f *Finding) Group() string { return GroupID(f.Detection, f.Entity) }

// GroupID derives the id of the group of all findings of one detection about
// one entity. Within a group, episodes that are far enough apart in time are
// alerts of their own.
func GroupID(detection string, entity map[string]string) string {
	parts := []string{detection}
	for _, name := range entityNames(entity) {
		parts = append(parts, name, entity[name])
	}
	return "g-" + digest(parts...)
}

// EntityValues returns the values of an entity in the order of its column
// names: the order in which AlertID takes them.
func EntityValues(entity map[string]string) []string {
	values := make([]string, 0, len(entity))
	for _, name := range entityNames(entity) {
		values = append(values, entity[name])
	}
	return values
}

func entityNames(entity map[string]string) []string {
	names := make([]string, 0, len(entity))
	for name := range entity {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TouchedGroup is a group whose findings changed and whose alerts have not
// been brought up to date since.
type TouchedGroup struct {
	Group string
	// From is the smallest start of a window that changed: alerts that ended
	// well before it are as they were.
	From time.Time
}

// Handling is what a person did with an alert.
type Handling struct {
	State AlertState `json:"state"` // acknowledged or closed
	By    string     `json:"by"`
	At    time.Time  `json:"at"`
	// Severity and LastTime are those of the alert when it was handled: a
	// graver or, if closed, a newer finding opens it again.
	Severity Severity  `json:"severity"`
	LastTime time.Time `json:"last_time"`
}

// AlertRecord is an alert as a store keeps it: with what it takes to bring it
// up to date and to know whether somebody must be told.
type AlertRecord struct {
	Alert

	Group string    `json:"group"`
	Start time.Time `json:"start"` // of the window of its first finding
	// Peak is the highest severity that a finding had that could notify.
	Peak Severity `json:"peak"`
	// Judged and JudgedReason are what the findings ask for, before what
	// people did with the alert is taken into account.
	Judged       Action `json:"judged"`
	JudgedReason string `json:"judged_reason"`
	Silenced     bool   `json:"silenced"` // a silence is among what keeps it quiet
	// Hidden counts the findings kept from notifying, by the name of what hid
	// them: "rule nightly scan", "silence deploy", "staged", "learning".
	Hidden    map[string]int64 `json:"hidden,omitempty"`
	Handled   *Handling        `json:"handled,omitempty"`
	Successor string           `json:"successor,omitempty"` // id of the alert that its findings went to

	Notified  int64     `json:"notified"` // the last revision that somebody was told
	Told      Action    `json:"told"`     // the strongest action that was told under Thread
	NotBefore time.Time `json:"not_before"`
	// Queued is the last revision that was put into a notifier's queue. Stores
	// without a queue leave it at 0.
	Queued int64 `json:"queued,omitempty"`

	// Version is the condition of a write: what was read, or 0 for an alert
	// that must not exist yet. The store raises it by one.
	Version int64 `json:"version"`
}

// Due tells whether somebody must be told: something that shows has changed
// since they were, and it either asks for notice or concerns a message sent
// earlier.
func (r *AlertRecord) Due() bool {
	if r.Revision <= r.Notified {
		return false
	}
	return r.Action != ActionNone || r.Told == ActionPage || r.Told == ActionPost
}

// FindingStore keeps findings. An implementation needs no transaction over
// several items: what is written first is said where it matters.
type FindingStore interface {
	// SaveFindings inserts or replaces findings by id and returns what that
	// did to each, in the same order. A finding that changed marks its group
	// as touched; the mark is durable no later than the finding.
	SaveFindings(ctx context.Context, findings []Finding) ([]Change, error)
	// Finding returns one finding; the error wraps ErrNotFound when there is none.
	Finding(ctx context.Context, id string) (Finding, error)
	// Findings returns the findings of a detection whose windows start at from
	// or later, by (WindowStart, ID), withdrawn ones included.
	Findings(ctx context.Context, detection string, from time.Time) ([]Finding, error)
	// FindingIDs returns the ids of what Findings returns, without reading it.
	FindingIDs(ctx context.Context, detection string, from time.Time) ([]string, error)
	// GroupFindings returns the findings of a group whose windows start at
	// from or later, by (WindowStart, ID), withdrawn ones included.
	GroupFindings(ctx context.Context, group string, from time.Time) ([]FindingRef, error)
	// TouchedGroups returns the marked groups in order of their id.
	TouchedGroups(ctx context.Context) ([]TouchedGroup, error)
	// ClearTouched removes the marks of groups whose alerts are up to date.
	ClearTouched(ctx context.Context, groups []string) error
}

// AlertStore keeps alerts. Each is written on its own condition.
type AlertStore interface {
	// Alert returns one alert; the error wraps ErrNotFound when there is none.
	Alert(ctx context.Context, id string) (AlertRecord, error)
	// Alerts returns the alerts whose last event is at since or later, by
	// (FirstTime, ID).
	Alerts(ctx context.Context, since time.Time) ([]AlertRecord, error)
	// GroupAlerts returns all alerts of a group by (FirstTime, ID).
	GroupAlerts(ctx context.Context, group string) ([]AlertRecord, error)
	// PutAlerts writes alerts in the given order, each only if its Version is
	// the stored one (0: none is stored). The error wraps ErrConflict when one
	// is not; those before it may have been written.
	PutAlerts(ctx context.Context, alerts []AlertRecord) error
	// DueAlerts returns the alerts that somebody must be told of (see
	// AlertRecord.Due), in order of their id.
	DueAlerts(ctx context.Context) ([]AlertRecord, error)
	// Hidden returns how many findings each name keeps from notifying: the sum
	// of AlertRecord.Hidden over all alerts.
	Hidden(ctx context.Context) (map[string]int64, error)
}

// PrintStore remembers what programs were told on standard output. Only
// local stores need it.
type PrintStore interface {
	// Unprinted returns the ids of findings and alerts that were written since
	// they were last marked as printed, each with its last mark, which is
	// empty when it was never printed.
	Unprinted(ctx context.Context) (findings, alerts map[string]string, err error)
	// MarkPrinted remembers a mark for each finding and alert id.
	MarkPrinted(ctx context.Context, findings, alerts map[string]string) error
}

// ValueStore keeps small JSON values by name: the ledger of messages sent,
// silences, digests. Spaces keep users apart.
type ValueStore interface {
	// Get returns nil when there is no such value.
	Get(ctx context.Context, space, key string) ([]byte, error)
	// Put inserts or replaces a value; a nil value removes it.
	Put(ctx context.Context, space, key string, value []byte) error
	// List returns all values of a space by key.
	List(ctx context.Context, space string) (map[string][]byte, error)
}

// Store is all that keeps the state of alerts.
type Store interface {
	FindingStore
	AlertStore
	PrintStore
	ValueStore
}

// CheckVersion is the condition that PutAlerts puts on a write: stored is the
// version in the store, 0 when there is none.
func (r *AlertRecord) CheckVersion(stored int64) error {
	if r.Version != stored {
		return fmt.Errorf("alert %s: %w: read at version %d, stored is %d", r.ID, ErrConflict, r.Version, stored)
	}
	return nil
}
