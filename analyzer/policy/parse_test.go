package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

const simplest = `{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}`

func TestLegalShapesAreRead(t *testing.T) {
	for name, text := range map[string]string{
		"a single statement without a list":        `{"Statement":` + simplest + `}`,
		"every element of a document":              `{"Version":"2012-10-17","Id":"x","Statement":[` + simplest + `]}`,
		"the old version":                          `{"Version":"2008-10-17","Statement":[` + simplest + `]}`,
		"element names in lower case":              `{"version":"2012-10-17","statement":[{"effect":"Allow","principal":{"aws":"*"},"action":"kms:*","resource":"*"}]}`,
		"no Resource":                              `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*"}}`,
		"a lone star as action":                    `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`,
		"several kinds of principals":              `{"Statement":{"Effect":"Allow","Principal":{"AWS":["111122223333"],"Service":"s3.amazonaws.com","Federated":["cognito-identity.amazonaws.com"],"CanonicalUser":"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"},"Action":"kms:*","Resource":"*"}}`,
		"a boolean and a number as values":         `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":true},"NumericLessThan":{"aws:MultiFactorAuthAge":[300]}}}}`,
		"an empty Condition":                       `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{}}}`,
		"operators in any case":                    `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"forallvalues:stringlikeifexists":{"kms:EncryptionContextKeys":"a"}}}}`,
		"a value whose shape a variable hides":     `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"Bool":{"aws:ViaAWSService":"${aws:PrincipalTag/x}"}}}}`,
		"dates as AWS writes them":                 `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":["2030-01-01T00:00:00Z","2030-01-01","1900000000"]}}}}`,
		"an address without a mask":                `{"Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":["192.0.2.1","2001:db8::/32"]}}}}`,
		"blanks around and line breaks in strings": "\n {\"Statement\":[{\"Sid\":\"Allow attachment of persistent\n  resources\",\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"kms:*\",\"Resource\":\"*\"}]} \n",
		"a China partition":                        `{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws-cn:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := Parse([]byte(text))
			require.NoError(t, err)
			require.Len(t, doc.Statements, 1)
		})
	}
	doc, err := Parse([]byte("{\"Statement\":[{\"Sid\":\"persistent\n\t  resources \\\"x\\\"\",\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"kms:*\",\"Resource\":\"*\"}]}"))
	require.NoError(t, err)
	require.Equal(t, `persistent resources "x"`, doc.Statements[0].Sid, "a line break in a string is a blank")
}

func TestNonsenseIsNamed(t *testing.T) {
	statement := func(fields string) string { return `{"Statement":[` + simplest + `,{"Sid":"Bad",` + fields + `}]}` }
	condition := func(c string) string {
		return statement(`"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":` + c)
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "the JSON ends too early"},
		{"half a document", `{"Statement":[`, "the JSON ends too early"},
		{"not JSON", `{"Statement": nope}`, "invalid character"},
		{"more after the end", `{"Statement":` + simplest + `} x`, "there is more after the document, from byte"},
		{"an array", `[]`, "it is an array, not an object"},
		{"no statement", `{"Version":"2012-10-17"}`, "Statement is missing or null"},
		{"an empty list of statements", `{"Statement":[]}`, "it has no statement"},
		{"an unknown version", `{"Version":"2020-01-01","Statement":` + simplest + `}`, `Version is "2020-01-01"; there are 2012-10-17 and 2008-10-17`},
		{"an unknown element", `{"Statements":[]}`, `unknown element "Statements"`},
		{"a repeated element", `{"Statement":` + simplest + `,"statement":[]}`, `"statement" is there twice in one object`},
		{"a repeated condition key in another case", condition(`{"StringEquals":{"kms:CallerAccount":"1","KMS:calleraccount":"2"}}`), `"KMS:calleraccount" is there twice`},
		{"a statement that is text", `{"Statement":["x"]}`, "statement 1: is a string, not an object"},
		{"no effect", statement(`"Principal":"*","Action":"kms:*"`), "Bad: has no Effect"},
		{"an effect in lower case", statement(`"Effect":"allow","Principal":"*","Action":"kms:*"`), `Bad: Effect: is "allow"; there are Allow and Deny`},
		{"an unknown element of a statement", statement(`"Effect":"Allow","Principals":"*","Action":"kms:*"`), "Bad: Principals: is no element of a statement"},
		{"no principal", statement(`"Effect":"Allow","Action":"kms:*"`), "Bad: needs one of Principal and NotPrincipal"},
		{"both principals", statement(`"Effect":"Allow","Principal":"*","NotPrincipal":"*","Action":"kms:*"`), "Bad: needs one of Principal and NotPrincipal"},
		{"no action", statement(`"Effect":"Allow","Principal":"*"`), "Bad: needs one of Action and NotAction"},
		{"both resources", statement(`"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","NotResource":"*"`), "Bad: has both Resource and NotResource"},
		{"an action without service", statement(`"Effect":"Allow","Principal":"*","Action":"Decrypt"`), `Bad: Action: "Decrypt" is no action; actions look like kms:Decrypt`},
		{"an empty list of actions", statement(`"Effect":"Allow","Principal":"*","Action":[]`), "Bad: Action: is an empty list"},
		{"a number as action", statement(`"Effect":"Allow","Principal":"*","Action":[1]`), "Bad: Action: has a number in its list, not only strings"},
		{"an ARN alone as principal", statement(`"Effect":"Allow","Principal":"arn:aws:iam::111122223333:root","Action":"kms:*"`), `Bad: Principal: "arn:aws:iam::111122223333:root" stands alone; only "*" may`},
		{"an unknown kind of principal", statement(`"Effect":"Allow","Principal":{"User":"x"},"Action":"kms:*"`), `Bad: Principal: "User" is no kind of principal`},
		{"a principal that is none", statement(`"Effect":"Allow","Principal":{"AWS":"bob"},"Action":"kms:*"`), `Bad: Principal: AWS: "bob" is no account id, ARN or unique id`},
		{"principals of nobody", statement(`"Effect":"Allow","Principal":{},"Action":"kms:*"`), "Bad: Principal: names nobody"},
		{"an unknown operator", condition(`{"StringMatches":{"kms:CallerAccount":"1"}}`), `Bad: Condition: "StringMatches" is no condition operator`},
		{"Null with IfExists", condition(`{"NullIfExists":{"kms:CallerAccount":"true"}}`), `"NullIfExists" is no condition operator`},
		{"a condition key without service", condition(`{"StringEquals":{"CallerAccount":"1"}}`), `"CallerAccount" is no condition key`},
		{"a condition that is a list", condition(`[]`), "Bad: Condition: is an array, not an object"},
		{"keys that are text", condition(`{"StringEquals":"x"}`), "Bad: Condition: StringEquals: is a string, not an object of condition keys"},
		{"a null value", condition(`{"StringEquals":{"kms:CallerAccount":null}}`), "Bad: Condition: StringEquals: kms:CallerAccount: a value is missing or null"},
		{"text for a boolean", condition(`{"Bool":{"aws:SecureTransport":"yes"}}`), `"yes" is no value for Bool`},
		{"text for a number", condition(`{"NumericEquals":{"aws:MultiFactorAuthAge":"old"}}`), `"old" is no value for NumericEquals`},
		{"text for a date", condition(`{"DateLessThan":{"aws:CurrentTime":"soon"}}`), `"soon" is no value for DateLessThan`},
		{"text for an address", condition(`{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/99"}}`), `"10.0.0.0/99" is no value for NotIpAddress`},
		{"nesting without end", strings.Repeat("[", 100_000/2), "it nests deeper than"},
		{"a long document", `{"Id":"` + strings.Repeat("x", MaxSize) + `"}`, "at most 65536 are read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc, err := Parse([]byte(c.text))
			require.ErrorIs(t, err, ErrMalformed)
			require.ErrorContains(t, err, c.want)
			require.Nil(t, doc)
			require.Less(t, len(err.Error()), 400)
		})
	}
}

func TestApply(t *testing.T) {
	t.Run("fills the columns", func(t *testing.T) {
		ev := analyzer.Event{KeyAccount: keyOwner, Policy: policyOf(ownRoot,
			`{"Sid":"Everyone","Effect":"Allow","Principal":"*","Action":"kms:Encrypt","Resource":"*"}`,
			`{"Sid":"Context","Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:tenant":"blue"}}}`,
			`{"Sid":"Vendor","Effect":"Allow","Principal":{"AWS":["444455556666","AROAEXAMPLEEXAMPLE01"]},"Action":"kms:Decrypt","Resource":"*"}`,
			`{"Sid":"Org","Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":["o-exampleorg","${aws:ResourceOrgID}"]}}}`,
			`{"Sid":"Topic","Effect":"Allow","Principal":{"Service":["sns.amazonaws.com"]},"Action":"kms:Decrypt","Resource":"*"}`,
			`{"Sid":"Trail","Effect":"Allow","Principal":{"Service":["cloudtrail.amazonaws.com"]},"Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"}}}`)}
		before := ev
		Apply(&ev)
		require.Empty(t, ev.PolicyProblem)
		require.Equal(t, []string{"Everyone: kms:Encrypt"}, ev.PolicyPublic)
		require.Equal(t, []string{"Context: kms:Decrypt (kms:EncryptionContext:tenant)"}, ev.PolicyNarrowed)
		require.Equal(t, []string{"444455556666"}, ev.PolicyAccounts)
		require.Equal(t, []string{"*", "444455556666", "AROAEXAMPLEEXAMPLE01", ownARN}, ev.PolicyPrincipals)
		require.Equal(t, []string{"AROAEXAMPLEEXAMPLE01"}, ev.PolicyUnknown)
		require.Equal(t, []string{"o-exampleorg"}, ev.PolicyOrgs, "the key's own organisation is left out")
		require.Equal(t, []string{"cloudtrail.amazonaws.com", "sns.amazonaws.com"}, ev.PolicyServices)
		require.Equal(t, []string{"sns.amazonaws.com"}, ev.PolicyUnguarded)
		require.Len(t, ev.PolicyHash, 20)
		require.Equal(t, before.Policy, ev.Policy)
	})
	t.Run("leaves an event without policy alone", func(t *testing.T) {
		ev := analyzer.Event{Account: keyOwner}
		Apply(&ev)
		require.Equal(t, analyzer.Event{Account: keyOwner}, ev)
	})
	t.Run("says why a policy cannot be judged", func(t *testing.T) {
		ev := analyzer.Event{KeyAccount: keyOwner, Policy: `{"Statement": [ HIDDEN ]}`}
		Apply(&ev)
		require.Contains(t, ev.PolicyProblem, "invalid character")
		require.NotEmpty(t, ev.PolicyHash)
		require.Empty(t, ev.PolicyPublic)
	})
	t.Run("takes the recording account for a key whose ARN is not known", func(t *testing.T) {
		ev := analyzer.Event{Account: keyOwner, Policy: policyOf(ownRoot)}
		Apply(&ev)
		require.Empty(t, ev.PolicyAccounts)
	})
	t.Run("leaves out statements about other keys", func(t *testing.T) {
		ev := analyzer.Event{
			KeyAccount: keyOwner, KeyARN: "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
			Policy: policyOf(`{"Effect":"Allow","Principal":"*","Action":"kms:Decrypt","Resource":"arn:aws:kms:us-east-1:111122223333:key/other"}`),
		}
		Apply(&ev)
		require.Empty(t, ev.PolicyPublic)
	})
}

func TestHashIsOfTheMeaning(t *testing.T) {
	hash := func(text string) string {
		doc, err := Parse([]byte(text))
		require.NoError(t, err)
		return doc.Hash()
	}
	one := `{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":["111122223333","444455556666"]},"Action":["kms:Decrypt","kms:Encrypt"],"Resource":"*"},` + simplest + `]}`
	same := ` {"Statement":[` + simplest + `, {"Action":["KMS:encrypt","kms:Decrypt"],"Resource":["*"],"Principal":{"AWS":["444455556666","arn:aws:iam::111122223333:root"]},"Effect":"Allow","Sid":"a"}],
		"Version":"2012-10-17"}`
	require.Equal(t, hash(one), hash(same))
	for name, other := range map[string]string{
		"another action":    strings.Replace(one, "kms:Encrypt", "kms:Sign", 1),
		"another effect":    strings.Replace(one, "Allow", "Deny", 1),
		"another principal": strings.Replace(one, "444455556666", "777788889999", 1),
		"another version":   strings.Replace(one, "2012", "2008", 1),
		"NotAction":         strings.Replace(one, `"Action"`, `"NotAction"`, 1),
		"a condition":       strings.Replace(one, `"Resource":"*"}`, `"Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}`, 1),
	} {
		require.NotEqual(t, hash(one), hash(other), name)
	}
}

// A policy made to be as costly as possible within the size that is read.
func TestATangledPolicyIsJudgedInBoundedTime(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"Version":"2012-10-17","Statement":[` + simplest)
	for i := 0; b.Len() < MaxSize-600; i++ {
		n := string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		b.WriteString(`,{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*","Condition":{"StringNotLike":{"kms:EncryptionContext:` + n + `":"*a*b*c*` + n + `*","aws:PrincipalArn":"arn:aws:iam::*:role/*` + n + `*","kms:EncryptionContext:y` + n + `":"` + n + `"}}}`)
	}
	b.WriteString(`]}`)
	doc, err := Parse([]byte(b.String()))
	require.NoError(t, err)
	f := Judge(doc, keyOwner)
	require.NotEmpty(t, f.Public, "what could not be followed to the end counts as open")
	if f.Incomplete {
		ev := analyzer.Event{KeyAccount: keyOwner, Policy: b.String()}
		Apply(&ev)
		require.Contains(t, ev.PolicyProblem, "too tangled")
	}
}

func FuzzJudge(f *testing.F) {
	for _, seed := range []string{
		policyOf(ownRoot), policyOf(anyone(`{"StringLike":{"aws:PrincipalArn":"*${aws:username}*"}}`)),
		policyOf(anyone(`{"ForAllValues:StringLike":{"aws:PrincipalOrgPaths":["o-*/r-*","*"]}}`), `{"Effect":"Deny","NotPrincipal":{"AWS":"*"},"NotAction":"kms:D*","NotResource":"arn:aws:kms:*"}`),
		policyOf(anyone(`{"IpAddress":{"aws:SourceIp":"::/0"},"NumericLessThan":{"a:b":1e400},"DateEquals":{"c:d":"1e9"}}`)), `{"Statement":[{}]}`, "\"\x00", "{\"a\\\":\n\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ev := analyzer.Event{KeyAccount: keyOwner, Policy: text}
		Apply(&ev)
		require.True(t, strings.TrimSpace(text) == "" || ev.PolicyHash != "")
		doc, err := Parse([]byte(text))
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		Judge(doc, "")
		again, err := Parse([]byte(text))
		require.NoError(t, err)
		require.Equal(t, doc.Hash(), again.Hash())
	})
}
