package engine

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sort"
	"strings"
	"time"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"github.com/keytrail/keytrail/analyzer"
)

// detect runs every detection that has events to judge.
func (t *tick) detect(ctx context.Context) (*Result, error) {
	res := &Result{SuppressedBy: map[string]int{}}
	if err := t.listPresent(ctx); err != nil {
		return nil, err
	}
	judge, err := t.newJudge(ctx)
	if err != nil {
		return nil, err
	}
	t.next.Learning = nil
	for _, d := range t.cfg.Detections {
		if t.tooShort(d) {
			t.next.Learning = append(t.next.Learning, d.ID)
		} else if slices.Contains(t.prev.Learning, d.ID) {
			// It has just learned enough: what it listed while learning goes, also
			// when it has nothing to judge now.
			res.Rerun = append(res.Rerun, analyzer.Range{Detection: d.ID, Only: analyzer.FindingLearning})
		}
		if !t.concerns(d) {
			t.counts.DetectionsIdle++
			continue
		}
		t.counts.DetectionsRun++
		start := time.Now()
		findings, rerun, learning, err := t.run(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("detection %s (%s): %w", d.ID, d.Path, err)
		}
		if took := time.Since(start); took > t.counts.SlowestDuration {
			t.counts.SlowestRun, t.counts.SlowestDuration = d.ID, took
		}
		for i := range findings {
			judge.judge(d, &findings[i])
			if s := findings[i].Suppression; s != "" {
				res.SuppressedBy[s]++
			}
		}
		res.Findings = append(res.Findings, findings...)
		res.Rerun = append(res.Rerun, rerun)
		if learning != nil {
			res.Learning = append(res.Learning, *learning)
		}
	}
	return res, nil
}

// listPresent notes which kinds of event the hot tables hold.
func (t *tick) listPresent(ctx context.Context) error {
	t.present = map[analyzer.EventName]bool{}
	return t.rows(ctx, "list the kinds of events",
		"select event_source, event_name from control_all where late or event_time >= "+timestamp(t.prev.ControlFrom)+
			" group by 1, 2 union all select 'kms.amazonaws.com', cast(event_name as varchar) from uses_5m group by 2",
		func(_ []string, v []any) error {
			t.present[analyzer.EventName{Source: v[0].(string), Name: v[1].(string)}] = true
			return nil
		})
}

func (t *tick) concerns(d *analyzer.Detection) bool {
	for _, want := range d.Events {
		for have := range t.present {
			if want.Matches(have.Source, have.Name) {
				return true
			}
		}
	}
	return false
}

func (t *tick) moment(d *analyzer.Detection) Moment {
	m := Moment{
		Now: t.next.Now, HistoryStart: t.next.HistoryStart,
		LearnUntil: t.cfg.LearnUntil, HasOrg: len(t.cfg.Settings.Organisation) > 0,
	}
	if m.LearnUntil.IsZero() {
		m.LearnUntil = m.HistoryStart.Add(time.Duration(d.LearnDays) * 24 * time.Hour)
	}
	return m
}

// tooShort tells whether a baseline detection has too little history to judge.
func (t *tick) tooShort(d *analyzer.Detection) bool {
	return d.LearnDays > 0 && t.next.Now.Before(t.moment(d).LearnUntil)
}

