package cloudtest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// RunBucket runs what every bucket must do; open returns an empty bucket for
// each test.
func RunBucket(t *testing.T, open func(t *testing.T) cloud.Bucket) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, b cloud.Bucket)
	}{
		{"an object comes back as it was put", objectsComeBack},
		{"what is not there is not found", objectsAreMissing},
		{"an object that is known is not sent again", objectsAreNotModified},
		{"put replaces an object as a whole", objectsAreReplaced},
		{"an object that must be absent is put once", objectsAreCreatedOnce},
		{"an object that must match is put only over what was read", objectsAreSwapped},
		{"a body is read from its beginning", bodiesAreRewound},
		{"objects are listed by prefix in the order of their keys as bytes", objectsAreListed},
		{"a list has pages of a thousand, and all can be deleted at once", listsHavePages},
		{"deleting leaves the others, and what is not there is no error", objectsAreDeleted},
		{"versions that are kept can be read", versionsAreRead},
		{"a cancelled context stops every call", bucketCallsAreCancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func put(t *testing.T, b cloud.Bucket, key, body string) cloud.ObjectInfo {
	t.Helper()
	info, err := b.Put(t.Context(), key, strings.NewReader(body), cloud.Condition{})
	require.NoError(t, err)
	return info
}

func body(t *testing.T, b cloud.Bucket, key, version string) string {
	t.Helper()
	r, _, err := b.Get(t.Context(), key, version, "")
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(data)
}

// awkward is a key with characters that are written differently in addresses.
const awkward = "uses/day=2026-03-02/a b+c%2F&ü.parquet"

func objectsComeBack(t *testing.T, b cloud.Bucket) {
	for _, content := range []string{"hello", "", strings.Repeat("a large one ", 1<<16)} {
		wrote := put(t, b, awkward, content)
		require.Equal(t, awkward, wrote.Key)
		require.Regexp(t, `^".+"$`, wrote.ETag)
		r, read, err := b.Get(t.Context(), awkward, "", "")
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.True(t, content == string(data), "%d bytes came back of %d", len(data), len(content))
		head, err := b.Head(t.Context(), awkward)
		require.NoError(t, err)
		for _, info := range []cloud.ObjectInfo{read, head} {
			require.Equal(t, awkward, info.Key)
			require.EqualValues(t, len(content), info.Size)
			require.Equal(t, wrote.ETag, info.ETag)
			require.Equal(t, wrote.Version, info.Version)
			require.False(t, info.Modified.IsZero())
			require.Equal(t, time.UTC, info.Modified.Location())
		}
	}
}

func objectsAreMissing(t *testing.T, b cloud.Bucket) {
	put(t, b, "there/too", "x")
	for _, key := range []string{"nowhere", "there", "there/"} {
		_, _, err := b.Get(t.Context(), key, "", "")
		require.ErrorIs(t, err, analyzer.ErrNotFound)
		_, err = b.Head(t.Context(), key)
		require.ErrorIs(t, err, analyzer.ErrNotFound)
	}
	_, _, err := b.Get(t.Context(), "nowhere", "", `"an etag"`)
	require.ErrorIs(t, err, analyzer.ErrNotFound)
	require.NotErrorIs(t, err, cloud.ErrNotModified)
}

func objectsAreNotModified(t *testing.T, b cloud.Bucket) {
	first := put(t, b, "k", "first")
	_, _, err := b.Get(t.Context(), "k", "", first.ETag)
	require.ErrorIs(t, err, cloud.ErrNotModified)
	put(t, b, "k", "second")
	r, _, err := b.Get(t.Context(), "k", "", first.ETag)
	require.NoError(t, err)
	require.NoError(t, r.Close())
}

func objectsAreReplaced(t *testing.T, b cloud.Bucket) {
	first := put(t, b, "k", "a longer first")
	second := put(t, b, "k", "second")
	require.NotEqual(t, first.ETag, second.ETag)
	require.Equal(t, "second", body(t, b, "k", ""))
	require.Equal(t, first.ETag, put(t, b, "other", "a longer first").ETag, "equal bodies have equal ETags")
}

func objectsAreCreatedOnce(t *testing.T, b cloud.Bucket) {
	once := func(content string) error {
		_, err := b.Put(t.Context(), "k", strings.NewReader(content), cloud.Condition{IfAbsent: true})
		return err
	}
	require.NoError(t, once("first"))
	require.ErrorIs(t, once("second"), analyzer.ErrConflict)
	require.ErrorIs(t, once("first"), analyzer.ErrConflict, "the same body again")
	require.Equal(t, "first", body(t, b, "k", ""))
	require.NoError(t, b.Delete(t.Context(), "k"))
	require.NoError(t, once("third"))
}

func objectsAreSwapped(t *testing.T, b cloud.Bucket) {
	swap := func(key, etag, content string) (cloud.ObjectInfo, error) {
		return b.Put(t.Context(), key, strings.NewReader(content), cloud.Condition{IfMatch: etag})
	}
	first := put(t, b, "k", "first")
	second, err := swap("k", first.ETag, "second")
	require.NoError(t, err)
	_, err = swap("k", first.ETag, "third")
	require.ErrorIs(t, err, analyzer.ErrConflict)
	require.NotErrorIs(t, err, analyzer.ErrNotFound)
	require.Equal(t, "second", body(t, b, "k", ""))
	_, err = swap("k", second.ETag, "fourth")
	require.NoError(t, err)
	require.Equal(t, "fourth", body(t, b, "k", ""))
	_, err = swap("nowhere", first.ETag, "fifth")
	require.ErrorIs(t, err, analyzer.ErrNotFound)
	require.NotErrorIs(t, err, analyzer.ErrConflict)
	_, err = b.Head(t.Context(), "nowhere")
	require.ErrorIs(t, err, analyzer.ErrNotFound, "nothing was written")
}

func bodiesAreRewound(t *testing.T, b cloud.Bucket) {
	r := strings.NewReader("from the beginning")
	_, err := io.CopyN(io.Discard, r, 5)
	require.NoError(t, err)
	info, err := b.Put(t.Context(), "k", r, cloud.Condition{})
	require.NoError(t, err)
	require.EqualValues(t, len("from the beginning"), info.Size)
	require.Equal(t, "from the beginning", body(t, b, "k", ""))
}

func objectsAreListed(t *testing.T, b cloud.Bucket) {
	keys := []string{"a/1", "a/10", "a/2", "a/Z", "a/a b", "a/z", "a/ü", "a0", "b/1"}
	slices.Sort(keys)
	for _, key := range []string{"b/1", "a/ü", "a/10", "a0", "a/Z", "a/2", "a/1", "a/z", "a/a b"} {
		put(t, b, key, key)
	}
	for _, test := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "", keys},
		{"a/", "", keys[:7]},
		{"a/", "a/10", keys[2:7]},
		{"a/", "a/1x", keys[2:7]},
		{"a/1", "", keys[:2]},
		{"a/", "a/zz", keys[6:7]},
		{"a/", "b", nil},
		{"b", "a", keys[8:]},
		{"c", "", nil},
	} {
		objects, more, err := b.List(t.Context(), test.prefix, test.after)
		require.NoError(t, err)
		require.False(t, more)
		var got []string
		for _, o := range objects {
			got = append(got, o.Key)
			head, err := b.Head(t.Context(), o.Key)
			require.NoError(t, err)
			require.Equal(t, head.ETag, o.ETag)
			require.EqualValues(t, len(o.Key), o.Size)
			require.False(t, o.Modified.IsZero())
		}
		require.Equal(t, test.want, got, "prefix %q after %q", test.prefix, test.after)
	}
	require.NoError(t, b.Delete(t.Context(), "a/z"))
	objects, _, err := b.List(t.Context(), "a/z", "")
	require.NoError(t, err)
	require.Empty(t, objects, "what was deleted is listed no more")
}

