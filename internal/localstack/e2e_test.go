//go:build e2e

package localstack_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
	"github.com/keytrail/keytrail/analyzer/store/table"
	"github.com/keytrail/keytrail/internal/localstack"
	"github.com/keytrail/keytrail/internal/localstack/front"
	"github.com/keytrail/keytrail/internal/localstack/runtimeapi"
)

// These tests run the bootstraps that would be deployed. `make e2e` runs them.

// settings are those of the company in fixtures/incident, and channels.
func settings(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("../../fixtures/incident/keytrail.yaml")
	require.NoError(t, err)
	return append(text, "\nslack:\n  channel: \"#alerts\"\n  channels:\n    critical: \"#on-call\"\n"...)
}

// channelOf is where an alert is to be told under these settings.
func channelOf(severity string) string {
	if severity == "critical" {
		return "C0ONCALL"
	}
	return "C0ALERTS"
}

// logFile is a file of fixtures/incident.
type logFile struct {
	key  string
	body []byte
}

// incident returns the log files of the incident whose name has one of the
// marks, in the order of delivery, and a folder that has them, too.
func incident(t *testing.T, marks ...string) (files []logFile, folder string) {
	t.Helper()
	root := os.DirFS("../../fixtures/incident")
	folder = t.TempDir()
	err := fs.WalkDir(root, ".", func(key string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(key, ".json.gz") || !slices.ContainsFunc(marks, func(m string) bool { return strings.Contains(d.Name(), m) }) {
			return err
		}
		body, err := fs.ReadFile(root, key)
		if err != nil {
			return err
		}
		files = append(files, logFile{key, body})
		to := filepath.Join(folder, filepath.FromSlash(key))
		return errors.Join(os.MkdirAll(filepath.Dir(to), 0o750), os.WriteFile(to, body, 0o600))
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files, folder
}

// hours are the marks of files that were delivered on the day of the theft. A
// file has the events of the hour before.
func hours(from, to int) (marks []string) {
	for h := from; h <= to; h++ {
		marks = append(marks, fmt.Sprintf("_20260411T%02d05", h))
	}
	return marks
}

// recordsOf returns all records of files.
func recordsOf(t *testing.T, files []logFile) (records []json.RawMessage) {
	t.Helper()
	for _, f := range files {
		z, err := gzip.NewReader(bytes.NewReader(f.body))
		require.NoError(t, err)
		text, err := io.ReadAll(z)
		require.NoError(t, err)
		var file struct{ Records []json.RawMessage }
		require.NoError(t, json.Unmarshal(text, &file))
		records = append(records, file.Records...)
	}
	return records
}

// keytrail builds the command, once, into a folder that TestMain makes.
var keytrail = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "keytrail")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/keytrail").CombinedOutput() //nolint:gosec // a folder of the test's
	if err != nil {
		err = fmt.Errorf("build keytrail: %w\n%s", err, out)
	}
	return path, err
})

var programs string

// finding is what is compared of a finding. Of alerts, only which findings they
// are of: an alert keeps the highest severity that it ever had, which may be that
// of a part of the events that came first.
type finding struct {
	Detection, Severity, Status, Events string
	Alert                               string // its id
}

// replay returns the findings that `keytrail replay` of a folder gives, by id.
func replay(t *testing.T, folder string, settings []byte) map[string]finding {
	t.Helper()
	program, err := keytrail()
	require.NoError(t, err)
	config := filepath.Join(t.TempDir(), "keytrail.yaml")
	require.NoError(t, os.WriteFile(config, settings, 0o600))
	cmd := exec.CommandContext(t.Context(), program, "replay", "--format", "json", "--config", config, folder) //nolint:gosec // built by the test
	out, err := cmd.Output()
	require.NoError(t, err)
	findings := map[string]finding{}
	for line := range bytes.Lines(out) { // findings come before the alerts that they are in
		var l struct {
			Type, ID, Detection, Severity, Status string
			EventIDs                              []string `json:"event_ids"`
			FindingIDs                            []string `json:"finding_ids"`
		}
		require.NoError(t, json.Unmarshal(line, &l))
		switch l.Type {
		case "finding":
			findings[l.ID] = finding{l.Detection, l.Severity, l.Status, strings.Join(l.EventIDs, " "), ""}
		case "alert":
			for _, id := range l.FindingIDs {
				f := findings[id]
				f.Alert = l.ID
				findings[id] = f
			}
		}
	}
	require.NotEmpty(t, findings)
	return findings
}

// stage is a running stack.
type stage struct {
	*localstack.Stack
	t   *testing.T
	log *bytes.Buffer
}

