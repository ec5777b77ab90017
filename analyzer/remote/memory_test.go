package remote_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/memory"
	"github.com/keytrail/keytrail/analyzer/remote"
)

func openMemory(t *testing.T, b cloud.Bucket) *remote.Memory {
	return remote.OpenMemory(remote.MemoryOptions{Bucket: b, Dir: filepath.Join(t.TempDir(), "memory")})
}

// commit writes the files of the generation after m as the engine does, and
// commits it.
func commit(t *testing.T, mem *remote.Memory, m memory.Manifest, by string) error {
	t.Helper()
	m.Generation++
	m.Late += 10
	folder := memory.Open(mem.Root()).Generation(m.Generation)
	require.NoError(t, os.RemoveAll(folder))
	require.NoError(t, os.MkdirAll(folder, 0o700))
	for _, name := range []string{"control.parquet", "ids.parquet"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(fmt.Sprint(name, m.Generation, by)), 0o600))
	}
	return mem.Commit(t.Context(), m)
}

func load(t *testing.T, mem *remote.Memory) memory.Manifest {
	t.Helper()
	m, err := mem.Load(t.Context())
	require.NoError(t, err)
	return m
}

// requireFiles checks that the files of a generation are those of one writer.
func requireFiles(t *testing.T, mem *remote.Memory, m memory.Manifest, by string) {
	t.Helper()
	for _, name := range []string{"control.parquet", "ids.parquet"} {
		body, err := os.ReadFile(filepath.Join(memory.Open(mem.Root()).Generation(m.Generation), name))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(name, m.Generation, by), string(body))
	}
	entries, err := os.ReadDir(mem.Root())
	require.NoError(t, err)
	require.Len(t, entries, 2, "one generation and the manifest: %v", entries)
}

func archives(t *testing.T, b cloud.Reader) []string {
	return slices.DeleteFunc(keys(t, b, "memory/0/"), func(k string) bool { return !strings.HasSuffix(k, ".tar") })
}

func TestMemoryGoesFromProcessToProcess(t *testing.T) {
	clock := cloudtest.NewClock(now)
	b := newBucket(clock)
	calls := map[string]int{}
	counted := b.With(cloudtest.Hooks{Before: func(op string) error {
		calls[op]++
		return nil
	}})
	one := openMemory(t, counted)
	m := load(t, one)
	require.Equal(t, memory.Manifest{Version: memory.Version}, m)
	for generation := range int64(4) {
		clock.Advance(time.Minute)
		require.NoError(t, commit(t, one, m, "one"))
		clear(calls)
		m = load(t, one)
		require.Equal(t, generation+1, m.Generation)
		require.Equal(t, map[string]int{"s3.Get": 1}, calls, "what it committed is not loaded again")
		requireFiles(t, one, m, "one")
	}
	require.Len(t, archives(t, b), 2, "the current one and the one before")

	two := openMemory(t, counted)
	require.Equal(t, m, load(t, two))
	requireFiles(t, two, m, "one")
	clear(calls)
	require.Equal(t, m, load(t, two))
	require.Equal(t, map[string]int{"s3.Get": 1}, calls)
	require.NoError(t, os.RemoveAll(two.Root()), "as a new process finds it")
	require.Equal(t, m, load(t, two))
	requireFiles(t, two, m, "one")

	clock.Advance(time.Minute)
	require.NoError(t, commit(t, two, m, "two"))
	m = load(t, one)
	require.Equal(t, int64(5), m.Generation)
	requireFiles(t, one, m, "two")
	only, err := openMemory(t, b).Manifest(t.Context())
	require.NoError(t, err)
	require.Equal(t, m, only)
}

func TestOfTwoAnalysesOneIsRefused(t *testing.T) {
	for _, first := range []bool{true, false} {
		clock := cloudtest.NewClock(now)
		b := newBucket(clock)
		one, two := openMemory(t, b), openMemory(t, b)
		m := load(t, one)
		if !first {
			require.NoError(t, commit(t, one, m, "before"))
			m = load(t, one)
		}
		require.Equal(t, m, load(t, two))
		require.NoError(t, commit(t, one, m, "one"))
		err := commit(t, two, m, "two")
		require.ErrorIs(t, err, analyzer.ErrConflict)
		require.ErrorContains(t, err, "another analyze moved memory on")
		// Its own files of that generation are not taken for the other's.
		m = load(t, two)
		requireFiles(t, two, m, "one")
		clock.Advance(time.Minute)
		require.NoError(t, commit(t, two, m, "two"))
		require.Len(t, archives(t, b), 2, "the loser's is gone")
		requireFiles(t, one, load(t, one), "two")
	}
}

