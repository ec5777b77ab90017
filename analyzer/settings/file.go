package settings

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/keytrail/keytrail/analyzer"
)

var (
	slackToken = regexp.MustCompile(`^xox[a-z](\.xox[a-z])?-`)
	// AKIA… and ASIA… are ids of access keys ("Unique identifiers" in the IAM guide).
	accessKey    = regexp.MustCompile(`\b(AKIA|ASIA)[A-Z2-7]{16}\b`)
	detectionID  = regexp.MustCompile(`^[A-Z]+-[A-Z][0-9]{2}$`)
	orgID        = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
	slackTarget  = regexp.MustCompile(`^(#[^\s#,:]{1,80}|[CGD][A-Z0-9]{7,})$`)
	mentionShape = regexp.MustCompile(`^(@?(here|channel)|[UWS][A-Z0-9]{5,20})$`)
	regionShape  = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
)

// settings reads the whole file. docs/settings.md has a table of the keys.
func (r *reader) settings(n ast.Node, s *analyzer.Settings) {
	accounts := map[string]string{} // id → where it stands
	r.mapping(n, "", fields{
		"organisation":     func(n ast.Node, key string) { s.Organisation = r.accounts(n, key, accounts, true) },
		"partners":         func(n ast.Node, key string) { s.Partners = r.accounts(n, key, accounts, false) },
		"organisation_ids": r.keepAll(&s.OrganisationIDs, checkShape(orgID, "an organisation id (o-exampleorg)")),
		"tier0_keys":       r.keepAll(&s.Tier0, checkKey),
		"key_allow":        func(n ast.Node, key string) { r.keyAllow(n, key, s) },
		"roles": func(n ast.Node, key string) {
			r.mapping(n, key, fields{
				"iac":      r.keepAll(&s.Roles.IaC, checkPrincipal),
				"scanners": r.keepAll(&s.Roles.Scanners, checkPrincipal),
				"routine":  r.keepAll(&s.Roles.Routine, checkPrincipal),
			})
		},
		"regions":        func(n ast.Node, key string) { r.regions(n, key, s) },
		"change_windows": func(n ast.Node, key string) { r.changeWindows(n, key, s) },
		"suppress":       func(n ast.Node, key string) { r.suppressions(n, key, s) },
		"silences":       func(n ast.Node, key string) { r.silences(n, key, s) },
		"detections":     func(n ast.Node, key string) { r.detectionSettings(n, key, s) },
		"alerts": func(n ast.Node, key string) {
			r.mapping(n, key, fields{"reopen_after": r.duration(&s.Alerts.ReopenAfter, time.Minute, 365*24*time.Hour)})
		},
		"slack": func(n ast.Node, key string) { r.slack(n, key, s) },
		// An event older than this may change what was already told; a day
		// bounds what has to be kept at hand.
		"lateness": r.duration(&s.Lateness, time.Minute, 24*time.Hour),
	})
}

// accounts reads a list of accounts, each a mapping or a bare id.
func (r *reader) accounts(n ast.Node, key string, seen map[string]string, ours bool) []analyzer.Account {
	var out []analyzer.Account
	r.list(n, key, func(n ast.Node, key string) {
		var a analyzer.Account
		at := n
		id := func(n ast.Node, key string) {
			at = n
			a.ID, _ = r.account(n, key)
		}
		switch n.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
			known := fields{"id": id, "name": r.keep(&a.Name, nil)}
			if ours {
				known["sandbox"] = r.boolean(&a.Sandbox)
			}
			before := len(r.problems)
			r.mapping(n, key, known)
			if a.ID == "" && len(r.problems) == before {
				r.fail(n, key, "has no id")
			}
		default:
			id(n, key)
		}
		if a.ID == "" {
			return
		}
		if where, twice := seen[a.ID]; twice {
			r.fail(at, key, "account %s is there already, in %s", a.ID, where)
			return
		}
		seen[a.ID] = key
		out = append(out, a)
	})
	return out
}

func (r *reader) keyAllow(n ast.Node, key string, s *analyzer.Settings) {
	seen := map[string]string{}
	r.list(n, key, func(n ast.Node, key string) {
		var k analyzer.KeyAllow
		before := len(r.problems)
		r.mapping(n, key, fields{"key": r.keep(&k.Key, checkKey), "principals": r.keepAll(&k.Principals, checkPrincipal)})
		switch where, twice := seen[k.Key]; {
		case len(r.problems) > before:
		case k.Key == "":
			r.fail(n, key, "has no key")
		case twice:
			r.fail(n, key, "key %s is there already, in %s", k.Key, where)
		case len(k.Principals) == 0:
			r.fail(n, key, "has no principals; a key that nobody may use needs no list")
		default:
			seen[k.Key] = key
			s.KeyAllow = append(s.KeyAllow, k)
		}
	})
}

