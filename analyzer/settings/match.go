package settings

import (
	"slices"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Match tells whether s matches a pattern of the settings. In a pattern * stands
// for any run of characters, the empty one and ones with : and / included; all
// other characters, ? too, stand for themselves. Case counts, and the whole of s
// has to match.
func Match(pattern, s string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	s, ok := strings.CutPrefix(s, first)
	if !ok || !wild {
		return ok && s == ""
	}
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], next
	}
}

// Like writes a pattern of the settings for SQL: it means with LIKE … ESCAPE '\'
// what Match means. The result is a value, not a literal: it still has to be
// quoted.
func Like(pattern string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "*", "%").Replace(pattern)
}

// KeyRef is a reference to a key as people write it. The zero value refers to
// none.
type KeyRef struct {
	// ARN is a key ARN, which may have * in rules that hide, or the mrk- id of
	// a multi-Region key, which means all its replicas.
	ARN string
	// Alias is an alias/name: the key that it points to at the time.
	Alias string
	// Account narrows an alias to one account; empty means any.
	Account string
	// Region narrows an alias that was written as an ARN; empty means any.
	Region string
}

// ParseKeyRef reads a key ARN, an mrk- id, alias/name, ACCOUNT:alias/name or an
// alias ARN. The result is the zero KeyRef when s is none of them.
func ParseKeyRef(s string) KeyRef {
	if account, alias, ok := strings.Cut(s, ":"); ok && isAccount(account) && isAlias(alias) {
		return KeyRef{Alias: alias, Account: account}
	}
	if isAlias(s) {
		return KeyRef{Alias: s}
	}
	if id, ok := strings.CutPrefix(s, "mrk-"); ok && id != "" && strings.Trim(id, "0123456789abcdef") == "" {
		return KeyRef{ARN: s}
	}
	parts := strings.SplitN(s, ":", 6) // arn:partition:kms:region:account:key/id
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "kms" || parts[1] == "" || parts[3] == "" {
		return KeyRef{}
	}
	if parts[4] != "*" && !isAccount(parts[4]) {
		return KeyRef{}
	}
	if id, ok := strings.CutPrefix(parts[5], "key/"); ok && id != "" && plainName(id, "-*") {
		return KeyRef{ARN: s}
	}
	if isAlias(parts[5]) && isAccount(parts[4]) && !strings.Contains(parts[3], "*") {
		return KeyRef{Alias: parts[5], Account: parts[4], Region: parts[3]}
	}
	return KeyRef{}
}

// isAlias tells whether s is an alias name as KMS takes it: letters, digits and
// / _ - after alias/.
func isAlias(s string) bool {
	name, ok := strings.CutPrefix(s, "alias/")
	return ok && name != "" && len(s) <= 256 && plainName(name, "/_-")
}

// plainName tells whether s has ASCII letters, digits and the others only.
func plainName(s, others string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(others, c)
	})
}

// String writes the reference as ParseKeyRef reads it.
func (k KeyRef) String() string {
	switch {
	case k.Alias == "":
		return k.ARN
	case k.Region != "":
		return "arn:aws:kms:" + k.Region + ":" + k.Account + ":" + k.Alias
	case k.Account != "":
		return k.Account + ":" + k.Alias
	}
	return k.Alias
}

// Matches tells whether the reference means the key with this ARN and these
// aliases ("alias/name").
func (k KeyRef) Matches(keyARN string, aliases []string) bool {
	if keyARN == "" || k == (KeyRef{}) {
		return false
	}
	if k.Alias == "" {
		if strings.HasPrefix(k.ARN, "mrk-") {
			return strings.HasSuffix(keyARN, ":key/"+k.ARN)
		}
		return Match(k.ARN, keyARN)
	}
	parts := strings.SplitN(keyARN, ":", 6)
	if len(parts) != 6 || k.Account != "" && k.Account != parts[4] || k.Region != "" && k.Region != parts[3] {
		return false
	}
	return slices.Contains(aliases, k.Alias)
}

// MatchSuppression tells whether a suppression hides the finding. aliases are
// those of the finding's key.
func MatchSuppression(s analyzer.Suppression, f analyzer.Finding, aliases []string) bool {
	return about(s.Detection, s.Account, s.Principal, s.Key, f, aliases) && during(time.Time{}, s.Until, f)
}

// MatchSilence tells whether a silence keeps the finding quiet. aliases are
// those of the finding's key.
func MatchSilence(s analyzer.Silence, f analyzer.Finding, aliases []string) bool {
	return about(s.Detection, s.Account, s.Principal, s.Key, f, aliases) && during(s.From, s.Until, f)
}

// MatchChangeWindow tells whether the finding falls into a change window.
// Whether its detection allows change windows at all is its own say.
func MatchChangeWindow(w analyzer.ChangeWindow, f analyzer.Finding) bool {
	return (len(w.Accounts) == 0 || slices.Contains(w.Accounts, f.Account)) &&
		(len(w.Detections) == 0 || slices.Contains(w.Detections, f.Detection)) &&
		during(w.From, w.To, f)
}

// during tells whether the finding's last event is in [from, until); a zero
// bound is none.
func during(from, until time.Time, f analyzer.Finding) bool {
	return !f.LastTime.Before(from) && (until.IsZero() || f.LastTime.Before(until))
}

func about(detection, account, principal, key string, f analyzer.Finding, aliases []string) bool {
	return (detection == "" || detection == "*" || detection == f.Detection) &&
		(account == "" || account == f.Account) &&
		(principal == "" || Match(principal, f.Principal)) &&
		(key == "" || ParseKeyRef(key).Matches(f.Key, aliases))
}
