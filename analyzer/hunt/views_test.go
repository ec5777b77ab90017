package hunt_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/hunt"
	"github.com/keytrail/keytrail/analyzer/lake"
)

// everySetting has something in each list, and text that would like to be SQL.
var everySetting = &analyzer.Settings{
	Organisation:    []analyzer.Account{{ID: "111122223333", Name: "O'Brien's", Sandbox: true}, {ID: "444455556666"}},
	Partners:        []analyzer.Account{{ID: "999900001111", Name: `'); drop table uses; --`}},
	OrganisationIDs: []string{"o-exampleorg"},
	Regions:         []string{"eu-west-1", "us-east-1"},
	Tier0:           []string{"111122223333:alias/crown", "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
	Roles: analyzer.Roles{
		IaC:     []string{"arn:aws:iam::*:role/ci_*"},
		Routine: []string{`arn:aws:iam::*:user/o'brien`, `arn:aws:iam::*:user/100%`},
	},
	KeyAllow: []analyzer.KeyAllow{
		{Key: "alias/crown", Principals: []string{"arn:aws:iam::*:role/ci_*", "arn:aws:iam::111122223333:role/*"}},
		{Key: "alias/other", Principals: []string{"arn:aws:iam::111122223333:role/nobody"}},
	},
}

// documented reads the views and their columns off docs/views.md and adds those
// of a hunt alone.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/views.md")
	require.NoError(t, err)
	views := map[string][]string{
		// The tables that carry settings have no list of columns there.
		"tier0_keys": {"key_arn", "alias_name", "account"}, "key_allow": {"key_arn", "alias_name", "account", "principal_pattern"},
		"roles": {"kind", "principal_pattern"}, "partners": {"account", "name"}, "organisation_ids": {"org_id"}, "regions": {"region"},
		"events": columnsOf(analyzer.TableUses),
	}
	list, _, ok := strings.Cut(string(text), "\n## Columns")
	require.True(t, ok)
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(list, -1) {
		views[m[1]] = nil
	}
	for _, m := range regexp.MustCompile("(?s)\n- `([a-z_]+)`: `([a-z0-9_,\\s]+)`").FindAllStringSubmatch(string(text), -1) {
		views[m[1]] = regexp.MustCompile(`[\s,]+`).Split(m[2], -1)
	}
	for _, name := range []string{"control_events", "key_changes", "trail_changes"} {
		require.Contains(t, views, name)
		views[name] = columnsOf(analyzer.TableControl)
	}
	return views
}

func columnsOf(table analyzer.Table) []string {
	var names []string
	for _, c := range lake.Columns(table) {
		names = append(names, c.Name)
	}
	return names
}

func TestEveryDocumentedViewHasItsColumns(t *testing.T) {
	l := openLake(t, t.TempDir())
	views := documented(t)
	require.Greater(t, len(views), 15)
	for _, view := range slices.Sorted(maps.Keys(views)) {
		t.Run(view, func(t *testing.T) {
			require.NotEmpty(t, views[view], "docs/views.md lists the columns of %s", view)
			sql := fmt.Sprintf("select %s from %s", strings.Join(views[view], ", "), view)
			search(t, l, read(t, sql), hunt.Options{Since: longAgo, Until: farOff, Settings: everySetting}, func([]string, []any) error { return nil })
		})
	}
}

func TestSettingsAreTablesOfAHunt(t *testing.T) {
	root := t.TempDir()
	at := "2026-03-02T09:00:00Z"
	ingest(t, root, "one", nil, [][]byte{
		record(at, "e-1", "DisableKey", "arn:aws:iam::111122223333:user/o'brien"),
		record(at, "e-2", "DisableKey", "arn:aws:iam::111122223333:user/100x"),
		record(at, "e-3", "Decrypt", "arn:aws:iam::111122223333:user/100%"),
		record(at, "e-4", "Decrypt", "arn:aws:iam::111122223333:user/carol"),
	})
	l := openLake(t, root)
	for sql, want := range map[string][]string{
		"select kind, principal_pattern from roles order by 2": {
			`{"kind":"routine","principal_pattern":"arn:aws:iam::111122223333:user/100%"}`,
			`{"kind":"routine","principal_pattern":"arn:aws:iam::111122223333:user/o'brien"}`,
		},
		// Nobody allowed has been seen, and both keys are listed all the same.
		"select alias_name, principal_pattern from key_allow order by 1": {
			`{"alias_name":"alias/crown","principal_pattern":""}`, `{"alias_name":"alias/other","principal_pattern":""}`,
		},
		"select account, name, partner, ours from accounts order by 1": {
			`{"account":"111122223333","name":"O'Brien's","ours":true,"partner":false}`,
			`{"account":"444455556666","name":"","ours":true,"partner":false}`,
			`{"account":"999900001111","name":"'); drop table uses; --","ours":false,"partner":true}`,
		},
		"select account, alias_name from tier0_keys where alias_name <> ''": {`{"account":"111122223333","alias_name":"alias/crown"}`},
		"select region from regions order by region desc":                   {`{"region":"us-east-1"}`, `{"region":"eu-west-1"}`},
	} {
		require.Equal(t, want, found(t, l, read(t, sql), hunt.Options{Since: longAgo, Until: farOff, Settings: everySetting}), sql)
	}
}

