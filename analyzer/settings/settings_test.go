package settings_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/settings"
)

// detections stand for the catalogue: the ones that the example names, and one
// with a parameter of each type.
var detections = []analyzer.Detection{
	{ID: "KMS-D01", Params: map[string]any{"short_window_days": int64(7)}},
	{ID: "KMS-D02"},
	{ID: "KMS-D17"},
	{ID: "KMS-G04"},
	{ID: "KMS-G05", Params: map[string]any{"recreated_within": 10 * time.Minute}},
	{ID: "KMS-X01", Params: map[string]any{"count": int64(1), "ratio": 1.5, "word": "x", "on": true, "within": time.Hour, "names": []string{}}},
}

func parse(text string) (*analyzer.Settings, error) {
	return settings.Parse("keytrail.yaml", []byte(text), settings.WithDetections(detections))
}

func TestTheExampleLoads(t *testing.T) {
	s, err := settings.Load("../../keytrail.example.yaml", settings.WithDetections(detections), settings.WithWarnings(func(p settings.Problem) {
		t.Error(p)
	}))
	require.NoError(t, err)
	require.Empty(t, settings.Assumptions(s))
	require.Equal(t, analyzer.Account{ID: "222233334444", Name: "playground", Sandbox: true}, s.Organisation[2])
	require.Equal(t, map[string]any{"recreated_within": 30 * time.Minute}, s.Detections["KMS-G05"].Params)
	require.Equal(t, time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC), s.ChangeWindows[0].From)
	require.Equal(t, time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC), s.Suppress[0].Until)
	require.False(t, *s.Detections["KMS-G04"].Enabled)
	require.Equal(t, 7*24*time.Hour, s.Alerts.ReopenAfter)
	require.Equal(t, map[string]string{"critical": "here", "high": "S0123456789"}, s.Slack.Mentions)

	everything := reflect.ValueOf(*s)
	for i := range everything.NumField() {
		require.False(t, everything.Field(i).IsZero(), "the example leaves out %s", everything.Type().Field(i).Name)
	}
}

func TestTheExampleNamesDetectionsOfTheCatalogue(t *testing.T) {
	files, err := filepath.Glob("../../queries/*/*.sql")
	require.NoError(t, err)
	ids := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, id := range regexp.MustCompile(`(?m)^id: (\S+)`).FindAllSubmatch(text, -1) {
			ids[string(id[1])] = true
		}
	}
	example, err := os.ReadFile("../../keytrail.example.yaml")
	require.NoError(t, err)
	for _, id := range regexp.MustCompile(`KMS-[A-Z][0-9]{2}`).FindAllString(string(example), -1) {
		require.True(t, ids[id], "the example names %s, which the catalogue does not have", id)
	}
}

// keysOf lists the dotted names of all keys under a type of the settings.
func keysOf(t reflect.Type, prefix string) []string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return nil
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer:
		return keysOf(t.Elem(), prefix)
	case t.Kind() != reflect.Struct:
		return nil
	}
	var out []string
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("yaml")
		out = append(out, prefix+name)
		out = append(out, keysOf(t.Field(i).Type, prefix+name+".")...)
	}
	return out
}

func TestTheExampleAndTheDocumentHaveEveryKey(t *testing.T) {
	example, err := os.ReadFile("../../keytrail.example.yaml")
	require.NoError(t, err)
	document, err := os.ReadFile("../../docs/settings.md")
	require.NoError(t, err)
	keys := keysOf(reflect.TypeFor[analyzer.Settings](), "")
	require.Greater(t, len(keys), 40)
	for _, key := range keys {
		last := key[strings.LastIndex(key, ".")+1:]
		shown := regexp.MustCompile(`(?m)(^|[\s{])` + regexp.QuoteMeta(last) + `:`)
		require.True(t, shown.Match(example), "the example lacks %s", key)
		if key == "partners.sandbox" { // a sandbox is one of ours
			continue
		}
		require.True(t, strings.Contains(string(document), "`"+key+"`"), "docs/settings.md lacks %s", key)
	}
}