// start starts a stack, and makes sure that it leaves nothing behind. What it
// wrote is shown when the test failed.
func start(t *testing.T, o localstack.Options) *stage {
	t.Helper()
	s := &stage{t: t, log: &bytes.Buffer{}}
	if o.Settings == nil {
		o.Settings = settings(t)
	}
	o.Log, o.Record = s.log, recorded
	var err error
	s.Stack, err = localstack.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		if t.Failed() || os.Getenv("KEEP") != "" {
			path := filepath.Join(os.TempDir(), strings.ReplaceAll(t.Name(), "/", "-")+".log")
			require.NoError(t, os.WriteFile(path, s.log.Bytes(), 0o600))
			t.Log("the log of the stack is in", path)
		}
	})
	return s
}

// config is how the test speaks to the stack's AWS.
func (s *stage) config() aws.Config {
	return aws.Config{
		Region: localstack.Region, BaseEndpoint: &s.Endpoint, Credentials: credentials.NewStaticCredentialsProvider("testing", "testing", ""),
	}
}

func (s *stage) table() *awssdk.Table {
	return awssdk.NewTable(dynamodb.NewFromConfig(s.config()), localstack.Table)
}

func (s *stage) lake() *awssdk.Bucket {
	client := s3.NewFromConfig(s.config(), func(o *s3.Options) { o.UsePathStyle = true })
	return awssdk.NewBucket(client, localstack.LakeBucket)
}

// records are the alerts of the table.
func (s *stage) records() []analyzer.AlertRecord {
	s.t.Helper()
	alerts, err := table.New(s.table(), table.Options{}).Alerts(s.t.Context(), time.Time{})
	require.NoError(s.t, err)
	return alerts
}

// findings are those of the table, as replay gives them.
func (s *stage) findings() map[string]finding {
	s.t.Helper()
	store := table.New(s.table(), table.Options{})
	findings := map[string]finding{}
	for _, r := range s.records() {
		for _, id := range r.FindingIDs {
			f, err := store.Finding(s.t.Context(), id)
			require.NoError(s.t, err)
			if f.Status == analyzer.FindingWithdrawn {
				continue
			}
			require.NotContains(s.t, findings, id, "in two alerts")
			findings[id] = finding{f.Detection, f.Severity.String(), string(f.Status), strings.Join(f.EventIDs, " "), r.ID}
		}
	}
	return findings
}

// settle waits until all is through.
func (s *stage) settle(within time.Duration) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), within)
	defer cancel()
	require.NoError(s.t, s.Settle(ctx))
}

func (s *stage) put(files []logFile) {
	s.t.Helper()
	for _, f := range files {
		require.NoError(s.t, s.PutLog(s.t.Context(), f.key, f.body))
	}
}

// metadata is what Keytrail puts into its messages.
type metadata struct {
	Payload struct {
		Alert string `json:"alert_id"`
		Kind  string `json:"kind"`
	} `json:"event_payload"`
}

func metadataOf(t *testing.T, m slacktest.Message) (md metadata) {
	t.Helper()
	require.NoError(t, json.Unmarshal(m.Metadata, &md), m.Text)
	return md
}

// requireToldOnce checks Slack against the alerts: each that notifies has one
// message, in its channel; what else is said of it is in its thread.
func (s *stage) requireToldOnce() {
	s.t.Helper()
	parents := map[string]slacktest.Message{}
	var replies []slacktest.Message
	for _, m := range s.SlackMessages() {
		md := metadataOf(s.t, m)
		switch md.Payload.Kind {
		case "parent":
			require.NotContains(s.t, parents, md.Payload.Alert, "told twice: %s", m.Text)
			parents[md.Payload.Alert] = m
		case "reply":
			replies = append(replies, m)
		default:
			require.Fail(s.t, "a message of another kind", "%s: %s", md.Payload.Kind, m.Text)
		}
	}
	for _, r := range replies {
		parent, ok := parents[metadataOf(s.t, r).Payload.Alert]
		require.True(s.t, ok, "a reply to nothing: %s", r.Text)
		require.Equal(s.t, parent.TS, r.ThreadTS, r.Text)
		require.Equal(s.t, parent.Channel, r.Channel, r.Text)
	}
	var want []string
	for _, r := range s.records() {
		if r.Action == analyzer.ActionPage || r.Action == analyzer.ActionPost {
			want = append(want, r.Thread)
			if m, ok := parents[r.Thread]; ok {
				require.Equal(s.t, channelOf(r.Severity.String()), m.Channel, m.Text)
			}
		}
	}
	slices.Sort(want)
	require.Equal(s.t, want, slices.Sorted(maps.Keys(parents)))
}

