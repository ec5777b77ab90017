package simulate_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/keytrail/keytrail/analyzer/simulate"
)

func inflate(t testing.TB, data []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	require.NoError(t, err)
	b, err := io.ReadAll(z)
	require.NoError(t, err)
	return b
}

// write runs Traffic into memory.
func write(t testing.TB, o simulate.Options) (*simulate.Memory, simulate.Totals) {
	t.Helper()
	var m simulate.Memory
	totals, err := simulate.Traffic(context.Background(), o, &m)
	require.NoError(t, err)
	return &m, totals
}

// records gives every record of the log files, with the name of its file.
func records(t testing.TB, m *simulate.Memory, each func(name string, r gjson.Result)) {
	t.Helper()
	for _, name := range m.Names() {
		if !strings.Contains(name, "/CloudTrail/") {
			continue
		}
		body := inflate(t, m.Data(name))
		require.True(t, gjson.ValidBytes(body), name)
		for _, r := range gjson.GetBytes(body, "Records").Array() {
			each(name, r)
		}
	}
}

type discard struct{}

func (discard) Create(string) (io.WriteCloser, error) { return discard{}, nil }
func (discard) Write(b []byte) (int, error)           { return len(b), nil }
func (discard) Close() error                          { return nil }

func TestTrafficIsAsLongAndAsDenseAsRealLogs(t *testing.T) {
	for _, c := range []struct {
		name  string
		share float64
	}{{"KMS alone", 1}, {"5 % KMS", 0.05}} {
		t.Run(c.name, func(t *testing.T) {
			got, err := simulate.Traffic(context.Background(), simulate.Options{Seed: 7, Records: 60_000, KMSShare: c.share, Files: 12}, discard{})
			require.NoError(t, err)
			size := float64(got.RawBytes) / float64(got.Records)
			ratio := float64(got.RawBytes) / float64(got.GzBytes)
			t.Logf("%.0f bytes a record, %.1f : 1, %d of KMS", size, ratio, got.KMS)
			require.EqualValues(t, 60_000, got.Records)
			require.InDelta(t, 1400, size, 200, "bytes a record")
			require.InDelta(t, 10, ratio, 2, "compression")
			require.InDelta(t, c.share, float64(got.KMS)/float64(got.Records), 0.02)
		})
	}
}

func TestTheSameOptionsGiveTheSameBytesOnAnyNumberOfWorkers(t *testing.T) {
	o := simulate.Options{Seed: 3, Records: 12_000, KMSShare: 0.5, Duration: 3 * time.Hour, Digests: true, FileRecords: 100}
	o.Workers = 1
	one, totals := write(t, o)
	o.Workers = 4
	four, same := write(t, o)
	require.Equal(t, totals, same)
	require.Equal(t, one.Names(), four.Names())
	for _, name := range one.Names() {
		require.Equal(t, one.Data(name), four.Data(name), name)
	}

	o.Seed = 4
	other, _ := write(t, o)
	require.NotEqual(t, one.Names(), other.Names())
}

func TestEveryRecordIsAsCloudTrailWritesIt(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	start := simulate.DefaultStart.Add(9 * time.Hour)
	for _, c := range []struct {
		name string
		o    simulate.Options
	}{
		{"KMS alone", simulate.Options{Seed: 5, Records: 12_000, Start: start, Duration: 2 * time.Hour}},
		{"all services", simulate.Options{Seed: 6, Records: 15_000, Start: start, Duration: 2 * time.Hour, KMSShare: 0.2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, totals := write(t, c.o)
			seen := map[string]bool{}
			names := map[string]int{}
			kinds := map[string]int{}
			var n, kms int64
			records(t, m, func(file string, r gjson.Result) {
				n++
				require.Equal(t, "1.11", r.Get("eventVersion").String())
				id := r.Get("eventID").String()
				require.Regexp(t, uuid, id)
				require.False(t, seen[id], "event id %s twice", id)
				seen[id] = true
				at, err := time.Parse("2006-01-02T15:04:05Z", r.Get("eventTime").String())
				require.NoError(t, err)
				require.False(t, at.Before(start), at)
				require.True(t, at.Before(start.Add(2*time.Hour)), at)
				for _, field := range []string{
					"userIdentity", "eventSource", "eventName", "awsRegion", "sourceIPAddress", "userAgent",
					"requestParameters", "responseElements", "readOnly", "eventType", "managementEvent", "eventCategory",
				} {
					require.True(t, r.Get(field).Exists(), "%s in %s", field, r.Raw)
				}
				account := r.Get("recipientAccountId").String()
				require.Len(t, account, 12)
				require.True(t, strings.HasPrefix(path.Base(file), account+"_CloudTrail_"+r.Get("awsRegion").String()+"_"), file)
				if r.Get("eventSource").String() == "kms.amazonaws.com" {
					kms++
					names[r.Get("eventName").String()]++
					name := r.Get("eventName").String()
					writes := slices.Contains([]string{"CreateGrant", "RetireGrant", "PutKeyPolicy", "SynchronizeMultiRegionKey", "RotateKey"}, name)
					require.Equal(t, !writes, r.Get("readOnly").Bool(), name)
					if r.Get("errorCode").String() == "AccessDenied" {
						require.Equal(t, "null", r.Get("requestParameters").Raw)
						require.Contains(t, r.Get("errorMessage").String(), "is not authorized to perform: kms:"+name)
					}
				}
				kind := r.Get("userIdentity.type").String()
				if r.Get("userIdentity.invokedBy").Exists() && kind == "AssumedRole" {
					kind = "forwarded"
				}
				kinds[kind]++
				if r.Get("tlsDetails").Exists() {
					require.False(t, r.Get("userIdentity.invokedBy").Exists(), "a forwarded call has no tlsDetails: %s", r.Raw)
				}
			})
			require.Equal(t, totals.Records, n)
			require.Equal(t, totals.KMS, kms)
			for _, name := range []string{"Decrypt", "GenerateDataKey", "Encrypt", "DescribeKey", "GetKeyPolicy", "Sign"} {
				require.Positive(t, names[name], name)
			}
			for _, kind := range []string{"AssumedRole", "forwarded", "AWSService", "AWSAccount", "IAMUser"} {
				require.Positive(t, kinds[kind], kind)
			}
		})
	}
}

