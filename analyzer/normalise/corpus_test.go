//go:build corpus

package normalise

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/keytrail/keytrail/analyzer"
)

// corpus returns the folder of real logs, which are read where they lie and are
// no part of the project.
func corpus(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("KEYTRAIL_CORPUS")
	if dir == "" {
		dir = "../../../shared/data"
	}
	_, err := os.Stat(dir)
	require.NoError(t, err, "the real logs are not there: set KEYTRAIL_CORPUS to their folder, or test without -tags corpus")
	return dir
}

// realRecords calls f for each record of a set of real logs.
func realRecords(t testing.TB, set string, f func(data []byte)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpus(t), set))
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

func TestCorpusRecordsAreAllNormalised(t *testing.T) {
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
				_, id, _ := strings.Cut(listed, ":key/")
				require.True(t, strings.HasSuffix(ev.KeyARN, ":key/"+id), "%s: %s", ev.KeyARN, data)
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

func TestCorpusShowsTheInvictusIncidentAsItWas(t *testing.T) {
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