// said is what Slack shows: where, in which thread, what.
func (s *stage) said() (list []string) {
	for _, m := range s.SlackMessages() {
		list = append(list, fmt.Sprint(m.Channel, m.TS, m.ThreadTS, m.Edits, m.Text))
	}
	return list
}

// requireNothingLeft checks that no message waits, none is dead, and that
// quarantine has so many files.
func (s *stage) requireNothingLeft(quarantined int) {
	s.t.Helper()
	depths, err := s.Depths(s.t.Context())
	require.NoError(s.t, err)
	for name, d := range depths {
		require.Zero(s.t, d, name)
	}
	for prefix, want := range map[string]int{"inbox/": 0, "quarantine/": quarantined} {
		objects, _, err := s.lake().List(s.t.Context(), prefix, "")
		require.NoError(s.t, err)
		require.Len(s.t, objects, want, prefix)
	}
}

// TestAnAttackIsToldOnce plays the day of the theft, hour by hour, as AWS would
// deliver it: the calls through EventBridge, then the files; and then all of it
// again and again.
func TestAnAttackIsToldOnce(t *testing.T) {
	before, theft := []string{"_20260410T"}, hours(0, 13)
	files, folder := incident(t, append(before, theft...)...)
	want := replay(t, folder, settings(t))
	s := start(t, localstack.Options{})

	past, _ := incident(t, before...)
	s.put(past)
	s.settle(3 * time.Minute)
	for _, hour := range theft {
		delivered, _ := incident(t, hour)
		told := len(s.said())
		n, err := s.PutEventBridge(t.Context(), recordsOf(t, delivered)...)
		require.NoError(t, err)
		s.settle(2 * time.Minute)
		if hour == "_20260411T0205" {
			require.Positive(t, n)
			require.Greater(t, len(s.said()), told, "EventBridge is enough to be told of an opened key")
		}
		s.put(delivered)
		s.settle(2 * time.Minute)
		s.requireToldOnce()
	}
	require.Equal(t, want, s.findings(), "the same as keytrail replay")
	said := s.said()

	random := rand.New(rand.NewPCG(1, 1))
	for range 3 {
		random.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		s.put(files)
	}
	for _, f := range files { // of a second trail
		require.NoError(t, s.PutLog(t.Context(), "second/"+f.key, f.body))
	}
	_, err := s.PutEventBridge(t.Context(), recordsOf(t, files)...)
	require.NoError(t, err)
	s.settle(8 * time.Minute)
	require.Equal(t, want, s.findings())
	require.Equal(t, said, s.said(), "no more messages")
	s.requireNothingLeft(0)
}

// TestACallIsToldSoon measures from EventBridge to Slack with schedules that
// run. A minute takes ten seconds; what the rest takes is real.
func TestACallIsToldSoon(t *testing.T) {
	const minute, target = 10 * time.Second, 90 * time.Second
	files, _ := incident(t, "_20260411T")
	var opened json.RawMessage
	for _, r := range recordsOf(t, files) {
		if bytes.Contains(r, []byte(`"PutKeyPolicy"`)) && bytes.Contains(r, []byte(`support-tools`)) && bytes.Contains(r, []byte(`"readOnly":false`)) && !bytes.Contains(r, []byte(`"errorCode"`)) {
			opened = r
		}
	}
	require.NotNil(t, opened)
	s := start(t, localstack.Options{Minute: minute})
	began := time.Now()
	n, err := s.PutEventBridge(t.Context(), opened)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Eventually(t, func() bool { return len(s.SlackMessages()) > 0 }, target, 50*time.Millisecond)
	took := time.Since(began)
	t.Log("told after", took.Round(time.Millisecond))
	require.LessOrEqual(t, took-minute+time.Minute, target, "had the schedule real minutes")
}

// TestAFolderIsFed feeds days at once, beside schedules that run.
func TestAFolderIsFed(t *testing.T) {
	_, folder := incident(t, append(hours(0, 13), "_20260410T")...)
	s := start(t, localstack.Options{Minute: time.Second})
	var days []string
	n, err := s.Feed(t.Context(), folder, 0, func(day string, files int) { days = append(days, fmt.Sprint(day, " ", files)) })
	require.NoError(t, err)
	require.Equal(t, []string{"20260410 33", "20260411 20"}, days)
	require.Equal(t, 53, n)
	s.settle(3 * time.Minute)
	require.Equal(t, replay(t, folder, settings(t)), s.findings())
	s.requireToldOnce()
	s.requireNothingLeft(0)
}

