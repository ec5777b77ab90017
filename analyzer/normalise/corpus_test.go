package normalise

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/keytrail/keytrail/analyzer"
)

// corpus is where real logs lie, beside the repository.
const corpus = "../../../shared/data"

// requireCorpus demands the real logs, or that someone says they do without.
func requireCorpus(t testing.TB) {
	if os.Getenv("KEYTRAIL_NO_CORPUS") == "1" {
		t.Log("KEYTRAIL_NO_CORPUS=1: events are NOT checked against real logs")
		t.SkipNow()
	}
	_, err := os.Stat(corpus)
	require.NoError(t, err, "the real logs are not at %s; to do without them, set KEYTRAIL_NO_CORPUS=1", corpus)
}

// realRecords calls f for each record of a set of real logs.
func realRecords(t testing.TB, set string, f func(data []byte)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpus, set))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		if filepath.Ext(name) == ".jsonl" {
			file, err := os.Open(name)
			require.NoError(t, err)
			lines := bufio.NewScanner(file)
			lines.Buffer(nil, 1<<20)
			for lines.Scan() {
				f(lines.Bytes())
			}
			require.NoError(t, lines.Err())
			require.NoError(t, file.Close())
			continue
		}
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		var doc struct{ Records []json.RawMessage }
		require.NoError(t, json.Unmarshal(text, &doc))
		for _, r := range doc.Records {
			f(r)
		}
	}
}

func TestEveryRealRecordIsNormalised(t *testing.T) {
	requireCorpus(t)
	n := New()
	records, incomplete, withKey := 0, 0, 0
	for _, set := range []string{"*/records.jsonl", "invictus-ir/CloudTrail/*.json"} {
		realRecords(t, set, func(data []byte) {
			records++
			var ev analyzer.Event
			if err := n.Event(data, Hint{}, &ev); err != nil {
				// One fragment out of a document has no time.
				require.ErrorIs(t, err, ErrIncomplete)
				require.False(t, gjson.GetBytes(data, "eventTime").Exists(), string(data))
				incomplete++
				return
			}
			r := gjson.ParseBytes(data)
			require.Equal(t, r.Get("eventName").String(), ev.Name)
			require.Equal(t, r.Get("eventSource").String(), ev.Source)
			require.Equal(t, r.Get("awsRegion").String(), ev.Region)
			require.NotEmpty(t, ev.Principal)
			require.NotEmpty(t, ev.Lane)
			require.NotEqual(t, "unknown", ev.Principal, string(data))
			if id := r.Get("eventID").String(); id != "" {
				require.Equal(t, id, ev.ID)
			}
			if ev.Source != sourceKMS {
				return
			}
			listed := ""
			r.Get("resources").ForEach(func(_, v gjson.Result) bool {
				for _, field := range []string{"ARN", "arn", "ResourceName"} {
					if s := v.Get(field).String(); strings.Contains(s, ":key/") {
						listed = s
					}
				}
				return listed == ""
			})
			if listed != "" {
				withKey++
				require.True(t, strings.HasSuffix(ev.KeyARN, listed[strings.Index(listed, ":key/"):]), "%s: %s", ev.KeyARN, data)
			}
			if r.Get("requestParameters.encryptionContext.SecretARN").Exists() {
				require.Equal(t, "secret", ev.DataKind)
			}
		})
	}
	require.Equal(t, 3069, records)
	require.Equal(t, 1, incomplete)
	require.Greater(t, withKey, 350)
}

func TestTheInvictusIncidentIsSeenAsItWas(t *testing.T) {
	requireCorpus(t)
	n := New()
	secrets, parameters := map[string]bool{}, map[string]bool{}
	tampering := map[string]bool{}
	realRecords(t, "invictus-ir/CloudTrail/*.json", func(data []byte) {
		var ev analyzer.Event
		require.NoError(t, n.Event(data, Hint{}, &ev))
		if ev.Name == "Decrypt" && ev.Source == sourceKMS {
			require.Equal(t, "bert-jan", ev.PrincipalName)
			require.Equal(t, analyzer.LaneForwarded, ev.Lane)
			require.True(t, ev.IsPerson)
			switch ev.DataKind {
			case "secret":
				secrets[ev.DataARN] = true
			case "parameter":
				parameters[ev.DataARN] = true
			}
		}
		if len(ev.TrailWeakens)+len(ev.TrailBlinds)+len(ev.TrailDrops) > 0 && ev.Outcome == analyzer.OutcomeOK {
			tampering[ev.Name] = true
		}
	})
	t.Logf("%d secrets, %d parameters, tampering by %v", len(secrets), len(parameters), tampering)
	require.GreaterOrEqual(t, len(secrets), 20)
	require.GreaterOrEqual(t, len(parameters), 40)
	require.Equal(t, map[string]bool{"DeleteTrail": true, "PutEventSelectors": true}, tampering, "StopLogging failed each time")
}

// FuzzEvent feeds arbitrary bytes: no panic, no event that the lake or a
// database could not hold, and the same event whatever the caches know.
func FuzzEvent(f *testing.F) {
	f.Add(recordOf(f, ""))
	f.Add(recordOf(f, `"requestParameters": {"encryptionContext": {"b": "2", "a": "\u00e9\ud800"}}`))
	f.Add(recordOf(f, `"eventName": "CreateGrant", "readOnly": false, "requestParameters": {"granteePrincipal": " x:", "operations": "[", "constraints": []}`))
	f.Add(recordOf(f, `"eventSource": "cloudtrail.amazonaws.com", "eventName": "PutEventSelectors", "readOnly": "x", "requestParameters": {"eventSelectors": [[{}]], "advancedEventSelectors": {"fieldSelectors": 1}}`))
	f.Add(recordOf(f, `"userIdentity": [], "resources": {}, "tlsDetails": 1, "additionalEventData": [[]], "errorCode": "AccessDenied", "errorMessage": "arn:aws:kms arn:aws:kms:::"`))
	f.Add([]byte(`{"eventName":"a","eventSource":"b","eventTime":"2026-03-02T09:00:00Z","eventID":"\`))
	f.Add([]byte(` { "eventTime" : 1772442000.25 , "eventName":"\n","eventSource":"` + "\xff" + `"} `))
	n, other := New(WithPolicyJudge(func(*analyzer.Event) {})), New()
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, again analyzer.Event
		err := n.Event(data, Hint{}, &first)
		if err != nil {
			if !errors.Is(err, ErrIncomplete) {
				t.Fatal(err)
			}
			return
		}
		if !json.Valid(data) {
			return // the reader of records lets none of these through
		}
		checkText(t, &first)
		for range 2 {
			require.NoError(t, other.Event(data, Hint{}, &again))
			require.Equal(t, first, again)
		}
	})
}
