package normalise

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

const (
	keyARN   = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	otherARN = "arn:aws:kms:eu-west-1:444455556666:key/0987dcba-09fe-87dc-65ba-ab0987654321"
)

// record returns a record: an ordinary direct Decrypt of a role session, with
// fields replaced by those given as JSON. A field given as null is null; one
// given as "" in drop is left out.
func recordOf(t testing.TB, changes string, drop ...string) []byte {
	t.Helper()
	fields := map[string]json.RawMessage{}
	require.NoError(t, json.Unmarshal([]byte(`{
		"eventVersion": "1.11",
		"userIdentity": {"type": "AssumedRole", "principalId": "AROAEXAMPLE:app", "arn": "arn:aws:sts::111122223333:assumed-role/app-role/app",
			"accountId": "111122223333", "accessKeyId": "ASIAEXAMPLE",
			"sessionContext": {"sessionIssuer": {"type": "Role", "arn": "arn:aws:iam::111122223333:role/service/app-role", "accountId": "111122223333", "userName": "app-role"},
				"attributes": {"mfaAuthenticated": "false"}}},
		"eventTime": "2026-03-02T09:00:00Z", "eventSource": "kms.amazonaws.com", "eventName": "Decrypt", "awsRegion": "eu-west-1",
		"sourceIPAddress": "198.51.100.7", "userAgent": "aws-sdk-java/2.20",
		"requestParameters": {"encryptionAlgorithm": "SYMMETRIC_DEFAULT"}, "responseElements": null,
		"requestID": "11111111-1111-4111-8111-111111111111", "eventID": "22222222-2222-4222-8222-222222222222", "readOnly": true,
		"resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": "`+keyARN+`"}],
		"eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": "111122223333", "eventCategory": "Management"
	}`), &fields))
	require.NoError(t, json.Unmarshal([]byte("{"+changes+"}"), &fields), changes)
	for _, name := range drop {
		delete(fields, name)
	}
	data, err := json.Marshal(fields)
	require.NoError(t, err)
	return data
}

// eventOf normalises a record three times, so that the caches have their say,
// and once with other white space.
func eventOf(t testing.TB, changes string, drop ...string) analyzer.Event {
	t.Helper()
	data := recordOf(t, changes, drop...)
	n := New()
	var first analyzer.Event
	require.NoError(t, n.Event(data, Hint{}, &first))
	for range 3 {
		var again analyzer.Event
		require.NoError(t, n.Event(data, Hint{}, &again))
		require.Empty(t, cmp.Diff(first, again), "from the caches")
	}
	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, data, " ", "\t"))
	var spaced analyzer.Event
	require.NoError(t, n.Event(indented.Bytes(), Hint{}, &spaced))
	require.Empty(t, cmp.Diff(first, spaced), "with white space")
	return first
}

func TestAnOrdinaryDecryptIsOneUseWithEverythingInPlace(t *testing.T) {
	ev := eventOf(t, `"requestParameters": {"encryptionContext": {"SecretARN": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbCdEf", "SecretVersionId": "v1"},
		"encryptionAlgorithm": "SYMMETRIC_DEFAULT", "keyId": "alias/app"},
		"additionalEventData": {"keyMaterialId": "abc"}, "vpcEndpointId": "vpce-1", "sharedEventID": "33333333-3333-4333-8333-333333333333",
		"tlsDetails": {"tlsVersion": "TLSv1.3"}`)
	require.Equal(t, analyzer.Event{
		Time: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), ID: "22222222-2222-4222-8222-222222222222", SharedID: "33333333-3333-4333-8333-333333333333",
		Account: "111122223333", Region: "eu-west-1", Source: "kms.amazonaws.com", Name: "Decrypt", Type: "AwsApiCall", ReadOnly: true,
		Lane: analyzer.LaneDirect, Principal: "arn:aws:iam::111122223333:role/service/app-role", PrincipalType: "role",
		PrincipalAccount: "111122223333", PrincipalName: "app-role", SessionName: "app", AccessKey: "ASIAEXAMPLE", MFA: "false",
		SourceIP: "198.51.100.7", Network: "public", VPCE: "vpce-1", Client: "aws-sdk-java", UserAgent: "aws-sdk-java/2.20", TLSVersion: "TLSv1.3",
		KeyARN: keyARN, KeyAccount: "111122223333", KeyRegion: "eu-west-1", KeyWritten: "alias/app", AliasName: "alias/app",
		Context:     `{"SecretARN":"arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbCdEf","SecretVersionId":"v1"}`,
		ContextKeys: "SecretARN,SecretVersionId", DataKind: "secret", DataARN: "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbCdEf",
		Algorithm: "SYMMETRIC_DEFAULT", MaterialID: "abc", Outcome: analyzer.OutcomeOK,
	}, ev)
	require.Equal(t, analyzer.TableUses, ev.Table())
}

