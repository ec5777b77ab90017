package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const incident = "../../fixtures/incident"

// TestTheIncidentIsToldWhole replays the story that the README shows: what the
// thief did is found, with the right actor and key, and nobody else interrupts.
func TestTheIncidentIsToldWhole(t *testing.T) {
	type told struct {
		Detection, Severity, Principal, Key, Account, About string
	}
	var want struct{ Findings, Tolerated, Quiet []told }
	text, err := os.ReadFile(filepath.Join(incident, "expected.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &want))
	require.NotEmpty(t, want.Findings)

	out := replay(t, "--config", filepath.Join(incident, "keytrail.yaml"), incident)
	require.Equal(t, statusOK, out.status)

	fits := func(w told, a line) bool {
		return w.Detection == a.Detection && w.Severity == a.Severity && w.Principal == a.Principal &&
			(w.Key == "" || w.Key == a.Key) && (w.Account == "" || w.Account == a.Account)
	}
	expected := append(append([]told{}, want.Findings...), want.Tolerated...)
	for _, w := range want.Findings {
		found := false
		for _, a := range out.alerts {
			found = found || a.Action != "none" && fits(w, a)
		}
		require.True(t, found, "%s is not told: %s", w.Detection, w.About)
	}
	for _, a := range out.alerts {
		if a.Action == "none" {
			continue
		}
		known := false
		for _, w := range expected {
			known = known || fits(w, a)
		}
		require.True(t, known, "told, but not part of the story: %+v", a)
	}
	for _, a := range out.alerts {
		for _, q := range want.Quiet {
			if a.Principal == q.Principal {
				require.Equal(t, "none", a.Action, "%s must stay quiet: %s", q.Principal, q.About)
			}
		}
	}
}

// TestContributingWorksAsWritten follows CONTRIBUTING.md to the letter: the query
// and the cases that it shows are written where it says and tested.
func TestContributingWorksAsWritten(t *testing.T) {
	text, err := os.ReadFile("../../CONTRIBUTING.md")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "queries"), os.DirFS("../../queries")))
	for _, family := range []string{"audit", "destruction", "grants", "policy", "use"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, "fixtures", family), os.DirFS("../../fixtures/"+family)))
	}
	names := regexp.MustCompile("`(queries/[a-z/_]+\\.sql|fixtures/[a-z/_]+\\.yaml|quiet_[a-z_]+\\.yaml)`").FindAllStringSubmatch(string(text), -1)
	blocks := regexp.MustCompile("(?s)```(?:sql|yaml)\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, names, 3, "the query, a match case and a quiet case")
	require.Len(t, blocks, len(names))
	folder := ""
	for i, n := range names {
		path := n[1]
		if !strings.Contains(path, "/") {
			path = filepath.Join(folder, path)
		}
		folder = filepath.Dir(path)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, folder), 0o750))
		require.NoError(t, os.WriteFile(filepath.Join(dir, path), []byte(blocks[i][1]), 0o600))
	}
	var stdout, stderr strings.Builder
	a := &app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, env: func(string) string { return "" }}
	status := a.run(t.Context(), []string{
		"test", "--queries", filepath.Join(dir, "queries"), "--fixtures", filepath.Join(dir, "fixtures"), "KMS-D91",
	})
	require.Equal(t, statusOK, status, stderr.String()+stdout.String())
	said := regexp.MustCompile(`(?m)^    (ok    .*)$`).FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, said)
	for _, s := range said {
		require.Contains(t, stdout.String(), s[1], "the page shows what is printed")
	}
}

// TestTheReadmeShowsTheIncident holds the excerpt in the README to the output.
func TestTheReadmeShowsTheIncident(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	excerpt := regexp.MustCompile("(?s)<!-- excerpt -->\n+```\n(.*?)```").FindStringSubmatch(string(text))
	require.NotNil(t, excerpt, "README.md has the excerpt")
	var stdout, stderr strings.Builder
	a := &app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, env: func(string) string { return "" }}
	require.Equal(t, statusOK, a.run(t.Context(), []string{"replay", "--config", filepath.Join(incident, "keytrail.yaml"), incident}), stderr.String())
	for i, part := range strings.Split(excerpt[1], "  …\n") {
		require.Contains(t, stdout.String(), part, fmt.Sprintf("part %d of the excerpt is what is printed", i+1))
	}
}
