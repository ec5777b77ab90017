package front

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// object is JSON as it came, so that what we do not look at stays as it is.
type object = map[string]json.RawMessage

// longPoll reads how long a ReceiveMessage waits, and returns the same request
// without waiting.
func longPoll(body []byte) (until time.Time, short []byte, err error) {
	var o object
	if err := json.Unmarshal(body, &o); err != nil {
		return until, nil, fmt.Errorf("read a poll: %w", err)
	}
	var seconds int
	if raw, ok := o["WaitTimeSeconds"]; ok {
		if err := json.Unmarshal(raw, &seconds); err != nil {
			return until, nil, fmt.Errorf("read a poll: %w", err)
		}
	}
	o["WaitTimeSeconds"] = json.RawMessage("0")
	if short, err = json.Marshal(o); err != nil {
		return until, nil, fmt.Errorf("read a poll: %w", err)
	}
	return time.Now().Add(time.Duration(seconds) * time.Second), short, nil
}

// queueName is the name of a queue by its URL.
func queueName(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

// dedupFor is for how long SQS drops messages with an id that was sent
// (docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/using-messagededuplicationid-property.html).
const dedupFor = 5 * time.Minute

// dedup remembers what was sent to FIFO queues.
type dedup struct {
	mu   sync.Mutex
	sent map[string]sent // by queue and deduplication id
}

type sent struct {
	at     time.Time
	answer object // what SQS said to it
}

// send sends what was not sent before, and answers for the rest. Requests that
// are not for FIFO queues pass.
func (d *dedup) send(r *request, forward func([]byte) (*response, error)) (*response, error) {
	var in object
	if r.target != "SendMessage" && r.target != "SendMessageBatch" || json.Unmarshal(r.body, &in) != nil || !strings.HasSuffix(text(in["QueueUrl"]), ".fifo") {
		return forward(r.body)
	}
	queue := queueName(text(in["QueueUrl"])) // the host may be any endpoint's
	if r.target == "SendMessage" {
		return d.sendOne(queue, in, r.body, forward)
	}
	return d.sendBatch(queue, in, forward)
}

func (d *dedup) sendOne(queue string, in object, body []byte, forward func([]byte) (*response, error)) (*response, error) {
	id := text(in["MessageDeduplicationId"])
	if before := d.find(queue, id); before != nil {
		return jsonResponse(before)
	}
	resp, err := forward(body)
	if err == nil && resp.status == http.StatusOK {
		var out object
		if json.Unmarshal(resp.body, &out) == nil {
			d.put(queue, id, out)
		}
	}
	return resp, err
}

func (d *dedup) sendBatch(queue string, in object, forward func([]byte) (*response, error)) (*response, error) {
	var entries []object
	if err := json.Unmarshal(in["Entries"], &entries); err != nil {
		return nil, fmt.Errorf("read a batch: %w", err)
	}
	var fresh, answers []object
	ids := map[string]string{} // of entries that are sent: their deduplication ids
	for _, e := range entries {
		if before := d.find(queue, text(e["MessageDeduplicationId"])); before != nil {
			answers = append(answers, with(before, "Id", e["Id"]))
			continue
		}
		fresh = append(fresh, e)
		ids[text(e["Id"])] = text(e["MessageDeduplicationId"])
	}
	out := object{}
	if len(fresh) > 0 || len(entries) == 0 {
		body, err := json.Marshal(with(in, "Entries", raw(fresh)))
		if err != nil {
			return nil, fmt.Errorf("write a batch: %w", err)
		}
		resp, err := forward(body)
		if err != nil || resp.status != http.StatusOK {
			return resp, err
		}
		if err := json.Unmarshal(resp.body, &out); err != nil {
			return nil, fmt.Errorf("read moto's answer to a batch: %w", err)
		}
		var done []object
		_ = json.Unmarshal(out["Successful"], &done) // there may be none
		for _, a := range done {
			d.put(queue, ids[text(a["Id"])], a)
		}
		answers = append(answers, done...)
	}
	return jsonResponse(with(out, "Successful", raw(answers)))
}

func (d *dedup) find(queue, id string) object {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.sent[queue+" "+id]
	if id == "" || !ok || time.Since(s.at) >= dedupFor {
		return nil
	}
	return s.answer
}

func (d *dedup) put(queue, id string, answer object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sent == nil {
		d.sent = map[string]sent{}
	}
	d.sent[queue+" "+id] = sent{time.Now(), answer}
}

// takeEntries takes the entries at the given positions, modulo their number, out
// of a request with several, and returns their ids. One is always left.
func (r *request) takeEntries(positions []int) (ids []json.RawMessage) {
	if len(positions) == 0 {
		return nil
	}
	var in object
	var entries []object
	if json.Unmarshal(r.body, &in) != nil || json.Unmarshal(in["Entries"], &entries) != nil {
		return nil
	}
	for _, p := range positions {
		if len(entries) < 2 {
			break
		}
		i := p % len(entries)
		ids = append(ids, entries[i]["Id"])
		entries = append(entries[:i:i], entries[i+1:]...)
	}
	if len(ids) > 0 {
		r.body = raw(with(in, "Entries", raw(entries)))
	}
	return ids
}

// refuseEntries adds failures, which are not the sender's fault, to an answer.
func (a *response) refuseEntries(ids []json.RawMessage) {
	var out object
	if len(ids) == 0 || a.status != http.StatusOK || json.Unmarshal(a.body, &out) != nil {
		return
	}
	var failed []object
	_ = json.Unmarshal(out["Failed"], &failed) // there may be none
	for _, id := range ids {
		failed = append(failed, object{
			"Id": id, "Code": raw("InternalError"), "Message": raw("as the test asked"), "SenderFault": raw(false),
		})
	}
	a.body = raw(with(out, "Failed", raw(failed)))
}

func with(o object, key string, value json.RawMessage) object {
	c := make(object, len(o)+1)
	for k, v := range o {
		c[k] = v
	}
	c[key] = value
	return c
}

// raw writes what can always be written.
func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func jsonResponse(o object) (*response, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return &response{status: http.StatusOK, header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, body: body}, nil
}
