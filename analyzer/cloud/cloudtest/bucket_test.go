package cloudtest_test

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
)

func putObject(t *testing.T, b cloud.Bucket, key, body string) cloud.ObjectInfo {
	t.Helper()
	info, err := b.Put(t.Context(), key, strings.NewReader(body), cloud.Condition{})
	require.NoError(t, err)
	return info
}

func keysOf(t *testing.T, b cloud.Bucket) (keys []string) {
	t.Helper()
	objects, _, err := b.List(t.Context(), "", "")
	require.NoError(t, err)
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys
}

func TestAnObjectHasTheTimeOfTheClockInWholeSeconds(t *testing.T) {
	clock := cloudtest.NewClock(day.Add(1500 * time.Millisecond).In(time.FixedZone("elsewhere", 3600)))
	b := cloudtest.NewBucket(cloudtest.BucketOptions{Now: clock.Now})
	require.Equal(t, day.Add(time.Second), putObject(t, b, "k", "x").Modified)
	require.Equal(t, `"9dd4e461268c8034f5c8564e155c67a6"`, putObject(t, b, "k", "x").ETag, "the MD5 of its body")
}

func TestEveryWrittenObjectIsNotified(t *testing.T) {
	var notified []string
	var b *cloudtest.Bucket
	b = cloudtest.NewBucket(cloudtest.BucketOptions{Versions: true, OnPut: func(key string, info cloud.ObjectInfo) {
		notified = append(notified, key+" "+info.Version)
		_, err := b.Head(t.Context(), key) // the bucket can be asked meanwhile
		require.NoError(t, err)
	}})
	one, two := putObject(t, b, "one", "x"), putObject(t, b, "one", "y")
	_, err := b.Put(t.Context(), "one", strings.NewReader("z"), cloud.Condition{IfAbsent: true})
	require.ErrorIs(t, err, analyzer.ErrConflict)
	_, err = b.With(once("s3.Put", 1, cloudtest.Fault{})).Put(t.Context(), "two", strings.NewReader("x"), cloud.Condition{})
	require.ErrorIs(t, err, cloudtest.ErrUnavailable)
	_, err = b.With(once("s3.Put", 1, cloudtest.Fault{After: true})).Put(t.Context(), "three", strings.NewReader("x"), cloud.Condition{})
	require.ErrorIs(t, err, cloudtest.ErrUnavailable)
	three, err := b.Head(t.Context(), "three")
	require.NoError(t, err)
	require.Equal(t, []string{"one " + one.Version, "one " + two.Version, "three " + three.Version}, notified)
	require.Equal(t, []string{"one", "three"}, keysOf(t, b))
}

func TestOfManyConditionalPutsOneWins(t *testing.T) {
	b := cloudtest.NewBucket(cloudtest.BucketOptions{})
	have := putObject(t, b, "swap", "before")
	var wins atomic.Int32
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			for key, c := range map[string]cloud.Condition{"new": {IfAbsent: true}, "swap": {IfMatch: have.ETag}} {
				_, err := b.Put(t.Context(), key, strings.NewReader(strings.Repeat("x", n)), c)
				if err == nil {
					wins.Add(1)
				} else if !errorIsConflict(err) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 2, wins.Load())
}

func TestABodyThatIsAnotherWhenItIsReadAgainIsRefused(t *testing.T) {
	b := cloudtest.NewBucket(cloudtest.BucketOptions{})
	_, err := b.Put(t.Context(), "k", &growing{}, cloud.Condition{})
	require.ErrorContains(t, err, "another")
	require.Empty(t, keysOf(t, b))
}

// growing is a body that is longer each time.
type growing struct {
	*strings.Reader
	reads int
}

func (g *growing) Seek(int64, int) (int64, error) {
	g.reads++
	g.Reader = strings.NewReader(strings.Repeat("x", g.reads))
	return 0, nil
}

func TestWhatS3RefusesIsRefused(t *testing.T) {
	b := cloudtest.NewBucket(cloudtest.BucketOptions{})
	for _, key := range []string{"", strings.Repeat("k", 1025), "\xff"} {
		_, err := b.Put(t.Context(), key, strings.NewReader("x"), cloud.Condition{})
		require.Error(t, err)
	}
	_, err := b.Put(t.Context(), "k", strings.NewReader("x"), cloud.Condition{IfAbsent: true, IfMatch: `"x"`})
	require.Error(t, err)
	require.Empty(t, keysOf(t, b))
}

func TestADownloadCanBreakOff(t *testing.T) {
	b := cloudtest.NewBucket(cloudtest.BucketOptions{})
	putObject(t, b, "k", "first half, second half")
	r, info, err := b.With(once("s3.Get", 1, cloudtest.Fault{After: true})).Get(t.Context(), "k", "", "")
	require.NoError(t, err)
	require.EqualValues(t, 23, info.Size)
	data, err := io.ReadAll(r)
	require.ErrorIs(t, err, cloudtest.ErrUnavailable)
	require.Equal(t, "first half,", string(data))
	_, _, err = b.With(once("s3.Get", 1, cloudtest.Fault{})).Get(t.Context(), "k", "", "")
	require.ErrorIs(t, err, cloudtest.ErrUnavailable)
}

func TestAPartOfADeleteCanFail(t *testing.T) {
	for n := range uint64(20) {
		b := cloudtest.NewBucket(cloudtest.BucketOptions{Rand: seed(n)})
		for _, key := range []string{"a", "b", "c", "d"} {
			putObject(t, b, key, key)
		}
		err := b.With(once("s3.Delete", 1, cloudtest.Fault{Partial: true})).Delete(t.Context(), "a", "b", "c", "d")
		require.ErrorIs(t, err, cloudtest.ErrUnavailable)
		left := keysOf(t, b)
		require.NotEmpty(t, left)
		for _, key := range []string{"a", "b", "c", "d"} {
			require.Equal(t, strings.Contains(strings.Join(left, ""), key), strings.Contains(err.Error(), "s3.Delete "+key), "the error says what is left")
		}
	}
}
