package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/store"
	"github.com/keytrail/keytrail/analyzer/store/storetest"
	"github.com/keytrail/keytrail/analyzer/store/typed"
)

var day = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func open(t testing.TB, path string) *store.Bolt {
	t.Helper()
	s, err := store.Open(path, store.WithoutSync())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestBolt(t *testing.T) {
	storetest.Run(t, func(t *testing.T) analyzer.Store { return open(t, filepath.Join(t.TempDir(), "state.db")) })
}

func TestAStoreOpenElsewhereIsRefusedWithAdvice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	open(t, path)
	_, err := store.Open(path)
	require.ErrorIs(t, err, analyzer.ErrLocked)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "wait until the other keytrail")
}

func TestAStoreKeepsWhatWasWrittenOverAReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	f := storetest.Finding("KMS-D01", "one", day)
	s, err := store.Open(path)
	require.NoError(t, err)
	_, err = s.SaveFindings(t.Context(), []analyzer.Finding{f})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	got, err := open(t, path).Finding(t.Context(), f.ID)
	require.NoError(t, err)
	require.Equal(t, f.ID, got.ID)
}

func TestADamagedFileIsRefusedWithAdvice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("no state\n"), 4096), 0o600))
	_, err := store.Open(path)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "damaged")
}

func TestAMissingFolderIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "state.db")
	_, err := store.Open(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, path)
}

func TestAFileOfANewerFormatIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket([]byte("meta"))
		if err != nil {
			return err
		}
		return meta.Put([]byte("format"), []byte("99"))
	}))
	require.NoError(t, db.Close())
	_, err = store.Open(path)
	require.ErrorContains(t, err, `format "99"`)
	require.ErrorContains(t, err, path)
}

func TestTypedValues(t *testing.T) {
	type posted struct{ TS string }
	s := open(t, filepath.Join(t.TempDir(), "state.db"))
	ledger := typed.Space[posted]{Values: s, Name: "slack"}
	got, err := ledger.Get(t.Context(), "a-one")
	require.NoError(t, err)
	require.Zero(t, got)
	require.NoError(t, ledger.Put(t.Context(), "a-one", posted{TS: "1.2"}))
	got, err = ledger.Get(t.Context(), "a-one")
	require.NoError(t, err)
	require.Equal(t, posted{TS: "1.2"}, got)
	require.NoError(t, s.Put(t.Context(), "slack", "a-one", []byte("{")))
	_, err = ledger.Get(t.Context(), "a-one")
	require.ErrorContains(t, err, "a-one")
}

// In one transaction and in the order of a map, the first marks of a store
// take the square of their number.
func TestTheTimeOfMarkingGrowsWithTheNumberOfMarksOnly(t *testing.T) {
	mark := func(n int) time.Duration {
		s := open(t, filepath.Join(t.TempDir(), "state.db"))
		marks := make(map[string]string, n)
		for i := range n {
			marks[fmt.Sprintf("%x", sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i))))] = "printed"
		}
		began := time.Now()
		require.NoError(t, s.MarkPrinted(t.Context(), marks, nil))
		return time.Since(began)
	}
	mark(1000) // warm
	few, many := mark(5_000), mark(80_000)
	require.Less(t, many, 48*few, "16 times the marks")
}

func BenchmarkSaveTenThousandFindings(b *testing.B) {
	findings := make([]analyzer.Finding, 10_000)
	for i := range findings {
		findings[i] = storetest.Finding("KMS-D01", fmt.Sprint(i%1000), day.Add(time.Duration(i)*time.Second))
	}
	for b.Loop() {
		s, err := store.Open(filepath.Join(b.TempDir(), "state.db"))
		require.NoError(b, err)
		_, err = s.SaveFindings(context.Background(), findings)
		require.NoError(b, err)
		require.NoError(b, s.Close())
	}
}
