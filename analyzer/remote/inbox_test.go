package remote_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/lake"
)

// published is a bucket with two batches: one of three objects and one of one.
func published(t *testing.T) *cloudtest.Bucket {
	b := newBucket(cloudtest.NewClock(now))
	l := open(t, b)
	local, batch := several(t)
	_, err := l.Publish(t.Context(), local, batch)
	require.NoError(t, err)
	publish(t, l, "s3-b", use(now, "5"))
	return b
}

var ofOther = "uses/day=2026-03-02/s3-b.parquet"

func objectsOf(paths ...string) (all []analyzer.Object) {
	for _, p := range paths {
		all = append(all, analyzer.Object{Path: p})
	}
	return all
}

// A slice may take a part of a batch. Killed at any call, the next process takes
// the same out, and the receipt accounts for the whole batch.
func TestAnalysedKilledAtAnyCallIsDoneAgain(t *testing.T) {
	first := append(objectsOf(ofSeveral[1]), objectsOf(ofOther)...)
	rest := objectsOf(ofSeveral[0], ofSeveral[2])
	check := func(t *testing.T, b *cloudtest.Bucket) {
		l := open(t, b)
		for _, o := range pending(t, l) {
			require.Contains(t, append(ofSeveral, ofOther), o.Path)
		}
		require.NoError(t, l.Analysed(t.Context(), first))
		require.Equal(t, []string{ofSeveral[0], ofSeveral[2]}, paths(pending(t, l)))
		require.Equal(t, []string{ofSeveral[1], ofOther}, paths(history(t, l, analyzer.TableUses, now, now)))
		require.Equal(t, []string{"done/0/s3-b.json"}, keys(t, b, "done/"))

		require.NoError(t, l.Analysed(t.Context(), rest))
		require.NoError(t, l.Analysed(t.Context(), rest), "twice is no error")
		require.Empty(t, pending(t, l))
		require.Empty(t, keys(t, b, "inbox/"))
		require.Len(t, history(t, l, analyzer.TableUses, now, now.AddDate(0, 0, 1)), 3)
		var receipt lake.Batch
		require.NoError(t, json.Unmarshal([]byte(text(t, b, "done/0/s3-a.json")), &receipt))
		require.ElementsMatch(t, ofSeveral, paths(receipt.Objects))
		require.Equal(t, int64(4), receipt.Events)
		require.Equal(t, analyzer.RecordCounts{Read: 6, Kept: 4, NotOfInterest: 2}, receipt.Records)
	}
	deaths(t, published,
		func(t *testing.T, b cloud.Bucket) error { return open(t, b).Analysed(t.Context(), first) }, check)

	t.Run("all at once", func(t *testing.T) {
		all := slices.Concat(first, rest)
		deaths(t, published,
			func(t *testing.T, b cloud.Bucket) error { return open(t, b).Analysed(t.Context(), all) },
			func(t *testing.T, b *cloudtest.Bucket) {
				l := open(t, b)
				require.NoError(t, l.Analysed(t.Context(), all))
				require.Empty(t, pending(t, l))
				require.Empty(t, keys(t, b, "inbox/"))
				require.Len(t, keys(t, b, "done/"), 2)
			})
	})
}

// Two analyses should not run at once; if they do, each takes out its own.
func TestTwoThatRewriteAMarkerBothCount(t *testing.T) {
	b := published(t)
	other := open(t, b)
	raced := false
	l := open(t, b.With(cloudtest.Hooks{Before: func(op string) error {
		if op == "s3.Put" && !raced {
			raced = true
			require.NoError(t, other.Analysed(t.Context(), objectsOf(ofSeveral[0])))
		}
		return nil
	}}))
	require.NoError(t, l.Analysed(t.Context(), objectsOf(ofSeveral[1])))
	require.True(t, raced)
	require.Equal(t, []string{ofSeveral[2], ofOther}, paths(pending(t, l)))
}

func TestAProcessThatDiedBeforeDeletingAMarkerLeavesItDone(t *testing.T) {
	b := published(t)
	l := open(t, b)
	marker := text(t, b, "inbox/0/s3-b.json")
	require.NoError(t, l.Analysed(t.Context(), objectsOf(ofOther)))
	put(t, b, "inbox/0/s3-b.json", marker)
	require.Equal(t, ofSeveral, paths(pending(t, l)))
	require.Equal(t, []string{"inbox/0/s3-a.json"}, keys(t, b, "inbox/"))
}

func TestAllPagesOfTheInboxAreRead(t *testing.T) {
	b := newBucket(cloudtest.NewClock(now))
	for i := range 2500 {
		put(t, b, fmt.Sprintf("inbox/0/s3-%04d.json", i), fmt.Sprintf(`{"objects":[{"table":"uses","path":"uses/day=2026-03-02/s3-%04d.parquet","rows":1}]}`, i))
	}
	calls := map[string]int{}
	l := open(t, b.With(cloudtest.Hooks{Before: func(op string) error {
		calls[op]++
		return nil
	}}))
	require.Len(t, pending(t, l), 2500)
	require.Equal(t, map[string]int{"s3.List": 3, "s3.Get": 2500, "s3.Head": 2500}, calls)
	require.Len(t, pending(t, l), 2500)
	require.Equal(t, 2500, calls["s3.Get"], "what did not change is not read again")
}

func TestAMarkerThatCannotBeReadIsNamed(t *testing.T) {
	for name, test := range map[string]struct{ text, says string }{
		"cut":              {`{"objects":[`, "move it away"},
		"out of the lake":  {`{"objects":[{"path":"../../etc/passwd"}]}`, "leads out of the lake"},
		"from the root on": {`{"objects":[{"path":"/etc/passwd"}]}`, "leads out of the lake"},
	} {
		t.Run(name, func(t *testing.T) {
			b := published(t)
			put(t, b, "inbox/0/bad.json", test.text)
			_, err := open(t, b).Pending(t.Context())
			require.ErrorContains(t, err, "inbox/0/bad.json")
			require.ErrorContains(t, err, test.says)
		})
	}
}
