package slack

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keytrail/keytrail/analyzer"
)

// Notice is an alert with everything a person is told about it, in words. Its
// fields may hold text that an attacker wrote: Render treats all of them so.
type Notice struct {
	Alert analyzer.Alert

	What    string // one sentence: what happened
	AtRisk  string // which data, and how
	Changed string // before and after, when something was changed
	Do      string // what to look at and do
	// Undo is a command line, ready to paste; UndoNote says what to fill in, or
	// why there is none.
	Undo       string
	UndoNote   string
	RunbookURL string // from the settings, never from a log

	Who         string // the principal and the person behind it
	From        string // address, network, client
	KeyAlias    string
	AccountName string
	Partner     string // name of the partner whose account it is, or empty
	Facts       []Fact // the rest of the evidence
}

// Fact is one named value of the evidence.
type Fact struct{ Name, Value string }

// Names says how things are called. Each function may be nil and returns ""
// for what it does not know.
type Names struct {
	Account  func(id string) string     // name of an account
	KeyAlias func(keyARN string) string // alias/… as of now
	Partner  func(account string) string
	// RunbookBase is where infra/runbooks is published, from
	// analyzer.SlackSettings.RunbookURL; empty means no links.
	RunbookBase string
}

// NamesOf returns the names that the settings give.
func NamesOf(s *analyzer.Settings) Names {
	name := func(accounts []analyzer.Account) func(string) string {
		return func(id string) string {
			i := slices.IndexFunc(accounts, func(acc analyzer.Account) bool { return acc.ID == id })
			if i < 0 {
				return ""
			}
			return accounts[i].Name
		}
	}
	ours, partners := name(s.Organisation), name(s.Partners)
	return Names{
		Account: func(id string) string { return cmp.Or(ours(id), partners(id)) },
		Partner: partners, RunbookBase: s.Slack.RunbookURL,
	}
}

// MentionsOf returns whom the settings call for each severity.
func MentionsOf(s *analyzer.Settings) (map[analyzer.Severity]string, error) {
	mentions := map[analyzer.Severity]string{}
	for name, whom := range s.Slack.Mentions {
		severity, err := analyzer.ParseSeverity(name)
		if err != nil {
			return nil, fmt.Errorf("slack.mentions: %w", err)
		}
		mentions[severity] = whom
	}
	return mentions, nil
}

func call(f func(string) string, s string) string {
	if f == nil || s == "" {
		return ""
	}
	return f(s)
}

// runbooks names the page of each family, by the letter in its ids.
var runbooks = map[byte]string{
	'D': "destruction.md", 'P': "policy.md", 'G': "grants.md", 'U': "use.md", 'A': "audit.md",
	'I': "access.md", 'O': "origin.md", 'C': "correlation.md",
}

// RunbookURL joins the page and the anchor of a detection to base: KMS-D01 is
// BASE/destruction.md#kms-d01. It returns "" without a base, for an id of
// unknown shape, and for a base that is not an http address.
func RunbookURL(base, detection string) string {
	letter, ok := strings.CutPrefix(detection, "KMS-")
	if !ok || len(letter) != 3 || !plainArgument(letter) || runbooks[letter[0]] == "" ||
		!strings.HasPrefix(base, "https://") && !strings.HasPrefix(base, "http://") {
		return ""
	}
	return strings.TrimSuffix(base, "/") + "/" + runbooks[letter[0]] + "#" + strings.ToLower(detection)
}

// BuildNotice writes the notice of an alert from its detection's templates.
//
// Placeholders stand for: columns of the evidence and the entity; account,
// region, principal, key_arn (also key), count (also event_count), first_time,
// last_time, title, severity, detection of the alert; and the names
// account_name, principal_name, key_name (alias, or the key's id). A placeholder without a
// value is said to be unknown in a sentence, and left to be filled in, in
// capitals, in a command.
func BuildNotice(alert analyzer.Alert, det analyzer.Detection, names Names) Notice {
	ev := evidence{alert: alert, names: names}
	n := Notice{
		Alert:       alert,
		What:        fillProse(det.Summary, ev.lookup),
		AtRisk:      fillProse(det.AtRisk, ev.lookup),
		Changed:     ev.changed(),
		Do:          fillProse(firstParagraph(det.Runbook), ev.lookup),
		RunbookURL:  RunbookURL(names.RunbookBase, alert.Detection),
		Who:         ev.who(),
		From:        ev.from(),
		KeyAlias:    ev.keyAlias(),
		AccountName: call(names.Account, alert.Account),
		Partner:     call(names.Partner, ev.text("principal_account")),
		Facts:       ev.facts(det.Summary + det.AtRisk),
	}
	if n.Partner == "" {
		n.Partner = call(names.Partner, ev.text("grantee_account"))
	}
	if n.What == "" {
		n.What = clean(alert.Title, maxValue) + "."
	}
	var missing []string
	n.Undo, missing, n.UndoNote = fillCommand(det.Undo, ev.lookup)
	if len(missing) > 0 {
		n.UndoNote = "Fill in " + strings.Join(missing, " and ") + ": the log does not say."
	}
	return n
}