// run executes one detection and turns its rows into findings.
func (t *tick) run(ctx context.Context, d *analyzer.Detection) ([]analyzer.Finding, analyzer.Range, *Learning, error) {
	rerun := analyzer.Range{Detection: d.ID}
	moment := t.moment(d)
	query, err := t.cfg.Render(d, moment)
	if err != nil {
		return nil, rerun, nil, err
	}
	if readsData.MatchString(query) && !t.hasData(ctx) {
		query = "select * from (" + query + ") q where false"
	}
	rerun.From = t.frontier(query)
	tooShort := t.tooShort(d)
	byID := map[string]*analyzer.Finding{}
	var order []string
	learned := 0
	var merged []string
	err = t.rows(ctx, "run it", query, func(columns []string, values []any) error {
		row := make(Row, len(columns))
		for i, c := range columns {
			row[c] = values[i]
		}
		f, learning, err := finding(d, row)
		if err != nil {
			return err
		}
		if d.Window > 0 && f.WindowStart.Before(t.frontier(query)) {
			return nil // settled: part of its events is no longer in sight
		}
		if learning {
			if !tooShort {
				return nil
			}
			learned++
			f.Status, f.Severity = analyzer.FindingLearning, analyzer.Info
		}
		if old, ok := byID[f.ID]; ok {
			merge(old, f)
			merged = append(merged, f.ID)
			return nil
		}
		byID[f.ID] = &f
		order = append(order, f.ID)
		return nil
	})
	if err != nil {
		return nil, rerun, nil, err
	}
	findings := make([]analyzer.Finding, 0, len(order))
	sort.Strings(order)
	for _, id := range order {
		findings = append(findings, *byID[id])
	}
	if d.EvidenceEvents != nil && len(findings) > 0 {
		if err := t.findEvents(ctx, d, findings); err != nil {
			return nil, rerun, nil, err
		}
	}
	for i := range findings {
		slices.Sort(findings[i].EventIDs)
		findings[i].EventIDs = slices.Compact(findings[i].EventIDs)
		if d.EvidenceEvents == nil && slices.Contains(merged, findings[i].ID) && len(findings[i].EventIDs) > 0 {
			// The two copies of a cross-account call are one event.
			if err := t.fillIDs(ctx, findings[i].EventIDs); err != nil {
				return nil, rerun, nil, err
			}
			if findings[i].Count, err = t.number(ctx, "count the calls", "select count(distinct case when shared_event_id <> '' then shared_event_id else event_id end)"+
				" from control_all where event_id in (select event_id from wanted_ids)"); err != nil {
				return nil, rerun, nil, err
			}
		}
		if len(findings[i].EventIDs) > analyzer.MaxEventIDs {
			findings[i].EventIDs = findings[i].EventIDs[:analyzer.MaxEventIDs]
		}
	}
	var learning *Learning
	// A list of the organisation's accounts answers what some detections would
	// otherwise have to learn.
	if tooShort && (!moment.HasOrg || !strings.Contains(d.SQL, ":has_org")) {
		learning = &Learning{
			Detection: d.ID, Until: moment.LearnUntil, History: t.next.Now.Sub(t.next.HistoryStart),
			Needed: moment.LearnUntil.Sub(t.next.HistoryStart), Findings: learned,
		}
	}
	return findings, rerun, learning, nil
}

func (t *tick) hasData(ctx context.Context) bool {
	n, err := t.number(ctx, "look for data", "select count(*) from (select 1 from data_5m limit 1)")
	return err != nil || n > 0
}

// standard are the columns that have a place of their own in a finding.
var standard = map[string]bool{
	"window_start": true, "window_end": true, "first_time": true, "last_time": true, "event_count": true, "event_ids": true,
	"account": true, "region": true, "principal": true, "key_arn": true, "severity": true, "learning": true,
}

// ErrRow is returned, wrapped, when a detection's row lacks what every row needs.
var ErrRow = errors.New("its row is not a finding")

