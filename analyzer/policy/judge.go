package policy

import (
	"slices"
	"strings"
)

// Facts say whom a key policy lets in. Lists are sorted; statements are named by
// Sid or as "statement N".
type Facts struct {
	// Public are the statements that let any principal of any account do
	// something that exposes the key.
	Public []Opening
	// Narrowed are the statements that let strangers in only with a value of a
	// guard key, only through a service, or only for harmless actions; By says
	// which. They are not in Public.
	Narrowed []Opening
	// Accounts are the accounts let in by name: by an entry of Principal or by a
	// condition. The key's own account is not among them.
	Accounts []Access
	// Principals are the AWS, federated and canonical principals let in, as
	// written; a wildcard that conditions narrow is given as the ARN patterns it
	// is narrowed to, if any.
	Principals []string
	// UnknownIDs are unique ids (AIDA…, AROA…) let in: principals that have been
	// deleted, or ids whose account nobody can tell.
	UnknownIDs []string
	// Orgs are organisation ids or paths whose members are let in.
	// "${aws:ResourceOrgID}" is the organisation of the key's own account.
	Orgs []Access
	// Services are the AWS services let in, in their own name. "*" is any.
	Services []ServiceAccess
	// Incomplete tells that the policy was too tangled to be followed to the
	// end; it was judged in favour of the caller from there on, so that nothing
	// is missing but too much may be listed.
	Incomplete bool
}

// Opening is a statement that lets strangers in.
type Opening struct {
	Statement string
	Actions   []string // as written, or what a Deny left of them
	By        []string // what narrows it, for Facts.Narrowed
}

// String returns "statement: actions (narrowed by)".
func (o Opening) String() string {
	s := o.Statement + ": " + strings.Join(o.Actions, ", ")
	if len(o.By) > 0 {
		s += " (" + strings.Join(o.By, ", ") + ")"
	}
	return s
}

// Access is an account or organisation let in.
type Access struct {
	ID         string
	Actions    []string // over all statements
	Statements []string
	Kinds      []ActionKind // of the actions
}

// ServiceAccess is a service let in.
type ServiceAccess struct {
	Name string
	// Guarded tells that the service cannot be made to use the key on behalf of
	// a stranger.
	Guarded bool
	Actions []string
}

// Reasons in Opening.By that are not condition keys.
const (
	ByHarmlessActions = "harmless actions only"
	ByServices        = "through AWS services only"
)

// Judge says whom the policy of a key in keyAccount lets in. keyAccount may be
// empty when it is not known.
func Judge(doc *Document, keyAccount string) Facts { return judge(doc, keyAccount, "") }

// JudgeKey is Judge for a key whose ARN is known: statements about other
// resources are left out.
func JudgeKey(doc *Document, keyARN string) Facts { return judge(doc, arnAccount(keyARN), keyARN) }

func judge(doc *Document, keyAccount, keyARN string) Facts {
	j := &judgement{
		search:    newSearch(doc, keyAccount, keyARN),
		byAccount: map[string]*Access{}, byOrg: map[string]*Access{}, byService: map[string]*ServiceAccess{},
	}
	for i := range doc.Statements {
		if s := &doc.Statements[i]; !s.Allow && s.appliesTo(keyARN) {
			j.denies = append(j.denies, s)
		}
	}
	for i := range doc.Statements {
		if s := &doc.Statements[i]; s.Allow && s.appliesTo(keyARN) {
			j.statement(s)
		}
	}
	return j.facts()
}

type judgement struct {
	*search
	denies    []*Statement
	public    []Opening
	narrowed  []Opening
	byAccount map[string]*Access
	byOrg     map[string]*Access
	byService map[string]*ServiceAccess
	names     []string // principals as written
	unknown   []string // unique ids
}

