package awssdk_test

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/cloud/awssdk"
)

// object is a JSON object.
type object = map[string]any

func newTable(t *testing.T, replies ...reply) (*awssdk.Table, *service) {
	t.Helper()
	s := serve(t, replies...)
	return awssdk.NewTable(clients(t, quick).DynamoDB(), "state"), s
}

func key(sort string) cloud.Key { return cloud.Key{Partition: "alert", Sort: sort} }

func item(sort string, n int64, body string) cloud.Item {
	return cloud.Item{Key: key(sort), Number: n, Body: []byte(body)}
}

// stored is how DynamoDB has an item.
func stored(sort string, n int64, body string) object {
	return object{
		"pk": object{"S": "alert"}, "sk": object{"S": sort}, "n": object{"N": strconv.FormatInt(n, 10)},
		"body": object{"B": base64.StdEncoding.EncodeToString([]byte(body))},
	}
}

func storedKey(sort string) object {
	return object{"pk": object{"S": "alert"}, "sk": object{"S": sort}}
}

// canceled is how DynamoDB refuses a transaction.
func canceled(reasons ...string) reply {
	list := make([]object, len(reasons))
	for i, r := range reasons {
		list[i] = object{"Code": r}
	}
	return reply{status: 400, body: object{
		"__type":              "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
		"Message":             "Transaction cancelled, please refer cancellation reasons for specific reasons " + fmt.Sprint(reasons),
		"CancellationReasons": list,
	}}
}

var ok = reply{body: object{}}

func TestAConditionIsDynamoDBs(t *testing.T) {
	than := object{":than": object{"N": "7"}}
	for _, c := range []struct {
		test   cloud.Test
		wanted any
		values any
	}{
		{cloud.Always, nil, nil},
		{cloud.IfAbsent, "attribute_not_exists(pk)", nil},
		{cloud.IfNumber, "n = :than", than},
		{cloud.IfAtMost, "attribute_not_exists(pk) OR n <= :than", than},
		{cloud.IfGreater, "attribute_not_exists(pk) OR n > :than", than},
	} {
		table, s := newTable(t, ok, ok, ok)
		put := cloud.Write{Item: item("a", 8, "x"), Test: c.test, Than: 7}
		gone := cloud.Write{Item: cloud.Item{Key: key("b")}, Delete: true, Test: c.test, Than: 7}
		require.NoError(t, table.Write(t.Context(), put))
		require.NoError(t, table.Write(t.Context(), gone))
		require.NoError(t, table.Write(t.Context(), put, gone))

		require.Equal(t, []string{"PutItem", "DeleteItem", "TransactWriteItems"}, s.ops())
		wantPut := object{"TableName": "state", "Item": stored("a", 8, "x")}
		wantGone := object{"TableName": "state", "Key": storedKey("b")}
		for _, w := range []object{wantPut, wantGone} {
			if c.wanted != nil {
				w["ConditionExpression"] = c.wanted
			}
			if c.values != nil {
				w["ExpressionAttributeValues"] = c.values
			}
		}
		calls := s.calls()
		require.Equal(t, wantPut, calls[0].body)
		require.Equal(t, wantGone, calls[1].body)
		require.Equal(t, []any{object{"Put": wantPut}, object{"Delete": wantGone}}, calls[2].body["TransactItems"])
	}
}

func TestAnItemHasOnlyTheAttributesItNeeds(t *testing.T) {
	expires := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	full := stored("a", -3, "x")
	full["expires"] = object{"N": strconv.FormatInt(expires.Unix(), 10)}
	bare := object{"pk": object{"S": "alert"}, "sk": object{"S": "a"}, "n": object{"N": "0"}}
	for _, c := range []struct {
		item   cloud.Item
		wanted object
	}{
		{cloud.Item{Key: key("a"), Number: -3, Body: []byte("x"), Expires: expires}, full},
		{cloud.Item{Key: key("a")}, bare},
	} {
		table, s := newTable(t, ok, reply{body: object{"Item": c.wanted}})
		require.NoError(t, table.Write(t.Context(), cloud.Write{Item: c.item}))
		require.Equal(t, c.wanted, s.calls()[0].body["Item"])

		got, err := table.Get(t.Context(), key("a"))
		require.NoError(t, err)
		require.Equal(t, c.item, got)
		require.Equal(t, object{"TableName": "state", "Key": storedKey("a"), "ConsistentRead": true}, s.calls()[1].body)
	}
}

