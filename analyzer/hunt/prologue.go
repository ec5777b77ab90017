package hunt

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/settings"
)

// viewFiles hold the views that are read, one a file. They read one another and
// the tables that builder.table makes.
//
//go:embed views/*.sql
var viewFiles embed.FS

// callColumns are the columns of uses that views are made of.
const callColumns = "event_time, account, region, event_name, lane, principal, principal_type, principal_account, principal_name, " +
	"is_person, key_arn, dest_key_arn, owner_copy, data_kind, data_arn"

// What of uses a view is about.
const (
	noService = "lane <> 'service'" // what a service does in its own name interrupts nobody
	noCopy    = "not owner_copy"    // the owner's copy of a call across accounts is the same call
	ofKeys    = `key_arn <> ''
  and event_name in ('Decrypt', 'Encrypt', 'ReEncrypt', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext',
    'GenerateDataKeyPair', 'GenerateDataKeyPairWithoutPlaintext', 'GenerateMac', 'VerifyMac', 'Sign', 'Verify',
    'DeriveSharedSecret', 'Decapsulate')`
	// Data other than secrets and parameters counts only where a person reads it.
	ofData = `event_name = 'Decrypt'
  and data_arn <> ''
  and (data_kind in ('secret', 'parameter') or is_person)`
)

// builder gathers the views that a statement reads, each behind those that it
// reads itself.
type builder struct {
	options Options
	// controlFrom and usesFrom are where the events begin that are seen one by one.
	controlFrom, usesFrom time.Time

	made  map[string]bool
	views []string
	reads map[analyzer.Table]Days
}

func newBuilder(s Subject, o Options) *builder {
	b := &builder{options: o, controlFrom: o.Since, usesFrom: o.Since, made: map[string]bool{}, reads: map[analyzer.Table]Days{}}
	if !s.Own {
		b.controlFrom = o.Since.Add(-s.Window - controlLookBack).Truncate(time.Hour)
		b.usesFrom = o.Since.Add(-s.Window - usesLookBack).Truncate(time.Hour)
	}
	return b
}

// need adds the views that a piece of SQL reads, but for those of the given
// names.
func (b *builder) need(sql string, but ...string) error {
	tables, _ := tablesRead(sql)
	for _, name := range tables {
		if b.made[name] || slices.Contains(but, name) {
			continue
		}
		header, body, err := b.view(name)
		if err != nil {
			return fmt.Errorf("view %s: %w", name, err)
		}
		if body == "" {
			continue // of a with-clause, or a mistake that the engine tells
		}
		b.made[name] = true
		if err := b.need(body); err != nil {
			return err
		}
		b.views = append(b.views, header+" as (\n"+strings.TrimSpace(body)+"\n)")
	}
	return nil
}

// prologue is the with-clause, or nothing when no view is read.
func (b *builder) prologue() string {
	if len(b.views) == 0 {
		return ""
	}
	return "with " + strings.Join(b.views, ",\n") + "\n"
}

// splice puts the views in front of a person's own statement. It is not made a
// subquery, for that would lose its order.
func (b *builder) splice(sql string) (string, error) {
	for _, name := range tablesMade(sql) {
		if b.made[name] {
			return "", fmt.Errorf("its with-clause makes a table %s, which one of the views needs: give it another name", name)
		}
	}
	if len(b.views) == 0 {
		return sql, nil
	}
	list := words(sql)
	if list[0].text != "with" {
		return b.prologue() + sql, nil
	}
	head, end := "with ", list[0].end
	if len(list) > 1 && list[1].text == "recursive" {
		head, end = "with recursive ", list[1].end
	}
	return head + strings.Join(b.views, ",\n") + ",\n" + strings.TrimLeft(sql[end:], " \t\r\n"), nil
}

