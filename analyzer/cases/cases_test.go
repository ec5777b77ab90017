package cases_test

import (
	"encoding/json"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cases"
)

var detection = analyzer.Detection{ID: "KMS-D02", Family: "destruction", Path: "queries/destruction/key_disabled.sql"}

const key = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

func load(text string) (cases.Case, error) {
	return loadAs("match_console.yaml", text)
}

func loadAs(name, text string) (cases.Case, error) {
	list, err := cases.Load(fstest.MapFS{"destruction/key_disabled/" + name: {Data: []byte(text)}}, detection)
	if err != nil {
		return cases.Case{}, err
	}
	return list[0], nil
}

const head = `
about: Somebody disables a key.
start: 2026-03-02T09:00:00Z
expect: [{severity: medium}]
`

func TestACaseIsReadWhole(t *testing.T) {
	c, err := load(head + `
settings:
  organisation: [{id: "111122223333", name: main}]
learn_until: -14d
define:
  alice: &alice {type: IAMUser, userName: alice}
defaults: {eventName: DisableKey, awsRegion: eu-west-1}
records:
  - {_at: +5m, userIdentity: *alice, _key: "` + key + `"}
`)
	require.NoError(t, err)
	require.Equal(t, cases.Match, c.Kind)
	require.Equal(t, "match_console", c.Name)
	require.Equal(t, "KMS-D02", c.Detection)
	require.Contains(t, string(c.Settings), `id: "111122223333"`)
	require.Equal(t, time.Date(2026, 2, 16, 9, 0, 0, 0, time.UTC), c.LearnUntil)
	require.Len(t, c.Records(), 1)
	r := gjson.ParseBytes(c.Records()[0])
	require.Equal(t, "2026-03-02T09:05:00Z", r.Get("eventTime").String())
	require.Equal(t, "alice", r.Get("userIdentity.userName").String())
	require.Equal(t, "eu-west-1", r.Get("awsRegion").String())
	require.Equal(t, key, r.Get("resources.0.ARN").String())
	require.Equal(t, "111122223333", r.Get("resources.0.accountId").String())
	require.Equal(t, key, r.Get("requestParameters.keyId").String())
	require.False(t, r.Get("readOnly").Bool())
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, r.Get("eventID").String())
}

func TestRecordsAreTheSameEachTime(t *testing.T) {
	text := head + "records: [{eventName: DisableKey, _as: user/alice, _repeat: {times: 3}}, {eventName: DisableKey}]"
	first, err := load(text)
	require.NoError(t, err)
	second, err := load(text)
	require.NoError(t, err)
	require.Equal(t, first.Records(), second.Records())
	ids := map[string]bool{}
	for _, r := range first.Records() {
		require.True(t, json.Valid(r))
		ids[gjson.GetBytes(r, "eventID").String()] = true
	}
	require.Len(t, ids, 4)
}

func TestARecordRepeatsAndVaries(t *testing.T) {
	c, err := load(head + `
defaults: {eventName: Decrypt, _as: role/app/web-1, requestParameters: {encryptionContext: {kept: "yes"}}}
records:
  - _at: +1d
    _repeat:
      times: 3
      every: 2s
      vary:
        requestParameters.encryptionContext.SecretARN: "secret-{n}"
        resources.0.ARN: [a, b]
    resources: [{ARN: x}]
`)
	require.NoError(t, err)
	var times, secrets, keys []string
	for _, r := range c.Records() {
		times = append(times, gjson.GetBytes(r, "eventTime").String())
		secrets = append(secrets, gjson.GetBytes(r, "requestParameters.encryptionContext.SecretARN").String())
		keys = append(keys, gjson.GetBytes(r, "resources.0.ARN").String())
		require.Equal(t, "yes", gjson.GetBytes(r, "requestParameters.encryptionContext.kept").String())
		require.True(t, gjson.GetBytes(r, "readOnly").Bool())
	}
	require.Equal(t, []string{"2026-03-03T09:00:00Z", "2026-03-03T09:00:02Z", "2026-03-03T09:00:04Z"}, times)
	require.Equal(t, []string{"secret-1", "secret-2", "secret-3"}, secrets)
	require.Equal(t, []string{"a", "b", "a"}, keys)
}

