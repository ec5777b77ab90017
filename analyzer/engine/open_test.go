package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/engine"
)

// A function's /tmp is empty when it starts.
func TestOpenMakesTheFolderToSpillInto(t *testing.T) {
	temp := filepath.Join(t.TempDir(), "not", "there")
	e, err := engine.Open(t.Context(), engine.Config{LakeRoot: t.TempDir(), TempDir: temp})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left)
}
