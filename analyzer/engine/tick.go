package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/memory"
)

// Windows that every detection fits in: how long an event must stay readable
// one by one. A window that overlaps the one before it takes as long as both
// together, for whether two of them are one finding depends on the events of
// both: the longest are the days of KMS-G05, which begin every 12 hours. Control
// events are few, so 36 hours are cheap; uses are the mass.
const (
	controlWindow = 36 * time.Hour
	usesWindow    = time.Hour
	// hoursKept is how far back the hourly counts go: 4 weeks to compare with,
	// and one for what is late or open.
	hoursKept = 35 * 24 * time.Hour
	// daysKept answers whether a key was used in the last 90 days.
	daysKept = 95 * 24 * time.Hour
)

// cryptographic lists the calls that use a key, as SQL.
const cryptographic = `('Decrypt', 'Encrypt', 'ReEncrypt', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext',
 'GenerateDataKeyPair', 'GenerateDataKeyPairWithoutPlaintext', 'GenerateMac', 'VerifyMac', 'Sign', 'Verify',
 'DeriveSharedSecret', 'Decapsulate')`

// Counts says what became of the events of a slice.
type Counts struct {
	Events          int64            // rows in the slice's objects
	Kept            int64            // new events
	Duplicate       int64            // rows seen before, in the slice or earlier
	Late            int64            // kept, but later than the allowed lateness
	EventsBySource  map[string]int64 // of the kept
	DetectionsRun   int
	DetectionsIdle  int // skipped: none of their events is there
	SlowestRun      string
	SlowestDuration time.Duration
}

// Learning tells of a baseline detection that could not judge yet.
type Learning struct {
	Detection string
	Until     time.Time // when it has learned enough
	History   time.Duration
	Needed    time.Duration
	Findings  int // what it would have called new
}

// Result is what a tick found.
type Result struct {
	Findings []analyzer.Finding
	Rerun    []analyzer.Range
	Learning []Learning
	Counts   Counts
	// Next is the memory after this tick. Its files are written; it becomes
	// current when the caller commits it.
	Next memory.Manifest
	// SuppressedBy counts the suppressed findings by the rule that hid them.
	SuppressedBy map[string]int
}

// Slice is what one tick analyses.
type Slice struct {
	Objects []analyzer.Object
	// Forget is set when nothing comes after this slice, as in the replay of a
	// temporary lake: memory is then not saved.
	Forget bool
	// Waiting is the time of the earliest event that is known to come in a later
	// slice; zero when none is. It is not late then, however far this slice goes.
	Waiting time.Time
}

// tick is the state of one run.
type tick struct {
	*Engine
	prev memory.Manifest
	next memory.Manifest
	in   Slice

	controlObjects, usesObjects []analyzer.Object
	counts                      Counts
	repeated                    int64 // rows of uses that were seen before
	present                     map[analyzer.EventName]bool
}

// Tick analyses one slice on top of the memory prev.
func (e *Engine) Tick(ctx context.Context, prev memory.Manifest, in Slice) (*Result, error) {
	t := &tick{Engine: e, prev: prev, next: prev, in: in}
	t.counts.EventsBySource = map[string]int64{}
	for _, o := range in.Objects {
		if o.Rows == 0 {
			continue
		}
		t.counts.Events += o.Rows
		if o.Table == analyzer.TableUses {
			t.usesObjects = append(t.usesObjects, o)
		} else {
			t.controlObjects = append(t.controlObjects, o)
		}
		if t.next.HistoryStart.IsZero() || o.MinTime.Before(t.next.HistoryStart) {
			t.next.HistoryStart = o.MinTime
		}
		if o.MaxTime.After(t.next.Now) {
			t.next.Now = o.MaxTime
		}
	}
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"prepare", t.prepare},
		{"control", t.loadControl},
		{"uses", t.loadUses},
		{"settings", t.loadSettings},
		{"views", func(ctx context.Context) error { return t.exec(ctx, "make the views", viewsSQL) }},
	}
	for _, s := range steps {
		if err := s.run(ctx); err != nil {
			return nil, err
		}
		if err := t.step(s.name); err != nil {
			return nil, err
		}
	}
	res, err := t.detect(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.step("detect"); err != nil {
		return nil, err
	}
	t.next.Generation++
	t.next.Late += t.counts.Late
	if !in.Forget {
		if err := t.fold(ctx); err != nil {
			return nil, err
		}
		if err := t.step("memory"); err != nil {
			return nil, err
		}
	}
	res.Counts = t.counts
	res.Next = t.next
	return res, nil
}

func (e *Engine) step(name string) error {
	if e.cfg.Step == nil {
		return nil
	}
	return e.cfg.Step(name)
}