func TestShorthandsWriteWhatAWSWrites(t *testing.T) {
	tests := []struct {
		name, record string
		want         map[string]string
	}{
		{"a role's session", "_as: role/path/app/i-1", map[string]string{
			"userIdentity.type": "AssumedRole", "userIdentity.arn": "arn:aws:sts::111122223333:assumed-role/app/i-1",
			"userIdentity.sessionContext.sessionIssuer.arn": "arn:aws:iam::111122223333:role/path/app",
		}},
		{"a role of another account", "_as: \"444455556666:role/app/i-1\"", map[string]string{
			"userIdentity.accountId": "444455556666", "recipientAccountId": "111122223333",
		}},
		{"a person from the identity centre", "_as: sso/Admin/ann@example.com", map[string]string{
			"userIdentity.arn": "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/ann@example.com",
		}},
		{"a service for itself", "_as: service/config.amazonaws.com", map[string]string{
			"userIdentity.type": "AWSService", "userIdentity.invokedBy": "config.amazonaws.com", "sourceIPAddress": "config.amazonaws.com",
		}},
		{"a service for a user", "{_as: user/bob, _via: secretsmanager.amazonaws.com}", map[string]string{
			"userIdentity.type": "IAMUser", "userIdentity.invokedBy": "secretsmanager.amazonaws.com", "userAgent": "secretsmanager.amazonaws.com",
		}},
		{"an outsider as the owner sees it", "_as: account/999988887777", map[string]string{
			"userIdentity.type": "AWSAccount", "userIdentity.accountId": "999988887777",
		}},
		{"root", "_as: root", map[string]string{"userIdentity.type": "Root", "userIdentity.arn": "arn:aws:iam::111122223333:root"}},
		{"a denied call", "{_as: user/bob, _key: \"" + key + "\", _denied: \"kms:DisableKey\"}", map[string]string{
			"errorCode": "AccessDenied", "requestParameters": "",
			"errorMessage": "User: arn:aws:iam::111122223333:user/bob is not authorized to perform: kms:DisableKey on resource: " + key +
				" because no identity-based policy allows the kms:DisableKey action",
		}},
		{"a field written out wins", "{_as: user/bob, sourceIPAddress: 192.0.2.9, userIdentity: {mine: x}}", map[string]string{
			"sourceIPAddress": "192.0.2.9", "userIdentity.userName": "bob", "userIdentity.mine": "x",
		}},
		{"null removes", "{_as: user/bob, _key: \"" + key + "\", requestParameters: null}", map[string]string{"requestParameters": ""}},
		{"an id that is written stays", "eventID: my-id", map[string]string{"eventID": "my-id"}},
		{"a time that is written stays", "eventTime: \"2020-01-01T00:00:00Z\"", map[string]string{"eventTime": "2020-01-01T00:00:00Z"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			record := tt.record
			if record[0] != '{' {
				record = "{" + record + "}"
			}
			c, err := load(head + "defaults: {eventName: DisableKey}\nrecords: [" + record + "]")
			require.NoError(t, err)
			for path, want := range tt.want {
				require.Equal(t, want, gjson.GetBytes(c.Records()[0], path).String(), path)
			}
		})
	}
}

