package athena_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/stretchr/testify/require"
)

// fake is an Athena that speaks its JSON protocol (AWS JSON 1.1). A query goes
// through states, one further for each time that somebody asks, until it has
// ended or is stopped.
type fake struct {
	mu    sync.Mutex
	calls []call

	// throttle refuses so many of the next calls of an operation.
	throttle map[string]int
	// refuse fails an operation for good.
	refuse map[string]string

	workgroup map[string]any
	location  string // of the tables
	states    []state
	columns   []column
	rows      [][]*string // nil is null
	pageRows  int         // how many rows a page has, the first with the names

	asked   int
	stopped bool
	onAsk   func(n int)
}

type call struct {
	op   string
	body map[string]any
}

type state struct {
	name, reason string
	scanned      int64
}

type column struct{ name, typ string }

func (f *fake) start(t *testing.T) *sdk.Client {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return sdk.New(sdk.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String(server.URL),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		Retryer:     aws.NopRetryer{}, // a throttled call reaches the code that is tested
	})
}

func (f *fake) ops() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ops []string
	for _, c := range f.calls {
		ops = append(ops, c.op)
	}
	return ops
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	service, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var in map[string]any
	if service != "AmazonAthena" || json.NewDecoder(r.Body).Decode(&in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.calls = append(f.calls, call{op, in})
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	out, code := f.answer(op, in)
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]any{"__type": code, "Message": code + " says the fake"}
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (f *fake) answer(op string, in map[string]any) (out map[string]any, code string) {
	if f.throttle[op] > 0 {
		f.throttle[op]--
		return nil, "TooManyRequestsException"
	}
	if code := f.refuse[op]; code != "" {
		return nil, code
	}
	switch op {
	case "GetWorkGroup":
		return map[string]any{"WorkGroup": f.workgroup}, ""
	case "GetTableMetadata":
		return map[string]any{"TableMetadata": map[string]any{
			"Name": in["TableName"], "Parameters": map[string]any{"location": strings.ReplaceAll(f.location, "TABLE", in["TableName"].(string))},
		}}, ""
	case "StartQueryExecution":
		if in["ClientRequestToken"] == nil {
			return nil, "InvalidRequestException"
		}
		return map[string]any{"QueryExecutionId": "q-1"}, ""
	case "GetQueryExecution":
		s := f.states[min(f.asked, len(f.states)-1)]
		f.asked++
		if f.onAsk != nil {
			f.onAsk(f.asked)
		}
		if f.stopped {
			s.name, s.reason = "CANCELLED", "by a person"
		}
		status := map[string]any{"State": s.name}
		if s.reason != "" {
			status["StateChangeReason"] = s.reason
		}
		return map[string]any{"QueryExecution": map[string]any{
			"QueryExecutionId": in["QueryExecutionId"], "Status": status, "Statistics": map[string]any{"DataScannedInBytes": s.scanned},
		}}, ""
	case "StopQueryExecution":
		f.stopped = true
		return map[string]any{}, ""
	case "GetQueryResults":
		return f.page(in), ""
	}
	return nil, "UnknownOperationException"
}

// page returns a page of the rows; its token is where the next one begins.
func (f *fake) page(in map[string]any) map[string]any {
	all := [][]*string{nil}
	var info []any
	for _, c := range f.columns {
		all[0] = append(all[0], &c.name)
		info = append(info, map[string]any{"Name": c.name, "Type": c.typ})
	}
	all = append(all, f.rows...)
	from := 0
	if token, ok := in["NextToken"].(string); ok {
		_, _ = fmt.Sscan(token, &from)
	}
	to := min(from+f.pageRows, len(all))
	rows := []any{}
	for _, r := range all[from:to] {
		data := []any{}
		for _, v := range r {
			if v == nil {
				data = append(data, map[string]any{})
			} else {
				data = append(data, map[string]any{"VarCharValue": *v})
			}
		}
		rows = append(rows, map[string]any{"Data": data})
	}
	out := map[string]any{"ResultSet": map[string]any{"Rows": rows, "ResultSetMetadata": map[string]any{"ColumnInfo": info}}}
	if to < len(all) {
		out["NextToken"] = fmt.Sprint(to)
	}
	return out
}

func text(values ...string) []*string {
	var row []*string
	for _, v := range values {
		row = append(row, &v)
	}
	return row
}

func requireOps(t *testing.T, f *fake, want ...string) {
	t.Helper()
	require.Equal(t, want, slices.Compact(f.ops()))
}
