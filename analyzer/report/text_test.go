package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	paymentsKey = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	deployRole  = "arn:aws:iam::111122223333:role/deploy"
	ssoRole     = "arn:aws:iam::444455556666:role/aws-reserved/sso.amazonaws.com/eu-central-1/AWSReservedSSO_AdministratorAccess_0123456789abcdef"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// incident is a run with everything in it: each severity, a key with and
// without alias, long ARNs, hostile text, rejects and hidden findings.
func incident() *Run {
	alerts := []AlertView{
		{
			Alert: analyzer.Alert{
				ID: "a-low", Detection: "KMS-U06", Severity: analyzer.Info, Action: analyzer.ActionNone, Reason: "learning: 3 of 14 days",
				FindingIDs: []string{"f-5"}, FirstTime: at("2026-03-02T08:00:00Z"), LastTime: at("2026-03-02T08:00:00Z"), Count: 1,
				Title: "Principal uses a key for the first time", Principal: "arn:aws:iam::444455556666:user/night-job", Key: paymentsKey,
				Account: "444455556666", Region: "eu-central-1",
			},
			What: "The user night-job decrypted with alias/payments, which it had not done before.", KeyAlias: "alias/payments",
			Who: "user night-job",
		},
		{
			Alert: analyzer.Alert{
				ID: "a-policy", Detection: "KMS-P02", Severity: analyzer.High, Action: analyzer.ActionPage, Reason: "severity high",
				FindingIDs: []string{"f-2", "f-3"}, FirstTime: at("2026-03-01T22:10:00Z"), LastTime: at("2026-03-02T09:20:11Z"), Count: 2,
				Title: "Key policy admits an external account", Principal: ssoRole, Key: paymentsKey, Account: "444455556666", Region: "eu-central-1",
				Latest: analyzer.Finding{
					EventIDs: []string{"11111111-2222-3333-4444-555555555555", "11111111-2222-3333-4444-555555555556"}, Count: 2,
					Evidence: map[string]any{
						"admitted_accounts": []string{"777788889999"},
						"user_agent":        "curl/8 \x1b]0;owned\x07\u202egpj.exe",
						"empty":             "",
						"client":            "console",
						"lane":              "direct",
						"data_count":        int64(7),
						"data_sample": []any{
							"arn:aws:secretsmanager:eu-central-1:111122223333:secret:payments/card-processor/credentials-a1b2c3",
							"arn:aws:secretsmanager:eu-central-1:111122223333:secret:payments/ledger-d4e5f6", "3", "4", "5", "6", "7",
						},
						"trail_arn": "arn:aws:cloudtrail:eu-central-1:111122223333:trail/organisation-trail-of-the-company",
						"request":   `{"trailName":"organisation-trail","eventSelectors":[{"readWriteType":"ReadOnly","includeManagementEvents":false}]}`,
					},
				},
			},
			What: "Somebody with AdministratorAccess opened the policy of alias/payments to account 777788889999, which is not one of ours.",
			Who:  "role AWSReservedSSO_AdministratorAccess_0123456789abcdef, session 田中@example.com",
			From: "203.0.113.7 (public), console", AccountName: "payments-prod", KeyAlias: "alias/payments",
			Changed: "1 statement added: kms:Decrypt for arn:aws:iam::777788889999:root",
			AtRisk:  "Everything encrypted under this key can be read from account 777788889999 by whoever has a copy of it.",
			Undo:    "aws kms put-key-policy --key-id " + paymentsKey + " --policy-name default --policy 'file://policy before.json' --region eu-central-1",
		},
		{
			Alert: analyzer.Alert{
				ID: "a-deletion", Detection: "KMS-D01", Severity: analyzer.Critical, Action: analyzer.ActionPage, Reason: "severity critical",
				FindingIDs: []string{"f-1"}, FirstTime: at("2026-03-02T09:14:05Z"), LastTime: at("2026-03-02T09:14:05Z"), Count: 1,
				Title: "Key deletion scheduled", Principal: deployRole, Key: paymentsKey, Account: "111122223333", Region: "eu-central-1",
				Latest: analyzer.Finding{EventIDs: []string{"aaaaaaaa-2222-3333-4444-555555555555"}, Count: 1},
			},
			What: "The role deploy scheduled alias/payments for deletion in 7 days, on 2026-03-09.",
			Who:  "role deploy, session jenkins-17", From: "198.51.100.7 (public), aws-cli", AccountName: "payments-prod", KeyAlias: "alias/payments",
			AtRisk:     "After that day nothing encrypted under this key can be read again, by anybody.",
			Undo:       "aws kms cancel-key-deletion --key-id " + paymentsKey + " --region eu-central-1\naws kms enable-key --key-id 1234abcd",
			RunbookURL: "https://runbooks.example.com/kms/key-deletion-scheduled",
		},
		{
			Alert: analyzer.Alert{
				ID: "a-trail", Detection: "KMS-A01", Severity: analyzer.Critical, Action: analyzer.ActionNone, Reason: "silenced by migration",
				FindingIDs: []string{"f-9"}, FirstTime: at("2026-03-02T09:30:00Z"), LastTime: at("2026-03-02T09:30:00Z"), Count: 1,
				Title: "Trail no longer records KMS events", Principal: "arn:aws:iam::111122223333:root", Account: "111122223333", Region: "us-east-1",
				Entity: map[string]string{"trail_name": "organisation-trail", "account": "111122223333"},
			},
			What: "The root user excluded kms.amazonaws.com from the trail organisation-trail.",
			Who:  "root user", From: "192.0.2.10 (public), console",
		},
		{
			Alert: analyzer.Alert{
				ID: "a-harvest", Detection: "KMS-U08", Severity: analyzer.Medium, Action: analyzer.ActionPost, Reason: "severity medium",
				FindingIDs: []string{"f-7"}, FirstTime: at("2026-03-02T09:00:00Z"), LastTime: at("2026-03-02T09:10:00Z"), Count: 1234,
				Title: "Many secrets read in ten minutes by one principal", Principal: deployRole, Account: "111122223333", Region: "eu-central-1",
				Key:    "arn:aws:kms:eu-central-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
				Latest: analyzer.Finding{Count: 1234, EventIDs: []string{"b1", "b2", "b3", "b4"}},
			},
			What: "The role deploy read 320 secrets through Secrets Manager.", Who: "role deploy, session jenkins-17",
		},
	}
	return &Run{
		Alerts: alerts,
		Summary: Summary{
			Files:          analyzer.FileCounts{Read: 1255, Rejected: 2, Skipped: 3},
			Skipped:        map[string]int64{"not a log": 2, "empty": 1},
			Records:        analyzer.RecordCounts{Read: 2_900_123, Kept: 2_100_000, Duplicate: 100, NotOfInterest: 800_011, Rejected: 12},
			EventsBySource: map[string]int64{"kms.amazonaws.com": 2_000_000, "cloudtrail.amazonaws.com": 100_000, "s3.amazonaws.com": 0},
			First:          at("2026-01-19T00:00:01Z"), Last: at("2026-03-02T10:00:00Z"),
			Findings: map[string]int64{"KMS-D01": 1, "KMS-P02": 2, "KMS-U08": 1},
			Titles:   map[string]string{"KMS-D01": "Key deletion scheduled", "KMS-P02": "Key policy admits an external account"},
			Alerts:   AlertCounts(alerts),
			Learning: []Learning{{Detection: "KMS-U01", Had: 3 * 24 * time.Hour, Need: 14 * 24 * time.Hour, New: 5}, {Detection: "KMS-U03", Need: 14 * 24 * time.Hour}},
			Suppressed: map[string]int64{
				"role list iac": 12, "nightly scanner": 1,
			},
			Late:        4,
			Assumptions: []string{"no keytrail.yaml: the 3 accounts whose trails deliver these logs are ours", "no tier-0 keys are named"},
			Rejects: []analyzer.Reject{
				{File: "logs/111122223333_CloudTrail_eu-central-1_20260302T0915Z_abcdefghijklmnop.json.gz", Offset: 1048576, Reason: "the gzip stream ends early: the file is cut"},
				{File: "logs/\x1b[2Jevil.json", Offset: 0, Reason: "invalid character 'x' looking for beginning of value"},
			},
			RejectCount: 12,
			Elapsed:     3456 * time.Millisecond, MaxRSSBytes: 220 << 20,
		},
		Notes: []string{"Slack was not told: this is a replay."},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run go test ./analyzer/report -update and look at what it wrote")
	require.Equal(t, string(want), string(got))
}

var layouts = map[string]Layout{
	"80":        {Width: 80},
	"80-color":  {Width: 80, Color: true, Terminal: true},
	"120":       {Width: 120},
	"120-color": {Width: 120, Color: true, Terminal: true},
}

func TestTextReadsAsInTheGoldenFiles(t *testing.T) {
	for name, layout := range layouts {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			require.NoError(t, incident().Text(&b, layout))
			golden(t, "run-"+name+".txt", b.Bytes())
		})
	}
}

