package catalog_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/catalog"
)

// valid is a detection with nothing wrong; the tests break one thing each.
const valid = `/* ---
id: KMS-D02
title: Key disabled
severity: medium
status: active
family: destruction
class: S
mitre: [T1485]
events: ["kms.amazonaws.com:DisableKey"]
entity: [key_arn]
window: 0
params:
  # why five: because
  minimum: 5
  factor: 2.5
  name: it's me
  hop: 10m
  kinds: [secret, parameter]
suppress: [iac]
summary: "{principal_name} disabled {key_name} in {region}"
at_risk: "All that {key_arn} protects"
undo: aws kms enable-key --key-id {key_arn} --region {region}
description: Somebody disabled a key.
false_positives: Drills.
runbook: Look who it was.
references: ["https://docs.aws.amazon.com/kms/"]
--- */
-- a comment with :no_parameter and a ; and 'quotes
select
  key_arn,
  region,
  principal,
  event_time as window_start,
  event_time as first_time,
  event_time as last_time,
  1 as event_count,
  array[event_id] as event_ids
from control_events
where event_name = 'DisableKey; :not_a_parameter'
  and pending_window_days > :minimum * :factor
  and principal_name <> :name
  and event_time > :now - :hop
  and data_kind in :kinds
`

const name = "destruction/key_disabled.sql"

