// Package analyze is the function that runs every minute: it takes what waits
// in the lake, runs the detections, saves what they found and what they
// remember, and queues what people must be told.
//
// One holds the lease of its shard at a time. Should a holder be so slow that
// the lease goes to another, three things keep it from doing harm: memory is
// replaced only if nobody else has, findings are written only under the newest
// lease, and alerts are folded from the findings that are stored.
//
// Queueing is the last step of each run and repeats what an earlier one did not
// finish: an alert is queued until the store says that it was. The queue drops
// what comes twice within minutes, and notify what it has told.
package analyze

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/pipeline"
	"github.com/keytrail/keytrail/analyzer/remote"
	"github.com/keytrail/keytrail/analyzer/rows"
	"github.com/keytrail/keytrail/analyzer/stack"
	"github.com/keytrail/keytrail/analyzer/stack/notify"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

// Jobs that the function does beside analysing.
const (
	JobCompact = "compact" // merge the small objects of settled days
)

// LeaseName is the name of the lease under which a shard is analysed.
func LeaseName(shard int) string { return "analyze-" + strconv.Itoa(shard) }

// Request is the function's input: empty for a tick of the only shard.
type Request struct {
	Job   string `json:"job,omitempty"`
	Shard int    `json:"shard,omitempty"` // from 0
}

// Report is the function's answer, for its log.
type Report struct {
	Held     bool      `json:"held,omitempty"` // another holds the lease; nothing was done
	Ticks    int       `json:"ticks"`
	Events   int64     `json:"events"`
	Alerts   int       `json:"alerts"` // that changed
	Queued   int       `json:"queued"`
	Left     int64     `json:"left"` // events that wait for the next tick
	Oldest   time.Time `json:"oldest,omitzero"`
	Compacts int       `json:"compacted,omitempty"` // objects that were merged
}

// Handler is the analyze function.
type Handler struct {
	// Shards are the parts of the lake that are analysed apart. They share the
	// table and nothing else.
	Shards   []Shard
	Table    cloud.Table
	Queue    cloud.Queue // of notify
	Settings func(ctx context.Context) (*analyzer.Settings, error)
	Catalog  *catalog.Catalog

	Temp        string // folder that DuckDB may spill into
	MemoryLimit int64  // of DuckDB, bytes
	Threads     int
	SliceBytes  int64 // of objects that one slice downloads at most
	// Lease is for how long the function is alone; it must be longer than the
	// function can run.
	Lease   time.Duration
	Reserve time.Duration // what must be left of the time to begin another slice
	// Owner names an invocation, and no other.
	Owner   func(ctx context.Context) string
	Now     func() time.Time
	Workers int // writes to the table at once; 0 means a default
	Log     *slog.Logger
	Metrics *stack.Metrics
	// Step is called between two effects, for tests: see pipeline.Analysis.
	Step func(name string) error
}

// Shard is a part of the lake with its memory.
type Shard struct {
	Lake   *remote.Lake
	Memory *remote.Memory
}

// shard is the work on one of them.
type shard struct {
	*Handler
	Shard
	number int
	name   string // in the store; empty for the only one
}

// Handle does one tick, or the job that the request names.
func (h *Handler) Handle(ctx context.Context, req Request) (rep Report, err error) {
	if req.Job != "" && req.Job != JobCompact {
		return rep, fmt.Errorf("there is no job %q", req.Job)
	}
	if req.Shard < 0 || req.Shard >= len(h.Shards) {
		return rep, fmt.Errorf("there is no shard %d of %d; they are counted from 0", req.Shard, len(h.Shards))
	}
	sh := &shard{Handler: h, Shard: h.Shards[req.Shard], number: req.Shard}
	if len(h.Shards) > 1 {
		sh.name = strconv.Itoa(req.Shard)
	}
	began := h.Now()
	lease := table.Lease{Table: h.Table, Name: LeaseName(req.Shard), TTL: h.Lease}
	held, err := lease.Acquire(ctx, h.Owner(ctx), began)
	if errors.Is(err, table.ErrHeld) {
		h.Log.InfoContext(ctx, "another analyze is at work", "error", err)
		h.Metrics.Count(map[string]int64{"LeaseHeld": 1})
		return Report{Held: true}, nil
	}
	if err != nil {
		return rep, err
	}
	defer func() {
		// A lease that could not be given back runs out.
		if rerr := lease.Release(context.WithoutCancel(ctx), held); rerr != nil {
			h.Log.WarnContext(ctx, "the lease was not given back", "error", rerr)
		}
	}()
	if req.Job == JobCompact {
		return rep, sh.compact(ctx, &rep)
	}
	s, err := h.Settings(ctx)
	if err != nil {
		h.Metrics.Count(map[string]int64{"SettingsInvalid": 1})
		return rep, err
	}
	store := table.New(h.Table, table.Options{Fence: held.Epoch, Shard: sh.name, Now: h.Now, Workers: h.Workers})
	// What was found is told even when this run fails: an object that breaks the
	// analysis must not hold back the alerts of those before it.
	err = sh.tick(ctx, store, s, &rep)
	rep.Queued, err = sh.queue(ctx, store, err)
	h.report(rep, h.Now().Sub(began))
	h.Metrics.Ticked(req.Shard)
	return rep, err
}