func TestATransactionHasOneTokenForAllItsTries(t *testing.T) {
	table, s := newTable(t, reply{drop: true}, reply{status: 500}, ok, ok)
	writes := []cloud.Write{{Item: item("a", 1, "")}, {Item: item("b", 1, "")}}
	require.NoError(t, table.Write(t.Context(), writes...))
	require.NoError(t, table.Write(t.Context(), writes...))
	var tokens []string
	for _, c := range s.calls() {
		token, _ := c.body["ClientRequestToken"].(string)
		require.NotEmpty(t, token)
		require.LessOrEqual(t, len(token), 36)
		tokens = append(tokens, token)
	}
	require.Equal(t, tokens[0], tokens[1])
	require.Equal(t, tokens[0], tokens[2])
	require.NotEqual(t, tokens[0], tokens[3])
}

func TestAConditionThatDoesNotHoldIsAConflict(t *testing.T) {
	two := []cloud.Write{{Item: item("a", 1, ""), Test: cloud.IfAbsent}, {Item: item("b", 1, ""), Test: cloud.IfAbsent}}
	one := two[:1]
	for name, c := range map[string]struct {
		writes  []cloud.Write
		replies []reply
		says    string
	}{
		"a put":                          {one, []reply{refusal("ConditionalCheckFailedException")}, "alert a of table state"},
		"a transaction":                  {two, []reply{canceled("None", "ConditionalCheckFailed")}, "alert b"},
		"beside another transaction":     {two, []reply{canceled("ConditionalCheckFailed", "TransactionConflict")}, "alert a"},
		"after a throttled try":          {one, []reply{refusal("ThrottlingException"), refusal("ConditionalCheckFailedException")}, "alert a"},
		"with our own try, not heard of": {one, []reply{{drop: true}, refusal("ConditionalCheckFailedException")}, "alert a"},
	} {
		t.Run(name, func(t *testing.T) {
			table, s := newTable(t, c.replies...)
			err := table.Write(t.Context(), c.writes...)
			require.ErrorIs(t, err, analyzer.ErrConflict)
			require.ErrorContains(t, err, c.says)
			require.Len(t, s.calls(), len(c.replies))
		})
	}
}

func TestWhatStandsInTheWayForAMomentIsTriedAgain(t *testing.T) {
	two := []cloud.Write{{Item: item("a", 1, ""), Test: cloud.IfAbsent}, {Item: item("b", 1, "")}}
	one := two[:1]
	for name, c := range map[string]struct {
		writes []cloud.Write
		reply  reply
	}{
		"another transaction, for a put":         {one, refusal("TransactionConflictException")},
		"another transaction, for a transaction": {two, canceled("None", "TransactionConflict")},
		"throughput":                             {one, refusal("ProvisionedThroughputExceededException")},
		"throughput, for a transaction":          {two, canceled("ProvisionedThroughputExceeded", "None")},
		"throttling, for a transaction":          {two, canceled("ThrottlingError", "ThrottlingError")},
		"the same transaction under way":         {two, refusal("TransactionInProgressException")},
		"a fault of the service":                 {one, reply{status: 503}},
		"a connection that broke":                {one, reply{drop: true}},
	} {
		t.Run(name, func(t *testing.T) {
			table, s := newTable(t, c.reply, c.reply, ok)
			require.NoError(t, table.Write(t.Context(), c.writes...))
			require.Len(t, s.calls(), 3)

			table, s = newTable(t, c.reply, c.reply, c.reply)
			err := table.Write(t.Context(), c.writes...)
			require.Error(t, err)
			require.NotErrorIs(t, err, analyzer.ErrConflict)
			require.Len(t, s.calls(), 3, "all attempts, and no more")
		})
	}
}

func TestWhatIsWrongWithAWriteIsNotTriedAgain(t *testing.T) {
	two := []cloud.Write{{Item: item("a", 1, "")}, {Item: item("b", 1, "")}}
	for _, r := range []reply{
		canceled("ValidationError", "None"), canceled("ValidationError", "TransactionConflict"), canceled("ItemCollectionSizeLimitExceeded", "None"),
		refusal("ValidationException"), refusal("AccessDeniedException"), refusal("ResourceNotFoundException"),
	} {
		table, s := newTable(t, r)
		err := table.Write(t.Context(), two...)
		var answer smithy.APIError
		require.ErrorAs(t, err, &answer)
		require.NotErrorIs(t, err, analyzer.ErrConflict)
		require.Len(t, s.calls(), 1)
	}
}