func TestWithoutAFileDefaultsHold(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "a comment": "# nothing yet\n", "empty keys": "partners:\nslack:\n", "null": "~\n"} {
		t.Run(name, func(t *testing.T) {
			s, err := parse(text)
			require.NoError(t, err)
			require.Equal(t, settings.Default(), s)
		})
	}
	require.Equal(t, analyzer.DefaultLateness, settings.Default().Lateness)
	require.Equal(t, analyzer.DefaultReopenAfter, settings.Default().Alerts.ReopenAfter)
}

func TestMistakes(t *testing.T) {
	cases := []struct {
		name string
		text string
		want string // the whole message, or its end after "…"
	}{
		{"an unknown key is named with the nearest", "organization: []", `keytrail.yaml:1: organization: there is no such key; did you mean organisation?`},
		{"an unknown key inside a list", "\npartners:\n  - {id: \"777788889999\", nmae: x}", `keytrail.yaml:3: partners[0].nmae: there is no such key; did you mean name?`},
		{"an unknown key near nothing lists what there is", "alerts: {zzzzzzzz: 1}", `keytrail.yaml:1: alerts.zzzzzzzz: there is no such key; there are reopen_after`},
		{"a partner has no sandbox", "partners: [{id: \"777788889999\", sandbox: true}]", `…partners[0].sandbox: there is no such key; there are id, name`},
		{"a repeated key", "regions: [us-east-1]\nregions: [us-east-2]", `keytrail.yaml:2: regions: is there twice`},
		{"a merge key", "alerts: &a {reopen_after: 7d}\n<<: *a", `…<< is not read here; write the keys out`},
		{"a second document", "regions: [us-east-1]\n---\nregions: []", `…there is a second document after ---; one is read`},
		{"not YAML", "regions: [us-east-1", `…`},
		{"a list where a mapping belongs", "- a\n- b", `keytrail.yaml:1: must be a mapping of keys, not a list`},
		{"text where a list belongs", "regions: us-east-1", `…regions: must be a list, not text`},
		{"an empty item", "regions:\n  - us-east-1\n  -", `…regions[1]: is empty`},

		{"an account id without its leading zero", "organisation: [{id: 012345678901}]", `…organisation[0].id: 012345678901 must be in quotes: "012345678901"; without them YAML reads a number and the 0 is lost`},
		{"an octal account id", "organisation: [{id: 012345670123}]", `…organisation[0].id: 012345670123 must be in quotes: "012345670123"; without them YAML reads a number and the 0 is lost`},
		{"an account id that lost its zero", "organisation: [{id: 12345678901}]", `…12345678901 has 11 digits; an account id has 12. If it starts with 0, put it in quotes`},
		{"a short account id", `organisation: [{id: "1234"}]`, `…"1234" has 4 digits; an account id has 12`},
		{"no account id", `organisation: [{id: production}]`, `…organisation[0].id: "production" is not an account id: 12 digits`},
		{"an account without id", `organisation: [{name: production}]`, `…organisation[0]: has no id`},
		{"an account twice", "organisation:\n  - id: \"111122223333\"\n  - id: \"111122223333\"", `keytrail.yaml:3: organisation[1]: account 111122223333 is there already, in organisation[0]`},
		{"an account that is ours and a partner's", "organisation: [\"111122223333\"]\npartners: [\"111122223333\"]", `keytrail.yaml:2: partners[0]: account 111122223333 is there already, in organisation[0]`},
		{"a hexadecimal account id", "organisation: [0x123456789a]", `…is not an account id: 12 digits`},
		{"a list as account id", "organisation: [{id: [1]}]", `…must be an account id, 12 digits in quotes, not a list`},
		{"text for a boolean", `organisation: [{id: "111122223333", sandbox: "yes"}]`, `…sandbox: must be true or false, not text`},
		{"a number for a name", `organisation: [{id: "111122223333", name: 7}]`, `…name: 7 is a number to YAML; write it in quotes`},
		{"an organisation id", "organisation_ids: [org-1]", `…organisation_ids[0]: "org-1" is not an organisation id (o-exampleorg)`},

		{"a key reference", "tier0_keys:\n  - alias/a\n  - foo", `keytrail.yaml:3: tier0_keys[1]: "foo" is not a key ARN, mrk- id, alias/name or ACCOUNT:alias/name`},
		{"a key pattern where single keys belong", "tier0_keys: [\"arn:aws:kms:us-east-1:111122223333:key/*\"]", `…has a *; name each key, or an alias`},
		{"a key twice", "tier0_keys: [alias/a, alias/a]", `…tier0_keys[1]: "alias/a" is in the list twice`},
		{"an allow-list without principals", "key_allow: [{key: alias/a}]", `…key_allow[0]: has no principals; a key that nobody may use needs no list`},
		{"an allow-list without key", "key_allow: [{principals: [\"arn:aws:iam::111122223333:role/a\"]}]", `…key_allow[0]: has no key`},

		{"a principal that is no ARN", "roles: {iac: [deploy]}", `…roles.iac[0]: "deploy" is not an ARN (arn:aws:iam::111122223333:role/name), an account id or a service (name.amazonaws.com)`},
		{"everybody as a role", "roles: {iac: [\"*\"]}", `…"*" would mean everybody; name an ARN, where * may stand for a part`},
		{"a session as a role", "roles: {iac: [\"arn:aws:sts::111122223333:assumed-role/deploy/x\"]}", `…is a session; name its role, as in arn:aws:iam::111122223333:role/name, which stands for all its sessions`},
		{"an ARN with too few parts", "roles: {iac: [\"arn:aws:iam:role/x\"]}", `…has too few parts for an ARN; they look like arn:aws:iam::111122223333:role/name`},
		{"an ARN with a short account", "roles: {iac: [\"arn:aws:iam::1111:role/x\"]}", `…has no account id of 12 digits in its place`},
		{"a blank in a principal", "roles: {iac: [\"arn:aws:iam::111122223333:role/a b\"]}", `…has a blank in it`},

		{"no Region", "regions: [Frankfurt]", `…regions[0]: "Frankfurt" is not a Region (us-east-1)`},

		{"a change window that ends before it starts", `change_windows: [{name: w, from: 2026-03-02, to: 2026-03-01}]`, `…from (2026-03-02T00:00:00Z) is not before to (2026-03-01T00:00:00Z)`},
		{"a change window of no length", `change_windows: [{name: w, from: 2026-03-02, to: 2026-03-02}]`, `…is not before to (2026-03-02T00:00:00Z)`},
		{"a change window without end", `change_windows: [{name: w, from: 2026-03-02}]`, `…change_windows[0]: needs from and to`},
		{"a change window without name", `change_windows: [{from: 2026-03-02, to: 2026-03-03}]`, `…has no name; it is shown where this hides something`},
		{"a time without zone", `change_windows: [{name: w, from: "2026-03-02 08:00", to: 2026-03-03}]`, `…from: "2026-03-02 08:00" is not a time; they look like 2026-03-02T09:00:00Z, with the zone, or 2026-03-02`},
		{"an impossible date", `change_windows: [{name: w, from: 2026-02-30, to: 2026-03-03}]`, `…"2026-02-30" is not a time; they look like 2026-03-02T09:00:00Z, with the zone, or 2026-03-02`},

		{"a suppression of everything", `suppress: [{name: all, detection: "*", reason: quiet}]`, `…suppress[0]: would hide every finding; name a detection, an account, a principal or a key`},
		{"a suppression without reason", `suppress: [{name: s, detection: KMS-D01}]`, `…has no reason; whoever reviews what is hidden needs one`},
		{"two rules of one name", `suppress: [{name: s, detection: KMS-D01, reason: r}, {name: s, detection: KMS-D02, reason: r}]`, `…suppress[1]: the name "s" is taken by suppress[0]`},
		{"a silence without end", `silences: [{name: s, detection: KMS-D01}]`, `…silences[0]: has no until; to hide something for good, use suppress`},
		{"a silence that ends before it starts", `silences: [{name: s, from: 2026-03-02, until: 2026-03-01}]`, `…is not before until (2026-03-01T00:00:00Z)`},
		{"an unknown detection", `suppress: [{name: s, detection: KMS-Z99, reason: r}]`, `…suppress[0].detection: there is no detection "KMS-Z99" (keytrail detections list shows them)`},
		{"a detection in lower case", "detections: {kms-d01: {enabled: false}}", `…detections.kms-d01: there is no detection "kms-d01"; did you mean KMS-D01? (keytrail detections list shows them)`},

		{"an unknown severity", "detections: {KMS-D01: {severity: urgent}}", `…detections.KMS-D01.severity: severity "urgent" is not one of critical, high, medium, low, info`},
		{"an unknown status", "detections: {KMS-D01: {status: off}}", `…`},
		{"an unknown parameter", "detections: {KMS-D01: {params: {short_window: 3}}}", `…detections.KMS-D01.params.short_window: KMS-D01 has no such parameter; did you mean short_window_days?`},
		{"a parameter of a detection without any", "detections: {KMS-D02: {params: {x: 3}}}", `…KMS-D02 has no parameters`},
		{"text for a whole number", `detections: {KMS-X01: {params: {count: "3"}}}`, `…params.count: must be a whole number, not text`},
		{"a broken number for a whole one", `detections: {KMS-X01: {params: {count: 1.5}}}`, `…params.count: must be a whole number, not a number`},
		{"text for a number", `detections: {KMS-X01: {params: {ratio: x}}}`, `…params.ratio: must be a number, not text`},
		{"not a number", `detections: {KMS-X01: {params: {ratio: .nan}}}`, `…`},
		{"a number for text", `detections: {KMS-X01: {params: {word: 3}}}`, `…params.word: must be text, not a whole number`},
		{"a number for a boolean", `detections: {KMS-X01: {params: {on: 1}}}`, `…params.on: must be true or false, not a whole number`},
		{"a number for a duration", `detections: {KMS-X01: {params: {within: 5}}}`, `…params.within: must be a duration with a unit, as in 30m, 2h or 7d, not a whole number`},
		{"text for a list", `detections: {KMS-X01: {params: {names: a}}}`, `…params.names: must be a list of text, not text`},
		{"a mapping as parameter", `detections: {KMS-X01: {params: {word: {a: b}}}}`, `…params.word: must be text, not a mapping`},
		{"an empty parameter", `detections: {KMS-X01: {params: {word: }}}`, `…params.word: is empty`},

		{"a duration without unit", "lateness: 120", `…lateness: 120 needs a unit, as in 30m, 2h, 7d or 2w`},
		{"no duration", "lateness: soon", `…lateness: "soon" is not a duration; they look like 30m, 2h, 7d or 2w`},
		{"a lateness that is too long", "lateness: 2d", `…lateness: 2d is not between 1m and 1d`},
		{"a lateness of nothing", "lateness: 0s", `…lateness: 0s is not between 1m and 1d`},

		{"a channel that became a comment", "slack:\n  channel: #alerts", `keytrail.yaml:2: slack.channel: is empty; after # YAML reads a comment, so write "#name" in quotes`},
		{"a channel by severity that became a comment", "slack:\n  channels:\n    high: #alerts", `keytrail.yaml:3: slack.channels.high: is empty; after # YAML reads a comment, so write "#name" in quotes`},
		{"a channel without #", "slack: {channel: alerts}", `…slack.channel: "alerts" is not a channel: "#name" in quotes, or an id (C0123456789)`},
		{"a channel for an unknown severity", `slack: {channels: {urgent: "#a"}}`, `…slack.channels.urgent: "urgent" is not a severity (critical, high, medium, low, info) or an account id`},
		{"a channel for a short account", `slack: {channels: {123: "#a"}}`, `…slack.channels.123: 123 has 3 digits; an account id has 12. If it starts with 0, put it in quotes`},
		{"a mention of nobody", `slack: {mentions: {high: bob}}`, `…slack.mentions.high: "bob" is not here, channel, or the id of a user (U…, W…) or user group (S…)`},
		{"a runbook without TLS", `slack: {runbook_url: "http://runbooks.example.com"}`, `…slack.runbook_url: "http://runbooks.example.com" is not an https:// address`},
		{"a control character", "organisation: [{id: \"111122223333\", name: \"a\\x1b[31m\"}]", `…name: has a control character`},
		{"an alias of itself", "regions: &a [*a]", `…`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, err := parse(c.text)
			require.Error(t, err)
			require.Nil(t, s)
			var problems settings.Problems
			require.ErrorAs(t, err, &problems)
			require.Len(t, problems, 1, err)
			if end, ok := strings.CutPrefix(c.want, "…"); ok {
				require.True(t, strings.HasSuffix(err.Error(), end), "%s\nends not with\n%s", err, end)
				require.NotZero(t, problems[0].Line)
			} else {
				require.Equal(t, c.want, err.Error())
			}
		})
	}
}

