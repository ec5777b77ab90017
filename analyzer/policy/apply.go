package policy

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"slices"
	"strings"

	"github.com/keytrail/keytrail/analyzer"
)

// Apply judges the event's Policy and fills its other Policy columns. An event
// without a policy is left as it is. A policy that cannot be read leaves its
// reason in PolicyProblem and a hash of its text; nothing else is filled then,
// so a detection must not take empty lists for a closed key without looking at
// PolicyProblem.
func Apply(ev *analyzer.Event) {
	if strings.TrimSpace(ev.Policy) == "" {
		return
	}
	doc, err := Parse([]byte(ev.Policy))
	if err != nil {
		ev.PolicyProblem = strings.TrimPrefix(err.Error(), ErrMalformed.Error()+": ")
		ev.PolicyHash = hash([]byte(ev.Policy))
		return
	}
	account := ev.KeyAccount
	if account == "" {
		account = ev.Account // a new key belongs to the account that records its creation
	}
	f := judge(doc, account, ev.KeyARN)
	ev.PolicyHash = doc.Hash()
	for _, o := range f.Public {
		ev.PolicyPublic = append(ev.PolicyPublic, o.String())
	}
	for _, o := range f.Narrowed {
		ev.PolicyNarrowed = append(ev.PolicyNarrowed, o.String())
	}
	for _, a := range f.Accounts {
		ev.PolicyAccounts = append(ev.PolicyAccounts, a.ID)
	}
	ev.PolicyPrincipals = f.Principals
	ev.PolicyUnknown = f.UnknownIDs
	for _, o := range f.Orgs {
		if !strings.HasPrefix(o.ID, ownOrg) { // the organisation of the key is no outsider
			ev.PolicyOrgs = append(ev.PolicyOrgs, o.ID)
		}
	}
	for _, s := range f.Services {
		ev.PolicyServices = append(ev.PolicyServices, s.Name)
		if !s.Guarded {
			ev.PolicyUnguarded = append(ev.PolicyUnguarded, s.Name)
		}
	}
	if f.Incomplete {
		ev.PolicyProblem = "too tangled to judge to the end; what is listed may be too much"
	}
}

// Hash identifies what the document says: documents that differ only in white
// space, in the order of elements, statements or values, or in writing a list
// of one as a string have the same hash.
func (d *Document) Hash() string {
	type statement struct {
		Sid        string              `json:"sid,omitempty"`
		Allow      bool                `json:"allow"`
		Not        [3]bool             `json:"not"` // principal, action, resource
		Principals []string            `json:"principals"`
		Actions    []string            `json:"actions"`
		Resources  []string            `json:"resources"`
		Conditions map[string][]string `json:"conditions,omitempty"`
	}
	var list []string
	for i := range d.Statements {
		s := &d.Statements[i]
		c := statement{Sid: s.Sid, Allow: s.Allow, Not: [3]bool{s.NotPrincipal, s.NotAction, s.NotResource}, Resources: sortedSet(s.Resources)}
		for _, p := range s.Principals {
			value := p.Value
			if account, whole := accountPrincipal(value); whole && p.Kind == PrincipalAWS {
				value = account // AWS stores either way of writing it as the root ARN
			}
			c.Principals = append(c.Principals, string(p.Kind)+" "+value)
		}
		c.Principals = sortedSet(c.Principals)
		for _, a := range s.Actions {
			c.Actions = append(c.Actions, strings.ToLower(a))
		}
		c.Actions = sortedSet(c.Actions)
		for _, k := range s.Conditions {
			if c.Conditions == nil {
				c.Conditions = map[string][]string{}
			}
			op := k.Qualifier + ":" + k.Operator
			if k.IfExists {
				op += "IfExists"
			}
			c.Conditions[op+" "+k.key] = sortedSet(k.Values)
		}
		b, _ := json.Marshal(c) // strings, lists and booleans always encode
		list = append(list, string(b))
	}
	slices.Sort(list)
	return hash([]byte(d.Version + "\n" + d.ID + "\n" + strings.Join(list, "\n")))
}

// hash is 100 bits of SHA-256 in base32.
func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:20]
}