func TestAWriteThatCannotBeIsNotSent(t *testing.T) {
	many := make([]cloud.Write, cloud.MaxTransaction+1)
	for i := range many {
		many[i].Item = item(strconv.Itoa(i), 1, "")
	}
	a := cloud.Write{Item: item("a", 1, "")}
	for says, writes := range map[string][]cloud.Write{
		"more than the 100 of a transaction": many,
		"alert a is among them twice":        {a, a},
		"has 380001 bytes, more than 380000": {{Item: item("a", 1, strings.Repeat("x", cloud.MaxBody+1))}},
		"the unknown test 9":                 {{Item: item("a", 1, ""), Test: 9}},
	} {
		table, s := newTable(t)
		require.ErrorContains(t, table.Write(t.Context(), writes...), says)
		require.Empty(t, s.calls())
	}
	table, s := newTable(t)
	require.NoError(t, table.Write(t.Context()))
	require.Empty(t, s.calls())
}

func TestAnItemThatIsNotThere(t *testing.T) {
	table, _ := newTable(t, ok, refusal("ResourceNotFoundException"))
	_, err := table.Get(t.Context(), key("a"))
	require.ErrorIs(t, err, analyzer.ErrNotFound)

	_, err = table.Get(t.Context(), key("a"))
	require.Error(t, err)
	require.NotErrorIs(t, err, analyzer.ErrNotFound, "there is no such table")
}

func TestAnItemOfSomebodyElseIsAnError(t *testing.T) {
	foreign := stored("a", 1, "x")
	delete(foreign, "n")
	table, _ := newTable(t, reply{body: object{"Item": foreign}})
	_, err := table.Get(t.Context(), key("a"))
	require.ErrorContains(t, err, "no number in the attribute n")
}

// got answers a BatchGetItem with items and the keys it did not come to.
func got(items []object, unprocessed ...string) reply {
	body := object{"Responses": object{"state": items}}
	if len(unprocessed) > 0 {
		keys := make([]object, len(unprocessed))
		for i, k := range unprocessed {
			keys[i] = storedKey(k)
		}
		body["UnprocessedKeys"] = object{"state": object{"Keys": keys, "ConsistentRead": true}}
	}
	return reply{body: body}
}

// askedFor returns the sort keys of a BatchGetItem.
func askedFor(t *testing.T, r request) map[string]bool {
	t.Helper()
	require.Equal(t, "BatchGetItem", r.op)
	asked := r.body["RequestItems"].(object)["state"].(object)
	require.Equal(t, true, asked["ConsistentRead"])
	keys := map[string]bool{}
	for _, k := range asked["Keys"].([]any) {
		sort := k.(object)["sk"].(object)["S"].(string)
		require.False(t, keys[sort], "DynamoDB takes no key twice")
		keys[sort] = true
	}
	return keys
}

func TestManyItemsComeInTheOrderOfTheirKeys(t *testing.T) {
	table, s := newTable(t, got([]object{stored("c", 3, "C"), stored("a", 1, "A")}))
	items, err := table.GetMany(t.Context(), []cloud.Key{key("a"), key("b"), key("c"), key("a")})
	require.NoError(t, err)
	require.Equal(t, []cloud.Item{item("a", 1, "A"), item("c", 3, "C"), item("a", 1, "A")}, items)
	require.Equal(t, map[string]bool{"a": true, "b": true, "c": true}, askedFor(t, s.calls()[0]))
	items[0].Body[0] = 'x'
	require.Equal(t, "A", string(items[2].Body), "nothing is shared")
}

func TestManyItemsAreReadAHundredAtATime(t *testing.T) {
	table, s := newTable(t, got(nil), got(nil), got(nil))
	keys := make([]cloud.Key, 250)
	for i := range keys {
		keys[i] = key(strconv.Itoa(i))
	}
	items, err := table.GetMany(t.Context(), keys)
	require.NoError(t, err)
	require.Empty(t, items)
	all := map[string]bool{}
	var sizes []int
	for _, c := range s.calls() {
		asked := askedFor(t, c)
		sizes = append(sizes, len(asked))
		for k := range asked {
			all[k] = true
		}
	}
	require.Equal(t, []int{100, 100, 50}, sizes)
	require.Len(t, all, 250)

	items, err = table.GetMany(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, items)
}

