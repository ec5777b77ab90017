package front

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Faults says how calls fail: refused with 5xx or as too many, connections
// dropped before or after the call took effect or in the middle of the answer,
// answers that are late, batches that are done in part, and the caller killed
// before or after.
//
// The same seed gives each caller the same faults in the order of its calls.
// What a caller calls in which order may depend on time; then a run cannot be
// repeated to the letter.
type Faults struct {
	Seed uint64
	// Rate is the share of calls that begin to fail, 0 to 1. One in four of
	// these is the first of up to eight to the same service that do.
	Rate float64
	// Kill is the share of calls at which the caller is killed, 0 to 1.
	Kill float64
	// Delay is the longest that an answer is late; 0 is never late.
	Delay time.Duration
}

// fault is what goes wrong with one call. The zero fault is nothing.
type fault struct {
	delay   time.Duration
	refuse  *response // answered without effect
	instead *response // answered in place of the answer
	drop    bool
	kill    bool
	after   bool // drop or kill: when the call has taken effect
	cut     bool
	partial []int // positions of entries of a batch that are not done
}

// dice draws faults for one caller.
type dice struct {
	f Faults

	mu      sync.Mutex
	rand    *rand.Rand
	outages map[string]*outage
}

// outage is a service that fails some times in a row.
type outage struct {
	left int
	kind int
}

func newDice(f Faults, caller string) *dice {
	h := fnv.New64a()
	_, _ = h.Write([]byte(caller))                                                                    // never fails
	return &dice{f: f, rand: rand.New(rand.NewPCG(f.Seed, h.Sum64())), outages: map[string]*outage{}} //nolint:gosec // so that a seed gives the same faults
}

// Kinds of faults. Each is as likely as the others.
const (
	refused = iota
	throttled
	lostBefore
	lostAfter
	failedAfter
	cutShort
	late
	inPart
	kinds
)

// draw says what goes wrong with a call. A nil dice draws nothing.
func (d *dice) draw(r *request) (wrong fault) {
	if d == nil {
		return fault{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rand.Float64() < d.f.Kill {
		return fault{kill: true, after: d.rand.IntN(2) == 0}
	}
	out := d.outages[r.service]
	if out == nil {
		out = &outage{}
		d.outages[r.service] = out
	}
	if out.left == 0 {
		if d.rand.Float64() >= d.f.Rate {
			return fault{}
		}
		out.left, out.kind = 1, d.rand.IntN(kinds)
		if d.rand.IntN(4) == 0 {
			out.left = 2 + d.rand.IntN(7)
		}
	}
	out.left--
	return d.of(out.kind, r)
}

func (d *dice) of(kind int, r *request) fault {
	switch kind {
	case throttled:
		return fault{refuse: tooMany(r)}
	case lostBefore:
		return fault{drop: true}
	case lostAfter:
		return fault{drop: true, after: true}
	case failedAfter:
		return fault{instead: internal(r)}
	case cutShort:
		return fault{cut: true}
	case late:
		if d.f.Delay > 0 {
			return fault{delay: time.Duration(d.rand.Int64N(int64(d.f.Delay)))}
		}
	case inPart:
		if r.service == "sqs" && strings.HasSuffix(r.target, "Batch") {
			return fault{partial: []int{d.rand.IntN(10), d.rand.IntN(10)}}
		}
	}
	return fault{refuse: internal(r)}
}

// internal is a 5xx of the service.
func internal(r *request) *response {
	if r.service == "s3" {
		return objectError(http.StatusInternalServerError, "InternalError")
	}
	return jsonError(http.StatusInternalServerError, "InternalServerError", nil)
}

// tooMany is how the service slows callers down: each has words of its own.
func tooMany(r *request) *response {
	switch {
	case r.service == "s3" && r.Method == http.MethodPut && cmp.Or(r.Header.Get("If-Match"), r.Header.Get("If-None-Match")) != "":
		return objectError(http.StatusConflict, "ConditionalRequestConflict")
	case r.service == "s3":
		return objectError(http.StatusServiceUnavailable, "SlowDown")
	case r.service == "dynamodb" && r.target == "TransactWriteItems":
		var in struct{ TransactItems []json.RawMessage }
		_ = json.Unmarshal(r.body, &in) // moto would have said what is wrong with it
		reasons := make([]map[string]string, len(in.TransactItems))
		for i := range reasons {
			reasons[i] = map[string]string{"Code": "None"}
		}
		if len(reasons) > 0 {
			reasons[0] = map[string]string{"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}
		}
		return jsonError(http.StatusBadRequest, "TransactionCanceledException", map[string]any{"CancellationReasons": reasons})
	case r.service == "dynamodb":
		return jsonError(http.StatusBadRequest, "ProvisionedThroughputExceededException", nil)
	}
	return jsonError(http.StatusBadRequest, "ThrottlingException", nil)
}

func objectError(status int, code string) *response {
	return &response{
		status: status, header: http.Header{"Content-Type": {"application/xml"}},
		body: fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>as the test asked</Message></Error>`, code),
	}
}

func jsonError(status int, kind string, more map[string]any) *response {
	body := map[string]any{"__type": "com.amazonaws#" + kind, "message": "as the test asked"}
	for k, v := range more {
		body[k] = v
	}
	text := raw(body)
	return &response{status: status, body: text, header: http.Header{
		"Content-Type": {"application/x-amz-json-1.0"}, "X-Amzn-Errortype": {kind},
		"X-Amz-Crc32": {strconv.FormatUint(uint64(crc32.ChecksumIEEE(text)), 10)}, // which DynamoDB's clients check
	}}
}
