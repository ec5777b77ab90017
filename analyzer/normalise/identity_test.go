package normalise

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

func TestThePrincipalIsWhatOutlivesTheSession(t *testing.T) {
	for _, c := range []struct {
		name, identity string
		principal, typ string
		account, short string
	}{
		{
			"a role session with its issuer",
			`{"type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/app/s", "accountId": "111122223333", "sessionContext": {"sessionIssuer": {"arn": "arn:aws:iam::111122223333:role/path/app"}}}`,
			"arn:aws:iam::111122223333:role/path/app", "role", "111122223333", "app",
		},
		{
			"a role session without issuer",
			`{"type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/app/s", "accountId": "111122223333"}`,
			"arn:aws:iam::111122223333:role/app", "role", "111122223333", "app",
		},
		{
			"a role session in China",
			`{"type": "AssumedRole", "arn": "arn:aws-cn:sts::111122223333:assumed-role/app/s"}`,
			"arn:aws-cn:iam::111122223333:role/app", "role", "111122223333", "app",
		},
		{
			"a user", `{"type": "IAMUser", "arn": "arn:aws-us-gov:iam::111122223333:user/team/alice", "accountId": "111122223333", "userName": "alice"}`,
			"arn:aws-us-gov:iam::111122223333:user/team/alice", "user", "111122223333", "alice",
		},
		{
			"a user without ARN", `{"type": "IAMUser", "principalId": "AIDAEXAMPLE", "accountId": "111122223333", "userName": "alice"}`,
			"arn:aws:iam::111122223333:user/alice", "user", "111122223333", "alice",
		},
		{
			"root", `{"type": "Root", "principalId": "111122223333", "arn": "arn:aws:iam::111122223333:root", "accountId": "111122223333"}`,
			"arn:aws:iam::111122223333:root", "root", "111122223333", "root",
		},
		{"a service", `{"type": "AWSService", "invokedBy": "cloudtrail.amazonaws.com"}`, "cloudtrail.amazonaws.com", "service", "", "cloudtrail.amazonaws.com"},
		{
			"a caller of another account", `{"type": "AWSAccount", "principalId": "AROAEXAMPLE:s", "accountId": "444455556666"}`,
			"444455556666", "account", "444455556666", "444455556666",
		},
		{
			"a federated user",
			`{"type": "FederatedUser", "arn": "arn:aws:sts::111122223333:federated-user/bob", "accountId": "111122223333", "sessionContext": {"sessionIssuer": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/broker"}}}`,
			"arn:aws:iam::111122223333:user/broker", "federated", "111122223333", "broker",
		},
		{
			"a web identity", `{"type": "WebIdentityUser", "principalId": "accounts.example.com:app:user", "userName": "user", "identityProvider": "accounts.example.com"}`,
			"accounts.example.com:user", "federated", "", "user",
		},
		{
			"an Identity Center user",
			`{"type": "IdentityCenterUser", "accountId": "111122223333", "onBehalfOf": {"userId": "u-1", "identityStoreArn": "arn:aws:identitystore::111122223333:identitystore/d-1"}}`,
			"identity-center:u-1", "identity_center", "111122223333", "u-1",
		},
		{"the final effects of KMS", `{"accountId": "111122223333", "invokedBy": "AWS Internal"}`, "AWS Internal", "service", "111122223333", "AWS Internal"},
		{
			"no type but the ARN of a session", `{"arn": "arn:aws:sts::111122223333:assumed-role/app/s"}`,
			"arn:aws:iam::111122223333:role/app", "role", "111122223333", "app",
		},
		{"no type but the ARN of a user", `{"arn": "arn:aws:iam::111122223333:user/eve"}`, "arn:aws:iam::111122223333:user/eve", "user", "111122223333", "eve"},
		{"a type of the future", `{"type": "Robot", "principalId": "R2", "accountId": "111122223333"}`, "R2", "unknown", "111122223333", "R2"},
		{"nothing", `{}`, "unknown", "unknown", "", "unknown"},
		{"null", `null`, "unknown", "unknown", "", "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := eventOf(t, `"userIdentity": `+c.identity)
			require.Equal(t, c.principal, ev.Principal)
			require.Equal(t, c.typ, ev.PrincipalType)
			require.Equal(t, c.account, ev.PrincipalAccount)
			require.Equal(t, c.short, ev.PrincipalName)
		})
	}
}

