package normalise

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// granteeKind classes a grantee by its form and returns its account, where the
// form tells one. keyAccount is that of the key.
//
//	service         dynamodb.amazonaws.com, dynamodb.us-west-2.amazonaws.com,
//	                and a service-linked role of the key's own account
//	infrastructure  123456789012:aws:ec2-infrastructure:i-0123
//	role, user, root, session, federated, account    by ARN or account id
//	unknown         all else; a unique id (AIDA…, AROA…) is what is left of a
//	                principal that was deleted
func granteeKind(grantee, keyAccount string) (kind, account string) {
	if grantee == "" {
		return "", ""
	}
	if isServiceName(grantee) {
		return "service", ""
	}
	if isAccount(grantee) {
		return "account", grantee
	}
	if owner, rest, ok := strings.Cut(grantee, ":"); ok && isAccount(owner) && strings.HasPrefix(rest, "aws:") {
		return "infrastructure", owner
	}
	a, ok := splitARN(grantee)
	if !ok {
		return "unknown", ""
	}
	account = a.account
	switch {
	case a.service == "iam" && strings.HasPrefix(a.resource, "role/aws-service-role/") && account == keyAccount:
		return "service", account
	case a.service == "iam" && strings.HasPrefix(a.resource, "role/"):
		return "role", account
	case a.service == "iam" && strings.HasPrefix(a.resource, "user/"):
		return "user", account
	case a.service == "iam" && a.resource == "root":
		return "root", account
	case a.service == "sts" && strings.HasPrefix(a.resource, "assumed-role/"):
		return "session", account
	case a.service == "sts" && strings.HasPrefix(a.resource, "federated-user/"):
		return "federated", account
	}
	return "unknown", account
}

// grant fills in what a call about a grant says.
func grant(ev *analyzer.Event, request, response, additional jsonscan.Value) {
	ev.GrantID = firstOf(text(response.Get("grantId")), text(request.Get("grantId")), text(additional.Get("grantId")))
	if ev.Name != "CreateGrant" {
		return
	}
	ev.GrantName = text(request.Get("name"))
	ev.Grantee = strings.TrimSpace(text(request.Get("granteePrincipal")))
	if service := text(request.Get("granteeServicePrincipal")); ev.Grantee == "" {
		ev.Grantee = strings.TrimSpace(service)
	}
	ev.GranteeKind, ev.GranteeAccount = granteeKind(ev.Grantee, ev.KeyAccount)
	ev.RetiringPrincipal = strings.TrimSpace(text(request.Get("retiringPrincipal")))
	_, ev.RetiringAccount = granteeKind(ev.RetiringPrincipal, ev.KeyAccount)
	for _, op := range list(request.Get("operations")) {
		if s := text(op); s != "" {
			ev.GrantOps = append(ev.GrantOps, s)
		}
	}
	slices.Sort(ev.GrantOps)
	ev.GrantOps = slices.Compact(ev.GrantOps)

	// {"encryptionContextSubset": {}} constrains nothing.
	constraints := unwrap(request.Get("constraints"))
	real := false
	for m := constraints.Members(); m.Next(); {
		inside := m.Value().Members()
		real = real || inside.Next() || given(m.Value()) && m.Value().Kind() != jsonscan.Object
	}
	if real {
		ev.GrantConstraint = wrap(canonical(string(constraints.Raw())), maxJSON)
	}
	ev.GrantHash = fingerprint(ev.KeyARN, ev.Grantee, strings.Join(ev.GrantOps, ","), ev.GrantConstraint)
}

// fingerprint hashes texts, kept apart, to 80 bits in hex.
func fingerprint(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:10])
}
