package policy

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// level is how freely a caller gets in.
type level int8

const (
	shut    level = iota
	guarded       // only with values of guard keys that the policy names
	open          // with values that anybody has
)

// maxSteps bounds the work on one document. A policy of 32 KiB that a person
// wrote takes some thousands; one made to exhaust it is judged in favour of the
// caller from there on, and Facts.Incomplete says so.
const maxSteps = 2_000_000

// search looks for requests that a policy admits.
type search struct {
	doc        *Document
	keyAccount string // "" when unknown
	keyARN     string // "" when unknown

	wants    map[string][]want // by key: what the policy compares it with
	accounts []string          // named anywhere, and the key's own
	aliens   []string          // strangers, and accounts that fit patterns on account ids
	orgs     []string          // organisations named
	paths    []string          // organisation paths named, as written
	services []string          // services that conditions name
	ids      []string          // unique ids that conditions name
	domains  map[domainKey][]values
	steps    int
	spent    bool
}

// want is one value that the policy compares a key with.
type want struct {
	cond  *Condition
	value string
}

type domainKey struct {
	key   string
	who   caller
	plain bool
}

func newSearch(doc *Document, keyAccount, keyARN string) *search {
	s := &search{doc: doc, keyAccount: keyAccount, keyARN: keyARN, wants: map[string][]want{}, domains: map[domainKey][]values{}, steps: maxSteps}
	if keyAccount != "" {
		s.accounts = append(s.accounts, keyAccount)
	}
	own := &caller{account: keyAccount}
	for i := range doc.Statements {
		st := &doc.Statements[i]
		for _, p := range st.Principals {
			s.nameAccount(arnAccount(p.Value))
			switch { // whom a Deny spares is worth trying
			case !st.NotPrincipal:
			case p.Kind == PrincipalService:
				s.services = append(s.services, p.Value)
			case p.Kind == PrincipalAWS && uniqueID.MatchString(p.Value):
				s.ids = append(s.ids, p.Value)
			}
		}
		for j := range st.Conditions {
			c := &st.Conditions[j]
			for _, v := range c.Values {
				s.wants[c.key] = append(s.wants[c.key], want{c, v})
				// Variables for the key's own account and organisation are names
				// like any other; those about the caller name nobody.
				v, ok, known := c.expand(v, func(key string) (values, bool) {
					if strings.HasPrefix(key, "aws:resource") {
						return own.fixed(key, keyAccount)
					}
					return nil, false
				})
				if ok && known && c.Operator != "Null" {
					s.collect(c.key, v)
				}
			}
		}
	}
	s.accounts = sortedSet(s.accounts)
	s.aliens = slices.DeleteFunc(sortedSet(s.aliens), s.isNamed)
	// Two strangers, so that a pattern on the first digits cannot mistake both.
	for _, fill := range []string{"0", "9"} {
		for n := 0; ; n++ {
			last := strconv.Itoa(n)
			id := strings.Repeat(fill, 12-len(last)) + last
			if !s.isNamed(id) {
				s.aliens = append(s.aliens, id)
				break
			}
		}
	}
	s.aliens = sortedSet(s.aliens)
	s.orgs, s.paths = sortedSet(s.orgs), sortedSet(s.paths)
	s.services, s.ids = sortedSet(s.services), sortedSet(s.ids)
	return s
}

func (s *search) isNamed(account string) bool {
	_, ok := slices.BinarySearch(s.accounts, account)
	return ok
}

// collect notes the accounts, organisations, services and ids that a condition
// value names.
func (s *search) collect(key, v string) {
	switch key {
	case keyCallerAccount, keyPrincipalAccount, keySourceAccount, keySourceOwner:
		s.nameAccount(v)
	case keyPrincipalArn, keySourceArn:
		s.nameAccount(arnAccount(v))
	case keyPrincipalOrgID, keySourceOrgID:
		if _, ok := pathHome(v + freshPath); ok {
			s.orgs = append(s.orgs, v)
		}
	case keyPrincipalOrgPaths, keySourceOrgPaths:
		if _, ok := pathHome(v); ok {
			s.paths = append(s.paths, v)
		}
	case keyServiceName, keyServiceNames:
		s.services = append(s.services, strings.ReplaceAll(v, "*", ""))
	case keyUserID:
		if id, _, _ := strings.Cut(v, ":"); uniqueID.MatchString(id) {
			s.ids = append(s.ids, id)
		}
	}
}

