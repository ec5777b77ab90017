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
	// Pending lists the objects that were not analysed yet.
	Pending(ctx context.Context) ([]analyzer.Object, error)
	// Analysed takes objects out of what is pending. Doing it twice is no error.
	Analysed(ctx context.Context, objects []analyzer.Object) error
	// History lists all objects of a table whose day is between from and to.
	History(ctx context.Context, table analyzer.Table, from, to time.Time) ([]analyzer.Object, error)
}

// Analysis runs the detections over what is new in a lake.
type Analysis struct {
	Lake     Lake
	Memory   *memory.Dir
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
	// First and Now are the times of the oldest and the newest event ever seen.
	First, Now time.Time
}

// Run analyses everything that is pending. What a crashed run left half done is
// done again with the same result.
func (a *Analysis) Run(ctx context.Context) (res Analyzed, err error) {
	res = Analyzed{Suppressed: map[string]int64{}}
	res.Counts.EventsBySource = map[string]int64{}
	m, err := a.Memory.Load()
	if err != nil {
		return res, err
	}
	res.First, res.Now = m.HistoryStart, m.Now
	pending, err := a.pending(ctx, m)
	if err != nil {
		return res, err
	}
	if len(pending) == 0 {
		return res, nil
	}
	e, err := a.open(ctx)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()

	slicesOf := Plan(pending, cmp.Or(a.SliceEvents, sliceEvents))
	var total, done int64
	for _, o := range pending {
		total += o.Rows
	}
	changed := map[string]analyzer.Alert{}
	for i, objects := range slicesOf {
		in := engine.Slice{Objects: objects, Forget: a.Forget && i == len(slicesOf)-1, Waiting: earliest(slicesOf[i+1:])}
		tick, err := a.tick(ctx, e, &m, in)
		if err != nil {
			return res, err
		}
		res.add(tick.result)
		for _, al := range tick.alerts {
			changed[al.ID] = al
		}
		for _, o := range objects {
			done += o.Rows
		}
		if a.Progress != nil {
			a.Progress(done, total)
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
func (a *Analysis) tick(ctx context.Context, e *engine.Engine, m *memory.Manifest, in engine.Slice) (ticked, error) {
	result, err := e.Tick(ctx, *m, in)
	if err != nil {
		return ticked{}, err
	}
	out, err := alert.Apply(ctx, a.Store, analyzer.TickResult{Findings: result.Findings, Rerun: result.Rerun}, alert.RulesOf(*a.Settings))
	if err != nil {
		return ticked{}, fmt.Errorf("save what was found: %w", err)
	}
	if err := a.step("saved"); err != nil {
		return ticked{}, err
	}
	if !in.Forget {
		next := result.Next
		next.Consumed = nil
		for _, o := range in.Objects {
			next.Consumed = append(next.Consumed, o.Path)
		}
		if err := a.Memory.Commit(next); err != nil {
			return ticked{}, err
		}
		if err := a.step("committed"); err != nil {
			return ticked{}, err
		}
		*m = next
	}
	if err := a.Lake.Analysed(ctx, in.Objects); err != nil {
		return ticked{}, err
	}
	return ticked{result, out.Alerts}, a.step("done")
}

func (a *Analysis) step(name string) error {
	if a.Step == nil {
		return nil
	}
	return a.Step(name)
}

// pending lists what waits, without what a crashed run had analysed already.
func (a *Analysis) pending(ctx context.Context, m memory.Manifest) ([]analyzer.Object, error) {
	all, err := a.Lake.Pending(ctx)
	if err != nil {
		return nil, err
	}
	consumed := map[string]bool{}
	for _, p := range m.Consumed {
		consumed[p] = true
	}
	var pending, finished []analyzer.Object
	for _, o := range all {
		if consumed[o.Path] {
			finished = append(finished, o)
		} else {
			pending = append(pending, o)
		}
	}
	if len(finished) > 0 {
		if err := a.Lake.Analysed(ctx, finished); err != nil {
			return nil, err
		}
	}
	return pending, nil
}

func (a *Analysis) open(ctx context.Context) (*engine.Engine, error) {
	return engine.Open(ctx, engine.Config{
		LakeRoot: a.Lake.Root(), MemoryRoot: a.Memory.Root(), TempDir: a.TempDir,
		MemoryLimit: a.MemoryLimit, Threads: a.Threads,
		Settings: a.Settings, Detections: Enabled(a.Catalog, a.Settings), Render: a.render,
		LearnUntil: a.LearnUntil, History: a.history, Step: a.Step,
	})
}

// history lists the objects that were analysed. Those that wait are not among
// them: an event that two of them bring would else pass for seen in each.
func (a *Analysis) history(ctx context.Context, table analyzer.Table, from, to time.Time) ([]analyzer.Object, error) {
	objects, err := a.Lake.History(ctx, table, from, to)
	if err != nil {
		return nil, err
	}
	pending, err := a.Lake.Pending(ctx)
	if err != nil {
		return nil, err
	}
	waits := make(map[string]bool, len(pending))
	for _, o := range pending {
		waits[o.Path] = true
	}
	return slices.DeleteFunc(objects, func(o analyzer.Object) bool { return waits[o.Path] }), nil
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

// Plan parts objects into slices in order of time, each of whole days and of
// about limit events.
func Plan(objects []analyzer.Object, limit int64) [][]analyzer.Object {
	objects = slices.Clone(objects)
	slices.SortFunc(objects, func(a, b analyzer.Object) int {
		return cmp.Or(day(a).Compare(day(b)), cmp.Compare(a.Path, b.Path))
	})
	var plan [][]analyzer.Object
	var rows int64
	for i, o := range objects {
		if i == 0 || rows+o.Rows > limit && (!day(o).Equal(day(objects[i-1])) || rows >= 2*limit) {
			plan = append(plan, nil)
			rows = 0
		}
		plan[len(plan)-1] = append(plan[len(plan)-1], o)
		rows += o.Rows
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
