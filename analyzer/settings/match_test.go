package settings_test

import (
	"database/sql"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/settings"

	_ "github.com/duckdb/duckdb-go/v2"
)

func TestMatch(t *testing.T) {
	cases := []struct {
		name, pattern, s string
		want             bool
	}{
		{"text matches itself", "arn:aws:iam::111122223333:role/a", "arn:aws:iam::111122223333:role/a", true},
		{"text does not match a longer one", "role/a", "role/ab", false},
		{"text does not match a part", "a", "role/a", false},
		{"case counts", "role/A", "role/a", false},
		{"a star matches nothing", "role/a*", "role/a", true},
		{"a star reaches across : and /", "arn:*:role/a", "arn:aws:iam::111122223333:role/x:role/a", true},
		{"a star at the front", "*a", "role/a", true},
		{"two stars", "*/x/*", "role/x/a", true},
		{"stars do not overlap", "ab*ba", "aba", false},
		{"the last part is at the end", "a*b*c", "abcb", false},
		{"a question mark is a question mark", "a?c", "abc", false},
		{"a dot is a dot", "a.c", "abc", false},
		{"an empty pattern matches the empty text only", "", "a", false},
		{"star alone matches all", "*", "", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, settings.Match(c.pattern, c.s)) })
	}
}

// text draws from few letters, so that patterns often match.
var text = rapid.StringOfN(rapid.RuneFrom([]rune(`ab*?%_\'.`)), 0, 8, -1)

func TestMatchAgreesWithARegularExpression(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern, s := text.Draw(t, "pattern"), text.Draw(t, "s")
		re := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$")
		require.Equal(t, re.MatchString(s), settings.Match(pattern, s))
	})
}

func TestLikeMeansInSQLWhatMatchMeans(t *testing.T) {
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	like, err := db.PrepareContext(t.Context(), `select ?::varchar like ?::varchar escape '\'`)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, like.Close()) })
	rapid.Check(t, func(t *rapid.T) {
		pattern, s := text.Draw(t, "pattern"), text.Draw(t, "s")
		var got bool
		require.NoError(t, like.QueryRowContext(t.Context(), s, settings.Like(pattern)).Scan(&got))
		require.Equal(t, settings.Match(pattern, s), got, "%q like %q", s, settings.Like(pattern))
	})
}

const (
	keyARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	mrkARN = "arn:aws:kms:eu-west-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef"
)

func TestKeyReferences(t *testing.T) {
	aliases := []string{"alias/payments", "alias/old"}
	cases := []struct {
		name, ref, key string
		want           bool
	}{
		{"an ARN means its key", keyARN, keyARN, true},
		{"an ARN means no other key", keyARN, mrkARN, false},
		{"a multi-Region id means each replica", "mrk-0123456789abcdef0123456789abcdef", mrkARN, true},
		{"a multi-Region id means no other", "mrk-0123456789abcdef0123456789abcdee", mrkARN, false},
		{"an alias means the key it points to", "alias/payments", keyARN, true},
		{"any of the key's aliases will do", "alias/old", keyARN, true},
		{"another alias means another key", "alias/other", keyARN, false},
		{"an alias in the key's account", "111122223333:alias/payments", keyARN, true},
		{"an alias in another account", "444455556666:alias/payments", keyARN, false},
		{"an alias ARN", "arn:aws:kms:us-east-1:111122223333:alias/payments", keyARN, true},
		{"an alias ARN of another Region", "arn:aws:kms:us-west-2:111122223333:alias/payments", keyARN, false},
		{"a pattern of keys", "arn:aws:kms:*:111122223333:key/*", keyARN, true},
		{"a pattern of another account's keys", "arn:aws:kms:*:444455556666:key/*", keyARN, false},
		{"no key is never meant", "alias/payments", "", false},
		{"what is no reference means nothing", "foo", keyARN, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ref := settings.ParseKeyRef(c.ref)
			require.Equal(t, c.want, ref.Matches(c.key, aliases))
			if ref != (settings.KeyRef{}) {
				require.Equal(t, c.ref, ref.String())
			}
		})
	}
	for _, wrong := range []string{
		"", "foo", "mrk-", "mrk-XYZ", "alias/", "alias/a b", "alias/ümlaut", "1111:alias/a", "arn:aws:kms:us-east-1:1111:key/x", "arn:aws:kms:us-east-1:111122223333:key/",
		"arn:aws:s3:::bucket", "arn:aws:kms::111122223333:key/x", "1234abcd-12ab-34cd-56ef-1234567890ab", keyARN + "\n", "arn:aws:kms:us-east-1:111122223333:key/a/b",
	} {
		require.Zero(t, settings.ParseKeyRef(wrong), wrong)
	}
}

func TestRulesMatchFindings(t *testing.T) {
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	f := analyzer.Finding{Detection: "KMS-D01", Account: "111122223333", Principal: "arn:aws:iam::111122223333:role/deploy-1", Key: keyARN, LastTime: at}
	aliases := []string{"alias/payments"}
	full := analyzer.Suppression{Detection: "KMS-D01", Account: "111122223333", Principal: "arn:aws:iam::*:role/deploy-*", Key: "alias/payments", Until: at.Add(time.Second)}

	t.Run("a suppression matches when each of its parts does", func(t *testing.T) {
		require.True(t, settings.MatchSuppression(full, f, aliases))
		require.True(t, settings.MatchSuppression(analyzer.Suppression{Detection: "*"}, f, nil))
		for name, change := range map[string]func(*analyzer.Suppression){
			"detection": func(s *analyzer.Suppression) { s.Detection = "KMS-D02" },
			"account":   func(s *analyzer.Suppression) { s.Account = "444455556666" },
			"principal": func(s *analyzer.Suppression) { s.Principal = "arn:aws:iam::*:role/other" },
			"key":       func(s *analyzer.Suppression) { s.Key = "alias/other" },
			"until":     func(s *analyzer.Suppression) { s.Until = at },
		} {
			s := full
			change(&s)
			require.False(t, settings.MatchSuppression(s, f, aliases), name)
		}
		require.False(t, settings.MatchSuppression(full, f, nil), "the key has lost its alias")
	})
	t.Run("a silence holds from its start to before its end", func(t *testing.T) {
		s := analyzer.Silence{Detection: "KMS-D01", From: at, Until: at.Add(time.Hour)}
		require.True(t, settings.MatchSilence(s, f, nil))
		s.From = at.Add(time.Second)
		require.False(t, settings.MatchSilence(s, f, nil))
		s.From, s.Until = at.Add(-time.Hour), at
		require.False(t, settings.MatchSilence(s, f, nil))
	})
	t.Run("a change window holds for its accounts and detections", func(t *testing.T) {
		w := analyzer.ChangeWindow{From: at, To: at.Add(time.Hour)}
		require.True(t, settings.MatchChangeWindow(w, f))
		w.Accounts, w.Detections = []string{"111122223333"}, []string{"KMS-D01"}
		require.True(t, settings.MatchChangeWindow(w, f))
		w.Accounts = []string{"444455556666"}
		require.False(t, settings.MatchChangeWindow(w, f))
		w.Accounts, w.Detections = nil, []string{"KMS-D02"}
		require.False(t, settings.MatchChangeWindow(w, f))
		require.False(t, settings.MatchChangeWindow(analyzer.ChangeWindow{From: at.Add(-time.Hour), To: at}, f))
	})
}
