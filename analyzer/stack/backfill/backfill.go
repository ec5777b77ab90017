// Package backfill is the function that brings what was missed: it lists the
// logs of a day in a trail's bucket and posts the notifications that S3 would
// have sent, to the same queue. What is in the lake already is not read again.
package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/trail"
)

// Request says what to list. Prefix is what stands before the year in the keys,
// such as AWSLogs/111122223333/CloudTrail/eu-west-1.
type Request struct {
	Bucket string `json:"bucket"` // empty means the stack's own trail bucket
	Prefix string `json:"prefix"`
	Day    string `json:"day"` // 2026-03-02, of delivery
	// After is a key: only those after it are posted. It is Next of an answer
	// that did not come to the end.
	After string `json:"after,omitempty"`
}

// Report is the function's answer.
type Report struct {
	Posted  int    `json:"posted"`  // log objects
	Skipped int    `json:"skipped"` // digests, insights and other objects
	Next    string `json:"next"`    // not empty: give it as "after" to go on
}

// Handler is the backfill function.
type Handler struct {
	Bucket  string // when the request names none
	Buckets func(name string) cloud.Reader
	Queue   cloud.Queue // of ingest
	Reserve time.Duration
	Now     func() time.Time
	Log     *slog.Logger
	Metrics *stack.Metrics
}

var dayShape = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)

func (r *Request) check() error {
	if r.Bucket == "" {
		return errors.New(`the request names no bucket: {"bucket":"…","prefix":"AWSLogs/111122223333/CloudTrail/eu-west-1","day":"2026-03-02"}`)
	}
	if _, err := time.Parse(time.DateOnly, r.Day); err != nil || !dayShape.MatchString(r.Day) {
		return fmt.Errorf("day %q is not a day such as 2026-03-02", r.Day)
	}
	if !strings.Contains("/"+r.Prefix+"/", "/"+trail.KindLog+"/") {
		return fmt.Errorf("prefix %q does not lead to a trail's logs: it is such as AWSLogs/111122223333/CloudTrail/eu-west-1", r.Prefix)
	}
	return nil
}

// Handle posts the objects of a day, as far as the time goes.
func (h *Handler) Handle(ctx context.Context, req Request) (rep Report, err error) {
	if req.Bucket == "" {
		req.Bucket = h.Bucket
	}
	if err := req.check(); err != nil {
		return rep, err
	}
	prefix := strings.TrimSuffix(req.Prefix, "/") + "/" + strings.ReplaceAll(req.Day, "-", "/") + "/"
	after := req.After
	for {
		page, more, err := h.Buckets(req.Bucket).List(ctx, prefix, after)
		if err != nil {
			return rep, fmt.Errorf("list s3://%s/%s: %w", req.Bucket, prefix, err)
		}
		var messages []cloud.Message
		for _, o := range page {
			after = o.Key
			if hint, ok := trail.ParseObjectKey(o.Key); !ok || hint.Kind != trail.KindLog {
				rep.Skipped++
				continue
			}
			m, err := Notification(req.Bucket, o)
			if err != nil {
				return rep, err
			}
			messages = append(messages, m)
		}
		if len(messages) > 0 {
			// Those that were sent and are sent again when this is repeated are
			// known to ingest.
			if err := h.Queue.Send(ctx, messages...); err != nil {
				return rep, fmt.Errorf("post the logs of %s: %w", req.Day, err)
			}
		}
		rep.Posted += len(messages)
		if !more {
			break
		}
		if stack.Remaining(ctx, h.Now(), h.Reserve) <= 0 {
			rep.Next = after
			break
		}
	}
	h.Log.InfoContext(ctx, "posted", "bucket", req.Bucket, "prefix", prefix, "posted", rep.Posted, "next", rep.Next)
	h.Metrics.Count(map[string]int64{"ObjectsBackfilled": int64(rep.Posted)})
	return rep, nil
}

// Notification is what S3 would have sent of an object.
func Notification(bucket string, o cloud.ObjectInfo) (cloud.Message, error) {
	type m = map[string]any
	body, err := json.Marshal(m{"Records": []m{{
		"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
		"s3": m{
			"bucket": m{"name": bucket},
			"object": m{"key": url.QueryEscape(o.Key), "size": o.Size, "eTag": strings.Trim(o.ETag, `"`)},
		},
	}}})
	if err != nil {
		return cloud.Message{}, fmt.Errorf("post %s: %w", o.Key, err)
	}
	return cloud.Message{Body: string(body)}, nil
}
