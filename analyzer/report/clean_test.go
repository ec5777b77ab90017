package report

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer"
)

func TestClean(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain text stays":                    {"aws-cli/2.15 (Linux) ~", "aws-cli/2.15 (Linux) ~"},
		"letters of any script stay":          {"Zoë 田中 Ольга नमस्ते 😀", "Zoë 田中 Ольга नमस्ते 😀"},
		"a backslash stays":                   {`CORP\bob`, `CORP\bob`},
		"ESC becomes visible":                 {"\x1b[31mred", `\x1b[31mred`},
		"C1 controls become visible":          {"\u009b31m", `\u009b31m`},
		"DEL becomes visible":                 {"a\x7f", `a\x7f`},
		"line ends become visible":            {"a\r\nb\tc", `a\r\nb\tc`},
		"line and paragraph separators too":   {"a\u2028b\u2029", `a\u2028b\u2029`},
		"direction marks become visible":      {"user\u202egpj.exe\u2066", `user\u202egpj.exe\u2066`},
		"zero-width characters too":           {"a\u200bb\ufeff\u00ad", `a\u200bb\ufeff\u00ad`},
		"tag characters become visible":       {"a\U000e0041", `a\U000e0041`},
		"no-break space becomes visible":      {"a\u00a0b", `a\u00a0b`},
		"fillers become visible":              {"\u3164\u2800", `\u3164\u2800`},
		"invalid UTF-8 is shown byte by byte": {"a\xff\xc3(", `a\xff\xc3(`},
		"a lone surrogate is not UTF-8":       {"\xed\xa0\x80", `\xed\xa0\x80`},
		"a real replacement character stays":  {"\ufffd", "\ufffd"},
		"a mark needs something to stand on":  {"\u0301a \u0301", `\u0301a \u0301`},
		"stacked marks are cut off":           {"e\u0301\u0301\u0301\u0301\u0301", "e\u0301\u0301\u0301\u0301" + `\u0301`},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, Clean(c.in))
		})
	}
}