// finding makes a finding of a row; learning is what the row says of itself.
func finding(d *analyzer.Detection, row Row) (f analyzer.Finding, learning bool, err error) {
	f = analyzer.Finding{
		Detection: d.ID, Title: d.Title, Severity: d.Severity, Status: analyzer.FindingActive,
		Account: text(row["account"]), Region: text(row["region"]), Principal: text(row["principal"]), Key: text(row["key_arn"]),
		Entity: map[string]string{}, Evidence: map[string]any{}, EventIDs: []string{},
	}
	if d.Status == analyzer.DetectionStaged {
		f.Status = analyzer.FindingStaged
	}
	var ok bool
	if f.WindowStart, ok = row["window_start"].(time.Time); !ok {
		return f, false, fmt.Errorf("%w: window_start is %T, not a timestamp", ErrRow, row["window_start"])
	}
	if f.FirstTime, ok = row["first_time"].(time.Time); !ok {
		f.FirstTime = f.WindowStart
	}
	if f.LastTime, ok = row["last_time"].(time.Time); !ok {
		f.LastTime = f.FirstTime
	}
	if f.WindowEnd, ok = row["window_end"].(time.Time); !ok {
		f.WindowEnd = f.WindowStart.Add(d.Window)
	}
	f.Time = f.LastTime
	if n, ok := row["event_count"].(int64); ok {
		f.Count = n
	} else {
		f.Count = 1
	}
	if ids, ok := row["event_ids"].([]any); ok {
		for _, id := range ids {
			f.EventIDs = append(f.EventIDs, text(id))
		}
	}
	if s, ok := row["severity"].(string); ok && s != "" {
		if f.Severity, err = analyzer.ParseSeverity(s); err != nil {
			return f, false, fmt.Errorf("%w: %w", ErrRow, err)
		}
	}
	entity := make([]string, len(d.Entity))
	for i, c := range d.Entity {
		v, ok := row[c]
		if !ok {
			return f, false, fmt.Errorf("%w: it has no column %q, which is part of its entity", ErrRow, c)
		}
		entity[i] = text(v)
		f.Entity[c] = entity[i]
	}
	f.ID = analyzer.FindingID(d.ID, entity, f.WindowStart)
	for c, v := range row {
		if !standard[c] && v != nil && v != "" {
			f.Evidence[c] = v
		}
	}
	learning, _ = row["learning"].(bool)
	return f, learning, nil
}

// merge joins two rows about the same entity and window: the two copies of a
// cross-account call, or calls in the same second.
func merge(into *analyzer.Finding, f analyzer.Finding) {
	into.EventIDs = append(into.EventIDs, f.EventIDs...)
	into.Count += f.Count // where the rows name their events, these are counted instead
	if f.Severity > into.Severity {
		into.Severity = f.Severity
	}
	if f.Status == analyzer.FindingActive {
		into.Status = f.Status
	}
	if f.FirstTime.Before(into.FirstTime) {
		into.FirstTime = f.FirstTime
	}
	if f.LastTime.After(into.LastTime) {
		into.LastTime, into.Time = f.LastTime, f.Time
	}
	// The owner's copy of a call across accounts names the caller's account only:
	// an ARN says more.
	if named := strings.HasPrefix(f.Principal, "arn:"); named != strings.HasPrefix(into.Principal, "arn:") {
		if named {
			into.Principal = f.Principal
		}
		f.Principal = into.Principal
	}
	// Which row came first is chance: take the smaller text, so that it is not.
	for _, p := range []struct{ into, from *string }{{&into.Account, &f.Account}, {&into.Region, &f.Region}, {&into.Principal, &f.Principal}, {&into.Key, &f.Key}} {
		if *p.into == "" || (*p.from != "" && *p.from < *p.into) {
			*p.into = *p.from
		}
	}
	for k, v := range f.Evidence {
		if old, ok := into.Evidence[k]; !ok || fmt.Sprint(v) < fmt.Sprint(old) {
			into.Evidence[k] = v
		}
	}
}

