package normalise

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGranteesAreClassedByTheirForm(t *testing.T) {
	for grantee, want := range map[string][2]string{
		"":                                 {"", ""},
		"dynamodb.amazonaws.com":           {"service", ""},
		"dynamodb.us-west-2.amazonaws.com": {"service", ""},
		"ec2.cn-north-1.amazonaws.com.cn":  {"service", ""},
		"123456789012:aws:ec2-infrastructure:i-81e2f56c": {"infrastructure", "123456789012"},
		"arn:aws:iam::444455556666:role/app":             {"role", "444455556666"},
		"arn:aws:iam::444455556666:user/eve":             {"user", "444455556666"},
		"arn:aws:iam::444455556666:root":                 {"root", "444455556666"},
		"arn:aws-cn:iam::444455556666:root":              {"root", "444455556666"},
		"444455556666":                                   {"account", "444455556666"},
		"arn:aws:sts::444455556666:assumed-role/app/s":   {"session", "444455556666"},
		"arn:aws:sts::444455556666:federated-user/bob":   {"federated", "444455556666"},
		"arn:aws:iam::111122223333:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling": {"service", "111122223333"},
		"arn:aws:iam::444455556666:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling": {"role", "444455556666"},
		"AIDAEXAMPLE":                            {"unknown", ""},
		"AROAEXAMPLE":                            {"unknown", ""},
		"arn:aws:iam::444455556666:group/admins": {"unknown", "444455556666"},
	} {
		kind, account := granteeKind(grantee, "111122223333")
		require.Equal(t, want, [2]string{kind, account}, grantee)
	}
}

const createGrant = `"readOnly": false, "eventName": "CreateGrant", "responseElements": {"grantId": "g"}, "requestParameters": `

func TestAGrantIsReadWhole(t *testing.T) {
	ev := eventOf(t, createGrant+`{"keyId": "x", "granteePrincipal": "arn:aws:iam::444455556666:role/app ", "retiringPrincipal": "arn:aws:iam::777788889999:root",
		"operations": ["GenerateDataKey", "Decrypt", "Decrypt"], "constraints": {"encryptionContextSubset": {"b": "2", "a": "1"}}, "name": "n"}`)
	require.Equal(t, []string{"g", "n", "arn:aws:iam::444455556666:role/app", "role", "444455556666"},
		[]string{ev.GrantID, ev.GrantName, ev.Grantee, ev.GranteeKind, ev.GranteeAccount})
	require.Equal(t, []string{"arn:aws:iam::777788889999:root", "777788889999"}, []string{ev.RetiringPrincipal, ev.RetiringAccount})
	require.Equal(t, []string{"Decrypt", "GenerateDataKey"}, ev.GrantOps)
	require.Equal(t, `{"encryptionContextSubset":{"a":"1","b":"2"}}`, ev.GrantConstraint)
	require.NotEmpty(t, ev.GrantHash)
}

func TestEqualGrantsHaveEqualFingerprints(t *testing.T) {
	hash := func(request string) string { return eventOf(t, createGrant+request).GrantHash }
	a := hash(`{"granteePrincipal": "arn:aws:iam::444455556666:role/app", "operations": ["Decrypt", "Encrypt"], "constraints": {"encryptionContextEquals": {"a": "1", "b": "2"}}}`)
	require.Equal(t, a, hash(`{"operations": ["Encrypt", "Decrypt"], "granteePrincipal": "arn:aws:iam::444455556666:role/app ", "name": "again", "constraints": {"encryptionContextEquals": {"b": "2", "a": "1"}}}`))
	require.NotEqual(t, a, hash(`{"granteePrincipal": "arn:aws:iam::444455556666:role/app", "operations": ["Decrypt"], "constraints": {"encryptionContextEquals": {"a": "1", "b": "2"}}}`))
	require.NotEqual(t, a, hash(`{"granteePrincipal": "arn:aws:iam::444455556666:role/app", "operations": ["Decrypt", "Encrypt"]}`))
}

func TestAnEmptyConstraintConstrainsNothing(t *testing.T) {
	for _, constraints := range []string{`null`, `{}`, `{"encryptionContextSubset": {}}`, `{"encryptionContextSubset": null}`} {
		require.Empty(t, eventOf(t, createGrant+`{"constraints": `+constraints+`}`).GrantConstraint, constraints)
	}
}

func TestEndedGrantsNameTheirId(t *testing.T) {
	require.Equal(t, "g", eventOf(t, `"readOnly": false, "eventName": "RevokeGrant", "requestParameters": {"grantId": "g"}`).GrantID)
	require.Equal(t, "g", eventOf(t, `"readOnly": false, "eventName": "RetireGrant", "requestParameters": null, "additionalEventData": {"grantId": "g"}`).GrantID)
}