func TestFilesAreNamedAndDeliveredAsCloudTrailDoes(t *testing.T) {
	o := simulate.Options{
		Seed: 8, Records: 8_000, Duration: 2 * time.Hour, Organisation: "o-exampleorg", FileRecords: 50,
		Regions: []string{"eu-west-1", "us-east-1", "eu-central-1"},
	}
	m, totals := write(t, o)
	key := regexp.MustCompile(`^AWSLogs/o-exampleorg/(\d{12})/CloudTrail/([a-z0-9-]+)/2026/03/02/(\d{12})_CloudTrail_([a-z0-9-]+)_(20260302T\d\d[0-5][05]Z)_[A-Za-z0-9]{16}\.json\.gz$`)
	require.EqualValues(t, totals.Files, len(m.Names()))
	inFile := map[string]int{}
	records(t, m, func(name string, r gjson.Result) {
		parts := key.FindStringSubmatch(name)
		require.NotNil(t, parts, name)
		require.Equal(t, parts[1], parts[3])
		require.Equal(t, parts[2], parts[4])
		delivered, err := time.Parse("20060102T1504Z", parts[5])
		require.NoError(t, err)
		late := delivered.Sub(r.Get("eventTime").Time())
		require.Positive(t, late)
		require.LessOrEqual(t, late, 10*time.Minute)
		inFile[name]++
	})
	for name, n := range inFile {
		require.LessOrEqual(t, n, 50, name)
	}
}

func TestASetNumberOfFilesAreOfOneSize(t *testing.T) {
	m, totals := write(t, simulate.Options{Seed: 9, Records: 3_000, Files: 400})
	require.EqualValues(t, 400, totals.Files)
	inFile := map[string]int{}
	records(t, m, func(name string, _ gjson.Result) { inFile[name]++ })
	require.Len(t, inFile, 400)
	for name, n := range inFile {
		require.InDelta(t, 7.5, n, 1, name)
	}
}

func TestTheWeekHasARhythm(t *testing.T) {
	m, _ := write(t, simulate.Options{Seed: 10, Records: 25_000, Duration: 7 * 24 * time.Hour, Accounts: 1, Regions: []string{"eu-west-1"}})
	var office, night, weekend float64
	records(t, m, func(_ string, r gjson.Result) {
		switch at := r.Get("eventTime").Time(); {
		case at.Weekday() == time.Saturday || at.Weekday() == time.Sunday:
			weekend++
		case at.Hour() >= 8 && at.Hour() < 18:
			office++
		case at.Hour() < 6:
			night++
		}
	})
	// By the hour: 50 hours of office, 30 of night, 48 of weekend.
	require.Greater(t, office/50, 2*night/30)
	require.Greater(t, office/50, 2*weekend/48)
	require.Positive(t, night)
}

func TestACallToAnotherAccountIsInBothTrails(t *testing.T) {
	m, _ := write(t, simulate.Options{Seed: 11, Records: 25_000, Start: simulate.DefaultStart.Add(9 * time.Hour), Duration: time.Hour})
	type side struct{ recipient, kind, request, key string }
	shared := map[string][]side{}
	records(t, m, func(_ string, r gjson.Result) {
		if id := r.Get("sharedEventID").String(); id != "" {
			shared[id] = append(shared[id], side{
				r.Get("recipientAccountId").String(), r.Get("userIdentity.type").String(),
				r.Get("requestID").String(), r.Get("resources.0.ARN").String(),
			})
		}
	})
	var pairs int
	for id, sides := range shared {
		if len(sides) == 1 { // the other account is not ours: a partner, a service
			require.NotEqual(t, "AssumedRole", sides[0].kind, id)
			continue
		}
		pairs++
		require.Len(t, sides, 2, id)
		require.NotEqual(t, sides[0].recipient, sides[1].recipient)
		require.ElementsMatch(t, []string{"AssumedRole", "AWSAccount"}, []string{sides[0].kind, sides[1].kind})
		require.Equal(t, sides[0].request, sides[1].request)
		require.Equal(t, sides[0].key, sides[1].key)
	}
	require.Greater(t, pairs, 50)
}

