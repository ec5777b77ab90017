// Package athena runs hunts on Amazon Athena, and keeps in view what they read,
// for that is what they cost.
//
// Three things bound a query. The workgroup's limit is Athena's own and holds
// whatever happens here; a workgroup without one is refused. Before a query,
// Estimate says how large the partitions are that it reads. While it runs, it is
// stopped when it has read more than MaxScan, or when its context ends.
package athena

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"

	"github.com/keytrail/keytrail/analyzer/hunt"
)

// Client is what a hunt calls of Athena; *athena.Client has it.
type Client interface {
	GetWorkGroup(context.Context, *athena.GetWorkGroupInput, ...func(*athena.Options)) (*athena.GetWorkGroupOutput, error)
	GetTableMetadata(context.Context, *athena.GetTableMetadataInput, ...func(*athena.Options)) (*athena.GetTableMetadataOutput, error)
	StartQueryExecution(context.Context, *athena.StartQueryExecutionInput, ...func(*athena.Options)) (*athena.StartQueryExecutionOutput, error)
	GetQueryExecution(context.Context, *athena.GetQueryExecutionInput, ...func(*athena.Options)) (*athena.GetQueryExecutionOutput, error)
	StopQueryExecution(context.Context, *athena.StopQueryExecutionInput, ...func(*athena.Options)) (*athena.StopQueryExecutionOutput, error)
	GetQueryResults(context.Context, *athena.GetQueryResultsInput, ...func(*athena.Options)) (*athena.GetQueryResultsOutput, error)
}

// Catalog is Athena's name for the Glue Data Catalog of the account.
const Catalog = "AwsDataCatalog"

// longestStatement is Athena's quota for the text of a query, in bytes.
const longestStatement = 262_144

// Athena hunts in one database. All fields but Wait must be set.
type Athena struct {
	Client              Client
	Workgroup, Database string
	// MaxScan is how many bytes a query may read before it is stopped. Athena
	// tells what was read with a delay, so it may be some more.
	MaxScan int64
	// Wait waits between two questions how a query is doing; by default, by the
	// clock on the wall.
	Wait func(context.Context, time.Duration) error
}

// ErrRefused is wrapped by errors about a hunt that was not started, because it
// could cost more than is allowed.
var ErrRefused = errors.New("not started")

// ErrStopped is wrapped by errors about a query that was stopped before its end
// because it had read more than MaxScan. What it read is to be paid.
var ErrStopped = errors.New("stopped")

// Usage is what a query took.
type Usage struct {
	Query   string // id of the execution; empty when none was started
	Scanned int64  // bytes read
	// Charged tells whether they are to be paid: those of a failed query are not.
	Charged bool
}

// Limit returns how many bytes the workgroup lets one query read. The error
// wraps ErrRefused when there is no limit.
func (a *Athena) Limit(ctx context.Context) (int64, error) {
	var out *athena.GetWorkGroupOutput
	err := a.patiently(ctx, func() (err error) {
		out, err = a.Client.GetWorkGroup(ctx, &athena.GetWorkGroupInput{WorkGroup: &a.Workgroup})
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look up the workgroup %s: %w", a.Workgroup, err)
	}
	if out.WorkGroup == nil || out.WorkGroup.State == types.WorkGroupStateDisabled {
		return 0, fmt.Errorf("%w: the workgroup %s is disabled", ErrRefused, a.Workgroup)
	}
	c := out.WorkGroup.Configuration
	if c == nil || aws.ToInt64(c.BytesScannedCutoffPerQuery) <= 0 {
		return 0, fmt.Errorf("%w: the workgroup %s has no limit for what one query may read; take the one that the stack made, or give it a limit: "+
			"aws athena update-work-group --work-group %s --configuration-updates BytesScannedCutoffPerQuery=%d", ErrRefused, a.Workgroup, a.Workgroup, a.MaxScan)
	}
	return *c.BytesScannedCutoffPerQuery, nil
}

// Query runs a statement and calls row for each row, in order. When ctx ends
// first, Athena is told to stop. Usage is what is known of it, also with an error.
//
// Athena gives lists as text, as [a, b], and does not tell where a text in one
// ends; so they come as text.
func (a *Athena) Query(ctx context.Context, statement string, row hunt.Row) (Usage, error) {
	if len(statement) > longestStatement {
		return Usage{}, fmt.Errorf("the statement has %d bytes, Athena takes %d: shorten the lists in the settings", len(statement), longestStatement)
	}
	id, err := a.start(ctx, statement)
	if err != nil {
		return Usage{}, err
	}
	u, err := a.wait(ctx, id)
	if err != nil {
		return u, err
	}
	return u, a.results(ctx, id, row)
}

// start starts a query. It goes on when ctx ends: a query of which the id is not
// known could not be stopped.
func (a *Athena) start(ctx context.Context, statement string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("start the query: %w", err)
	}
	catalog := Catalog
	var out *athena.StartQueryExecutionOutput
	err := a.patiently(ctx, func() (err error) {
		out, err = a.Client.StartQueryExecution(context.WithoutCancel(ctx), &athena.StartQueryExecutionInput{
			QueryString: &statement, WorkGroup: &a.Workgroup,
			QueryExecutionContext: &types.QueryExecutionContext{Catalog: &catalog, Database: &a.Database},
		})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("start the query: %w", err)
	}
	return aws.ToString(out.QueryExecutionId), nil
}

// Pauses between two questions how a query is doing: most hunts take seconds.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 5 * time.Second
)

