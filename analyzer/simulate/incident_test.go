package simulate_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/simulate"
)

var update = flag.Bool("update", false, "write fixtures/incident again")

const incidentFolder = "../../fixtures/incident"

// written is the incident, made once for all tests, which only read it.
var written = sync.OnceValues(func() (*simulate.Memory, error) {
	var m simulate.Memory
	var err error
	writtenTotals, err = simulate.Incident(simulate.IncidentOptions{}, &m)
	return &m, err
})

var writtenTotals simulate.Totals

func incident(t testing.TB) (*simulate.Memory, simulate.Totals) {
	t.Helper()
	m, err := written()
	require.NoError(t, err)
	return m, writtenTotals
}

func TestTheIncidentInFixturesIsWhatItsSeedGives(t *testing.T) {
	m, _ := incident(t)
	if *update {
		require.NoError(t, os.RemoveAll(filepath.Join(incidentFolder, "AWSLogs")))
		_, err := simulate.Incident(simulate.IncidentOptions{}, simulate.Dir(incidentFolder))
		require.NoError(t, err)
	}
	var onDisk []string
	require.NoError(t, filepath.WalkDir(incidentFolder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(incidentFolder, path)
			onDisk = append(onDisk, filepath.ToSlash(name))
		}
		return err
	}))
	require.ElementsMatch(t, m.Names(), onDisk, "run: go generate ./analyzer/simulate")
	for _, name := range m.Names() {
		got, err := os.ReadFile(filepath.Join(incidentFolder, name))
		require.NoError(t, err)
		if bytes.Equal(m.Data(name), got) {
			continue
		}
		if strings.HasSuffix(name, ".gz") && bytes.Equal(inflate(t, m.Data(name)), inflate(t, got)) {
			t.Fatalf("%s holds the same records but is compressed otherwise (another version of the compressor?); run: go generate ./analyzer/simulate", name)
		}
		t.Fatalf("%s is not what the generator writes; run: go generate ./analyzer/simulate", name)
	}
}

func TestTheIncidentIsSmall(t *testing.T) {
	_, totals := incident(t)
	require.LessOrEqual(t, totals.Files, int64(1500))
	require.InDelta(t, 35_000, totals.Records, 5_000)
	require.Less(t, totals.GzBytes, int64(6<<20))
}

func TestAnotherSeedTellsTheSameStoryInOtherRecords(t *testing.T) {
	var m simulate.Memory
	other, err := simulate.Incident(simulate.IncidentOptions{Seed: 5}, &m)
	require.NoError(t, err)
	_, totals := incident(t)
	require.NotEqual(t, totals.RawBytes, other.RawBytes)
	a, b := simulate.Story(simulate.IncidentOptions{}), simulate.Story(simulate.IncidentOptions{Seed: 5})
	require.Len(t, b.Findings, len(a.Findings))
	for i := range a.Findings {
		require.Equal(t, a.Findings[i].Detection, b.Findings[i].Detection)
	}
}

func TestTheIncidentsRecordsAreWhole(t *testing.T) {
	m, totals := incident(t)
	seen := map[string]bool{}
	shared := map[string][]string{}
	records(t, m, func(name string, r gjson.Result) {
		id := r.Get("eventID").String()
		require.False(t, seen[id], id)
		seen[id] = true
		late := delivered(t, name).Sub(r.Get("eventTime").Time())
		require.Positive(t, late)
		require.LessOrEqual(t, late, 65*time.Minute, "within the lateness that Keytrail allows")
		if s := r.Get("sharedEventID").String(); s != "" {
			shared[s] = append(shared[s], r.Get("recipientAccountId").String())
		}
	})
	require.EqualValues(t, totals.Records, len(seen))
	var pairs int
	for _, accounts := range shared {
		if len(accounts) == 2 {
			require.NotEqual(t, accounts[0], accounts[1])
			pairs++
		}
	}
	require.Greater(t, pairs, 100, "the nightly copy is in both trails")
}

func TestTheIncidentTellsWhatItsPageSays(t *testing.T) {
	m, _ := incident(t)
	saturday := time.Date(2026, 4, 11, 0, 0, 0, 0, time.UTC)
	at := func(clock string) time.Time {
		d, err := time.Parse("15:04", clock)
		require.NoError(t, err)
		return saturday.Add(time.Duration(d.Hour())*time.Hour + time.Duration(d.Minute())*time.Minute)
	}
	const production = "111122223333"
	count := map[string]int{}
	secrets := map[string]bool{}
	regions := map[string]bool{}
	var stolenBefore, blind int
	records(t, m, func(_ string, r gjson.Result) {
		when, name := r.Get("eventTime").Time(), r.Get("eventName").String()
		kms := r.Get("eventSource").String() == "kms.amazonaws.com"
		ip := r.Get("sourceIPAddress").String()
		if ip == "203.0.113.77" || ip == "203.0.113.140" {
			require.False(t, when.Before(at("01:12")), "nothing of the theft is earlier: %s", r.Raw)
			stolenBefore++
		}
		if kms && r.Get("recipientAccountId").String() == production && when.After(at("03:05")) && when.Before(at("06:07")) {
			blind++
		}
		if ip == "203.0.113.77" {
			if r.Get("errorCode").String() == "AccessDenied" {
				count["refused"]++
			} else {
				count[name]++
			}
			regions[r.Get("awsRegion").String()] = true
			if name == "GetSecretValue" {
				secrets[r.Get("requestParameters.secretId").String()] = true
			}
		}
		if r.Get("errorCode").String() == "KMSInvalidStateException" {
			require.False(t, when.Before(at("06:41")))
			count["on a dead key"]++
		}
	})
	require.Positive(t, stolenBefore)
	require.Zero(t, blind, "KMS was excluded from the trail")
	require.Len(t, secrets, 46)
	require.Len(t, regions, 5)
	require.Equal(t, 15, count["refused"])
	require.Equal(t, 360, count["Decrypt"])
	require.Equal(t, 1, count["CreateGrant"])
	require.Equal(t, 2, count["PutKeyPolicy"])
	require.Equal(t, 1, count["PutEventSelectors"])
	require.Equal(t, 1, count["ScheduleKeyDeletion"])
	require.Greater(t, count["on a dead key"], 50)
}

func TestTheCompanysSettingsAreSettings(t *testing.T) {
	m, _ := incident(t)
	var s analyzer.Settings
	require.NoError(t, yaml.UnmarshalWithOptions(m.Data("keytrail.yaml"), &s, yaml.Strict()))
	require.Len(t, s.Organisation, 3)
	require.Len(t, s.Tier0, 1)

	var e simulate.Expected
	require.NoError(t, json.Unmarshal(m.Data("expected.json"), &e))
	require.Equal(t, simulate.Story(simulate.IncidentOptions{}), e)
	for _, f := range append(e.Findings, e.Tolerated...) {
		_, err := analyzer.ParseSeverity(f.Severity)
		require.NoError(t, err, f.Detection)
	}
	page := string(m.Data("README.md"))
	for _, f := range e.Findings {
		id := strings.TrimPrefix(f.Detection, "KMS-")
		require.Contains(t, page, id+" "+f.Severity, "the page names %s", f.Detection)
		if f.Key != "" {
			require.Contains(t, page, f.Key[strings.LastIndexByte(f.Key, '/')+1:])
		}
	}
}