// view returns how a view begins, with the names of its columns where it needs
// them, and its query; nothing when there is no such view.
func (b *builder) view(name string) (header, body string, err error) {
	s := b.options.Settings
	switch name {
	case "recent_calls":
		return name, b.calls(b.usesFrom, noService), nil
	case "data_calls":
		return name, b.calls(b.usesFrom, noService, noCopy, ofData), nil
	case "calls_of_weeks":
		return name, b.calls(b.usesFrom.Add(-hoursKept), noService, noCopy, ofKeys), nil
	case "calls_of_months":
		return name, b.calls(b.usesFrom.Add(-daysKept).Truncate(24*time.Hour), noCopy, ofKeys), nil
	case "all_calls":
		return name, b.calls(time.Time{}, noService, ofKeys), nil
	case "control_events":
		return name, b.changes(b.controlFrom), nil
	case "key_changes":
		return name, b.changes(time.Time{}, "event_source = 'kms.amazonaws.com'", "outcome = 'ok'", "key_arn <> ''", "not read_only"), nil
	case "trail_changes":
		return name, b.changes(time.Time{}, "event_source = 'cloudtrail.amazonaws.com'", "outcome = 'ok'"), nil
	case "grant_changes":
		return name, b.changes(time.Time{}, "event_name in ('CreateGrant', 'RevokeGrant', 'RetireGrant')", "outcome = 'ok'", "grant_id <> ''"), nil
	case "alias_changes":
		return name, b.changes(time.Time{}, "event_name in ('CreateAlias', 'UpdateAlias', 'DeleteAlias')", "outcome = 'ok'", "alias_name <> ''"), nil
	case "events":
		// What the tables share is all that uses has.
		columns := names(analyzer.TableUses)
		return name, b.once(analyzer.TableUses, columns, b.usesFrom) + "\nunion all\n" +
			b.once(analyzer.TableControl, columns, b.controlFrom), nil
	case "seen":
		return name, b.raw(analyzer.TableUses, "account, event_time", time.Time{}) + "\nunion all\n" +
			b.raw(analyzer.TableControl, "account, event_time", time.Time{}), nil
	case "seen_principals":
		return name, b.raw(analyzer.TableUses, "principal", time.Time{}, noService) + "\nunion\n" +
			b.raw(analyzer.TableControl, "principal", time.Time{}), nil
	case "organisation", "partners", "regions", "organisation_ids", "tier0_keys", "role_patterns", "allowed_keys", "allow_patterns":
		header, body, err = lists(name, s)
		return header, body, err
	case "roles":
		if len(s.Roles.IaC)+len(s.Roles.Scanners)+len(s.Roles.Routine) == 0 {
			header, body, err = values(name, []string{"kind", "principal_pattern"}, nil)
			return header, body, err
		}
	case "key_allow":
		if len(s.KeyAllow) == 0 {
			header, body, err = values(name, []string{"key_arn", "alias_name", "account", "principal_pattern"}, nil)
			return header, body, err
		}
	}
	text, err := viewFiles.ReadFile("views/" + name + ".sql")
	if err != nil {
		return "", "", nil //nolint:nilerr // there is no such view, which is no error here
	}
	return name, string(text), nil
}

// calls are events of uses with the 5 minutes that each is in.
func (b *builder) calls(from time.Time, conditions ...string) string {
	return "select\n  " + callColumns + ",\n" +
		"  date_trunc('hour', event_time) + interval '5' minute * (minute(event_time) / 5) as slot\n" +
		"from (\n" + indent(b.once(analyzer.TableUses, callColumns, from, conditions...)) + "\n) calls"
}

// changes are events of control with all that is known of them.
func (b *builder) changes(from time.Time, conditions ...string) string {
	return b.once(analyzer.TableControl, names(analyzer.TableControl), from, conditions...)
}

// once selects events of a table, each once, whatever brought it twice. Copies
// of an event say the same, so conditions may come first, and spare the engine
// from telling copies of what is not wanted apart. Of control's few events the
// earliest copy counts. Of the mass it is any: with an order the engine would
// have to hold all rows until the last is read, and so it only holds their ids.
func (b *builder) once(table analyzer.Table, columns string, from time.Time, conditions ...string) string {
	order := ""
	if table == analyzer.TableControl {
		order = " order by event_time"
	}
	numbered := b.raw(table, columns+",\n  row_number() over (partition by account, event_id"+order+") as copy_number", from, conditions...)
	return "select " + columns + "\nfrom (\n" + indent(numbered) + "\n) copies\nwhere copy_number = 1"
}

// raw selects from a table of the lake as it is; a zero from has no beginning.
// The days let the engine leave whole partitions unread.
func (b *builder) raw(table analyzer.Table, columns string, from time.Time, conditions ...string) string {
	last := b.options.Until.Add(-time.Millisecond)
	where := []string{"day <= " + date(last), "event_time < " + timestamp(b.options.Until)}
	if !from.IsZero() {
		where = append(where, "day >= "+date(from), "event_time >= "+timestamp(from))
	}
	b.note(table, from, last)
	return "select " + columns + "\nfrom " + b.options.Schema + `."` + string(table) + "\"\nwhere " +
		strings.Join(append(where, conditions...), "\n  and ")
}