// Killed at any call, memory is the old one or the new one as a whole, and the
// same process or the next one goes on.
func TestCommitKilledAtAnyCallLeavesMemoryWhole(t *testing.T) {
	var clock *cloudtest.Clock
	var mem *remote.Memory
	var asked error
	deaths(t,
		func(t *testing.T) *cloudtest.Bucket {
			clock = cloudtest.NewClock(now)
			b := newBucket(clock)
			before := openMemory(t, b)
			for range 3 {
				require.NoError(t, commit(t, before, load(t, before), "before"))
				clock.Advance(time.Minute)
			}
			return b
		},
		func(t *testing.T, b cloud.Bucket) error {
			mem = openMemory(t, b)
			m, err := mem.Load(t.Context())
			if asked = err; err == nil {
				asked = commit(t, mem, m, "after")
			}
			return asked
		},
		func(t *testing.T, b *cloudtest.Bucket) {
			next := openMemory(t, b)
			m := load(t, next)
			switch m.Generation {
			case 3:
				require.Error(t, asked)
				requireFiles(t, next, m, "before")
			case 4:
				requireFiles(t, next, m, "after")
			default:
				require.Fail(t, "which generation is that?", m.Generation)
			}
			clock.Advance(time.Minute)
			require.NoError(t, commit(t, next, m, "next"))
			require.LessOrEqual(t, len(archives(t, b)), 2)
			requireFiles(t, openMemoryLoaded(t, b), load(t, next), "next")
		})
}

func openMemoryLoaded(t *testing.T, b cloud.Bucket) *remote.Memory {
	mem := openMemory(t, b)
	load(t, mem)
	return mem
}

// Only the answer about the manifest is lost, and the process lives: it finds
// out that it was heard.
func TestALostAnswerAboutTheManifestIsAskedFor(t *testing.T) {
	clock := cloudtest.NewClock(now)
	b := newBucket(clock)
	puts := 0
	mem := openMemory(t, b.With(cloudtest.Hooks{Faults: func(op string) *cloudtest.Fault {
		if op == "s3.Put" {
			puts++
		}
		if op == "s3.Put" && puts%2 == 0 {
			return &cloudtest.Fault{After: true}
		}
		return nil
	}}))
	for i := range int64(3) {
		m := load(t, mem)
		require.Equal(t, i, m.Generation)
		require.NoError(t, commit(t, mem, m, "one"))
		clock.Advance(time.Minute)
	}
	requireFiles(t, mem, load(t, mem), "one")
	require.Equal(t, 6, puts)

	// One that was not heard fails with the reason, and the next try passes.
	refuse := true
	mem = openMemory(t, b.With(cloudtest.Hooks{Faults: func(op string) *cloudtest.Fault {
		if op == "s3.Put" && refuse {
			return &cloudtest.Fault{Err: cloudtest.ErrThrottled}
		}
		return nil
	}}))
	m := load(t, mem)
	require.ErrorIs(t, commit(t, mem, m, "two"), cloudtest.ErrThrottled)
	refuse = false
	require.Equal(t, m, load(t, mem))
	require.NoError(t, commit(t, mem, m, "two"))
}

func TestMemoryThatWasRemovedBeginsAnew(t *testing.T) {
	clock := cloudtest.NewClock(now)
	b := newBucket(clock)
	one, two := openMemory(t, b), openMemory(t, b)
	require.NoError(t, commit(t, one, load(t, one), "one"))
	m := load(t, two)
	require.NoError(t, one.Remove(t.Context()))
	err := commit(t, two, m, "two")
	require.ErrorIs(t, err, analyzer.ErrConflict)
	m = load(t, two)
	require.Zero(t, m.Generation)
	clock.Advance(time.Minute)
	require.NoError(t, commit(t, two, m, "anew"))
	m = load(t, one)
	require.Equal(t, int64(1), m.Generation)
	requireFiles(t, one, m, "anew")
	require.Len(t, archives(t, b), 1)
}

// archive puts an archive of given entries into a bucket, with its manifest.
func archive(t *testing.T, b cloud.Bucket, headers ...tar.Header) {
	t.Helper()
	var body bytes.Buffer
	w := tar.NewWriter(&body)
	for _, h := range headers {
		require.NoError(t, w.WriteHeader(&h))
		_, err := w.Write(make([]byte, h.Size))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	sum := sha256.Sum256(body.Bytes())
	manifest(t, b, hex.EncodeToString(sum[:]))
	put(t, b, "memory/0/00000007-x.tar", body.String())
}

func manifest(t *testing.T, b cloud.Bucket, sum string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"version": memory.Version, "generation": 7, "archive": "memory/0/00000007-x.tar", "sha256": sum})
	require.NoError(t, err)
	put(t, b, "memory/0/manifest.json", string(body))
}