// record is a call of a user on a key, without a region of its own.
func record(at, id, name, principal string) []byte {
	readOnly := name == "Decrypt"
	return fmt.Appendf(nil, `{"eventVersion":"1.11","eventTime":%q,"eventID":%q,"eventSource":"kms.amazonaws.com","eventName":%q,`+
		`"awsRegion":"us-east-1","recipientAccountId":"111122223333","eventType":"AwsApiCall","readOnly":%t,"sourceIPAddress":"198.51.100.7",`+
		`"userAgent":"aws-cli/2.15.0","userIdentity":{"type":"IAMUser","arn":%q,"accountId":"111122223333","userName":"u"},`+
		`"resources":[{"ARN":"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab","accountId":"111122223333","type":"AWS::KMS::Key"}]}`,
		at, id, name, readOnly, principal)
}

// A person's own statement sees the hunted time exactly, each event once, and
// of earlier times what memory would hold.
func TestViewsHoldTheHuntedTime(t *testing.T) {
	root := t.TempDir()
	alice := "arn:aws:iam::111122223333:user/alice"
	records := [][]byte{
		record("2026-02-28T23:59:59Z", "c-0", "DisableKey", alice),
		record("2026-03-01T00:00:00Z", "c-1", "EnableKey", alice),
		record("2026-03-01T23:59:59Z", "c-2", "DisableKey", alice),
		record("2026-03-02T00:00:00Z", "c-3", "EnableKey", alice),
		record("2026-02-28T10:00:00Z", "u-0", "Decrypt", alice),
		record("2026-03-01T10:04:59Z", "u-1", "Decrypt", alice),
		record("2026-03-01T10:05:00Z", "u-2", "Decrypt", alice),
		record("2026-03-02T10:00:00Z", "u-3", "Decrypt", alice),
	}
	ingest(t, root, "one", nil, records)
	ingest(t, root, "two", nil, records[1:6])
	l := openLake(t, root)
	day := hunt.Options{Since: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)}
	for sql, want := range map[string][]string{
		"select event_id from control_events order by 1":       {`{"event_id":"c-1"}`, `{"event_id":"c-2"}`},
		"select event_id from key_changes order by event_id":   {`{"event_id":"c-0"}`, `{"event_id":"c-1"}`, `{"event_id":"c-2"}`},
		"select event_id from events order by event_time desc": {`{"event_id":"c-2"}`, `{"event_id":"u-2"}`, `{"event_id":"u-1"}`, `{"event_id":"c-1"}`},
		"with now as (select window_start, event_count from uses) select * from now order by 1;": {
			`{"event_count":1,"window_start":"2026-03-01T10:00:00Z"}`, `{"event_count":1,"window_start":"2026-03-01T10:05:00Z"}`,
		},
		"select first_time, event_count from first_uses":                                     {`{"event_count":3,"first_time":"2026-02-28T10:00:00Z"}`},
		"select cast(day as varchar) as day, event_count from key_use_days k order by k.day": {`{"day":"2026-02-28","event_count":1}`, `{"day":"2026-03-01","event_count":2}`},
		"select account, first_time from accounts":                                           {`{"account":"111122223333","first_time":"2026-02-28T10:00:00Z"}`},
		"select :now as at, :since as since, :until as until":                                {`{"at":"2026-03-01T23:59:59Z","since":"2026-03-01T00:00:00Z","until":"2026-03-02T00:00:00Z"}`},
	} {
		require.Equal(t, want, found(t, l, read(t, sql), day), sql)
	}
}
