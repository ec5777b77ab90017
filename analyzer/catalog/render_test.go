package catalog_test

import (
	"database/sql"
	"maps"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/catalog"
)

// with adds what the engine gives to every detection.
func with(overrides map[string]any) map[string]any {
	given := map[string]any{
		"now":           time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC),
		"learn_until":   time.Date(2026, 2, 2, 9, 0, 0, 5e6, time.UTC),
		"history_start": time.Time{},
		"has_org":       true,
	}
	maps.Copy(given, overrides)
	return given
}

func detection(sql string, params map[string]any) analyzer.Detection {
	return analyzer.Detection{ID: "KMS-X01", SQL: sql, Params: params}
}

func TestRenderWritesTypedLiterals(t *testing.T) {
	tests := []struct {
		name  string
		value any
		want  string
	}{
		{"a whole number", int64(7), "7"},
		{"a negative number cannot start a comment", int64(-7), "(-7)"},
		{"a number is a double, not a decimal", 2.5, "2.5e+00"},
		{"text", "plain", "'plain'"},
		{"text with quotes", "it's '; drop table x --", "'it''s ''; drop table x --'"},
		{"text with a backslash", `\' or 1=1`, `'\'' or 1=1'`},
		{"a duration", 90 * time.Minute, "interval '5400' second"},
		{"a list", []string{"a", "b'"}, "('a', 'b''')"},
		{"an empty list", []string{}, "(select '' where false)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := catalog.Render(detection("select :p", map[string]any{"p": tt.value}), with(nil))
			require.NoError(t, err)
			require.Equal(t, "select "+tt.want, got)
		})
	}
}

func TestRenderKnowsTheMoment(t *testing.T) {
	got, err := catalog.Render(detection("select :now, :learn_until, :history_start, :has_org", nil), with(nil))
	require.NoError(t, err)
	require.Equal(t, "select timestamp '2026-03-02 09:00:00.000', timestamp '2026-02-02 09:00:00.005', timestamp '0001-01-01 00:00:00.000', true", got)
}

func TestRenderLeavesTextAndCommentsAlone(t *testing.T) {
	sql := "select ':p', \":p\", a::p -- :p\n/* :p */, :p, 'it''s :p'"
	got, err := catalog.Render(detection(sql, map[string]any{"p": int64(1)}), with(nil))
	require.NoError(t, err)
	require.Equal(t, "select ':p', \":p\", a::p -- :p\n/* :p */, 1, 'it''s :p'", got)
}

func TestAValueIsNotRenderedAgain(t *testing.T) {
	got, err := catalog.Render(detection("select :a, :b", map[string]any{"a": ":b", "b": ":a"}), with(nil))
	require.NoError(t, err)
	require.Equal(t, "select ':b', ':a'", got)
}

func TestSettingsReplaceParametersOfTheSameTypeOnly(t *testing.T) {
	d := detection("select :n, :f, :s, :d, :l", map[string]any{
		"n": int64(1), "f": 1.5, "s": "x", "d": time.Minute, "l": []string{"x"},
	})
	tests := []struct {
		name  string
		given map[string]any
		want  string // of the SQL
		fails string // or of the error
	}{
		{"a number as YAML decodes it", map[string]any{"n": uint64(9)}, "select 9,", ""},
		{"a whole number for a number", map[string]any{"f": uint64(2)}, "2e+00", ""},
		{"a duration as text", map[string]any{"d": "2h"}, "interval '7200' second", ""},
		{"text that reads as a duration stays text", map[string]any{"s": "2h"}, "'2h'", ""},
		{"a list as YAML decodes it", map[string]any{"l": []any{"y", "z"}}, "('y', 'z')", ""},
		{"an unknown name", map[string]any{"m": 1}, "", `detection KMS-X01 has no parameter "m"; it has d, f, l, n, s`},
		{"text for a number", map[string]any{"n": "9"}, "", "detection KMS-X01: parameter n: must be a whole number, not text"},
		{"a broken number for a whole one", map[string]any{"n": 1.5}, "", "parameter n: must be a whole number, not a number"},
		{"a number for a duration", map[string]any{"d": uint64(5)}, "", "parameter d: must be a duration, not a whole number"},
		{"a boolean", map[string]any{"n": true}, "", "parameter n: must be"},
		{"part of a second", map[string]any{"d": "1ms"}, "", "whole seconds"},
		{"NUL in text", map[string]any{"s": "a\x00b"}, "", "without NUL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := catalog.Render(d, with(tt.given))
			checked := catalog.CheckParams(d, tt.given)
			if tt.fails != "" {
				require.ErrorContains(t, err, tt.fails)
				require.ErrorContains(t, checked, tt.fails)
				return
			}
			require.NoError(t, err)
			require.NoError(t, checked)
			require.Contains(t, got, tt.want)
		})
	}
}

func TestSettingsCannotSetWhatTheEngineKnows(t *testing.T) {
	d := detection("select :now", nil)
	require.ErrorContains(t, catalog.CheckParams(d, map[string]any{"now": "x"}), `no parameter "now"`)
	_, err := catalog.Render(d, map[string]any{"now": "'; drop table x; --"})
	require.ErrorContains(t, err, "parameter now: a value of type string does not fit")
	_, err = catalog.Render(d, nil)
	require.ErrorContains(t, err, "parameter :now has no value")
}

func TestAllWrongSettingsAreReportedAtOnce(t *testing.T) {
	err := catalog.CheckParams(detection("select :n", map[string]any{"n": int64(1)}), map[string]any{"n": "x", "m": 1})
	require.ErrorContains(t, err, "parameter n")
	require.ErrorContains(t, err, `no parameter "m"`)
}

// What the database reads back is what went in, and nothing else ran.
func TestHostileTextCannotBreakOut(t *testing.T) {
	ctx := t.Context()
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = db.ExecContext(t.Context(), "create table canary as select 1 as alive")
	require.NoError(t, err)

	check := func(t require.TestingT, given string) {
		d := detection("select :p as p, :l_count as n from canary where 'x' not in :list -- :p", map[string]any{
			"p": "", "l_count": int64(1), "list": []string{"y"},
		})
		query, err := catalog.Render(d, with(map[string]any{"p": given, "list": []any{given + "!", "'"}}))
		require.NoError(t, err)
		var got string
		var n int64
		require.NoError(t, db.QueryRowContext(ctx, query).Scan(&got, &n), query)
		require.Equal(t, given, got)
		require.NoError(t, db.QueryRowContext(ctx, "select alive from canary").Scan(&n))
	}
	for _, given := range []string{
		"'; drop table canary; --", "''", "'", `\'; drop table canary; --`, "$$; drop table canary; $$",
		":p", "/*", "*/", "--", "\n", "E'\\'", "\u2019; drop table canary", strings.Repeat("'", 999),
	} {
		check(t, given)
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.StringMatching(`[ -~\n'";:*/\\$-]{0,40}`).Draw(t, "text"))
	})
}
