package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Silence keeps findings quiet: one of the settings, or one that a person
// asked for on an alert.
type Silence struct {
	analyzer.Silence
	Group string    `json:"group,omitempty"` // only this group; empty means any
	Actor string    `json:"actor,omitempty"` // who asked for it; empty for the settings
	At    time.Time `json:"at,omitzero"`     // when it was asked for
}

// by names whose silence it is.
func (s *Silence) by() string {
	switch {
	case s.Name != "":
		return s.Name
	case s.Actor != "":
		return s.Actor
	}
	return "settings"
}

func (s *Silence) reason() string {
	if s.Until.IsZero() {
		return "silenced by " + s.by()
	}
	return "silenced by " + s.by() + " until " + s.Until.UTC().Format("2006-01-02 15:04 UTC")
}

// Rules is what the settings say about alerts.
type Rules struct {
	// ReopenAfter is the quiet time after which a finding starts a new alert.
	ReopenAfter time.Duration
	Silences    []analyzer.Silence
	// KeyNames returns the aliases ("alias/name") of a key ARN. When nil,
	// silences that name a key by alias match nothing.
	KeyNames func(keyARN string) []string
}

// RulesOf takes the rules from the settings.
func RulesOf(s analyzer.Settings) Rules {
	s.Defaults()
	return Rules{ReopenAfter: s.Alerts.ReopenAfter, Silences: s.Silences}
}

// spaceSilences holds the silences that people asked for.
const spaceSilences = "silences"

// silencer tells which silence covers a finding.
type silencer struct {
	silences []Silence
	keyNames func(string) []string
}

// newSilencer gathers the silences of the settings and those of people, in a
// stable order.
func newSilencer(ctx context.Context, values analyzer.ValueStore, rules Rules) (*silencer, error) {
	s := &silencer{keyNames: rules.KeyNames}
	for _, one := range rules.Silences {
		s.silences = append(s.silences, Silence{Silence: one})
	}
	stored, err := values.List(ctx, spaceSilences)
	if err != nil {
		return nil, fmt.Errorf("read silences: %w", err)
	}
	names := make([]string, 0, len(stored))
	for name := range stored {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var one Silence
		if err := json.Unmarshal(stored[name], &one); err != nil {
			return nil, fmt.Errorf("read silence %s: %w", name, err)
		}
		s.silences = append(s.silences, one)
	}
	return s, nil
}

// covers returns the first silence that covers a finding, or nil. The time of
// the finding's last event counts, not that of the run: a replay of old logs is
// as quiet as those days were.
func (s *silencer) covers(detection, group string, f analyzer.FindingRef) *Silence {
	for i := range s.silences {
		if one := &s.silences[i]; s.match(one, detection, group, f) {
			return one
		}
	}
	return nil
}

func (s *silencer) match(one *Silence, detection, group string, f analyzer.FindingRef) bool {
	switch {
	case one.Group != "" && one.Group != group,
		one.Detection != "" && one.Detection != "*" && one.Detection != detection,
		one.Account != "" && one.Account != f.Account,
		one.Principal != "" && !matchPattern(one.Principal, f.Principal),
		one.Key != "" && !s.matchKey(one.Key, f.Key),
		f.LastTime.Before(one.From),
		!one.Until.IsZero() && !f.LastTime.Before(one.Until):
		return false
	}
	return true
}

// matchKey tells whether a key is meant: by ARN (with *), key id, mrk- id,
// alias/name, or ACCOUNT:alias/name.
func (s *silencer) matchKey(want, arn string) bool {
	if arn == "" {
		return false
	}
	if account, alias, ok := strings.Cut(want, ":"); ok && strings.HasPrefix(alias, "alias/") && account != "arn" {
		parts := strings.Split(arn, ":") // arn:partition:kms:region:account:key/id
		return len(parts) > 4 && parts[4] == account && s.matchKey(alias, arn)
	}
	if strings.HasPrefix(want, "alias/") {
		return s.keyNames != nil && slices.Contains(s.keyNames(arn), want)
	}
	_, id, _ := strings.Cut(arn, ":key/")
	return want == id || matchPattern(want, arn)
}

// matchPattern matches text against a pattern in which * stands for any run of
// characters.
func matchPattern(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok || len(parts) == 1 {
		return ok && rest == ""
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(rest, last)
}
