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

// prepare makes the tables anew and fills them from memory.
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
	if err := t.exec(ctx, "clear the last tick", drop.String()+tablesSQL+";"+createTable("control_all", append(t.controlColumns, column{"late", "boolean"}))); err != nil {
		return err
	}
	if t.prev.Generation == 0 {
		return nil
	}
	dir, err := filepath.Abs(t.memoryDir(t.prev.Generation))
	if err != nil {
		return fmt.Errorf("load memory: %w", err)
	}
	var load strings.Builder
	for _, f := range memoryFiles {
		path := filepath.Join(dir, f.file)
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("load memory: %w; run analyze with --rebuild to make it anew from the lake", err)
		}
		fmt.Fprintf(&load, "insert into %s by name select * from read_parquet(%s);", f.table, quote(path))
	}
	return t.exec(ctx, "load memory", load.String())
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

// loadControl adds the slice's control events, each once.
func (t *tick) loadControl(ctx context.Context) error {
	if len(t.controlObjects) == 0 {
		return nil
	}
	late := "false"
	if !t.prev.ControlFrom.IsZero() {
		late = "event_time < " + timestamp(t.prev.ControlFrom)
	}
	query := createTable("new_control", append(t.controlColumns, column{"late", "boolean"})) + ";" +
		"insert into new_control by name select *, " + late + " as late from (" + t.read(t.controlColumns, t.controlObjects, "") + ") r" +
		" qualify row_number() over (partition by account, event_id order by event_time) = 1;" +
		"delete from new_control n where exists (select 1 from control_all c where c.account = n.account and c.event_id = n.event_id)"
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
	return t.exec(ctx, "add the control events", "insert into control_all by name select * from new_control")
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

// loadUses rolls the slice's uses up, each event once.
func (t *tick) loadUses(ctx context.Context) error {
	if len(t.usesObjects) == 0 {
		return t.afterUses(ctx)
	}
	late := "false"
	if !t.prev.UsesFrom.IsZero() {
		late = "cast(event_time as timestamp) < " + timestamp(t.prev.UsesFrom)
	}
	raw := "create view raw_uses as " + t.read(t.usesColumns, t.usesObjects, ", filename, file_row_number, "+late+" as late") + ";" +
		"create table repeated (filename varchar, file_row_number bigint);"
	if err := t.exec(ctx, "read the uses of the slice", raw); err != nil {
		return err
	}
	if err := t.findRepeated(ctx); err != nil {
		return err
	}
	var rows int64
	for _, o := range t.usesObjects {
		rows += o.Rows
	}
	repeated, err := t.number(ctx, "count repeated events", "select count(*) from (select distinct filename, file_row_number from repeated)")
	if err != nil {
		return err
	}
	source := "create view new_uses as select * from raw_uses"
	if repeated > 0 {
		source += " r where not exists (select 1 from repeated d where d.filename = r.filename and d.file_row_number = r.file_row_number)"
	}
	t.counts.Kept += rows - repeated
	t.counts.Duplicate += repeated
	t.counts.EventsBySource["kms.amazonaws.com"] += rows - repeated
	if err := t.exec(ctx, "read the uses of the slice", source); err != nil {
		return err
	}
	if err := t.countLate(ctx, "new_uses", t.usesObjects); err != nil {
		return err
	}
	if err := t.exec(ctx, "roll the uses up", "insert into uses_5m by name "+rollUpSQL); err != nil {
		return err
	}
	if err := t.exec(ctx, "roll the data up", "insert into data_5m by name "+rollUpDataSQL); err != nil {
		return err
	}
	return t.afterUses(ctx)
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

// findRepeated fills the table repeated with the rows that were seen before.
// Most slices have none, which a count over hashes shows without comparing ids.
func (t *tick) findRepeated(ctx context.Context) error {
	const hashed = "hash(account, event_id)"
	if err := t.exec(ctx, "look for repeated events",
		"create table suspects as select "+hashed+" as h from raw_uses group by 1 having count(*) > 1"); err != nil {
		return err
	}
	n, err := t.number(ctx, "look for repeated events", "select count(*) from suspects")
	if err != nil {
		return err
	}
	if n > 0 {
		if err := t.exec(ctx, "look for repeated events",
			"insert into repeated select filename, file_row_number from (select filename, file_row_number,"+
				" row_number() over (partition by account, event_id order by filename, file_row_number) as n"+
				" from raw_uses where "+hashed+" in (select h from suspects)) where n > 1"); err != nil {
			return err
		}
	}
	if t.prev.Generation == 0 {
		return nil
	}
	if err := t.exec(ctx, "compare the slice with the events seen lately",
		"insert into repeated select filename, file_row_number from raw_uses r where exists"+
			" (select 1 from memory_ids k where k.account = r.account and k.event_id = r.event_id)"); err != nil {
		return err
	}
	if !minTime(t.usesObjects).Before(t.prev.UsesFrom) {
		return nil
	}
	return t.dropSeenLongAgo(ctx, analyzer.TableUses, "raw_uses",
		"insert into repeated select filename, file_row_number from raw_uses r where late and exists"+
			" (select 1 from seen s where s.account = r.account and s.event_id = r.event_id)")
}

// afterUses makes the tables that views need whether or not the slice has uses.
func (t *tick) afterUses(ctx context.Context) error {
	query := hotSQL + ";create table days as select key_arn, day, cast(sum(event_count) as bigint) as event_count from (select * from memory_days%s) d group by key_arn, day;" +
		"create table principals as select principal, min(principal_type) as principal_type, min(principal_account) as principal_account," +
		" min(principal_name) as principal_name, max(last_day) as last_day from (select * from memory_principals%s) p group by principal;" +
		"create table key_names as select key_arn, alias_name, min(first_time) as first_time from (select * from memory_names%s union all by name" +
		" select key_arn, alias_name, event_time as first_time from control_all where alias_name <> '' and key_arn <> '' and event_name not in ('CreateAlias', 'UpdateAlias', 'DeleteAlias')" +
		") n group by key_arn, alias_name;" +
		"create table seen_accounts as select account, min(first_time) as first_time from (select account, first_time from memory_accounts%s" +
		" union all select account, min(event_time) from control_all group by account) a where account <> '' group by account"
	if len(t.usesObjects) == 0 {
		query = fmt.Sprintf(query, "", "", "", "")
	} else {
		query = fmt.Sprintf(query, " union all by name "+daysOf, " union all by name "+principalsOf, " union all by name "+namesOf,
			" union all select account, min(event_time) from new_uses group by account")
		if t.prev.Generation > 0 {
			query = regroupSQL + ";" + query
		}
	}
	return t.exec(ctx, "sum up the uses", query)
}

// regroupSQL joins the slice's roll-up rows with those of memory.
const regroupSQL = `
create table joined_uses as
select window_start, account, region, event_name, lane, principal, is_person, key_arn, dest_key_arn, owner_copy,
       cast(sum(event_count) as bigint) as event_count, min(first_time) as first_time, max(last_time) as last_time
from uses_5m group by window_start, account, region, event_name, lane, principal, is_person, key_arn, dest_key_arn, owner_copy;
drop table uses_5m; alter table joined_uses rename to uses_5m;
create table joined_data as
select window_start, account, region, principal, is_person, lane, data_kind, data_arn, key_arn,
       cast(sum(event_count) as bigint) as event_count, min(first_time) as first_time, max(last_time) as last_time
from data_5m group by window_start, account, region, principal, is_person, lane, data_kind, data_arn, key_arn;
drop table data_5m; alter table joined_data rename to data_5m`

// hotSQL sums up what is not folded yet, in the shape of memory.
const hotSQL = `
create table hot_pairs as ` + pairsOf + ` from uses_5m where key_arn <> '' and event_name in ` + cryptographic + pairsBy + `;
create table hot_hours as ` + hoursOf + ` from uses_5m where not owner_copy and key_arn <> '' and event_name in ` + cryptographic + hoursBy

const (
	pairsOf = `select principal, key_arn, lane, owner_copy, min(first_time) as first_time, max(last_time) as last_time,
 cast(sum(event_count) as bigint) as event_count, min(account) as account, min(region) as region, bool_or(is_person) as is_person`
	pairsBy = ` group by principal, key_arn, lane, owner_copy`
	// An hour with fewer than hourFloor calls cannot lift a threshold above the
	// least one that makes sense, so it is not kept.
	hoursOf = `select date_trunc('hour', window_start) as hour, account, min(region) as region, principal, key_arn, lane, bool_or(is_person) as is_person,
 cast(sum(event_count) as bigint) as event_count, min(first_time) as first_time, max(last_time) as last_time`
	hoursBy = ` group by date_trunc('hour', window_start), account, principal, key_arn, lane having sum(event_count) >= 30`
	daysOf  = `select key_arn, cast(event_time as date) as day, count(*) as event_count from new_uses
 where key_arn <> '' and not owner_copy and event_name in ` + cryptographic + ` group by key_arn, cast(event_time as date)`
	principalsOf = `select principal, min(principal_type) as principal_type, min(principal_account) as principal_account, min(principal_name) as principal_name,
 max(cast(event_time as date)) as last_day from new_uses where lane <> 'service' group by principal`
	namesOf = `select key_arn, alias_name, min(event_time) as first_time from new_uses where alias_name <> '' and key_arn <> '' group by key_arn, alias_name`
)

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
	ids := "select account, event_id, event_time from memory_ids where event_time >= " + uses
	if len(t.usesObjects) > 0 {
		ids += " union all select account, event_id, event_time from new_uses where event_time >= " + uses
	}
	settled := " from uses_5m where window_start < " + uses + " and key_arn <> '' and event_name in " + cryptographic
	queries := map[string]string{
		"control_all": fmt.Sprintf(keepControlSQL, columnNames(t.controlColumns), control, control, control),
		"uses_5m":     "select * from uses_5m where window_start >= " + uses,
		"data_5m":     "select * from data_5m where window_start >= " + uses,
		"memory_ids":  ids,
		"memory_pairs": "select principal, key_arn, lane, owner_copy, min(first_time) as first_time, max(last_time) as last_time," +
			" cast(sum(event_count) as bigint) as event_count, min(account) as account, min(region) as region, bool_or(is_person) as is_person" +
			" from (select * from memory_pairs union all by name " + pairsOf + settled + pairsBy + ") p" + pairsBy,
		"memory_hours": "select * from memory_hours where hour >= " + timestamp(t.next.UsesFrom.Add(-hoursKept)) +
			" union all by name " + hoursOf + settled + " and not owner_copy" + hoursBy,
		"memory_days":       "select * from days where day >= cast(" + timestamp(t.next.UsesFrom.Add(-daysKept)) + " as date)",
		"memory_principals": "select * from principals",
		"memory_accounts":   "select account, first_time from seen_accounts",
		"memory_names":      "select key_arn, alias_name, first_time from key_names",
	}
	for _, f := range memoryFiles {
		if err := t.exec(ctx, "save memory: "+f.table, "copy ("+queries[f.table]+") to "+quote(filepath.Join(dir, f.file))+" (format parquet, compression zstd)"); err != nil {
			return err
		}
	}
	return nil
}

// memoryFiles are the tables that make up one generation.
var memoryFiles = []struct{ table, file string }{
	{"control_all", "control.parquet"},
	{"uses_5m", "uses.parquet"},
	{"data_5m", "data.parquet"},
	{"memory_ids", "ids.parquet"},
	{"memory_pairs", "pairs.parquet"},
	{"memory_hours", "hours.parquet"},
	{"memory_days", "days.parquet"},
	{"memory_principals", "principals.parquet"},
	{"memory_accounts", "accounts.parquet"},
	{"memory_names", "names.parquet"},
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
