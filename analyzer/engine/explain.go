package engine

import (
	"context"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Events returns the events with these ids, in order of time, each with the
// columns of its table that say something. Objects are those of the days that
// the events may be in.
func (e *Engine) Events(ctx context.Context, objects []analyzer.Object, ids []string) ([]Row, error) {
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
			parts = append(parts, "select distinct on (account, event_id) * from ("+e.read(table.columns, of, "")+") r where event_id in "+inList(ids))
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

func inList(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = quote(s)
	}
	return "(" + strings.Join(q, ", ") + ")"
}
