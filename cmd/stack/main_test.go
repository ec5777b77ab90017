package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFlags(t *testing.T) {
	o, err := parse(nil)
	require.NoError(t, err)
	require.Equal(t, 10*time.Second, o.Minute)
	require.Nil(t, o.Faults)
	require.Nil(t, o.Settings)

	o, err = parse([]string{"-faults", "7", "--minute", "1m", "-shards", "2", "-reads"})
	require.NoError(t, err)
	require.Equal(t, uint64(7), o.Faults.Seed)
	require.Positive(t, o.Faults.Rate)
	require.Equal(t, time.Minute, o.Minute)
	require.Equal(t, 2, o.Shards)
	require.True(t, o.Reads)

	for _, args := range [][]string{{"logs"}, {"-minute", "0s"}, {"-settings", "nowhere.yaml"}} {
		_, err = parse(args)
		require.Error(t, err, args)
	}
	_, err = parse([]string{"-nonsense"})
	require.ErrorIs(t, err, flag.ErrHelp)
}

func TestTheSettingsOfALogFolderAreTaken(t *testing.T) {
	dir := t.TempDir()
	o, err := parse([]string{"-feed", dir})
	require.NoError(t, err)
	require.Nil(t, o.Settings)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "keytrail.yaml"), []byte("regions: [eu-west-1]"), 0o600))
	o, err = parse([]string{"-feed", dir})
	require.NoError(t, err)
	require.Equal(t, "regions: [eu-west-1]", string(o.Settings))

	other := filepath.Join(t.TempDir(), "other.yaml")
	require.NoError(t, os.WriteFile(other, []byte("regions: []"), 0o600))
	o, err = parse([]string{"-feed", dir, "-settings", other})
	require.NoError(t, err)
	require.Equal(t, "regions: []", string(o.Settings))
}

func TestOnlyProblemsOfTheLogAreShown(t *testing.T) {
	var out strings.Builder
	p := &problems{out: &out}
	for _, line := range []string{
		`ingest   {"level":"INFO","msg":"posted"}`,
		`ingest   {"RecordsRead":1,"Stack":"keytrail"}`,
		`ingest   REPORT RequestId: 1 Duration: 2 ms`,
		`notify   {"level":"ERROR","msg":"a message comes again","error":"slack: \u001b[31mno"}`,
		`analyze  2026/11/28 07:38:14 {"errorMessage":"analyse: no room","errorType":"joinError"}`,
		`stack    installing moto`,
	} {
		_, err := p.Write([]byte(line + "\n"))
		require.NoError(t, err)
	}
	require.Equal(t, `notify   a message comes again: slack: \x1b[31mno
analyze  analyse: no room
installing moto
`, out.String())
}

func TestWhatIsSaidWithoutAStack(t *testing.T) {
	var out strings.Builder
	require.ErrorContains(t, run(t.Context(), []string{"feed", "logs"}, &out), "the address that the stack printed")
	require.ErrorContains(t, run(t.Context(), []string{"exec"}, &out), "say exec COMMAND")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, interrupted(ctx, context.Canceled))
	require.Error(t, interrupted(t.Context(), context.Canceled))
}