func (r *reader) regions(n ast.Node, key string, s *analyzer.Settings) {
	r.keepAll(&s.Regions, checkShape(regionShape, "a Region (us-east-1)"))(n, key)
	known := map[string]bool{}
	for name := range strings.FieldsSeq(knownRegions) {
		known[name] = true
	}
	for i, name := range s.Regions {
		if !known[name] {
			r.warn(r.problem(n, fmt.Sprintf("%s[%d]", key, i), "this version does not know the Region %s; it is taken as written", name))
		}
	}
}

func (r *reader) changeWindows(n ast.Node, key string, s *analyzer.Settings) {
	names := map[string]string{}
	r.list(n, key, func(n ast.Node, key string) {
		var w analyzer.ChangeWindow
		before := len(r.problems)
		r.mapping(n, key, fields{
			"name": r.keep(&w.Name, nil), "from": r.time(&w.From), "to": r.time(&w.To),
			"accounts": r.accountIDs(&w.Accounts), "detections": r.keepAll(&w.Detections, r.checkDetection),
		})
		switch {
		case len(r.problems) > before:
			return
		case w.From.IsZero() || w.To.IsZero():
			r.fail(n, key, "needs from and to")
			return
		case !w.From.Before(w.To):
			r.fail(n, key, "from (%s) is not before to (%s)", w.From.Format(time.RFC3339), w.To.Format(time.RFC3339))
			return
		}
		if r.named(n, key, w.Name, names) {
			s.ChangeWindows = append(s.ChangeWindows, w)
		}
	})
}

// named notes a problem for a rule without a name or with one that is taken.
// The name is what people see where the rule hid something.
func (r *reader) named(n ast.Node, key, name string, taken map[string]string) bool {
	if name == "" {
		r.fail(n, key, "has no name; it is shown where this hides something")
		return false
	}
	if where, twice := taken[name]; twice {
		r.fail(n, key, "the name %q is taken by %s", shorten(name), where)
		return false
	}
	taken[name] = key
	return true
}

func (r *reader) accountIDs(to *[]string) func(ast.Node, string) {
	return func(n ast.Node, key string) {
		r.list(n, key, func(n ast.Node, key string) {
			if id, ok := r.account(n, key); ok {
				*to = append(*to, id)
			}
		})
	}
}

func (r *reader) accountID(to *string) func(ast.Node, string) {
	return func(n ast.Node, key string) { *to, _ = r.account(n, key) }
}

// anyDetection is checkDetection for rules that may be about all.
func (r *reader) anyDetection(id string) error {
	if id == "*" {
		return nil
	}
	return r.checkDetection(id)
}

func (r *reader) suppressions(n ast.Node, key string, s *analyzer.Settings) {
	names := map[string]string{}
	r.list(n, key, func(n ast.Node, key string) {
		var x analyzer.Suppression
		before := len(r.problems)
		r.mapping(n, key, fields{
			"name": r.keep(&x.Name, nil), "detection": r.keep(&x.Detection, r.anyDetection), "account": r.accountID(&x.Account),
			"principal": r.keep(&x.Principal, checkPrincipal), "key": r.keep(&x.Key, checkKeyPattern),
			"until": r.time(&x.Until), "reason": r.keep(&x.Reason, nil),
		})
		switch {
		case len(r.problems) > before:
			return
		case (x.Detection == "" || x.Detection == "*") && x.Account == "" && x.Principal == "" && x.Key == "":
			r.fail(n, key, "would hide every finding; name a detection, an account, a principal or a key")
			return
		case x.Reason == "":
			r.fail(n, key, "has no reason; whoever reviews what is hidden needs one")
			return
		}
		if r.named(n, key, x.Name, names) {
			s.Suppress = append(s.Suppress, x)
		}
	})
}

func (r *reader) silences(n ast.Node, key string, s *analyzer.Settings) {
	names := map[string]string{}
	r.list(n, key, func(n ast.Node, key string) {
		var x analyzer.Silence
		before := len(r.problems)
		r.mapping(n, key, fields{
			"name": r.keep(&x.Name, nil), "detection": r.keep(&x.Detection, r.anyDetection), "account": r.accountID(&x.Account),
			"principal": r.keep(&x.Principal, checkPrincipal), "key": r.keep(&x.Key, checkKeyPattern),
			"from": r.time(&x.From), "until": r.time(&x.Until), "reason": r.keep(&x.Reason, nil),
		})
		switch {
		case len(r.problems) > before:
			return
		case x.Until.IsZero():
			r.fail(n, key, "has no until; to hide something for good, use suppress")
			return
		case !x.From.Before(x.Until):
			r.fail(n, key, "from (%s) is not before until (%s)", x.From.Format(time.RFC3339), x.Until.Format(time.RFC3339))
			return
		}
		if r.named(n, key, x.Name, names) {
			s.Silences = append(s.Silences, x)
		}
	})
}

