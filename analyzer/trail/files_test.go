package trail_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail"
)

// tree writes files into a new folder, which becomes the working directory.
func tree(t *testing.T, files ...string) {
	t.Chdir(t.TempDir())
	for _, name := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, []byte(rec(name)), 0o600))
	}
}

func names(listing trail.Listing) (list []string) {
	for _, in := range listing.Inputs {
		list = append(list, filepath.ToSlash(in.Name))
	}
	return list
}

func TestPathsStandForFiles(t *testing.T) {
	tree(t, "logs/b.json", "logs/a.json", "logs/sub/deep/c.json.gz", "logs/.DS_Store", "logs/.git/x", "logs/__MACOSX/y", "logs/Thumbs.db", "more/d[1].json", "more/e.json", ".hidden.json")
	for _, test := range []struct {
		name   string
		paths  []string
		want   []string
		hidden int64
	}{
		{name: "a file", paths: []string{"more/e.json"}, want: []string{"more/e.json"}},
		{name: "a folder, sorted, without what is hidden", paths: []string{"logs"}, want: []string{"logs/a.json", "logs/b.json", "logs/sub/deep/c.json.gz"}, hidden: 4},
		{name: "a hidden file that is named", paths: []string{".hidden.json", "logs/.DS_Store"}, want: []string{".hidden.json", "logs/.DS_Store"}},
		{name: "a pattern", paths: []string{"logs/*.json"}, want: []string{"logs/a.json", "logs/b.json"}},
		{name: "a pattern over folders", paths: []string{"**/*.json*"}, want: []string{"logs/a.json", "logs/b.json", "logs/sub/deep/c.json.gz", "more/d[1].json", "more/e.json"}, hidden: 1},
		{name: "a pattern with choices", paths: []string{"{logs,more}/[ae].json"}, want: []string{"logs/a.json", "more/e.json"}},
		{name: "a pattern that matches folders", paths: []string{"l*"}, want: []string{"logs/a.json", "logs/b.json", "logs/sub/deep/c.json.gz"}, hidden: 4},
		{name: "a name that looks like a pattern", paths: []string{"more/d[1].json"}, want: []string{"more/d[1].json"}},
		{name: "each file once, in the order given", paths: []string{"more/e.json", "./more", "more/../more/e.json"}, want: []string{"more/e.json", "more/d[1].json"}},
		{name: "standard input", paths: []string{"-", "more/e.json", "-"}, want: []string{"-", "more/e.json"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			listing, err := trail.Expand(test.paths)
			require.NoError(t, err)
			require.Equal(t, test.want, names(listing))
			require.Equal(t, test.hidden, listing.Skipped.Files.Skipped)
			require.Equal(t, test.hidden, listing.Skipped.Skipped[trail.SkippedHidden])
			for _, in := range listing.Inputs {
				if in.Name != "-" {
					require.EqualValues(t, len(rec(filepath.ToSlash(strings.TrimPrefix(in.Name, "./")))), in.Size)
				}
			}
		})
	}
	for _, path := range []string{"none.json", "none/*.json", "none/", "logs/a.json/x"} {
		_, err := trail.Expand([]string{"logs", path})
		require.ErrorContains(t, err, path)
	}
	_, err := trail.Expand([]string{"none"})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = trail.Expand([]string{"none*"})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = trail.Expand([]string{"[z"})
	require.ErrorContains(t, err, "[z")
}

func TestLinksAreFollowedOnce(t *testing.T) {
	tree(t, "logs/a.json", "outside/b.json")
	require.NoError(t, os.Symlink("..", "logs/up"))
	require.NoError(t, os.Symlink("a.json", "logs/same.json"))
	require.NoError(t, os.Symlink("nowhere", "logs/broken"))
	require.NoError(t, os.Symlink("../outside", "logs/x"))
	listing, err := trail.Expand([]string{"logs"})
	require.NoError(t, err)
	require.Equal(t, []string{"logs/a.json", "logs/up/outside/b.json"}, names(listing))
	require.Equal(t, map[string]int64{trail.SkippedLink: 1}, listing.Skipped.Skipped)

	listing, err = trail.Expand([]string{"**/*.json"})
	require.NoError(t, err)
	require.Len(t, listing.Inputs, 2)
}

