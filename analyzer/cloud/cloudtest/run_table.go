package cloudtest

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// RunTable runs what every table must do; open returns an empty table for each
// test.
func RunTable(t *testing.T, open func(t *testing.T) cloud.Table) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, table cloud.Table)
	}{
		{"an item comes back as it was written", itemsComeBack},
		{"put replaces an item and delete removes it", itemsAreReplaced},
		{"a write takes effect only if its condition holds", conditionsAreKept},
		{"a transaction does all of its writes or none", transactionsAreWhole},
		{"a transaction has at most a hundred writes, of different items", transactionsAreLimited},
		{"a body has a largest size", bodiesAreLimited},
		{"many items are read in the order asked for", manyAreRead},
		{"many large items are read", manyLargeAreRead},
		{"a partition is read in the order of its sort keys as bytes", partitionsAreOrdered},
		{"a partition of many pages is read whole", partitionsHavePages},
		{"nothing is shared with the caller", itemsAreNotShared},
		{"a cancelled context stops every call", tableCallsAreCancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func key(partition, sort string) cloud.Key { return cloud.Key{Partition: partition, Sort: sort} }

func item(partition, sort string, number int64, body string) cloud.Item {
	return cloud.Item{Key: key(partition, sort), Number: number, Body: []byte(body)}
}

func write(t *testing.T, table cloud.Table, items ...cloud.Item) {
	t.Helper()
	for batch := range slices.Chunk(items, cloud.MaxTransaction) {
		writes := make([]cloud.Write, len(batch))
		for i := range batch {
			writes[i] = cloud.Write{Item: batch[i]}
		}
		require.NoError(t, table.Write(t.Context(), writes...))
	}
}

// sortKeys returns what tells items of one partition apart.
func sortKeys(items []cloud.Item) (keys []string) {
	for _, i := range items {
		keys = append(keys, i.Sort)
	}
	return keys
}

func itemsComeBack(t *testing.T, table cloud.Table) {
	expires := time.Date(2027, 4, 6, 7, 8, 9, 0, time.UTC)
	for _, want := range []cloud.Item{
		item("p", "s", 0, ""),
		item("p#ü", "2026-03-02T00:00:00Z#a/b", 1, "body"),
		item("p", "large", math.MaxInt64, strings.Repeat("\x00\xff", cloud.MaxBody/2)),
		item("p", "negative", math.MinInt64, "\x1f\x8b\x00"),
		{Key: key("p", "expires"), Number: -1, Body: []byte("x"), Expires: expires},
	} {
		write(t, table, want)
		got, err := table.Get(t.Context(), want.Key)
		require.NoError(t, err)
		require.Equal(t, want.Key, got.Key)
		require.Equal(t, want.Number, got.Number)
		require.True(t, bytes.Equal(want.Body, got.Body), "%d bytes came back of %d", len(got.Body), len(want.Body))
		require.Equal(t, want.Expires.IsZero(), got.Expires.IsZero())
		require.True(t, want.Expires.Equal(got.Expires), "%s came back as %s", want.Expires, got.Expires)
	}
	for _, none := range []cloud.Key{key("p", "other"), key("other", "s")} {
		_, err := table.Get(t.Context(), none)
		require.ErrorIs(t, err, analyzer.ErrNotFound)
	}
}

func itemsAreReplaced(t *testing.T, table cloud.Table) {
	first := item("p", "s", 5, "first")
	first.Expires = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	write(t, table, first, item("p", "t", 1, "other"))
	write(t, table, item("p", "s", 6, "second"))
	got, err := table.Get(t.Context(), key("p", "s"))
	require.NoError(t, err)
	require.EqualValues(t, 6, got.Number)
	require.Equal(t, "second", string(got.Body))
	require.True(t, got.Expires.IsZero(), "the item is replaced as a whole")

	gone := cloud.Write{Item: item("p", "s", 0, ""), Delete: true}
	require.NoError(t, table.Write(t.Context(), gone))
	_, err = table.Get(t.Context(), gone.Key)
	require.ErrorIs(t, err, analyzer.ErrNotFound)
	require.NoError(t, table.Write(t.Context(), gone), "deleting what is not there")
	_, err = table.Get(t.Context(), key("p", "t"))
	require.NoError(t, err)
	require.NoError(t, table.Write(t.Context()), "writing nothing")
}

// held says for each test on which items its write, with Than 5, takes effect.
var held = []struct {
	test                        cloud.Test
	absent, less, equal, larger bool
}{
	{cloud.Always, true, true, true, true},
	{cloud.IfAbsent, true, false, false, false},
	{cloud.IfNumber, false, false, true, false},
	{cloud.IfAtMost, true, true, true, false},
	{cloud.IfGreater, true, false, false, true},
}

func conditionsAreKept(t *testing.T, table cloud.Table) {
	err := table.Write(t.Context(), cloud.Write{Item: item("p", "none", 1, ""), Test: cloud.IfNumber, Than: 0})
	require.ErrorIs(t, err, analyzer.ErrConflict, "what is not there has no number, not 0")
	n := 0
	for _, h := range held {
		for _, state := range []struct {
			number int64
			absent bool
			holds  bool
		}{{0, true, h.absent}, {4, false, h.less}, {-4, false, h.less}, {5, false, h.equal}, {6, false, h.larger}} {
			for _, remove := range []bool{false, true} {
				n++
				name := fmt.Sprintf("test %d, %+v, delete: %t", h.test, state, remove)
				k := fmt.Sprintf("k%03d", n)
				if !state.absent {
					write(t, table, item("p", k, state.number, "before"))
				}
				err := table.Write(t.Context(), cloud.Write{Item: item("p", k, 9, "after"), Delete: remove, Test: h.test, Than: 5})
				got, missing := table.Get(t.Context(), key("p", k))
				switch {
				case !state.holds:
					require.ErrorIs(t, err, analyzer.ErrConflict, name)
					require.Equal(t, state.absent, missing != nil, name)
					require.Equal(t, state.number, got.Number, name)
				case remove:
					require.NoError(t, err, name)
					require.ErrorIs(t, missing, analyzer.ErrNotFound, name)
				default:
					require.NoError(t, err, name)
					require.EqualValues(t, 9, got.Number, name)
				}
			}
		}
	}
}

func transactionsAreWhole(t *testing.T, table cloud.Table) {
	write(t, table, item("p", "old", 1, "old"))
	put := func(sort string, test cloud.Test) cloud.Write {
		return cloud.Write{Item: item("p", sort, 2, "new"), Test: test, Than: 1}
	}
	remove := cloud.Write{Item: item("p", "old", 0, ""), Delete: true, Test: cloud.IfNumber, Than: 1}
	for _, refused := range [][]cloud.Write{
		{put("a", cloud.Always), put("b", cloud.IfNumber), remove},
		{put("b", cloud.IfNumber), put("a", cloud.Always), remove},
		{remove, put("a", cloud.IfAbsent), put("b", cloud.IfNumber)},
	} {
		require.ErrorIs(t, table.Write(t.Context(), refused...), analyzer.ErrConflict)
		items, err := table.Query(t.Context(), "p", "", "")
		require.NoError(t, err)
		require.Equal(t, []string{"old"}, sortKeys(items))
	}
	require.NoError(t, table.Write(t.Context(), put("a", cloud.IfAbsent), remove, cloud.Write{Item: item("q", "a", 1, "")}))
	items, err := table.Query(t.Context(), "p", "", "")
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, sortKeys(items))
	_, err = table.Get(t.Context(), key("q", "a"))
	require.NoError(t, err)
}

func transactionsAreLimited(t *testing.T, table cloud.Table) {
	var writes []cloud.Write
	for i := range cloud.MaxTransaction + 1 {
		writes = append(writes, cloud.Write{Item: item("p", fmt.Sprintf("k%03d", i), 1, "x")})
	}
	refuse := func(writes []cloud.Write) {
		err := table.Write(t.Context(), writes...)
		require.Error(t, err)
		require.NotErrorIs(t, err, analyzer.ErrConflict)
		items, err := table.Query(t.Context(), "p", "", "")
		require.NoError(t, err)
		require.Empty(t, items)
	}
	refuse(writes)
	refuse([]cloud.Write{writes[0], writes[1], writes[0]})
	require.NoError(t, table.Write(t.Context(), writes[:cloud.MaxTransaction]...))
	items, err := table.Query(t.Context(), "p", "", "")
	require.NoError(t, err)
	require.Len(t, items, cloud.MaxTransaction)
}

func bodiesAreLimited(t *testing.T, table cloud.Table) {
	err := table.Write(t.Context(), cloud.Write{Item: item("p", "s", 1, strings.Repeat("x", 420_000))})
	require.Error(t, err)
	require.NotErrorIs(t, err, analyzer.ErrConflict)
	_, err = table.Get(t.Context(), key("p", "s"))
	require.ErrorIs(t, err, analyzer.ErrNotFound)
}

func manyAreRead(t *testing.T, table cloud.Table) {
	var items []cloud.Item
	var keys []cloud.Key
	var want []string
	for i := range 230 {
		k := key(fmt.Sprintf("p%d", i%3), fmt.Sprintf("k%03d", (i*97)%230))
		keys = append(keys, k)
		if i%5 != 0 { // the others are not there
			items = append(items, item(k.Partition, k.Sort, int64(i), k.Sort))
			want = append(want, k.Sort)
		}
	}
	write(t, table, items...)
	got, err := table.GetMany(t.Context(), keys)
	require.NoError(t, err)
	require.Equal(t, want, sortKeys(got))
	for i := range got {
		require.Equal(t, items[i].Key, got[i].Key)
		require.Equal(t, items[i].Number, got[i].Number)
		require.Equal(t, items[i].Body, got[i].Body)
	}
	got, err = table.GetMany(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, got)
}

// DynamoDB answers with at most 16 MB and names the keys that it left out.
func manyLargeAreRead(t *testing.T, table cloud.Table) {
	var keys []cloud.Key
	large := strings.Repeat("large", 74_000)
	for i := range 46 { // 17 MB
		keys = append(keys, key("p", fmt.Sprintf("k%02d", i)))
		write(t, table, item("p", keys[i].Sort, 1, keys[i].Sort+large))
	}
	got, err := table.GetMany(t.Context(), keys)
	require.NoError(t, err)
	require.Len(t, got, len(keys))
	for i := range got {
		require.Equal(t, keys[i], got[i].Key)
		require.True(t, keys[i].Sort+large == string(got[i].Body), keys[i].Sort)
	}
}

func partitionsAreOrdered(t *testing.T, table cloud.Table) {
	keys := []string{"A#1", "F#09", "F#1", "F#10", "F#2", "F#Z", "F#a", "F#ü", "F#\U0001F511", "G"}
	require.True(t, slices.IsSorted(keys))
	for _, i := range []int{3, 9, 0, 7, 1, 5, 8, 2, 6, 4} {
		write(t, table, item("p", keys[i], 1, keys[i]), item("p2", keys[i], 1, "of another partition"))
	}
	for _, test := range []struct {
		prefix, from string
		want         []string
	}{
		{"", "", keys},
		{"F#", "", keys[1:9]},
		{"F#", "F#10", keys[3:9]},
		{"F#", "F#11", keys[4:9]},
		{"F#", "A", keys[1:9]},
		{"F#", "F#ü", keys[7:9]},
		{"F#", "G", nil},
		{"", "F#Z", keys[5:]},
		{"F#1", "F#1", keys[2:4]},
		{"F#1", "F#2", nil},
		{"X", "", nil},
	} {
		items, err := table.Query(t.Context(), "p", test.prefix, test.from)
		require.NoError(t, err)
		require.Equal(t, test.want, sortKeys(items), "prefix %q from %q", test.prefix, test.from)
		for _, i := range items {
			require.Equal(t, "p", i.Partition)
			require.Equal(t, i.Sort, string(i.Body))
		}
	}
	items, err := table.Query(t.Context(), "none", "", "")
	require.NoError(t, err)
	require.Empty(t, items)
}

func partitionsHavePages(t *testing.T, table cloud.Table) {
	var items []cloud.Item
	for i := range 30 { // 3 MB, in pages of 1 MB
		items = append(items, item("p", fmt.Sprintf("k%02d", i), int64(i), strings.Repeat("x", 100_000)))
	}
	for _, i := range items {
		write(t, table, i)
	}
	got, err := table.Query(t.Context(), "p", "k", "k01")
	require.NoError(t, err)
	require.Equal(t, sortKeys(items[1:]), sortKeys(got))
}

func itemsAreNotShared(t *testing.T, table cloud.Table) {
	i := item("p", "s", 1, "as it was")
	write(t, table, i)
	i.Body[0] = 'X'
	for range 2 {
		got, err := table.Get(t.Context(), i.Key)
		require.NoError(t, err)
		many, err := table.GetMany(t.Context(), []cloud.Key{i.Key})
		require.NoError(t, err)
		queried, err := table.Query(t.Context(), "p", "", "")
		require.NoError(t, err)
		for _, body := range [][]byte{got.Body, many[0].Body, queried[0].Body} {
			require.Equal(t, "as it was", string(body))
			body[0] = 'X'
		}
	}
}

func tableCallsAreCancelled(t *testing.T, table cloud.Table) {
	i := item("p", "s", 1, "there")
	write(t, table, i)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := table.Get(ctx, i.Key)
	require.ErrorIs(t, err, context.Canceled)
	_, err = table.GetMany(ctx, []cloud.Key{i.Key})
	require.ErrorIs(t, err, context.Canceled)
	_, err = table.Query(ctx, "p", "", "")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, table.Write(ctx, cloud.Write{Item: i, Delete: true}), context.Canceled)
	_, err = table.Get(t.Context(), i.Key)
	require.NoError(t, err)
}
