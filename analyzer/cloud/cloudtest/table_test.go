package cloudtest_test

import (
	"errors"
	"fmt"
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

func errorIsConflict(err error) bool { return errors.Is(err, analyzer.ErrConflict) }

func itemOf(sort string, body int) cloud.Item {
	return cloud.Item{Key: cloud.Key{Partition: "p", Sort: sort}, Number: 1, Body: []byte(strings.Repeat("x", body))}
}

func TestOfManyConditionalWritesOneWins(t *testing.T) {
	table := cloudtest.NewTable(cloudtest.TableOptions{})
	var wins atomic.Int32
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			w := cloud.Write{Item: itemOf("s", 0), Test: cloud.IfAbsent}
			mark := cloud.Write{Item: itemOf(fmt.Sprint(n), 0)}
			err := table.Write(t.Context(), mark, w)
			if err == nil {
				wins.Add(1)
			} else if !errorIsConflict(err) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, wins.Load())
	require.Len(t, table.Items(), 2, "what the others would have written beside it is not there")
}

func TestWhatDynamoDBRefusesIsRefused(t *testing.T) {
	table := cloudtest.NewTable(cloudtest.TableOptions{})
	var large []cloud.Write
	for i := range 12 {
		large = append(large, cloud.Write{Item: itemOf(fmt.Sprint(i), cloud.MaxBody)})
	}
	refused := map[string][]cloud.Write{
		"4 MB in a transaction": large,
		"a body over the limit": {{Item: itemOf("s", cloud.MaxBody+1)}},
		"no sort key":           {{Item: itemOf("", 1)}},
		"a long sort key":       {{Item: itemOf(strings.Repeat("s", 1025), 1)}},
		"a key that is no text": {{Item: itemOf("\xff", 1)}},
		"no partition key":      {{Item: cloud.Item{Key: cloud.Key{Sort: "s"}}}},
		"a long partition key":  {{Item: cloud.Item{Key: cloud.Key{Partition: strings.Repeat("p", 2049), Sort: "s"}}}},
	}
	for name, writes := range refused {
		err := table.Write(t.Context(), writes...)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, analyzer.ErrConflict, name)
	}
	require.Empty(t, table.Items())
	require.NoError(t, table.Write(t.Context(), large[:11]...))
	_, err := table.Get(t.Context(), cloud.Key{Partition: "p"})
	require.ErrorContains(t, err, "sort key")
}

func TestItemsAreRemovedOnlyWhenTheyAreToBe(t *testing.T) {
	clock := cloudtest.NewClock(day)
	table := cloudtest.NewTable(cloudtest.TableOptions{Now: clock.Now})
	soon, never := itemOf("soon", 1), itemOf("never", 1)
	soon.Expires = day.Add(time.Hour + 700*time.Millisecond)
	require.NoError(t, table.Write(t.Context(), cloud.Write{Item: soon}, cloud.Write{Item: never}))
	require.Zero(t, table.Expire())
	clock.Advance(48 * time.Hour)
	got, err := table.Get(t.Context(), soon.Key)
	require.NoError(t, err, "removal is late")
	require.Equal(t, day.Add(time.Hour), got.Expires, "in whole seconds")
	require.Equal(t, 1, table.Expire())
	_, err = table.Get(t.Context(), soon.Key)
	require.ErrorIs(t, err, analyzer.ErrNotFound)
	require.Len(t, table.Items(), 1)
}

func TestWhatTakesSeveralRequestsIsSeveralCalls(t *testing.T) {
	table := cloudtest.NewTable(cloudtest.TableOptions{})
	var keys []cloud.Key
	for i := range 10 { // 3.8 MB
		item := itemOf(fmt.Sprintf("k%02d", i), cloud.MaxBody)
		require.NoError(t, table.Write(t.Context(), cloud.Write{Item: item}))
	}
	for i := range 201 {
		keys = append(keys, cloud.Key{Partition: "p", Sort: fmt.Sprintf("k%03d", i)})
	}
	calls := map[string]int{}
	counted := table.With(cloudtest.Hooks{Before: func(op string) error { calls[op]++; return nil }})
	items, err := counted.Query(t.Context(), "p", "", "")
	require.NoError(t, err)
	require.Len(t, items, 10)
	_, err = counted.GetMany(t.Context(), keys)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"dynamodb.Query": 4, "dynamodb.GetMany": 3}, calls)
	_, err = table.With(once("dynamodb.Query", 2, cloudtest.Fault{})).Query(t.Context(), "p", "", "")
	require.ErrorIs(t, err, cloudtest.ErrUnavailable)
	_, err = table.With(once("dynamodb.GetMany", 3, cloudtest.Fault{After: true})).GetMany(t.Context(), keys)
	require.ErrorIs(t, err, cloudtest.ErrUnavailable)
}
