package normalise

import (
	"strings"

	"github.com/keytrail/keytrail/analyzer"
)

// outcomeOf tells how a call ended from its error code, or from the message
// alone where a service leaves the code out (a failed console sign-in).
func outcomeOf(code, message string) analyzer.Outcome {
	switch {
	case code == "" && message == "":
		return analyzer.OutcomeOK
	case code == "DryRunOperationException", code == "DryRunOperation", code == "Client.DryRunOperation":
		return analyzer.OutcomeDryRun
	case strings.Contains(code, "AccessDenied"), // AccessDenied, AccessDeniedException, VpceAccessDenied
		strings.Contains(code, "UnauthorizedOperation"), // EC2, with and without Client.
		strings.Contains(code, "NotAuthorized"),
		code == "Forbidden", code == "AuthorizationError", code == "Unauthorized",
		code == "UnauthorizedException", code == "ForbiddenException":
		return analyzer.OutcomeDenied
	case strings.Contains(message, "is not authorized to perform: "):
		return analyzer.OutcomeDenied
	}
	return analyzer.OutcomeFailed
}

// denial is what an error message says about a refused call. Such records often
// have no request parameters, so it is all there is.
type denial struct {
	action   string // kms:Decrypt
	resource string // as written: an ARN, or *
	layer    string // which kind of policy refused
}

// denyingLayers name the policy types as AWS writes them in its messages ("IAM
// User Guide, Troubleshoot access denied error messages"), in lower case; the
// first that fits counts.
var denyingLayers = []struct{ words, layer string }{
	{"resource control polic", "resource-control"},
	{"service control polic", "service-control"},
	{"vpc endpoint polic", "vpc-endpoint"},
	{"permissions boundar", "permissions-boundary"},
	{"session polic", "session"},
	{"role trust polic", "trust"},
	{"identity-based polic", "identity-based"},
	{"resource-based polic", "resource-based"},
}

// parseDenial reads the message of a refused call:
//
//	User: ARN is not authorized to perform: kms:Decrypt on resource: ARN
//	because no resource-based policy allows the kms:Decrypt action
//	… with an explicit deny in a service control policy: ARN
func parseDenial(message string) (d denial) {
	rest := message
	if _, after, ok := strings.Cut(message, "not authorized to perform: "); ok {
		rest = after
		d.action = strings.TrimRight(word(after), ".,;")
	} else if _, after, ok := strings.Cut(message, "not authorized to perform "); ok {
		rest = after
		if w := strings.TrimRight(word(after), ".,;"); strings.Contains(w, ":") {
			d.action = w
		}
	}
	if _, after, ok := strings.Cut(rest, "on resource: "); ok {
		rest = after
		d.resource = strings.TrimRight(word(after), ".,;\"'")
	}
	// What the caller chose (its session's name) stands before the reason, so
	// look for the reason behind the resource only.
	lower := strings.ToLower(rest)
	at := -1
	for _, lead := range []string{"explicit deny", "because no ", "because the ", "because an "} {
		if i := strings.Index(lower, lead); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at < 0 {
		return d
	}
	reason := lower[at:]
	for _, l := range denyingLayers {
		if strings.Contains(reason, l.words) {
			d.layer = l.layer
			return d
		}
	}
	if strings.HasPrefix(reason, "explicit deny") {
		d.layer = "explicit-deny"
	}
	return d
}

// word returns s up to the first blank.
func word(s string) string {
	if i := strings.IndexAny(s, " \t\r\n"); i >= 0 {
		return s[:i]
	}
	return s
}

// arnIn returns the first ARN of KMS that a message names: a key's or an
// alias's.
func arnIn(message string) string {
	for rest := message; ; {
		i := strings.Index(rest, "arn:")
		if i < 0 {
			return ""
		}
		rest = rest[i:]
		end := strings.IndexAny(rest, " \t\r\n'\"<>(),;")
		if end < 0 {
			end = len(rest)
		}
		arn := strings.TrimRight(rest[:end], ".:")
		if a, ok := splitARN(arn); ok && a.service == "kms" {
			return arn
		}
		rest = rest[4:]
	}
}

// keyStates are the words with which KMS explains why a key cannot be used:
// "<arn> is pending deletion."
var keyStates = []struct{ words, state string }{
	{" is pending replica deletion", "PendingReplicaDeletion"},
	{" is pending deletion", "PendingDeletion"},
	{" is pending import", "PendingImport"},
	{" is unavailable", "Unavailable"},
	{" is disabled", "Disabled"},
	{" is creating", "Creating"},
	{" is updating", "Updating"},
}

// keyStateIn returns the state of the key that an error tells, or nothing.
func keyStateIn(code, message string) string {
	if code != "KMSInvalidStateException" && code != "DisabledException" && code != "KMSInvalidState" {
		return ""
	}
	lower := strings.ToLower(message)
	for _, s := range keyStates {
		if strings.Contains(lower, s.words) {
			return s.state
		}
	}
	if code == "DisabledException" {
		return "Disabled"
	}
	return ""
}
