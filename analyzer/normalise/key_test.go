package normalise

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

func TestTheKeyIsCanonicalWhateverTheRecordCallsIt(t *testing.T) {
	const id = "1234abcd-12ab-34cd-56ef-1234567890ab"
	const mrk = "mrk-1234abcd12ab34cd56ef1234567890ab"
	for _, c := range []struct {
		name, changes string
		key, alias    string
	}{
		{"in resources", ``, keyARN, ""},
		{"in resources with a small arn", `"resources": [{"arn": "` + keyARN + `"}]`, keyARN, ""},
		{"in resources as lookup-events has it", `"resources": [{"ResourceType": "AWS::KMS::Key", "ResourceName": "` + keyARN + `"}]`, keyARN, ""},
		{"in resources as a bare id", `"resources": [{"ResourceType": "AWS::KMS::Key", "ResourceName": "` + id + `"}]`, keyARN, ""},
		{
			"after an alias that is typed as a key",
			`"eventName": "CreateAlias", "resources": [{"type": "AWS::KMS::Key", "ARN": "arn:aws:kms:eu-west-1:111122223333:alias/app"}, {"type": "AWS::KMS::Key", "ARN": "` + keyARN + `"}]`,
			keyARN, "alias/app",
		},
		{"in the Region of the call, of several", `"resources": [{"ARN": "arn:aws:kms:us-east-1:111122223333:key/` + mrk + `"}, {"ARN": "arn:aws:kms:eu-west-1:111122223333:key/` + mrk + `"}]`, "arn:aws:kms:eu-west-1:111122223333:key/" + mrk, ""},
		{"in the response", `"resources": null, "eventName": "CreateGrant", "readOnly": false, "responseElements": {"keyId": "` + keyARN + `"}`, keyARN, ""},
		{"in the metadata of a new key", `"resources": [], "eventName": "CreateKey", "readOnly": false, "responseElements": {"keyMetadata": {"arn": "` + keyARN + `"}}`, keyARN, ""},
		{"in the details of a service event", `"resources": [], "eventName": "RotateKey", "eventType": "AwsServiceEvent", "serviceEventDetails": {"keyId": "` + id + `"}`, keyARN, ""},
		{"in the request as an ARN", `"resources": null, "requestParameters": {"keyId": "` + otherARN + `"}`, otherARN, ""},
		{"in the request as an id", `"resources": null, "requestParameters": {"keyId": "` + id + `"}`, keyARN, ""},
		{"in the request as a multi-Region id", `"resources": null, "requestParameters": {"keyId": "` + mrk + `"}`, "arn:aws:kms:eu-west-1:111122223333:key/" + mrk, ""},
		{"in China", `"resources": null, "awsRegion": "cn-north-1", "requestParameters": {"keyId": "` + id + `"}`, "arn:aws-cn:kms:cn-north-1:111122223333:key/" + id, ""},
		{"not in the request as an alias", `"resources": null, "requestParameters": {"keyId": "alias/app"}`, "", "alias/app"},
		{"not in the request as an alias ARN", `"resources": null, "requestParameters": {"keyId": "arn:aws:kms:eu-west-1:111122223333:alias/aws/s3"}`, "", "alias/aws/s3"},
		{"in the message of a refusal", `"resources": null, "requestParameters": null, "errorCode": "AccessDenied", "errorMessage": "User: arn:aws:sts::111122223333:assumed-role/app/x is not authorized to perform: kms:Decrypt on resource: ` + keyARN + ` because no identity-based policy allows the kms:Decrypt action"`, keyARN, ""},
		{"as an alias in the message", `"resources": null, "requestParameters": null, "errorCode": "NotFoundException", "errorMessage": "Alias arn:aws:kms:eu-west-1:111122223333:alias/gone is not found."`, "", "alias/gone"},
		{"nowhere", `"resources": null, "requestParameters": {"keyId": ""}`, "", ""},
		{"in resources that are no list", `"resources": "none"`, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := eventOf(t, c.changes)
			require.Equal(t, c.key, ev.KeyARN)
			require.Equal(t, c.alias, ev.AliasName)
			if k, ok := parseKeyARN(c.key); ok {
				require.Equal(t, []string{k.account, k.region, k.multi}, []string{ev.KeyAccount, ev.KeyRegion, ev.KeyMulti})
			}
		})
	}
}