// hostile draws text as an attacker writes it: any bytes, terminal sequences,
// marks, very long words, and ordinary text to keep them company.
func hostile() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{
			"", "\x1b]8;;https://evil.example.com\x07click\x1b]8;;\x07", "\u202e\u2066x", strings.Repeat("A", 3000),
			"arn:aws:iam::111122223333:role/\x1b[2J", "arn:" + strings.Repeat("x", 600), strings.Repeat("表", 200),
			"a\u0301\u0301\u0301\u0301\u0301\u0301", "two words\nthree", "👨\u200d👩\u200d👧", "`$(reboot)`", "'", `"`, `\`,
		}),
	)
}

func hostileRun(t *rapid.T) *Run {
	text := hostile()
	alert := rapid.Custom(func(t *rapid.T) AlertView {
		return AlertView{
			Alert: analyzer.Alert{
				ID: text.Draw(t, "id"), Detection: text.Draw(t, "detection"), Title: text.Draw(t, "title"),
				Severity: analyzer.Severity(rapid.IntRange(0, 4).Draw(t, "severity")), Action: analyzer.ActionPage,
				Reason: text.Draw(t, "reason"), Principal: text.Draw(t, "principal"), Key: text.Draw(t, "key"),
				Account: text.Draw(t, "account"), Region: text.Draw(t, "region"),
				Entity: map[string]string{"e": text.Draw(t, "entity")},
				Latest: analyzer.Finding{
					EventIDs: []string{text.Draw(t, "event id")},
					Evidence: map[string]any{
						text.Draw(t, "name"): text.Draw(t, "value"),
						"list":               []any{text.Draw(t, "item"), 1},
						"object":             map[string]any{"k": text.Draw(t, "inner")},
					},
				},
			},
			What: text.Draw(t, "what"), AtRisk: text.Draw(t, "at risk"), Undo: text.Draw(t, "undo"),
			RunbookURL: text.Draw(t, "runbook"), AccountName: text.Draw(t, "account name"), KeyAlias: text.Draw(t, "alias"),
			Who: text.Draw(t, "who"), From: text.Draw(t, "from"), Changed: text.Draw(t, "changed"),
		}
	})
	return &Run{
		Alerts: rapid.SliceOfN(alert, 0, 4).Draw(t, "alerts"),
		Summary: Summary{
			EventsBySource: map[string]int64{text.Draw(t, "source"): 1},
			Findings:       map[string]int64{text.Draw(t, "finding"): 1},
			Suppressed:     map[string]int64{text.Draw(t, "rule"): 1},
			Learning:       []Learning{{Detection: text.Draw(t, "learning")}},
			Assumptions:    []string{text.Draw(t, "assumption")},
			Rejects:        []analyzer.Reject{{File: text.Draw(t, "file"), Reason: text.Draw(t, "reason")}},
		},
		Notes: []string{text.Draw(t, "note")},
	}
}

func requireHarmless(t require.TestingT, out string) {
	require.True(t, utf8.ValidString(out))
	for _, r := range out {
		require.True(t, r == '\n' || unicode.IsPrint(r), "%q in the output", r)
	}
}

func TestNoTextFromALogReachesTheTerminalRaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run := hostileRun(t)
		layout := Layout{Width: rapid.IntRange(MinWidth, MaxWidth).Draw(t, "width"), Terminal: rapid.Bool().Draw(t, "terminal")}

		var b bytes.Buffer
		require.NoError(t, run.Text(&b, layout))
		requireHarmless(t, b.String())
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			if width(line) > layout.Width {
				require.False(t, strings.HasPrefix(line, " "), "too long and not at the left edge: %q", line)
				require.LessOrEqual(t, width(line), longestWhole+len(` \`)+maxUndo(run), "%q", line)
			}
		}

		var quiet bytes.Buffer
		require.NoError(t, run.Quiet(&quiet, layout))
		requireHarmless(t, quiet.String())
		require.Equal(t, len(run.Alerts), strings.Count(quiet.String(), "\n"))
	})
}

// maxUndo is how long a command line may be: its words are never broken.
func maxUndo(run *Run) int {
	longest := 0
	for i := range run.Alerts {
		longest = max(longest, width(Clean(run.Alerts[i].Undo)))
	}
	return longest
}

func TestColourEscapesAreTheOnlyOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run := hostileRun(t)
		var plainText, colored bytes.Buffer
		require.NoError(t, run.Text(&plainText, Layout{Width: 80}))
		require.NoError(t, run.Text(&colored, Layout{Width: 80, Color: true}))
		require.Equal(t, plainText.String(), stripSGR(colored.String()))
	})
}

func TestCleanIsIdempotentAndKeepsVisibleText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := hostile().Draw(t, "text")
		once := Clean(s)
		require.Equal(t, once, Clean(once))
		requireHarmless(t, once)
		require.NotContains(t, once, "\n")
	})
}

func TestWrapLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := Clean(hostile().Draw(t, "text"))
		n := rapid.IntRange(1, 120).Draw(t, "cells")
		lines := wrap(text, n)
		require.Equal(t, strings.Join(strings.Fields(text), ""), strings.Join(strings.Fields(strings.Join(lines, "")), ""))
	})
}

func TestCommandsAreTheSameAfterTheShellJoinsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.SampledFrom([]string{
			"aws", "--key-id", "'a  b'", `"c \" d"`, `e\ f`, "--x", "arn:aws:kms:eu-central-1:111122223333:key/1", "'--'",
		})).Draw(t, "words")
		command := strings.Join(words, " ")
		lines := wrapCommand(command, rapid.IntRange(1, 120).Draw(t, "cells"))
		require.Equal(t, command, strings.ReplaceAll(strings.Join(lines, "\n"), "\\\n", ""))
	})
}