func TestAnArchiveIsUnpackedWithCare(t *testing.T) {
	const remedy = "put all its objects into the inbox again and then delete memory/0/manifest.json"
	file := func(name string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: 3}
	}
	refused := func(t *testing.T, b *cloudtest.Bucket, says string) {
		t.Helper()
		mem := remote.OpenMemory(remote.MemoryOptions{Bucket: b, Dir: filepath.Join(t.TempDir(), "memory"), MaxBytes: 1000})
		_, err := mem.Load(t.Context())
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, remedy)
		entries, err := os.ReadDir(mem.Root())
		if err == nil {
			require.Empty(t, entries, "nothing is left of it")
		}
	}
	b := newBucket(cloudtest.NewClock(now))
	archive(t, b, file("ids.parquet"))
	require.Equal(t, int64(7), load(t, openMemory(t, b)).Generation)

	for _, name := range []string{"../ids.parquet", "/etc/ids.parquet", "a/ids.parquet", "..", "."} {
		archive(t, b, file(name))
		refused(t, b, "is not a file with a plain name")
	}
	archive(t, b, tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})
	refused(t, b, "is not a file with a plain name")
	archive(t, b, tar.Header{Name: "large", Typeflag: tar.TypeReg, Size: 1001})
	refused(t, b, "larger than memory may be")
	var many []tar.Header
	for i := range 1001 {
		many = append(many, tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeReg})
	}
	archive(t, b, many...)
	refused(t, b, "larger than memory may be")
	archive(t, b, file("ids.parquet"))
	whole := text(t, b, "memory/0/00000007-x.tar")
	for _, cut := range []int{0, 100, 512, 514, 1024} {
		put(t, b, "memory/0/00000007-x.tar", whole[:cut])
		refused(t, b, "is not what was written")
	}
	put(t, b, "memory/0/00000007-x.tar", whole)
	manifest(t, b, "0123")
	refused(t, b, "is not what was written")
	require.NoError(t, b.Delete(t.Context(), "memory/0/00000007-x.tar"))
	refused(t, b, "memory/0/00000007-x.tar")

	put(t, b, "memory/0/manifest.json", `{"version": 99}`)
	_, err := openMemory(t, b).Load(t.Context())
	require.ErrorIs(t, err, memory.ErrVersion)
	require.ErrorContains(t, err, remedy)
}

// One that clears old archives away may be slow, while the next goes on from what
// it committed.
func TestAnArchiveOnItsWayToItsManifestIsNotClearedAway(t *testing.T) {
	clock := cloudtest.NewClock(now)
	b := newBucket(clock)
	lists := 0
	one := openMemory(t, b.With(cloudtest.Hooks{Before: func(op string) error {
		if op == "s3.List" {
			if lists++; lists == 1 {
				clock.Advance(time.Minute)
				two := openMemory(t, b)
				require.NoError(t, commit(t, two, load(t, two), "two"))
			}
		}
		return nil
	}}))
	require.NoError(t, commit(t, one, load(t, one), "one"))
	require.Equal(t, 1, lists)
	m := load(t, one)
	require.Equal(t, int64(2), m.Generation)
	requireFiles(t, one, m, "two")
}

// What may pass by itself is no reason to make memory anew.
func TestAConnectionThatBreaksIsTriedAgain(t *testing.T) {
	b := newBucket(cloudtest.NewClock(now))
	one := openMemory(t, b)
	require.NoError(t, commit(t, one, load(t, one), "one"))
	gets := 0
	two := openMemory(t, b.With(cloudtest.Hooks{Faults: func(string) *cloudtest.Fault {
		if gets++; gets > 4 || gets%2 == 1 {
			return nil
		}
		return &cloudtest.Fault{After: gets == 4} // of the archive: no answer, and half of one
	}}))
	for range 2 {
		_, err := two.Load(t.Context())
		require.ErrorIs(t, err, cloudtest.ErrUnavailable)
		require.ErrorContains(t, err, ".tar")
		require.NotContains(t, err.Error(), "anew")
	}
	requireFiles(t, two, load(t, two), "one")
}

// Between reading the manifest and its archive, memory may move on twice.
func TestAnArchiveThatIsGoneBecauseMemoryMovedOnIsNoError(t *testing.T) {
	clock := cloudtest.NewClock(now)
	b := newBucket(clock)
	one := openMemory(t, b)
	require.NoError(t, commit(t, one, load(t, one), "one"))
	gets := 0
	slow := openMemory(t, b.With(cloudtest.Hooks{Before: func(op string) error {
		if op != "s3.Get" {
			return nil
		}
		if gets++; gets == 2 {
			for range 2 {
				clock.Advance(time.Minute)
				require.NoError(t, commit(t, one, load(t, one), "one"))
			}
		}
		return nil
	}}))
	m := load(t, slow)
	require.Equal(t, int64(3), m.Generation)
	requireFiles(t, slow, m, "one")
}
