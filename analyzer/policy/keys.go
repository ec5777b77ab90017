package policy

import "strings"

// Condition keys, in lower case, that say who calls. Their values follow from
// the caller; see caller.fixed and search.domain.
const (
	keyCallerAccount     = "kms:calleraccount"
	keyPrincipalAccount  = "aws:principalaccount"
	keyPrincipalArn      = "aws:principalarn"
	keyPrincipalOrgID    = "aws:principalorgid"
	keyPrincipalOrgPaths = "aws:principalorgpaths"
	keyPrincipalIsAWS    = "aws:principalisawsservice"
	keyServiceName       = "aws:principalservicename"
	keyServiceNames      = "aws:principalservicenameslist"
	keyUserID            = "aws:userid"
	keySourceAccount     = "aws:sourceaccount"
	keySourceOwner       = "aws:sourceowner"
	keySourceArn         = "aws:sourcearn"
	keySourceOrgID       = "aws:sourceorgid"
	keySourceOrgPaths    = "aws:sourceorgpaths"
	keyResourceAccount   = "aws:resourceaccount"
	keyResourceOrgID     = "aws:resourceorgid"
	keyResourceOrgPaths  = "aws:resourceorgpaths"
	keySecureTransport   = "aws:securetransport"
)

// guardPrefixes and guardKeys are the keys that a stranger cannot give any
// value they like; see the package comment.
var (
	guardPrefixes = []string{"kms:encryptioncontext:", "kms:recipientattestation:"}
	guardKeys     = map[string]bool{
		"aws:sourceip":                    true,
		"aws:sourcevpc":                   true,
		"aws:sourcevpcarn":                true,
		"aws:sourcevpce":                  true,
		"aws:vpceaccount":                 true,
		"aws:vpceorgid":                   true,
		"aws:vpceorgpaths":                true,
		"aws:ec2instancesourcevpc":        true,
		"aws:federatedprovider":           true,
		"aws:principalorgmasteraccountid": true,
		"kms:granteeprincipal":            true,
	}
)

func isGuard(key string) bool {
	for _, p := range guardPrefixes {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return guardKeys[key]
}

// alwaysThere are keys that every request has; IfExists and Null change nothing
// for them. Of all others a request may lack each.
var alwaysThere = map[string]bool{
	"aws:currenttime":     true,
	"aws:epochtime":       true,
	"aws:principaltype":   true,
	"aws:requestedregion": true,
	"aws:viaawsservice":   true,
	keyPrincipalArn:       true,
	keyUserID:             true,
}

// setKeys hold several values in one request.
var setKeys = map[string]bool{
	"aws:calledvia":             true,
	"aws:tagkeys":               true,
	"aws:vpceorgpaths":          true,
	"kms:encryptioncontextkeys": true,
	"kms:grantoperations":       true,
	"kms:resourcealiases":       true,
	keyPrincipalOrgPaths:        true,
	keyServiceNames:             true,
	keySourceOrgPaths:           true,
	keyResourceOrgPaths:         true,
}
