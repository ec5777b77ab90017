package awssdk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// The attributes of an item.
const (
	attrPartition = "pk"      // S, the partition key
	attrSort      = "sk"      // S, the sort key
	attrNumber    = "n"       // N
	attrBody      = "body"    // B, left out when it is empty
	attrExpires   = "expires" // N, epoch seconds, for TTL; left out when it is never
)

const getBatch = 100 // keys of one BatchGetItem

// errUnprocessed is DynamoDB's answer to keys that it did not come to.
var errUnprocessed = &types.ProvisionedThroughputExceededException{Message: aws.String("the table did not process all keys")}

// Table is a table of DynamoDB.
type Table struct {
	client *dynamodb.Client
	name   string
}

var _ cloud.Table = (*Table)(nil)

// NewTable returns the table of that name.
func NewTable(client *dynamodb.Client, name string) *Table {
	client = dynamodb.New(client.Options(), func(o *dynamodb.Options) { o.Retryer = conflictRetryer{o.Retryer} })
	return &Table{client: client, name: name}
}

type attributes = map[string]types.AttributeValue

// Get implements cloud.Table.
func (t *Table) Get(ctx context.Context, key cloud.Key) (cloud.Item, error) {
	out, err := t.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &t.name, Key: keyOf(key), ConsistentRead: aws.Bool(true),
	})
	if err == nil && len(out.Item) == 0 {
		err = analyzer.ErrNotFound
	}
	if err != nil {
		return cloud.Item{}, fmt.Errorf("read %s: %w", t.address(key), err)
	}
	return t.item(out.Item)
}

// GetMany implements cloud.Table, 100 keys a request. A key that is asked for
// twice gives its item twice.
func (t *Table) GetMany(ctx context.Context, keys []cloud.Key) ([]cloud.Item, error) {
	distinct := slices.Collect(maps.Keys(keySet(keys)))
	found := make(map[cloud.Key]cloud.Item, len(distinct))
	for batch := range slices.Chunk(distinct, getBatch) {
		if err := t.getBatch(ctx, batch, found); err != nil {
			return nil, fmt.Errorf("read %d items of table %s: %w", len(keys), t.name, err)
		}
	}
	items := make([]cloud.Item, 0, len(found))
	for _, key := range keys {
		if item, ok := found[key]; ok {
			item.Body = slices.Clone(item.Body) // shared with nothing, not even its repetition
			items = append(items, item)
		}
	}
	return items, nil
}

func keySet(keys []cloud.Key) map[cloud.Key]bool {
	set := make(map[cloud.Key]bool, len(keys))
	for _, key := range keys {
		set[key] = true
	}
	return set
}

// getBatch asks until DynamoDB has come to all keys. It gives up when it came
// to none as many times as the retryer would try.
func (t *Table) getBatch(ctx context.Context, keys []cloud.Key, found map[cloud.Key]cloud.Item) error {
	asked := make([]attributes, len(keys))
	for i, key := range keys {
		asked[i] = keyOf(key)
	}
	retryer := t.client.Options().Retryer
	for vain := 0; ; {
		out, err := t.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems: map[string]types.KeysAndAttributes{t.name: {Keys: asked, ConsistentRead: aws.Bool(true)}},
		})
		if err != nil {
			return err
		}
		for _, page := range out.Responses {
			for _, a := range page {
				item, err := t.item(a)
				if err != nil {
					return err
				}
				found[item.Key] = item
			}
		}
		left := len(asked)
		asked = nil
		for _, rest := range out.UnprocessedKeys {
			asked = append(asked, rest.Keys...)
		}
		if len(asked) == 0 {
			return nil
		}
		vain++
		if len(asked) < left {
			vain = 0
		}
		if vain >= retryer.MaxAttempts() {
			return errUnprocessed
		}
		if err := pause(ctx, retryer, vain, errUnprocessed); err != nil {
			return err
		}
	}
}

