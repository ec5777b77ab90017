package policy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// This file checks Judge against a simulator: it writes random policies, plays
// every request of a small world against them one by one, as the IAM reference
// says requests are decided, and compares who got in with what Judge says. The
// simulator shares no code with the evaluator: it works on the structures that
// the generator made, with its own matching.

type simStatement struct {
	Sid          string
	Effect       string
	Principal    any `json:",omitempty"`
	NotPrincipal any `json:",omitempty"`
	Action       []string
	Resource     string
	Condition    map[string]map[string][]string `json:",omitempty"`
}

type simDocument struct {
	Version   string
	Statement []simStatement
}

func (d simDocument) text() string {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err) // the generator makes plain maps and strings
	}
	return string(b)
}

// simRequest is one concrete request.
type simRequest struct {
	account, arn, service, id string
	ctx                       map[string][]string // condition keys in lower case
	action                    string
}

func simGlob(pattern, s string) bool {
	re := regexp.QuoteMeta(pattern)
	re = strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(re)
	return simRegexp(re).MatchString(s)
}

var simRegexps = map[string]*regexp.Regexp{}

func simRegexp(re string) *regexp.Regexp {
	if simRegexps[re] == nil {
		simRegexps[re] = regexp.MustCompile("^" + re + "$")
	}
	return simRegexps[re]
}

func simArn(pattern, s string) bool {
	if pattern == "*" {
		return true
	}
	p, v := strings.SplitN(pattern, ":", 6), strings.SplitN(s, ":", 6)
	if len(p) < 6 || len(v) < 6 {
		return false
	}
	for i := range p {
		if !simGlob(p[i], v[i]) {
			return false
		}
	}
	return true
}

func (r simRequest) principalIs(entry string) bool {
	switch {
	case entry == "*":
		return true
	case strings.HasSuffix(entry, ".amazonaws.com"):
		return r.service == entry
	case r.service != "":
		return false
	case strings.HasSuffix(entry, ":root"):
		return strings.Contains(entry, "::"+r.account+":")
	case strings.HasPrefix(entry, "arn:"):
		return r.arn == entry
	case strings.HasPrefix(entry, "A"):
		return r.id == entry
	}
	return r.account == entry
}

func simEntries(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case map[string][]string:
		var out []string
		for _, list := range v {
			out = append(out, list...)
		}
		return out
	}
	return nil
}

func (r simRequest) holds(operator, key string, wants []string) bool {
	got := r.ctx[strings.ToLower(key)]
	op, ifExists := strings.CutSuffix(operator, "IfExists")
	qualifier := ""
	if before, after, ok := strings.Cut(op, ":"); ok {
		qualifier, op = before, after
	}
	if op == "Null" {
		return (wants[0] == "true") == (len(got) == 0)
	}
	not := strings.Contains(op, "Not")
	op = strings.Replace(op, "Not", "", 1)
	if len(got) == 0 {
		switch {
		case ifExists, qualifier == "ForAllValues":
			return true
		case qualifier == "ForAnyValue":
			return false
		}
		return not
	}
	one := func(v string) bool { // does the value satisfy the comparison
		hit := false
		for _, w := range wants {
			for _, variable := range []string{"aws:PrincipalAccount", "aws:ResourceAccount", "aws:PrincipalOrgID"} {
				if token := "${" + variable + "}"; strings.Contains(w, token) {
					if have := r.ctx[strings.ToLower(variable)]; len(have) == 1 {
						w = strings.ReplaceAll(w, token, have[0])
					} else {
						w = "\x00" // no request has it
					}
				}
			}
			switch op {
			case "StringEquals":
				hit = hit || w == v
			case "StringEqualsIgnoreCase", "Bool":
				hit = hit || strings.EqualFold(w, v)
			case "StringLike":
				hit = hit || simGlob(w, v)
			case "ArnLike", "ArnEquals":
				hit = hit || simArn(w, v)
			case "IpAddress":
				hit = hit || netip.MustParsePrefix(w).Contains(netip.MustParseAddr(v))
			default:
				panic("operator " + op)
			}
		}
		return hit != not
	}
	if qualifier == "ForAllValues" || qualifier == "" && not {
		return !slices.ContainsFunc(got, func(v string) bool { return !one(v) })
	}
	return slices.ContainsFunc(got, one)
}

