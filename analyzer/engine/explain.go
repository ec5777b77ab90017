package engine

import (
	"context"
	"database/sql/driver"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Events returns the events with these ids, in order of time, each with the
// columns of its table that say something. Objects are those of the days that
// the events may be in.
func (e *Engine) Events(ctx context.Context, objects []analyzer.Object, ids []string) ([]Row, error) {
	if err := e.fillIDs(ctx, ids); err != nil {
		return nil, err
	}
	var parts []string
	for _, table := range []struct {
		name    analyzer.Table
		columns []column
	}{{analyzer.TableControl, e.controlColumns}, {analyzer.TableUses, e.usesColumns}} {
		var of []analyzer.Object
		for _, o := range objects {
			if o.Table == table.name {
				of = append(of, o)
			}
		}
		if len(of) > 0 {
			parts = append(parts, "select distinct on (account, event_id) * from ("+e.read(table.columns, of, "")+") r where event_id in (select event_id from wanted_ids)")
		}
	}
	if len(parts) == 0 || len(ids) == 0 {
		return nil, nil
	}
	var events []Row
	err := e.rows(ctx, "look the events up", "select * from ("+strings.Join(parts, " union all by name ")+") e order by event_time, event_id",
		func(columns []string, values []any) error {
			row := Row{}
			for i, c := range columns {
				if says(values[i]) {
					row[c] = values[i]
				}
			}
			events = append(events, row)
			return nil
		})
	return events, err
}

// says tells whether a value is worth showing.
func says(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case string:
		return v != ""
	case bool:
		return v
	case int64:
		return v != 0
	case []any:
		return len(v) > 0
	case time.Time:
		return !v.IsZero()
	default:
		return true
	}
}

// fillIDs makes the table wanted_ids of event ids.
func (e *Engine) fillIDs(ctx context.Context, ids []string) error {
	rows := make([][]driver.Value, len(ids))
	for i, id := range ids {
		rows[i] = []driver.Value{id}
	}
	return e.fill(ctx, "list the events wanted", "wanted_ids", []column{{"event_id", "varchar"}}, rows)
}
