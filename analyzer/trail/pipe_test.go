//go:build unix

package trail_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail"
)

func TestAPipeThatGivesNothingDoesNotKeepTheReaderBeyondItsContext(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) string{
		"nobody opens the other end": func(*testing.T) string { return "pipe" },
		"nobody writes": func(t *testing.T) string {
			end, err := os.OpenFile("pipe", os.O_RDWR, 0)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, end.Close()) })
			return "pipe"
		},
		"it stops in the middle of a record": func(t *testing.T) string {
			end, err := os.OpenFile("pipe", os.O_RDWR, 0)
			require.NoError(t, err)
			_, err = end.WriteString(records(rec("a"))[:100])
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, end.Close()) })
			return "pipe"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			require.NoError(t, syscall.Mkfifo("pipe", 0o600))
			listing, err := trail.Expand([]string{open(t)})
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			ended := make(chan error)
			var reader trail.Reader
			go func() {
				_, err := reader.ReadAll(ctx, listing.Inputs, trail.All{Handler: func(int) trail.Handler {
					return trail.Handler{Reject: func(r analyzer.Reject) error { return errors.New(r.Reason) }}
				}})
				ended <- err
			}()
			require.ErrorIs(t, <-ended, context.DeadlineExceeded)
			if name == "nobody opens the other end" { // let the one that waits go
				end, err := os.OpenFile("pipe", os.O_RDWR, 0)
				require.NoError(t, err)
				require.NoError(t, end.Close())
			}
		})
	}
}

func TestAPipeIsReadToItsEnd(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, syscall.Mkfifo("pipe", 0o600))
	listing, err := trail.Expand([]string{"pipe", "."}) // in the folder it is not looked for
	require.NoError(t, err)
	require.Len(t, listing.Inputs, 1)
	log := logFile(rand.New(rand.NewPCG(1, 8)), 3000, 50)
	var reader trail.Reader
	var counts trail.Counts
	var group errgroup.Group
	group.Go(func() error { return os.WriteFile("pipe", zip(t, log), 0) })
	group.Go(func() (err error) {
		counts, err = reader.ReadAll(t.Context(), listing.Inputs, trail.All{})
		return err
	})
	require.NoError(t, group.Wait())
	require.EqualValues(t, 3000, counts.Records.Kept)
}