func TestABrokenCaseSaysWhatIsWrong(t *testing.T) {
	record := "\nrecords: [{eventName: DisableKey}]"
	tests := []struct{ name, file, text, want string }{
		{"another name", "maybe.yaml", head + record, "must be named match_WHAT.yaml or quiet_WHAT.yaml"},
		{"another kind of file", "match_x.txt", head + record, "must be named"},
		{"no YAML", "match_x.yaml", "about: [", "match_x.yaml: "},
		{"an unknown key", "match_x.yaml", head + record + "\nexpects: []", `unknown field "expects"`},
		{"no about", "match_x.yaml", "start: 2026-03-02T09:00:00Z\nexpect: [{}]" + record, "about is missing"},
		{"a match that expects nothing", "match_x.yaml", "about: x\nstart: 2026-03-02T09:00:00Z" + record, "must expect at least one"},
		{"a quiet case that expects", "quiet_x.yaml", head + record, "a quiet case expects nothing"},
		{"no records", "match_x.yaml", head, "records are missing"},
		{"no start", "match_x.yaml", "about: x\nexpect: [{}]" + record, "start must be a time"},
		{"an unknown severity", "match_x.yaml", "about: x\nstart: 2026-03-02T09:00:00Z\nexpect: [{severity: bad}]" + record, `expect 1: severity "bad"`},
		{"an offset without a unit", "match_x.yaml", head + "records: [{eventName: X, _at: \"+5\"}]", `record 1: _at: "+5" must be an offset`},
		{"an unknown shorthand", "match_x.yaml", head + "records: [{eventName: X, _who: x}]", "unknown shorthand _who"},
		{"an unknown caller", "match_x.yaml", head + "records: [{eventName: X, _as: group/x}]", `_as: "group/x" must be`},
		{"a key that is no ARN", "match_x.yaml", head + "records: [{eventName: X, _key: alias/x}]", `_key: "alias/x" is no key ARN`},
		{"an account without quotes", "match_x.yaml", head + "records: [{eventName: X, userIdentity: {accountId: 111122223333}}]", "userIdentity.accountId: the account id is a number: quote it"},
		{"an unknown word in _repeat", "match_x.yaml", head + "records: [{eventName: X, _repeat: {time: 3}}]", `_repeat: unknown key "time"`},
		{"a place that is not there", "match_x.yaml", head + "records: [{eventName: X, resources: [], _repeat: {times: 2, vary: {resources.0.ARN: x}}}]", `"0" is no place in a list of 0`},
		{"one id for many", "match_x.yaml", head + "records: [{eventName: X, eventID: a, _repeat: {times: 2}}]", "eventID is written and the record repeats"},
		{"no event name", "match_x.yaml", head + "records: [{_as: root}]", "record 1: eventName is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadAs(tt.file, tt.text)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "destruction/key_disabled/"+tt.file)
		})
	}
	_, err := cases.Load(fstest.MapFS{}, detection)
	require.ErrorContains(t, err, "cases of KMS-D02")
}

func found(change func(*analyzer.Finding)) analyzer.Finding {
	f := analyzer.Finding{
		ID: "f-1", Detection: "KMS-D02", Severity: analyzer.Medium, Status: analyzer.FindingActive,
		Principal: "alice", Key: key, Account: "111122223333", Count: 3,
		Entity: map[string]string{"key_arn": key}, Evidence: map[string]any{"client": "console", "keys": []any{"a", "b"}, "n": int64(3)},
		EventIDs: []string{"e1", "e2"},
	}
	if change != nil {
		change(&f)
	}
	return f
}

func text(s string) *string { return &s }

func TestCompareFindsNothingWrongWhereAllIsAsExpected(t *testing.T) {
	n, ids := int64(3), 2
	full := cases.Expect{
		Severity: "medium", Status: "active", Principal: text("alice"), Key: text(key), Account: text("111122223333"),
		Region: text(""), Count: &n, EventIDs: &ids, Entity: map[string]string{"key_arn": key},
		Evidence: map[string]any{"client": "console", "keys": []any{"a", "b"}, "n": uint64(3)},
	}
	require.Empty(t, cases.Compare([]cases.Expect{full}, []analyzer.Finding{found(nil)}))
	require.Empty(t, cases.Compare(nil, nil))
}