func TestEveryMistakeIsReportedInTheOrderOfLines(t *testing.T) {
	_, err := parse(`lateness: soon
tier0_keys: [foo, alias/a, bar]
organization: []
detections:
  KMS-D01: {severity: urgent, params: {nope: 1}}
  KMS-Q01: {}
roles: {iac: [x], scaners: []}
`)
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	require.Len(t, lines, 9, err)
	for i, start := range []string{
		"keytrail.yaml:1: lateness:", "keytrail.yaml:2: tier0_keys[0]:", "keytrail.yaml:2: tier0_keys[2]:", "keytrail.yaml:3: organization:",
		"keytrail.yaml:5: detections.KMS-D01.severity:", "keytrail.yaml:5: detections.KMS-D01.params.nope:", "keytrail.yaml:6: detections.KMS-Q01:",
		"keytrail.yaml:7: roles.iac[0]:", "keytrail.yaml:7: roles.scaners:",
	} {
		require.True(t, strings.HasPrefix(lines[i], start), "line %d: %s", i+1, lines[i])
	}
}

// The secrets are put together here so that nothing that scans the repository
// takes them for real ones.
func TestSecretsAreRefusedAndNotRepeated(t *testing.T) {
	token := "xox" + "b-123456789012-abcdefSECRET"
	hook := "https://hooks.slack" + ".com/services/T000/B000/SECRET"
	key := "AKIA" + "SECRETSECRETSEC2"
	for name, c := range map[string]struct{ text, where string }{
		"a token as channel":             {`slack: {channel: "` + token + `"}`, "KEYTRAIL_SLACK_TOKEN"},
		"a token under a made-up key":    {`slack: {channel: "#a", "` + token + `": x}`, "KEYTRAIL_SLACK_TOKEN"},
		"a user token":                   {`slack: {channel: "` + strings.Replace(token, "b-", "p-", 1) + `"}`, "KEYTRAIL_SLACK_TOKEN"},
		"an app token":                   {`slack: {channel: "xapp` + `-1-SECRET"}`, "KEYTRAIL_SLACK_TOKEN"},
		"a webhook as runbook":           {`slack: {runbook_url: "` + hook + `"}`, "KEYTRAIL_SLACK_WEBHOOK"},
		"a webhook as reason":            {`suppress: [{name: n, detection: KMS-D01, reason: "see ` + hook + `"}]`, "KEYTRAIL_SLACK_WEBHOOK"},
		"a token as account":             {`organisation: ["` + token + `"]`, "KEYTRAIL_SLACK_TOKEN"},
		"a token as parameter":           {`detections: {KMS-X01: {params: {word: "` + token + `"}}}`, "KEYTRAIL_SLACK_TOKEN"},
		"a token as account of channels": {`slack: {channels: {` + token + `: "#a"}}`, "KEYTRAIL_SLACK_TOKEN"},
		"an access key":                  {`organisation: [{id: "111122223333", name: "` + key + `"}]`, "AWS environment"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(c.text)
			require.ErrorContains(t, err, c.where)
			require.ErrorContains(t, err, "no secrets in this file")
			require.NotContains(t, err.Error(), "SECRET")
		})
	}
}

