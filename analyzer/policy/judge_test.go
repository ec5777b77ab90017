package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The key of every test policy is in this account.
const keyOwner = "111122223333"

// stmt wraps statements into a document of the current version.
func policyOf(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// brief is what a test says about Facts.
type brief struct {
	public     []string
	narrowed   []string
	accounts   []string
	principals []string
	ids        []string
	orgs       []string
	services   []string // with "!" when unguarded
}

func briefOf(f Facts) brief {
	var b brief
	for _, o := range f.Public {
		b.public = append(b.public, o.String())
	}
	for _, o := range f.Narrowed {
		b.narrowed = append(b.narrowed, o.String())
	}
	for _, a := range f.Accounts {
		b.accounts = append(b.accounts, a.ID)
	}
	b.principals = f.Principals
	b.ids = f.UnknownIDs
	for _, o := range f.Orgs {
		b.orgs = append(b.orgs, o.ID)
	}
	for _, s := range f.Services {
		if !s.Guarded {
			s.Name += "!"
		}
		b.services = append(b.services, s.Name)
	}
	return b
}

func judgeText(t *testing.T, text string) brief {
	t.Helper()
	doc, err := Parse([]byte(text))
	require.NoError(t, err)
	f := Judge(doc, keyOwner)
	require.False(t, f.Incomplete)
	return briefOf(f)
}

const (
	ownRoot = `{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`
	ownARN  = "arn:aws:iam::111122223333:root"
)

// anyone is an Allow of kms:Decrypt for everyone with this Condition.
func anyone(condition string) string {
	return `{"Sid":"Open","Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*","Condition":` + condition + `}`
}

func TestWholePolicies(t *testing.T) {
	cases := []struct {
		name string
		text string
		want brief
	}{
		{
			"the policy that the console writes lets in the own account only",
			policyOf(ownRoot,
				`{"Sid":"Allow access for Key Administrators","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:role/KeyAdmin"]},"Action":["kms:Create*","kms:Describe*","kms:Enable*","kms:List*","kms:Put*","kms:Update*","kms:Revoke*","kms:Disable*","kms:Get*","kms:Delete*","kms:TagResource","kms:UntagResource","kms:ScheduleKeyDeletion","kms:CancelKeyDeletion"],"Resource":"*"}`,
				`{"Sid":"Allow use of the key","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/App"},"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:DescribeKey"],"Resource":"*"}`,
				`{"Sid":"Allow attachment of persistent resources","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/App"},"Action":["kms:CreateGrant","kms:ListGrants","kms:RevokeGrant"],"Resource":"*","Condition":{"Bool":{"kms:GrantIsForAWSResource":"true"}}}`),
			brief{principals: []string{"arn:aws:iam::111122223333:role/App", "arn:aws:iam::111122223333:role/KeyAdmin", ownARN}},
		},
		{
			"the policy of aws/ebs is open to the own account through EC2",
			policyOf(`{"Sid":"Allow access through EBS for all principals in the account that are authorized to use EBS","Effect":"Allow","Principal":{"AWS":"*"},"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:CreateGrant","kms:DescribeKey"],"Resource":"*","Condition":{"StringEquals":{"kms:CallerAccount":"111122223333","kms:ViaService":"ec2.us-east-1.amazonaws.com"}}}`,
				`{"Sid":"Allow direct access to key metadata to the account","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":["kms:Describe*","kms:Get*","kms:List*","kms:RevokeGrant"],"Resource":"*"}`),
			brief{principals: []string{ownARN}},
		},
		{
			"the policy of aws/s3 is open to the own account through S3",
			`{"Version":"2012-10-17","Id":"auto-s3-2","Statement":[{"Sid":"Allow access through S3 for all principals in the account that are authorized to use S3","Effect":"Allow","Principal":{"AWS":"*"},"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:DescribeKey"],"Resource":"*","Condition":{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com","kms:CallerAccount":"111122223333"}}}]}`,
			brief{},
		},
		{
			"the policy of aws/secretsmanager is open to the own account through Secrets Manager",
			policyOf(`{"Sid":"Allow access through AWS Secrets Manager for all principals in the account that are authorized to use AWS Secrets Manager","Effect":"Allow","Principal":{"AWS":["*"]},"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:CreateGrant","kms:DescribeKey"],"Resource":"*","Condition":{"StringEquals":{"kms:CallerAccount":"111122223333","kms:ViaService":"secretsmanager.us-east-1.amazonaws.com"}}}`,
				`{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":"kms:GenerateDataKey*","Resource":"*","Condition":{"StringEquals":{"kms:CallerAccount":"111122223333"},"StringLike":{"kms:ViaService":"secretsmanager.*.amazonaws.com"}}}`),
			brief{},
		},
		{
			"CloudTrail with source ARN and context is a guarded service",
			policyOf(ownRoot,
				`{"Sid":"Allow CloudTrail to encrypt logs","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:GenerateDataKey*","Resource":"*","Condition":{"StringEquals":{"aws:SourceArn":"arn:aws:cloudtrail:us-east-1:111122223333:trail/main"},"StringLike":{"kms:EncryptionContext:aws:cloudtrail:arn":"arn:aws:cloudtrail:*:111122223333:trail/*"}}}`,
				`{"Sid":"Allow CloudTrail to describe key","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:DescribeKey","Resource":"*","Condition":{"StringEquals":{"aws:SourceArn":"arn:aws:cloudtrail:us-east-1:111122223333:trail/main"}}}`),
			brief{principals: []string{ownARN}, services: []string{"cloudtrail.amazonaws.com"}},
		},
		{
			"CloudWatch Logs with the log group's context is a guarded service",
			policyOf(ownRoot,
				`{"Effect":"Allow","Principal":{"Service":"logs.us-east-1.amazonaws.com"},"Action":["kms:Encrypt*","kms:Decrypt*","kms:ReEncrypt*","kms:GenerateDataKey*","kms:Describe*"],"Resource":"*","Condition":{"ArnLike":{"kms:EncryptionContext:aws:logs:arn":"arn:aws:logs:us-east-1:111122223333:log-group:*"}}}`),
			// DescribeKey has no context and so would never be allowed: guarded.
			brief{principals: []string{ownARN}, services: []string{"logs.us-east-1.amazonaws.com"}},
		},
		{
			"CloudWatch Logs with any account's log groups in the context is unguarded",
			policyOf(`{"Effect":"Allow","Principal":{"Service":"logs.us-east-1.amazonaws.com"},"Action":"kms:Decrypt","Resource":"*","Condition":{"ArnLike":{"kms:EncryptionContext:aws:logs:arn":"arn:aws:logs:*:*:*"}}}`),
			brief{services: []string{"logs.us-east-1.amazonaws.com!"}},
		},
		{
			"a service without any condition is a confused deputy and not public",
			policyOf(`{"Effect":"Allow","Principal":{"Service":["sns.amazonaws.com"]},"Action":["kms:GenerateDataKey*","kms:Decrypt"],"Resource":"*"}`),
			brief{services: []string{"sns.amazonaws.com!"}},
		},
		{
			"a service that acts for another account lets that account in",
			policyOf(`{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:GenerateDataKey*","Resource":"*","Condition":{"StringEquals":{"aws:SourceAccount":["444455556666","111122223333"]}}}`),
			brief{accounts: []string{"444455556666"}, services: []string{"cloudtrail.amazonaws.com"}},
		},
		{
			"IfExists on the source account does not guard a service",
			policyOf(`{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"kms:Decrypt","Resource":"*","Condition":{"StringEqualsIfExists":{"aws:SourceAccount":"111122223333"}}}`),
			brief{services: []string{"sns.amazonaws.com!"}},
		},
		{
			"a service guarded by the organisation of its source",
			policyOf(`{"Effect":"Allow","Principal":{"Service":"config.amazonaws.com"},"Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"aws:SourceOrgID":"o-exampleorg"}}}`),
			brief{orgs: []string{"o-exampleorg"}, services: []string{"config.amazonaws.com"}},
		},
		{
			"a service guarded by a bucket ARN, which has no account",
			policyOf(`{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"kms:Decrypt","Resource":"*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::example-bucket"}}}`),
			brief{services: []string{"s3.amazonaws.com"}},
		},
		{
			"a service for any bucket is unguarded",
			policyOf(`{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"kms:Decrypt","Resource":"*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::*"}}}`),
			brief{services: []string{"s3.amazonaws.com!"}},
		},
		{
			"a vendor's account is let in by root, role and bare number",
			policyOf(ownRoot,
				`{"Sid":"Vendor","Effect":"Allow","Principal":{"AWS":["444455556666","arn:aws:iam::777788889999:role/Backup","arn:aws:iam::222233334444:root"]},"Action":["kms:Decrypt","kms:CreateGrant"],"Resource":"*"}`),
			brief{
				accounts:   []string{"222233334444", "444455556666", "777788889999"},
				principals: []string{"444455556666", ownARN, "arn:aws:iam::222233334444:root", "arn:aws:iam::777788889999:role/Backup"},
			},
		},
		{
			"a ransom key is open to everyone for encryption",
			policyOf(ownRoot, `{"Sid":"AllowEveryone","Effect":"Allow","Principal":"*","Action":["kms:Encrypt","kms:GenerateDataKey*"],"Resource":"*"}`),
			brief{public: []string{"AllowEveryone: kms:Encrypt, kms:GenerateDataKey*"}, principals: []string{"*", ownARN}},
		},
		{
			"a deleted principal is a unique id",
			policyOf(`{"Effect":"Allow","Principal":{"AWS":["AROAEXAMPLEEXAMPLE01","AIDAEXAMPLEEXAMPLE02"]},"Action":"kms:Decrypt","Resource":"*"}`),
			brief{principals: []string{"AIDAEXAMPLEEXAMPLE02", "AROAEXAMPLEEXAMPLE01"}, ids: []string{"AIDAEXAMPLEEXAMPLE02", "AROAEXAMPLEEXAMPLE01"}},
		},
		{
			"Allow with NotPrincipal is open to everyone else",
			policyOf(`{"Sid":"AllBut","Effect":"Allow","NotPrincipal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"kms:*","Resource":"*"}`),
			brief{public: []string{"AllBut: kms:*"}, principals: []string{"*"}},
		},
		{
			"Allow with NotAction is open for what remains",
			policyOf(`{"Effect":"Allow","Principal":"*","NotAction":"kms:DescribeKey","Resource":"*"}`),
			brief{public: []string{"statement 1: all but kms:DescribeKey"}, principals: []string{"*"}},
		},
		{
			"actions are taken in any case and as wildcards",
			policyOf(`{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"KMS:dec*","Resource":"*"}`),
			brief{public: []string{"statement 1: KMS:dec*"}, principals: []string{"*"}},
		},
		{
			"a public DescribeKey is narrowed, not public",
			policyOf(`{"Sid":"Tell","Effect":"Allow","Principal":"*","Action":["kms:DescribeKey","kms:GetPublicKey","kms:Verify"],"Resource":"*"}`),
			brief{narrowed: []string{"Tell: kms:DescribeKey, kms:GetPublicKey, kms:Verify (harmless actions only)"}, principals: []string{"*"}},
		},
		{
			"a public PutKeyPolicy does not work across accounts",
			policyOf(`{"Sid":"Admin","Effect":"Allow","Principal":"*","Action":"kms:PutKeyPolicy","Resource":"*"}`),
			brief{narrowed: []string{"Admin: kms:PutKeyPolicy (harmless actions only)"}, principals: []string{"*"}},
		},
		{
			"actions of other services mean nothing in a key policy",
			policyOf(`{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","kms:ListKeys"],"Resource":"*"}`),
			brief{},
		},
		{
			"a statement about another service's resource means nothing",
			policyOf(`{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"arn:aws:s3:::example-bucket"}`),
			brief{},
		},
		{
			"a federated principal is listed as written",
			policyOf(`{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:saml-provider/idp"},"Action":"kms:Decrypt","Resource":"*"}`),
			brief{principals: []string{"arn:aws:iam::111122223333:saml-provider/idp"}},
		},
		{
			"an entry that its own condition contradicts is not let in",
			policyOf(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kms:CallerAccount":"111122223333"}}}`),
			brief{},
		},
		{
			"an outside account that must come from an organisation is one account, not the organisation",
			policyOf(`{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-exampleorg"}}}`),
			brief{accounts: []string{"444455556666"}, principals: []string{"444455556666"}},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, judgeText(t, c.text)) })
	}
}