func (r *reader) detectionSettings(n ast.Node, key string, s *analyzer.Settings) {
	list, _ := r.entries(n, key)
	s.Detections = map[string]analyzer.DetectionSettings{}
	for _, e := range list {
		at := join(key, e.name)
		if err := r.checkDetection(e.name); err != nil {
			r.fail(e.node, at, "%v", err)
			continue
		}
		if isNull(e.value) {
			continue
		}
		var d analyzer.DetectionSettings
		r.mapping(e.value, at, fields{
			"enabled": func(n ast.Node, key string) {
				d.Enabled = new(bool)
				r.boolean(d.Enabled)(n, key)
			},
			"status": r.keep(&d.Status, func(s string) error {
				if s != string(analyzer.DetectionActive) && s != string(analyzer.DetectionStaged) {
					return fmt.Errorf("%q is not active or staged", shorten(s))
				}
				return nil
			}),
			"severity": r.keep(&d.Severity, checkSeverity),
			"params":   func(n ast.Node, key string) { d.Params = r.params(n, key, e.name) },
		})
		s.Detections[e.name] = d
	}
}

// params reads parameters and brings them to the types that the detection's own
// have: int64, float64, string, bool, time.Duration or []string.
func (r *reader) params(n ast.Node, key, id string) map[string]any {
	out := map[string]any{}
	list, _ := r.entries(n, key)
	own := r.detections[id].Params
	for _, e := range list {
		at := join(key, e.name)
		if isNull(e.value) {
			r.fail(e.node, at, "is empty")
			continue
		}
		if _, known := own[e.name]; !known && r.detections != nil {
			if len(own) == 0 {
				r.fail(e.node, at, "%s has no parameters", id)
			} else {
				r.fail(e.node, at, "%s has no such parameter%s", id, didYouMean(e.name, own))
			}
			continue
		}
		v, ok := r.value(e.value, at)
		if !ok {
			continue
		}
		if r.detections != nil {
			var err error
			if v, err = sameType(own[e.name], v); err != nil {
				r.fail(e.value, at, "%v", err)
				continue
			}
		}
		out[e.name] = v
	}
	return out
}

// sameType brings a given value to the type of the detection's own.
func sameType(own, given any) (any, error) {
	switch own.(type) {
	case int, int64, uint64:
		if v, ok := given.(int64); ok {
			return v, nil
		}
		return nil, fmt.Errorf("must be a whole number, not %s", describeValue(given))
	case float64:
		switch v := given.(type) {
		case int64:
			return float64(v), nil
		case float64:
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				return v, nil
			}
		}
		return nil, fmt.Errorf("must be a number, not %s", describeValue(given))
	case bool:
		if v, ok := given.(bool); ok {
			return v, nil
		}
		return nil, fmt.Errorf("must be true or false, not %s", describeValue(given))
	case time.Duration:
		s, ok := given.(string)
		if !ok {
			return nil, fmt.Errorf("must be a duration with a unit, as in 30m, 2h or 7d, not %s", describeValue(given))
		}
		return ParseDuration(s)
	case []string, []any:
		if v, ok := given.([]string); ok {
			return v, nil
		}
		return nil, fmt.Errorf("must be a list of text, not %s", describeValue(given))
	case string:
		if v, ok := given.(string); ok {
			return v, nil
		}
		return nil, fmt.Errorf("must be text, not %s", describeValue(given))
	}
	return given, nil
}

func describeValue(v any) string {
	switch v.(type) {
	case int64:
		return "a whole number"
	case float64:
		return "a number"
	case bool:
		return "a boolean"
	case []string:
		return "a list"
	}
	return "text"
}

func (r *reader) slack(n ast.Node, key string, s *analyzer.Settings) {
	r.mapping(n, key, fields{
		"channel": r.keep(&s.Slack.Channel, checkShape(slackTarget, aChannel)),
		"channels": func(n ast.Node, key string) {
			s.Slack.Channels = r.bySeverity(n, key, true, checkShape(slackTarget, aChannel))
		},
		"mentions": func(n ast.Node, key string) {
			s.Slack.Mentions = r.bySeverity(n, key, false, checkMention)
			for severity, whom := range s.Slack.Mentions {
				s.Slack.Mentions[severity] = strings.TrimPrefix(whom, "@")
			}
		},
		"runbook_url": r.keep(&s.Slack.RunbookURL, func(s string) error {
			u, err := url.Parse(s)
			if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
				return fmt.Errorf("%q is not an https:// address", shorten(s))
			}
			return nil
		}),
	})
}