// nameAccount notes an account id; of a pattern, an account that fits it and
// that is nobody's in particular.
func (s *search) nameAccount(a string) {
	switch {
	case isAccount(a):
		s.accounts = append(s.accounts, a)
	case strings.ContainsAny(a, "*?"):
		if w, ok := meet(a, strings.Repeat("?", 12)); ok {
			if w = strings.ReplaceAll(w, "~", "0"); isAccount(w) {
				s.aliens = append(s.aliens, w)
			}
		}
	}
}

// level tells how freely the caller gets in through the statement with the
// action, and which guard keys it took.
func (s *search) level(st *Statement, denies []*Statement, c *caller) (level, []string) {
	for _, plain := range []bool{true, false} {
		chosen := map[string]values{}
		if !s.request(st, denies, c, chosen, plain) {
			continue
		}
		if plain {
			return open, nil
		}
		var by []string
		for key, v := range chosen {
			if isGuard(key) && !slices.ContainsFunc(s.domain(key, c, true), func(p values) bool { return slices.Equal(p, v) }) {
				by = append(by, s.written(key))
			}
		}
		return guarded, sortedSet(by)
	}
	return shut, nil
}

// written returns a condition key as the policy writes it.
func (s *search) written(key string) string {
	for i := range s.doc.Statements {
		for _, c := range s.doc.Statements[i].Conditions {
			if c.key == key {
				return c.Key
			}
		}
	}
	return key
}

// request looks for values of the keys that the caller chooses with which the
// statement admits them and no Deny refuses them. It chooses one key at a time
// and gives up a branch as soon as it is decided.
func (s *search) request(st *Statement, denies []*Statement, c *caller, chosen map[string]values, plain bool) bool {
	if s.steps -= 1 + len(denies); s.steps < 0 {
		s.spent = true
		return true
	}
	var open string // the first key that a decision waits for
	look := func(key string) (values, bool) {
		if v, ok := c.fixed(key, s.keyAccount); ok {
			return v, true
		}
		if v, ok := chosen[key]; ok {
			return v, true
		}
		if open == "" {
			open = key
		}
		return nil, false
	}
	result := st.covers(c, look)
	if result == no {
		return false
	}
	for _, d := range denies {
		refused := d.covers(c, look)
		if refused == yes {
			return false
		}
		result = min(result, yes-refused)
	}
	if result == yes {
		return true
	}
	key := open
	for _, v := range s.domain(key, c, plain) {
		chosen[key] = v
		if s.request(st, denies, c, chosen, plain) {
			return true
		}
	}
	delete(chosen, key)
	return false
}

// covers tells whether principal and conditions of the statement hold. Action
// and resource are looked at before.
func (s *Statement) covers(c *caller, look lookup) truth {
	result := s.admits(c, look)
	for i := range s.Conditions {
		if result == no {
			return no
		}
		result = min(result, s.Conditions[i].holds(look))
	}
	return result
}

// appliesTo tells whether the statement's Resource takes in the key. Without the
// key's ARN an Allow for a key's ARN is taken to mean this key, and a Deny only
// when it means every key.
func (s *Statement) appliesTo(keyARN string) bool {
	any := func(match func(string) bool) bool { return slices.ContainsFunc(s.Resources, match) }
	every := func(r string) bool {
		return glob(r, "arn:aws:kms:~:000000000000:key/~") && glob(r, "arn:aws:kms:~~:999999999999:key/~~")
	}
	switch {
	case keyARN != "":
		return any(func(r string) bool { return glob(r, keyARN) }) != s.NotResource
	case s.NotResource == s.Allow: // Allow all but these, or deny only these
		if s.Allow {
			return !any(every)
		}
		return any(every)
	case s.Allow:
		return any(func(r string) bool {
			return glob(r, "*") || r == "*" || strings.Contains(r, ":kms:") || strings.ContainsAny(r, "*?")
		})
	default: // deny all but these
		return false
	}
}