func listsHavePages(t *testing.T, b cloud.Bucket) {
	const all = 1003
	keys := make([]string, all)
	for i := range keys {
		keys[i] = fmt.Sprintf("many/%04d", i)
		put(t, b, keys[i], "x")
	}
	var got []string
	after := ""
	for page := 0; ; page++ {
		objects, more, err := b.List(t.Context(), "many/", after)
		require.NoError(t, err)
		require.LessOrEqual(t, len(objects), 1000)
		for _, o := range objects {
			got = append(got, o.Key)
		}
		if !more {
			break
		}
		require.Less(t, page, all)
		after = got[len(got)-1]
	}
	require.Equal(t, keys, got)
	require.NoError(t, b.Delete(t.Context(), keys...))
	objects, more, err := b.List(t.Context(), "", "")
	require.NoError(t, err)
	require.False(t, more)
	require.Empty(t, objects)
}

func objectsAreDeleted(t *testing.T, b cloud.Bucket) {
	put(t, b, "one", "1")
	put(t, b, awkward, "2")
	put(t, b, "three", "3")
	require.NoError(t, b.Delete(t.Context(), "one", awkward, "nowhere"))
	for _, key := range []string{"one", awkward} {
		_, err := b.Head(t.Context(), key)
		require.ErrorIs(t, err, analyzer.ErrNotFound)
	}
	require.Equal(t, "3", body(t, b, "three", ""))
	require.NoError(t, b.Delete(t.Context()))
}

func versionsAreRead(t *testing.T, b cloud.Bucket) {
	first := put(t, b, "k", "first")
	second := put(t, b, "k", "second")
	if first.Version == "" {
		t.Skip("this bucket keeps no versions")
	}
	require.NotEqual(t, first.Version, second.Version)
	require.NoError(t, b.Delete(t.Context(), "k"))
	_, err := b.Head(t.Context(), "k")
	require.ErrorIs(t, err, analyzer.ErrNotFound)
	require.Equal(t, "first", body(t, b, "k", first.Version))
	require.Equal(t, "second", body(t, b, "k", second.Version))
	_, _, err = b.Get(t.Context(), "other", first.Version, "")
	require.ErrorIs(t, err, analyzer.ErrNotFound)
}

func bucketCallsAreCancelled(t *testing.T, b cloud.Bucket) {
	put(t, b, "k", "there")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := b.Get(ctx, "k", "", "")
	require.ErrorIs(t, err, context.Canceled)
	_, err = b.Head(ctx, "k")
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = b.List(ctx, "", "")
	require.ErrorIs(t, err, context.Canceled)
	_, err = b.Put(ctx, "k", strings.NewReader("x"), cloud.Condition{})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, b.Delete(ctx, "k"), context.Canceled)
	require.Equal(t, "there", body(t, b, "k", ""))
}
