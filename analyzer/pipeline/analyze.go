package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/analyzer/engine"
	"github.com/keytrail/keytrail/analyzer/memory"
)

// sliceEvents is how many events one tick takes when more are waiting. Days
// are not parted unless one alone has more: the roll-ups of a slice of this
// size fit the cache, and memory stays bounded however much is waiting.
const sliceEvents = 1_000_000

// Lake is what the analysis needs of the lake.
type Lake interface {
	// Root is the folder that the paths of objects are relative to.
	Root() string
	// Fetch makes objects readable under Root, all of them at once: those that
	// are not among them may be gone afterwards.
	Fetch(ctx context.Context, objects []analyzer.Object) error
	// Pending lists the objects that were not analysed yet.
	Pending(ctx context.Context) ([]analyzer.Object, error)
	// Analysed takes objects out of what is pending. Doing it twice is no error.
	Analysed(ctx context.Context, objects []analyzer.Object) error
	// History lists all objects of a table whose day is between from and to.
	History(ctx context.Context, table analyzer.Table, from, to time.Time) ([]analyzer.Object, error)
}

// Memory is what the analysis needs of the memory.
type Memory interface {
	// Root is the folder that holds the files of generations.
	Root() string
	// Load reads the current manifest and makes the files of its generation
	// readable under Root. Without a manifest the memory is empty.
	Load(ctx context.Context) (memory.Manifest, error)
	// Commit makes m, whose files lie under Root, the current memory in one step.
	Commit(ctx context.Context, m memory.Manifest) error
}

// Analysis runs the detections over what is new in a lake.
type Analysis struct {
	Lake     Lake
	Memory   Memory
	Store    alert.Store
	Settings *analyzer.Settings
	Catalog  *catalog.Catalog

	LearnUntil  time.Time // see engine.Config
	TempDir     string
	MemoryLimit int64 // of DuckDB, in bytes
	Threads     int
	// SliceEvents is how many events a tick takes at most, as far as days
	// allow; 0 means the default.
	SliceEvents int64
	// SliceObjects and SliceBytes bound how many objects a tick takes and how
	// large they are together, also where that parts a day; 0 means no limit.
	SliceObjects int
	SliceBytes   int64
	// Shard names this analysis when several share a store, each with a lake and
	// a memory of its own; empty for one that is alone.
	Shard string
	// Stop, when set, is asked between slices. When it says true, the run ends
	// there without an error: what is left waits for the next.
	Stop func() bool
	// Forget is set when the lake is thrown away afterwards: memory is then
	// kept only as long as slices follow.
	Forget bool
	// Step, when set, is called at every boundary between two effects. An
	// error ends the run there, as a crash would.
	Step func(name string) error
	// Progress, when set, is told how many of how many events are done.
	Progress func(done, total int64)
}

// Analyzed is what a run found, over all its ticks.
type Analyzed struct {
	Counts     engine.Counts
	Learning   []engine.Learning
	Suppressed map[string]int64
	// Alerts are those that changed, each as it is after the last tick.
	Alerts []analyzer.Alert
	Ticks  int
	// Left is how many events still wait, repeated ones included, and Oldest the
	// time of the first of them: not zero only when the run ended early.
	Left   int64
	Oldest time.Time
	// First and Now are the times of the oldest and the newest event ever seen.
	First, Now time.Time
}

// run is an Analysis under way.
type run struct {
	*Analysis
	engine *engine.Engine
	memory memory.Manifest
	slice  engine.Slice // being analysed
}

// Run analyses everything that is pending, or what it can before Stop says so.
// What a crashed run left half done is done again with the same result.
func (a *Analysis) Run(ctx context.Context) (res Analyzed, err error) {
	res = Analyzed{Suppressed: map[string]int64{}}
	res.Counts.EventsBySource = map[string]int64{}
	r := &run{Analysis: a}
	if r.memory, err = a.Memory.Load(ctx); err != nil {
		return res, err
	}
	res.First, res.Now = r.memory.HistoryStart, r.memory.Now
	pending, err := r.pending(ctx)
	if err != nil {
		return res, err
	}
	if len(pending) == 0 {
		return res, nil
	}
	if err := r.open(ctx); err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, r.engine.Close()) }()

	plan := Plan(pending, Limits{Events: cmp.Or(a.SliceEvents, sliceEvents), Objects: a.SliceObjects, Bytes: a.SliceBytes})
	total := events(pending)
	res.Left, res.Oldest = total, earliest(plan)
	changed := map[string]analyzer.Alert{}
	for i, objects := range plan {
		if i > 0 && a.Stop != nil && a.Stop() {
			break
		}
		r.slice = engine.Slice{Objects: objects, Forget: a.Forget && i == len(plan)-1, Waiting: earliest(plan[i+1:])}
		tick, err := r.tick(ctx)
		if err != nil {
			return res, err
		}
		res.add(tick.result)
		for _, al := range tick.alerts {
			changed[al.ID] = al
		}
		res.Left, res.Oldest = res.Left-events(objects), r.slice.Waiting
		if a.Progress != nil {
			a.Progress(total-res.Left, total)
		}
	}
	for _, al := range changed {
		res.Alerts = append(res.Alerts, al)
	}
	slices.SortFunc(res.Alerts, func(x, y analyzer.Alert) int {
		return cmp.Or(x.FirstTime.Compare(y.FirstTime), cmp.Compare(x.ID, y.ID))
	})
	return res, nil
}