// prepare clears what the last tick left and makes a view, saved_…, of each file
// of memory; before the first generation they are empty.
func (t *tick) prepare(ctx context.Context) error {
	var drop strings.Builder
	err := t.rows(ctx, "list the tables of the last tick",
		"select table_name, table_type from information_schema.tables where table_schema = 'main'",
		func(_ []string, v []any) error {
			kind := "table"
			if v[1] == "VIEW" {
				kind = "view"
			}
			fmt.Fprintf(&drop, "drop %s if exists %s cascade;", kind, v[0])
			return nil
		})
	if err != nil {
		return err
	}
	drop.WriteString("drop type if exists word;")
	empty := createTable("empty_control", append(t.controlColumns, column{"late", "boolean"}))
	if err := t.exec(ctx, "clear the last tick", drop.String()+tablesSQL+";"+empty); err != nil {
		return err
	}
	var views strings.Builder
	for _, f := range memoryFiles {
		fmt.Fprintf(&views, "create view saved_%s as select * from empty_%s", f.name, f.name)
		if t.prev.Generation > 0 {
			path, err := filepath.Abs(filepath.Join(t.memoryDir(t.prev.Generation), f.file))
			if err != nil {
				return fmt.Errorf("load memory: %w", err)
			}
			if _, err := os.Stat(path); err != nil {
				return fmt.Errorf("load memory: %w; run analyze with --rebuild to make it anew from the lake", err)
			}
			fmt.Fprintf(&views, " union all by name select * from read_parquet(%s)", quote(path))
		}
		views.WriteString(";")
	}
	return t.exec(ctx, "load memory", views.String())
}

func (e *Engine) memoryDir(generation int64) string {
	return memory.Open(e.cfg.MemoryRoot).Generation(generation)
}

func createTable(name string, columns []column) string {
	defs := make([]string, len(columns))
	for i, c := range columns {
		defs[i] = c.name + " " + c.typ
	}
	return "create table " + name + " (" + strings.Join(defs, ", ") + ")"
}

// read selects the columns of objects, times as UTC timestamps without zone.
func (e *Engine) read(columns []column, objects []analyzer.Object, extra string) string {
	paths := make([]string, len(objects))
	for i, o := range objects {
		paths[i] = e.path(o)
	}
	sel := make([]string, len(columns))
	for i, c := range columns {
		sel[i] = c.name
		if c.typ == "timestamp" {
			sel[i] = "cast(" + c.name + " as timestamp) as " + c.name
		}
	}
	return "select " + strings.Join(sel, ", ") + extra + " from read_parquet(" + quoteList(paths) + ", filename = true, file_row_number = true, hive_partitioning = false)"
}

func (e *Engine) path(o analyzer.Object) string {
	p := filepath.Join(e.cfg.LakeRoot, filepath.FromSlash(o.Path))
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return p
}

// loadControl makes the view of all control events, each once: those of memory
// and those of the slice. They are wide and each detection reads few of their
// columns, so they are read where they lie; only their ids are taken in, to tell
// which are new.
func (t *tick) loadControl(ctx context.Context) error {
	const view = "create view control_all as select * from saved_control"
	if len(t.controlObjects) == 0 {
		return t.exec(ctx, "read the control events", view)
	}
	late := "false"
	if !t.prev.ControlFrom.IsZero() {
		late = "event_time < " + timestamp(t.prev.ControlFrom)
	}
	ids := []column{{"account", "varchar"}, {"event_id", "varchar"}, {"event_time", "timestamp"}, {"event_source", "varchar"}}
	query := "create table new_control as select *, " + late + " as late from (" + t.read(ids, t.controlObjects, ", filename, file_row_number") + ") r" +
		" qualify row_number() over (partition by account, event_id order by event_time, filename, file_row_number) = 1;" +
		"delete from new_control n where exists (select 1 from saved_control c where c.account = n.account and c.event_id = n.event_id)"
	if err := t.exec(ctx, "read the control events of the slice", query); err != nil {
		return err
	}
	if err := t.dropSeenLongAgo(ctx, analyzer.TableControl, "new_control",
		"delete from new_control n where late and exists (select 1 from seen s where s.account = n.account and s.event_id = n.event_id)"); err != nil {
		return err
	}
	var rows int64
	for _, o := range t.controlObjects {
		rows += o.Rows
	}
	kept, err := t.number(ctx, "count the control events", "select count(*) from new_control")
	if err != nil {
		return err
	}
	t.counts.Kept += kept
	t.counts.Duplicate += rows - kept
	if err := t.countLate(ctx, "new_control", t.controlObjects); err != nil {
		return err
	}
	if err := t.rows(ctx, "count events by source", "select event_source, count(*) from new_control group by event_source",
		func(_ []string, v []any) error {
			t.counts.EventsBySource[v[0].(string)] += v[1].(int64)
			return nil
		}); err != nil {
		return err
	}
	added := "select * exclude (filename, file_row_number), " + late + " as late from (" + t.read(t.controlColumns, t.controlObjects, ", filename, file_row_number") + ") r"
	if kept < rows {
		added += " where exists (select 1 from new_control n where n.filename = r.filename and n.file_row_number = r.file_row_number)"
	}
	return t.exec(ctx, "add the control events", view+" union all by name "+added)
}