func TestReEncryptHasASourceAndADestination(t *testing.T) {
	both := `{"ARN": "` + keyARN + `"}, {"ARN": "` + otherARN + `"}`
	ev := eventOf(t, `"eventName": "ReEncrypt", "resources": [`+both+`], "requestParameters": {"destinationKeyId": "`+otherARN+`", "sourceEncryptionContext": {"a": "1"}, "destinationEncryptionContext": {"b": "2"}}`)
	require.Equal(t, []string{keyARN, otherARN, "444455556666", `{"a":"1"}`}, []string{ev.KeyARN, ev.DestKeyARN, ev.DestKeyAccount, ev.Context})

	ev = eventOf(t, `"eventName": "ReEncrypt", "resources": [`+both+`], "requestParameters": {"destinationKeyId": "alias/there"}`)
	require.Equal(t, []string{keyARN, otherARN}, []string{ev.KeyARN, ev.DestKeyARN})

	ev = eventOf(t, `"eventName": "ReEncrypt", "resources": null, "requestParameters": {"sourceKeyId": "`+keyARN+`", "destinationKeyId": "`+otherARN+`"}`)
	require.Equal(t, []string{keyARN, otherARN}, []string{ev.KeyARN, ev.DestKeyARN})
}

func TestAnAliasThatIsPointedElsewhereNamesItsNewKey(t *testing.T) {
	ev := eventOf(t, `"eventName": "UpdateAlias", "readOnly": false, "resources": null, "requestParameters": {"aliasName": "alias/app", "targetKeyId": "1234abcd-12ab-34cd-56ef-1234567890ab"}`)
	require.Equal(t, []string{keyARN, keyARN, "alias/app"}, []string{ev.KeyARN, ev.DestKeyARN, ev.AliasName})
}

func TestTheOwnersCopyOfACallFromAnotherAccount(t *testing.T) {
	const caller = `"userIdentity": {"type": "AWSAccount", "principalId": "AROA:x", "accountId": "777788889999"}, "sharedEventID": "s"`
	ev := eventOf(t, caller)
	require.True(t, ev.OwnerCopy)
	require.Equal(t, "777788889999", ev.Principal)

	require.False(t, eventOf(t, caller+`, "recipientAccountId": "777788889999"`).OwnerCopy, "the caller's copy")
	require.False(t, eventOf(t, caller+`, "resources": [{"ARN": "`+otherARN+`"}]`).OwnerCopy, "a third account's key")
	require.False(t, eventOf(t, ``).OwnerCopy)
	require.False(t, eventOf(t, `"userIdentity": {"type": "AWSService", "invokedBy": "s3.amazonaws.com", "accountId": "777788889999"}, "sharedEventID": "s"`).OwnerCopy, "a service")
}

func TestContextsNameTheData(t *testing.T) {
	for _, c := range []struct{ context, json, keys, kind, data string }{
		{`{}`, "", "", "", ""},
		{`null`, "", "", "", ""},
		{`{"b":"2","a":"1"}`, `{"a":"1","b":"2"}`, "a,b", "", ""},
		{`{"a":"1","b":"2"}`, `{"a":"1","b":"2"}`, "a,b", "", ""},
		{`{"n":1,"o":{"x":null}}`, `{"n":"1","o":"{\"x\":null}"}`, "n,o", "", ""},
		{`{"tenant":"ü"}`, `{"tenant":"ü"}`, "tenant", "", ""},
		{`{"PARAMETER_ARN":"arn:aws:ssm:eu-west-1:111122223333:parameter/p"}`, `{"PARAMETER_ARN":"arn:aws:ssm:eu-west-1:111122223333:parameter/p"}`, "PARAMETER_ARN", "parameter", "arn:aws:ssm:eu-west-1:111122223333:parameter/p"},
		{`{"aws:s3:arn":"arn:aws:s3:::b/o"}`, `{"aws:s3:arn":"arn:aws:s3:::b/o"}`, "aws:s3:arn", "s3_object", "arn:aws:s3:::b/o"},
		{`{"aws:s3:arn":"arn:aws:s3:::b"}`, `{"aws:s3:arn":"arn:aws:s3:::b"}`, "aws:s3:arn", "s3_bucket", "arn:aws:s3:::b"},
		{`{"aws:ebs:id":"vol-1"}`, `{"aws:ebs:id":"vol-1"}`, "aws:ebs:id", "volume", "vol-1"},
		{`{"aws:dynamodb:subscriberId":"111122223333","aws:dynamodb:tableName":"Books"}`, `{"aws:dynamodb:subscriberId":"111122223333","aws:dynamodb:tableName":"Books"}`, "aws:dynamodb:subscriberId,aws:dynamodb:tableName", "table", "Books"},
		{`{"aws:workmail:arn":"arn:aws:workmail:eu-west-1:111122223333:organization/m"}`, `{"aws:workmail:arn":"arn:aws:workmail:eu-west-1:111122223333:organization/m"}`, "aws:workmail:arn", "workmail", "arn:aws:workmail:eu-west-1:111122223333:organization/m"},
	} {
		ev := eventOf(t, `"requestParameters": {"encryptionContext": `+c.context+`}`)
		require.Equal(t, []string{c.json, c.keys, c.kind, c.data}, []string{ev.Context, ev.ContextKeys, ev.DataKind, ev.DataARN}, c.context)
	}
}