func TestAnUnknownKeyWithASecretValueIsNotRepeated(t *testing.T) {
	_, err := parse("slack:\n  token: xox" + "b-1-SECRET\n")
	require.ErrorContains(t, err, "slack.token")
	require.ErrorContains(t, err, "KEYTRAIL_SLACK_TOKEN")
	require.NotContains(t, err.Error(), "SECRET")
}

func TestAnUnknownRegionIsOnlyWarnedOf(t *testing.T) {
	var warned []string
	s, err := settings.Parse("keytrail.yaml", []byte("regions: [us-east-1, xx-north-9]"), settings.WithWarnings(func(p settings.Problem) { warned = append(warned, p.Error()) }))
	require.NoError(t, err)
	require.Equal(t, []string{"us-east-1", "xx-north-9"}, s.Regions)
	require.Equal(t, []string{"keytrail.yaml:1: regions[1]: this version does not know the Region xx-north-9; it is taken as written"}, warned)
}

func TestWithoutACatalogueIdsAreCheckedByShape(t *testing.T) {
	_, err := settings.Parse("f", []byte("detections: {KMS-Q77: {params: {any: [a, b], n: 3, d: 2h}}}"))
	require.NoError(t, err)
	_, err = settings.Parse("f", []byte("detections: {nope: {}}"))
	require.EqualError(t, err, `f:1: detections.nope: "nope" is not a detection id (KMS-D01)`)
}