func TestQuietReadsAsInTheGoldenFiles(t *testing.T) {
	for name, layout := range layouts {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			require.NoError(t, incident().Quiet(&b, layout))
			golden(t, "quiet-"+name+".txt", b.Bytes())
			require.Equal(t, len(incident().Alerts), strings.Count(b.String(), "\n"), "one line an alert")
		})
	}
}

func TestARunWithoutAlertsSaysSo(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, (&Run{}).Text(&b, Layout{}))
	require.True(t, strings.HasPrefix(b.String(), "No alerts.\n"), b.String())
	require.Contains(t, b.String(), "0 read = 0 kept")
}

func TestReadingAloneSaysNothingOfAlerts(t *testing.T) {
	var b bytes.Buffer
	run := Run{Summary: Summary{Files: analyzer.FileCounts{Read: 2}}, Notes: []string{"Run keytrail analyze next."}}
	require.NoError(t, run.SummaryText(&b, Layout{Width: 120}))
	require.Equal(t, `Summary
  Files     2 read, 0 rejected, 0 skipped
  Records   0 read = 0 kept + 0 duplicate + 0 not of interest + 0 rejected
  Took      0.0 s
  Note      Run keytrail analyze next.
`, b.String())
}

func TestRecordsThatDoNotAddUpAreNotHidden(t *testing.T) {
	run := Run{Summary: Summary{Records: analyzer.RecordCounts{Read: 10, Kept: 7, Rejected: 1}}}
	var b bytes.Buffer
	require.NoError(t, run.Text(&b, Layout{Width: 120}))
	require.Contains(t, b.String(), "do not add up: 2 records")
}

