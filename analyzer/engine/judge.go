package engine

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/settings"
)

// loadSettings fills the tables that carry the settings into SQL. Patterns are
// replaced by the principals of the hot events that they match, so that SQL
// compares for equality and no pattern language leaks into detections.
func (t *tick) loadSettings(ctx context.Context) error {
	s := t.cfg.Settings
	var b strings.Builder
	insert := func(table string, values ...string) {
		fmt.Fprintf(&b, "insert into %s values (%s);", table, strings.Join(values, ", "))
	}
	for _, a := range s.Organisation {
		insert("organisation", quote(a.ID), quote(a.Name), fmt.Sprint(a.Sandbox))
	}
	for _, a := range s.Partners {
		insert("partners", quote(a.ID), quote(a.Name))
	}
	for _, r := range s.Regions {
		insert("regions", quote(r))
	}
	for _, id := range s.OrganisationIDs {
		insert("organisation_ids", quote(id))
	}
	for _, k := range s.Tier0 {
		ref := settings.ParseKeyRef(k)
		insert("tier0_keys", quote(ref.ARN), quote(ref.Alias), quote(ref.Account))
	}
	b.WriteString(`create view accounts as
select coalesce(o.account, s.account, p.account) as account, s.first_time,
       o.account is not null or ((select count(*) from organisation) = 0 and s.account is not null and p.account is null) as ours,
       o.account is not null as listed, coalesce(o.name, p.name, '') as name, coalesce(o.sandbox, false) as sandbox,
       p.account is not null as partner
from organisation o
full join seen_accounts s on s.account = o.account
full join partners p on p.account = coalesce(o.account, s.account);
create view control_events as select * exclude (late) from control_all where late or event_time >= ` + timestamp(t.prev.ControlFrom))
	if err := t.exec(ctx, "load the settings", b.String()); err != nil {
		return err
	}
	return t.loadPatterns(ctx)
}

// loadPatterns writes, for each role list and key allow-list, the principals
// seen that it means.
func (t *tick) loadPatterns(ctx context.Context) error {
	s := t.cfg.Settings
	lists := []struct {
		kind     string
		patterns []string
	}{{"iac", s.Roles.IaC}, {"scanner", s.Roles.Scanners}, {"routine", s.Roles.Routine}}
	if len(s.KeyAllow) == 0 && len(s.Roles.IaC)+len(s.Roles.Scanners)+len(s.Roles.Routine) == 0 {
		return nil
	}
	var principals []string
	if err := t.rows(ctx, "list the principals", "select principal from principals union select principal from control_all",
		func(_ []string, v []any) error {
			principals = append(principals, v[0].(string))
			return nil
		}); err != nil {
		return err
	}
	var roles, allow [][]driver.Value
	for _, l := range lists {
		for _, p := range principals {
			if slices.ContainsFunc(l.patterns, func(pattern string) bool { return settings.Match(pattern, p) }) {
				roles = append(roles, []driver.Value{l.kind, p})
			}
		}
	}
	for _, k := range s.KeyAllow {
		ref := settings.ParseKeyRef(k.Key)
		matched := 0
		for _, p := range principals {
			if slices.ContainsFunc(k.Principals, func(pattern string) bool { return settings.Match(pattern, p) }) {
				matched++
				allow = append(allow, []driver.Value{ref.ARN, ref.Alias, ref.Account, p})
			}
		}
		if matched == 0 {
			// The key is listed even while nobody allowed has been seen.
			allow = append(allow, []driver.Value{ref.ARN, ref.Alias, ref.Account, ""})
		}
	}
	return errors.Join(t.add("load the roles", "roles", roles), t.add("load the allow-lists", "key_allow", allow))
}

// judge raises, lowers and suppresses findings by what the settings say.
type judge struct {
	settings *analyzer.Settings
	tier0    []settings.KeyRef
	sandbox  map[string]bool
	aliases  map[string][]aliasSpan // by key ARN
}

// aliasSpan is a time in which a key had an alias. A zero to means still.
type aliasSpan struct {
	name, account string
	from, to      time.Time
}

