//go:build corpus

package policy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

// Policies from real logs: each is either judged or has its reason.
func TestCorpusPolicies(t *testing.T) {
	root := os.Getenv("KEYTRAIL_CORPUS")
	if root == "" {
		root = "../../../shared/data"
	}
	_, err := os.Stat(root)
	require.NoError(t, err, "the real logs are not there: set KEYTRAIL_CORPUS to their folder, or test without -tags corpus")
	judged := 0
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, x := range v {
				if s, ok := x.(string); ok && (name == "policy" || name == "replicaPolicy") && strings.Contains(s, "kms:") {
					ev := analyzer.Event{Account: keyOwner, Policy: s}
					Apply(&ev)
					require.Empty(t, ev.PolicyProblem, s)
					require.Empty(t, ev.PolicyPublic, s)
					require.NotEmpty(t, ev.PolicyPrincipals, s)
					judged++
				}
				visit(x)
			}
		case []any:
			for _, x := range v {
				visit(x)
			}
		}
	}
	for _, file := range []string{"umccr/records.jsonl", "aws-kms-guide/records.jsonl"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			var v any
			require.NoError(t, json.Unmarshal([]byte(line), &v))
			visit(v)
		}
	}
	require.GreaterOrEqual(t, judged, 4)
}