// firstParagraph is as much of a runbook as a message has room for; the link
// leads to the rest.
func firstParagraph(s string) string {
	p, _, _ := strings.Cut(strings.TrimSpace(s), "\n\n")
	return p
}

// keyData is a digest of what must not change unnoticed in a thread.
func (n Notice) keyData() string {
	return digestOf(n.Alert.Principal, n.Alert.Key, n.Alert.Account, n.Alert.Region, n.Changed)
}

func digestOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return hex.EncodeToString(h.Sum(nil)[:10])
}

// evidence looks things up in an alert.
type evidence struct {
	alert analyzer.Alert
	names Names
}

// raw finds a column: what the finding says, then what the alert says.
func (e evidence) raw(name string) any {
	if v, ok := e.alert.Latest.Evidence[name]; ok && v != nil {
		return v
	}
	if v, ok := e.alert.Latest.Entity[name]; ok && v != "" {
		return v
	}
	if v, ok := e.alert.Entity[name]; ok && v != "" {
		return v
	}
	a := e.alert
	switch name {
	case "account":
		return a.Account
	case "region":
		return a.Region
	case "principal":
		return a.Principal
	case "key_arn", "key":
		return a.Key
	case "count", "event_count":
		return a.Count
	case "first_time":
		return a.FirstTime
	case "last_time":
		return a.LastTime
	case "window_start":
		return a.Latest.WindowStart
	case "window_end":
		return a.Latest.WindowEnd
	case "title":
		return a.Title
	case "severity":
		return a.Severity.String()
	case "detection":
		return a.Detection
	case "alert", "alert_id":
		return a.ID
	}
	return nil
}

func (e evidence) text(name string) string { return textOf(e.raw(name)) }

// lookup resolves a placeholder.
func (e evidence) lookup(name string) (value, bool) {
	switch name {
	case "account_name":
		if s := call(e.names.Account, e.alert.Account); s != "" {
			return value{text: s, prose: clean(s, maxValue)}, true
		}
		name = "account"
	case "key_name":
		if s := e.keyAlias(); s != "" {
			return value{text: s, prose: quoteProse(s)}, true
		}
		if s := shortKey(e.alert.Key); s != "" {
			return value{text: s, prose: quoteProse(s)}, true
		}
		return value{}, false
	case "principal_name":
		if s := e.text("principal_name"); s != "" {
			return value{text: s, prose: quoteProse(s)}, true
		}
		s := shortPrincipal(e.alert.Principal)
		return value{text: s, prose: quoteProse(s)}, s != ""
	}
	raw := e.raw(name)
	v := value{text: textOf(raw), prose: proseOf(raw)}
	return v, v.prose != "" || v.text != ""
}

// keyAlias is the alias to call the key by: as named by the settings or the
// memory, else as the log wrote it.
func (e evidence) keyAlias() string {
	if s := call(e.names.KeyAlias, e.alert.Key); s != "" {
		return s
	}
	for _, col := range []string{"key_alias", "alias_name"} {
		if s := e.text(col); s != "" {
			return s
		}
	}
	return ""
}

// who says who did it, and which person is behind a role.
func (e evidence) who() string {
	name, _ := e.lookup("principal_name")
	kind := e.text("principal_type")
	if kind == "" {
		kind = kindOf(e.alert.Principal)
	}
	var b strings.Builder
	switch kind {
	case "role", "user", "service":
		fmt.Fprintf(&b, "%s %s", kind, name.prose)
	case "root":
		account := proseOf(e.raw("principal_account"))
		if account == "" {
			account = proseOf(e.alert.Account)
		}
		fmt.Fprintf(&b, "root of account %s", account)
	case "account":
		fmt.Fprintf(&b, "account %s", proseOf(e.alert.Principal))
	default:
		b.WriteString(name.prose)
	}
	if p := e.text("person"); p != "" && p != name.text {
		fmt.Fprintf(&b, ", person %s", quoteProse(p))
	} else if s := e.text("session_name"); s != "" && s != name.text {
		fmt.Fprintf(&b, ", session %s", quoteProse(s))
	}
	if s := e.text("invoked_by"); s != "" {
		fmt.Fprintf(&b, ", through %s", quoteProse(s))
	}
	if e.text("mfa") == "false" {
		b.WriteString(", without MFA")
	}
	return strings.TrimPrefix(b.String(), ", ")
}

// from says from where.
func (e evidence) from() string {
	var parts []string
	if s := proseOf(e.raw("source_ip")); s != "" {
		if net := e.text("network"); net == "public" || net == "private" {
			s += " (" + net + ")"
		}
		parts = append(parts, s)
	}
	if s := proseOf(e.raw("vpc_endpoint_id")); s != "" {
		parts = append(parts, "endpoint "+s)
	}
	if s := proseOf(e.raw("client")); s != "" {
		parts = append(parts, "with "+s)
	}
	if s := proseOf(e.raw("user_agent")); s != "" {
		parts = append(parts, "user agent "+s)
	}
	return strings.Join(parts, ", ")
}

