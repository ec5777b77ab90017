package normalise

import (
	"strings"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// identity is what a userIdentity object says, without what the rest of the
// record adds (see Normaliser.who).
type identity struct {
	kind string // type, as written

	principal, principalType, account, name string
	session, person                         string
	accessKey, mfa, invokedBy               string
	partition                               string

	lane analyzer.Lane
	// isPerson holds whatever the client; isMachine says that no client makes a
	// person of it: an instance, a function, a container, a workload identity.
	isPerson, isMachine bool
}

// identityFields are the texts of a userIdentity object.
type identityFields struct {
	typ, principalID, arn, account, accessKey, userName, invokedBy, provider string
	hasBehalf, scoped                                                        bool
	behalfUser, behalfStore                                                  string
	issuerARN, issuerAccount                                                 string
	mfa, sourceIdentity, ec2Role, webProvider                                string
}

func readIdentity(v jsonscan.Value, w *words) (f identityFields) {
	for m := v.Members(); m.Next(); {
		v := m.Value()
		switch string(m.Key()) {
		case "type":
			f.typ = w.text(v)
		case "principalId":
			f.principalID = w.text(v)
		case "arn", "ARN":
			f.arn = w.text(v)
		case "accountId":
			f.account = w.text(v)
		case "accessKeyId":
			f.accessKey = w.text(v)
		case "userName":
			f.userName = w.text(v)
		case "invokedBy":
			f.invokedBy = w.text(v)
		case "identityProvider":
			f.provider = w.text(v)
		case "inScopeOf":
			f.scoped = given(v)
		case "onBehalfOf":
			f.hasBehalf = true
			f.behalfUser = w.text(v.Get("userId"))
			f.behalfStore = w.text(v.Get("identityStoreArn"))
		case "sessionContext":
			readSession(v, w, &f)
		}
	}
	return f
}

func readSession(v jsonscan.Value, w *words, f *identityFields) {
	for m := v.Members(); m.Next(); {
		v := m.Value()
		switch string(m.Key()) {
		case "sessionIssuer":
			f.issuerARN = w.text(v.Get("arn"))
			f.issuerAccount = w.text(v.Get("accountId"))
		case "attributes":
			f.mfa = w.text(v.Get("mfaAuthenticated"))
		case "sourceIdentity":
			f.sourceIdentity = w.text(v)
		case "ec2RoleDelivery":
			f.ec2Role = w.text(v)
		case "webIdFederationData":
			f.webProvider = w.text(v.Get("federatedProvider"))
		}
	}
}

// parseIdentity reads a userIdentity object. The principal is what stays the
// same from session to session.
func parseIdentity(v jsonscan.Value, w *words) identity {
	f := readIdentity(v, w)
	id := identity{
		kind: f.typ, account: f.account, accessKey: f.accessKey, mfa: f.mfa,
		invokedBy: f.invokedBy, partition: "aws", lane: analyzer.LaneDirect,
	}
	if f.invokedBy != "" {
		id.lane = analyzer.LaneForwarded
	}
	a, isARN := splitARN(f.arn)
	if isARN {
		id.partition = a.partition
	}
	if f.typ == "" {
		f.typ = typeByShape(f, a)
	}

	switch f.typ {
	case "AssumedRole", "Role":
		id.principalType = "role"
		id.role(f, a)
	case "IAMUser":
		id.principalType = "user"
		id.principal = f.arn
		if !isARN && f.userName != "" {
			id.principal = "arn:" + id.partition + ":iam::" + f.account + ":user/" + f.userName
		}
		id.person, id.isPerson = firstOf(f.userName, lastPart(f.arn)), true
	case "Root":
		id.principalType = "root"
		id.principal = "arn:" + id.partition + ":iam::" + firstOf(a.account, f.account) + ":root"
		id.name, id.person, id.isPerson = "root", "root", true
	case "AWSService":
		id.principalType, id.lane = "service", analyzer.LaneService
		id.principal = f.invokedBy
	case "AWSAccount":
		// The copy in the key owner's account of a call from another account:
		// who it was is not told, only from where.
		id.principalType, id.principal = "account", firstOf(f.account, f.principalID)
		_, id.session, _ = strings.Cut(f.principalID, ":")
	case "FederatedUser":
		id.principalType = "federated"
		id.principal = firstOf(f.issuerARN, f.arn, f.principalID)
		id.session = lastPart(f.arn)
	case "SAMLUser", "WebIdentityUser":
		id.principalType = "federated"
		id.principal = firstOf(f.provider, "unknown") + ":" + firstOf(f.userName, f.principalID)
		id.name, id.person = f.userName, f.userName
		id.isPerson = f.typ == "SAMLUser"
	case "IdentityCenterUser":
		id.principalType = "identity_center"
		id.principal = "identity-center:" + firstOf(f.behalfUser, f.principalID, "unknown")
		id.name = firstOf(f.userName, f.behalfUser)
		id.person, id.isPerson = id.name, true
		if store, ok := splitARN(f.behalfStore); ok && id.account == "" {
			id.account = store.account
		}
	default: // Directory, Unknown, and what AWS will think of next
		id.principalType = "unknown"
		id.principal = firstOf(f.arn, f.principalID, f.userName, f.account, f.invokedBy)
		if f.arn == "" && f.principalID == "" && f.userName == "" && f.invokedBy != "" {
			id.lane = analyzer.LaneService
		}
	}

	if f.sourceIdentity != "" {
		id.person, id.isPerson = f.sourceIdentity, true
	}
	if id.account == "" {
		id.account = firstOf(a.account, f.issuerAccount)
	}
	if id.principal == "" {
		id.principal, id.principalType = "unknown", "unknown"
	}
	if id.name == "" {
		id.name = id.principal
		if _, ok := splitARN(id.principal); ok {
			id.name = lastPart(id.principal)
		}
	}
	return id
}

// role fills in a session of a role: {a} is the parsed sts ARN.
func (id *identity) role(f identityFields, a arnParts) {
	session := strings.TrimPrefix(a.resource, "assumed-role/")
	role := session
	if i := strings.LastIndexByte(session, '/'); i >= 0 {
		role, id.session = session[:i], session[i+1:]
	} else {
		_, id.session, _ = strings.Cut(f.principalID, ":")
	}
	switch {
	case f.issuerARN != "":
		id.principal = f.issuerARN
		if p, ok := splitARN(f.issuerARN); ok {
			id.partition = p.partition
		}
	case a.service == "iam":
		id.principal, id.session = f.arn, ""
	case role != "":
		id.principal = "arn:" + id.partition + ":iam::" + firstOf(a.account, f.account) + ":role/" + role
	default:
		id.principal, _, _ = strings.Cut(f.principalID, ":")
	}
	name := lastPart(id.principal)

	switch {
	case strings.Contains(id.principal, ":role/aws-service-role/") || strings.HasPrefix(name, "AWSServiceRoleFor"):
		// Only its service can assume a service-linked role: nobody is behind it.
		id.lane, id.isMachine = analyzer.LaneService, true
	case strings.HasPrefix(name, "AWSReservedSSO_"):
		// IAM Identity Center names the session after the user.
		id.person, id.isPerson = id.session, true
	case isMail(id.session):
		// Sign-in through a directory names the session after the user, too.
		id.person, id.isPerson = id.session, true
	case f.ec2Role != "" || f.webProvider != "" || f.scoped || isMachineSession(id.session):
		id.isMachine = true
	}
}

// typeByShape names the type of an identity that does not say it.
func typeByShape(f identityFields, a arnParts) string {
	switch {
	case strings.HasPrefix(a.resource, "assumed-role/"), strings.HasPrefix(a.resource, "role/"):
		return "AssumedRole"
	case strings.HasPrefix(a.resource, "user/"):
		return "IAMUser"
	case a.service == "iam" && a.resource == "root":
		return "Root"
	case strings.HasPrefix(a.resource, "federated-user/"):
		return "FederatedUser"
	case f.hasBehalf:
		return "IdentityCenterUser"
	case f.arn == "" && f.principalID == "" && f.userName == "" && f.invokedBy != "":
		// Final effects of KMS: {accountId, invokedBy: "AWS Internal"}.
		return "AWSService"
	case f.userName != "" && f.account != "":
		return "IAMUser"
	}
	return ""
}

// isMail tells whether a session name is a mail address.
func isMail(s string) bool {
	user, host, ok := strings.Cut(s, "@")
	return ok && user != "" && strings.Contains(host, ".") && !strings.ContainsAny(s, " /")
}

// machineSessions begin the session names that services and runners choose for
// themselves. The names that SDKs make up when a profile assumes a role
// (botocore-session-…, aws-sdk-java-…) are not among them: a person at the
// command line has these, so the client decides (see Normaliser.who).
var machineSessions = []string{
	"AWSCodeBuild-", "AWSCodePipeline", "AWSCloudFormation", "AWSBackup-", "AWSConfig", "AWSService",
	"AutoScaling", "GitHubActions", "GitLab", "gitlab-", "circleci", "jenkins", "Jenkins", "buildkite-",
	"terraform-", "Terraform", "tfc-", "run-", "eks-", "ecs-", "lambda-", "StepFunctions", "GlueJobRunnerSession",
	"SageMaker", "EMR_", "CodeDeploy", "DataSync", "KinesisFirehose", "s3-replication", "awslambda_",
}

// isMachineSession tells whether a session name is one that an instance, a
// container or a service gives itself.
func isMachineSession(s string) bool {
	if id, ok := strings.CutPrefix(s, "i-"); ok && len(id) >= 8 && isHex(id) {
		return true // instance role
	}
	if len(s) == 32 && isHex(s) {
		return true // container task
	}
	for _, prefix := range machineSessions {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return s != ""
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
