//go:build corpus

package trail_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail"
)

// corpus is where real logs lie: .ci/corpus sets KEYTRAIL_CORPUS; without it they
// are looked for beside the repository.
var corpus = cmp.Or(os.Getenv("KEYTRAIL_CORPUS"), "../../../shared/data")

// requireCorpus fails without the real logs: nothing would be proven.
func requireCorpus(t *testing.T) {
	t.Helper()
	_, err := os.Stat(corpus)
	require.NoError(t, err, "the real logs are not at %s", corpus)
}

func TestCorpusRealLogsAreReadWithoutARejectThatIsNotTrulyBroken(t *testing.T) {
	requireCorpus(t)
	for _, test := range []struct {
		path           string
		files, records int64
		rejects        []string // file:line is what is truly broken
		skipped        map[string]int64
	}{
		{path: "invictus-ir/CloudTrail", files: 55, records: 2900},
		{
			path: "*/records.jsonl", files: 4, records: 120 + 31 + 7 + 5 + 6,
			// A fragment out of a document, as its PROVENANCE.md says.
			rejects: []string{"records.jsonl:3582: not a CloudTrail record: it has no eventTime"},
		},
		// Text that a collector could not make records of, wrapped in JSON.
		{path: "*/unparsed.jsonl", skipped: map[string]int64{trail.SkippedJSON: 1}},
	} {
		t.Run(test.path, func(t *testing.T) {
			listing, err := trail.Expand([]string{filepath.Join(corpus, test.path)})
			require.NoError(t, err)
			var reader trail.Reader
			var mu sync.Mutex
			var rejects []string
			counts, err := reader.ReadAll(t.Context(), listing.Inputs, trail.All{Handler: func(int) trail.Handler {
				return trail.Handler{Reject: func(r analyzer.Reject) error {
					mu.Lock()
					defer mu.Unlock()
					rejects = append(rejects, fmt.Sprintf("%s:%d: %s", filepath.Base(r.File), r.Offset, r.Reason))
					return nil
				}}
			}})
			require.NoError(t, err)
			require.Equal(t, test.files, counts.Files.Read)
			require.Equal(t, test.records, counts.Records.Read)
			require.Equal(t, test.rejects, rejects)
			require.Equal(t, test.records-int64(len(test.rejects)), counts.Records.Kept)
			require.Equal(t, test.skipped, counts.Skipped)
		})
	}
}