func TestKeysThatWereNotProcessedAreAskedForAgain(t *testing.T) {
	keys := []cloud.Key{key("a"), key("b"), key("c"), key("d"), key("e")}
	table, s := newTable(
		t,
		got([]object{stored("a", 1, "A")}, "b", "c", "d", "e"),
		got(nil, "b", "c", "d", "e"), // a try in vain
		got(nil, "b", "c", "d", "e"), // and another: one more would be too many
		got([]object{stored("c", 3, "C"), stored("e", 5, "E")}, "b", "d"),
		got(nil, "b", "d"),
		got(nil, "b", "d"),
		got([]object{stored("b", 2, "B")}), // and d is not there
	)
	items, err := table.GetMany(t.Context(), keys)
	require.NoError(t, err)
	require.Equal(t, []cloud.Item{item("a", 1, "A"), item("b", 2, "B"), item("c", 3, "C"), item("e", 5, "E")}, items)
	require.Equal(t, map[string]bool{"b": true, "d": true}, askedFor(t, s.calls()[4]))

	table, s = newTable(t, got(nil, "a"), got(nil, "a"), got(nil, "a"))
	_, err = table.GetMany(t.Context(), []cloud.Key{key("a")})
	require.ErrorContains(t, err, "did not process all keys")
	require.Len(t, s.calls(), 3)
}

func TestAQueryAsksForNoMoreThanItNeeds(t *testing.T) {
	for _, c := range []struct {
		prefix, from string
		wanted       string
		values       object
	}{
		{"", "", "pk = :pk", object{}},
		{"f#", "", "pk = :pk AND begins_with(sk, :prefix)", object{":prefix": object{"S": "f#"}}},
		{"f#", "a", "pk = :pk AND begins_with(sk, :prefix)", object{":prefix": object{"S": "f#"}}},
		{"f#", "f#", "pk = :pk AND begins_with(sk, :prefix)", object{":prefix": object{"S": "f#"}}},
		{"f#", "f#7", "pk = :pk AND sk BETWEEN :from AND :end", object{":from": object{"S": "f#7"}, ":end": object{"S": "f$"}}},
		{"", "f#7", "pk = :pk AND sk >= :from", object{":from": object{"S": "f#7"}}},
		{"\U0010FFFF", "\U0010FFFFa", "pk = :pk AND sk >= :from", object{":from": object{"S": "\U0010FFFFa"}}},
	} {
		table, s := newTable(t, ok)
		_, err := table.Query(t.Context(), "alert", c.prefix, c.from)
		require.NoError(t, err)
		c.values[":pk"] = object{"S": "alert"}
		require.Equal(t, object{
			"TableName": "state", "ConsistentRead": true, "KeyConditionExpression": c.wanted, "ExpressionAttributeValues": c.values,
		}, s.calls()[0].body, "%q from %q", c.prefix, c.from)
	}

	table, s := newTable(t)
	items, err := table.Query(t.Context(), "alert", "f#", "g")
	require.NoError(t, err)
	require.Empty(t, items)
	require.Empty(t, s.calls(), "nothing that begins with f# comes after g")
}

func TestAQueryReadsAllPages(t *testing.T) {
	table, s := newTable(
		t,
		reply{body: object{"Items": []object{stored("f#1", 1, "A")}, "LastEvaluatedKey": storedKey("f#1")}},
		reply{body: object{"Items": []object{}, "LastEvaluatedKey": storedKey("f#2")}},
		reply{body: object{"Items": []object{stored("f#3", 3, "C"), stored("f$", 9, "the end itself")}}},
	)
	items, err := table.Query(t.Context(), "alert", "f#", "f#0")
	require.NoError(t, err)
	require.Equal(t, []cloud.Item{item("f#1", 1, "A"), item("f#3", 3, "C")}, items)
	require.Equal(t, storedKey("f#1"), s.calls()[1].body["ExclusiveStartKey"])
	require.Equal(t, storedKey("f#2"), s.calls()[2].body["ExclusiveStartKey"])
}

func TestTheSuccessorComesRightAfterAllWithThePrefix(t *testing.T) {
	letters := rapid.StringOf(rapid.SampledFrom([]rune{'a', 'b', 0x7F, 0x80, 0xD7FF, 0xE000, 0x10FFFE, 0x10FFFF}))
	rapid.Check(t, func(t *rapid.T) {
		prefix, s := letters.Draw(t, "prefix"), letters.Draw(t, "s")
		end, bounded := awssdk.Successor(prefix)
		within := s >= prefix && (!bounded || s < end)
		if within != strings.HasPrefix(s, prefix) {
			t.Fatalf("%+q with the prefix %+q: within [%+q, %+q) is %v", s, prefix, prefix, end, within)
		}
	})
}