func TestManyFilesAreReadInParallelAndAccountedFor(t *testing.T) {
	t.Chdir(t.TempDir())
	random := rand.New(rand.NewPCG(1, 6))
	want := map[string]bool{}
	for i := range 300 {
		var list []string
		for j := range random.IntN(20) {
			id := fmt.Sprintf("%d-%d", i, j)
			if random.IntN(3) == 0 {
				list = append(list, recOf("s3.amazonaws.com", "GetObject", id))
			} else {
				list = append(list, rec(id))
				want[id] = true
			}
		}
		content := records(list...)
		if random.IntN(2) == 0 {
			content = gz(content)
		}
		require.NoError(t, os.WriteFile(fmt.Sprintf("%03d.json", i), []byte(content), 0o600))
	}
	require.NoError(t, os.WriteFile("README.md", []byte("# Logs"), 0o600))
	require.NoError(t, os.WriteFile("broken.json", []byte(records(rec("last"))[:200]), 0o600))

	listing, err := trail.Expand([]string{"."})
	require.NoError(t, err)
	listing.Inputs = append(listing.Inputs, trail.Input{Name: "gone.json"}, trail.Input{Name: "s3", Open: func() (io.ReadCloser, error) { return nil, errors.New("access denied") }})
	const workers = 4
	var (
		kept     [workers]map[string]bool // each worker's own
		files    [workers]int
		mu       sync.Mutex
		rejects  []string
		progress []trail.Progress
	)
	reader := trail.Reader{Filter: onlyKMS}
	counts, err := reader.ReadAll(t.Context(), listing.Inputs, trail.All{
		Workers: workers,
		Handler: func(worker int) trail.Handler {
			kept[worker] = map[string]bool{}
			return trail.Handler{
				Record: func(r *trail.Record) error {
					kept[worker][r.Doc.Root().Get("eventID").String()] = true
					return nil
				},
				Reject: func(r analyzer.Reject) error {
					mu.Lock()
					defer mu.Unlock()
					rejects = append(rejects, r.File+": "+r.Reason)
					return nil
				},
				Done: func(string, trail.Counts) error { files[worker]++; return nil },
			}
		},
		Progress: func(p trail.Progress) { progress = append(progress, p) },
	})
	require.NoError(t, err)
	got := map[string]bool{}
	total := 0
	for worker := range workers {
		for id := range kept[worker] {
			require.False(t, got[id], "%s twice", id)
			got[id] = true
		}
		total += files[worker]
	}
	require.Equal(t, want, got)
	require.Equal(t, len(listing.Inputs), total)
	require.Equal(t, analyzer.FileCounts{Read: 300, Rejected: 3, Skipped: 1}, counts.Files)
	require.EqualValues(t, len(want), counts.Records.Kept)
	require.Equal(t, counts.Records.Read, counts.Records.Kept+counts.Records.NotOfInterest+counts.Records.Rejected)
	require.Len(t, rejects, 3)
	require.Contains(t, strings.Join(rejects, "\n"), "gone.json: cannot be opened: open gone.json: no such file")
	require.Contains(t, strings.Join(rejects, "\n"), "s3: cannot be opened: access denied")

	last := progress[len(progress)-1]
	require.Equal(t, len(listing.Inputs), last.TotalFiles)
	for i := 1; i < len(progress); i++ {
		require.GreaterOrEqual(t, progress[i].Bytes, progress[i-1].Bytes)
		require.GreaterOrEqual(t, progress[i].Files, progress[i-1].Files)
	}
	require.Equal(t, last.TotalBytes, last.Bytes)
	require.Equal(t, counts.Bytes, last.Bytes)
}

func TestALargeFileIsInflatedAheadWithTheSameResult(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 7))
	log := logFile(random, 20000, 50)
	zipped := zip(t, log)
	require.Greater(t, len(zipped), 1<<20)
	path := filepath.Join(t.TempDir(), "large.json.gz")
	require.NoError(t, os.WriteFile(path, zipped, 0o600))
	listing, err := trail.Expand([]string{path})
	require.NoError(t, err)
	reader := trail.Reader{Filter: onlyKMS}
	var results []trail.Counts
	for _, workers := range []int{1, 2} {
		counts, err := reader.ReadAll(t.Context(), listing.Inputs, trail.All{Workers: workers})
		require.NoError(t, err)
		require.EqualValues(t, 20000, counts.Records.Read)
		results = append(results, counts)
	}
	require.Equal(t, results[0], results[1])

	// An error ends the goroutine too, while there is much left to inflate.
	failure := errors.New("enough")
	n := 0
	_, err = reader.ReadAll(t.Context(), listing.Inputs, trail.All{Workers: 2, Handler: func(int) trail.Handler {
		return trail.Handler{Record: func(*trail.Record) error {
			if n++; n == 10 {
				return failure
			}
			return nil
		}}
	}})
	require.ErrorIs(t, err, failure)
}
