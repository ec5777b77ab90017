package athena

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"

	"github.com/keytrail/keytrail/analyzer/hunt"
)

// pageRows is how many rows one call returns at most: Athena's own limit.
const pageRows = 1000

// results reads the rows of a query that succeeded, page by page.
func (a *Athena) results(ctx context.Context, id string, row hunt.Row) error {
	var token *string
	for first := true; first || token != nil; first = false {
		var page *athena.GetQueryResultsOutput
		err := a.patiently(ctx, func() (err error) {
			page, err = a.Client.GetQueryResults(ctx, &athena.GetQueryResultsInput{
				QueryExecutionId: &id, MaxResults: aws.Int32(pageRows), NextToken: token,
			})
			return err
		})
		if err != nil {
			return fmt.Errorf("read the rows of query %s: %w", id, err)
		}
		if page.ResultSet == nil || page.ResultSet.ResultSetMetadata == nil {
			return fmt.Errorf("read the rows of query %s: %w", id, errors.New("Athena did not say which columns it has"))
		}
		rows := page.ResultSet.Rows
		if first && len(rows) > 0 {
			rows = rows[1:] // the first row of a select holds the names of the columns
		}
		if err := readRows(rows, page.ResultSet.ResultSetMetadata.ColumnInfo, row); err != nil {
			return err
		}
		token = page.NextToken
	}
	return nil
}

func readRows(rows []types.Row, info []types.ColumnInfo, row hunt.Row) error {
	columns := make([]string, len(info))
	for i, c := range info {
		columns[i] = aws.ToString(c.Name)
	}
	for _, r := range rows {
		values := make([]any, len(info))
		for i := range min(len(info), len(r.Data)) {
			if text := r.Data[i].VarCharValue; text != nil {
				values[i] = value(*text, aws.ToString(info[i].Type))
			}
		}
		if err := row(columns, values); err != nil {
			return err
		}
	}
	return nil
}

// value reads a value as Athena writes it. What does not read as its type says
// stays text.
func value(text, typ string) any {
	switch typ {
	case "boolean":
		if v, err := strconv.ParseBool(text); err == nil {
			return v
		}
	case "tinyint", "smallint", "integer", "bigint":
		if v, err := strconv.ParseInt(text, 10, 64); err == nil {
			return v
		}
	case "real", "float", "double", "decimal":
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			return v
		}
	case "timestamp":
		if v, err := time.Parse("2006-01-02 15:04:05", text); err == nil { // takes fractions, too
			return v
		}
	case "date":
		if v, err := time.Parse(time.DateOnly, text); err == nil {
			return v
		}
	}
	return text
}
