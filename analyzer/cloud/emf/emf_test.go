package emf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer/cloud/emf"
)

var at = time.Date(2026, 3, 2, 9, 0, 0, 123_456_789, time.UTC)

// The structure is the example of the specification: the metadata names the
// members of the root that are dimensions and metrics.
func TestALineIsAsTheFormatHasIt(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, emf.Line(&out, "Keytrail", at,
		map[string]string{"Function": "ingest", "Account": "111122223333"},
		map[string]emf.Metric{"RecordsKept": {Value: 35000, Unit: "Count"}, "Lag": {Value: 0.25, Unit: "Seconds"}, "Ratio": {Value: 1e21}}))
	require.NoError(t, emf.Line(&out, "Keytrail", at, nil, map[string]emf.Metric{"Alive": {Value: 1, Unit: "None"}}))

	require.Equal(t, strings.Join([]string{
		`{"Account":"111122223333","Function":"ingest","Lag":0.25,"Ratio":1e+21,"RecordsKept":35000,` +
			`"_aws":{"Timestamp":1772442000123,"CloudWatchMetrics":[{"Namespace":"Keytrail","Dimensions":[["Account","Function"]],` +
			`"Metrics":[{"Name":"Lag","Unit":"Seconds"},{"Name":"Ratio"},{"Name":"RecordsKept","Unit":"Count"}]}]}}`,
		`{"Alive":1,"_aws":{"Timestamp":1772442000123,"CloudWatchMetrics":[{"Namespace":"Keytrail","Dimensions":[[]],` +
			`"Metrics":[{"Name":"Alive","Unit":"None"}]}]}}`,
		"",
	}, "\n"), out.String())
}

func TestEveryReferenceHasItsTarget(t *testing.T) {
	dims, metrics := map[string]string{}, map[string]emf.Metric{}
	for i := range 30 {
		dims[fmt.Sprintf("d%d", i)] = fmt.Sprint(i)
	}
	for i := range 100 {
		metrics[fmt.Sprintf("m%d", i)] = emf.Metric{Value: float64(i)}
	}
	var out bytes.Buffer
	require.NoError(t, emf.Line(&out, "Keytrail", at, dims, metrics))
	require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("\n")))
	var root map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(out.Bytes(), &root))
	var metadata struct {
		CloudWatchMetrics []struct {
			Dimensions [][]string
			Metrics    []struct{ Name string }
		}
	}
	require.NoError(t, json.Unmarshal(root["_aws"], &metadata))
	d := metadata.CloudWatchMetrics[0]
	require.Len(t, d.Dimensions[0], 30)
	require.Len(t, d.Metrics, 100)
	for _, name := range d.Dimensions[0] {
		require.JSONEq(t, `"`+dims[name]+`"`, string(root[name]))
	}
	for _, m := range d.Metrics {
		require.JSONEq(t, fmt.Sprint(metrics[m.Name].Value), string(root[m.Name]))
	}
}

func TestWhatCloudWatchWouldDropIsAnError(t *testing.T) {
	one := map[string]emf.Metric{"m": {Value: 1}}
	manyDims, manyMetrics := map[string]string{}, map[string]emf.Metric{}
	for i := range 101 {
		manyMetrics[fmt.Sprint(i)] = emf.Metric{}
		if i < 31 {
			manyDims[fmt.Sprint(i)] = "x"
		}
	}
	for name, c := range map[string]struct {
		namespace string
		dims      map[string]string
		metrics   map[string]emf.Metric
		says      string
	}{
		"no namespace":           {"", nil, one, "a namespace has"},
		"a colon":                {":x", nil, one, "a namespace has"},
		"a long namespace":       {strings.Repeat("x", 256), nil, one, "a namespace has"},
		"no metrics":             {"x", nil, nil, "0 metrics"},
		"many metrics":           {"x", nil, manyMetrics, "101 metrics"},
		"many dimensions":        {"x", manyDims, one, "31 dimensions"},
		"a dimension of nothing": {"x", map[string]string{"d": " "}, one, `the dimension "d"`},
		"a dimension not ASCII":  {"x", map[string]string{"d": "ü"}, one, `the dimension "d"`},
		"a dimension of lines":   {"x", map[string]string{"d": "a\nb"}, one, `the dimension "d"`},
		"a long dimension":       {"x", map[string]string{"d": strings.Repeat("x", 1025)}, one, `the dimension "d"`},
		"no name":                {"x", map[string]string{"": "x"}, one, `the dimension ""`},
		"a name with a colon":    {"x", map[string]string{":d": "x"}, one, `the dimension ":d"`},
		"the metadata":           {"x", map[string]string{"_aws": "x"}, one, "the dimension _aws"},
		"a metric as metadata":   {"x", nil, map[string]emf.Metric{"_aws": {}}, `the metric "_aws"`},
		"a name twice":           {"x", map[string]string{"m": "x"}, one, `the metric "m" has the name of another`},
		"a metric without name":  {"x", nil, map[string]emf.Metric{"": {}}, `the metric ""`},
		"not a number":           {"x", nil, map[string]emf.Metric{"m": {Value: math.NaN()}}, `the metric "m" is NaN`},
		"infinite":               {"x", nil, map[string]emf.Metric{"m": {Value: math.Inf(-1)}}, `the metric "m" is -Inf`},
		"no such unit":           {"x", nil, map[string]emf.Metric{"m": {Unit: "Furlongs"}}, `no unit "Furlongs"`},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			require.ErrorContains(t, emf.Line(&out, c.namespace, at, c.dims, c.metrics), c.says)
			require.Empty(t, out.String())
		})
	}
}

// pieces is a writer that counts and fails.
type pieces struct {
	n   int
	err error
}

func (p *pieces) Write(b []byte) (int, error) { p.n++; return len(b), p.err }

func TestALineIsWrittenInOnePiece(t *testing.T) {
	w := &pieces{err: errors.New("closed")}
	require.ErrorIs(t, emf.Line(w, "x", at, nil, map[string]emf.Metric{"m": {}}), w.err)
	require.Equal(t, 1, w.n)
}