func TestWildcardWithCondition(t *testing.T) {
	public := brief{public: []string{"Open: kms:Decrypt"}, principals: []string{"*"}}
	nobody := brief{}
	accounts := func(ids ...string) brief { return brief{accounts: ids} }
	orgs := func(ids ...string) brief { return brief{orgs: ids} }
	narrowed := func(keys string) brief {
		return brief{narrowed: []string{"Open: kms:Decrypt (" + keys + ")"}, principals: []string{"*"}}
	}
	cases := []struct {
		name      string
		condition string
		want      brief
	}{
		// Accounts.
		{"CallerAccount of the key is the own account", `{"StringEquals":{"kms:CallerAccount":"111122223333"}}`, nobody},
		{"CallerAccount of others lets those in", `{"StringEquals":{"kms:CallerAccount":["444455556666","111122223333"]}}`, accounts("444455556666")},
		{"condition keys are taken in any case", `{"StringEquals":{"KMS:calleraccount":"444455556666"}}`, accounts("444455556666")},
		{"PrincipalAccount lets an account in", `{"StringEquals":{"aws:PrincipalAccount":"444455556666"}}`, accounts("444455556666")},
		{"PrincipalAccount is always there, so IfExists narrows", `{"StringEqualsIfExists":{"aws:PrincipalAccount":"444455556666"}}`, accounts("444455556666")},
		{"not CallerAccount lets all others in", `{"StringNotEquals":{"kms:CallerAccount":"444455556666"}}`, public},
		{"CallerAccount like star narrows nothing", `{"StringLike":{"kms:CallerAccount":"*"}}`, public},
		{"CallerAccount like a prefix fits strangers", `{"StringLike":{"kms:CallerAccount":"4444*"}}`, public},
		{"a star under StringEquals is a character", `{"StringEquals":{"kms:CallerAccount":"*"}}`, nobody},
		{"ForAnyValue on a single value narrows", `{"ForAnyValue:StringEquals":{"kms:CallerAccount":"444455556666"}}`, accounts("444455556666")},
		{"two accounts that exclude each other let nobody in", `{"StringEquals":{"kms:CallerAccount":"444455556666","aws:PrincipalAccount":"111122223333"}}`, nobody},
		{"the caller's own account as a variable narrows nothing", `{"StringEquals":{"kms:CallerAccount":"${aws:PrincipalAccount}"}}`, public},
		{"the key's account as a variable is the own account", `{"StringEquals":{"aws:PrincipalAccount":"${aws:ResourceAccount}"}}`, nobody},

		// Services behind the caller.
		{"ViaService alone is open to every account", `{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com"}}`, public},
		{"ViaService with CallerAccount is the own account", `{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com","kms:CallerAccount":"111122223333"}}`, nobody},

		// Organisations.
		{"PrincipalOrgID lets an organisation in", `{"StringEquals":{"aws:PrincipalOrgID":"o-exampleorg"}}`, orgs("o-exampleorg")},
		{"PrincipalOrgID may be missing, so IfExists narrows nothing", `{"StringEqualsIfExists":{"aws:PrincipalOrgID":"o-exampleorg"}}`, public},
		{"ForAllValues on a missing key holds", `{"ForAllValues:StringEquals":{"aws:PrincipalOrgID":"o-exampleorg"}}`, public},
		{"not PrincipalOrgID lets all others in", `{"StringNotEquals":{"aws:PrincipalOrgID":"o-exampleorg"}}`, public},
		{"any organisation is everyone with an organisation", `{"StringLike":{"aws:PrincipalOrgID":"o-*"}}`, public},
		{"Null false on PrincipalOrgID is everyone with an organisation", `{"Null":{"aws:PrincipalOrgID":"false"}}`, public},
		{"Null false beside IfExists narrows again", `{"Null":{"aws:PrincipalOrgID":"false"},"StringEqualsIfExists":{"aws:PrincipalOrgID":"o-exampleorg"}}`, orgs("o-exampleorg")},
		{"a path lets a part of an organisation in", `{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":"o-exampleorg/r-ab12/ou-ab12-11111111/*"}}`, orgs("o-exampleorg/r-ab12/ou-ab12-11111111/*")},
		{"a path over the whole organisation is the organisation", `{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":"o-exampleorg/*"}}`, orgs("o-exampleorg")},
		{"ForAllValues on missing paths holds", `{"ForAllValues:StringLike":{"aws:PrincipalOrgPaths":"o-exampleorg/*"}}`, public},
		{"the organisation of the key as a variable", `{"StringEquals":{"aws:PrincipalOrgID":"${aws:ResourceOrgID}"}}`, orgs("${aws:ResourceOrgID}")},
		{"an organisation with an account in it is that account", `{"StringEquals":{"aws:PrincipalOrgID":"o-exampleorg","aws:PrincipalAccount":"444455556666"}}`, accounts("444455556666")},

		// Principals.
		{
			"PrincipalArn lets its account in", `{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::444455556666:role/App"}}`,
			brief{accounts: []string{"444455556666"}, principals: []string{"arn:aws:iam::444455556666:role/App"}},
		},
		{
			"PrincipalArn with a star in the name lets its account in", `{"StringLike":{"aws:PrincipalArn":"arn:aws:iam::444455556666:role/app-*"}}`,
			brief{accounts: []string{"444455556666"}, principals: []string{"arn:aws:iam::444455556666:role/app-*"}},
		},
		{"PrincipalArn with a star for the account is open to all who name a role so", `{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/Admin"}}`, public},
		{"PrincipalArn with a star across parts is open", `{"StringLike":{"aws:PrincipalArn":"*Admin"}}`, public},
		{"a star in an Arn operator stays in its part", `{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam:*:role/Admin"}}`, nobody},
		{"not PrincipalArn is open", `{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::444455556666:role/*"}}`, public},
		{"the caller's account in an ARN narrows nothing", `{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::${aws:PrincipalAccount}:role/App"}}`, public},
		{"userid names a unique id", `{"StringLike":{"aws:userid":"AROAEXAMPLEEXAMPLE01:*"}}`, brief{ids: []string{"AROAEXAMPLEEXAMPLE01"}}},
		{"userid by session name fits strangers", `{"StringLike":{"aws:userid":"*:alice@example.com"}}`, public},
		{"anybody can have a user of that name", `{"StringEquals":{"aws:username":"alice"}}`, public},
		{"anybody can tag their role", `{"StringEquals":{"aws:PrincipalTag/team":"payments"}}`, public},
		{"not a service is everyone else", `{"Bool":{"aws:PrincipalIsAWSService":"false"}}`, public},

		// Sources: only services have one.
		{"SourceAccount leaves services for that account", `{"StringEquals":{"aws:SourceAccount":"444455556666"}}`, brief{accounts: []string{"444455556666"}, services: []string{"*"}}},
		{"SourceAccount of the key leaves services", `{"StringEquals":{"aws:SourceAccount":"111122223333"}}`, brief{services: []string{"*"}}},
		{"SourceAccount with IfExists leaves everyone", `{"StringEqualsIfExists":{"aws:SourceAccount":"111122223333"}}`, public},
		{"not SourceAccount leaves everyone", `{"StringNotEquals":{"aws:SourceAccount":"444455556666"}}`, public},
		{"SourceArn leaves services for its account", `{"ArnLike":{"aws:SourceArn":"arn:aws:sns:us-east-1:444455556666:topic"}}`, brief{accounts: []string{"444455556666"}, services: []string{"*"}}},
		{
			"SourceArn with a star for the account leaves services for anyone", `{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:*:*"}}`,
			brief{narrowed: []string{"Open: kms:Decrypt (through AWS services only)"}, services: []string{"*!"}},
		},
		{"SourceOrgID leaves services for the organisation", `{"StringEquals":{"aws:SourceOrgID":"o-exampleorg"}}`, brief{orgs: []string{"o-exampleorg"}, services: []string{"*"}}},
		{
			"only services", `{"Bool":{"aws:PrincipalIsAWSService":"true"}}`,
			brief{narrowed: []string{"Open: kms:Decrypt (through AWS services only)"}, services: []string{"*!"}},
		},
		{"one service by name", `{"StringEquals":{"aws:PrincipalServiceName":"cloudtrail.amazonaws.com","aws:SourceAccount":"111122223333"}}`, brief{services: []string{"cloudtrail.amazonaws.com"}}},

		// What guards without saying who.
		{"a value of the encryption context", `{"StringEquals":{"kms:EncryptionContext:tenant":"blue"}}`, narrowed("kms:EncryptionContext:tenant")},
		{"a bucket in the encryption context", `{"StringLike":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::example-bucket/*"}}`, narrowed("kms:EncryptionContext:aws:s3:arn")},
		{"any bucket in the encryption context", `{"StringLike":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::*"}}`, public},
		{"any value of the encryption context", `{"StringLike":{"kms:EncryptionContext:tenant":"*"}}`, public},
		{"the encryption context when there is one", `{"StringEqualsIfExists":{"kms:EncryptionContext:tenant":"blue"}}`, public},
		{"not a value of the encryption context", `{"StringNotEquals":{"kms:EncryptionContext:tenant":"blue"}}`, public},
		{"an encryption context of some value", `{"Null":{"kms:EncryptionContext:tenant":"false"}}`, public},
		{"the caller's tag in the encryption context", `{"StringEquals":{"kms:EncryptionContext:tenant":"${aws:PrincipalTag/tenant}"}}`, public},
		{"names of the encryption context", `{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["tenant"]}}`, public},
		{"an address range", `{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, narrowed("aws:SourceIp")},
		{"every address", `{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}`, public},
		{"half of all addresses", `{"IpAddress":{"aws:SourceIp":"0.0.0.0/1"}}`, public},
		{"outside an address range", `{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, public},
		{"an endpoint", `{"StringEquals":{"aws:SourceVpce":"vpce-1a2b3c4d"}}`, narrowed("aws:SourceVpce")},
		{"a VPC", `{"StringEquals":{"aws:SourceVpc":"vpc-111bbb22"}}`, narrowed("aws:SourceVpc")},
		{"any endpoint", `{"StringLike":{"aws:SourceVpce":"vpce-*"}}`, narrowed("aws:SourceVpce")},
		{"an enclave's image", `{"StringEqualsIgnoreCase":{"kms:RecipientAttestation:ImageSha384":"9fedcba8"}}`, narrowed("kms:RecipientAttestation:ImageSha384")},

		// What the caller chooses.
		{"MFA", `{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`, public},
		{"TLS", `{"Bool":{"aws:SecureTransport":"true"}}`, public},
		{"no TLS, which KMS does not have", `{"Bool":{"aws:SecureTransport":"false"}}`, nobody},
		{"a Region", `{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}`, public},
		{"a date", `{"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"}}`, public},
		{"a number", `{"NumericLessThan":{"aws:MultiFactorAuthAge":"300"}}`, public},
		{"an algorithm", `{"StringEquals":{"kms:EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}}`, public},
		{"a property of the key", `{"StringEquals":{"kms:KeySpec":"SYMMETRIC_DEFAULT"}}`, public},
		{"an unknown key", `{"StringEquals":{"example:thing":"x"}}`, public},
		{"no values at all", `{"StringEquals":{"kms:CallerAccount":[]}}`, nobody},
		{"two conditions of which one narrows", `{"StringEquals":{"kms:ViaService":"s3.us-east-1.amazonaws.com","aws:PrincipalOrgID":"o-exampleorg"},"Bool":{"aws:SecureTransport":"true"}}`, orgs("o-exampleorg")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, judgeText(t, policyOf(anyone(c.condition)))) })
	}
}