func TestRecordsThatCannotBePlacedAreIncomplete(t *testing.T) {
	for name, data := range map[string][]byte{
		"no time":          recordOf(t, "", "eventTime"),
		"time not a time":  recordOf(t, `"eventTime": "yesterday"`),
		"no name":          recordOf(t, "", "eventName"),
		"no source":        recordOf(t, "", "eventSource"),
		"an array":         []byte(`[1]`),
		"nothing":          nil,
		"cut":              recordOf(t, "")[:200],
		"two objects":      append(recordOf(t, ""), recordOf(t, "")...),
		"name without end": []byte(`{"eventName`),
		"no value":         []byte(`{"eventName":`),
		"no colon":         []byte(`{"eventName" 1}`),
	} {
		var ev analyzer.Event
		require.ErrorIs(t, New().Event(data, Hint{}, &ev), ErrIncomplete, name)
	}
}

func TestWhereTheRecordIsSilentTheFileNameSpeaks(t *testing.T) {
	var ev analyzer.Event
	data := recordOf(t, "", "recipientAccountId", "awsRegion", "eventID", "eventType")
	require.NoError(t, New().Event(data, Hint{Account: "444455556666", Region: "us-east-1"}, &ev))
	require.Equal(t, "444455556666", ev.Account)
	require.Equal(t, "us-east-1", ev.Region)
	require.Equal(t, "AwsApiCall", ev.Type)

	require.NoError(t, New().Event(data, Hint{}, &ev))
	require.Equal(t, "111122223333", ev.Account, "of the caller")
}

func TestARecordWithoutIDIsNamedByItsContent(t *testing.T) {
	a := eventOf(t, "", "eventID") // also compares with other white space
	b := eventOf(t, `"eventTime": "2026-03-02T09:00:01Z"`, "eventID")
	require.True(t, strings.HasPrefix(a.ID, "content-"))
	require.NotEqual(t, a.ID, b.ID)
}

func TestEventTimesAreReadInAllTheirShapes(t *testing.T) {
	at := time.Date(2025, 3, 5, 21, 19, 44, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2025-03-05T21:19:44Z":                at,
		"2025-03-05t21:19:44z":                at,
		"2025-03-05T21:19:44z":                at,
		"2025-03-05 21:19:44.000000000":       at,
		"2025-03-05 21:19:44":                 at,
		"2025-03-05T21:19:44.123456789Z":      at.Add(123 * time.Millisecond),
		"2025-03-05T22:19:44+01:00":           at,
		"2025-03-05T21:19:44+0000":            at,
		"2025-03-05 21:19:44.000 +0000 UTC":   at,
		"1741209584":                          at,
		"1741209584.5":                        at.Add(500 * time.Millisecond),
		"2024-02-29T23:59:59Z":                time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC),
		"2000-03-01T00:00:00Z":                time.Date(2000, 3, 1, 0, 0, 0, 0, time.UTC),
		"1970-01-01T00:00:00Z":                time.Unix(0, 0).UTC(),
		"2100-12-31T00:00:00Z":                time.Date(2100, 12, 31, 0, 0, 0, 0, time.UTC),
		"2025-02-29T00:00:00Z":                {},
		"2025-13-01T00:00:00Z":                {},
		"2025-01-01T24:00:00Z":                {},
		"1969-01-01T00:00:00Z":                {},
		"2025-01-0xT00:00:00Z":                {},
		"":                                    {},
		"9999999999999999999999999999999999":  {},
		"2025-03-05T21:19:44Z and some words": {},
	} {
		got, ok := parseTime(text)
		require.Equal(t, want, got, text)
		require.Equal(t, !want.IsZero(), ok, text)
	}
}