// dropSeenLongAgo finds the late rows of a table that the lake holds already:
// memory no longer knows their ids. It costs only where something is late.
func (t *tick) dropSeenLongAgo(ctx context.Context, table analyzer.Table, rows, drop string) error {
	if t.cfg.History == nil {
		return nil
	}
	var from, to time.Time
	err := t.rows(ctx, "look for late events", "select min(event_time), max(event_time) from "+rows+" where late",
		func(_ []string, v []any) error {
			from, _ = v[0].(time.Time)
			to, _ = v[1].(time.Time)
			return nil
		})
	if err != nil || from.IsZero() {
		return err
	}
	old, err := t.cfg.History(ctx, table, from, to)
	if err != nil {
		return fmt.Errorf("list the lake's objects from %s to %s: %w", from.Format(time.DateOnly), to.Format(time.DateOnly), err)
	}
	fresh := map[string]bool{}
	for _, o := range t.in.Objects {
		fresh[o.Path] = true
	}
	var objects []analyzer.Object
	for _, o := range old {
		if !fresh[o.Path] {
			objects = append(objects, o)
		}
	}
	if len(objects) == 0 {
		return nil
	}
	ids := t.read([]column{{"account", "varchar"}, {"event_id", "varchar"}, {"event_time", "timestamp"}}, objects, "")
	return t.exec(ctx, "compare late events with the lake",
		"create or replace table seen as select account, event_id from ("+ids+") where event_time between "+timestamp(from)+" and "+timestamp(to)+
			" and (account, event_id) in (select (account, event_id) from "+rows+" where late);"+drop)
}

// countLate counts the new events that came later than allowed. What is folded
// already is older still; what is not may have been counted in time, or not.
func (t *tick) countLate(ctx context.Context, rows string, objects []analyzer.Object) error {
	if !minTime(objects).Before(t.prev.Watermark) {
		return nil
	}
	n, err := t.number(ctx, "count late events", "select count(*) from "+rows+" where event_time < "+timestamp(t.prev.Watermark))
	t.counts.Late += n
	return err
}

func minTime(objects []analyzer.Object) time.Time {
	m := objects[0].MinTime
	for _, o := range objects {
		if o.MinTime.Before(m) {
			m = o.MinTime
		}
	}
	return m
}

// frontier is the time before which findings of a detection are settled, by
// what its SQL reads.
func (t *tick) frontier(sql string) time.Time {
	f := time.Time{}
	sql = comments.ReplaceAllString(sql, " ")
	if readsControl.MatchString(sql) {
		f = t.prev.ControlFrom
	}
	if readsUses.MatchString(sql) && t.prev.UsesFrom.After(f) {
		f = t.prev.UsesFrom
	}
	return f
}

var (
	readsControl = regexp.MustCompile(`\b(control_events|events|key_changes|trail_changes|grants)\b`)
	readsUses    = regexp.MustCompile(`\b(uses|data_uses|use_hours|first_uses)\b`)
	readsData    = regexp.MustCompile(`\bdata_uses\b`)
	// What is written in a comment or a text is not read.
	comments = regexp.MustCompile(`(?s)'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/`)
)