func TestParametersComeInTheirTypes(t *testing.T) {
	s, err := parse(`detections: {KMS-X01: {params: {count: 3, ratio: 2, word: 2h, on: false, within: 1d12h, names: [a, b]}}}`)
	require.NoError(t, err)
	require.Equal(t, map[string]any{"count": int64(3), "ratio": 2.0, "word": "2h", "on": false, "within": 36 * time.Hour, "names": []string{"a", "b"}}, s.Detections["KMS-X01"].Params)
}

func TestAnchorsAreFollowed(t *testing.T) {
	s, err := parse("roles:\n  iac: &jobs [\"arn:aws:iam::111122223333:role/ci\"]\n  routine: *jobs\n")
	require.NoError(t, err)
	require.Equal(t, s.Roles.IaC, s.Roles.Routine)
}

func TestLoadAndDiscover(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	none := func(string) string { return "" }
	require.Empty(t, settings.Discover(none))
	require.NoError(t, os.WriteFile(settings.FileName, []byte("regions: [nowhere]\n"), 0o600))
	require.Equal(t, settings.FileName, settings.Discover(none))
	named := func(name string) string {
		require.Equal(t, settings.Variable, name)
		return "other.yaml"
	}
	require.Equal(t, "other.yaml", settings.Discover(named), "the variable goes before the folder")

	_, err := settings.Load("other.yaml")
	require.ErrorContains(t, err, "there is no file other.yaml")
	_, err = settings.Load(filepath.Join(folder, settings.FileName))
	var problems settings.Problems
	require.ErrorAs(t, err, &problems)
	require.False(t, errors.Is(err, os.ErrNotExist))
	_, err = settings.Parse("f", make([]byte, settings.MaxSize+1))
	require.ErrorContains(t, err, "at most")
}

