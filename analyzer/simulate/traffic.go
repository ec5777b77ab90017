package simulate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"runtime"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
)

// Options say what traffic to write. The zero value of each has a default.
type Options struct {
	Seed     uint64
	Start    time.Time     // default 2026-03-02T00:00:00Z, a Monday
	Duration time.Duration // default 24h

	// Records is how many to write in all; 0 means PerDay for each day.
	Records int64
	PerDay  int64 // default 100,000

	// KMSShare is the share of KMS among the records: 1, the default, for KMS
	// alone; 0.05 is what a trail of everything looks like.
	KMSShare float64

	Accounts int      // default 3, at most 1,000
	Regions  []string // default eu-west-1 and us-east-1; the first has most

	// Organisation is the id of an organisation trail, which is part of the
	// path of its files: o-exampleorg.
	Organisation string

	// Files sets the number of files, all about the same size; 0 means one for
	// each account, Region and 5 minutes that has events, as CloudTrail delivers.
	Files int
	// FileRecords is the most records in one file; more start another file of
	// the same delivery. Default 10,000.
	FileRecords int

	// Digests adds hourly digest files: a chain of hashes without signatures,
	// which S3 keeps in the metadata of the object.
	Digests bool

	Level   int // gzip level, default 6
	Workers int // default one for each core
}

// MaxAccounts is how large an organisation may be.
const MaxAccounts = 1000

// Totals tell what was written.
type Totals struct {
	Files    int64 // log files; digests are not counted
	Records  int64
	KMS      int64 // records of KMS among them
	RawBytes int64 // inflated
	GzBytes  int64
}

