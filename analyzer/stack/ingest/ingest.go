package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/intake"
	"github.com/keytrail/keytrail/analyzer/lake"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/trail"
)

// Lake is what the function needs of the lake in the bucket.
type Lake interface {
	// Known tells whether a batch of that name is in the lake already.
	Known(ctx context.Context, name string) (bool, error)
	// Publish copies a batch, its objects and its quarantine file from a local
	// lake. To do it twice, or at once in two places, is no error.
	Publish(ctx context.Context, local *lake.Lake, batch lake.Batch) (fresh bool, err error)
}

// Handler is the ingest function.
type Handler struct {
	// Lakes are the parts of the lake that are analysed apart, one as a rule.
	Lakes []Lake
	// Buckets returns a reader of a bucket that notifications name.
	Buckets func(name string) cloud.Reader
	Events  []analyzer.EventName // what is kept
	Temp    string               // folder for what is being written; empty means the system's
	// Reserve is what must be left of the function's time before another
	// message is begun: those that are not go back to the queue.
	Reserve time.Duration
	Now     func() time.Time
	Log     *slog.Logger
	Metrics *stack.Metrics
}

// read is what an invocation did, for its metrics.
type read struct {
	intake.Ingested
	objects, known, ignored, misfits int64
}

// Handle reads what the messages bring. Those that could not be read are named
// in the answer and go back to the queue.
func (h *Handler) Handle(ctx context.Context, ev events.SQSEvent) (events.SQSEventResponse, error) {
	var answer events.SQSEventResponse
	var sum read
	failed := map[string]bool{}
	back := func(m *events.SQSMessage, why error) {
		h.Log.ErrorContext(ctx, "a message goes back to the queue", "message", m.MessageId, "error", why)
		failed[m.MessageId] = true
		answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
	}
	var calls []caller
	for i := range ev.Records {
		m := &ev.Records[i]
		if stack.Remaining(ctx, h.Now(), h.Reserve) <= 0 {
			back(m, errors.New("no time is left in this invocation"))
			continue
		}
		d, err := parse(m.Body)
		if errors.Is(err, errUnknown) {
			err = h.misfit(ctx, m, err, &sum)
		}
		if d.ignored != "" {
			h.Log.InfoContext(ctx, "a message brings nothing", "message", m.MessageId, "what", d.ignored)
			sum.ignored++
		}
		for _, o := range d.objects {
			if err == nil {
				err = h.object(ctx, o, &sum)
			}
		}
		if err != nil {
			back(m, err)
			continue
		}
		for _, c := range d.calls {
			calls = append(calls, caller{c, m})
		}
	}
	for _, part := range h.parts(calls) {
		if err := h.calls(ctx, part, &sum); err != nil {
			for _, m := range part.from {
				if !failed[m.MessageId] { // another part of it failed, too
					back(m, err)
				}
			}
		}
	}
	h.report(sum, len(answer.BatchItemFailures))
	return answer, nil
}

// misfit puts a message that nobody can read into quarantine.
func (h *Handler) misfit(ctx context.Context, m *events.SQSMessage, why error, sum *read) error {
	sum.misfits++
	h.Log.ErrorContext(ctx, "a message cannot be read and goes to quarantine", "message", m.MessageId, "error", why)
	return h.batch(ctx, h.Lakes[0], "message-"+digest(m.MessageId), nil, func(l *lake.Lake, run string) (lake.Batch, error) {
		b := lake.Batch{Name: run, Files: analyzer.FileCounts{Rejected: 1}}
		q, err := l.Quarantine(run)
		if err != nil {
			return b, err
		}
		err = q.Add(analyzer.Reject{File: "message " + m.MessageId, Reason: why.Error(), Record: []byte(m.Body)})
		_, _, closeErr := q.Close()
		return b, errors.Join(err, closeErr)
	})
}

// object reads one log object.
func (h *Handler) object(ctx context.Context, o object, sum *read) error {
	if hint, ok := trail.ParseObjectKey(o.Key); ok && hint.Kind != trail.KindLog {
		sum.ignored++ // digests and insights lie beside logs, and are many
		return nil
	}
	// An object is named by what is in it: one that is written anew under its
	// key, as by somebody who covers traces, is read anew.
	to := h.lake(o)
	if o.ETag != "" {
		if known, err := h.known(ctx, to, nameOf(o, o.ETag), sum); err != nil || known {
			return err
		}
	}
	body, info, err := h.Buckets(o.Bucket).Get(ctx, o.Key, o.Version, "")
	if err != nil {
		return fmt.Errorf("read s3://%s/%s: %w", o.Bucket, o.Key, err)
	}
	whole := &wholeReader{ReadCloser: body}
	defer func() { _ = whole.Close() }() // it was only read
	name := nameOf(o, info.ETag)
	if etag(o.ETag) != etag(info.ETag) {
		if known, err := h.known(ctx, to, name, sum); err != nil || known {
			return err
		}
	}
	in := trail.Input{
		Name: fmt.Sprintf("s3://%s/%s", o.Bucket, o.Key), Size: o.Size,
		Open: func() (io.ReadCloser, error) { return whole, nil },
	}
	sum.objects++
	return h.batch(ctx, to, name, whole, h.reading(ctx, []trail.Input{in}, sum))
}

