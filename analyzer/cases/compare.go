package cases

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keytrail/keytrail/analyzer"
)

// Compare tells how findings differ from what is expected, for a person to
// read; "" when each expectation has a finding of its own and none is left.
func Compare(expect []Expect, got []analyzer.Finding) string {
	foundBy := pair(expect, got)
	taken := make([]bool, len(got))
	for _, i := range foundBy {
		if i >= 0 {
			taken[i] = true
		}
	}
	var b strings.Builder
	if len(expect) != len(got) {
		fmt.Fprintf(&b, "expected %s, found %d\n", count(len(expect), "finding"), len(got))
	}
	for i, e := range expect {
		if foundBy[i] >= 0 {
			continue
		}
		fmt.Fprintf(&b, "- expected %d of %d was not found: %s\n", i+1, len(expect), e)
		nearest, differences := -1, []string(nil)
		for j := range got {
			if d := e.differences(&got[j]); !taken[j] && (nearest < 0 || len(d) < len(differences)) {
				nearest, differences = j, d
			}
		}
		if nearest < 0 {
			continue
		}
		fmt.Fprintf(&b, "  nearest is %s\n", got[nearest].ID)
		for _, d := range differences {
			fmt.Fprintf(&b, "    %s\n", d)
		}
	}
	for i := range got {
		if !taken[i] {
			fmt.Fprintf(&b, "+ found but not expected: %s\n", show(&got[i]))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// pair gives each expectation a finding of its own where it can (-1 where
// not), as many as possible: an expectation that says little must not take the
// finding that a stricter one needs.
func pair(expect []Expect, got []analyzer.Finding) []int {
	foundBy := slices.Repeat([]int{-1}, len(expect))
	owner := slices.Repeat([]int{-1}, len(got))
	var place func(i int, tried []bool) bool
	place = func(i int, tried []bool) bool {
		for j := range got {
			if tried[j] || len(expect[i].differences(&got[j])) > 0 {
				continue
			}
			tried[j] = true
			if owner[j] < 0 || place(owner[j], tried) {
				owner[j], foundBy[i] = i, j
				return true
			}
		}
		return false
	}
	for i := range expect {
		place(i, make([]bool, len(got)))
	}
	return foundBy
}

// differences lists what keeps a finding from being the expected one.
func (e Expect) differences(f *analyzer.Finding) []string {
	var list []string
	differ := func(what, want, have string) {
		if want != have {
			list = append(list, fmt.Sprintf("%s: expected %s, found %s", what, want, have))
		}
	}
	if e.Severity != "" {
		differ("severity", e.Severity, f.Severity.String())
	}
	if e.Status != "" {
		differ("status", e.Status, string(f.Status))
	}
	for _, t := range []struct {
		what string
		want *string
		have string
	}{
		{"principal", e.Principal, f.Principal},
		{"key", e.Key, f.Key},
		{"account", e.Account, f.Account},
		{"region", e.Region, f.Region},
	} {
		if t.want != nil {
			differ(t.what, orNone(*t.want), orNone(t.have))
		}
	}
	if e.Count != nil {
		differ("count", fmt.Sprint(*e.Count), fmt.Sprint(f.Count))
	}
	if e.EventIDs != nil {
		differ("number of event ids", fmt.Sprint(*e.EventIDs), fmt.Sprint(len(f.EventIDs)))
	}
	for _, key := range sortedKeys(e.Entity) {
		differ("entity "+key, orNone(e.Entity[key]), orNone(f.Entity[key]))
	}
	for _, key := range sortedKeys(e.Evidence) {
		have, there := f.Evidence[key]
		if !there {
			list = append(list, fmt.Sprintf("evidence %s: expected %s, found none; there are %s", key, value(e.Evidence[key]), strings.Join(sortedKeys(f.Evidence), ", ")))
			continue
		}
		differ("evidence "+key, value(e.Evidence[key]), value(have))
	}
	return list
}

// String shows an expectation in one line.
func (e Expect) String() string {
	var parts []string
	add := func(what, v string) { parts = append(parts, what+" "+v) }
	if e.Severity != "" {
		add("severity", e.Severity)
	}
	if e.Status != "" {
		add("status", e.Status)
	}
	for _, t := range []struct {
		what string
		want *string
	}{{"principal", e.Principal}, {"key", e.Key}, {"account", e.Account}, {"region", e.Region}} {
		if t.want != nil {
			add(t.what, orNone(*t.want))
		}
	}
	if e.Count != nil {
		add("count", fmt.Sprint(*e.Count))
	}
	if e.EventIDs != nil {
		add("event ids", fmt.Sprint(*e.EventIDs))
	}
	for _, key := range sortedKeys(e.Entity) {
		add("entity "+key, orNone(e.Entity[key]))
	}
	for _, key := range sortedKeys(e.Evidence) {
		add("evidence "+key, value(e.Evidence[key]))
	}
	if len(parts) == 0 {
		return "any finding"
	}
	return strings.Join(parts, ", ")
}

// show describes a finding that nobody expected, with what an author needs to
// see why it is there.
func show(f *analyzer.Finding) string {
	parts := []string{f.ID, f.Severity.String(), string(f.Status), "at " + f.FirstTime.UTC().Format("2006-01-02T15:04:05Z")}
	if f.Principal != "" {
		parts = append(parts, "principal "+f.Principal)
	}
	if f.Key != "" {
		parts = append(parts, "key "+f.Key)
	}
	parts = append(parts, "count "+fmt.Sprint(f.Count))
	for _, key := range sortedKeys(f.Entity) {
		parts = append(parts, "entity "+key+" "+orNone(f.Entity[key]))
	}
	for _, key := range sortedKeys(f.Evidence) {
		parts = append(parts, "evidence "+key+" "+value(f.Evidence[key]))
	}
	return strings.Join(parts, ", ")
}

// value writes evidence so that what YAML and what the database gave compare:
// 5 and int64(5), lists item by item.
func value(v any) string {
	switch v := v.(type) {
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = value(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case []string:
		return "[" + strings.Join(v, ", ") + "]"
	case nil:
		return "none"
	case string:
		return orNone(v)
	case fmt.Stringer:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
