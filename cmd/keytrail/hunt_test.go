package main

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/hunt/athena/athenatest"
)

// What docs/hunt.md and README.md show is what its example prints.
func TestTheExampleOfTheDocsIsTrue(t *testing.T) {
	page, err := os.ReadFile("../../docs/hunt.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)\n```(sql)?\n(.*?\n)```\n").FindAllStringSubmatch(string(page), 2)
	require.Len(t, blocks, 2)
	dir := t.TempDir()
	who, folder := filepath.Join(dir, "who.sql"), filepath.Join(dir, "lake")
	require.NoError(t, os.WriteFile(who, []byte(blocks[0][2]), 0o600))

	a, out, errs := quietApp()
	require.Equal(t, statusOK, a.run(t.Context(), []string{"ingest", "-q", "--lake", folder, "../../fixtures/incident/AWSLogs"}), errs)
	out.Reset()
	status := a.run(t.Context(), []string{
		"hunt", "-q", "--lake", folder, "--since", "2026-04-11", "--until", "2026-04-12", "--param", "who=%:role/support-tools", who,
	})
	require.Equal(t, statusOK, status, errs)
	require.Equal(t, blocks[1][2], out.String())

	page, err = os.ReadFile("../../README.md")
	require.NoError(t, err)
	excerpt := regexp.MustCompile("(?s)who\\.sql\n\n```\n(HOUR.*?)```\n").FindSubmatch(page)
	require.NotNil(t, excerpt, "README.md has an excerpt of it")
	for _, part := range strings.Split(string(excerpt[1]), "…\n") {
		require.Contains(t, out.String(), part)
	}
}

// limited is a workgroup as the stack makes it.
var limited = map[string]any{
	"Name": "keytrail-keytrail", "State": "ENABLED",
	"Configuration": map[string]any{"BytesScannedCutoffPerQuery": 10 << 30},
}

// lakeInS3 is where the tables of the account's lake are.
const lakeInS3 = "s3://lake-bucket/lake/TABLE"

// athenaAccount is an account with an Athena, and a lake of 3 MiB a table on 2 March.
func athenaAccount(t *testing.T, f *athenatest.Fake) {
	t.Helper()
	objects := s3mem.New()
	require.NoError(t, objects.CreateBucket("lake-bucket"))
	body := strings.Repeat("x", 3<<20)
	for _, key := range []string{
		"lake/uses/day=2026-03-02/a.parquet", "lake/control/day=2026-03-02/a.parquet", "lake/control/day=2026-02-20/a.parquet",
	} {
		_, err := objects.PutObject("lake-bucket", key, nil, strings.NewReader(body), int64(len(body)), nil)
		require.NoError(t, err)
	}
	s3 := httptest.NewServer(gofakes3.New(objects).Server())
	t.Cleanup(s3.Close)
	for name, value := range map[string]string{ //nolint:gosec // the credentials are made up
		"AWS_ENDPOINT_URL_ATHENA": f.Start(t), "AWS_ENDPOINT_URL_S3": s3.URL, "AWS_REGION": "eu-west-1",
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
}

// huntOn2March hunts on Athena and returns the status and both outputs.
func huntOn2March(ctx context.Context, flags ...string) (status int, out, errs string) {
	var stdout, stderr bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, env: func(string) string { return "" }}
	args := []string{"hunt", "--engine", "athena", "--workgroup", "keytrail-keytrail", "--since", "2026-03-02", "--until", "2026-03-03"}
	status = a.run(ctx, append(args, flags...))
	return status, stdout.String(), stderr.String()
}

// denied reads a day of control.
const denied = "testdata/hunt/denied.sql"