// wait asks how a query is doing until it has ended, and stops it where it must
// not go on.
func (a *Athena) wait(ctx context.Context, id string) (Usage, error) {
	u := Usage{Query: id, Charged: true}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		status, err := a.look(ctx, id, &u)
		switch {
		case err != nil:
			return u, errors.Join(err, a.stop(ctx, id, &u))
		case status.State == types.QueryExecutionStateSucceeded:
			return u, nil
		case status.State == types.QueryExecutionStateFailed:
			u.Charged = false
			return u, fmt.Errorf("query %s failed: %s", id, reason(status))
		case status.State == types.QueryExecutionStateCancelled:
			return u, fmt.Errorf("query %s was cancelled: %s", id, reason(status))
		case u.Scanned > a.MaxScan:
			err := fmt.Errorf("query %s was %w: it had read more than %d bytes", id, ErrStopped, a.MaxScan)
			return u, errors.Join(err, a.stop(ctx, id, &u))
		}
		if err := a.pause(ctx, pause); err != nil {
			return u, errors.Join(fmt.Errorf("query %s: %w", id, err), a.stop(ctx, id, &u))
		}
	}
}

// look asks how a query is doing.
func (a *Athena) look(ctx context.Context, id string, u *Usage) (*types.QueryExecutionStatus, error) {
	var out *athena.GetQueryExecutionOutput
	err := a.patiently(ctx, func() (err error) {
		out, err = a.Client.GetQueryExecution(ctx, &athena.GetQueryExecutionInput{QueryExecutionId: &id})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask how query %s is doing: %w", id, err)
	}
	if out.QueryExecution == nil || out.QueryExecution.Status == nil {
		return nil, fmt.Errorf("ask how query %s is doing: Athena did not say", id)
	}
	if s := out.QueryExecution.Statistics; s != nil {
		u.Scanned = max(u.Scanned, aws.ToInt64(s.DataScannedInBytes))
	}
	return out.QueryExecution.Status, nil
}

// stopWithin is how long stopping a query may take once nobody waits for it.
const stopWithin = 15 * time.Second

// stop ends a query and notes what it has read.
func (a *Athena) stop(ctx context.Context, id string, u *Usage) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	if _, err := a.Client.StopQueryExecution(ctx, &athena.StopQueryExecutionInput{QueryExecutionId: &id}); err != nil {
		return fmt.Errorf("query %s may still run, up to the workgroup's limit: stop it: %w", id, err)
	}
	// What it read is a courtesy here; the query has ended.
	_, _ = a.look(ctx, id, u)
	return nil
}

// reason says why a query ended, in Athena's words.
func reason(s *types.QueryExecutionStatus) string {
	if s.StateChangeReason != nil {
		return *s.StateChangeReason
	}
	if s.AthenaError != nil && s.AthenaError.ErrorMessage != nil {
		return *s.AthenaError.ErrorMessage
	}
	return "Athena gave no reason"
}

// patience is how often a throttled call is made again: the quotas of Athena
// are those of the account, which others use too.
const patience = 10

// patiently makes a call again while Athena says that there are too many. Each
// time the SDK has tried several times itself.
func (a *Athena) patiently(ctx context.Context, call func() error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := call()
		if err == nil || try == patience || !retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool() {
			return err
		}
		if ended := a.pause(ctx, pause); ended != nil {
			return ended
		}
		pause = min(2*pause, longestPause)
	}
}

func (a *Athena) pause(ctx context.Context, d time.Duration) error {
	if a.Wait != nil {
		return a.Wait(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