// domain lists the values worth trying for a key that the caller chooses: none,
// one that nobody else has, and one for each side of each comparison that the
// policy makes. With plain set guard keys get only what anybody has.
func (s *search) domain(key string, c *caller, plain bool) []values {
	id := domainKey{key, *c, plain}
	if d, ok := s.domains[id]; ok {
		return d
	}
	d := s.makeDomain(key, c, plain)
	s.domains[id] = d
	return d
}

func (s *search) makeDomain(key string, c *caller, plain bool) []values {
	var out []values
	add := func(v string) {
		if !slices.ContainsFunc(out, func(o values) bool { return len(o) == 1 && o[0] == v }) {
			out = append(out, values{v})
		}
	}
	switch key {
	case keyPrincipalArn:
		for _, v := range s.principalARNs(c.account) {
			add(v)
		}
		return out
	case keyUserID:
		for _, v := range s.userIDs(c) {
			add(v)
		}
		return out
	case keySourceAccount, keySourceOwner:
		return []values{{c.account}, nil}
	case keySourceOrgID:
		if c.org == "" {
			return []values{nil}
		}
		return []values{{c.org}, nil}
	case keySourceOrgPaths:
		if c.orgPath == "" {
			return []values{nil}
		}
		return []values{{c.orgPath}, nil}
	case keySourceArn:
		for _, v := range s.sourceARNs(c) {
			add(v)
		}
		return append(out, nil)
	}
	if isGuard(key) && !plain {
		// What anybody has comes first, so that a request shows which guard keys
		// it really took.
		out = slices.Clone(s.domain(key, c, true))
	}
	for _, v := range s.samples(key, c, isGuard(key) && plain) {
		add(v)
	}
	if setKeys[key] && len(out) > 1 {
		var all values
		for _, v := range out {
			all = append(all, v...)
		}
		out = append(out, all, all[1:])
		for _, v := range all[1:] { // the fresh one comes first
			out = append(out, values{all[0], v})
		}
	}
	if !alwaysThere[key] && !slices.ContainsFunc(out, func(v values) bool { return v == nil }) {
		out = append(out, nil)
	}
	return out
}

// samples lists values for a key without a meaning of its own: a fresh one
// first, then those that the policy's comparisons turn on.
func (s *search) samples(key string, c *caller, plain bool) []string {
	var out []string
	switch s.typeOf(key) {
	case "String":
		out = []string{fresh}
	case "Ip":
		out = []string{"198.51.100.77", "203.0.113.177", "2001:db8:ffff::77"} // RFC 5737, RFC 3849
	}
	var patterns []string
	for _, w := range s.wants[key] {
		v := s.substitute(w, c)
		switch op := w.cond.Operator; {
		case op == "Null":
		case op == "Bool":
			out = append(out, "true", "false")
		case strings.HasPrefix(op, "Numeric"):
			if n, err := strconv.ParseFloat(v, 64); err == nil {
				for _, d := range []float64{0, -1, 1} {
					out = append(out, strconv.FormatFloat(n+d, 'f', -1, 64))
				}
			}
		case strings.HasPrefix(op, "Date"):
			if t, ok := parseDate(v); ok {
				for _, d := range []time.Duration{0, -time.Second, time.Second} {
					out = append(out, t.Add(d).UTC().Format(time.RFC3339))
				}
			}
		case strings.HasSuffix(op, "IpAddress"):
			out = append(out, addressesIn(v, plain)...)
		case plain:
			if p, ok := anybodys(v, s.aliens[0]); ok && op != "StringEquals" {
				out = append(out, p)
			}
			if strings.Contains(w.value, "${") { // the caller decides the variable's value too
				out = append(out, v)
			}
		case strings.HasSuffix(op, "Like") || strings.HasPrefix(op, "Arn"):
			patterns = append(patterns, v)
			out = append(out, strings.NewReplacer("*", fresh, "?", "~").Replace(v), strings.NewReplacer("*", "", "?", "~").Replace(v))
		default:
			out = append(out, v)
		}
	}
	return append(out, crossings(patterns)...)
}