// nameOf names the batch of an object.
func nameOf(o object, tag string) string { return "s3-" + digest(o.Bucket, o.Key, etag(tag)) }

// etag is an ETag without the quotes that some have around it.
func etag(s string) string { return strings.Trim(s, `"`) }

// wholeReader remembers a failure of the network, which to the reader of logs
// looks like a file that is cut: such a file must not be taken for read.
type wholeReader struct {
	io.ReadCloser
	failed error
}

func (r *wholeReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		r.failed = err
	}
	return n, err //nolint:wrapcheck // a reader passes errors on as they are
}

// known tells whether a batch is in the lake already, and counts it.
func (h *Handler) known(ctx context.Context, in Lake, name string, sum *read) (bool, error) {
	known, err := in.Known(ctx, name)
	if known {
		sum.known++
	}
	return known, err
}

// calls reads the API calls of one invocation for a part of the lake, as one
// batch.
func (h *Handler) calls(ctx context.Context, p *part, sum *read) error {
	slices.SortFunc(p.calls, func(a, b json.RawMessage) int { return bytes.Compare(a, b) })
	calls := slices.CompactFunc(p.calls, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
	texts := make([]string, len(calls))
	for i, c := range calls {
		texts[i] = string(c)
	}
	name := "eb-" + digest(texts...)
	known, err := h.known(ctx, p.lake, name, sum)
	if err != nil || known {
		return err
	}
	in := trail.Input{
		Name: name, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(bytes.Join(raw(calls), []byte("\n")))), nil
		},
	}
	return h.batch(ctx, p.lake, name, nil, h.reading(ctx, []trail.Input{in}, sum))
}

func raw(calls []json.RawMessage) [][]byte {
	out := make([][]byte, len(calls))
	for i, c := range calls {
		out[i] = c
	}
	return out
}

// fill puts something into a local lake under the name of a batch, and returns
// the accounting of it.
type fill func(l *lake.Lake, run string) (lake.Batch, error)

// reading returns what reads inputs into a local lake.
func (h *Handler) reading(ctx context.Context, inputs []trail.Input, sum *read) fill {
	return func(l *lake.Lake, run string) (lake.Batch, error) {
		in := intake.Ingest{Lake: l, Run: run, Events: h.Events, Workers: 1}
		res, err := in.Inputs(ctx, inputs)
		if err != nil {
			return lake.Batch{}, err
		}
		sum.Records.Add(res.Records)
		sum.RejectCount += res.RejectCount
		return lake.Batch{Name: run, Files: res.Files, Records: res.Records}, nil
	}
}

// batch makes a batch in a lake of its own on disk and publishes it. source,
// when set, is asked whether it was read without a failure.
func (h *Handler) batch(ctx context.Context, to Lake, name string, source *wholeReader, put fill) (err error) {
	dir, err := os.MkdirTemp(h.Temp, "ingest-")
	if err != nil {
		return fmt.Errorf("make room for a batch: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	local, err := lake.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, local.Close()) }()
	b, err := put(local, name)
	if err != nil {
		return err
	}
	if source != nil && source.failed != nil {
		return fmt.Errorf("read batch %s: %w", name, source.failed)
	}
	written, err := local.Inbox(ctx)
	if err != nil {
		return err
	}
	if len(written) > 0 {
		b = written[0]
	}
	_, err = to.Publish(ctx, local, b)
	return err
}

func (h *Handler) report(sum read, back int) {
	h.Metrics.Count(map[string]int64{
		"RecordsRead": sum.Records.Read, "RecordsKept": sum.Records.Kept,
		"RecordsRejected": sum.RejectCount + sum.misfits, "ObjectsIngested": sum.objects,
		"ObjectsKnown": sum.known, "MessagesReturned": int64(back),
	})
}

// digest is a name for what the parts say.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p) // a hash does not fail
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
