// Package athenatest has an Athena for tests: it follows queries through their
// states, throttles, refuses and pages as the real one does, over HTTP, so that
// the SDK is tested too.
package athenatest

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
)

// Fake is an Athena that speaks its JSON protocol (AWS JSON 1.1). A query goes
// through States, one further for each time that somebody asks, until it has
// ended or is stopped. Fields are set before the calls that they are about.
type Fake struct {
	// Throttle refuses so many of the next calls of an operation.
	Throttle map[string]int
	// Refuse fails an operation for good, with a code.
	Refuse map[string]string

	Workgroup map[string]any
	Location  string // of the tables; TABLE stands for the name
	States    []State
	Columns   [][2]string // name, and Athena's name of the type
	Rows      [][]*string // nil is null
	PageRows  int         // how many rows a page has, the first with the names
	OnAsk     func(n int) // called for each time that somebody asks

	mu      sync.Mutex
	calls   []Call
	asked   int
	stopped bool
}

// Call is a call that was made.
type Call struct {
	Op   string
	Body map[string]any
}

// State is what a query says of itself: its state's name, why, and what it read.
type State struct {
	Name, Reason string
	Scanned      int64
}

// Start serves until the test ends and returns the address.
func (f *Fake) Start(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return server.URL
}

// Client returns a client of the Athena at an address.
func Client(address string) *sdk.Client {
	return sdk.New(sdk.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String(address),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		Retryer:     aws.NopRetryer{}, // a throttled call reaches the code that is tested
	})
}

// Calls returns what was called so far.
func (f *Fake) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Ops names the operations that were called so far.
func (f *Fake) Ops() []string {
	var ops []string
	for _, c := range f.Calls() {
		ops = append(ops, c.Op)
	}
	return ops
}

// Stopped tells whether the query was told to stop.
func (f *Fake) Stopped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stopped
}

// ServeHTTP answers one call.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	service, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var in map[string]any
	if service != "AmazonAthena" || json.NewDecoder(r.Body).Decode(&in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.calls = append(f.calls, Call{op, in})
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	out, code := f.answer(op, in)
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]any{"__type": code, "Message": code + " says the fake"}
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (f *Fake) answer(op string, in map[string]any) (out map[string]any, code string) {
	if f.Throttle[op] > 0 {
		f.Throttle[op]--
		return nil, "TooManyRequestsException"
	}
	if code := f.Refuse[op]; code != "" {
		return nil, code
	}
	switch op {
	case "GetWorkGroup":
		return map[string]any{"WorkGroup": f.Workgroup}, ""
	case "GetTableMetadata":
		return map[string]any{"TableMetadata": map[string]any{
			"Name": in["TableName"], "Parameters": map[string]any{"location": strings.ReplaceAll(f.Location, "TABLE", in["TableName"].(string))},
		}}, ""
	case "StartQueryExecution":
		if in["ClientRequestToken"] == nil {
			return nil, "InvalidRequestException"
		}
		return map[string]any{"QueryExecutionId": "q-1"}, ""
	case "GetQueryExecution":
		s := f.States[min(f.asked, len(f.States)-1)]
		f.asked++
		if f.OnAsk != nil {
			f.OnAsk(f.asked)
		}
		if f.stopped {
			s.Name, s.Reason = "CANCELLED", "by a person"
		}
		status := map[string]any{"State": s.Name}
		if s.Reason != "" {
			status["StateChangeReason"] = s.Reason
		}
		return map[string]any{"QueryExecution": map[string]any{
			"QueryExecutionId": in["QueryExecutionId"], "Status": status, "Statistics": map[string]any{"DataScannedInBytes": s.Scanned},
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
func (f *Fake) page(in map[string]any) map[string]any {
	all := [][]*string{nil}
	var info []any
	for _, c := range f.Columns {
		all[0] = append(all[0], &c[0])
		info = append(info, map[string]any{"Name": c[0], "Type": c[1]})
	}
	all = append(all, f.Rows...)
	from := 0
	if token, ok := in["NextToken"].(string); ok {
		_, _ = fmt.Sscan(token, &from)
	}
	to := min(from+f.PageRows, len(all))
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

// Text is a row without nulls.
func Text(values ...string) []*string {
	var row []*string
	for _, v := range values {
		row = append(row, &v)
	}
	return row
}
