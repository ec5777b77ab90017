package hunt_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/hunt"
	"github.com/keytrail/keytrail/analyzer/settings"
)

var march = hunt.Options{
	Since: time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC), Until: time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC),
	Settings: settings.Default(), Schema: hunt.Schema("lake"),
}

func build(t *testing.T, s hunt.Subject, o hunt.Options) hunt.Statement {
	t.Helper()
	statement, err := hunt.Build(s, o)
	require.NoError(t, err)
	return statement
}

func TestOnlyWhatIsReadStandsInFrontOfTheStatement(t *testing.T) {
	for sql, want := range map[string]string{
		"select 1 as one":                                    "select 1 as one",
		"select 'from uses' as x -- join grants":             "select 'from uses' as x -- join grants",
		"select grants from lake.uses":                       "select grants from lake.uses",
		"select extract(hour from t), u.* from regions u, t": "with regions (region) as (\nselect cast(null as varchar)\nwhere false\n)\nselect extract(hour from t), u.* from regions u, t",
	} {
		require.Equal(t, want, build(t, read(t, sql), march).SQL)
	}
	statement := build(t, read(t, `select * from "aliases" a, accounts`), march).SQL
	for _, view := range []string{"alias_changes as (", "aliases as (", "seen as (", "organisation (account, name, sandbox) as (", "partners (account, name) as (", "accounts as ("} {
		require.Equal(t, 1, strings.Count(statement, view), view)
	}
	require.NotContains(t, statement, "grants")
	require.NotContains(t, statement, "uses as (")
}

func TestWithClausesAreJoined(t *testing.T) {
	sql := build(t, read(t, "with mine as (\n  select region from regions\n)\nselect * from mine order by region"), march).SQL
	require.True(t, strings.HasPrefix(sql, "with regions (region) as ("), sql)
	require.True(t, strings.HasSuffix(sql, "),\nmine as (\n  select region from regions\n)\nselect * from mine order by region"), sql)

	sql = build(t, read(t, "WITH RECURSIVE mine (n) as (select 1 union all select n + 1 from mine, regions where n < 3) select n from mine"), march).SQL
	require.True(t, strings.HasPrefix(sql, "with recursive regions (region) as ("), sql)

	// A name that the statement gives is its own.
	require.Equal(t, "with regions as (select 1 as x) select x from regions", build(t, read(t, "with regions as (select 1 as x) select x from regions"), march).SQL)
	_, err := hunt.Build(read(t, "with seen as (select 1 as x) select x from seen, accounts"), march)
	require.ErrorContains(t, err, "mine.sql: its with-clause makes a table seen, which one of the views needs: give it another name")
}

func TestAStatementTellsWhichDaysItReads(t *testing.T) {
	at := func(day string) time.Time {
		d, err := time.Parse(time.DateOnly, day)
		require.NoError(t, err)
		return d
	}
	uses, control := analyzer.TableUses, analyzer.TableControl
	last := at("2026-03-07")
	for sql, want := range map[string]map[analyzer.Table]hunt.Days{
		"select 1 as x":           {},
		"select * from regions":   {},
		"select * from uses":      {uses: {From: at("2026-03-01"), To: last}},
		"select * from use_hours": {uses: {From: at("2026-01-25"), To: last}},
		"select * from (use_hours join uses using (region))": {uses: {From: at("2026-01-25"), To: last}},
		"select * from uses, use_hours":                      {uses: {From: at("2026-01-25"), To: last}},
		"select * from key_use_days":                         {uses: {From: at("2025-11-26"), To: last}},
		"select * from first_uses, uses":                     {uses: {To: last}},
		"select * from control_events":                       {control: {From: at("2026-03-01"), To: last}},
		"select * from grants":                               {control: {To: last}},
		"select * from events":                               {uses: {From: at("2026-03-01"), To: last}, control: {From: at("2026-03-01"), To: last}},
		"select * from accounts":                             {uses: {To: last}, control: {To: last}},
	} {
		require.Equal(t, want, build(t, read(t, sql), march).Reads, sql)
	}
	// What is read by its full name is not among them, and that is said.
	require.True(t, build(t, read(t, "select * from uses u join lake.control c on c.event_id = u.region"), march).Others)
	require.False(t, build(t, read(t, "select u.region, c.x from uses u, (select extract(day from u.first_time) as x from uses u where u.region is distinct from u.account) c"), march).Others)

	// A detection looks back from where its window may begin.
	d := analyzer.Detection{ID: "KMS-X01", Window: 24 * time.Hour, SQL: "select window_start from uses, control_events"}
	require.Equal(t, map[analyzer.Table]hunt.Days{
		uses: {From: at("2026-02-28"), To: last}, control: {From: at("2026-02-27"), To: last},
	}, build(t, hunt.Of(d), march).Reads)
}