func TestAssumptionsSayWhatIsLeftOpen(t *testing.T) {
	all := settings.Assumptions(settings.Default())
	require.Len(t, all, 6)
	require.Contains(t, all[0], "the accounts whose trails deliver logs are taken as ours")
	s := settings.Default()
	s.Organisation = []analyzer.Account{{ID: "111122223333"}}
	require.NotContains(t, strings.Join(settings.Assumptions(s), "\n"), "trails deliver logs")
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30m": 30 * time.Minute, "2h": 2 * time.Hour, "7d": 168 * time.Hour, "2w": 336 * time.Hour, "90s": 90 * time.Second, "1d12h": 36 * time.Hour, "0s": 0,
	} {
		got, err := settings.ParseDuration(text)
		require.NoError(t, err)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "5", "-2h", "1.5h", "h", "2 h", "2H", "999999w", "1y"} {
		_, err := settings.ParseDuration(text)
		require.Error(t, err, text)
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.IntRange(0, 3000*24*3600).Draw(t, "seconds")) * time.Second
		back, err := settings.ParseDuration(settings.FormatDuration(d))
		require.NoError(t, err)
		require.Equal(t, d, back)
	})
}

func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("../../keytrail.example.yaml")
	require.NoError(f, err)
	f.Add(example)
	for _, seed := range []string{"", "a", "- [", "a: &a *a", "&a [*a]: x", "? [a]\n: b", "!!binary x", "organisation: [01]", "slack:\n channels: {? : 1}", "\xff", "{{{{", "key_allow: [{key: !x alias/a}]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parse(string(text))
		if err == nil {
			require.NotNil(t, s)
			return
		}
		var problems settings.Problems
		require.ErrorAs(t, err, &problems)
		require.NotEmpty(t, problems)
	})
}