func TestCompareDoesNotLetALooseExpectationTakeAStrictOnesFinding(t *testing.T) {
	expect := []cases.Expect{{}, {Severity: "medium"}, {Principal: text("bob")}}
	got := []analyzer.Finding{
		found(func(f *analyzer.Finding) { f.Principal = "bob" }),
		found(nil),
		found(func(f *analyzer.Finding) { f.Severity = analyzer.High }),
	}
	require.Empty(t, cases.Compare(expect, got))
}

func TestCompareShowsWhatDiffers(t *testing.T) {
	n := int64(4)
	tests := []struct {
		name   string
		expect []cases.Expect
		got    []analyzer.Finding
		want   []string
	}{
		{"nothing found", []cases.Expect{{Severity: "high", Key: text(key)}}, nil, []string{
			"expected 1 finding, found 0", "- expected 1 of 1 was not found: severity high, key " + key,
		}},
		{"something unexpected", nil, []analyzer.Finding{found(nil)}, []string{
			"expected 0 findings, found 1", "+ found but not expected: f-1, medium, active", "evidence client console",
		}},
		{"another severity", []cases.Expect{{Severity: "high"}}, []analyzer.Finding{found(nil)}, []string{"nearest is f-1", "severity: expected high, found medium"}},
		{"another status", []cases.Expect{{Status: "suppressed"}}, []analyzer.Finding{found(nil)}, []string{"status: expected suppressed, found active"}},
		{"another count", []cases.Expect{{Count: &n}}, []analyzer.Finding{found(nil)}, []string{"count: expected 4, found 3"}},
		{"no principal", []cases.Expect{{Principal: text("")}}, []analyzer.Finding{found(nil)}, []string{"principal: expected none, found alice"}},
		{"another entity", []cases.Expect{{Entity: map[string]string{"key_arn": "k"}}}, []analyzer.Finding{found(nil)}, []string{"entity key_arn: expected k"}},
		{"other evidence", []cases.Expect{{Evidence: map[string]any{"keys": []any{"a"}}}}, []analyzer.Finding{found(nil)}, []string{"evidence keys: expected [a], found [a, b]"}},
		{"missing evidence", []cases.Expect{{Evidence: map[string]any{"was": "x"}}}, []analyzer.Finding{found(nil)}, []string{"evidence was: expected x, found none; there are client, keys, n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			diff := cases.Compare(tt.expect, tt.got)
			for _, line := range tt.want {
				require.Contains(t, diff, line)
			}
		})
	}
}

func TestAQuietCaseMindsOnlyWhatCouldNotify(t *testing.T) {
	c, err := loadAs("quiet_x.yaml", "about: x\nstart: 2026-03-02T09:00:00Z\nrecords: [{eventName: X}]")
	require.NoError(t, err)
	of := func(status analyzer.FindingStatus) analyzer.Finding {
		return found(func(f *analyzer.Finding) { f.Status = status })
	}
	require.Empty(t, c.Compare([]analyzer.Finding{
		of(analyzer.FindingLearning), of(analyzer.FindingSuppressed), of(analyzer.FindingWithdrawn),
		found(func(f *analyzer.Finding) { f.Detection = "KMS-U01" }),
	}))
	require.NotEmpty(t, c.Compare([]analyzer.Finding{of(analyzer.FindingActive)}))
	require.NotEmpty(t, c.Compare([]analyzer.Finding{of(analyzer.FindingStaged)}))

	m, err := load(head + "records: [{eventName: X}]")
	require.NoError(t, err)
	require.Empty(t, m.Compare([]analyzer.Finding{of(analyzer.FindingActive), of(analyzer.FindingWithdrawn)}))
	require.NotEmpty(t, m.Compare([]analyzer.Finding{of(analyzer.FindingActive), of(analyzer.FindingSuppressed)}), "a suppressed finding must be expected")
}