func TestTheLaneTellsWhoStandsBehindACall(t *testing.T) {
	const user = `"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/alice", "userName": "alice"`
	for _, c := range []struct {
		name, changes string
		lane          analyzer.Lane
		invokedBy     string
	}{
		{"a user calls", `"userIdentity": {` + user + `}`, analyzer.LaneDirect, ""},
		{
			"a service calls with a user's session", `"userIdentity": {` + user + `, "invokedBy": "secretsmanager.amazonaws.com"}, "sourceIPAddress": "secretsmanager.amazonaws.com"`,
			analyzer.LaneForwarded, "secretsmanager.amazonaws.com",
		},
		{"a service that does not say which", `"userIdentity": {` + user + `, "invokedBy": "AWS Internal"}`, analyzer.LaneForwarded, "AWS Internal"},
		{
			"an old record that only the address tells", `"userIdentity": {` + user + `}, "sourceIPAddress": "ssm.amazonaws.com"`,
			analyzer.LaneForwarded, "ssm.amazonaws.com",
		},
		{
			"the console, which looks internal and has an address", `"userIdentity": {` + user + `}, "userAgent": "AWS Internal"`,
			analyzer.LaneDirect, "",
		},
		{"a service in its own name", `"userIdentity": {"type": "AWSService", "invokedBy": "cloudtrail.amazonaws.com"}`, analyzer.LaneService, "cloudtrail.amazonaws.com"},
		{
			"a service-linked role", `"userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/AWSServiceRoleForAutoScaling/AutoScaling", "invokedBy": "autoscaling.amazonaws.com"}`,
			analyzer.LaneService, "autoscaling.amazonaws.com",
		},
		{"KMS itself", `"eventName": "DeleteKey", "eventType": "AwsServiceEvent", "userIdentity": {"accountId": "111122223333", "invokedBy": "AWS Internal"}`, analyzer.LaneService, "AWS Internal"},
		{"an old record that calls a user's call a service event", `"eventType": "AwsServiceEvent", "userIdentity": {` + user + `}`, analyzer.LaneDirect, ""},
		{"nobody, from a service's address", `"userIdentity": {}, "sourceIPAddress": "config.amazonaws.com"`, analyzer.LaneService, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := eventOf(t, c.changes)
			require.Equal(t, c.lane, ev.Lane)
			require.Equal(t, c.invokedBy, ev.InvokedBy)
		})
	}
}

