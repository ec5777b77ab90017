package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
)

func TestTheSummaryLineKeepsTheContract(t *testing.T) {
	var b bytes.Buffer
	lines := NewLines(&b)
	s := incident().Summary
	require.NoError(t, lines.Summary(&s))
	require.JSONEq(t, `{
		"type": "summary",
		"files": {"read": 1255, "rejected": 2, "skipped": 3},
		"records": {"read": 2900123, "kept": 2100000, "duplicate": 100, "not_of_interest": 800011, "rejected": 12},
		"events_by_source": {"kms.amazonaws.com": 2000000, "cloudtrail.amazonaws.com": 100000, "s3.amazonaws.com": 0},
		"findings": {"KMS-D01": 1, "KMS-P02": 2, "KMS-U08": 1},
		"alerts": {"critical": 2, "high": 1, "medium": 1, "low": 0, "info": 1},
		"suppressed": {"role list iac": 12, "nightly scanner": 1},
		"learning": [
			{"detection": "KMS-U01", "had_days": 3, "need_days": 14, "new": 5},
			{"detection": "KMS-U03", "had_days": 0, "need_days": 14, "new": 0}
		],
		"late": 4,
		"assumptions": ["no keytrail.yaml: the 3 accounts whose trails deliver these logs are ours", "no tier-0 keys are named"],
		"seconds": 3.456,
		"max_rss_bytes": 230686720
	}`, b.String())
}

func TestAnEmptySummaryHasNoNulls(t *testing.T) {
	b, err := json.Marshal((&Summary{}).Line())
	require.NoError(t, err)
	require.NotContains(t, string(b), "null")
}

func TestTheRejectLineKeepsTheContract(t *testing.T) {
	var b bytes.Buffer
	lines := NewLines(&b)
	require.NoError(t, lines.Reject(analyzer.Reject{File: "a<b>.json", Offset: 7, Reason: "cut\nhere", Record: []byte("secret")}))
	require.NoError(t, lines.Flush())
	require.Equal(t, `{"type":"reject","file":"a<b>.json","offset":7,"reason":"cut\nhere"}`+"\n", b.String())
}

func TestLinesFromManyGoroutinesStayWhole(t *testing.T) {
	var b bytes.Buffer
	lines := NewLines(&b)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if err := lines.Write(map[string]string{"text": strings.Repeat("x", 300)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, lines.Flush())
	n := 0
	for line := range strings.Lines(b.String()) {
		require.True(t, json.Valid([]byte(line)))
		n++
	}
	require.Equal(t, 1600, n)
}

type brokenPipe struct{ err error }

func (b brokenPipe) Write([]byte) (int, error) { return 0, b.err }

func TestABrokenPipeIsReportedByEveryCall(t *testing.T) {
	cause := errors.New("broken pipe")
	lines := NewLines(brokenPipe{cause})
	require.ErrorIs(t, lines.Summary(&Summary{}), cause)
	require.ErrorIs(t, lines.Write("more"), cause)
	require.ErrorIs(t, lines.Flush(), cause)
	require.ErrorIs(t, (&Run{}).Text(brokenPipe{cause}, Layout{}), cause)
}

func TestMaxRSSIsThatOfThisProcess(t *testing.T) {
	require.Equal(t, int64(12345<<10), highWater([]byte("Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t   12345 kB\n")))
	require.Zero(t, highWater([]byte("VmHWM:\t what kB\n")))
	require.Greater(t, MaxRSS(), int64(1<<20))
}