func TestRefusalsTellActionAndLayer(t *testing.T) {
	const user = "User: arn:aws:sts::111122223333:assumed-role/app/because no session policy allows is not authorized to perform: kms:Decrypt on resource: " + keyARN
	for _, c := range []struct{ name, message, action, layer string }{
		{"resource policy", user + " because no resource-based policy allows the kms:Decrypt action", "kms:Decrypt", "resource-based"},
		{"identity policy", user + " because no identity-based policy allows the kms:Decrypt action", "kms:Decrypt", "identity-based"},
		{"session policy", user + " because no session policy allows the kms:Decrypt action", "kms:Decrypt", "session"},
		{"boundary", user + " because no permissions boundary allows the kms:Decrypt action", "kms:Decrypt", "permissions-boundary"},
		{"service control policy", user + " because no service control policy allows the kms:Decrypt action", "kms:Decrypt", "service-control"},
		{"endpoint", user + " because no VPC endpoint policy allows the kms:Decrypt action", "kms:Decrypt", "vpc-endpoint"},
		{"explicit in a service control policy", user + " with an explicit deny in a service control policy", "kms:Decrypt", "service-control"},
		{"explicit with the policy's ARN", user + " with an explicit deny in a resource control policy: arn:aws:organizations::444455556666:policy/o-1/resource_control_policy/p-1", "kms:Decrypt", "resource-control"},
		{"explicit in an identity policy", user + " with an explicit deny in an identity-based policy", "kms:Decrypt", "identity-based"},
		{"explicit in an endpoint policy", user + " with an explicit deny in a VPC endpoint policy", "kms:Decrypt", "vpc-endpoint"},
		{"explicit, no more", user + " with an explicit deny", "kms:Decrypt", "explicit-deny"},
		{"no reason", user, "kms:Decrypt", ""},
		{"full stop", "User: x is not authorized to perform: kms:PutKeyPolicy.", "kms:PutKeyPolicy", ""},
		{"what KMS says of a foreign ciphertext", "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.", "kms:Decrypt", ""},
		{"nothing", "", "kms:Decrypt", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := eventOf(t, fmt.Sprintf(`"errorCode": "AccessDenied", "requestParameters": null, "errorMessage": %q`, c.message))
			require.Equal(t, analyzer.OutcomeDenied, ev.Outcome)
			require.Equal(t, analyzer.TableControl, ev.Table())
			require.Equal(t, c.action, ev.DeniedAction)
			require.Equal(t, c.layer, ev.DeniedBy)
		})
	}
	require.Equal(t, "vpc-endpoint", eventOf(t, `"errorCode": "VpceAccessDenied", "eventType": "AwsVpceEvent"`).DeniedBy)
}

func TestUseOfADeadKeyTellsItsState(t *testing.T) {
	for _, c := range []struct{ code, message, state string }{
		{"KMSInvalidStateException", keyARN + " is pending deletion.", "PendingDeletion"},
		{"KMSInvalidStateException", keyARN + " is pending replica deletion.", "PendingReplicaDeletion"},
		{"KMSInvalidStateException", keyARN + " is pending import.", "PendingImport"},
		{"KMSInvalidStateException", keyARN + " is unavailable.", "Unavailable"},
		{"DisabledException", keyARN + " is disabled.", "Disabled"},
		{"DisabledException", "", "Disabled"},
		{"KMSInvalidStateException", "The external key store proxy rejected the request.", ""},
		{"IncorrectKeyException", keyARN + " is disabled.", ""},
	} {
		ev := eventOf(t, fmt.Sprintf(`"resources": null, "errorCode": %q, "errorMessage": %q`, c.code, c.message))
		require.Equal(t, c.state, ev.KeyState, c.message)
		if c.message != "" && c.state != "" {
			require.Equal(t, keyARN, ev.KeyARN, c.message)
		}
	}
}