// changed says what is different now, from a column that says it, or from
// pairs like policy_before and policy_after.
func (e evidence) changed() string {
	ev := e.alert.Latest.Evidence
	var parts []string
	for _, col := range []string{"changed", "change"} {
		if s := proseOf(ev[col]); s != "" {
			parts = append(parts, s)
		}
	}
	for _, p := range e.pairs() {
		before, after := proseOf(ev[p.before]), proseOf(ev[p.after])
		label := strings.ReplaceAll(p.name, "_", " ")
		if label != "" {
			label += ": "
		}
		switch {
		case before == "" && after == "":
		case before == "":
			parts = append(parts, label+after+" (new)")
		case after == "" && p.after == "":
			parts = append(parts, label+before+" (before)")
		case after == "":
			parts = append(parts, label+before+" (removed)")
		default:
			parts = append(parts, label+before+" → "+after)
		}
	}
	return strings.Join(parts, "; ")
}

// pair names two columns, what was and what is; either may be missing.
type pair struct{ name, before, after string }

// pairs finds the columns that belong together. Beside bucket_before stands
// bucket_after, or bucket, or one that begins with bucket_ or ends with _bucket.
func (e evidence) pairs() []pair {
	ev := e.alert.Latest.Evidence
	cols := slices.Sorted(maps.Keys(ev))
	var list []pair
	for _, col := range cols {
		base, isBefore := strings.CutSuffix(col, "before")
		if !isBefore {
			var isAfter bool
			if base, isAfter = strings.CutSuffix(col, "after"); !isAfter {
				continue
			}
			if _, both := ev[base+"before"]; both {
				continue // found from there
			}
		}
		if base != "" && !strings.HasSuffix(base, "_") {
			continue // "hereafter"
		}
		p := pair{name: strings.TrimSuffix(base, "_")}
		if !isBefore {
			p.after = col
			list = append(list, p)
			continue
		}
		p.before = col
		ranks := []func(string) bool{
			func(c string) bool { return c == base+"after" },
			func(c string) bool { return c == p.name },
			func(c string) bool { return base != "" && strings.HasPrefix(c, base) && c != col },
			func(c string) bool { return p.name != "" && strings.HasSuffix(c, "_"+p.name) },
		}
		for _, fits := range ranks {
			if i := slices.IndexFunc(cols, fits); i >= 0 {
				p.after = cols[i]
				break
			}
		}
		list = append(list, p)
	}
	return list
}

// told are the columns that have a line of their own in the message.
var told = map[string]bool{
	"account": true, "region": true, "principal": true, "principal_type": true, "principal_name": true,
	"person": true, "is_person": true, "session_name": true, "invoked_by": true, "mfa": true, "source_ip": true,
	"network": true, "vpc_endpoint_id": true, "client": true, "user_agent": true, "key_arn": true, "key_alias": true,
	"alias_name": true, "event_count": true, "event_ids": true, "first_time": true, "last_time": true,
	"window_start": true, "window_end": true, "lane": true, "severity": true, "learning": true, "changed": true, "change": true,
}

// facts lists the rest of the evidence in the order of its names: what the
// templates said already is left out.
func (e evidence) facts(templates string) []Fact {
	said := map[string]bool{}
	for _, m := range placeholder.FindAllStringSubmatch(templates, -1) {
		said[m[1]] = true
	}
	for _, p := range e.pairs() {
		said[p.before], said[p.after] = true, true
	}
	var list []Fact
	for _, name := range slices.Sorted(maps.Keys(e.alert.Latest.Evidence)) {
		if name == "" || told[name] || said[name] {
			continue
		}
		v := proseOf(e.alert.Latest.Evidence[name])
		if v == "" {
			continue
		}
		r, size := utf8.DecodeRuneInString(name)
		label := string(unicode.ToUpper(r)) + strings.ReplaceAll(name[size:], "_", " ")
		list = append(list, Fact{Name: label, Value: v})
	}
	return list
}

// shortKey is the id in a key's ARN.
func shortKey(arn string) string {
	if _, id, ok := strings.Cut(arn, ":key/"); ok {
		return id
	}
	return arn
}

// shortPrincipal is the name in a principal's ARN.
func shortPrincipal(arn string) string {
	if i := strings.LastIndexByte(arn, '/'); i >= 0 && i+1 < len(arn) {
		return arn[i+1:]
	}
	if i := strings.LastIndexByte(arn, ':'); i >= 0 && i+1 < len(arn) {
		return arn[i+1:]
	}
	return arn
}

// kindOf tells what a principal's ARN stands for.
func kindOf(arn string) string {
	switch {
	case strings.Contains(arn, ":role/"):
		return "role"
	case strings.Contains(arn, ":user/"):
		return "user"
	case strings.HasSuffix(arn, ":root"):
		return "root"
	case strings.HasSuffix(arn, ".amazonaws.com"):
		return "service"
	}
	return ""
}

// id is the name under which messages about the alert are kept: its first id,
// which stays when a late event moves the alert's start.
func (n Notice) id() string {
	if n.Alert.Thread != "" {
		return n.Alert.Thread
	}
	return n.Alert.ID
}