func (j *judgement) facts() Facts {
	f := Facts{
		Public: j.public, Narrowed: j.narrowed, Accounts: sortedAccess(j.byAccount), Orgs: sortedAccess(j.byOrg),
		Principals: sortedSet(j.names), UnknownIDs: sortedSet(j.unknown), Incomplete: j.spent,
	}
	for _, o := range [][]Opening{f.Public, f.Narrowed} {
		slices.SortStableFunc(o, func(a, b Opening) int { return strings.Compare(a.String(), b.String()) })
	}
	for _, s := range j.byService {
		s.Actions = sortedSet(s.Actions)
		f.Services = append(f.Services, *s)
	}
	slices.SortFunc(f.Services, func(a, b ServiceAccess) int { return strings.Compare(a.Name, b.Name) })
	return f
}

func sortedAccess(m map[string]*Access) []Access {
	var out []Access
	for _, a := range m {
		a.Actions, a.Statements = sortedSet(a.Actions), sortedSet(a.Statements)
		slices.Sort(a.Kinds)
		a.Kinds = slices.Compact(a.Kinds)
		out = append(out, *a)
	}
	slices.SortFunc(out, func(a, b Access) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// part is a set of actions of one statement that the same Deny statements touch.
type part struct {
	actions []Action
	denies  []*Statement
}

// allowed is what a caller may do by one statement.
type allowed struct {
	open    []Action // freely
	guarded []Action // with values of guard keys
	by      []string // those guard keys
}

func (a allowed) any() bool { return len(a.open)+len(a.guarded) > 0 }

func (a allowed) actions() []Action { return append(slices.Clone(a.open), a.guarded...) }

// beyond is what a has that b does not have, or has only with guard keys.
func (a allowed) beyond(b allowed) allowed {
	without := func(list, taken []Action) (out []Action) {
		for _, x := range list {
			if !slices.Contains(taken, x) {
				out = append(out, x)
			}
		}
		return out
	}
	return allowed{without(a.open, b.open), without(a.guarded, b.actions()), a.by}
}

// merge takes the better of two ways in.
func (a allowed) merge(b allowed) allowed {
	more := b.beyond(a)
	a.open = append(slices.Clone(a.open), more.open...)
	a.guarded = append(slices.Clone(a.guarded), more.guarded...)
	a.guarded = slices.DeleteFunc(a.guarded, func(x Action) bool { return slices.Contains(a.open, x) })
	a.by = sortedSet(append(slices.Clone(a.by), b.by...))
	return a
}

// ways tells what each of the callers may do by the statement, taken together.
func (j *judgement) ways(s *Statement, parts []part, callers []caller) allowed {
	var out allowed
	for i := range callers {
		out = out.merge(j.way(s, parts, &callers[i]))
	}
	return out
}

func (j *judgement) way(s *Statement, parts []part, c *caller) allowed {
	var out allowed
	for _, p := range parts {
		switch l, by := j.level(s, p.denies, c); l {
		case open:
			out.open = append(out.open, p.actions...)
		case guarded:
			out.guarded = append(out.guarded, p.actions...)
			out.by = append(out.by, by...)
		}
	}
	return out
}

// split sorts the statement's actions by the Deny statements that touch them.
func (j *judgement) split(s *Statement) []part {
	var out []part
	index := map[string]int{}
	for _, a := range s.kmsActions() {
		var mark []byte
		var denies []*Statement
		for i, d := range j.denies {
			if d.Covers(a.Name) {
				denies = append(denies, d)
				mark = append(mark, byte(i), byte(i>>8))
			}
		}
		at, ok := index[string(mark)]
		if !ok {
			at = len(out)
			index[string(mark)] = at
			out = append(out, part{denies: denies})
		}
		out[at].actions = append(out[at].actions, a)
	}
	return out
}

// home is where a principal comes from: an organisation and a path in it.
type home struct{ org, path string }

// homes lists the organisations that the policy tells apart, with none and a
// stranger's first.
func (j *judgement) homes() []home {
	out := []home{{}, {strangerOrg, strangerPath}}
	for _, org := range j.namedOrgs() {
		out = append(out, orgHome(org))
	}
	for _, p := range j.paths {
		h, _ := pathHome(p)
		out = append(out, h)
	}
	return out
}

// namedOrgs lists the organisations that conditions name, by id or by path.
func (j *judgement) namedOrgs() []string {
	out := slices.Clone(j.orgs)
	for _, p := range j.paths {
		if org, _, _ := strings.Cut(p, "/"); !strings.ContainsAny(org, "*?") {
			out = append(out, org)
		}
	}
	return sortedSet(out)
}

// orgHome is a member of an organisation, or of one that fits a pattern.
func orgHome(org string) home {
	h, _ := pathHome(org + freshPath)
	return h
}

// pathHome is a member at a path of an organisation, or at one that fits a
// pattern; ok is false when no organisation's id (o-…) can fit it.
func pathHome(path string) (h home, ok bool) {
	p := strings.NewReplacer("*", fresh, "?", "~").Replace(path)
	if !strings.HasPrefix(p, ownOrg) && !strings.HasPrefix(p, "o-") {
		for _, shape := range []string{strangerOrg + "*", "o-*"} {
			if p, ok = meet(path, shape); ok {
				break
			}
		}
		if !ok {
			return home{}, false
		}
	}
	org, _, _ := strings.Cut(p, "/")
	return home{org, p}, true
}

// statement judges one Allow.
func (j *judgement) statement(s *Statement) {
	parts := j.split(s)
	if len(parts) == 0 {
		return
	}
	wide := s.NotPrincipal || slices.ContainsFunc(s.Principals, func(p Principal) bool {
		return p.Kind == PrincipalAny || p.Kind == PrincipalAWS && strings.ContainsAny(p.Value, "*?")
	})
	var outside allowed // what strangers may do
	if wide {
		outside = j.strangers(s, parts)
		j.members(s, parts, outside)
	}
	j.accountsOf(s, parts, wide)
	j.entries(s, parts)
	j.servicesOf(s, parts, wide, outside)
}

// strangers judges principals of accounts that nobody named, and lists the
// statement as public or narrowed.
func (j *judgement) strangers(s *Statement, parts []part) allowed {
	a := j.ways(s, parts, j.strange(home{}, home{strangerOrg, strangerPath}))
	exposing := func(list []Action) bool { return slices.ContainsFunc(list, Action.Exposes) }
	switch {
	case exposing(a.open):
		j.public = append(j.public, Opening{s.Name(), s.show(a.open), nil})
	case exposing(a.guarded):
		j.narrowed = append(j.narrowed, Opening{s.Name(), s.show(a.actions()), a.by})
	case a.any():
		j.narrowed = append(j.narrowed, Opening{s.Name(), s.show(a.actions()), append([]string{ByHarmlessActions}, a.by...)})
	}
	if a.any() {
		for _, p := range s.Principals {
			if !s.NotPrincipal && p.Kind != PrincipalService && (p.Kind == PrincipalAny || strings.ContainsAny(p.Value, "*?")) {
				j.names = append(j.names, p.Value)
			}
		}
		if s.NotPrincipal {
			j.names = append(j.names, "*")
		}
	}
	return a
}

func (j *judgement) strange(homes ...home) []caller {
	var out []caller
	for _, h := range homes {
		for _, account := range j.aliens {
			out = append(out, caller{account: account, org: h.org, orgPath: h.path, stranger: true})
		}
	}
	return out
}

// members judges the members of organisations that conditions name: what they
// may do beyond what any stranger may.
func (j *judgement) members(s *Statement, parts []part, outside allowed) {
	whole := map[string]allowed{}
	for _, org := range j.namedOrgs() {
		a := j.ways(s, parts, j.strange(orgHome(org)))
		whole[orgHome(org).org] = a
		if more := a.beyond(outside); more.any() {
			grantTo(j.byOrg, org, s, more)
		}
	}
	for _, path := range j.paths {
		h, _ := pathHome(path)
		a := j.ways(s, parts, j.strange(h))
		if more := a.beyond(outside).beyond(whole[h.org]); more.any() {
			grantTo(j.byOrg, path, s, more)
		}
	}
}

// accountsOf judges the accounts named: what their principals may do beyond what
// strangers from the same organisation may, or by an entry of Principal.
func (j *judgement) accountsOf(s *Statement, parts []part, wide bool) {
	homes := j.homes()
	for _, account := range j.accounts {
		entry := !s.NotPrincipal && slices.ContainsFunc(s.Principals, func(p Principal) bool {
			return p.Kind == PrincipalAWS && arnAccount(p.Value) == account
		})
		if !entry && !wide {
			continue
		}
		var more allowed
		for _, h := range homes {
			a := j.way(s, parts, &caller{account: account, org: h.org, orgPath: h.path})
			if entry {
				for _, p := range s.Principals {
					if p.Kind == PrincipalAWS && strings.HasPrefix(p.Value, "arn:") && arnAccount(p.Value) == account {
						if _, all := accountPrincipal(p.Value); !all {
							a = a.merge(j.way(s, parts, &caller{account: account, arn: p.Value, org: h.org, orgPath: h.path}))
						}
					}
				}
			} else if a.any() {
				a = a.beyond(j.ways(s, parts, j.strange(h)))
			}
			more = more.merge(a)
		}
		if !more.any() {
			continue
		}
		if account != j.keyAccount {
			grantTo(j.byAccount, account, s, more)
		}
		if !entry {
			j.narrowedNames(s, account)
		}
	}
}

// narrowedNames notes the ARNs of the account that the statement's conditions
// narrow a wildcard to.
func (j *judgement) narrowedNames(s *Statement, account string) {
	for i := range s.Conditions {
		if c := &s.Conditions[i]; c.key == keyPrincipalArn && !c.negated() {
			for _, v := range c.Values {
				if arnAccount(v) == account {
					j.names = append(j.names, v)
				}
			}
		}
	}
}

// entries judges the entries of Principal one by one, and unique ids that
// conditions name.
func (j *judgement) entries(s *Statement, parts []part) {
	homes := j.homes()
	in := func(c caller, accounts ...string) bool {
		for _, h := range homes {
			for _, account := range accounts {
				c.account, c.org, c.orgPath = account, h.org, h.path
				if j.way(s, parts, &c).any() {
					return true
				}
			}
		}
		return false
	}
	anywhere := slices.Concat(j.aliens, j.accounts)
	if !s.NotPrincipal {
		for _, p := range s.Principals {
			var ok bool
			switch p.Kind {
			case PrincipalFederated, PrincipalCanonical:
				ok = in(caller{federated: p.Value, arn: p.Value}, anywhere...)
			case PrincipalAWS:
				account, whole := accountPrincipal(p.Value)
				switch {
				case strings.ContainsAny(p.Value, "*?"): // strangers has it
				case whole:
					ok = in(caller{}, account)
				case strings.HasPrefix(p.Value, "arn:"):
					ok = in(caller{arn: p.Value}, arnAccount(p.Value))
				default:
					if ok = in(caller{id: p.Value}, anywhere...); ok {
						j.unknown = append(j.unknown, p.Value)
					}
				}
			}
			if ok {
				j.names = append(j.names, p.Value)
			}
		}
	}
	for _, id := range j.ids {
		for _, h := range homes {
			for _, account := range anywhere {
				other := caller{account: account, org: h.org, orgPath: h.path}
				holder := other
				holder.id = id
				if j.way(s, parts, &holder).beyond(j.way(s, parts, &other)).any() {
					j.unknown = append(j.unknown, id)
				}
			}
		}
	}
}

// servicesOf judges AWS services that call in their own name, on behalf of
// strangers and of those named. Services that only a wildcard lets in count for
// what they can do beyond people, who are told of already.
func (j *judgement) servicesOf(s *Statement, parts []part, wide bool, people allowed) {
	var written, names []string
	for _, p := range s.Principals {
		if p.Kind == PrincipalService && !s.NotPrincipal {
			written = append(written, p.Value)
		}
	}
	names = written
	if wide {
		names = append(slices.Clone(written), append(j.services, fresh)...)
	}
	for _, name := range sortedSet(names) {
		if slices.Contains(written, name) {
			j.service(s, parts, name, allowed{}, true)
		} else {
			j.service(s, parts, name, people, false)
		}
	}
}

// service judges one service; people is what strangers may do without it.
func (j *judgement) service(s *Statement, parts []part, name string, people allowed, written bool) {
	dns, shown := name, name
	if name == fresh || name == "*" {
		dns, shown = freshService, "*"
	}
	as := func(account string, h home, stranger bool) caller {
		return caller{service: dns, account: account, org: h.org, orgPath: h.path, stranger: stranger}
	}
	var outside, inside allowed
	for _, h := range []home{{}, {strangerOrg, strangerPath}} {
		for _, account := range j.aliens {
			c := as(account, h, true)
			outside = outside.merge(j.way(s, parts, &c))
		}
	}
	outside = outside.beyond(people)
	known := outside.merge(people)
	for _, h := range j.homes()[2:] {
		c := as(j.aliens[0], h, true)
		more := j.way(s, parts, &c).beyond(known)
		inside = inside.merge(more)
		if more.any() {
			grantTo(j.byOrg, h.name(j), s, more)
		}
	}
	for _, account := range j.accounts {
		var more allowed
		for _, h := range j.homes() {
			c, other := as(account, h, false), as(j.aliens[0], h, true)
			more = more.merge(j.way(s, parts, &c).beyond(j.way(s, parts, &other)).beyond(known))
		}
		inside = inside.merge(more)
		if more.any() && account != j.keyAccount {
			grantTo(j.byAccount, account, s, more)
		}
	}
	// A resource without account in its ARN, such as a bucket, that the policy
	// names: its owner, whoever that is.
	c := as(j.aliens[0], home{}, false)
	inside = inside.merge(j.way(s, parts, &c).beyond(known))

	all := inside.merge(outside)
	if !all.any() || !written && !outside.any() && j.principalsToo(s, parts) {
		return
	}
	if !written && len(outside.open) > 0 {
		j.narrowed = append(j.narrowed, Opening{s.Name(), s.show(outside.open), []string{ByServices}})
	}
	sv := j.byService[shown]
	if sv == nil {
		sv = &ServiceAccess{Name: shown, Guarded: true}
		j.byService[shown] = sv
	}
	sv.Guarded = sv.Guarded && len(outside.open) == 0
	sv.Actions = append(sv.Actions, s.show(all.actions())...)
}

// principalsToo tells whether principals, not only services, get in by the
// statement.
func (j *judgement) principalsToo(s *Statement, parts []part) bool {
	for _, h := range j.homes() {
		for _, account := range slices.Concat(j.aliens[:1], j.accounts) {
			if j.way(s, parts, &caller{account: account, org: h.org, orgPath: h.path}).any() {
				return true
			}
		}
	}
	return false
}

// name returns the organisation, or its path as written when the home is one of
// those that conditions name.
func (h home) name(j *judgement) string {
	for _, p := range j.paths {
		if ph, _ := pathHome(p); ph == h {
			return p
		}
	}
	for _, org := range j.orgs {
		if orgHome(org) == h {
			return org
		}
	}
	return h.org
}

func grantTo(m map[string]*Access, id string, s *Statement, a allowed) {
	acc := m[id]
	if acc == nil {
		acc = &Access{ID: id}
		m[id] = acc
	}
	acc.Actions = append(acc.Actions, s.show(a.actions())...)
	acc.Statements = append(acc.Statements, s.Name())
	for _, x := range a.actions() {
		acc.Kinds = append(acc.Kinds, x.Kind)
	}
}

// show names the actions as the statement writes them, with what a Deny has
// taken away; one by one where that is shorter.
func (s *Statement) show(actions []Action) []string {
	var left, gone []string
	for _, a := range s.kmsActions() {
		if slices.Contains(actions, a) {
			left = append(left, a.Name)
		} else {
			gone = append(gone, a.Name)
		}
	}
	if len(gone) > 0 && len(left) <= len(s.Actions)+len(gone) {
		return left
	}
	out := sortedSet(s.Actions)
	if s.NotAction {
		out = []string{"all but " + strings.Join(out, ", ")}
	}
	for _, name := range gone {
		out = append(out, "not "+name)
	}
	return out
}