// fold moves what is settled into memory and writes the next generation.
func (t *tick) fold(ctx context.Context) error {
	watermark := t.next.Now.Add(-t.cfg.Settings.Lateness)
	if w := t.in.Waiting; !w.IsZero() && w.Before(watermark) {
		watermark = w
	}
	t.next.Watermark = later(t.prev.Watermark, watermark)
	t.next.UsesFrom = later(t.prev.UsesFrom, watermark.Add(-usesWindow).Truncate(time.Hour))
	t.next.ControlFrom = later(t.prev.ControlFrom, watermark.Add(-controlWindow).Truncate(time.Hour))
	t.next.Hot = nil
	for _, o := range append(append([]analyzer.Object{}, t.prev.Hot...), t.usesObjects...) {
		if !o.MaxTime.Before(t.next.UsesFrom) {
			t.next.Hot = append(t.next.Hot, o)
		}
	}
	dir, err := filepath.Abs(t.memoryDir(t.next.Generation))
	if err != nil {
		return fmt.Errorf("save memory: %w", err)
	}
	// A crash may have left a half-written folder of the same name.
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o750)); err != nil {
		return fmt.Errorf("save memory: %w", err)
	}
	uses, control := timestamp(t.next.UsesFrom), timestamp(t.next.ControlFrom)
	ids := "select account, event_id, event_time from saved_ids where event_time >= " + uses
	var recent []analyzer.Object
	for _, o := range t.usesObjects {
		if !o.MaxTime.Before(t.next.UsesFrom) {
			recent = append(recent, o)
		}
	}
	if len(recent) > 0 {
		ids += " union all select account, event_id, event_time from (" + t.newUses(idColumns, recent) + ") r where event_time >= " + uses
	}
	settled := " from uses_5m where window_start < " + uses + " and key_arn <> '' and event_name in " + cryptographic
	queries := map[string]string{
		"control": fmt.Sprintf(keepControlSQL, columnNames(t.controlColumns), control, control, control),
		"uses":    "select * exclude (principal_type, principal_account, principal_name) from uses_5m where window_start >= " + uses,
		"data":    "select * exclude (data_id) from data_5m where window_start >= " + uses,
		"ids":     ids,
		"pairs": "select principal, key_arn, lane, owner_copy, min(first_time) as first_time, max(last_time) as last_time," +
			" cast(sum(event_count) as bigint) as event_count, min(account) as account, min(region) as region, bool_or(is_person) as is_person" +
			" from (select * from memory_pairs union all by name " + pairsOf + settled + pairsBy + ") p" + pairsBy,
		"hours": "select * from memory_hours where hour >= " + timestamp(t.next.UsesFrom.Add(-hoursKept)) +
			" union all by name " + hoursOf + settled + " and not owner_copy" + hoursBy,
		"days":       "select * from days where day >= cast(" + timestamp(t.next.UsesFrom.Add(-daysKept)) + " as date)",
		"principals": "select * from principals",
		"accounts":   "select account, first_time from seen_accounts",
		"names":      "select key_arn, alias_name, first_time from key_names",
	}
	for _, f := range memoryFiles {
		if err := t.exec(ctx, "save memory: "+f.name, "copy ("+queries[f.name]+") to "+quote(filepath.Join(dir, f.file))+" (format parquet, compression zstd)"); err != nil {
			return err
		}
	}
	return nil
}

// memoryFiles make up one generation.
var memoryFiles = []struct{ name, file string }{
	{"control", "control.parquet"},
	{"uses", "uses.parquet"},
	{"data", "data.parquet"},
	{"ids", "ids.parquet"},
	{"pairs", "pairs.parquet"},
	{"hours", "hours.parquet"},
	{"days", "days.parquet"},
	{"principals", "principals.parquet"},
	{"accounts", "accounts.parquet"},
	{"names", "names.parquet"},
}

// keepControlSQL keeps every control event at or after the frontier and, of
// those before it, the ones that still say how things stand: the latest change
// of each kind for a key and for a trail, the latest that named a trail's bucket
// or key, the latest change of an alias, and the grants that live.
const keepControlSQL = `
select %s, false as late from control_all where event_time >= %s
union all by name
select * exclude (rank_key, rank_bucket, rank_log_key, rank_alias, ended) replace (false as late) from (
  select c.*,
         row_number() over (partition by event_source, case when event_source = 'kms.amazonaws.com' then key_arn else account || ' ' || trail_name end, event_name
                            order by event_time desc, event_id desc) as rank_key,
         row_number() over (partition by account, trail_name, trail_bucket <> '' order by event_time desc, event_id desc) as rank_bucket,
         row_number() over (partition by account, trail_name, trail_kms_key <> '' order by event_time desc, event_id desc) as rank_log_key,
         row_number() over (partition by account, region, alias_name, event_name in ('CreateAlias', 'UpdateAlias', 'DeleteAlias')
                            order by event_time desc, event_id desc) as rank_alias,
         exists (select 1 from control_all e where e.event_name in ('RevokeGrant', 'RetireGrant') and e.outcome = 'ok'
                 and e.grant_id = c.grant_id and (e.key_arn = c.key_arn or e.key_arn = '')
                 and e.event_time >= c.event_time and e.event_time < %s) as ended
  from control_all c
  where event_time < %s and outcome = 'ok' and event_source in ('kms.amazonaws.com', 'cloudtrail.amazonaws.com') and not read_only
) k
where (rank_key = 1 and event_name <> 'CreateGrant' and (key_arn <> '' or trail_name <> ''))
   or (event_source = 'cloudtrail.amazonaws.com' and (rank_bucket = 1 and trail_bucket <> '' or rank_log_key = 1 and trail_kms_key <> ''))
   or (event_name in ('CreateAlias', 'UpdateAlias', 'DeleteAlias') and rank_alias = 1)
   or (event_name = 'CreateGrant' and grant_id <> '' and not ended)`

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func columnNames(columns []column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}
