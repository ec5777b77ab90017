package remote_test

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/remote"
)

// cache lists the files under the root of a lake.
func cache(t *testing.T, l *remote.Lake) (files []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(l.Root(), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, filepath.Base(name))
		}
		return err
	}))
	slices.Sort(files)
	return files
}

func TestFetchKeepsTheCacheSmall(t *testing.T) {
	clock := cloudtest.NewClock(now)
	b := newBucket(clock)
	object := func(name string, size int) analyzer.Object {
		o := analyzer.Object{Table: analyzer.TableUses, Path: "uses/day=2026-03-02/" + name, Bytes: int64(size)}
		put(t, b, o.Path, string(make([]byte, size)))
		return o
	}
	one, two, three, large := object("one", 40), object("two", 40), object("three", 40), object("large", 101)
	gets := 0
	l := open(t, b.With(cloudtest.Hooks{Before: func(op string) error {
		if op == "s3.Get" {
			gets++
		}
		return nil
	}}), at(clock), func(o *remote.Options) { o.CacheBytes = 100 })
	fetch := func(objects ...analyzer.Object) {
		t.Helper()
		clock.Advance(time.Minute)
		require.NoError(t, l.Fetch(t.Context(), objects))
	}
	fetch(one)
	fetch(two, two)
	require.Equal(t, []string{"one", "two"}, cache(t, l))
	require.Equal(t, 2, gets)
	fetch(one)
	require.Equal(t, 2, gets, "it is there")
	fetch(three)
	require.Equal(t, []string{"one", "three"}, cache(t, l), "two was not used for longest")
	fetch(two, three)
	require.Equal(t, []string{"three", "two"}, cache(t, l), "what is asked for stays")
	require.Equal(t, 4, gets)

	err := l.Fetch(t.Context(), []analyzer.Object{one, large})
	require.ErrorIs(t, err, remote.ErrCacheFull)
	require.ErrorContains(t, err, "2 objects")
	require.ErrorContains(t, err, "141 bytes")
	require.ErrorContains(t, err, "holds 100")

	one.Bytes = 0
	fetch(one)
	require.Contains(t, cache(t, l), "one", "its size is asked for")
}

func TestFetchLeavesNoHalfObject(t *testing.T) {
	b := newBucket(cloudtest.NewClock(now))
	o := analyzer.Object{Path: "control/day=2026-03-02/x.parquet", Bytes: 10}
	put(t, b, o.Path, "0123456789")
	m := &mortal{at: 1, lost: true}
	l := open(t, b.With(m.hooks()))
	require.ErrorIs(t, l.Fetch(t.Context(), []analyzer.Object{o}), errDead)
	require.Empty(t, cache(t, l))

	require.NoError(t, os.MkdirAll(filepath.Join(l.Root(), "control", "day=2026-03-02"), 0o700))
	// One that a process left when it died is of another size.
	require.NoError(t, os.WriteFile(filepath.Join(l.Root(), filepath.FromSlash(o.Path)), []byte("01234"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(l.Root(), "tmp", "object-1"), []byte("01234"), 0o600))
	again, err := remote.Open(remote.Options{Bucket: b, Cache: l.Root()})
	require.NoError(t, err)
	require.NoError(t, again.Fetch(t.Context(), []analyzer.Object{o}))
	require.Equal(t, []string{"x.parquet"}, cache(t, again))
	body, err := os.ReadFile(filepath.Join(l.Root(), filepath.FromSlash(o.Path)))
	require.NoError(t, err)
	require.Equal(t, "0123456789", string(body))
}

// short is a bucket whose bodies end too early, without a word.
type short struct{ cloud.Bucket }

func (s short) Get(ctx context.Context, key, version, ifNoneMatch string) (io.ReadCloser, cloud.ObjectInfo, error) {
	body, info, err := s.Bucket.Get(ctx, key, version, ifNoneMatch)
	if err != nil {
		return nil, info, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(body, info.Size-1), body}, info, nil
}

func TestFetchTakesNoBodyThatEndsTooEarly(t *testing.T) {
	b := newBucket(cloudtest.NewClock(now))
	o := analyzer.Object{Path: "control/day=2026-03-02/x.parquet", Bytes: 10}
	put(t, b, o.Path, "0123456789")
	l := open(t, short{b})
	require.ErrorContains(t, l.Fetch(t.Context(), []analyzer.Object{o}), "9 of 10 bytes came")
	require.Empty(t, cache(t, l))
}

func TestFetchSaysWhatIsMissing(t *testing.T) {
	l := open(t, newBucket(cloudtest.NewClock(now)))
	for _, size := range []int64{0, 7} {
		err := l.Fetch(t.Context(), []analyzer.Object{{Path: "uses/day=2026-03-02/gone.parquet", Bytes: size}})
		require.ErrorIs(t, err, lake.ErrMissing)
		require.ErrorContains(t, err, "uses/day=2026-03-02/gone.parquet")
	}
	err := l.Fetch(t.Context(), []analyzer.Object{{Path: "../x", Bytes: 1}})
	require.ErrorContains(t, err, "leads out of the lake")
}