func (r simRequest) covered(s *simStatement) bool {
	if !slices.ContainsFunc(s.Action, func(a string) bool { return simGlob(strings.ToLower(a), strings.ToLower(r.action)) }) {
		return false
	}
	if s.NotPrincipal != nil {
		for _, e := range simEntries(s.NotPrincipal) {
			if r.principalIs(e) || s.Effect == "Deny" && r.service == "" && strings.Contains(e, r.account) {
				return false
			}
		}
	} else if !slices.ContainsFunc(simEntries(s.Principal), r.principalIs) {
		return false
	}
	for op, keys := range s.Condition {
		for key, wants := range keys {
			if !r.holds(op, key, wants) {
				return false
			}
		}
	}
	return true
}

func (d simDocument) admits(r simRequest) bool {
	allowed := false
	for i := range d.Statement {
		s := &d.Statement[i]
		if r.covered(s) {
			if s.Effect == "Deny" {
				return false
			}
			allowed = true
		}
	}
	return allowed
}

// The world: what may stand in policies and in requests.
const (
	worldOwn      = "111122223333"
	worldA        = "444455556666"
	worldB        = "777788889999"
	worldStranger = "123456789012" // never in a policy
	worldAlike    = "444412345678" // nor this one, but it fits a pattern
	worldID       = "AROAEXAMPLEEXAMPLE01"
)

type simHome struct{ org, path string }