func files(content map[string]string) fs.FS {
	m := fstest.MapFS{}
	for path, text := range content {
		m[path] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func bothCases() fs.FS {
	return files(map[string]string{
		"destruction/key_disabled/match_console.yaml": "",
		"destruction/key_disabled/quiet_denied.json":  "",
	})
}

func load(t *testing.T, text string) (*catalog.Catalog, error) {
	t.Helper()
	return catalog.Load(files(map[string]string{name: text}), catalog.Options{Cases: bothCases()})
}

func TestLoadFillsTheDetection(t *testing.T) {
	c, err := load(t, valid)
	require.NoError(t, err)
	d, ok := c.ByID("KMS-D02")
	require.True(t, ok)
	require.Equal(t, "Key disabled", d.Title)
	require.Equal(t, analyzer.Medium, d.Severity)
	require.Equal(t, analyzer.DetectionActive, d.Status)
	require.Equal(t, analyzer.ClassEvent, d.Class)
	require.Equal(t, []string{"key_arn"}, d.Entity)
	require.Equal(t, "queries/destruction/key_disabled.sql", d.Path)
	require.Equal(t, map[string]any{
		"minimum": int64(5), "factor": 2.5, "name": "it's me", "hop": 10 * time.Minute,
		"kinds": []string{"secret", "parameter"},
	}, d.Params)
	require.True(t, strings.HasPrefix(d.SQL, "-- a comment"))
	require.NotContains(t, d.SQL, "severity:")

	_, ok = c.ByID("KMS-D99")
	require.False(t, ok)
}

func TestLoadNamesWhatIsWrongWithFileAndLine(t *testing.T) {
	tests := []struct {
		name     string
		old, new string
		want     string // of the message, with its line
	}{
		{"an unknown key", "severity: medium", "severity: medium\nsevrity: high", ":5: unknown key \"sevrity\""},
		{"a key written twice", "severity: medium", "severity: medium\nseverity: high", "severity"},
		{"an id of another form", "id: KMS-D02", "id: KMS-2", ":2: id \"KMS-2\" must look like KMS-D01"},
		{"an id of another family", "id: KMS-D02", "id: KMS-U02", ":6: family \"destruction\" does not fit KMS-U02"},
		{"a family that is not its folder", "family: destruction", "family: use", "must be the name of the folder"},
		{"an unknown severity", "severity: medium", "severity: severe", ":4: severity \"severe\""},
		{"an unknown status", "status: active", "status: on", ":5: status \"on\""},
		{"an unknown class", "class: S", "class: X", ":7: class \"X\""},
		{"a slip in a MITRE technique", "[T1485]", "[1485]", ":8: mitre technique \"1485\""},
		{"an unknown source", "kms.amazonaws.com:DisableKey", "kmss.amazonaws.com:DisableKey", ":9: event \"kmss.amazonaws.com:DisableKey\": the source"},
		{"a source without a name", "kms.amazonaws.com:DisableKey", "kms.amazonaws.com", ":9: event \"kms.amazonaws.com\" must be source:Name"},
		{"no event", `["kms.amazonaws.com:DisableKey"]`, "[]", ":9: events must name"},
		{"no entity", "entity: [key_arn]", "entity: []", ":10: entity must name"},
		{"an entity in another case", "entity: [key_arn]", "entity: [keyArn]", ":10: entity \"keyArn\" must be lower_snake"},
		{"an entity that is not returned", "entity: [key_arn]", "entity: [grantee]", ":10: entity column grantee is not returned"},
		{"a window on a single event", "window: 0", "window: 1h", ":11: a detection of class S"},
		{"a count without a window", "class: S", "class: V", ":11: a detection of class V needs a window"},
		{"a window that is no duration", "window: 0", "window: soon", ":11: window \"soon\""},
		{"no window", "window: 0\n", "", "window is missing"},
		{"learning without a baseline", "window: 0", "window: 0\nlearn_days: 14", ":12: learn_days is for class B only"},
		{"a baseline without learning", "class: S", "class: B", "needs learn_days"},
		{"a parameter of no type", "minimum: 5", "minimum: {a: 1}", ":14: parameter minimum: must be"},
		{"a list that is not text", "[secret, parameter]", "[secret, 5]", ":18: parameter kinds: item 2 of the list is not text"},
		{"a parameter that is not used", "minimum: 5", "minimum: 5\n  spare: 1", ":15: parameter spare is not used"},
		{"a parameter that is not declared", "> :minimum", "> :minimun", ":40: :minimun is not among the params"},
		{"a parameter of the engine", "minimum: 5", "minimum: 5\n  now: 1", ":15: parameter \"now\" is set by the engine"},
		{"an unknown suppression", "suppress: [iac]", "suppress: [everyone]", ":19: suppress: \"everyone\""},
		{"a placeholder that does not close", "{region}\"", "{region\"", ":20: summary: placeholder \"{region\" must look like {column}"},
		{"a placeholder that is no column", "protects", "of {secret} protects", ":21: at_risk: placeholder {secret} is not a column"},
		{"a placeholder with a space in the undo", "--key-id {key_arn}", "--key-id {key arn}", ":22: undo: placeholder \"{key arn}\""},
		{"no summary", `summary: "{principal_name} disabled {key_name} in {region}"` + "\n", "", "summary is missing"},
		{"an empty runbook", "runbook: Look who it was.", "runbook: \"\"", ":25: runbook is missing"},
		{"a reference that is no address", "https://docs", "javascript://docs", ":26: reference"},
		{"a semicolon at the end", "in :kinds\n", "in :kinds;\n", ":43: no semicolon at the end"},
		{"two statements", "in :kinds\n", "in :kinds; select 1", ":43: exactly one statement"},
		{"a statement that is no select", "select\n  key_arn,", "delete from x\n  key_arn,", "must start with select or with"},
		{"a cast by colons", "1 as event_count", "1::bigint as event_count", ":36: `::` is not portable"},
		{"ilike", "principal_name <> :name", "principal_name ilike :name", ":41: ilike is not allowed or not portable"},
		{"string_agg", "1 as event_count", "string_agg(key_arn, ',') as event_count", ":36: string_agg(…)"},
		{"qualify", "and data_kind", "qualify data_kind", ":43: qualify is not"},
		{"the time of the wall clock", "> :now", "> now()", "parameter :now"},
		{"a lambda", "1 as event_count", "f(x -> x) as event_count", ":36: `->` is not portable"},
		{"a list in brackets", "array[event_id]", "[event_id]", ":37: a list in brackets"},
		{"reading a file", "from control_events", "from 'x.parquet'", ":38: a file must not be read"},
		{"reading a file by function", "from control_events", "from read_csv('x')", ":38: read_csv is not allowed"},
		{"a nested comment", "-- a comment", "/* a /* b */", ":28: comments must not nest"},
		{"a quote that does not end", "'DisableKey; :not_a_parameter'", "'DisableKey", "a quote ' does not end"},
		{"select star outside", "select\n  key_arn,", "select *,\n  key_arn,", ":29: select * at the outer boundary"},
		{"select table star outside", "select\n  key_arn,", "select c.*,\n  key_arn,", ":29: select * at the outer boundary"},
		{"a column without a name", "1 as event_count", "1 as event_count, 1 + 2", ":36: a column of the outer select has no name"},
		{"a column twice", "principal,\n", "principal, principal,\n", "column principal is returned twice"},
		{"no window_start", "event_time as window_start,\n", "", "does not return window_start"},
		{"no evidence", ",\n  array[event_id] as event_ids", "", "no evidence"},
		{"evidence in an unknown table", "suppress: [iac]", "evidence_events: {table: users, on: [key_arn]}", ":19: evidence_events: table \"users\""},
		{"an unknown key inside", "suppress: [iac]", "evidence_events: {tabel: users, on: [key_arn]}", ":19: evidence_events:"},
		{"a front matter that does not end", "--- */", "---", ":1: the front matter does not end"},
		{"a front matter that does not start", "/* ---", "/*", ":1: the first line must be"},
		{"a front matter that is not YAML", "title: Key disabled", "title: [Key", ":"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Contains(t, valid, tt.old, "the test breaks nothing")
			c, err := load(t, strings.Replace(valid, tt.old, tt.new, 1))
			require.Nil(t, c)
			var problems catalog.Problems
			require.ErrorAs(t, err, &problems)
			require.Contains(t, err.Error(), tt.want)
			for _, p := range problems {
				require.Equal(t, "queries/"+name, p.Path)
			}
		})
	}
}

func TestLoadReportsAllProblemsOfAllFilesAtOnce(t *testing.T) {
	broken := strings.NewReplacer("severity: medium", "severity: x", "class: S", "class: Y").Replace(valid)
	_, err := catalog.Load(files(map[string]string{
		"destruction/a.sql": broken,
		"destruction/b.sql": valid,
	}), catalog.Options{})
	var problems catalog.Problems
	require.ErrorAs(t, err, &problems)
	require.Len(t, problems, 3)
	require.Contains(t, problems[0].String(), "queries/destruction/a.sql:4: severity")
	require.Contains(t, problems[1].String(), "queries/destruction/a.sql:7: class")
	require.Contains(t, problems[2].String(), "queries/destruction/b.sql:2: id KMS-D02 is already used by queries/destruction/a.sql")
}

func TestADetectionWithoutBothCasesDoesNotLoad(t *testing.T) {
	for kind, present := range map[string]string{"quiet": "match_one.yaml", "match": "quiet_one.yaml"} {
		cases := files(map[string]string{"destruction/key_disabled/" + present: ""})
		_, err := catalog.Load(files(map[string]string{name: valid}), catalog.Options{Cases: cases})
		require.ErrorContains(t, err, "no "+kind+" case")
	}
}

func TestLoadOfNothingIsAnError(t *testing.T) {
	_, err := catalog.Load(fstest.MapFS{}, catalog.Options{})
	require.ErrorContains(t, err, "no detections found")
	var problems catalog.Problems
	require.False(t, errors.As(err, &problems))
}

func TestEventsAreTheUnionOfDetectionsAndMemory(t *testing.T) {
	second := strings.NewReplacer("KMS-D02", "KMS-D03", "kms.amazonaws.com:DisableKey", "cloudtrail.amazonaws.com:*").Replace(valid)
	c, err := catalog.Load(files(map[string]string{name: valid, "destruction/second.sql": second}), catalog.Options{
		Memory: []analyzer.EventName{
			{Source: "kms.amazonaws.com", Name: "DisableKey"},
			{Source: "kms.amazonaws.com", Name: "CreateAlias"},
			{Source: "cloudtrail.amazonaws.com", Name: "CreateTrail"},
		},
	})
	require.NoError(t, err)
	require.Equal(t, []analyzer.EventName{
		{Source: "cloudtrail.amazonaws.com", Name: "*"},
		{Source: "kms.amazonaws.com", Name: "CreateAlias"},
		{Source: "kms.amazonaws.com", Name: "DisableKey"},
	}, c.Events())
}
