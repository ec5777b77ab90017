//go:build corpus

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The corpus is real logs of others, kept beside the repository. `.ci/corpus`
// says where and fails in CI when it is not there; here it always has to be.
func corpus(t *testing.T, path string) string {
	t.Helper()
	root := os.Getenv("KEYTRAIL_CORPUS")
	require.NotEmpty(t, root, "run this with .ci/corpus, which sets KEYTRAIL_CORPUS")
	full := filepath.Join(root, path)
	_, err := os.Stat(full)
	require.NoError(t, err, "the corpus has no %s: nothing is proven about it", path)
	return full
}

// TestCorpusOfAnAttackExercise reads the logs of 32 attack techniques that one
// user carried out in an hour, among the ordinary traffic of services.
func TestCorpusOfAnAttackExercise(t *testing.T) {
	out := replay(t, corpus(t, "invictus-ir/CloudTrail"))

	require.Equal(t, statusOK, out.status)
	require.EqualValues(t, 55, out.summary.Files.Read)
	require.EqualValues(t, 2900, out.summary.Records.Read)
	require.Empty(t, out.rejects)
	require.EqualValues(t, 240, out.summary.EventsBySource["kms.amazonaws.com"])

	const attacker = ":user/bert-jan"
	by := func(a line, detections ...string) bool {
		for _, d := range detections {
			if a.Detection == d && strings.HasSuffix(a.Principal, attacker) {
				return true
			}
		}
		return false
	}
	harvested := map[string]bool{}
	for _, f := range out.findings {
		if by(f, "KMS-U05") && f.Status == "active" {
			harvested[f.Entity["data_kind"]] = true
		}
	}
	require.Equal(t, map[string]bool{"parameter": true, "secret": true}, harvested, "the mass retrieval from SSM and Secrets Manager is found")

	var harvest, tampering int
	for _, a := range out.alerts {
		t.Logf("%-8s %s %-6s %s (%s)", a.Severity, a.Detection, a.Action, a.Title, a.Principal[strings.LastIndexByte(a.Principal, ':')+1:])
		if by(a, "KMS-U05") {
			harvest++
		}
		if by(a, "KMS-A01", "KMS-A02", "KMS-A03") {
			tampering++
		}
		require.NotRegexp(t, `(\.amazonaws\.com$|:role/aws-service-role/|^AWS Internal$)`, a.Principal,
			"services go about their work: %+v", a)
	}
	require.Positive(t, harvest, "the mass retrieval of parameters and secrets is named")
	require.Positive(t, tampering, "the tampering with trails is named")
}

// TestCorpusIsReadWithoutRejects reads single records from handbooks and
// public examples, with every shape that CloudTrail has had since 2014.
func TestCorpusIsReadWithoutRejects(t *testing.T) {
	for _, set := range []struct {
		path    string
		records int64
	}{
		{"aws-kms-guide/records.jsonl", 120},
		{"opensearch-catalog/records.jsonl", 31},
		{"splunk-security-content/records.jsonl", 7},
		{"stratus-red-team/records.jsonl", 5},
		{"umccr/records.jsonl", 6},
	} {
		t.Run(filepath.Dir(set.path), func(t *testing.T) {
			out := replay(t, corpus(t, set.path))
			require.Empty(t, out.rejects)
			require.Equal(t, statusOK, out.status)
			require.Equal(t, set.records, out.summary.Records.Read)
		})
	}
}

// TestCorpusAsOneFolder reads everything there is in one go: licences, tables
// and pages lie among the logs, and one file holds records that are broken.
func TestCorpusAsOneFolder(t *testing.T) {
	out := replay(t, corpus(t, "."))
	require.Positive(t, out.summary.Files.Skipped, "what is no log is skipped and counted")
	for _, r := range out.rejects {
		require.Equal(t, "unparsed.jsonl", filepath.Base(r.File), "rejected without being broken: %+v", r)
		require.NotEmpty(t, r.Reason)
	}
}