var (
	simHomes = []simHome{
		{},
		{"o-zz", "o-zz/r-9/ou-9/"}, // never in a policy
		{"o-aa", "o-aa/r-1/ou-1/"},
		{"o-aa", "o-aa/r-1/ou-2/"},
		{"o-bb", "o-bb/r-1/ou-1/"},
	}
	simAccounts = []string{worldOwn, worldA, worldB, worldStranger, worldAlike}
	simActions  = []string{"kms:Decrypt", "kms:DescribeKey", "kms:PutKeyPolicy", "kms:CreateGrant"}

	simExposes = map[string]bool{"kms:Decrypt": true, "kms:CreateGrant": true}

	// simChoices are the values of keys that the caller chooses; those of guard
	// keys that not anybody has come after "|".
	simChoices = map[string][][]string{
		"kms:encryptioncontext:tenant": {nil, {"zebra"}, {"|"}, {"blue"}, {"green"}, {"*"}},
		"aws:sourcevpce":               {nil, {"vpce-9"}, {"|"}, {"vpce-1"}, {"vpce-2"}},
		"aws:sourceip":                 {nil, {"198.51.100.200"}, {"2001:db8::9"}, {"|"}, {"192.0.2.5"}},
		"aws:multifactorauthpresent":   {nil, {"true"}, {"false"}},
		"kms:viaservice":               {nil, {"s3.us-east-1.amazonaws.com"}, {"ec2.us-east-1.amazonaws.com"}, {"zzz"}, {"s3.*.amazonaws.com"}},
		"kms:encryptioncontextkeys":    {nil, {"zebra"}, {"tenant"}, {"other"}, {"tenant", "zebra"}, {"other", "zebra"}, {"tenant", "other"}},
	}

	simStringOps = []string{
		"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase",
		"StringEqualsIfExists", "StringNotEqualsIfExists", "StringLikeIfExists", "StringNotLikeIfExists",
		"ForAnyValue:StringEquals", "ForAllValues:StringEquals", "ForAnyValue:StringLike", "ForAllValues:StringLike",
		"ForAllValues:StringNotEquals", "ForAnyValue:StringNotLike",
	}
	simArnOps = []string{"ArnLike", "ArnEquals", "ArnNotLike", "ArnLikeIfExists", "ForAnyValue:ArnLike", "StringLike", "StringNotLike", "StringEquals"}

	simConditions = []struct {
		key    string
		ops    []string
		values []string
	}{
		{"kms:CallerAccount", simStringOps, []string{worldOwn, worldA, worldB, "*", "4444*", "${aws:PrincipalAccount}", "${aws:ResourceAccount}"}},
		{"aws:PrincipalAccount", simStringOps, []string{worldOwn, worldA, worldB, "${aws:ResourceAccount}"}},
		{"aws:PrincipalOrgID", simStringOps, []string{"o-aa", "o-bb", "o-*", "*"}},
		{"aws:PrincipalOrgPaths", []string{"ForAnyValue:StringLike", "ForAllValues:StringLike", "ForAnyValue:StringNotLike", "StringLike", "ForAnyValue:StringEquals"}, []string{"o-aa/r-1/ou-1/*", "o-aa/*", "o-bb/r-1/ou-1/", "o-*"}},
		{"aws:PrincipalArn", simArnOps, []string{
			"arn:aws:iam::" + worldA + ":role/app", "arn:aws:iam::" + worldA + ":role/*", "arn:aws:iam::*:role/app", "arn:aws:iam::" + worldB + ":user/alice",
			"*:role/app", "arn:aws:iam::${aws:PrincipalAccount}:role/app",
		}},
		{"aws:PrincipalIsAWSService", []string{"Bool", "BoolIfExists"}, []string{"true", "false"}},
		{"aws:SourceAccount", simStringOps, []string{worldOwn, worldA, "${aws:ResourceAccount}"}},
		{"aws:SourceArn", simArnOps, []string{"arn:aws:sns:us-east-1:" + worldA + ":topic", "arn:aws:sns:*:" + worldOwn + ":*", "arn:aws:sns:*:*:*", "arn:aws:sns:us-east-1:*:topic"}},
		{"aws:SourceOrgID", simStringOps, []string{"o-aa", "o-bb"}},
		{"aws:userid", []string{"StringLike", "StringNotLike", "StringEquals"}, []string{worldID + ":*", "*:job", worldID}},
		{"kms:EncryptionContext:tenant", simStringOps, []string{"blue", "green", "*"}},
		{"aws:SourceVpce", simStringOps, []string{"vpce-1", "vpce-2"}},
		{"aws:SourceIp", []string{"IpAddress", "NotIpAddress", "NotIpAddressIfExists"}, []string{"192.0.2.0/24", "0.0.0.0/0"}},
		{"aws:MultiFactorAuthPresent", []string{"Bool", "BoolIfExists"}, []string{"true", "false"}},
		{"kms:ViaService", simStringOps, []string{"s3.us-east-1.amazonaws.com", "s3.*.amazonaws.com", "ec2.us-east-1.amazonaws.com"}},
		{"kms:EncryptionContextKeys", []string{"ForAnyValue:StringEquals", "ForAllValues:StringEquals", "ForAnyValue:StringLike"}, []string{"tenant", "other"}},
	}
	simPrincipals = []string{
		"*", "*", "*", worldA, "arn:aws:iam::" + worldA + ":root", "arn:aws:iam::" + worldA + ":role/app", "arn:aws:iam::" + worldB + ":user/alice",
		"arn:aws:iam::" + worldOwn + ":root", worldID, "sns.amazonaws.com",
	}
)

// simRequests are all the requests of the world, with the contexts that the
// document asks for. plain tells that nothing in them takes more than anybody
// has.
func simRequests(d simDocument, visit func(r simRequest, who simCaller, plain bool)) {
	used := map[string]bool{}
	for _, s := range d.Statement {
		for _, keys := range s.Condition {
			for key := range keys {
				used[strings.ToLower(key)] = true
			}
		}
	}
	for _, who := range simCallers(used, d.text()) {
		contexts := []simContext{{who.ctx, true}}
		for key, choices := range simChoices {
			if !used[key] {
				continue
			}
			var next []simContext
			for _, c := range contexts {
				plain := c.plain
				for _, v := range choices {
					if len(v) == 1 && v[0] == "|" {
						plain = false
						continue
					}
					ctx := map[string][]string{}
					for k, v := range c.ctx {
						ctx[k] = v
					}
					ctx[key] = v
					next = append(next, simContext{ctx, plain})
				}
			}
			contexts = next
		}
		for _, c := range contexts {
			for _, action := range simActions {
				visit(simRequest{who.account, who.arn, who.service, who.id, c.ctx, action}, who, c.plain)
			}
		}
	}
}

