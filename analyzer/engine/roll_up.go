package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// chunkRows is how many events are rolled up at once, as far as days allow: an
// event and its copies are of one day, and the tables of a chunk of this size
// fit the processor's cache.
const chunkRows = 400_000

var idColumns = []column{{"account", "varchar"}, {"event_id", "varchar"}, {"event_time", "timestamp"}}

// loadUses rolls the slice's uses up, each event once.
func (t *tick) loadUses(ctx context.Context) error {
	if err := t.exec(ctx, "begin the roll-up", rollUpTablesSQL); err != nil {
		return err
	}
	if len(t.usesObjects) > 0 {
		if err := t.takeUses(ctx); err != nil {
			return err
		}
	}
	return t.exec(ctx, "sum up the uses", sumUpSQL+fmt.Sprintf(hotSQL, cryptographic))
}

func (t *tick) takeUses(ctx context.Context) error {
	if err := t.findRepeated(ctx); err != nil {
		return err
	}
	var rows int64
	for _, o := range t.usesObjects {
		rows += o.Rows
	}
	t.counts.Kept += rows - t.repeated
	t.counts.Duplicate += t.repeated
	t.counts.EventsBySource["kms.amazonaws.com"] += rows - t.repeated
	if err := t.countLate(ctx, "("+t.newUses(idColumns, t.usesObjects)+") r", t.usesObjects); err != nil {
		return err
	}
	if err := t.rollUp(ctx); err != nil {
		return err
	}
	unsure, err := t.number(ctx, "check the roll-up",
		"select count(*) from (select profile from profiles group by profile having min(principal) <> max(principal) or min(key_arn) <> max(key_arn))")
	if err != nil || unsure == 0 {
		return err
	}
	// Two kinds of use have one number: by chance it never happens, so somebody
	// may have sought it. The slow numbers cannot be made to meet.
	if err := t.exec(ctx, "roll the uses up with care", "delete from rolled; delete from rolled_data; delete from profiles;"+slowKeysSQL); err != nil {
		return err
	}
	return t.rollUp(ctx)
}

// rollUp rolls the slice up, chunk by chunk.
func (t *tick) rollUp(ctx context.Context) error {
	for _, objects := range chunks(t.usesObjects) {
		query := "create or replace view chunk_uses as " + t.newUses(t.usesColumns, objects) + ";" + rollUpSQL
		if err := t.exec(ctx, "roll the uses up", query); err != nil {
			return err
		}
	}
	return nil
}

// newUses selects columns of the events that were not seen before.
func (t *tick) newUses(columns []column, objects []analyzer.Object) string {
	if t.repeated == 0 {
		return t.read(columns, objects, "")
	}
	return "select * exclude (filename, file_row_number) from (" + t.read(columns, objects, ", filename, file_row_number") + ") r" +
		" where not exists (select 1 from repeated d where d.filename = r.filename and d.file_row_number = r.file_row_number)"
}

// chunks parts objects by whole days.
func chunks(objects []analyzer.Object) [][]analyzer.Object {
	day := func(o analyzer.Object) time.Time { return o.MinTime.UTC().Truncate(24 * time.Hour) }
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(a, b analyzer.Object) int { return day(a).Compare(day(b)) })
	var parts [][]analyzer.Object
	var rows int64
	for from := 0; from < len(objects); {
		to, ofDay := from, int64(0)
		for to < len(objects) && day(objects[to]).Equal(day(objects[from])) {
			ofDay += objects[to].Rows
			to++
		}
		if len(parts) == 0 || rows+ofDay > chunkRows {
			parts, rows = append(parts, nil), 0
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], objects[from:to]...)
		rows += ofDay
		from = to
	}
	return parts
}

// findRepeated fills the table repeated with the rows that were seen before.
// Most slices have none, which a count over hashes shows without comparing ids.
func (t *tick) findRepeated(ctx context.Context) error {
	const hashed = "hash(event_id)"
	for _, objects := range chunks(t.usesObjects) {
		ids := t.read(idColumns, objects, ", filename, file_row_number")
		if err := t.exec(ctx, "look for repeated events", "create or replace table suspects as select h from (select "+
			hashed+" as h from ("+ids+") r) s group by h having count(*) > 1"); err != nil {
			return err
		}
		n, err := t.number(ctx, "look for repeated events", "select count(*) from suspects")
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		if err := t.exec(ctx, "look for repeated events",
			"insert into repeated select filename, file_row_number from (select filename, file_row_number,"+
				" row_number() over (partition by account, event_id order by filename, file_row_number) as n"+
				" from ("+ids+") r where "+hashed+" in (select h from suspects)) where n > 1"); err != nil {
			return err
		}
	}
	if err := t.compareWithMemory(ctx); err != nil {
		return err
	}
	var err error
	t.repeated, err = t.number(ctx, "count repeated events", "select count(*) from (select distinct filename, file_row_number from repeated)")
	return err
}

