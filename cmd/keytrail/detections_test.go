package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/catalog"
)

const keyDisabled = `/* ---
id: KMS-D02
title: Key disabled
severity: medium
status: active
family: destruction
class: S
mitre: [T1485]
events: [kms.amazonaws.com:DisableKey]
entity: [key_arn]
window: 0
summary: "{principal_name} disabled {key_name}."
at_risk: Whatever needs the key stops working.
description: A disabled key cannot be used until it is enabled again.
false_positives: Rotation drills.
runbook: Ask who did it.
undo: aws kms enable-key --key-id {key_arn} --region {region}
--- */
select
    key_arn,
    region,
    event_time as window_start,
    event_time as first_time,
    event_time as last_time,
    1 as event_count,
    array[event_id] as event_ids
from control_events
where event_source = 'kms.amazonaws.com'
    and event_name = 'DisableKey'
    and outcome = 'ok'
`

// runDetections runs `keytrail detections ARGS` over a catalogue of one.
func runDetections(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	load := func() (*catalog.Catalog, error) {
		return catalog.Load(fstest.MapFS{"destruction/key_disabled.sql": {Data: []byte(keyDisabled)}}, catalog.Options{})
	}
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, env: func(string) string { return "" }}
	root := a.root()
	for _, c := range root.Commands() {
		if c.Name() == "detections" {
			root.RemoveCommand(c)
		}
	}
	root.AddCommand(a.detectionsCommand(load))
	root.SetArgs(append([]string{"detections"}, args...))
	cmd, err := root.ExecuteContextC(t.Context())
	return a.status(cmd, err), out.String(), errs.String()
}

func TestDetectionsAreListedForPeopleAndPrograms(t *testing.T) {
	status, out, errs := runDetections(t, "list")
	require.Equal(t, statusOK, status, errs)
	require.Contains(t, out, "KMS-D02")
	require.Contains(t, out, "DisableKey")

	status, out, _ = runDetections(t, "list", "--format", "json")
	require.Equal(t, statusOK, status)
	require.Equal(t, 1, strings.Count(out, "\n"), "one line a detection")
	require.Contains(t, out, `{"id":"KMS-D02","title":"Key disabled","severity":"medium","status":"active","family":"destruction",`)

	_, out, _ = runDetections(t, "list", "--quiet")
	require.Equal(t, "KMS-D02\n", out)
}

func TestOneDetectionIsShownWithItsSQL(t *testing.T) {
	status, out, _ := runDetections(t, "show", "kms-d02")
	require.Equal(t, statusOK, status)
	require.Contains(t, out, "MEDIUM  KMS-D02  Key disabled")
	require.Contains(t, out, "  where event_source = 'kms.amazonaws.com'\n      and event_name = 'DisableKey'")
}

func TestAnUnknownDetectionIsWrongUse(t *testing.T) {
	status, out, errs := runDetections(t, "show", "KMS-X99")
	require.Equal(t, statusUsage, status)
	require.Empty(t, out)
	require.Contains(t, errs, `there is no detection "KMS-X99"`)
	require.Contains(t, errs, "See 'keytrail detections show --help'.")
}