type simContext struct {
	ctx   map[string][]string
	plain bool
}

type simCaller struct {
	account, arn, service, id string
	source                    string // the account that a service acts for
	home                      simHome
	ctx                       map[string][]string
}

// simCallers leaves out differences that the document cannot see.
func simCallers(used map[string]bool, text string) []simCaller {
	homes, names, sessions, sources := simHomes[:2], []string{"role/zebra"}, []string{":zebra"}, []int{0}
	if strings.Contains(strings.ToLower(text), "org") {
		homes = simHomes
	}
	if strings.Contains(text, "role/") || strings.Contains(text, "user/") || used["aws:principalarn"] {
		names = []string{"role/app", "role/zebra", "user/alice"}
	}
	if used["aws:userid"] {
		sessions = []string{"", ":job", ":zebra"}
	}
	services := []string{"sns.amazonaws.com"}
	if strings.Contains(text, services[0]) {
		services = append(services, "zebra.amazonaws.com")
	}
	if strings.Contains(text, "aws:Source") {
		sources = []int{0, 1, 2, 3, 4, 5, 6, 7}
	}
	base := func() map[string][]string {
		return map[string][]string{"aws:resourceaccount": {worldOwn}}
	}
	set := func(m map[string][]string, key, v string) {
		if v != "" {
			m[key] = []string{v}
		}
	}
	var out []simCaller
	for _, account := range simAccounts {
		for _, h := range homes {
			for _, name := range names {
				for _, session := range sessions {
					for _, id := range []string{"AROAZEBRAZEBRA", worldID} { // nobody knows the account of worldID
						c := simCaller{account: account, arn: "arn:aws:iam::" + account + ":" + name, id: id, home: h, ctx: base()}
						set(c.ctx, "kms:calleraccount", account)
						set(c.ctx, "aws:principalaccount", account)
						set(c.ctx, "aws:principalarn", c.arn)
						set(c.ctx, "aws:principalisawsservice", "false")
						set(c.ctx, "aws:principalorgid", h.org)
						set(c.ctx, "aws:principalorgpaths", h.path)
						set(c.ctx, "aws:userid", id+session)
						out = append(out, c)
					}
				}
			}
			for _, present := range sources {
				for i := range 3 * len(services) {
					service, source := services[i/3], []string{"arn:aws:sns:us-east-1:%s:topic", "arn:aws:sns:us-east-1:%s:zebra", "arn:aws:zebra::%s:zebra"}[i%3]
					c := simCaller{service: service, source: account, home: h, ctx: base()}
					set(c.ctx, "kms:calleraccount", account)
					set(c.ctx, "aws:principalaccount", account)
					set(c.ctx, "aws:principalisawsservice", "true")
					if present&1 != 0 {
						set(c.ctx, "aws:sourceaccount", account)
					}
					if present&2 != 0 {
						set(c.ctx, "aws:sourcearn", fmt.Sprintf(source, account))
					}
					if present&4 != 0 {
						set(c.ctx, "aws:sourceorgid", h.org)
					}
					out = append(out, c)
				}
			}
		}
	}
	return out
}