func TestTheLifeOfAKey(t *testing.T) {
	ev := eventOf(t, `"readOnly": false, "eventName": "ScheduleKeyDeletion", "requestParameters": {"pendingWindowInDays": 7, "keyId": "x"}, "responseElements": {"keyState": "PendingDeletion", "deletionDate": "Apr 12, 2021 18:58:30 PM"}`)
	require.Equal(t, 7, ev.PendingDays)
	require.Equal(t, "PendingDeletion", ev.KeyState)
	require.Equal(t, time.Date(2021, 4, 12, 18, 58, 30, 0, time.UTC), ev.DeletionDate)
	require.Equal(t, 30, eventOf(t, `"readOnly": false, "eventName": "ScheduleKeyDeletion"`).PendingDays, "the default of KMS")
	require.Equal(t, 0, eventOf(t, `"readOnly": false, "eventName": "ScheduleKeyDeletion", "errorCode": "AccessDenied"`).PendingDays)

	ev = eventOf(t, `"readOnly": false, "eventName": "ImportKeyMaterial", "requestParameters": {"validTo": "May 21, 2025, 5:47:45 AM", "expirationModel": "KEY_MATERIAL_EXPIRES"}, "responseElements": {"keyMaterialId": "m"}`)
	require.Equal(t, time.Date(2025, 5, 21, 5, 47, 45, 0, time.UTC), ev.ValidTo)
	require.Equal(t, []string{"KEY_MATERIAL_EXPIRES", "m"}, []string{ev.ExpirationModel, ev.MaterialID})

	ev = eventOf(t, `"readOnly": false, "eventName": "CreateKey", "requestParameters": {"origin": "EXTERNAL_KEY_STORE", "multiRegion": false, "customKeyStoreId": "cks-1", "xksKeyId": "k", "keySpec": "SYMMETRIC_DEFAULT", "keyUsage": "ENCRYPT_DECRYPT"}`)
	require.Equal(t, []string{"EXTERNAL_KEY_STORE", "cks-1", "k", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"}, []string{ev.Origin, ev.StoreID, ev.XksKeyID, ev.KeySpec, ev.KeyUsage})
	require.False(t, ev.MultiRegion)

	ev = eventOf(t, `"eventName": "RotateKey", "eventType": "AwsServiceEvent", "serviceEventDetails": {"keyId": "x", "rotationType": "ON_DEMAND", "keyOrigin": "AWS_KMS", "currentKeyMaterialId": "new"}`)
	require.Equal(t, []string{"ON_DEMAND", "AWS_KMS", "new"}, []string{ev.RotationType, ev.Origin, ev.MaterialID})

	ev = eventOf(t, `"readOnly": false, "eventName": "ReplicateKey", "requestParameters": {"replicaRegion": "us-east-1"}, "responseElements": {"replicaKeyMetadata": {"arn": "`+otherARN+`", "multiRegion": true}, "replicaPolicy": "{}"}`)
	require.Equal(t, []string{keyARN, otherARN, "us-east-1", "{}"}, []string{ev.KeyARN, ev.DestKeyARN, ev.ReplicaRegion, ev.Policy})
	require.True(t, ev.MultiRegion)

	ev = eventOf(t, `"readOnly": false, "eventName": "DisconnectCustomKeyStore", "resources": null, "requestParameters": {"customKeyStoreId": "cks-1"}`)
	require.Equal(t, "cks-1", ev.StoreID)

	ev = eventOf(t, `"additionalEventData": {"recipient": {"attestationDocumentModuleId": "i", "attestationDocumentEnclaveImageDigest": "d"}}`)
	require.Equal(t, "d", ev.Enclave)
}

func TestTheKeyOfAnotherServicesCall(t *testing.T) {
	for _, params := range []string{
		`{"kmsKeyId": "` + otherARN + `"}`,
		`{"x-amz-server-side-encryption-aws-kms-key-id": "` + otherARN + `"}`,
	} {
		ev := eventOf(t, `"eventSource": "s3.amazonaws.com", "eventName": "PutObject", "readOnly": false, "resources": null, "requestParameters": `+params)
		require.Equal(t, []string{otherARN, "444455556666"}, []string{ev.KeyARN, ev.KeyAccount})
	}
}
