package alert

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// findingLine and alertLine are a contract with programs that read the output:
// fields are added at the end, never renamed, moved or left out.
type findingLine struct {
	Type      string                 `json:"type"`
	ID        string                 `json:"id"`
	Detection string                 `json:"detection"`
	Severity  analyzer.Severity      `json:"severity"`
	Status    analyzer.FindingStatus `json:"status"`
	Time      time.Time              `json:"time"`
	Title     string                 `json:"title"`
	Account   string                 `json:"account"`
	Region    string                 `json:"region"`
	Principal string                 `json:"principal"`
	Key       string                 `json:"key"`
	Entity    map[string]string      `json:"entity"`
	Count     int64                  `json:"count"`
	EventIDs  []string               `json:"event_ids"`
	Evidence  map[string]any         `json:"evidence"`
}

type alertLine struct {
	Type       string            `json:"type"`
	ID         string            `json:"id"`
	Detection  string            `json:"detection"`
	Severity   analyzer.Severity `json:"severity"`
	Action     analyzer.Action   `json:"action"`
	Reason     string            `json:"reason"`
	FindingIDs []string          `json:"finding_ids"`
	FirstTime  time.Time         `json:"first_time"`
	LastTime   time.Time         `json:"last_time"`
	Count      int64             `json:"count"`
	Title      string            `json:"title"`
	Principal  string            `json:"principal"`
	Key        string            `json:"key"`
	Account    string            `json:"account"`
	Region     string            `json:"region"`
}

// FindingLine returns what programs are told of a finding: its JSON has the
// fields of the contract in their order, times in RFC 3339 UTC, and no null.
func FindingLine(f analyzer.Finding) any {
	f = f.Normal()
	return findingLine{
		Type: "finding", ID: f.ID, Detection: f.Detection, Severity: f.Severity, Status: f.Status, Time: f.Time,
		Title: f.Title, Account: f.Account, Region: f.Region, Principal: f.Principal, Key: f.Key, Entity: f.Entity,
		Count: f.Count, EventIDs: f.EventIDs, Evidence: f.Evidence,
	}
}

// Line returns what programs are told of an alert, as FindingLine does.
func Line(a analyzer.Alert) any {
	ids := a.FindingIDs
	if ids == nil {
		ids = []string{}
	}
	return alertLine{
		Type: "alert", ID: a.ID, Detection: a.Detection, Severity: a.Severity, Action: cmp.Or(a.Action, analyzer.ActionNone),
		Reason: a.Reason, FindingIDs: ids, FirstTime: a.FirstTime.UTC(), LastTime: a.LastTime.UTC(), Count: a.Count,
		Title: a.Title, Principal: a.Principal, Key: a.Key, Account: a.Account, Region: a.Region,
	}
}

// Edition is what programs have not been told yet.
type Edition struct {
	Findings []analyzer.Finding // by (Time, ID)
	Alerts   []analyzer.Alert   // by (FirstTime, ID)

	findings, alerts map[string]string // marks by id
}

// PrintSource is what Unprinted reads from.
type PrintSource interface {
	analyzer.FindingStore
	analyzer.AlertStore
	analyzer.PrintStore
}

// Unprinted returns a line for every finding and alert that was never printed
// or would read differently now. What came and went between two runs is left
// out. Call MarkPrinted once the lines are out: a run that ends before repeats
// them, and none is lost.
func Unprinted(ctx context.Context, store PrintSource) (Edition, error) {
	findings, alerts, err := store.Unprinted(ctx)
	if err != nil {
		return Edition{}, fmt.Errorf("read what was not printed: %w", err)
	}
	e := Edition{findings: map[string]string{}, alerts: map[string]string{}}
	var f []analyzer.Finding
	for id, printed := range findings {
		one, err := store.Finding(ctx, id)
		if errors.Is(err, analyzer.ErrNotFound) { // marked ahead of a write that did not happen
			continue
		}
		if err != nil {
			return Edition{}, fmt.Errorf("read what was not printed: %w", err)
		}
		mark, err := markOf(FindingLine(one))
		if err != nil {
			return Edition{}, fmt.Errorf("print finding %s: %w", id, err)
		}
		if printed == "" && one.Status == analyzer.FindingWithdrawn {
			mark = ""
		}
		if e.findings[id] = mark; mark != printed {
			f = append(f, one)
		}
	}
	var a []analyzer.Alert
	for id, printed := range alerts {
		one, err := store.Alert(ctx, id)
		if errors.Is(err, analyzer.ErrNotFound) {
			continue
		}
		if err != nil {
			return Edition{}, fmt.Errorf("read what was not printed: %w", err)
		}
		mark, err := markOf(Line(one.Alert))
		if err != nil {
			return Edition{}, fmt.Errorf("print alert %s: %w", id, err)
		}
		if printed == "" && gone(&one) {
			mark = ""
		}
		if e.alerts[id] = mark; mark != printed {
			a = append(a, one.Alert)
		}
	}
	sortFindings(f)
	sortAlerts(a)
	e.Findings, e.Alerts = f, a
	return e, nil
}

// Write hands on a line for each finding and then for each alert, as Lines
// makes them, without holding all of them at once.
func (e *Edition) Write(write func(line any) error) error {
	for _, f := range e.Findings {
		if err := write(FindingLine(f)); err != nil {
			return err
		}
	}
	for _, a := range e.Alerts {
		if err := write(Line(a)); err != nil {
			return err
		}
	}
	return nil
}

// Lines returns a line for each finding, by (Time, ID), and then for each
// alert, by (FirstTime, ID).
func Lines(findings []analyzer.Finding, alerts []analyzer.Alert) []any {
	findings, alerts = slices.Clone(findings), slices.Clone(alerts)
	sortFindings(findings)
	sortAlerts(alerts)
	lines := make([]any, 0, len(findings)+len(alerts))
	for _, f := range findings {
		lines = append(lines, FindingLine(f))
	}
	for _, a := range alerts {
		lines = append(lines, Line(a))
	}
	return lines
}

func sortFindings(findings []analyzer.Finding) {
	slices.SortFunc(findings, func(a, b analyzer.Finding) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	})
}

func sortAlerts(alerts []analyzer.Alert) {
	slices.SortFunc(alerts, func(a, b analyzer.Alert) int {
		return cmp.Or(a.FirstTime.Compare(b.FirstTime), cmp.Compare(a.ID, b.ID))
	})
}

// MarkPrinted notes that an edition is out.
func MarkPrinted(ctx context.Context, store analyzer.PrintStore, e Edition) error {
	if len(e.findings)+len(e.alerts) == 0 {
		return nil
	}
	if err := store.MarkPrinted(ctx, e.findings, e.alerts); err != nil {
		return fmt.Errorf("note what was printed: %w", err)
	}
	return nil
}

// markOf hashes a line: 128 bits in hexadecimal.
func markOf(line any) (string, error) {
	data, err := json.Marshal(line)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16]), nil
}
