package awssdk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// conditions are the tests of a write in DynamoDB's words. A comparison with an
// attribute that is not there does not hold.
var conditions = map[cloud.Test]string{
	cloud.Always:    "",
	cloud.IfAbsent:  "attribute_not_exists(pk)",
	cloud.IfNumber:  "n = :than",
	cloud.IfAtMost:  "attribute_not_exists(pk) OR n <= :than",
	cloud.IfGreater: "attribute_not_exists(pk) OR n > :than",
}

// condition returns the expression of a write and its values, nil if it has none.
func condition(w cloud.Write) (*string, attributes) {
	expression := conditions[w.Test]
	if !strings.Contains(expression, ":than") {
		return optional(expression), nil
	}
	return &expression, attributes{":than": num(w.Than)}
}

// Write implements cloud.Table. What another transaction or the table's
// throughput keeps from being written is tried again, and then a plain error. A
// transaction that took effect and whose answer was lost is recognised when it
// is tried again; a single write is not, and its condition then conflicts with
// its own first try: see the package comment.
func (t *Table) Write(ctx context.Context, writes ...cloud.Write) error {
	if err := checkWrites(writes); err != nil {
		return fmt.Errorf("write %d items to table %s: %w", len(writes), t.name, err)
	}
	switch {
	case len(writes) == 0:
		return ctx.Err()
	case len(writes) > 1:
		return t.transact(ctx, writes)
	}
	w := writes[0]
	err := t.writeOne(ctx, w)
	if refused := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &refused) {
		err = fmt.Errorf("%w: %w", analyzer.ErrConflict, err)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", t.address(w.Key), err)
	}
	return nil
}

// checkWrites refuses what DynamoDB would refuse with a message that does not
// name the item.
func checkWrites(writes []cloud.Write) error {
	if len(writes) > cloud.MaxTransaction {
		return fmt.Errorf("more than the %d of a transaction", cloud.MaxTransaction)
	}
	seen := make(map[cloud.Key]bool, len(writes))
	for _, w := range writes {
		if seen[w.Key] {
			return fmt.Errorf("%s %s is among them twice", w.Partition, w.Sort)
		}
		seen[w.Key] = true
		if len(w.Body) > cloud.MaxBody {
			return fmt.Errorf("the body of %s %s has %d bytes, more than %d", w.Partition, w.Sort, len(w.Body), cloud.MaxBody)
		}
		if _, ok := conditions[w.Test]; !ok {
			return fmt.Errorf("the write of %s %s has the unknown test %d", w.Partition, w.Sort, w.Test)
		}
	}
	return nil
}

func (t *Table) writeOne(ctx context.Context, w cloud.Write) error {
	expression, values := condition(w)
	if w.Delete {
		_, err := t.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: &t.name, Key: keyOf(w.Key), ConditionExpression: expression, ExpressionAttributeValues: values,
		})
		return err
	}
	_, err := t.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &t.name, Item: itemOf(w.Item), ConditionExpression: expression, ExpressionAttributeValues: values,
	})
	return err
}

func (t *Table) transact(ctx context.Context, writes []cloud.Write) error {
	items := make([]types.TransactWriteItem, len(writes))
	for i, w := range writes {
		expression, values := condition(w)
		if w.Delete {
			items[i].Delete = &types.Delete{
				TableName: &t.name, Key: keyOf(w.Key), ConditionExpression: expression, ExpressionAttributeValues: values,
			}
			continue
		}
		items[i].Put = &types.Put{
			TableName: &t.name, Item: itemOf(w.Item), ConditionExpression: expression, ExpressionAttributeValues: values,
		}
	}
	_, err := t.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
		TransactItems: items, ClientRequestToken: aws.String(rand.Text()), // one for all tries of the SDK
	})
	if err == nil {
		return nil
	}
	if at := unmet(err, writes); len(at) > 0 {
		return fmt.Errorf("write %d items to table %s: %w: %s: %w", len(writes), t.name, analyzer.ErrConflict, strings.Join(at, ", "), err)
	}
	return fmt.Errorf("write %d items to table %s: %w", len(writes), t.name, err)
}

// unmet returns the items whose conditions did not hold.
func unmet(err error, writes []cloud.Write) (items []string) {
	var canceled *types.TransactionCanceledException
	if !errors.As(err, &canceled) {
		return nil
	}
	for i, reason := range canceled.CancellationReasons {
		if aws.ToString(reason.Code) == "ConditionalCheckFailed" && i < len(writes) {
			items = append(items, writes[i].Partition+" "+writes[i].Sort)
		}
	}
	return items
}

// conflictRetryer also tries again what only the moment stood against: another
// transaction under way, or the throughput of the table. DynamoDB has these
// among the reasons of a cancelled transaction, where the SDK does not look.
type conflictRetryer struct{ aws.Retryer }

// IsErrorRetryable implements aws.Retryer.
func (r conflictRetryer) IsErrorRetryable(err error) bool {
	if conflict := (*types.TransactionConflictException)(nil); errors.As(err, &conflict) {
		return true
	}
	var canceled *types.TransactionCanceledException
	if !errors.As(err, &canceled) {
		return r.Retryer.IsErrorRetryable(err)
	}
	retry := false
	for _, reason := range canceled.CancellationReasons {
		switch aws.ToString(reason.Code) {
		case "", "None":
		case "TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError":
			retry = true
		default: // a condition that does not hold, or an item that is not valid
			return false
		}
	}
	return retry
}