func drawStatement(t *rapid.T, label string) simStatement {
	s := simStatement{
		Sid:      label,
		Effect:   rapid.SampledFrom([]string{"Allow", "Allow", "Deny"}).Draw(t, label+" effect"),
		Action:   rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"kms:*", "kms:Decrypt", "KMS:Decr*", "kms:DescribeKey", "kms:PutKeyPolicy"}), 1, 2, rapid.ID).Draw(t, label+" actions"),
		Resource: "*",
	}
	entries := rapid.SliceOfNDistinct(rapid.SampledFrom(simPrincipals), 1, 2, rapid.ID).Draw(t, label+" principals")
	principal := map[string][]string{}
	for _, e := range entries {
		kind := "AWS"
		if strings.HasSuffix(e, ".amazonaws.com") {
			kind = "Service"
		}
		principal[kind] = append(principal[kind], e)
	}
	if !slices.Contains(entries, "*") && rapid.IntRange(0, 5).Draw(t, label+" not") == 0 {
		s.NotPrincipal = principal
	} else {
		s.Principal = principal
	}
	for i := range rapid.IntRange(0, 2).Draw(t, label+" conditions") {
		c := rapid.SampledFrom(simConditions).Draw(t, fmt.Sprintf("%s key %d", label, i))
		op := rapid.SampledFrom(c.ops).Draw(t, fmt.Sprintf("%s operator %d", label, i))
		wants := rapid.SliceOfNDistinct(rapid.SampledFrom(c.values), 1, 2, rapid.ID).Draw(t, fmt.Sprintf("%s values %d", label, i))
		if rapid.IntRange(0, 9).Draw(t, fmt.Sprintf("%s null %d", label, i)) == 0 {
			op, wants = "Null", []string{rapid.SampledFrom([]string{"true", "false"}).Draw(t, "null")}
		}
		if s.Condition == nil {
			s.Condition = map[string]map[string][]string{}
		}
		if s.Condition[op] == nil {
			s.Condition[op] = map[string][]string{}
		}
		s.Condition[op][c.key] = wants
	}
	return s
}

func drawDocument(t *rapid.T) simDocument {
	d := simDocument{Version: "2012-10-17"}
	for i := range rapid.IntRange(1, 3).Draw(t, "statements") {
		d.Statement = append(d.Statement, drawStatement(t, fmt.Sprintf("S%d", i+1)))
	}
	return d
}

func judgeSim(t require.TestingT, d simDocument) Facts {
	doc, err := Parse([]byte(d.text()))
	require.NoError(t, err)
	f := Judge(doc, worldOwn)
	require.False(t, f.Incomplete)
	return f
}

func TestJudgeAgreesWithPlayingEveryRequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDocument(t)
		f := judgeSim(t, d)
		b := briefOf(f)
		t.Logf("policy: %s", d.text())
		t.Logf("judged: %+v", b)

		var strangerOpen, strangerIn, serviceForStranger, serviceDecrypts bool
		accountIn, orgIn, pathIn := map[string]bool{}, map[string]bool{}, map[string]bool{}
		idIn, serviceIn := false, false
		peopleOpening := slices.ContainsFunc(f.Narrowed, func(o Opening) bool { return !slices.Contains(o.By, ByServices) }) || len(f.Public) > 0

		simRequests(d, func(r simRequest, who simCaller, plain bool) {
			if !d.admits(r) {
				return
			}
			account := who.account
			if who.service != "" {
				serviceIn = true
				account = who.source
			}
			accountIn[account] = true
			orgIn[who.home.org] = true
			pathIn[who.home.path] = true
			if who.id == worldID {
				idIn = true
			}
			unnamed := (account == worldStranger || account == worldAlike) && (who.home.org == "" || who.home.org == "o-zz") && who.id != worldID
			switch {
			case unnamed && who.service != "":
				serviceForStranger = serviceForStranger || plain
				serviceDecrypts = serviceDecrypts || plain && simExposes[r.action]
			case unnamed:
				strangerIn = true
				strangerOpen = strangerOpen || plain && simExposes[r.action]
			}

			// Whoever gets in is told of.
			explained := len(f.Public) > 0 || account == worldOwn || slices.Contains(b.accounts, account) ||
				slices.ContainsFunc(b.orgs, func(o string) bool { return o == who.home.org || simGlob(o, who.home.path) })
			if who.service != "" {
				explained = explained || len(b.services) > 0 || peopleOpening
			} else {
				explained = explained || peopleOpening || len(b.ids) > 0 && who.id == worldID
			}
			require.True(t, explained, "nothing tells of %+v %v", r, who.home)
		})
		require.Equal(t, strangerOpen, len(f.Public) > 0, "public")
		require.Equal(t, strangerIn, peopleOpening, "public or narrowed")

		// Whoever is told of gets in.
		for _, a := range b.accounts {
			require.True(t, accountIn[a], "account %s", a)
		}
		for _, o := range b.orgs {
			ok := orgIn[o]
			for p := range pathIn {
				ok = ok || p != "" && simGlob(o, p)
			}
			// o-* and * are patterns of ids; a member of any organisation shows them.
			for org := range orgIn {
				ok = ok || org != "" && simGlob(o, org)
			}
			require.True(t, ok, "organisation %s", o)
		}
		if len(b.ids) > 0 {
			require.True(t, idIn, "unique id")
		}
		if len(b.services) > 0 {
			require.True(t, serviceIn, "services")
		}
		for _, s := range f.Services {
			if !s.Guarded {
				require.True(t, serviceForStranger, "unguarded service")
			}
		}
		if serviceDecrypts && len(f.Public) == 0 {
			require.True(t, slices.ContainsFunc(f.Services, func(s ServiceAccess) bool { return !s.Guarded }), "a service can be made to act for a stranger")
		}
	})
}