func TestColourChangesNothingButTheEscapes(t *testing.T) {
	var plainText, colored bytes.Buffer
	require.NoError(t, incident().Text(&plainText, Layout{Width: 80}))
	require.NoError(t, incident().Text(&colored, Layout{Width: 80, Color: true}))
	require.Equal(t, plainText.String(), stripSGR(colored.String()))
	require.NotContains(t, plainText.String(), "\x1b")
}

func TestLinesStayWithinTheWidthSaveForWhatIsCopiedWhole(t *testing.T) {
	for _, w := range []int{40, 60, 80, 100, 120} {
		var b bytes.Buffer
		require.NoError(t, incident().Text(&b, Layout{Width: w}))
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			if width(line) <= w {
				continue
			}
			left := strings.TrimLeft(line, " ")
			require.True(t, whole(strings.TrimSuffix(left, ` \`)), "%d cells at width %d: %q", width(line), w, line)
			require.Equal(t, left, line, "what is too long starts at the left edge")
		}
	}
}

func TestARNsAreWholeInTheDetails(t *testing.T) {
	for _, w := range []int{40, 80, 120} {
		var b bytes.Buffer
		require.NoError(t, incident().Text(&b, Layout{Width: w}))
		for _, arn := range []string{ssoRole, deployRole, paymentsKey} {
			require.Contains(t, b.String(), arn)
		}
	}
}

func TestUndoCanBeCopiedIntoAShell(t *testing.T) {
	command := `aws kms put-key-policy --key-id ` + paymentsKey + ` --policy 'two  words -- here' --x "a \" b" --region eu-central-1`
	for _, w := range []int{40, 76, 120, 500} {
		lines := wrapCommand(command, w)
		for i, line := range lines {
			require.Equal(t, i < len(lines)-1, strings.HasSuffix(line, ` \`), "a backslash ends each line but the last: %q", line)
		}
		require.Equal(t, command, strings.ReplaceAll(strings.Join(lines, "\n"), "\\\n", ""))
	}
}

// stripSGR takes the colours out again.
func stripSGR(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "\x1b[")
		if i < 0 {
			return b.String() + s
		}
		b.WriteString(s[:i])
		s = s[i:]
		s = s[strings.IndexByte(s, 'm')+1:]
	}
}

func TestAssumptionsStandBelowTheVerdict(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Assumptions(&b, Layout{Width: 40}, "keytrail.yaml is in order.", []string{"the accounts whose trails deliver logs are ours", "any Region is in use"}))
	require.Equal(t, `keytrail.yaml is in order.
  Assumed   the accounts whose trails
            deliver logs are ours
            any Region is in use
`, b.String())
}
