package athena

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/athena"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/hunt"
)

// PricePerTB is what Athena takes for a terabyte that a query reads, in USD, in
// most Regions (https://aws.amazon.com/athena/pricing/, "SQL queries, per query").
const PricePerTB = 5.00

// Athena rounds up to megabytes and counts ten at least.
const (
	megabyte = 1 << 20
	leastMB  = 10
	// perTB makes a terabyte 10^12 bytes: the cost is then said too high by up to
	// a tenth, never too low.
	perTB = 1e12
)

// Cost is what a query that read so many bytes costs at a price for a terabyte.
func Cost(scanned int64, pricePerTB float64) float64 {
	mb := max((scanned+megabyte-1)/megabyte, leastMB)
	return float64(mb*megabyte) / perTB * pricePerTB
}

// Lister lists a bucket, as cloud.Reader does.
type Lister interface {
	List(ctx context.Context, prefix, after string) (objects []cloud.ObjectInfo, more bool, err error)
}

// ErrUnknown is wrapped by the error of Estimate when the size of the
// partitions cannot be found out.
var ErrUnknown = errors.New("the size of the partitions is not known")

// mostPages bounds how long an estimate takes: 200 pages hold 200,000 objects.
const mostPages = 200

// Estimate returns how many bytes the objects of these days have. A query reads
// only some of their columns, and a column again for each view that needs it.
func (a *Athena) Estimate(ctx context.Context, reads map[analyzer.Table]hunt.Days, bucket func(name string) Lister) (int64, error) {
	var total int64
	pages := 0
	for table, days := range reads {
		name, prefix, err := a.location(ctx, table)
		if err != nil {
			return 0, err
		}
		last := prefix + "day=" + days.To.Format(time.DateOnly) + "/\xff"
		after := ""
		if !days.From.IsZero() {
			after = prefix + "day=" + days.From.Format(time.DateOnly)
		}
		for more := true; more; {
			if pages++; pages > mostPages {
				return 0, fmt.Errorf("%w: there are more than %d objects", ErrUnknown, mostPages*1000)
			}
			var objects []cloud.ObjectInfo
			if objects, more, err = bucket(name).List(ctx, prefix+"day=", after); err != nil {
				return 0, fmt.Errorf("%w: %w", ErrUnknown, err)
			}
			more = more && len(objects) > 0
			for _, o := range objects {
				if o.Key > last {
					more = false
					break
				}
				total += o.Size
				after = o.Key
			}
		}
	}
	return total, nil
}

// location finds out in which bucket a table is, and below which prefix.
func (a *Athena) location(ctx context.Context, table analyzer.Table) (bucket, prefix string, err error) {
	name, catalog := string(table), Catalog
	var out *athena.GetTableMetadataOutput
	err = a.patiently(ctx, func() (err error) {
		out, err = a.Client.GetTableMetadata(ctx, &athena.GetTableMetadataInput{CatalogName: &catalog, DatabaseName: &a.Database, TableName: &name, WorkGroup: &a.Workgroup})
		return err
	})
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if out.TableMetadata == nil {
		return "", "", fmt.Errorf("%w: Athena says nothing of the table %s", ErrUnknown, table)
	}
	address, ok := strings.CutPrefix(out.TableMetadata.Parameters["location"], "s3://")
	if !ok {
		return "", "", fmt.Errorf("%w: Athena does not say where the table %s is", ErrUnknown, table)
	}
	bucket, prefix, _ = strings.Cut(address, "/")
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return bucket, prefix, nil
}