func TestTheQuickWayOfReadingATimeIsRight(t *testing.T) {
	at := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	for ; at.Year() < 2110; at = at.Add(31*time.Hour + 17*time.Minute + 3*time.Second) {
		got, ok := parseSeconds(at.Format(time.RFC3339))
		require.True(t, ok)
		require.Equal(t, at, got)
	}
}

func TestDatesInParametersAreReadInTheShapesOfAnyJava(t *testing.T) {
	for text, want := range map[string]time.Time{
		"May 21, 2025, 5:47:45 AM":      time.Date(2025, 5, 21, 5, 47, 45, 0, time.UTC),
		"May 21, 2025, 5:47:45\u202fPM": time.Date(2025, 5, 21, 17, 47, 45, 0, time.UTC),
		"Jan 1, 2021 8:00:00 PM":        time.Date(2021, 1, 1, 20, 0, 0, 0, time.UTC),
		"Jan 1, 2021 8:00:00 pm":        time.Date(2021, 1, 1, 20, 0, 0, 0, time.UTC),
		"Apr 12, 2021 18:58:30 PM":      time.Date(2021, 4, 12, 18, 58, 30, 0, time.UTC),
		"Nov 2, 2021, 11:25:25 PM":      time.Date(2021, 11, 2, 23, 25, 25, 0, time.UTC),
		"Jul 31, 2020 12:00:00 AM":      time.Date(2020, 7, 31, 0, 0, 0, 0, time.UTC),
		"Jul 31, 2020, 12:00:00 AM UTC": time.Date(2020, 7, 31, 0, 0, 0, 0, time.UTC),
		"2026-04-01T00:00:00Z":          time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC),
		"1775001600":                    time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC),
		"soon":                          {},
		"":                              {},
	} {
		require.Equal(t, want, parseDate(text), text)
	}
}

func TestOldRecordsWithoutReadOnlyAreJudgedByTheirOperation(t *testing.T) {
	for _, c := range []struct {
		source, name string
		want         bool
	}{
		{"kms.amazonaws.com", "Decrypt", true},
		{"kms.amazonaws.com", "GenerateDataKeyPairWithoutPlaintext", true},
		{"kms.amazonaws.com", "DescribeKey", true},
		{"kms.amazonaws.com", "PutKeyPolicy", false},
		{"kms.amazonaws.com", "ListSomethingNew", true},
		{"kms.amazonaws.com", "SomethingNew", false},
		{"s3.amazonaws.com", "GetObject", true},
		{"s3.amazonaws.com", "PutObject", false},
	} {
		ev := eventOf(t, fmt.Sprintf(`"eventSource": %q, "eventName": %q`, c.source, c.name), "readOnly")
		require.Equal(t, c.want, ev.ReadOnly, c.name)
	}
	require.True(t, eventOf(t, `"readOnly": "true", "eventName": "PutKeyPolicy"`).ReadOnly, "as text")
	require.False(t, eventOf(t, `"readOnly": false`).ReadOnly)
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		code, message string
		want          analyzer.Outcome
	}{
		{"", "", analyzer.OutcomeOK},
		{"AccessDenied", "", analyzer.OutcomeDenied},
		{"AccessDeniedException", "", analyzer.OutcomeDenied},
		{"Client.UnauthorizedOperation", "", analyzer.OutcomeDenied},
		{"VpceAccessDenied", "", analyzer.OutcomeDenied},
		{"SomeNewCode", "User: x is not authorized to perform: kms:Sign", analyzer.OutcomeDenied},
		{"DryRunOperationException", "", analyzer.OutcomeDryRun},
		{"KMSInvalidStateException", "", analyzer.OutcomeFailed},
		{"ThrottlingException", "", analyzer.OutcomeFailed},
		{"", "Failed authentication", analyzer.OutcomeFailed},
	} {
		require.Equal(t, c.want, outcomeOf(c.code, c.message), c.code)
	}
}