// TestRealLogsAreFoundAsReplayFindsThem feeds the public logs of an attack
// exercise of 2023, with the settings that Keytrail has by itself.
func TestRealLogsAreFoundAsReplayFindsThem(t *testing.T) {
	const folder = "../../../shared/data/invictus-ir/CloudTrail"
	if _, err := os.Stat(folder); err != nil {
		t.Skip("the public logs are not on this machine:", folder)
	}
	zipped := t.TempDir()
	require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // below the folder
		if err != nil {
			return err
		}
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err = z.Write(text)
		return errors.Join(err, z.Close(), os.WriteFile(filepath.Join(zipped, d.Name()+".gz"), b.Bytes(), 0o600))
	}))
	plain := []byte("slack:\n  channel: \"#alerts\"\n  channels:\n    critical: \"#on-call\"\n")
	want := replay(t, zipped, plain)
	s := start(t, localstack.Options{Minute: time.Second, Settings: plain})
	n, err := s.Feed(t.Context(), zipped, 0, func(string, int) {})
	require.NoError(t, err)
	require.Equal(t, 55, n)
	s.settle(5 * time.Minute)
	require.Equal(t, want, s.findings())
	s.requireToldOnce()
	s.requireNothingLeft(0)
}

// TestTheOtherFunctionsDoTheirWork runs what no queue and no tick does.
func TestTheOtherFunctionsDoTheirWork(t *testing.T) {
	s := start(t, localstack.Options{Shards: 2})
	answer, err := s.Invoke(t.Context(), localstack.Doctor, []byte(`{}`))
	require.NoError(t, err)
	require.Contains(t, string(answer), `"sees_kms":true`)

	files, _ := incident(t, "111122223333_CloudTrail_eu-west-1_20260411T")
	for _, f := range files {
		require.NoError(t, s.PutLogUnseen(t.Context(), f.key, f.body))
	}
	answer, err = s.Invoke(t.Context(), localstack.Backfill, []byte(`{"prefix":"AWSLogs/111122223333/CloudTrail/eu-west-1","day":"2026-04-11"}`))
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"posted":%d,"skipped":0,"next":""}`, len(files)), string(answer))
	s.settle(5 * time.Minute)
	s.requireToldOnce()
	require.NotEmpty(t, s.SlackMessages())

	for shard := range 2 {
		_, err = s.Invoke(t.Context(), localstack.Analyze, fmt.Appendf(nil, `{"job":"compact","shard":%d}`, shard))
		require.NoError(t, err)
	}
	s.requireNothingLeft(0)
}

// seeds are how many runs TestFaults makes; KEYTRAIL_SEEDS says otherwise, and
// KEYTRAIL_SEED makes one run of that seed.
func seeds(t *testing.T) (list []uint64) {
	t.Helper()
	if one := os.Getenv("KEYTRAIL_SEED"); one != "" {
		n, err := strconv.ParseUint(one, 10, 64)
		require.NoError(t, err)
		return []uint64{n}
	}
	count := 12
	if n := os.Getenv("KEYTRAIL_SEEDS"); n != "" {
		var err error
		count, err = strconv.Atoi(n)
		require.NoError(t, err)
	}
	for n := range count {
		list = append(list, uint64(n)+1)
	}
	return list
}

// TestFaults plays the attack while calls to AWS and Slack fail and functions
// are killed. After quiet returns, what is told is what a run without faults
// tells.
func TestFaults(t *testing.T) {
	files, folder := incident(t, hours(0, 13)...)
	records := recordsOf(t, files)
	// What fails comes in any order: all of it counts as in time.
	patient := append(settings(t), "\nlateness: 24h\n"...)
	want := replay(t, folder, patient)
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel() // a stack mostly waits
			random := rand.New(rand.NewPCG(seed, 1))
			s := start(t, localstack.Options{
				// So short that what is slow is delivered a second time meanwhile.
				Visibility: 5 * time.Second, Settings: patient,
				Faults: &front.Faults{Seed: seed, Rate: 0.03, Kill: 0.001, Delay: time.Second},
			})
			files := slices.Clone(files)
			random.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
			s.failSlack(random)
			require.NoError(t, s.PutMessage(t.Context(), "nothing that anybody knows"))
			_, err := s.PutEventBridge(t.Context(), records...)
			require.NoError(t, err)
			s.put(files)
			s.put(files[:len(files)/2])
			ticks, failed := 0, 0
			for began := time.Now(); time.Since(began) < 25*time.Second; ticks++ {
				s.freeLease()
				if _, err := s.Tick(t.Context()); err != nil {
					failed++
				}
			}
			t.Logf("%d of %d ticks failed", failed, ticks)
			s.SetFaults(nil)
			s.freeLease()
			quiet := time.Now()
			s.settle(10 * time.Minute)
			t.Log("settled after", time.Since(quiet).Round(time.Second))
			require.Equal(t, want, s.findings())
			s.requireToldOnce()
			s.requireNothingLeft(1)
		})
	}
}

// failSlack makes some calls of Slack fail, posted before they do or not.
func (s *stage) failSlack(random *rand.Rand) {
	kinds := []slacktest.Fault{
		{Status: 429, RetryAfter: "2"}, {Status: 503}, {Status: 500, Posted: true}, {Drop: true}, {Drop: true, Posted: true}, {Code: "internal_error"},
	}
	for _, m := range []struct {
		method string
		calls  int
	}{{"chat.postMessage", 8}, {"chat.update", 3}, {"conversations.history", 3}} {
		var faults []slacktest.Fault
		for range m.calls {
			f := slacktest.Fault{}
			if random.IntN(3) == 0 {
				f = kinds[random.IntN(len(kinds))]
			}
			faults = append(faults, f)
		}
		s.Slack.Fail(m.method, faults...)
	}
}

// freeLease does what six minutes would: the lease of an analyze that was killed
// runs out. No tick may be under way.
func (s *stage) freeLease() {
	s.t.Helper()
	key := cloud.Key{Partition: "LEASE", Sort: "analyze-0"}
	item, err := s.table().Get(s.t.Context(), key)
	if errors.Is(err, analyzer.ErrNotFound) {
		return
	}
	require.NoError(s.t, err)
	item.Body = []byte("{}")
	require.NoError(s.t, s.table().Write(s.t.Context(), cloud.Write{Item: item, Test: cloud.IfNumber, Than: item.Number}))
}

// recorded keeps what the functions asked of AWS in all tests.
var recorded = &calls{seen: map[front.Call]bool{}}

type calls struct {
	mu   sync.Mutex
	seen map[front.Call]bool
}

func (c *calls) Write(line []byte) (int, error) {
	var call front.Call
	if err := json.Unmarshal(line, &call); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[call] = true
	return len(line), nil
}

// TestMain writes the calls that were recorded into the folder that
// KEYTRAIL_CALLS names, as infra/check compares them with the roles.
func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "keytrail-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(programs)
	if dir := os.Getenv("KEYTRAIL_CALLS"); dir != "" && code == 0 {
		if err := recorded.save(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// save writes calls.json and names.json.
func (c *calls) save(dir string) error {
	const secret = "AbCdEf" // each stack has another one with other letters at the end
	parameters := map[string]string{"TrailBucketArns": "arn:aws:s3:::" + localstack.TrailBucket}
	seen := map[front.Call]bool{}
	for call := range c.seen {
		if strings.HasPrefix(call.Action, "secretsmanager:") {
			call.Resource = call.Resource[:len(call.Resource)-len(secret)] + secret
			parameters["SlackSecretArn"] = call.Resource
		}
		call.Function = strings.ToUpper(call.Function[:1]) + call.Function[1:] + "Function"
		seen[call] = true
	}
	list := slices.Collect(maps.Keys(seen))
	slices.SortFunc(list, func(a, b front.Call) int {
		return strings.Compare(a.Function+a.Action+a.Resource, b.Function+b.Action+b.Resource)
	})
	names := map[string]any{
		"account": localstack.Account, "region": localstack.Region, "stack": localstack.Name, "parameters": parameters,
		"names": map[string]string{"LakeBucket": localstack.LakeBucket, "Table": localstack.Table},
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	for name, v := range map[string]any{"calls.json": list, "names.json": names} {
		out, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), out, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// TestColdStartsAreReported logs what the functions' starts and answers take.
func TestColdStartsAreReported(t *testing.T) {
	var mu sync.Mutex
	reports := map[string][]runtimeapi.Report{}
	s := start(t, localstack.Options{Report: func(r runtimeapi.Report) {
		mu.Lock()
		defer mu.Unlock()
		reports[r.Function] = append(reports[r.Function], r)
	}})
	files, _ := incident(t, "111122223333_CloudTrail_eu-west-1_20260411T")
	s.put(files)
	s.settle(3 * time.Minute)
	for _, name := range []string{"keytrail-ingest", "keytrail-analyze", "keytrail-notify"} {
		require.NotEmpty(t, reports[name])
		require.Nil(t, reports[name][0].Failed)
		require.True(t, reports[name][0].Cold)
		for _, r := range reports[name] {
			t.Log(name, r)
		}
	}
}
