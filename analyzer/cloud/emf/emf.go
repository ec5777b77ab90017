// Package emf writes metrics as lines of CloudWatch's embedded metric format,
// which CloudWatch Logs turns into metrics when a Lambda function prints them:
// no call, and nothing that can fail between a number and its metric.
//
// The format is "Specification: Embedded metric format" of the CloudWatch user
// guide.
package emf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Limits of the format, and of CloudWatch where they are narrower.
const (
	maxDimensions     = 30  // of a set
	maxMetrics        = 100 // of a directive
	maxNamespace      = 255 // characters of ASCII, as below
	maxDimensionName  = 250
	maxDimensionValue = 1024
	maxMetricName     = 255
)

// units are those that CloudWatch knows (MetricDatum in its API reference).
var units = map[string]bool{
	"": true, "None": true, "Count": true, "Percent": true, "Seconds": true, "Microseconds": true, "Milliseconds": true,
	"Bytes": true, "Kilobytes": true, "Megabytes": true, "Gigabytes": true, "Terabytes": true,
	"Bits": true, "Kilobits": true, "Megabits": true, "Gigabits": true, "Terabits": true,
	"Bytes/Second": true, "Kilobytes/Second": true, "Megabytes/Second": true, "Gigabytes/Second": true, "Terabytes/Second": true,
	"Bits/Second": true, "Kilobits/Second": true, "Megabits/Second": true, "Gigabits/Second": true, "Terabits/Second": true,
	"Count/Second": true,
}

// Metric is a number with its unit, which is one of CloudWatch's; empty means
// None.
type Metric struct {
	Value float64
	Unit  string
}

// Line writes one line in a single Write: the metrics at that time, all with
// the same dimensions, which may be nil. Times are good to the millisecond;
// CloudWatch takes those of the last two weeks. Nothing is written when
// CloudWatch would drop the line, which it does without a word: the error says
// what is wrong with it.
func Line(w io.Writer, namespace string, at time.Time, dims map[string]string, metrics map[string]Metric) error {
	line, err := line(namespace, at, dims, metrics)
	if err == nil {
		_, err = w.Write(line)
	}
	if err != nil {
		return fmt.Errorf("write metrics of %q: %w", namespace, err)
	}
	return nil
}

// metadata is the member _aws of a line.
type metadata struct {
	Timestamp         int64 // Unix milliseconds
	CloudWatchMetrics []directive
}

// directive tells which members of the line are metrics, and which dimensions.
type directive struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []definition
}

type definition struct {
	Name string
	Unit string `json:",omitempty"`
}

func line(namespace string, at time.Time, dims map[string]string, metrics map[string]Metric) ([]byte, error) {
	if err := check(namespace, dims, metrics); err != nil {
		return nil, err
	}
	d := directive{Namespace: namespace, Dimensions: [][]string{{}}}
	root := make(map[string]any, 1+len(dims)+len(metrics))
	for _, name := range slices.Sorted(maps.Keys(dims)) {
		d.Dimensions[0] = append(d.Dimensions[0], name)
		root[name] = dims[name]
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		d.Metrics = append(d.Metrics, definition{Name: name, Unit: metrics[name].Unit})
		root[name] = metrics[name].Value
	}
	root["_aws"] = metadata{Timestamp: at.UnixMilli(), CloudWatchMetrics: []directive{d}}
	out, err := json.Marshal(root)
	return append(out, '\n'), err
}

// check finds what CloudWatch would not take.
func check(namespace string, dims map[string]string, metrics map[string]Metric) error {
	switch {
	case !fits(namespace, maxNamespace) || strings.HasPrefix(namespace, ":"):
		return fmt.Errorf("a namespace has 1 to %d characters of ASCII and does not begin with a colon", maxNamespace)
	case len(dims) > maxDimensions:
		return fmt.Errorf("%d dimensions are more than %d", len(dims), maxDimensions)
	case len(metrics) == 0 || len(metrics) > maxMetrics:
		return fmt.Errorf("%d metrics are not 1 to %d", len(metrics), maxMetrics)
	}
	for name, value := range dims {
		if !fits(name, maxDimensionName) || strings.HasPrefix(name, ":") || !fits(value, maxDimensionValue) {
			return fmt.Errorf("the dimension %q: a name has 1 to %d characters of ASCII and does not begin with a colon, a value has 1 to %d",
				name, maxDimensionName, maxDimensionValue)
		}
	}
	for name, m := range metrics {
		_, taken := dims[name]
		switch {
		case taken || name == "_aws":
			return fmt.Errorf("the metric %q has the name of another member", name)
		case !fits(name, maxMetricName):
			return fmt.Errorf("the metric %q: a name has 1 to %d characters of ASCII", name, maxMetricName)
		case math.IsNaN(m.Value) || math.IsInf(m.Value, 0):
			return fmt.Errorf("the metric %q is %v", name, m.Value)
		case !units[m.Unit]:
			return fmt.Errorf("the metric %q: CloudWatch has no unit %q", name, m.Unit)
		}
	}
	if _, ok := dims["_aws"]; ok {
		return errors.New("the dimension _aws has the name of the metadata")
	}
	return nil
}

// fits tells whether a text has 1 to that many printable ASCII characters, not
// all of them spaces.
func fits(text string, most int) bool {
	odd := strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
	return !odd && len(text) <= most && strings.TrimSpace(text) != ""
}