// events is how many rows the objects have.
func events(objects []analyzer.Object) (n int64) {
	for _, o := range objects {
		n += o.Rows
	}
	return n
}

// earliest is the time of the first event of the slices.
func earliest(plan [][]analyzer.Object) (at time.Time) {
	for _, objects := range plan {
		for _, o := range objects {
			if at.IsZero() || o.MinTime.Before(at) {
				at = o.MinTime
			}
		}
	}
	return at
}

// ticked is the outcome of one tick.
type ticked struct {
	result *engine.Result
	alerts []analyzer.Alert
}

// tick analyses one slice. The order is what makes a crash harmless: findings
// and alerts are written under ids that depend on their content, then memory
// moves on in one step, and only then is the slice taken out of what is
// pending. A slice that memory knows as consumed is never analysed again.
func (r *run) tick(ctx context.Context) (ticked, error) {
	in := r.slice
	if err := r.Lake.Fetch(ctx, r.near()); err != nil {
		return ticked{}, err
	}
	result, err := r.engine.Tick(ctx, r.memory, in)
	if err != nil {
		return ticked{}, err
	}
	for i := range result.Findings {
		f := &result.Findings[i]
		f.ID = analyzer.InShard(f.ID, r.Shard)
	}
	out, err := alert.Apply(ctx, r.Store, analyzer.TickResult{Findings: result.Findings, Rerun: result.Rerun}, alert.RulesOf(*r.Settings))
	if err != nil {
		return ticked{}, fmt.Errorf("save what was found: %w", err)
	}
	if err := r.step("saved"); err != nil {
		return ticked{}, err
	}
	if !in.Forget {
		next := result.Next
		next.Consumed = nil
		for _, o := range in.Objects {
			next.Consumed = append(next.Consumed, o.Path)
		}
		if err := r.Memory.Commit(ctx, next); err != nil {
			return ticked{}, err
		}
		if err := r.step("committed"); err != nil {
			return ticked{}, err
		}
		r.memory = next
	}
	if err := r.Lake.Analysed(ctx, in.Objects); err != nil {
		return ticked{}, err
	}
	return ticked{result, out.Alerts}, r.step("done")
}

// near lists the objects that any tick of the slice may read: its own, and those
// in which memory looks up the events behind a roll-up.
func (r *run) near() []analyzer.Object {
	return slices.Concat(r.slice.Objects, r.memory.Hot)
}

func (a *Analysis) step(name string) error {
	if a.Step == nil {
		return nil
	}
	return a.Step(name)
}

// pending lists what waits, without what a crashed run had analysed already.
func (r *run) pending(ctx context.Context) ([]analyzer.Object, error) {
	all, err := r.Lake.Pending(ctx)
	if err != nil {
		return nil, err
	}
	consumed := pathsOf(r.memory.Consumed)
	var pending, finished []analyzer.Object
	for _, o := range all {
		if consumed[o.Path] {
			finished = append(finished, o)
		} else {
			pending = append(pending, o)
		}
	}
	if len(finished) > 0 {
		if err := r.Lake.Analysed(ctx, finished); err != nil {
			return nil, err
		}
	}
	return pending, nil
}

func pathsOf(paths []string) map[string]bool {
	set := make(map[string]bool, len(paths))
	for _, p := range paths {
		set[p] = true
	}
	return set
}

func (r *run) open(ctx context.Context) (err error) {
	r.engine, err = engine.Open(ctx, engine.Config{
		LakeRoot: r.Lake.Root(), MemoryRoot: r.Memory.Root(), TempDir: r.TempDir,
		MemoryLimit: r.MemoryLimit, Threads: r.Threads,
		Settings: r.Settings, Detections: Enabled(r.Catalog, r.Settings), Render: r.render,
		LearnUntil: r.LearnUntil, History: r.history, Step: r.Step,
	})
	return err
}

