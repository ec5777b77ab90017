package simulate_test

import (
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"github.com/keytrail/keytrail/analyzer/simulate"
)

func someBatches(t testing.TB) []simulate.Batch {
	t.Helper()
	m, _ := write(t, simulate.Options{Seed: 21, Records: 3_000, Duration: 2 * time.Hour})
	list, err := simulate.Batches(m)
	require.NoError(t, err)
	return list
}

// ids lists the event ids of the batches, sorted, repeats and all.
func ids(list []simulate.Batch) []string {
	var out []string
	for _, b := range list {
		for _, r := range b.Records {
			out = append(out, gjson.GetBytes(r, "eventID").String())
		}
	}
	sort.Strings(out)
	return out
}

func delivered(t testing.TB, name string) time.Time {
	t.Helper()
	parts := strings.Split(name[strings.LastIndexByte(name, '/')+1:], "_")
	at, err := time.Parse("20060102T1504Z", parts[3])
	require.NoError(t, err)
	return at
}

func TestBatchesComeInOrderOfDeliveryAndGoBackToFiles(t *testing.T) {
	list := someBatches(t)
	require.True(t, slices.IsSortedFunc(list, func(a, b simulate.Batch) int {
		return delivered(t, a.Name).Compare(delivered(t, b.Name))
	}))
	var m simulate.Memory
	require.NoError(t, simulate.WriteBatches(list, &m))
	again, err := simulate.Batches(&m)
	require.NoError(t, err)
	require.Equal(t, list, again)
}

func TestChaosLosesNothingAndLeavesItsInputAlone(t *testing.T) {
	list := someBatches(t)
	before := slices.Clone(list)
	all := ids(list)
	unique := func(list []simulate.Batch) []string { return slices.Compact(ids(list)) }
	r := rand.New(rand.NewPCG(1, 2))

	t.Run("a redelivered file comes again under its own name", func(t *testing.T) {
		got := simulate.Redeliver(r, list, 0.3)
		require.Greater(t, len(got), len(list))
		require.Equal(t, all, unique(got))
		var m simulate.Memory
		require.NoError(t, simulate.WriteBatches(got, &m))
		require.Len(t, m.Names(), len(list))
	})
	t.Run("a second trail repeats events in files of other names", func(t *testing.T) {
		got := simulate.SecondTrail(r, list, 0.5)
		require.Equal(t, all, unique(got))
		require.InDelta(t, 1.5*float64(len(all)), len(ids(got)), 0.1*float64(len(all)))
		names := map[string]bool{}
		for _, b := range got {
			require.False(t, names[b.Name], b.Name)
			names[b.Name] = true
		}
	})
	t.Run("a shuffle keeps every record", func(t *testing.T) {
		got := simulate.Shuffle(r, list)
		require.Equal(t, all, ids(got))
		require.NotEqual(t, list, got)
	})
	t.Run("a delay is no longer than allowed", func(t *testing.T) {
		const most = 40 * time.Minute
		got, err := simulate.Delay(r, list, 0.4, most)
		require.NoError(t, err)
		require.Equal(t, all, ids(got))
		var late int
		names := map[string]bool{}
		for _, b := range got {
			require.False(t, names[b.Name], b.Name)
			names[b.Name] = true
			for _, rec := range b.Records {
				took := delivered(t, b.Name).Sub(gjson.GetBytes(rec, "eventTime").Time())
				require.LessOrEqual(t, took, most)
				if took > 10*time.Minute {
					late++
				}
			}
		}
		require.Greater(t, late, len(all)/5)
	})
	t.Run("slices are the whole, cut", func(t *testing.T) {
		cuts := simulate.Slices(r, list, 9)
		require.Len(t, cuts, 9)
		require.Equal(t, list, slices.Concat(cuts...))
	})
	require.Equal(t, before, list)
	require.Equal(t, all, ids(list))
}
