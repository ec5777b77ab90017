package simulate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Batch is one log file taken apart: what the functions below bend as the world
// does. None of them changes what it is given.
type Batch struct {
	Name    string // object key
	Records []json.RawMessage
}

// Batches takes the log files of a memory sink apart, in order of delivery.
// Digests are left out.
func Batches(m *Memory) ([]Batch, error) {
	var list []Batch
	for _, name := range m.Names() {
		if !strings.Contains(name, "/CloudTrail/") {
			continue
		}
		z, err := gzip.NewReader(bytes.NewReader(m.Data(name)))
		if err != nil {
			return nil, fmt.Errorf("log file %s: %w", name, err)
		}
		body, err := io.ReadAll(z)
		if err != nil {
			return nil, fmt.Errorf("log file %s: %w", name, err)
		}
		var envelope struct{ Records []json.RawMessage }
		if err := json.Unmarshal(body, &envelope); err != nil {
			return nil, fmt.Errorf("log file %s: %w", name, err)
		}
		list = append(list, Batch{name, envelope.Records})
	}
	slices.SortStableFunc(list, func(a, b Batch) int { return strings.Compare(deliveryText(a.Name), deliveryText(b.Name)) })
	return list, nil
}

// deliveryText is the delivery time in an object key, which sorts as text.
func deliveryText(name string) string {
	if _, _, at, err := objectParts(name); err == nil {
		return at.Format(time.RFC3339)
	}
	return name
}

// WriteBatches writes batches as gzip log files. Batches of one name, as
// Redeliver makes them, are the same object and are written once.
func WriteBatches(batches []Batch, sink Sink) error {
	seen := map[string]bool{}
	for _, b := range batches {
		if seen[b.Name] {
			continue
		}
		seen[b.Name] = true
		if err := writeFile(sink, b.Name, b.Body(), gzip.DefaultCompression); err != nil {
			return err
		}
	}
	return nil
}

// Body is the batch as an inflated log file.
func (b Batch) Body() []byte {
	size := 16
	for _, r := range b.Records {
		size += len(r) + 1
	}
	body := append(make([]byte, 0, size), `{"Records":[`...)
	for i, r := range b.Records {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, r...)
	}
	return append(body, `]}`...)
}

func writeFile(sink Sink, name string, body []byte, level int) error {
	w, err := sink.Create(name)
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(w, level)
	if err != nil {
		return fmt.Errorf("log file %s: %w", name, err)
	}
	if _, err := z.Write(body); err != nil {
		return fmt.Errorf("log file %s: %w", name, err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("log file %s: %w", name, err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("log file %s: %w", name, err)
	}
	return nil
}

// Redeliver repeats a share of the files, as a queue does that delivers at least
// once: the same name and bytes again, somewhere later.
func Redeliver(r *rand.Rand, batches []Batch, share float64) []Batch {
	out := slices.Clone(batches)
	for _, b := range batches {
		if r.Float64() < share {
			at := r.IntN(len(out) + 1)
			out = slices.Insert(out, at, b)
		}
	}
	return out
}

// SecondTrail adds the files of another trail that recorded a share of the same
// events: other names, other cuts, the same event ids.
func SecondTrail(r *rand.Rand, batches []Batch, share float64) []Batch {
	out := slices.Clone(batches)
	for _, b := range batches {
		var copies []json.RawMessage
		for _, rec := range b.Records {
			if r.Float64() < share {
				copies = append(copies, rec)
			}
		}
		for len(copies) > 0 {
			n := 1 + r.IntN(len(copies))
			out = append(out, Batch{"second-trail/" + anotherName(r, b.Name), copies[:n]})
			copies = copies[n:]
		}
	}
	return out
}

// anotherName is a name for another file of the same delivery.
func anotherName(r *rand.Rand, name string) string {
	stem, ok := strings.CutSuffix(name, ".json.gz")
	if !ok || len(stem) < 16 {
		return fmt.Sprintf("%s-%d", name, r.Uint64())
	}
	id := []byte(stem[len(stem)-16:])
	for i := range id {
		id[i] = base62Digits[r.IntN(len(base62Digits))]
	}
	return stem[:len(stem)-16] + string(id) + ".json.gz"
}

// Shuffle puts the files, and the records in each, in another order.
func Shuffle(r *rand.Rand, batches []Batch) []Batch {
	out := slices.Clone(batches)
	for i := range out {
		out[i].Records = slices.Clone(out[i].Records)
		recs := out[i].Records
		r.Shuffle(len(recs), func(a, b int) { recs[a], recs[b] = recs[b], recs[a] })
	}
	r.Shuffle(len(out), func(a, b int) { out[a], out[b] = out[b], out[a] })
	return out
}

// Delay takes a share of the records out of their files and delivers them later,
// in files of their own, no more than most after the event. Batches come back in
// order of delivery.
func Delay(r *rand.Rand, batches []Batch, share float64, most time.Duration) ([]Batch, error) {
	type slot struct {
		name string
		recs []json.RawMessage
	}
	late := map[string]*slot{}
	var order []string
	out := make([]Batch, 0, len(batches))
	for _, b := range batches {
		kept := Batch{Name: b.Name}
		account, region, delivered, err := objectParts(b.Name)
		if err != nil {
			return nil, err
		}
		for _, rec := range b.Records {
			at, err := eventTime(rec)
			if err != nil {
				return nil, fmt.Errorf("log file %s: %w", b.Name, err)
			}
			latest := at.Add(most).Truncate(delivery)
			if r.Float64() >= share || !latest.After(delivered) {
				kept.Records = append(kept.Records, rec)
				continue
			}
			slots := int(latest.Sub(delivered) / delivery)
			when := delivered.Add(time.Duration(1+r.IntN(slots)) * delivery)
			to := account + region + when.Format(time.RFC3339)
			s := late[to]
			if s == nil {
				s = &slot{name: string(appendObjectKey(nil, "", account, region, when, r.Uint64()))}
				late[to] = s
				order = append(order, to)
			}
			s.recs = append(s.recs, rec)
		}
		if len(kept.Records) > 0 {
			out = append(out, kept)
		}
	}
	for _, to := range order {
		out = append(out, Batch{late[to].name, late[to].recs})
	}
	slices.SortStableFunc(out, func(a, b Batch) int { return strings.Compare(deliveryText(a.Name), deliveryText(b.Name)) })
	return out, nil
}

// eventTime reads the time out of a record.
func eventTime(rec json.RawMessage) (time.Time, error) {
	var r struct {
		EventTime time.Time `json:"eventTime"`
	}
	if err := json.Unmarshal(rec, &r); err != nil {
		return time.Time{}, fmt.Errorf("time of a record: %w", err)
	}
	return r.EventTime, nil
}

// Slices cuts the batches into n runs of any size, some of them empty when chance
// wants: the ticks of a stream.
func Slices(r *rand.Rand, batches []Batch, n int) [][]Batch {
	cuts := []int{0, len(batches)}
	for range n - 1 {
		cuts = append(cuts, r.IntN(len(batches)+1))
	}
	slices.Sort(cuts)
	out := make([][]Batch, 0, n)
	for i := 1; i < len(cuts); i++ {
		out = append(out, slices.Clone(batches[cuts[i-1]:cuts[i]]))
	}
	return out
}