// Query implements cloud.Table.
func (t *Table) Query(ctx context.Context, partition, prefix, from string) ([]cloud.Item, error) {
	in := &dynamodb.QueryInput{
		TableName: &t.name, ConsistentRead: aws.Bool(true),
		ExpressionAttributeValues: attributes{":pk": str(partition)},
	}
	condition := "pk = :pk"
	switch end, bounded := successor(prefix); {
	case from <= prefix && prefix == "":
	case from <= prefix:
		condition += " AND begins_with(sk, :prefix)"
		in.ExpressionAttributeValues[":prefix"] = str(prefix)
	case !strings.HasPrefix(from, prefix):
		return nil, ctx.Err() // from comes after all that has the prefix
	case bounded:
		condition += " AND sk BETWEEN :from AND :end"
		in.ExpressionAttributeValues[":from"], in.ExpressionAttributeValues[":end"] = str(from), str(end)
	default:
		condition += " AND sk >= :from"
		in.ExpressionAttributeValues[":from"] = str(from)
	}
	in.KeyConditionExpression = &condition

	var items []cloud.Item
	for pages := dynamodb.NewQueryPaginator(t.client, in); pages.HasMorePages(); {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("query partition %s of table %s: %w", partition, t.name, err)
		}
		for _, a := range out.Items {
			item, err := t.item(a)
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(item.Sort, prefix) { // :end itself has not
				items = append(items, item)
			}
		}
	}
	return items, nil
}

// successor returns the smallest text that comes after all that begin with the
// prefix; there is none after the empty prefix. UTF-8 sorts as its code points
// do, and DynamoDB takes no other bytes.
func successor(prefix string) (after string, ok bool) {
	for prefix != "" {
		r, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch r {
		case utf8.MaxRune: // has none after it: the one before it counts on
		case 0xD7FF: // the surrogates that follow are no text
			return prefix + "\uE000", true
		default:
			return prefix + string(r+1), true
		}
	}
	return "", false
}

func keyOf(key cloud.Key) attributes {
	return attributes{attrPartition: str(key.Partition), attrSort: str(key.Sort)}
}

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func num(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// itemOf returns the attributes of an item.
func itemOf(item cloud.Item) attributes {
	a := keyOf(item.Key)
	a[attrNumber] = num(item.Number)
	if len(item.Body) > 0 {
		a[attrBody] = &types.AttributeValueMemberB{Value: item.Body}
	}
	if !item.Expires.IsZero() {
		a[attrExpires] = num(item.Expires.Unix())
	}
	return a
}

// item reads an item back.
func (t *Table) item(a attributes) (cloud.Item, error) {
	var item cloud.Item
	var errs []error
	text := func(name string) string {
		s, ok := a[name].(*types.AttributeValueMemberS)
		if !ok {
			errs = append(errs, fmt.Errorf("no text in the attribute %s", name))
			return ""
		}
		return s.Value
	}
	number := func(name string) int64 {
		n, ok := a[name].(*types.AttributeValueMemberN)
		if !ok {
			errs = append(errs, fmt.Errorf("no number in the attribute %s", name))
			return 0
		}
		v, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil {
			errs = append(errs, fmt.Errorf("read the attribute %s: %w", name, err))
		}
		return v
	}
	item.Partition, item.Sort, item.Number = text(attrPartition), text(attrSort), number(attrNumber)
	if b, ok := a[attrBody].(*types.AttributeValueMemberB); ok {
		item.Body = b.Value
	}
	if _, ok := a[attrExpires]; ok {
		item.Expires = time.Unix(number(attrExpires), 0).UTC()
	}
	if err := errors.Join(errs...); err != nil {
		return cloud.Item{}, fmt.Errorf("item %s was not written by Keytrail: %w", t.address(item.Key), err)
	}
	return item, nil
}

func (t *Table) address(key cloud.Key) string {
	return fmt.Sprintf("%s %s of table %s", key.Partition, key.Sort, t.name)
}
