// Package awssdk implements the interfaces of package cloud with the AWS SDK for
// Go; packages below it, those that few functions need.
//
// Load reads the settings that all programs of AWS share: AWS_REGION, the
// credentials of the Lambda function or of a profile, AWS_ENDPOINT_URL. Service
// clients are made when they are first asked for:
//
//	clients, err := awssdk.Load(ctx, awssdk.Options{})
//	bucket := awssdk.NewBucket(clients.S3(), os.Getenv("KEYTRAIL_BUCKET"))
//
// A call is tried several times, each time for a limited while, and ends early
// with its context. What AWS answered is in the error: errors.As finds a
// smithy.APIError. An error that wraps analyzer.ErrConflict or
// analyzer.ErrNotFound is AWS's last answer, which is not always an answer to
// the first try: when a conditional write took effect and its answer was lost,
// the SDK's second try conflicts with the first. Whoever gets a conflict reads
// again, and may find what it wanted to write.
package awssdk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Options are for Load. The zero Options suit a Lambda function.
type Options struct {
	Region string // overrides AWS_REGION and the profile's
	// Attempts is how often a call is tried in all; default 4.
	Attempts int
	// AttemptTimeout is how long one attempt may take, without the time that the
	// body of an object needs; default 10 s. With the other defaults a call ends
	// after 4 x 10 s and at most 7 s of pauses, within a function's minute.
	AttemptTimeout time.Duration
	// MaxPause is the longest pause between two attempts; default 5 s. Pauses
	// are drawn from 0 to a bound that doubles from 0.2 s (1 s when throttled).
	MaxPause time.Duration
}

// Bounds of connections. A host that does not accept one within seconds will
// not do so later; another attempt may find another host.
const (
	dialTimeout = 3 * time.Second
	tlsTimeout  = 5 * time.Second
	// idleConns are kept for each host: 32 downloads at a time and as many
	// other calls find theirs open.
	idleConns = 64
)

// Clients has a client for each service. It may be used by many goroutines.
type Clients struct {
	// Config is what the clients are made from, for services that are not
	// among the methods. Attempts end with their answer: an operation whose
	// output is a stream needs a context from WithStream.
	Config aws.Config

	s3       lazy[*s3.Client]
	dynamodb lazy[*dynamodb.Client]
	sqs      lazy[*sqs.Client]
}

// lazy is a value that is made when it is first needed.
type lazy[T any] struct {
	once  sync.Once
	value T
}

func (l *lazy[T]) get(make func() T) T {
	l.once.Do(func() { l.value = make() })
	return l.value
}

// Load reads the settings. It makes no call, and in a Lambda function none is
// ever made to the metadata service of EC2, which there is not.
func Load(ctx context.Context, o Options) (*Clients, error) {
	o.Attempts = cmp.Or(o.Attempts, 4)
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, 10*time.Second)
	o.MaxPause = cmp.Or(o.MaxPause, 5*time.Second)
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(httpClient()),
		config.WithRetryer(func() aws.Retryer { return retryer(o) }),
		config.WithAPIOptions([]func(*stack) error{addAttemptTimeout(o.AttemptTimeout)}),
	}
	if o.Region != "" {
		options = append(options, config.WithRegion(o.Region))
	}
	if os.Getenv("AWS_LAMBDA_FUNCTION_NAME") != "" {
		options = append(options, config.WithEC2IMDSClientEnableState(imds.ClientDisabled))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("load the settings of AWS: %w", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("load the settings of AWS: no Region: set AWS_REGION, or a profile that has one")
	}
	return &Clients{Config: cfg}, nil
}

// retryer is the SDK's standard one with pauses for short calls. The adaptive
// one would slow all calls of a client for the throttling of some.
func retryer(o Options) aws.Retryer {
	return retry.NewStandard(func(s *retry.StandardOptions) {
		s.MaxAttempts = o.Attempts
		s.Backoff = retry.BackoffDelayerFunc(func(attempt int, err error) (time.Duration, error) {
			return pauseBefore(attempt, throttled(err), o.MaxPause), nil
		})
	})
}

// pauseBefore draws a pause after the given number of attempts.
func pauseBefore(attempts int, throttled bool, longest time.Duration) time.Duration {
	bound := 100 * time.Millisecond
	if throttled {
		bound = 500 * time.Millisecond
	}
	for range attempts {
		bound = min(2*bound, longest)
	}
	return rand.N(min(bound, longest) + 1) //nolint:gosec // spreads callers in time; nothing is kept secret by it
}

func throttled(err error) bool {
	return retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool()
}

func httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = tlsTimeout
			t.MaxIdleConns, t.MaxIdleConnsPerHost = 4*idleConns, idleConns
		})
}

// S3 returns the client of S3. When an endpoint is set, as for emulators,
// buckets are in the path of the address and not in its host.
func (c *Clients) S3() *s3.Client {
	return c.s3.get(func() *s3.Client {
		return s3.NewFromConfig(c.Config, func(o *s3.Options) {
			o.UsePathStyle = o.BaseEndpoint != nil
			// Objects that others wrote need not have a checksum; a line in the
			// log for each says nothing.
			o.DisableLogOutputChecksumValidationSkipped = true
		})
	})
}

// DynamoDB returns the client of DynamoDB.
func (c *Clients) DynamoDB() *dynamodb.Client {
	return c.dynamodb.get(func() *dynamodb.Client { return dynamodb.NewFromConfig(c.Config) })
}

// SQS returns the client of SQS.
func (c *Clients) SQS() *sqs.Client {
	return c.sqs.get(func() *sqs.Client { return sqs.NewFromConfig(c.Config) })
}