func TestDeny(t *testing.T) {
	open := `{"Sid":"Open","Effect":"Allow","Principal":"*","Action":["kms:Decrypt","kms:CreateGrant"],"Resource":"*"}`
	public := brief{public: []string{"Open: kms:CreateGrant, kms:Decrypt"}, principals: []string{"*"}}
	deny := func(principal, action, condition string) string {
		s := `{"Effect":"Deny",` + principal + `,"Action":"` + action + `","Resource":"*"`
		if condition != "" {
			s += `,"Condition":` + condition
		}
		return s + "}"
	}
	all := `"Principal":"*"`
	cases := []struct {
		name string
		deny string
		want brief
	}{
		{"for everyone removes", deny(all, "kms:*", ""), brief{}},
		{"for one action leaves the others", deny(all, "kms:Decrypt", ""), brief{public: []string{"Open: kms:CreateGrant"}, principals: []string{"*"}}},
		{"unless from the organisation leaves the organisation", deny(all, "kms:*", `{"StringNotEquals":{"aws:PrincipalOrgID":"o-exampleorg"}}`), brief{orgs: []string{"o-exampleorg"}, principals: nil}},
		{
			"unless from the organisation or a service leaves services unguarded",
			deny(all, "kms:*", `{"StringNotEqualsIfExists":{"aws:PrincipalOrgID":"o-exampleorg"},"BoolIfExists":{"aws:PrincipalIsAWSService":"false"}}`),
			brief{narrowed: []string{"Open: kms:CreateGrant, kms:Decrypt (through AWS services only)"}, orgs: []string{"o-exampleorg"}, services: []string{"*!"}},
		},
		{"unless from accounts leaves the accounts", deny(all, "kms:*", `{"StringNotEquals":{"kms:CallerAccount":["111122223333","444455556666"]}}`), brief{accounts: []string{"444455556666"}}},
		{"with NotPrincipal leaves the account named", deny(`"NotPrincipal":{"AWS":["arn:aws:iam::444455556666:root","arn:aws:iam::111122223333:root"]}`, "kms:*", ""), brief{accounts: []string{"444455556666"}}},
		{"for one account leaves the rest", deny(`"Principal":{"AWS":"444455556666"}`, "kms:*", ""), public},
		{"without MFA leaves those with", deny(all, "kms:*", `{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}`), public},
		{"without TLS takes nothing from KMS", deny(all, "kms:*", `{"Bool":{"aws:SecureTransport":"false"}}`), public},
		{
			"unless through an endpoint leaves the endpoint", deny(all, "kms:*", `{"StringNotEquals":{"aws:SourceVpce":"vpce-1a2b3c4d"}}`),
			brief{narrowed: []string{"Open: kms:CreateGrant, kms:Decrypt (aws:SourceVpce)"}, principals: []string{"*"}},
		},
		{
			"unless from an address range leaves the range", deny(all, "kms:*", `{"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24"]}}`),
			brief{narrowed: []string{"Open: kms:CreateGrant, kms:Decrypt (aws:SourceIp)"}, principals: []string{"*"}},
		},
		{"for an organisation leaves the rest", deny(all, "kms:*", `{"StringEquals":{"aws:PrincipalOrgID":"o-exampleorg"}}`), public},
		{"of other accounts with a star for the account", deny(all, "kms:*", `{"StringNotLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:*"}}`), brief{}},
		{"of another key's resource takes nothing", `{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"arn:aws:kms:us-east-1:111122223333:key/other"}`, public},
		{"of all keys by pattern removes", `{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"arn:aws:kms:*:*:key/*"}`, brief{}},
		{"with NotAction leaves what it names", `{"Effect":"Deny","Principal":"*","NotAction":"kms:Decrypt","Resource":"*"}`, brief{public: []string{"Open: kms:Decrypt"}, principals: []string{"*"}}},
	}
	for _, c := range cases {
		t.Run("a Deny "+c.name, func(t *testing.T) {
			require.Equal(t, c.want, judgeText(t, policyOf(open, c.deny)))
			require.Equal(t, c.want, judgeText(t, policyOf(c.deny, open)), "in the other order")
		})
	}

	t.Run("a Deny of a role takes the role's entry away", func(t *testing.T) {
		allow := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:role/App"},"Action":"kms:Decrypt","Resource":"*"}`
		require.Equal(t, brief{}, judgeText(t, policyOf(allow, deny(`"Principal":{"AWS":"arn:aws:iam::444455556666:role/App"}`, "kms:*", ""))))
		require.Equal(t, brief{}, judgeText(t, policyOf(allow, deny(`"Principal":{"AWS":"444455556666"}`, "kms:*", ""))), "the whole account denied")
	})
	t.Run("a Deny of the session's role takes the session away", func(t *testing.T) {
		allow := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::444455556666:assumed-role/App/job"},"Action":"kms:Decrypt","Resource":"*"}`
		require.Equal(t, []string{"444455556666"}, judgeText(t, policyOf(allow)).accounts)
		require.Equal(t, brief{}, judgeText(t, policyOf(allow, deny(`"Principal":{"AWS":"arn:aws:iam::444455556666:role/App"}`, "kms:*", ""))))
	})
}