// note adds to the days that the statement reads.
func (b *builder) note(table analyzer.Table, from, last time.Time) {
	const day = 24 * time.Hour
	days, known := b.reads[table]
	switch {
	case from.IsZero():
		days.From = time.Time{}
	case !known, !days.From.IsZero() && from.Before(days.From):
		days.From = from.UTC().Truncate(day)
	}
	days.To = last.UTC().Truncate(day)
	b.reads[table] = days
}

func names(table analyzer.Table) string {
	columns := lake.Columns(table)
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.Name
	}
	return strings.Join(list, ", ")
}

func indent(sql string) string { return "  " + strings.ReplaceAll(sql, "\n", "\n  ") }

// lists are the tables that carry the settings.
func lists(name string, s *analyzer.Settings) (header, body string, err error) {
	var columns []string
	var rows [][]any
	switch name {
	case "organisation":
		columns = []string{"account", "name", "sandbox"}
		for _, a := range s.Organisation {
			rows = append(rows, []any{a.ID, a.Name, a.Sandbox})
		}
	case "partners":
		columns = []string{"account", "name"}
		for _, a := range s.Partners {
			rows = append(rows, []any{a.ID, a.Name})
		}
	case "regions":
		columns = []string{"region"}
		for _, r := range s.Regions {
			rows = append(rows, []any{r})
		}
	case "organisation_ids":
		columns = []string{"org_id"}
		for _, id := range s.OrganisationIDs {
			rows = append(rows, []any{id})
		}
	case "tier0_keys":
		columns = []string{"key_arn", "alias_name", "account"}
		for _, k := range s.Tier0 {
			ref := settings.ParseKeyRef(k)
			rows = append(rows, []any{ref.ARN, ref.Alias, ref.Account})
		}
	case "role_patterns":
		columns = []string{"kind", "pattern"}
		for _, l := range []struct {
			kind     string
			patterns []string
		}{{"iac", s.Roles.IaC}, {"scanner", s.Roles.Scanners}, {"routine", s.Roles.Routine}} {
			for _, p := range l.patterns {
				rows = append(rows, []any{l.kind, settings.Like(p)})
			}
		}
	case "allowed_keys":
		columns = []string{"entry", "key_arn", "alias_name", "account"}
		for i, k := range s.KeyAllow {
			ref := settings.ParseKeyRef(k.Key)
			rows = append(rows, []any{i, ref.ARN, ref.Alias, ref.Account})
		}
	case "allow_patterns":
		columns = []string{"entry", "pattern"}
		for i, k := range s.KeyAllow {
			for _, p := range k.Principals {
				rows = append(rows, []any{i, settings.Like(p)})
			}
		}
	}
	return values(name, columns, rows)
}

// notText are the columns of lists that hold no text.
var notText = map[string]string{"sandbox": "boolean", "entry": "integer"}

// values writes rows as a table. Without rows it has the columns all the same.
func values(name string, columns []string, rows [][]any) (header, body string, err error) {
	header = name + " (" + strings.Join(columns, ", ") + ")"
	if len(rows) == 0 {
		nothing := make([]string, len(columns))
		for i, c := range columns {
			typ := "varchar"
			if t, ok := notText[c]; ok {
				typ = t
			}
			nothing[i] = "cast(null as " + typ + ")"
		}
		return header, "select " + strings.Join(nothing, ", ") + "\nwhere false", nil
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		cells := make([]string, len(row))
		for k, v := range row {
			if text, ok := v.(string); ok {
				if cells[k], err = quote(text); err != nil {
					return "", "", err
				}
				continue
			}
			cells[k] = fmt.Sprint(v) // a boolean or a number
		}
		lines[i] = "  (" + strings.Join(cells, ", ") + ")"
	}
	return header, "values\n" + strings.Join(lines, ",\n"), nil
}

// quote writes text as a SQL string. None of the engines knows escapes other
// than the doubled quote.
func quote(s string) (string, error) {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", errors.New("a text of the settings is not valid UTF-8, or has a NUL")
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'", nil
}
