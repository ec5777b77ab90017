package policy

import "strings"

// fresh is a value that no policy names. Its characters sort out patterns that
// were meant for real names.
const fresh = "~stranger~"

const (
	strangerOrg  = "o-" + fresh
	strangerPath = strangerOrg + "/r-" + fresh + "/ou-" + fresh + "/"
	freshPath    = "/r-" + fresh + "/ou-" + fresh + "/" // under an organisation that is named
	freshID      = "AIDA" + fresh
	freshService = fresh + ".amazonaws.com"
	ownOrg       = "${aws:ResourceOrgID}" // the organisation that the key's account is in
)

// caller is one kind of requester that a policy may tell apart.
type caller struct {
	service   string // DNS name, for an AWS service; account is then whom it acts for
	federated string // the entry of Principal, for federated and canonical users
	account   string
	arn       string // of a certain principal; "" is any principal of the account
	id        string // unique id of a certain principal
	org       string // "" when in none
	orgPath   string
	stranger  bool // not named anywhere in the policy
}

// fixed returns the values of the keys that follow from who calls. ok is false
// for keys that the caller chooses.
func (c *caller) fixed(key, keyAccount string) (v values, ok bool) {
	one := func(s string) (values, bool) {
		if s == "" {
			return nil, true
		}
		return values{s}, true
	}
	isService := c.service != ""
	switch key {
	case keyCallerAccount, keyPrincipalAccount:
		// For a service the account it acts for: authors who write this key
		// beside a service principal mean that.
		return one(c.account)
	case keyPrincipalIsAWS:
		if isService {
			return one("true")
		}
		return one("false")
	case keyServiceName, keyServiceNames:
		return one(c.service)
	case keyPrincipalArn:
		if isService {
			return nil, true
		}
		if c.arn != "" {
			return one(roleOfSession(c.arn))
		}
		return nil, false
	case keyUserID:
		if isService {
			return nil, true
		}
		return nil, false
	case keyPrincipalOrgID:
		if isService {
			return nil, true
		}
		return one(c.org)
	case keyPrincipalOrgPaths:
		if isService {
			return nil, true
		}
		return one(c.orgPath)
	case keySourceAccount, keySourceOwner, keySourceArn, keySourceOrgID, keySourceOrgPaths:
		return nil, !isService // only services name a source
	case keyResourceAccount:
		if keyAccount != "" {
			return one(keyAccount)
		}
		return nil, false
	case keyResourceOrgID:
		return one(ownOrg)
	case keyResourceOrgPaths:
		return one(ownOrg + freshPath)
	case keySecureTransport:
		return one("true") // KMS has no other endpoint
	}
	return nil, false
}

// is tells whether an entry of Principal means the caller.
func (c *caller) is(p Principal, look lookup) truth {
	switch p.Kind {
	case PrincipalAny:
		return yes
	case PrincipalService:
		return truthOf(c.service != "" && glob(p.Value, c.service))
	case PrincipalFederated, PrincipalCanonical:
		return truthOf(c.federated != "" && c.federated == p.Value)
	}
	if c.service != "" || c.federated != "" {
		return no
	}
	if account, whole := accountPrincipal(p.Value); whole {
		return truthOf(glob(account, c.account))
	}
	if !strings.HasPrefix(p.Value, "arn:") {
		return truthOf(c.id == p.Value)
	}
	if c.arn != "" {
		return truthOf(glob(p.Value, c.arn) || glob(p.Value, roleOfSession(c.arn)))
	}
	if !glob(arnAccount(p.Value), c.account) {
		return no
	}
	v, known := look(keyPrincipalArn)
	if !known {
		return unknown
	}
	return truthOf(len(v) == 1 && glob(p.Value, v[0]))
}

// admits tells whether the statement's Principal or NotPrincipal covers the
// caller. An entry of NotPrincipal exempts its whole account: AWS wants the
// account named beside each principal there, and to assume the exemption never
// hides an admission.
func (s *Statement) admits(c *caller, look lookup) truth {
	result := no
	for _, p := range s.Principals {
		t := c.is(p, look)
		if s.NotPrincipal && !s.Allow && p.Kind == PrincipalAWS && c.service == "" && c.federated == "" && arnAccount(p.Value) == c.account {
			t = yes
		}
		result = max(result, t)
	}
	if s.NotPrincipal {
		return yes - result
	}
	return result
}

// accountPrincipal returns the account when the entry means a whole account:
// its id or its root ARN.
func accountPrincipal(p string) (string, bool) {
	if isAccount(p) {
		return p, true
	}
	if strings.HasSuffix(p, ":root") && strings.Contains(p, ":iam::") {
		return arnAccount(p), true
	}
	return "", false
}

// arnAccount returns the account part of an ARN, or a bare account id; "" when
// there is none.
func arnAccount(arn string) string {
	if isAccount(arn) {
		return arn
	}
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" {
		return ""
	}
	return parts[4]
}

// roleOfSession turns the ARN of an assumed-role session into its role's, which
// is what aws:PrincipalArn holds. A role's path is not part of a session's ARN.
func roleOfSession(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[2] != "sts" {
		return arn
	}
	rest, ok := strings.CutPrefix(parts[5], "assumed-role/")
	if !ok {
		return arn
	}
	role, _, _ := strings.Cut(rest, "/")
	return parts[0] + ":" + parts[1] + ":iam::" + parts[4] + ":role/" + role
}