func TestTooMuchTextIsCutAndStaysWhatItWas(t *testing.T) {
	long := strings.Repeat("é", 200_000)
	ev := eventOf(t, fmt.Sprintf(`"readOnly": false, "eventName": "TagResource", "requestParameters": {"tags": %q, "n": 1},
		"errorCode": "X", "errorMessage": %q, "userAgent": %q`, long, long, long))
	require.True(t, json.Valid([]byte(ev.Request)))
	require.Contains(t, ev.Request, `{"truncated":"{`)
	require.LessOrEqual(t, len([]rune(ev.Request)), maxJSON+100_000)
	require.Equal(t, strings.Repeat("é", maxMessage), ev.ErrorMessage)
	require.Len(t, []rune(ev.UserAgent), maxText)

	ev = eventOf(t, fmt.Sprintf(`"requestParameters": {"encryptionContext": {"a": %q}}`, long))
	require.True(t, json.Valid([]byte(ev.Context)))
}

func TestHostileTextStaysText(t *testing.T) {
	ev := eventOf(t, `"userAgent": "<script>\u0000'; drop table events; --\ud800\n", "errorCode": "X", "errorMessage": "<!channel> \u202e",
		"requestParameters": {"encryptionContext": {"b\"": "x\\y", "a": "</a>"}}`)
	require.Equal(t, "<script>\x00'; drop table events; --\uFFFD\n", ev.UserAgent)
	require.Equal(t, "<!channel> \u202e", ev.ErrorMessage)
	require.Equal(t, `{"a":"</a>","b\"":"x\\y"}`, ev.Context)
	require.Equal(t, `a,b"`, ev.ContextKeys)
}

func TestParametersLeftOutByCloudTrailAreNoticed(t *testing.T) {
	ev := eventOf(t, `"readOnly": false, "eventName": "PutKeyPolicy", "requestParameters": {"omitted": true, "originalSize": 108004, "reason": "requestParameters too large"}`)
	require.True(t, ev.MissingParams)
	require.False(t, eventOf(t, `"readOnly": false`).MissingParams)
}

func TestThePolicyJudgeIsCalledForEventsWithAPolicyOnly(t *testing.T) {
	called := 0
	n := New(WithPolicyJudge(func(ev *analyzer.Event) {
		called++
		require.NotEmpty(t, ev.Policy)
		require.Equal(t, keyARN, ev.KeyARN, "all else is filled in before")
	}))
	var ev analyzer.Event
	require.NoError(t, n.Event(recordOf(t, ""), Hint{}, &ev))
	require.Zero(t, called)
	for _, c := range []string{
		`"eventName": "PutKeyPolicy", "requestParameters": {"policy": "{\"Statement\": []}", "bypassPolicyLockoutSafetyCheck": true}`,
		`"eventName": "CreateKey", "requestParameters": {"policy": "not JSON"}`,
		`"eventName": "ReplicateKey", "requestParameters": {"replicaRegion": "us-east-1"}, "responseElements": {"replicaPolicy": "{}"}`,
	} {
		require.NoError(t, n.Event(recordOf(t, `"readOnly": false, `+c), Hint{}, &ev))
		require.NotEmpty(t, ev.PolicyHash)
	}
	require.Equal(t, 3, called)
}

func TestThePolicyHashDoesNotSeeWhiteSpaceOrOrder(t *testing.T) {
	hash := func(policy string) string {
		return eventOf(t, fmt.Sprintf(`"readOnly": false, "eventName": "PutKeyPolicy", "requestParameters": {"policy": %q}`, policy)).PolicyHash
	}
	require.Equal(t, hash(`{"a": 1, "b": [1, 2]}`), hash("{\n\"b\":[1,2],\"a\":1}"))
	require.NotEqual(t, hash(`{"a": 1}`), hash(`{"a": 2}`))
	require.True(t, eventOf(t, `"readOnly": false, "eventName": "PutKeyPolicy", "requestParameters": {"policy": "{}", "bypassPolicyLockoutSafetyCheck": true}`).PolicyBypass)
}