func TestPersonsAreToldFromMachines(t *testing.T) {
	role := func(role, session, more string) string {
		return `"userIdentity": {"type": "AssumedRole", "principalId": "AROA:` + session + `", "arn": "arn:aws:sts::111122223333:assumed-role/` + role + `/` + session + `",
			"sessionContext": {"sessionIssuer": {"arn": "arn:aws:iam::111122223333:role/` + role + `"}` + more + `}}`
	}
	const cli = `, "userAgent": "aws-cli/2.15 md/command#kms.decrypt"`
	for _, c := range []struct {
		name, changes string
		is            bool
		person        string
	}{
		{"an IAM user", `"userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/alice", "userName": "alice"}`, true, "alice"},
		{"root", `"userIdentity": {"type": "Root", "arn": "arn:aws:iam::111122223333:root"}`, true, "root"},
		{"an Identity Center sign-in", role("AWSReservedSSO_Admin_0123456789abcdef", "alice", ""), true, "alice"},
		{"a session named by a mail address", role("developer", "alice@example.com", ""), true, "alice@example.com"},
		{"a source identity", role("developer", "s-1", `, "sourceIdentity": "alice"`), true, "alice"},
		{"an application", role("app", "app", ""), false, ""},
		{"the command line", role("admin", "botocore-session-1772442000", "") + cli, true, ""},
		{"the command line on an instance", role("app", "i-0123456789abcdef0", "") + cli, false, ""},
		{"the command line in a container", role("app", "0123456789abcdef0123456789abcdef", "") + cli, false, ""},
		{"the command line in a build", role("ci", "AWSCodeBuild-11111111", "") + cli, false, ""},
		{"the command line of a pipeline with web identity", role("ci", "deploy", `, "webIdFederationData": {"federatedProvider": "arn:aws:iam::111122223333:oidc-provider/token.actions.example.com"}`) + cli, false, ""},
		{"the command line in a function", role("fn", "fn", "") + `, "userAgent": "aws-cli/2.15 exec-env/AWS_Lambda_python3.13"`, false, ""},
		{"CloudShell", role("admin", "alice", "") + `, "userAgent": "aws-cli/2.15 exec-env/CloudShell"`, true, "alice"},
		{"the console", role("admin", "alice", "") + `, "sessionCredentialFromConsole": "true"`, true, "alice"},
		{"PowerShell", role("admin", "x", "") + `, "userAgent": "AWSPowerShell/4.1"`, true, ""},
		{"a service-linked role", role("AWSServiceRoleForRDS", "rds", "") + cli, false, ""},
		{"a service", `"userIdentity": {"type": "AWSService", "invokedBy": "rds.amazonaws.com"}` + cli, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := eventOf(t, c.changes)
			require.Equal(t, c.is, ev.IsPerson)
			require.Equal(t, c.person, ev.Person)
		})
	}
}

func TestClientFamilies(t *testing.T) {
	for agent, want := range map[string]string{
		"": "",
		"aws-cli/2.15.30 Python/3.11 Linux/6.1 exe/x86_64 md/command#kms.create-key": "aws-cli",
		"aws-cli/2.15.30 exec-env/CloudShell":                                        "cloudshell",
		"[Boto3/1.37.11 md/Botocore#1.37.11 Botocore/1.37.11]":                       "boto3",
		"Boto3/1.26 Linux/6.5.0-kali3-amd64 Botocore/1.29":                           "kali",
		"Boto3/1.37.11 AwsEncryptionSdkPython/3.3.0":                                 "encryption-sdk",
		"aws-sdk-go-v2/1.36.3 lang/go#1.24.1":                                        "aws-sdk-go",
		"aws-sdk-java/2.20 Linux/5.10":                                               "aws-sdk-java",
		"APN/1.0 HashiCorp/1.0 Terraform/1.1.2 aws-sdk-go/1.44":                      "terraform",
		"stratus-red-team_11a6ef34 HashiCorp-terraform-exec/0.17.3":                  "stratus-red-team",
		"[S3Console/0.4, aws-internal/3 aws-sdk-java/1.12]":                          "console",
		"AWS Internal":                 "console", // from an address, see the lanes
		"secretsmanager.amazonaws.com": "aws-service",
		"Mozilla/5.0 (X11)":            "browser",
		"something else":               "other",
	} {
		require.Equal(t, want, eventOf(t, `"userAgent": "`+agent+`"`).Client, agent)
	}
	require.Equal(t, "encryption-sdk", eventOf(t, `"requestParameters": {"encryptionContext": {"aws-crypto-public-key": "x"}}`).Client)
}

func TestNetworks(t *testing.T) {
	for source, want := range map[string]string{
		"198.51.100.7": "public", "2001:db8::1": "public", "10.0.0.1": "private", "100.64.3.2": "private", "fd00::1": "private",
		"127.0.0.1": "private", "169.254.1.1": "private", "::ffff:10.0.0.1": "private",
		"kms.amazonaws.com": "aws", "AWS Internal": "aws", "s3.cn-north-1.amazonaws.com.cn": "aws", "": "unknown", "???": "unknown",
	} {
		require.Equal(t, want, networkOf(source), source)
	}
}