func TestParametersBecomeLiterals(t *testing.T) {
	d := analyzer.Detection{ID: "KMS-X01", LearnDays: 14, Params: map[string]any{"floor": int64(300), "name": "it's"}, SQL: "select :floor, :name, :has_org, ':floor' -- :floor"}
	require.Contains(t, build(t, hunt.Of(d), march).SQL, "select 300, 'it''s', false, ':floor' -- :floor")

	o := march
	o.Settings = settings.Default()
	o.Settings.Organisation = []analyzer.Account{{ID: "111122223333"}}
	o.Settings.Detections = map[string]analyzer.DetectionSettings{"KMS-X01": {Params: map[string]any{"floor": int64(20), "name": "set"}}}
	o.Params = map[string]any{"floor": int64(7)}
	require.Contains(t, build(t, hunt.Of(d), o).SQL, "select 7, 'set', true,", "what is given comes before the settings")

	o.Params = map[string]any{"ceiling": int64(7)}
	_, err := hunt.Build(hunt.Of(d), o)
	require.ErrorContains(t, err, `detection KMS-X01 has no parameter "ceiling"; it has floor, name`)
	o.Params = map[string]any{"floor": "7; drop table uses"}
	_, err = hunt.Build(hunt.Of(d), o)
	require.ErrorContains(t, err, "parameter floor: must be a whole number, not text")

	// A statement of one's own declares parameters by giving them.
	o.Params = map[string]any{"who": "o'brien", "few": []string{"a", "b"}}
	require.Equal(t, "select 'o''brien' as who where 'a' in ('a', 'b')", build(t, read(t, "select :who as who where 'a' in :few"), o).SQL)
	_, err = hunt.Build(read(t, "select :who as who"), o)
	require.ErrorContains(t, err, "mine.sql has no parameter :few")
	_, err = hunt.Build(read(t, "select :other as who"), march)
	require.ErrorContains(t, err, "parameter :other has no value")

	// What the stream knows is asked of the lake, but for a given end of learning.
	d.SQL = "select :learn_until, :now, :history_start"
	require.Contains(t, build(t, hunt.Of(d), march).SQL,
		"select (select oldest + interval '14' day from clock), (select newest from clock), (select oldest from clock)")
	o = march
	o.LearnUntil = march.Since
	require.Contains(t, build(t, hunt.Of(d), o).SQL, "select timestamp '2026-03-01 12:30:00.000', (select newest from clock)")
}

func TestParametersAreReadAsPeopleWriteThem(t *testing.T) {
	mine := read(t, "select 1")
	for written, want := range map[string]any{
		"n=7": int64(7), "n=-7": int64(-7), "n=1.5": 1.5, "n=true": true, "n=10m": 10 * time.Minute, "n=": "", "n=a=b": "a=b",
		"n=[a, 'b c', 3]": []string{"a", "b c", "3"}, "n=2026-03-01T00:00:00Z": time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		"n=arn:aws:iam::111122223333:role/x": "arn:aws:iam::111122223333:role/x", "n=[a": "[a", "n=99999999999999999999": "99999999999999999999",
	} {
		name, got, err := mine.Param(written)
		require.NoError(t, err)
		require.Equal(t, "n", name)
		require.Equal(t, want, got, written)
	}
	d := hunt.Of(analyzer.Detection{Params: map[string]any{"text": "x", "floor": int64(1)}})
	_, got, err := d.Param("text=10m")
	require.NoError(t, err)
	require.Equal(t, "10m", got, "a text stays one")
	_, got, err = d.Param("floor=20")
	require.NoError(t, err)
	require.Equal(t, int64(20), got)
	for _, wrong := range []string{"n", "=7", ""} {
		_, _, err := mine.Param(wrong)
		require.ErrorContains(t, err, "must be written name=value")
	}
}

func TestNamesAreQuoted(t *testing.T) {
	require.Equal(t, `"my lake"."s""x"`, hunt.Schema("my lake", `s"x`))
	o := march
	o.Schema = hunt.Schema("cat", "db")
	require.Contains(t, build(t, read(t, "select * from uses"), o).SQL, `from "cat"."db"."uses"`)

	o.Settings = &analyzer.Settings{Regions: []string{"a\x00"}}
	_, err := hunt.Build(read(t, "select * from regions"), o)
	require.ErrorContains(t, err, "view regions: a text of the settings is not valid UTF-8, or has a NUL")
}

func TestAnEndBeforeTheBeginningIsRefused(t *testing.T) {
	o := march
	o.Since, o.Until = o.Until, o.Since
	_, err := hunt.Build(read(t, "select * from uses"), o)
	require.ErrorContains(t, err, "the end must be after the beginning")
}

func TestAFileIsADetectionOrAStatement(t *testing.T) {
	text, err := os.ReadFile("../../queries/use/decrypt_spike.sql")
	require.NoError(t, err)
	s, err := hunt.Read("drafts/decrypt_spike.sql", string(text))
	require.NoError(t, err)
	require.False(t, s.Own)
	require.Equal(t, "KMS-U03", s.ID)
	require.Equal(t, time.Hour, s.Window)

	_, err = hunt.Read("drafts/decrypt_spike.sql", strings.Replace(string(text), "severity: medium", "severity: odd", 1))
	require.ErrorContains(t, err, "drafts/decrypt_spike.sql:4: ")

	s, err = hunt.Read("mine.sql", "-- who\nselect * from uses ; \n")
	require.NoError(t, err)
	require.True(t, s.Own)
	require.Equal(t, "-- who\nselect * from uses", s.SQL)

	for text, want := range map[string]string{
		"":                                  "mine.sql: it must be one statement that starts with select or with",
		"-- nothing":                        "mine.sql: it must be one statement",
		"drop table uses":                   "mine.sql: it must be one statement that starts with select or with",
		"select 1;\nselect 2":               "mine.sql:1: exactly one statement",
		"select ';' as x\n;\ndelete from x": "mine.sql:2: exactly one statement",
	} {
		_, err := hunt.Read("mine.sql", text)
		require.ErrorContains(t, err, want, text)
	}
}