// DefaultStart is when simulated logs begin, a Monday.
var DefaultStart = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func (o *Options) defaults() error {
	if o.Start.IsZero() {
		o.Start = DefaultStart
	}
	o.Start = o.Start.UTC().Truncate(delivery)
	if o.Duration == 0 {
		o.Duration = 24 * time.Hour
	}
	if o.PerDay == 0 {
		o.PerDay = 100_000
	}
	if o.Records == 0 {
		o.Records = int64(float64(o.PerDay) * o.Duration.Hours() / 24)
	}
	if o.KMSShare == 0 {
		o.KMSShare = 1
	}
	if o.Accounts == 0 {
		o.Accounts = 3
	}
	if len(o.Regions) == 0 {
		o.Regions = []string{"eu-west-1", "us-east-1"}
	}
	if o.FileRecords == 0 {
		o.FileRecords = 10_000
	}
	if o.Level == 0 {
		o.Level = 6
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	switch {
	case o.Duration < delivery:
		return fmt.Errorf("duration %s is shorter than one delivery of CloudTrail (%s)", o.Duration, delivery)
	case o.Records < 0 || o.Files < 0 || o.FileRecords < 0 || o.Workers < 0:
		return errors.New("records, files, records of a file and workers must not be negative")
	case o.KMSShare < 0 || o.KMSShare > 1:
		return fmt.Errorf("share of KMS %g is not between 0 and 1", o.KMSShare)
	case o.Accounts < 0 || o.Accounts > MaxAccounts:
		return fmt.Errorf("%d accounts are not between 1 and %d", o.Accounts, MaxAccounts)
	case int64(o.Files) > o.Records:
		return fmt.Errorf("%d files cannot share %d records", o.Files, o.Records)
	}
	return nil
}

// Traffic writes the ordinary life of an organisation into sink: exactly
// Options.Records records. The same options give the same files, whatever the
// number of workers.
func Traffic(ctx context.Context, o Options, sink Sink) (Totals, error) {
	if err := o.defaults(); err != nil {
		return Totals{}, fmt.Errorf("simulate traffic: %w", err)
	}
	run := &run{o: &o, cast: newCast(o.Seed, o.Accounts, o.Regions), sink: sink}
	jobs := make(chan job, o.Workers)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(jobs)
		for j := range run.jobs() {
			select {
			case jobs <- j:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range o.Workers {
		group.Go(func() error {
			g, err := newTraffic(run)
			if err != nil {
				return err
			}
			for j := range jobs {
				if err := g.write(j); err != nil {
					return err
				}
			}
			run.add(g.totals)
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return Totals{}, fmt.Errorf("simulate traffic: %w", err)
	}
	if o.Digests {
		if err := run.writeDigests(); err != nil {
			return Totals{}, fmt.Errorf("simulate traffic: %w", err)
		}
	}
	return run.totals, nil
}

type run struct {
	o    *Options
	cast *cast
	sink Sink

	mu     sync.Mutex
	totals Totals
	logs   map[*place][]logFile // when digests are wanted
}

func (r *run) add(t Totals) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.totals.Files += t.Files
	r.totals.Records += t.Records
	r.totals.KMS += t.KMS
	r.totals.RawBytes += t.RawBytes
	r.totals.GzBytes += t.GzBytes
}

func (r *run) logged(p *place, f logFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.logs == nil {
		r.logs = map[*place][]logFile{}
	}
	r.logs[p] = append(r.logs[p], f)
}

func (r *run) writeDigests() error {
	for _, p := range r.cast.places {
		list, err := digests(r.o, p.account.id, p.region, r.logs[p])
		if err != nil {
			return err
		}
		for _, d := range list {
			w, err := r.sink.Create(d.name)
			if err != nil {
				return err
			}
			z, err := gzip.NewWriterLevel(w, r.o.Level)
			if err != nil {
				return err
			}
			_, err = z.Write(d.body)
			if err := errors.Join(err, z.Close(), w.Close()); err != nil {
				return fmt.Errorf("digest %s: %w", d.name, err)
			}
		}
	}
	return nil
}

// job is what one delivery has to say: the events of an account and Region in a
// span of time.
type job struct {
	place    *place
	index    uint64
	from, to int64 // unix seconds
	records  int
	next     *place // the next account in this Region, whose shared key we use
	before   *place // the account before, which uses ours
	sent     int    // calls on the key of next: our copies
	owned    int    // calls of before on our key: our copies
}

// rhythm is how busy the organisation is: working days from 8 to 18, quiet
// nights and weekends. On average over a week it is 1.
func rhythm(at time.Time) float64 {
	weekday, hour := at.Weekday(), at.Hour()
	switch {
	case weekday == time.Saturday || weekday == time.Sunday:
		return 0.62
	case hour >= 8 && hour < 18:
		return 1.74
	case hour >= 6 && hour < 22:
		return 1.0
	default:
		return 0.62
	}
}

// sharedShare is the part of an account's calls that use the next account's
// key; both trails record them.
const sharedShare = 0.02

// jobs plans the run. Counts come from running totals, so that they add up to
// exactly what was asked for.
func (r *run) jobs() iter.Seq[job] {
	if r.o.Files > 0 {
		return r.equalJobs()
	}
	return func(yield func(job) bool) {
		o := r.o
		slots := int(o.Duration / delivery)
		var week float64
		for s := range slots {
			week += rhythm(o.Start.Add(time.Duration(s) * delivery))
		}
		var done float64
		var given int64
		for s := range slots {
			at := o.Start.Add(time.Duration(s) * delivery)
			share := rhythm(at)
			for i, p := range r.cast.places {
				done += share / week * p.weight
				upTo := int64(done*float64(o.Records) + 0.5)
				if s == slots-1 && i == len(r.cast.places)-1 {
					upTo = o.Records
				}
				n := upTo - given
				given = upTo
				if n <= 0 {
					continue
				}
				j := job{place: p, index: uint64(s), from: at.Unix(), to: at.Add(delivery).Unix(), records: int(n)}
				before := r.neighbour(i, -1)
				j.next, j.before = r.cast.places[r.neighbour(i, 1)], r.cast.places[before]
				j.sent, j.owned = r.sharedCalls(i, share/week), r.sharedCalls(before, share/week)
				if !yield(j) {
					return
				}
			}
		}
	}
}

// equalJobs plans a set number of files of one size, over all places and times.
func (r *run) equalJobs() iter.Seq[job] {
	return func(yield func(job) bool) {
		o := r.o
		var given int64
		span := o.Duration.Seconds() / float64(o.Files)
		for f := range o.Files {
			upTo := o.Records * int64(f+1) / int64(o.Files)
			from := o.Start.Unix() + int64(span*float64(f))
			j := job{
				place: r.pick(unit(o.Seed, 41, uint64(f))), index: uint64(f),
				from: from, to: max(from+int64(span), from+1), records: int(upTo - given),
			}
			given = upTo
			if !yield(j) {
				return
			}
		}
	}
}

func (r *run) pick(f float64) *place {
	for _, p := range r.cast.places {
		if f -= p.weight; f < 0 {
			return p
		}
	}
	return r.cast.places[0]
}

// neighbour is the place of the account before or after, in the same Region.
func (r *run) neighbour(i, step int) int {
	n := len(r.cast.places)
	return (i + step*len(r.o.Regions) + n) % n
}

// sharedCalls is how many calls on the next account's key a place makes in a
// slot that has this share of the run. It depends on the plan alone, so that
// both accounts write their copies without knowing of each other; where traffic
// is too thin to hold them there are none.
func (r *run) sharedCalls(i int, share float64) int {
	if len(r.cast.accounts) < 2 {
		return 0
	}
	kms := float64(r.o.Records) * share * r.o.KMSShare
	mine := kms * r.cast.places[i].weight
	theirs := kms * r.cast.places[r.neighbour(i, 1)].weight
	return int(min(mine, theirs) * sharedShare)
}

// traffic writes jobs; each worker has one.
type traffic struct {
	run *run
	r   *random
	s   scribe

	by     caller
	digits []byte
	agents map[string]string // CLI user agents by verb

	job    job
	left   int // records still to write of the job
	inFile int
	part   uint64
	buf    []byte
	oldest int64
	newest int64

	out    io.WriteCloser
	count  countingWriter
	zip    *gzip.Writer
	sum    hash.Hash
	name   string
	err    error
	totals Totals
}

func newTraffic(r *run) (*traffic, error) {
	g := &traffic{run: r, agents: map[string]string{}}
	g.s.out = g.take
	var err error
	if g.zip, err = gzip.NewWriterLevel(io.Discard, r.o.Level); err != nil {
		return nil, fmt.Errorf("gzip level %d: %w", r.o.Level, err)
	}
	if r.o.Digests {
		g.sum = sha256.New()
	}
	return g, nil
}

const flushAt = 256 << 10

// write makes the events of a job and its files.
func (g *traffic) write(j job) error {
	g.job, g.left, g.part = j, j.records, 0
	// Two runs that continue one another have one seed, and must not have the
	// same event ids.
	g.r = newRandom(g.run.o.Seed, j.place.number, j.index, bits(g.run.o.Start.Unix()))
	g.s.r = g.r

	g.sharedCopies(j)
	g.scheduled(j)

	kms := g.table(kmsMix, j.from)
	other := g.table(otherMix, j.from)
	span := float64(j.to - j.from)
	total := float64(max(g.left, 1))
	for g.left > 0 && g.err == nil {
		// Forward through the span, a little out of order, now and then with
		// one that the file before should have had.
		passed := 1 - float64(g.left)/total
		at := j.from + int64(span*passed) + int64(g.r.IntN(11)) - 5
		if g.r.chance(0.02) {
			at -= int64(g.r.IntN(240))
		}
		at = min(max(at, j.from-240, g.run.o.Start.Unix()), j.to-1)
		m := &kms
		if g.run.o.KMSShare < 1 && !g.r.chance(g.run.o.KMSShare) {
			m = &other
		}
		m.pick(g.r).write(g, j.place, at)
	}
	g.closeFile()
	err := g.err
	g.err = nil
	return err
}

// weighted is a mix ready to draw from.
type weighted struct {
	list []emitter
	upTo []float64
}

func (g *traffic) table(list []emitter, from int64) weighted {
	w := weighted{list: list}
	at := time.Unix(from, 0).UTC()
	var sum float64
	for _, e := range list {
		switch r := rhythm(at); {
		case at.Weekday() == time.Saturday || at.Weekday() == time.Sunday:
			sum += e.weekend
		case r > 1.5:
			sum += e.office
		default:
			sum += e.night
		}
		w.upTo = append(w.upTo, sum)
	}
	return w
}

func (w *weighted) pick(r *random) *emitter {
	f := r.Float64() * w.upTo[len(w.upTo)-1]
	for i, upTo := range w.upTo {
		if f < upTo {
			return &w.list[i]
		}
	}
	return &w.list[len(w.list)-1]
}

// take writes a record into the file; what exceeds the plan is dropped.
func (g *traffic) take(c *call) {
	if g.left == 0 || g.err != nil {
		return
	}
	if g.inFile == 0 {
		g.openFile()
		if g.err != nil {
			return
		}
		g.oldest, g.newest = c.at, c.at
		g.buf = append(g.buf[:0], `{"Records":[`...)
	} else {
		g.buf = append(g.buf, ',')
	}
	c.at = min(c.at, g.job.to-1)
	g.oldest, g.newest = min(g.oldest, c.at), max(g.newest, c.at)
	g.buf = c.append(g.buf, g.r)
	g.left--
	g.inFile++
	g.totals.Records++
	if c.source == kmsSource {
		g.totals.KMS++
	}
	if len(g.buf) >= flushAt {
		g.flush()
	}
	if g.inFile == g.run.o.FileRecords {
		g.closeFile()
	}
}

func (g *traffic) openFile() {
	at := time.Unix(g.job.to, 0).UTC()
	if t := at.Truncate(delivery); !t.Equal(at) {
		at = t.Add(delivery)
	}
	g.name = string(appendObjectKey(nil, g.run.o.Organisation, g.job.place.account.id, g.job.place.region, at,
		mix(g.run.o.Seed, g.job.place.number, g.job.index, g.part, 51)))
	g.part++
	g.out, g.err = g.run.sink.Create(g.name)
	if g.err != nil {
		return
	}
	g.count = countingWriter{w: g.out}
	g.zip.Reset(&g.count)
	if g.sum != nil {
		g.sum.Reset()
	}
}

func (g *traffic) flush() {
	g.totals.RawBytes += int64(len(g.buf))
	if g.sum != nil {
		g.sum.Write(g.buf)
	}
	if _, err := g.zip.Write(g.buf); err != nil {
		g.err = fmt.Errorf("log file %s: %w", g.name, err)
	}
	g.buf = g.buf[:0]
}

func (g *traffic) closeFile() {
	if g.inFile == 0 || g.out == nil {
		return
	}
	g.buf = append(g.buf, `]}`...)
	g.flush()
	if err := errors.Join(g.zip.Close(), g.out.Close()); err != nil && g.err == nil {
		g.err = fmt.Errorf("log file %s: %w", g.name, err)
	}
	if g.sum != nil {
		f := logFile{name: g.name, oldest: g.oldest, newest: g.newest}
		g.sum.Sum(f.hash[:0])
		g.run.logged(g.job.place, f)
	}
	g.totals.Files++
	g.totals.GzBytes += g.count.n
	g.out, g.inFile = nil, 0
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