// typeOf returns the type of the values that a key has, as far as the policy's
// operators tell: Bool, Numeric, Date, Ip or else String. A request cannot have
// a word where AWS puts a number.
func (s *search) typeOf(key string) string {
	found := ""
	for _, w := range s.wants[key] {
		t := "String"
		switch op := w.cond.Operator; {
		case op == "Null":
			continue
		case op == "Bool":
			t = op
		case strings.HasPrefix(op, "Numeric"):
			t = "Numeric"
		case strings.HasPrefix(op, "Date"):
			t = "Date"
		case strings.HasSuffix(op, "IpAddress"):
			t = "Ip"
		}
		if found != "" && found != t {
			return "String"
		}
		found = t
	}
	if found == "" {
		return "String"
	}
	return found
}

// crossings finds values that match two patterns at once. Policies that compare
// one key with more than a few patterns in different statements are not worth
// the square of their number.
func crossings(patterns []string) []string {
	const limit = 12
	patterns = sortedSet(patterns)
	if len(patterns) > limit {
		return nil
	}
	var out []string
	for i, a := range patterns {
		for _, b := range patterns[i+1:] {
			if w, ok := meet(a, b); ok {
				out = append(out, w)
			}
		}
	}
	return out
}

// substitute replaces policy variables by what the caller has, and those that
// the caller chooses by the fresh value, which is what they can choose for both.
func (s *search) substitute(w want, c *caller) string {
	v, ok, _ := w.cond.expand(w.value, func(key string) (values, bool) {
		if v, ok := c.fixed(key, s.keyAccount); ok {
			return v, true
		}
		return values{fresh}, true
	})
	if !ok {
		return w.value
	}
	return v
}

