package engine

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer"
)

// Rows about one entity and window come in any order from a database with
// several threads: what they are merged into must not depend on it.
func TestMergingRowsDoesNotDependOnTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
		rows := make([]analyzer.Finding, rapid.IntRange(2, 5).Draw(t, "rows"))
		for i := range rows {
			text := func(name string, values ...string) string { return rapid.SampledFrom(values).Draw(t, name) }
			first := at.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "first")) * time.Minute)
			last := first.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "last")) * time.Minute)
			rows[i] = analyzer.Finding{
				ID: "f-1", Severity: analyzer.Severity(rapid.IntRange(0, 4).Draw(t, "severity")), Count: int64(i + 1),
				Status:  rapid.SampledFrom([]analyzer.FindingStatus{analyzer.FindingActive, analyzer.FindingLearning}).Draw(t, "status"),
				Account: text("account", "", "111122223333", "444455556666"), Region: text("region", "us-east-1", "eu-west-1"),
				Principal: text("principal", "444455556666", "arn:aws:iam::444455556666:role/a", "arn:aws:iam::444455556666:role/b", ""),
				Key:       text("key", "", "k1", "k2"), FirstTime: first, LastTime: last, Time: last,
				Evidence: map[string]any{"person": text("person", "ann", "bob"), "n": int64(rapid.IntRange(0, 12).Draw(t, "n"))},
			}
			if rapid.Bool().Draw(t, "with ids") {
				rows[i].EventIDs = []string{fmt.Sprint("e", i)}
			}
			if rapid.Bool().Draw(t, "with more") {
				rows[i].Evidence[text("more", "client", "lane")] = text("value", "x", "y")
			}
		}
		merged := func(order []analyzer.Finding) string {
			var into analyzer.Finding
			for i, row := range order {
				text, err := json.Marshal(row) // a copy: merging writes into maps
				require.NoError(t, err)
				var f analyzer.Finding
				require.NoError(t, json.Unmarshal(text, &f))
				if i == 0 {
					into = f
					continue
				}
				merge(&into, f)
			}
			ids := map[string]bool{}
			for _, id := range into.EventIDs {
				ids[id] = true
			}
			into.EventIDs = nil // sorted later
			text, err := json.Marshal(struct {
				F   analyzer.Finding
				IDs map[string]bool
			}{into, ids})
			require.NoError(t, err)
			return string(text)
		}
		require.Equal(t, merged(rows), merged(rapid.Permutation(rows).Draw(t, "order")))
	})
}

func TestTheFrontierFollowsWhatTheStatementReads(t *testing.T) {
	control, uses := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	tk := &tick{}
	tk.prev.ControlFrom, tk.prev.UsesFrom = control, uses
	tests := []struct {
		name, sql string
		want      time.Time
	}{
		{"control events", "select 1 from control_events", control},
		{"uses", "select 1 from uses u", uses},
		{"both wait for the nearer", "select 1 from uses union all select 1 from control_events", uses},
		{"a join of both", "select 1 from control_events c join first_uses f on true", uses},
		{"a word in a comment", "select 1 from control_events -- not of uses", control},
		{"a word in a long comment", "select 1 /* what\nuses say */ from control_events", control},
		{"a word in a text", "select 'many uses, isn''t it' from control_events", control},
		{"a comment sign in a text", "select '--' from uses", uses},
		{"a name that begins alike", "select 1 from key_use_days join control_events on true", control},
		{"neither", "select 1 from accounts", time.Time{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, tk.frontier(test.sql))
		})
	}
}
