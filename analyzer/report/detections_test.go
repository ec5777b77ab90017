package report

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

func catalogue() []analyzer.Detection {
	return []analyzer.Detection{
		{
			ID: "KMS-D01", Title: "Key deletion scheduled", Severity: analyzer.High, Status: analyzer.DetectionActive,
			Family: "destruction", Class: analyzer.ClassEvent, Mitre: []string{"T1485"},
			Events: []analyzer.EventName{{Source: "kms.amazonaws.com", Name: "ScheduleKeyDeletion"}},
			Entity: []string{"key_arn"}, Params: map[string]any{"short_window_days": 7, "names": []any{"a", "b"}},
			Suppress: []string{"iac", "change_window"},
			Summary:  "{principal_name} scheduled {key_name} for deletion in {pending_window_days} days.",
			AtRisk:   "Everything encrypted under the key.",
			Undo:     "aws kms cancel-key-deletion --key-id {key_arn} --region {region}",
			Description: "A key is gone for ever when its waiting time is over, and all that was encrypted under it with it. " +
				"Nobody can bring it back.",
			FalsePositives: "Tear-down of a stack by infrastructure as code.",
			Runbook:        "Ask who planned it.\n\n- Cancel the deletion first.\n- Then look at what else the principal did in the hour before, above all policy changes.",
			References:     []string{"https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html"},
			SQL:            "select event_id\nfrom control_events\nwhere event_name = 'ScheduleKeyDeletion' -- \x1b[31m\n",
			Path:           "queries/destruction/key_deletion_scheduled.sql",
		},
		{
			ID: "KMS-A01", Title: "Trail no longer records the use of keys in one of our accounts", Severity: analyzer.Critical, Status: analyzer.DetectionStaged,
			Family: "audit", Class: analyzer.ClassBaseline, Window: 24 * time.Hour, LearnDays: 14,
			Events:         []analyzer.EventName{{Source: "cloudtrail.amazonaws.com", Name: "*"}, {Source: "kms.amazonaws.com", Name: "Decrypt"}},
			EvidenceEvents: &analyzer.EvidenceEvents{Table: analyzer.TableUses, On: []string{"principal", "key_arn"}, Names: []string{"Decrypt"}},
		},
	}
}

func TestDetectionsReadAsInTheGoldenFiles(t *testing.T) {
	for name, layout := range layouts {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			require.NoError(t, DetectionTable(&b, layout, catalogue()))
			for _, d := range catalogue() {
				b.WriteString("\n")
				require.NoError(t, DetectionDetails(&b, layout, &d))
			}
			golden(t, "detections-"+name+".txt", b.Bytes())
			require.NotContains(t, b.String(), "\x1b[31m\n", "SQL is cleaned too")
		})
	}
}

func TestADetectionLineHasItsFrontMatter(t *testing.T) {
	b, err := json.Marshal(NewDetectionLine(&catalogue()[1]))
	require.NoError(t, err)
	require.JSONEq(t, `{
		"id": "KMS-A01", "title": "Trail no longer records the use of keys in one of our accounts", "severity": "critical", "status": "staged",
		"family": "audit", "class": "B", "mitre": [], "events": ["cloudtrail.amazonaws.com:*", "kms.amazonaws.com:Decrypt"], "entity": [],
		"window": "24h0m0s", "learn_days": 14, "params": {}, "suppress": [],
		"evidence_events": {"table": "uses", "on": ["principal", "key_arn"], "names": ["Decrypt"]},
		"summary": "", "at_risk": "", "description": "", "false_positives": "", "runbook": "", "undo": "", "references": [], "path": ""
	}`, string(b))
}