// admitted puts the facts on one scale for each outsider: what a change of the
// policy may only raise or only lower.
func admitted(f Facts) (public bool, who map[string]bool) {
	who = map[string]bool{}
	for _, a := range f.Accounts {
		who[a.ID] = true
	}
	for _, o := range f.Orgs {
		who[o.ID] = true
	}
	for _, id := range f.UnknownIDs {
		who[id] = true
	}
	return len(f.Public) > 0, who
}

func TestAnotherDenyNeverAdmitsMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDocument(t)
		before := judgeSim(t, d)
		deny := drawStatement(t, "Added")
		deny.Effect = "Deny"
		d.Statement = append(d.Statement, deny)
		after := judgeSim(t, d)

		wasPublic, _ := admitted(before)
		isPublic, _ := admitted(after)
		require.False(t, isPublic && !wasPublic, "a Deny made it public: %s", d.text())
		if len(before.Public)+len(before.Narrowed)+len(before.Accounts)+len(before.Orgs)+len(before.UnknownIDs)+len(before.Services) == 0 {
			require.Empty(t, after.Accounts, d.text())
			require.Empty(t, after.Orgs, d.text())
			require.Empty(t, after.Narrowed, d.text())
		}
	})
}

func TestAWiderValueListNeverAdmitsFewer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SampledFrom([]string{"kms:CallerAccount", "aws:PrincipalAccount", "aws:PrincipalOrgID"}).Draw(t, "key")
		pool := []string{worldA, worldB, "222233334444"}
		if key == "aws:PrincipalOrgID" {
			pool = []string{"o-aa", "o-bb", "o-cc"}
		}
		narrow := rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 1, 2, rapid.ID).Draw(t, "values")
		wide := append(slices.Clone(narrow), rapid.SampledFrom(pool).Draw(t, "more"))
		other := drawStatement(t, "Other")
		document := func(values []string) simDocument {
			return simDocument{Version: "2012-10-17", Statement: []simStatement{{
				Sid: "Open", Effect: "Allow", Principal: "*", Action: []string{"kms:Decrypt"}, Resource: "*",
				Condition: map[string]map[string][]string{"StringEquals": {key: values}},
			}, other}}
		}
		publicBefore, before := admitted(judgeSim(t, document(narrow)))
		publicAfter, after := admitted(judgeSim(t, document(wide)))
		require.False(t, publicBefore && !publicAfter)
		for id := range before {
			require.True(t, after[id], "%s lost by widening %v to %v: %s", id, narrow, wide, document(wide).text())
		}
	})
}

func TestTheOrderOfStatementsIsIrrelevant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawDocument(t)
		before, err := Parse([]byte(d.text()))
		require.NoError(t, err)
		d.Statement = rapid.Permutation(d.Statement).Draw(t, "order")
		after, err := Parse([]byte(d.text()))
		require.NoError(t, err)
		require.Equal(t, Judge(before, worldOwn), Judge(after, worldOwn))
		require.Equal(t, before.Hash(), after.Hash())
	})
}