// history lists the objects that were analysed, and makes them readable. Those
// that wait are not among them: an event that two of them bring would else pass
// for seen in each. An event and its copies have one time, so only the days that
// the slice has events of are looked at: one event of last year does not make a
// tick read the year.
func (r *run) history(ctx context.Context, table analyzer.Table, from, to time.Time) ([]analyzer.Object, error) {
	var objects []analyzer.Object
	for _, days := range r.days(table, from, to) {
		more, err := r.Lake.History(ctx, table, days[0], days[1])
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	pending, err := r.Lake.Pending(ctx)
	if err != nil {
		return nil, err
	}
	waits := make(map[string]bool, len(pending))
	for _, o := range pending {
		waits[o.Path] = true
	}
	objects = slices.DeleteFunc(objects, func(o analyzer.Object) bool { return waits[o.Path] })
	// The slice is still being read, so what it needs is asked for again.
	return objects, r.Lake.Fetch(ctx, slices.Concat(r.near(), objects))
}

// days are the days between from and to of which the slice has events of a
// table, as ranges without gaps: the first and the last day of each.
func (r *run) days(table analyzer.Table, from, to time.Time) (ranges [][2]time.Time) {
	var days []time.Time
	for _, o := range r.slice.Objects {
		if d := day(o); o.Table == table && !d.Before(from.UTC().Truncate(24*time.Hour)) && !d.After(to) {
			days = append(days, d)
		}
	}
	slices.SortFunc(days, time.Time.Compare)
	for _, d := range slices.CompactFunc(days, time.Time.Equal) {
		if n := len(ranges); n > 0 && d.Sub(ranges[n-1][1]) == 24*time.Hour {
			ranges[n-1][1] = d
			continue
		}
		ranges = append(ranges, [2]time.Time{d, d})
	}
	return ranges
}

func (a *Analysis) render(d *analyzer.Detection, at engine.Moment) (string, error) {
	given := map[string]any{"now": at.Now, "learn_until": at.LearnUntil, "history_start": at.HistoryStart, "has_org": at.HasOrg}
	maps.Copy(given, a.Settings.Detections[d.ID].Params)
	return catalog.Render(*d, given)
}

// Enabled lists the detections that the settings leave on, with the status
// that they give them.
func Enabled(c *catalog.Catalog, s *analyzer.Settings) []*analyzer.Detection {
	var on []*analyzer.Detection
	for _, d := range c.Detections() {
		o := s.Detections[d.ID]
		if o.Enabled != nil && !*o.Enabled {
			continue
		}
		if o.Status != "" {
			d.Status = analyzer.DetectionStatus(o.Status)
		}
		on = append(on, &d)
	}
	return on
}

// Limits bound a slice. Zero means no limit.
type Limits struct {
	Events  int64 // about: a day is parted only when it alone has more than twice as many
	Objects int   // at most
	Bytes   int64 // at most, unless one object alone has more
}

// Plan parts objects into slices in order of time, each of whole days as far as
// the limits allow.
func Plan(objects []analyzer.Object, limit Limits) [][]analyzer.Object {
	objects = slices.Clone(objects)
	slices.SortFunc(objects, func(a, b analyzer.Object) int {
		return cmp.Or(day(a).Compare(day(b)), cmp.Compare(a.Path, b.Path))
	})
	var plan [][]analyzer.Object
	var rows, bytes int64
	for i, o := range objects {
		full := i == 0
		if limit.Events > 0 && rows+o.Rows > limit.Events && !full {
			full = !day(o).Equal(day(objects[i-1])) || rows >= 2*limit.Events
		}
		full = full || limit.Objects > 0 && len(plan[len(plan)-1]) >= limit.Objects
		full = full || limit.Bytes > 0 && bytes+o.Bytes > limit.Bytes
		if full {
			plan = append(plan, nil)
			rows, bytes = 0, 0
		}
		plan[len(plan)-1] = append(plan[len(plan)-1], o)
		rows, bytes = rows+o.Rows, bytes+o.Bytes
	}
	return plan
}

func day(o analyzer.Object) time.Time { return o.MinTime.UTC().Truncate(24 * time.Hour) }

// add sums a tick up.
func (r *Analyzed) add(t *engine.Result) {
	r.Ticks++
	r.Counts.Events += t.Counts.Events
	r.Counts.Kept += t.Counts.Kept
	r.Counts.Duplicate += t.Counts.Duplicate
	r.Counts.Late += t.Counts.Late
	for s, n := range t.Counts.EventsBySource {
		r.Counts.EventsBySource[s] += n
	}
	for s, n := range t.SuppressedBy {
		r.Suppressed[s] += int64(n)
	}
	r.Learning = t.Learning // what was learned by the end counts
	r.First, r.Now = t.Next.HistoryStart, t.Next.Now
}