// compact merges the small objects of settled days, as long as there is time.
func (h *shard) compact(ctx context.Context, rep *Report) error {
	m, err := h.Memory.Manifest(ctx)
	if err != nil {
		return err
	}
	did, err := h.Lake.Compact(ctx, remote.Compaction{
		Open: rows.Open,
		Keep: m.Hot, Stop: func() bool { return stack.Remaining(ctx, h.Now(), h.Reserve) <= 0 },
	})
	rep.Compacts = did.Merged
	h.Metrics.Count(map[string]int64{"ObjectsMerged": int64(did.Merged), "ObjectsDeleted": int64(did.Deleted)})
	return err
}

// tick analyses what waits, slice by slice, as long as there is time.
func (h *shard) tick(ctx context.Context, store *table.Store, s *analyzer.Settings, rep *Report) error {
	an := pipeline.Analysis{
		Lake: h.Lake, Memory: h.Memory, Store: store, Shard: h.name, Settings: s, Catalog: h.Catalog,
		TempDir: h.Temp, MemoryLimit: h.MemoryLimit, Threads: h.Threads, SliceBytes: h.SliceBytes,
		Stop: func() bool { return stack.Remaining(ctx, h.Now(), h.Reserve) <= 0 },
		Step: h.Step,
	}
	res, err := an.Run(ctx)
	rep.Ticks, rep.Events, rep.Alerts, rep.Left, rep.Oldest = res.Ticks, res.Counts.Events, len(res.Alerts), res.Left, res.Oldest
	h.Metrics.Count(map[string]int64{
		"EventsKept": res.Counts.Kept, "EventsDuplicate": res.Counts.Duplicate, "LateEvents": res.Counts.Late,
	})
	if err != nil {
		return fmt.Errorf("analyse: %w", err)
	}
	return nil
}

// queue puts what people must be told into notify's queue. before is the error
// of what was done before, if any.
func (h *shard) queue(ctx context.Context, store *table.Store, before error) (queued int, err error) {
	due, err := alert.Unqueued(ctx, store)
	if err != nil {
		return 0, errors.Join(before, err)
	}
	messages := make([]cloud.Message, len(due))
	for i, a := range due {
		if messages[i], err = notify.Message(notify.Item{Alert: a.ID, Revision: a.Revision}, a.Thread); err != nil {
			return 0, errors.Join(before, err)
		}
	}
	refused := map[int]bool{}
	if len(messages) > 0 {
		err = h.Queue.Send(ctx, messages...)
		var some *cloud.SendError
		switch {
		case errors.As(err, &some):
			for _, i := range some.Failed {
				refused[i] = true
			}
		case err != nil: // whether any was sent is not known
			return 0, errors.Join(before, fmt.Errorf("queue alerts: %w", err))
		}
	}
	errs := []error{before, err}
	for i, a := range due {
		if refused[i] {
			continue
		}
		if err := alert.MarkQueued(ctx, store, a); err != nil {
			errs = append(errs, err)
			continue
		}
		queued++
	}
	errs = append(errs, h.queueDigest(ctx, store))
	return queued, errors.Join(errs...)
}

// digestHour is when the digest of a day is queued, on the day after, in UTC:
// late enough for what CloudTrail delivers late.
const digestHour = 6

// spaceDigestQueued holds the days whose digest was queued.
const spaceDigestQueued = "digest-queued"

// queueDigest queues the digest of yesterday, once.
func (h *shard) queueDigest(ctx context.Context, store *table.Store) error {
	if h.number != 0 { // the digest is one for all
		return nil
	}
	now := h.Now().UTC()
	if now.Hour() < digestHour {
		return nil
	}
	day := now.AddDate(0, 0, -1).Format(time.DateOnly)
	queued, err := store.Get(ctx, spaceDigestQueued, "last")
	if err != nil {
		return fmt.Errorf("queue the digest: %w", err)
	}
	if string(queued) == strconv.Quote(day) {
		return nil
	}
	m, err := notify.Message(notify.Item{Digest: day}, "digest")
	if err != nil {
		return err
	}
	if err := h.Queue.Send(ctx, m); err != nil {
		return fmt.Errorf("queue the digest: %w", err)
	}
	value, err := json.Marshal(day)
	if err != nil {
		return fmt.Errorf("queue the digest: %w", err)
	}
	if err := store.Put(ctx, spaceDigestQueued, "last", value); err != nil {
		return fmt.Errorf("queue the digest: %w", err)
	}
	return nil
}

func (h *Handler) report(rep Report, took time.Duration) {
	h.Metrics.Count(map[string]int64{
		"Ticks": 1, "AlertsQueued": int64(rep.Queued), "AlertsChanged": int64(rep.Alerts), "PendingEvents": rep.Left,
	})
	waits := time.Duration(0)
	if !rep.Oldest.IsZero() {
		waits = h.Now().Sub(rep.Oldest)
	}
	h.Metrics.Seconds(map[string]time.Duration{"TickSeconds": took, "OldestPendingSeconds": waits})
}