const aChannel = `a channel: "#name" in quotes, or an id (C0123456789)`

// bySeverity reads a mapping whose keys are severities, or account ids too.
func (r *reader) bySeverity(n ast.Node, key string, accounts bool, check func(string) error) map[string]string {
	out := map[string]string{}
	list, _ := r.entries(n, key)
	for _, e := range list {
		at := join(key, e.name)
		switch {
		case accounts && strings.Trim(e.name, "0123456789") == "":
			if _, ok := r.account(e.node, at); !ok {
				continue
			}
		case checkSeverity(e.name) != nil && accounts:
			r.fail(e.node, at, "%q is not a severity (critical, high, medium, low, info) or an account id", shorten(e.name))
			continue
		case checkSeverity(e.name) != nil:
			r.fail(e.node, at, "%v", checkSeverity(e.name))
			continue
		}
		if isNull(e.value) {
			r.fail(e.node, at, `is empty; after # YAML reads a comment, so write "#name" in quotes`)
			continue
		}
		var v string
		r.keep(&v, check)(e.value, at)
		out[e.name] = v
	}
	return out
}

// checkMention takes what the Slack adapter can show as a mention.
func checkMention(s string) error {
	if !mentionShape.MatchString(s) {
		return fmt.Errorf("%q is not here, channel, or the id of a user (U…, W…) or user group (S…)", shorten(s))
	}
	return nil
}

func checkShape(shape *regexp.Regexp, what string) func(string) error {
	return func(s string) error {
		if !shape.MatchString(s) {
			return fmt.Errorf("%q is not %s", shorten(s), what)
		}
		return nil
	}
}

func checkSeverity(s string) error {
	_, err := analyzer.ParseSeverity(s)
	return err
}

// checkDetection looks an id up in the catalogue, or checks its shape when there
// is none at hand.
func (r *reader) checkDetection(id string) error {
	if r.detections == nil {
		return checkShape(detectionID, "a detection id (KMS-D01)")(id)
	}
	if _, ok := r.detections[id]; ok {
		return nil
	}
	hint := ""
	if up := strings.ToUpper(id); slices.Contains(slices.Collect(maps.Keys(r.detections)), up) {
		hint = "; did you mean " + up + "?"
	}
	return fmt.Errorf("there is no detection %q%s (keytrail detections list shows them)", shorten(id), hint)
}

// checkPrincipal takes what the principal column of an event can be, with * for
// any run of characters.
func checkPrincipal(p string) error {
	parts := strings.SplitN(p, ":", 6)
	switch {
	case strings.Trim(p, "*") == "":
		return fmt.Errorf("%q would mean everybody; name an ARN, where * may stand for a part", p)
	case strings.ContainsAny(p, " \t\n"):
		return fmt.Errorf("%q has a blank in it", shorten(p))
	case isAccount(p), strings.HasSuffix(p, ".amazonaws.com"), strings.HasPrefix(p, "*"):
		return nil
	case parts[0] != "arn":
		return fmt.Errorf("%q is not an ARN (arn:aws:iam::111122223333:role/name), an account id or a service (name.amazonaws.com)", shorten(p))
	case strings.Contains(p, ":assumed-role/"):
		return fmt.Errorf("%q is a session; name its role, as in arn:aws:iam::111122223333:role/name, which stands for all its sessions", shorten(p))
	case len(parts) < 6 && !strings.Contains(p, "*"):
		return fmt.Errorf("%q has too few parts for an ARN; they look like arn:aws:iam::111122223333:role/name", shorten(p))
	case len(parts) == 6 && !strings.Contains(parts[4], "*") && !isAccount(parts[4]):
		return fmt.Errorf("%q has no account id of 12 digits in its place", shorten(p))
	}
	return nil
}

// checkKey takes a key reference without wildcards.
func checkKey(s string) error {
	if strings.Contains(s, "*") {
		return fmt.Errorf("%q has a *; name each key, or an alias", shorten(s))
	}
	return checkKeyPattern(s)
}

func checkKeyPattern(s string) error {
	if ParseKeyRef(s) == (KeyRef{}) {
		return fmt.Errorf("%q is not a key ARN, mrk- id, alias/name or ACCOUNT:alias/name", shorten(s))
	}
	return nil
}

// knownRegions are the Regions of AWS's three public partitions; an unknown one
// is only warned of, as AWS opens new ones.
const knownRegions = `af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2
	ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7
	ca-central-1 ca-west-1 cn-north-1 cn-northwest-1 eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2
	eu-west-1 eu-west-2 eu-west-3 eusc-de-east-1 il-central-1 me-central-1 me-south-1 mx-central-1 sa-east-1
	us-east-1 us-east-2 us-gov-east-1 us-gov-west-1 us-west-1 us-west-2`