// findEvents names the events behind roll-up findings: one scan of the objects
// that overlap them, joined with the few findings.
func (t *tick) findEvents(ctx context.Context, d *analyzer.Detection, findings []analyzer.Finding) error {
	ev := d.EvidenceEvents
	from, to := findings[0].FirstTime, findings[0].LastTime
	for _, f := range findings {
		if f.FirstTime.Before(from) {
			from = f.FirstTime
		}
		if f.LastTime.After(to) {
			to = f.LastTime
		}
	}
	source := "control_all"
	if ev.Table == analyzer.TableUses {
		var objects []analyzer.Object
		seen := map[string]bool{}
		for _, o := range append(append([]analyzer.Object{}, t.prev.Hot...), t.usesObjects...) {
			if !o.MaxTime.Before(from) && !o.MinTime.After(to) && !seen[o.Path] {
				seen[o.Path] = true
				objects = append(objects, o)
			}
		}
		if len(objects) == 0 {
			return nil
		}
		source = "(" + t.read(t.usesColumns, objects, "") + ")"
	}
	columns := []column{{"number", "bigint"}, {"first_time", "timestamp"}, {"last_time", "timestamp"}}
	for _, c := range ev.On {
		columns = append(columns, column{c, "varchar"})
	}
	wanted := make([][]driver.Value, len(findings))
	for i, f := range findings {
		wanted[i] = []driver.Value{int64(i), f.FirstTime, f.LastTime}
		for _, c := range ev.On {
			wanted[i] = append(wanted[i], columnText(f, c))
		}
	}
	if err := t.fill(ctx, "name the events behind it", "wanted", columns, wanted); err != nil {
		return err
	}
	join := "r.event_time between f.first_time and f.last_time"
	for _, c := range ev.On {
		if c == "key_arn" {
			// A re-encryption concerns two keys.
			join += " and f.key_arn in (r.key_arn, r.dest_key_arn)"
			continue
		}
		join += " and cast(r." + c + " as varchar) = f." + c
	}
	where := ""
	if len(ev.Names) > 0 {
		names := make([]string, len(ev.Names))
		for i, n := range ev.Names {
			names[i] = quote(n)
		}
		where = " where r.event_name in (" + strings.Join(names, ", ") + ")"
	}
	var details, lists strings.Builder
	for _, c := range evidenceColumns {
		details.WriteString(", r." + c.column)
		fmt.Fprintf(&lists, ", list_slice(list_sort(list(distinct %s) filter (%s <> '')), 1, %d)", c.column, c.column, maxDetails)
	}
	query := fmt.Sprintf("select number, list(event_id order by event_time, event_id) filter (n <= %d), count(distinct data_arn) filter (data_arn <> '')%s from ("+
		"select *, row_number() over (partition by number order by event_time, event_id) as n from ("+
		"select distinct f.number, r.event_time, r.event_id%s from %s r join wanted f on %s%s) d) e group by number",
		analyzer.MaxEventIDs, lists.String(), details.String(), source, join, where)
	return t.rows(ctx, "name the events behind it", query, func(_ []string, v []any) error {
		i, ok := v[0].(int64)
		if !ok || i < 0 || int(i) >= len(findings) {
			return fmt.Errorf("name the events behind it: number %v", v[0])
		}
		f := &findings[i]
		ids, _ := v[1].([]any)
		for _, id := range ids {
			f.EventIDs = append(f.EventIDs, text(id))
		}
		if n, _ := v[2].(int64); n > 1 {
			setMissing(f.Evidence, "data_count", n)
		}
		for k, c := range evidenceColumns {
			if list, _ := v[3+k].([]any); len(list) > 0 {
				setMissing(f.Evidence, c.evidence, list)
			}
		}
		return nil
	})
}

// maxDetails is how many values of each kind of detail a finding names.
const maxDetails = 5

// evidenceColumns are what a person asks next about the events behind a roll-up:
// from where, with what, by whom, for which data.
var evidenceColumns = []struct{ column, evidence string }{
	{"source_ip", "source_ips"},
	{"client", "clients"},
	{"session_name", "sessions"},
	{"person", "persons"},
	{"invoked_by", "services"},
	{"data_arn", "data"},
}

func setMissing(evidence map[string]any, name string, v any) {
	if _, ok := evidence[name]; !ok {
		evidence[name] = v
	}
}

// columnText is the text of a finding's column.
func columnText(f analyzer.Finding, name string) string {
	switch name {
	case "account":
		return f.Account
	case "region":
		return f.Region
	case "principal":
		return f.Principal
	case "key_arn":
		return f.Key
	}
	if v, ok := f.Entity[name]; ok {
		return v
	}
	return text(f.Evidence[name])
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Time:
		return v.Format(time.RFC3339)
	default:
		return fmt.Sprint(v)
	}
}

// plain turns the driver's types into Go's own.
func plain(v any) any {
	switch v := v.(type) {
	case *big.Int:
		if v.IsInt64() {
			return v.Int64()
		}
		return v.String()
	case duckdb.Decimal:
		return v.Float64()
	case int32:
		return int64(v)
	case int16:
		return int64(v)
	case int8:
		return int64(v)
	case uint64:
		return int64(v) //nolint:gosec // counts, far below the limit
	case uint32:
		return int64(v)
	case float32:
		return float64(v)
	case time.Time:
		return v.UTC()
	case duckdb.Interval:
		return (time.Duration(v.Days)*24*time.Hour + time.Duration(v.Micros)*time.Microsecond).String()
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	default:
		return v
	}
}