func TestTextsOfAnEventOutliveTheBytesOfItsRecord(t *testing.T) {
	data := recordOf(t, `"sharedEventID": "44444444-4444-4444-8444-444444444444", "requestParameters": {"encryptionContext": {"a": "b"}}`)
	n := New()
	var first, second analyzer.Event
	require.NoError(t, n.Event(data, Hint{}, &first))
	want := fmt.Sprintf("%+v", first)
	for i := range data {
		data[i] = 'x'
	}
	require.NoError(t, n.Event(recordOf(t, `"eventID": "55555555-5555-4555-8555-555555555555"`), Hint{}, &second))
	require.Equal(t, want, fmt.Sprintf("%+v", first))
}

// What means the same is worked out once, and what differs is told apart.
func TestWhatRepeatsMeansTheSame(t *testing.T) {
	n := New()
	var ev analyzer.Event
	base := string(recordOf(t, ""))
	for i := range 500 {
		data := []byte(strings.ReplaceAll(base, "app", fmt.Sprintf("app-%d", i)))
		for range 4 {
			require.NoError(t, n.Event(data, Hint{}, &ev))
			require.Equal(t, fmt.Sprintf("app-%d", i), ev.SessionName)
		}
	}
}

// checkText demands of every text of an event what databases demand.
func checkText(t *testing.T, ev *analyzer.Event) {
	t.Helper()
	v := reflect.ValueOf(ev).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			require.True(t, utf8.ValidString(f.String()), name)
			require.LessOrEqual(t, utf8.RuneCountInString(f.String()), 6*maxJSON+100, name)
		case reflect.Slice:
			for j := range f.Len() {
				require.True(t, utf8.ValidString(f.Index(j).String()), name)
			}
		}
	}
	for _, text := range []string{ev.Context, ev.GrantConstraint, ev.Request, ev.Response, ev.Additional, ev.Service, ev.Resources} {
		require.True(t, text == "" || json.Valid([]byte(text)), text)
	}
}

func TestAFieldOfAnyShapeIsReadWithoutComplaint(t *testing.T) {
	odd := []string{
		`null`, `true`, `0`, `-1.5e300`, `""`, `"null"`, `"\u0000\ud83d"`, `[]`, `{}`, `[[[]]]`, `{"":{"":""}}`, `[null]`, `[{}]`, `[{"ARN":null}]`,
		`[{"ARN":"arn:aws:kms"},{"ARN":["x"]}]`, `{"keyId":{"a":1}}`, `{"type":7,"arn":[],"sessionContext":[]}`, `{"sessionContext":{"sessionIssuer":"x","attributes":null}}`,
		`{"keyId":"arn:aws:kms:::key/","encryptionContext":[1],"constraints":"{","operations":{"a":1},"granteePrincipal":3,"policy":{"Statement":[]},"validTo":9e99}`,
		`{"eventSelectors":"[{\"includeManagementEvents\":\"no\"}]","advancedEventSelectors":[{"fieldSelectors":[{"field":1,"equals":"Management"}]}],"name":"arn:"}`,
		`"` + strings.Repeat("x", 3000) + `"`,
	}
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(recordOf(t, `"errorCode":"","errorMessage":"","additionalEventData":{},"serviceEventDetails":{},"tlsDetails":{},"sharedEventID":"","vpcEndpointId":"","sessionCredentialFromConsole":""`), &fields))
	n := New()
	for _, call := range []string{"Decrypt", "ReEncrypt", "CreateGrant", "RetireGrant", "PutKeyPolicy", "CreateKey", "ReplicateKey", "ScheduleKeyDeletion", "UpdateAlias", "PutEventSelectors", "UpdateTrail"} {
		source := sourceKMS
		if strings.HasSuffix(call, "Selectors") || strings.HasSuffix(call, "Trail") {
			source = sourceCloudTrail
		}
		for name := range fields {
			if name == "eventTime" || name == "eventName" || name == "eventSource" {
				continue
			}
			for _, value := range odd {
				data := recordOf(t, fmt.Sprintf(`"eventSource": %q, "eventName": %q, "readOnly": %t, %q: %s`, source, call, call == "Decrypt" || call == "ReEncrypt", name, value))
				var ev analyzer.Event
				require.NoError(t, n.Event(data, Hint{}, &ev), string(data))
				checkText(t, &ev)
			}
		}
	}
}