// compareWithMemory finds the events that an earlier slice had.
func (t *tick) compareWithMemory(ctx context.Context) error {
	var known []analyzer.Object
	for _, o := range t.usesObjects {
		if !o.MinTime.After(t.prev.Now) {
			known = append(known, o)
		}
	}
	if t.prev.Generation == 0 || len(known) == 0 {
		return nil
	}
	if err := t.exec(ctx, "compare the slice with the events seen lately",
		"insert into repeated select filename, file_row_number from ("+t.read(idColumns, known, ", filename, file_row_number")+") r where exists"+
			" (select 1 from saved_ids k where k.account = r.account and k.event_id = r.event_id)"); err != nil {
		return err
	}
	if !minTime(known).Before(t.prev.UsesFrom) {
		return nil
	}
	raw := "create view raw_uses as select *, event_time < " + timestamp(t.prev.UsesFrom) + " as late from (" +
		t.read(idColumns, known, ", filename, file_row_number") + ") r"
	if err := t.exec(ctx, "look for late events", raw); err != nil {
		return err
	}
	return t.dropSeenLongAgo(ctx, analyzer.TableUses, "raw_uses",
		"insert into repeated select filename, file_row_number from raw_uses r where late and exists"+
			" (select 1 from seen s where s.account = r.account and s.event_id = r.event_id)")
}

// profileColumns say of which kind a use is; together with the time they are
// what uses are rolled up by.
var profileColumns = []string{"account", "region", "event_name", "lane", "principal", "is_person", "key_arn", "dest_key_arn", "owner_copy"}

// fastKeys makes the macros that number what uses are grouped by. A lake's file
// holds each text once, and a hash over the column costs as little; grouping by
// the texts themselves would cost five times as much. The salts are of this
// process, so that no one can choose names that meet.
func fastKeys() string {
	salted := func(column string) string {
		return fmt.Sprintf("hash(xor(hash(%s), %d::ubigint))", column, rand.Uint64()) //nolint:gosec // a salt against chosen names, not a key
	}
	parts := make([]string, len(profileColumns))
	for i, c := range profileColumns {
		parts[i] = salted(c)
	}
	key := parts[0]
	for _, p := range parts[1:] {
		key = "xor(" + key + ", " + p + ")"
	}
	return fmt.Sprintf("create macro profile_key(%s) as %s; create macro data_key(data_arn) as %s",
		strings.Join(profileColumns, ", "), key, salted("data_arn"))
}

// slowKeysSQL numbers them by a hash that nobody can aim.
var slowKeysSQL = fmt.Sprintf("create or replace macro profile_key(%s) as md5_number_lower(concat_ws(chr(31), %s));"+
	"create or replace macro data_key(data_arn) as md5_number_lower(data_arn)",
	strings.Join(profileColumns, ", "), strings.Join(profileColumns, ", "))

const (
	pairsOf = `select principal, key_arn, lane, owner_copy, min(first_time) as first_time, max(last_time) as last_time,
 cast(sum(event_count) as bigint) as event_count, min(account) as account, min(region) as region, bool_or(is_person) as is_person`
	pairsBy = ` group by principal, key_arn, lane, owner_copy`
	// An hour with fewer than 30 calls cannot lift a threshold above the least
	// one that makes sense, so it is not kept.
	hoursOf = `select date_trunc('hour', window_start) as hour, account, min(region) as region, principal, key_arn, lane, bool_or(is_person) as is_person,
 cast(sum(event_count) as bigint) as event_count, min(first_time) as first_time, max(last_time) as last_time`
	hoursBy = ` group by date_trunc('hour', window_start), account, principal, key_arn, lane having sum(event_count) >= 30`
	// hotSQL sums up what is not folded yet, in the shape of memory.
	hotSQL = `
create table hot_pairs as ` + pairsOf + ` from uses_5m where key_arn <> '' and event_name in %[1]s` + pairsBy + `;
create table hot_hours as ` + hoursOf + ` from uses_5m where not owner_copy and key_arn <> '' and event_name in %[1]s` + hoursBy + `;
create table days as
select key_arn, day, cast(sum(event_count) as bigint) as event_count
from (
  select key_arn, day, event_count from saved_days
  union all
  select cast(key_arn as varchar), cast(window_start as date), sum(event_count)
  from added_uses
  where key_arn <> '' and not owner_copy and event_name in %[1]s
  group by key_arn, cast(window_start as date)
) d
group by key_arn, day;
drop view added_uses; drop table kinds; drop table rolled; drop table rolled_data; drop table profiles`
)