func TestResourceOfThisKey(t *testing.T) {
	const arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	judge := func(resource string) brief {
		doc, err := Parse([]byte(policyOf(`{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"` + resource + `"}`)))
		require.NoError(t, err)
		return briefOf(JudgeKey(doc, arn))
	}
	require.NotEmpty(t, judge("*").public)
	require.NotEmpty(t, judge(arn).public)
	require.NotEmpty(t, judge("arn:aws:kms:us-east-1:111122223333:key/*").public)
	require.Empty(t, judge("arn:aws:kms:us-east-1:111122223333:key/other").public)
	require.Empty(t, judge("arn:aws:kms:us-east-1:111122223333:alias/mine").public)
}

func TestVariablesNeedTheCurrentVersion(t *testing.T) {
	text := policyOf(anyone(`{"StringEquals":{"kms:CallerAccount":"${aws:PrincipalAccount}"}}`))
	require.NotEmpty(t, judgeText(t, text).public)
	require.Empty(t, judgeText(t, strings.Replace(text, "2012-10-17", "2008-10-17", 1)).public)
	require.Empty(t, judgeText(t, strings.Replace(text, `"Version":"2012-10-17",`, "", 1)).public)
}

func TestAccessSaysWhatForAndByWhich(t *testing.T) {
	doc, err := Parse([]byte(policyOf(
		`{"Sid":"Use","Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":["kms:Decrypt","kms:DescribeKey"],"Resource":"*"}`,
		`{"Sid":"Hand on","Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"kms:CreateGrant","Resource":"*"}`)))
	require.NoError(t, err)
	require.Equal(t, []Access{{
		ID: "444455556666", Actions: []string{"kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey"},
		Statements: []string{"Hand on", "Use"}, Kinds: []ActionKind{ActionGrant, ActionRead, ActionUse},
	}}, Judge(doc, keyOwner).Accounts)
}

func TestKindOf(t *testing.T) {
	require.Equal(t, ActionUse, KindOf("Decrypt"))
	require.Equal(t, ActionUse, KindOf("kms:generatedatakeywithoutplaintext"))
	require.Equal(t, ActionGrant, KindOf("kms:CreateGrant"))
	require.Equal(t, ActionAdmin, KindOf("PutKeyPolicy"))
	require.Equal(t, ActionRead, KindOf("DescribeKey"))
	require.Equal(t, ActionKind(""), KindOf("ListKeys"))
}