func TestGrantsOfInstancesAreMadeAndRetired(t *testing.T) {
	m, _ := write(t, simulate.Options{Seed: 12, Records: 40_000, Duration: 6 * time.Hour, Accounts: 1, Regions: []string{"eu-west-1"}})
	made, retired := map[string]time.Time{}, map[string]time.Time{}
	records(t, m, func(_ string, r gjson.Result) {
		switch r.Get("eventName").String() {
		case "CreateGrant":
			made[r.Get("responseElements.grantId").String()] = r.Get("eventTime").Time()
		case "RetireGrant":
			retired[r.Get("additionalEventData.grantId").String()] = r.Get("eventTime").Time()
		}
	})
	require.NotEmpty(t, retired)
	for id, at := range retired {
		require.Contains(t, made, id)
		require.True(t, at.After(made[id]))
	}
}

func TestDigestsChainTheHashesOfTheInflatedFiles(t *testing.T) {
	m, totals := write(t, simulate.Options{Seed: 13, Records: 5_000, Duration: 3 * time.Hour, Accounts: 2, Digests: true})
	var listed int64
	for _, name := range m.Names() {
		if !strings.Contains(name, "/CloudTrail-Digest/") {
			continue
		}
		d := gjson.ParseBytes(inflate(t, m.Data(name)))
		require.Equal(t, name, d.Get("digestS3Object").String())
		for _, f := range d.Get("logFiles").Array() {
			listed++
			sum := sha256.Sum256(inflate(t, m.Data(f.Get("s3Object").String())))
			require.Equal(t, hex.EncodeToString(sum[:]), f.Get("hashValue").String())
		}
		if previous := d.Get("previousDigestS3Object").String(); previous != "" {
			sum := sha256.Sum256(inflate(t, m.Data(previous)))
			require.Equal(t, hex.EncodeToString(sum[:]), d.Get("previousDigestHashValue").String())
		}
	}
	require.Equal(t, totals.Files, listed)
}

func TestALargeOrganisationHasAThousandAccounts(t *testing.T) {
	m, totals := write(t, simulate.Options{Seed: 14, Records: 40_000, Duration: 10 * time.Minute, Accounts: simulate.MaxAccounts, Regions: []string{"eu-west-1"}})
	require.EqualValues(t, 40_000, totals.Records)
	accounts := map[string]bool{}
	for _, name := range m.Names() {
		accounts[strings.Split(name, "/")[1]] = true
	}
	require.Len(t, accounts, simulate.MaxAccounts)
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		o    simulate.Options
		says string
	}{
		{"more accounts than there are", simulate.Options{Accounts: 1001}, "1001 accounts are not between 1 and 1000"},
		{"a share above one", simulate.Options{KMSShare: 1.5}, "share of KMS 1.5 is not between 0 and 1"},
		{"a second", simulate.Options{Duration: time.Second}, "shorter than one delivery"},
		{"more files than records", simulate.Options{Records: 5, Files: 6}, "6 files cannot share 5 records"},
		{"fewer records than none", simulate.Options{Records: -1}, "must not be negative"},
		{"a level gzip does not have", simulate.Options{Level: 42}, "gzip level 42"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := simulate.Traffic(context.Background(), c.o, discard{})
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestTrafficStopsWhenItsContextIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := simulate.Traffic(ctx, simulate.Options{Records: 50_000_000}, discard{})
	require.ErrorIs(t, err, context.Canceled)
}

type fullDisk struct{ discard }

func (fullDisk) Create(string) (io.WriteCloser, error) { return fullDisk{}, nil }
func (fullDisk) Write([]byte) (int, error)             { return 0, io.ErrShortWrite }

func TestAnErrorOfTheSinkNamesTheFile(t *testing.T) {
	_, err := simulate.Traffic(context.Background(), simulate.Options{Records: 1000}, fullDisk{})
	require.ErrorIs(t, err, io.ErrShortWrite)
	require.ErrorContains(t, err, "log file AWSLogs/")
}

// One record is one operation: 3,300 ns are 300,000 records a second. The
// compressor only does Huffman here; the generator is what is measured.
func BenchmarkTraffic(b *testing.B) {
	got, err := simulate.Traffic(context.Background(), simulate.Options{Seed: 1, Records: int64(b.N), Workers: 1, Level: -2}, discard{})
	require.NoError(b, err)
	b.SetBytes(got.RawBytes / got.Records)
}
