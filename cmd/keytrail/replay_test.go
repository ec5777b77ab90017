package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/report"
)

// outcome is what one replay printed for programs.
type outcome struct {
	status   int
	findings []line
	alerts   []line
	rejects  []report.RejectLine
	summary  report.SummaryLine
	stderr   string
}

// line has the fields of findings and alerts that are looked at here.
type line struct {
	ID        string `json:"id"`
	Detection string `json:"detection"`
	Severity  string `json:"severity"`
	Status    string `json:"status"`
	Action    string `json:"action"`
	Principal string `json:"principal"`
	Key       string `json:"key"`
	Account   string `json:"account"`
	Title     string `json:"title"`

	Entity map[string]string `json:"entity"` // of findings
}

// replay runs `keytrail replay --format json` and holds the contract: nothing
// but lines of known types on standard output, the summary last, and every
// record accounted for.
func replay(t *testing.T, paths ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, env: func(string) string { return "" }}
	out := outcome{status: a.run(t.Context(), append([]string{"replay", "--format", "json"}, paths...))}
	out.stderr = stderr.String()
	t.Logf("status %d; standard error:\n%s", out.status, out.stderr)

	last := ""
	for text := range strings.Lines(stdout.String()) {
		var head struct {
			Type string `json:"type"`
		}
		require.NoError(t, json.Unmarshal([]byte(text), &head), "not JSON: %s", text)
		require.NotEqual(t, "summary", last, "something comes after the summary: %s", text)
		last = head.Type
		switch head.Type {
		case "finding":
			out.findings = append(out.findings, decode[line](t, text))
		case "alert":
			out.alerts = append(out.alerts, decode[line](t, text))
		case "reject":
			out.rejects = append(out.rejects, decode[report.RejectLine](t, text))
		case "summary":
			out.summary = decode[report.SummaryLine](t, text)
		default:
			t.Fatalf("unknown type of line: %s", text)
		}
	}
	require.Equal(t, "summary", last, "the summary is the last line")
	r := out.summary.Records
	require.Equal(t, r.Read, r.Kept+r.Duplicate+r.NotOfInterest+r.Rejected, "every record is accounted for")
	return out
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	return v
}