func (t *tick) newJudge(ctx context.Context) (*judge, error) {
	j := &judge{settings: t.cfg.Settings, sandbox: map[string]bool{}, aliases: map[string][]aliasSpan{}}
	for _, k := range t.cfg.Settings.Tier0 {
		j.tier0 = append(j.tier0, settings.ParseKeyRef(k))
	}
	for _, a := range t.cfg.Settings.Organisation {
		j.sandbox[a.ID] = a.Sandbox
	}
	err := t.rows(ctx, "read the aliases",
		"select key_arn, alias_name, account, valid_from, valid_to from aliases union all select key_arn, alias_name, '', first_time, null from key_names order by 1, 4, 2",
		func(_ []string, v []any) error {
			span := aliasSpan{name: v[1].(string), account: v[2].(string)}
			span.from, _ = v[3].(time.Time)
			span.to, _ = v[4].(time.Time)
			key := v[0].(string)
			j.aliases[key] = append(j.aliases[key], span)
			return nil
		})
	return j, err
}

// aliasesAt lists the aliases that a key had at a time, the newest last.
func (j *judge) aliasesAt(key string, at time.Time) []string {
	var names []string
	for _, s := range j.aliases[key] {
		if !s.from.After(at) && (s.to.IsZero() || s.to.After(at)) && !slices.Contains(names, s.name) {
			names = append(names, s.name)
		}
	}
	return names
}

// judge completes one finding: its key's alias, its severity, what hides it.
func (j *judge) judge(d *analyzer.Detection, f *analyzer.Finding) {
	aliases := j.aliasesAt(f.Key, f.LastTime)
	if len(aliases) > 0 {
		f.Evidence["key_alias"] = aliases[len(aliases)-1]
	}
	tier0 := f.Key != "" && slices.ContainsFunc(j.tier0, func(r settings.KeyRef) bool { return r.Matches(f.Key, aliases) })
	if o, ok := j.settings.Detections[d.ID]; ok && o.Severity != "" && f.Severity == d.Severity {
		if s, err := analyzer.ParseSeverity(o.Severity); err == nil {
			f.Severity = s
		}
	}
	if f.Status != analyzer.FindingLearning {
		if tier0 {
			f.Severity = f.Severity.Raise(1)
			f.Evidence["tier0"] = true
		}
		if j.sandbox[f.Account] {
			f.Severity = f.Severity.Raise(-1)
			f.Evidence["sandbox"] = true
		}
	}
	if f.Status != analyzer.FindingActive {
		return
	}
	// The detection itself knows what only it can tell, as that a stranger is a
	// partner.
	rule, _ := f.Evidence["suppressed_by"].(string)
	delete(f.Evidence, "suppressed_by")
	if rule == "" {
		rule = j.suppressed(d, f, tier0, aliases)
	}
	if rule != "" {
		f.Status, f.Suppression = analyzer.FindingSuppressed, rule
	}
}

// suppressed names the rule that hides a finding, or returns "". A tier-0 key
// switches infrastructure-as-code and change-window suppression off.
func (j *judge) suppressed(d *analyzer.Detection, f *analyzer.Finding, tier0 bool, aliases []string) string {
	is := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return settings.Match(p, f.Principal) })
	}
	for _, kind := range d.Suppress {
		switch kind {
		case "iac":
			if !tier0 && is(j.settings.Roles.IaC) {
				return "roles.iac"
			}
		case "scanner":
			if is(j.settings.Roles.Scanners) {
				return "roles.scanners"
			}
		case "routine":
			if is(j.settings.Roles.Routine) {
				return "roles.routine"
			}
		case "change_window":
			if tier0 {
				continue
			}
			for _, w := range j.settings.ChangeWindows {
				if settings.MatchChangeWindow(w, *f) {
					return "change window " + w.Name
				}
			}
		}
	}
	for _, s := range j.settings.Suppress {
		if settings.MatchSuppression(s, *f, aliases) {
			return "suppression " + s.Name
		}
	}
	return ""
}