// addressesIn returns an address in the range. Plain gives one only for a range
// so wide that anybody can find an address in it.
func addressesIn(cidr string, plain bool) []string {
	p, ok := parseCIDR(cidr)
	if !ok {
		return nil
	}
	wide := p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 16
	if plain && !wide {
		return nil
	}
	first := p.Addr()
	out := []string{first.String()}
	if next := first.Next(); next.IsValid() && p.Contains(next) {
		out = append(out, next.String())
	}
	if last := lastAddr(p); last != first {
		out = append(out, last.String())
	}
	return out
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// anybodys returns a value of the account's own that fits the pattern, if the
// pattern has room for anybody's: "*", or an ARN whose account and resource are open.
func anybodys(pattern, account string) (string, bool) {
	if strings.Trim(pattern, "*") == "" && pattern != "" {
		return fresh, true
	}
	parts := strings.SplitN(pattern, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return "", false
	}
	if strings.Trim(parts[4], "*?") != "" {
		return "", false // names an account
	}
	name := parts[5]
	if i := strings.IndexAny(name, ":/"); i >= 0 && parts[2] != "s3" {
		name = name[i+1:] // trail/*, log-group:*: the type names nobody
	}
	if strings.Trim(name, "*?:/") != "" || name == "" {
		return "", false
	}
	if parts[4] != "" {
		parts[4] = account
	}
	return strings.NewReplacer("*", fresh, "?", "~").Replace(strings.Join(parts, ":")), true
}

// principalARNs lists the ARNs that principals of the account may have, as far
// as the policy tells them apart.
func (s *search) principalARNs(account string) []string {
	base := "arn:aws:iam::" + account
	out := []string{base + ":role/" + fresh, base + ":user/" + fresh, base + ":root"}
	shapes := func(pattern string) []string {
		base := "arn:" + arnPart(pattern, 1, "aws") + ":"
		return []string{base + "iam::" + account + ":role/*", base + "iam::" + account + ":user/*", base + "iam::" + account + ":*", base + "sts::" + account + ":*"}
	}
	c := &caller{account: account}
	var patterns []string
	for _, w := range s.wants[keyPrincipalArn] {
		v := s.substitute(w, c)
		if op := w.cond.Operator; op == "StringEquals" || op == "StringNotEquals" || strings.HasSuffix(op, "IgnoreCase") {
			if arnAccount(v) == account && !strings.ContainsAny(v, "*?") { // no name has those
				out = append(out, v)
			}
			continue
		}
		patterns = append(patterns, v)
	}
	for i := range s.doc.Statements { // ARNs that a Deny names, so that they are tried
		for _, p := range s.doc.Statements[i].Principals {
			if p.Kind == PrincipalAWS && arnAccount(p.Value) == account && !strings.ContainsAny(p.Value, "*?") {
				out = append(out, roleOfSession(p.Value))
			}
		}
	}
	patterns = sortedSet(patterns)
	for i, p := range patterns {
		for _, shape := range shapes(p) {
			if w, ok := meet(p, shape); ok {
				out = append(out, w)
			}
			for _, q := range patterns[i+1 : min(len(patterns), i+12)] {
				if w, ok := meet(p, q, shape); ok {
					out = append(out, w)
				}
			}
		}
	}
	return out
}

// meetARN finds an ARN that matches all the patterns, part by part where a
// pattern is written in the parts of an ARN. StringLike lets a star reach from
// one part into the next, but AWS's own examples write arn:aws:sns:*:ACCOUNT:*
// with it, and no resource is named so that another account shows up in its name.
func meetARN(patterns ...string) []string {
	w, ok := meet(patterns...)
	if !ok {
		return nil
	}
	for _, p := range patterns {
		if strings.Count(p, ":") >= 5 && !arnGlob(p, w) {
			return nil
		}
	}
	return []string{w}
}

// arnPart returns a part of an ARN pattern, or the fallback when that part is
// open or the pattern is not written in the parts of an ARN.
func arnPart(pattern string, i int, fallback string) string {
	parts := strings.SplitN(pattern, ":", 6)
	if len(parts) != 6 || strings.ContainsAny(parts[i], "*?") {
		return fallback
	}
	return parts[i]
}

// userIDs lists values of aws:userid: unique id, and for roles a session name
// that the caller chooses.
func (s *search) userIDs(c *caller) []string {
	own := freshID
	if c.id != "" {
		own = c.id
	}
	out := []string{own, own + ":" + fresh}
	for _, w := range s.wants[keyUserID] {
		v := s.substitute(w, c)
		for _, shape := range []string{own, own + ":*"} {
			if m, ok := meet(v, shape); ok {
				out = append(out, m)
			}
		}
	}
	return out
}

// sourceARNs lists resources of the account that a service may act for. A
// resource without account in its ARN (a bucket) belongs to whoever the policy
// means by it, not to strangers.
func (s *search) sourceARNs(c *caller) []string {
	out := []string{"arn:aws:" + fresh + ":" + fresh + ":" + c.account + ":" + fresh}
	var patterns []string
	for _, w := range s.wants[keySourceArn] {
		v := s.substitute(w, c)
		patterns = append(patterns, v)
		if p, ok := anybodys(v, c.account); ok {
			out = append(out, p)
		}
		if !c.stranger && arnAccount(v) == "" {
			out = append(out, strings.NewReplacer("*", fresh, "?", "~").Replace(v))
		}
	}
	patterns = sortedSet(patterns)
	for i, p := range patterns {
		shape := "arn:" + arnPart(p, 1, "aws") + ":" + arnPart(p, 2, fresh) + ":" + arnPart(p, 3, fresh) + ":" + c.account + ":*"
		out = append(out, meetARN(p, shape)...)
		for _, q := range patterns[i+1 : min(len(patterns), i+12)] {
			out = append(out, meetARN(p, q, shape)...)
		}
	}
	return out
}