func TestAHuntOnAthenaSaysWhatItCostsBeforeAndAfter(t *testing.T) {
	f := &athenatest.Fake{
		Workgroup: limited, Location: lakeInS3,
		States:  []athenatest.State{{Name: "SUCCEEDED", Scanned: 400 << 20}},
		Columns: [][2]string{{"principal", "varchar"}, {"calls", "bigint"}},
		Rows:    [][]*string{athenatest.Text("role/\x1b[2Ja", "7")}, PageRows: 100,
	}
	athenaAccount(t, f)
	status, out, errs := huntOn2March(t.Context(), denied)
	require.Equal(t, statusOK, status, errs)
	require.Equal(t, "PRINCIPAL      CALLS\nrole/\\x1b[2Ja  7\n", out)
	require.Regexp(t, `^The query is stopped when it has read 10\.0 GiB, which costs 0\.054 USD\.
The days to read hold 3\.0 MiB: less than 0\.001 USD if all of it is read\.
1 row in \S+
Athena read 400\.0 MiB: 0\.002 USD \(query q-1\)\.
$`, errs)
	require.Equal(t, []string{"GetWorkGroup", "GetTableMetadata", "StartQueryExecution", "GetQueryExecution", "GetQueryResults"}, f.Ops())
	started := f.Calls()[2].Body
	require.Equal(t, "keytrail-keytrail", started["WorkGroup"])
	require.Contains(t, started["QueryString"], `from "keytrail"."control"`)

	// The price is another in some Regions.
	status, out, errs = huntOn2March(t.Context(), "--format", "json", "--price", "1000", denied)
	require.Equal(t, statusOK, status, errs)
	require.Contains(t, errs, "which costs 10.737 USD")
	require.Contains(t, out, `{"type":"row","of":"testdata/hunt/denied.sql","row":{"calls":7,"principal":"role/\u001b[2Ja"}}`)
	require.Regexp(t, `{"type":"hunt",.*"scanned_bytes":419430400,"cost_usd":0.41943,"query_id":"q-1"}`, out)
}

func TestAHuntOnAthenaStartsOnlyWithinItsLimits(t *testing.T) {
	for name, c := range map[string]struct {
		workgroup map[string]any
		flags     []string
		want      string
	}{
		"the workgroup has no limit": {map[string]any{"Name": "primary", "State": "ENABLED"}, nil, "has no limit for what one query may read"},
		"the days hold too much":     {limited, []string{"--max-scan", "2MiB"}, "not started: the days to read hold 3.0 MiB, --max-scan is 2.0 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &athenatest.Fake{Workgroup: c.workgroup, Location: lakeInS3}
			athenaAccount(t, f)
			status, out, errs := huntOn2March(t.Context(), append(c.flags, denied)...)
			require.Equal(t, statusFailed, status)
			require.Empty(t, out)
			require.Contains(t, errs, c.want)
			require.NotContains(t, f.Ops(), "StartQueryExecution")
		})
	}
}

// Where the size of the days cannot be told, the limits hold all the same.
func TestAHuntOnAthenaStopsAtItsLimit(t *testing.T) {
	f := &athenatest.Fake{Workgroup: limited, States: []athenatest.State{{Name: "RUNNING", Scanned: 300 << 20}}}
	athenaAccount(t, f)
	status, out, errs := huntOn2March(t.Context(), "--max-scan", "200MiB", denied)
	require.Equal(t, statusFailed, status)
	require.Empty(t, out)
	require.Contains(t, errs, "How much it will read cannot be told: ")
	require.Contains(t, errs, "query q-1 was stopped: it had read more than 209715200 bytes")
	require.Contains(t, errs, "Athena read 300.0 MiB: 0.002 USD (query q-1).")
	require.True(t, f.Stopped())
}

func TestCtrlCStopsAHuntOnAthena(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	f := &athenatest.Fake{
		Workgroup: limited, Location: lakeInS3,
		States: []athenatest.State{{Name: "RUNNING", Scanned: 500 << 20}},
		OnAsk:  func(int) { interrupt() },
	}
	athenaAccount(t, f)
	status, out, errs := huntOn2March(ctx, denied)
	require.Equal(t, statusFailed, status)
	require.Empty(t, out)
	require.Contains(t, errs, "Athena read 500.0 MiB: 0.003 USD (query q-1).")
	require.Contains(t, errs, "keytrail: stopped before the end")
	require.True(t, f.Stopped())
}

// A table that a person names with its schema is none of the views.
func TestAHuntOnAthenaSaysWhatItDoesNotCount(t *testing.T) {
	f := &athenatest.Fake{
		Workgroup: limited, Location: lakeInS3,
		States: []athenatest.State{{Name: "FAILED", Reason: "TABLE_NOT_FOUND \x1b[31m", Scanned: 1 << 20}},
	}
	athenaAccount(t, f)
	status, _, errs := huntOn2March(t.Context(), "testdata/hunt/others.sql")
	require.Equal(t, statusFailed, status)
	require.Contains(t, errs, "Tables that the statement names with their schema are not counted in that.")
	require.Contains(t, errs, `query q-1 failed: TABLE_NOT_FOUND \x1b[31m`)
	require.Contains(t, errs, "Athena read 1.0 MiB: nothing is charged, for it failed (query q-1).")
}
