// Package stack is what runs in an AWS account: one package below it for each
// Lambda function, over the ports of package cloud. The handlers hold no state
// that matters: any of them may be killed between any two calls, run twice at
// once, or be given the same input again, and what was to happen happens once.
// docs/aws.md tells why.
//
// This package holds what the functions share: their environment, how they find
// their settings, and the metrics they give.
package stack

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/keytrail/keytrail/analyzer/cloud/emf"
)

// Variables of the environment.
const (
	EnvBucket      = "KEYTRAIL_BUCKET"
	EnvTable       = "KEYTRAIL_TABLE"
	EnvIngestQueue = "KEYTRAIL_INGEST_QUEUE"
	EnvNotifyQueue = "KEYTRAIL_NOTIFY_QUEUE"
	EnvSettings    = "KEYTRAIL_SETTINGS"
	EnvSlackSecret = "KEYTRAIL_SLACK_SECRET" //nolint:gosec // the name of a variable that holds an ARN
	EnvSlackAPI    = "KEYTRAIL_SLACK_API"
	EnvStack       = "KEYTRAIL_STACK"
	EnvShards      = "KEYTRAIL_SHARDS"
	EnvTrailBucket = "KEYTRAIL_TRAIL_BUCKET"
)

// Environment reads variables and remembers which are missing, so that a
// function says all of them at once when it starts.
type Environment struct {
	Get     func(string) string
	missing []string
}

// Must returns a variable that has to be set.
func (e *Environment) Must(name string) string {
	v := e.Get(name)
	if v == "" {
		e.missing = append(e.missing, name)
	}
	return v
}

// Or returns a variable, or a default when it is empty.
func (e *Environment) Or(name, otherwise string) string {
	if v := e.Get(name); v != "" {
		return v
	}
	return otherwise
}

// Check returns an error that names what is missing.
func (e *Environment) Check() error {
	if len(e.missing) == 0 {
		return nil
	}
	return fmt.Errorf("the environment has no %s: template.yaml sets them", join(e.missing))
}

func join(names []string) (s string) {
	for i, n := range names {
		if i > 0 {
			s += ", "
		}
		s += n
	}
	return s
}

// Metrics gives metrics to CloudWatch as lines of a function's log
// (Embedded Metric Format): no call is made, and none can fail.
type Metrics struct {
	Out   io.Writer
	Stack string // name of the stack, a dimension of all
	Now   func() time.Time

	mu sync.Mutex
}

// Namespace is where CloudWatch shows the metrics.
const Namespace = "Keytrail"

// Count gives numbers of things.
func (m *Metrics) Count(values map[string]int64) {
	metrics := make(map[string]emf.Metric, len(values))
	for name, v := range values {
		metrics[name] = emf.Metric{Value: float64(v), Unit: "Count"}
	}
	m.put(metrics, nil)
}

// Seconds gives durations.
func (m *Metrics) Seconds(values map[string]time.Duration) {
	metrics := make(map[string]emf.Metric, len(values))
	for name, v := range values {
		metrics[name] = emf.Metric{Value: v.Seconds(), Unit: "Seconds"}
	}
	m.put(metrics, nil)
}

// Ticked counts a tick of a shard, with the shard as a second dimension: the
// others must not hide that one stands still.
func (m *Metrics) Ticked(shard int) {
	m.put(map[string]emf.Metric{"Ticks": {Value: 1, Unit: "Count"}}, map[string]string{"Shard": strconv.Itoa(shard)})
}

func (m *Metrics) put(metrics map[string]emf.Metric, more map[string]string) {
	if m == nil || m.Out == nil || len(metrics) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	dims := map[string]string{"Stack": m.Stack}
	maps.Copy(dims, more)
	// A log that cannot be written to is no reason to stop working.
	_ = emf.Line(m.Out, Namespace, m.Now(), dims, metrics)
}

// Remaining returns how long a handler may go on, with reserve left to end in
// order; it is large when the context has no deadline.
func Remaining(ctx context.Context, now time.Time, reserve time.Duration) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 24 * time.Hour
	}
	return deadline.Sub(now) - reserve
}
