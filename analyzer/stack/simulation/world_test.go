package simulation

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/catalog"
	"github.com/keytrail/keytrail/analyzer/cloud/cloudtest"
	"github.com/keytrail/keytrail/analyzer/settings"
	"github.com/keytrail/keytrail/analyzer/slack/slacktest"
	"github.com/keytrail/keytrail/fixtures"
	"github.com/keytrail/keytrail/queries"
)

const (
	trailBucket = "trail-logs-111122223333"
	channel     = "C0SECURITY"

	ingestTimeout  = 2 * time.Minute
	analyzeTimeout = 2 * time.Minute
	notifyTimeout  = time.Minute
	leaseTime      = 3 * time.Minute
	visibility     = 6 * time.Minute
	maxReceives    = 200
)

// epoch is when simulated time begins, a Monday morning.
var epoch = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// errKilled is what a function that was killed gets from every call.
var errKilled = errors.New("the function was killed")

// world is the account: its services, what is to be delivered, and the functions
// that are at work.
type world struct {
	t     testing.TB
	rng   *rand.Rand
	clock *cloudtest.Clock
	dir   string
	log   io.Writer // nil unless a single seed is looked at
	quiet bool      // faults are over

	lake, trail           *cloudtest.Bucket
	table                 *cloudtest.Table
	ingestQueue, ingestDL *cloudtest.Queue
	notifyQueue, notifyDL *cloudtest.Queue
	slack                 *slacktest.Server
	catalog               *catalog.Catalog
	settings              *analyzer.Settings

	deliveries []delivery // in order of time
	poison     []string   // bodies that were put into the notify queue on purpose
	misfits    int        // messages that nobody can read, put into the ingest queue

	running []*process
	warm    map[string][]*environment // that wait for an invocation
	lastRun time.Time                 // of analyze
	every   time.Duration             // between two runs of analyze
	shards  int
	clean   map[int]bool // by shard: the last run of analyze ended with nothing left to do
	runs    int          // of analyze
	ids     int
	calls   int
	killed  int
	faults  int
}

// delivery is something that reaches the account at a time.
type delivery struct {
	at  time.Time
	key string // of an object in the trail's bucket
	log []byte
	msg string // or a message for the ingest queue
}

// someDetections are those that the story gives work to: of events alone, of
// several in a window, of what a key was before. All of them would say the same
// and take three times as long.
var someDetections = sync.OnceValues(func() (*catalog.Catalog, error) {
	files := fstest.MapFS{}
	for _, name := range []string{
		"destruction/key_deletion_scheduled.sql", "destruction/key_disabled.sql", "destruction/mass_disable_or_delete.sql",
		"destruction/failed_destruction_attempt.sql", "destruction/use_of_dead_key.sql", "grants/grant_to_outsider.sql",
		"policy/public_key_policy.sql", "use/root_uses_kms.sql",
	} {
		text, err := queries.Files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	return catalog.Load(files, catalog.Options{Cases: fixtures.Cases})
})

func newWorld(t testing.TB, seed uint64, faulty bool, log io.Writer) *world {
	t.Helper()
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), clock: cloudtest.NewClock(epoch), log: log,
		quiet: !faulty, warm: map[string][]*environment{}, settings: settings.Default(),
	}
	var err error
	w.dir, err = os.MkdirTemp("", "keytrail-simulation-")
	require.NoError(t, err)
	w.catalog, err = someDetections()
	require.NoError(t, err)
	w.settings.Slack.Channel = channel
	w.settings.Organisation = []analyzer.Account{{ID: ours, Name: "production"}, {ID: ours2, Name: "staging"}}
	now := w.clock.Now
	twice := 0.0
	if faulty {
		twice = 0.1
	}
	w.lake = cloudtest.NewBucket(cloudtest.BucketOptions{Now: now, Rand: w.rng})
	w.trail = cloudtest.NewBucket(cloudtest.BucketOptions{Now: now, Rand: w.rng})
	w.table = cloudtest.NewTable(cloudtest.TableOptions{Now: now})
	w.ingestDL = cloudtest.NewQueue(cloudtest.QueueOptions{Name: "ingest-dlq", Now: now, Rand: w.rng})
	w.ingestQueue = cloudtest.NewQueue(cloudtest.QueueOptions{Name: "ingest", Now: now, Rand: w.rng, Twice: twice, Dead: w.ingestDL, MaxReceives: maxReceives})
	w.notifyDL = cloudtest.NewQueue(cloudtest.QueueOptions{Name: "notify-dlq", FIFO: true, Now: now, Rand: w.rng})
	w.notifyQueue = cloudtest.NewQueue(cloudtest.QueueOptions{Name: "notify", FIFO: true, Now: now, Rand: w.rng, Dead: w.notifyDL, MaxReceives: maxReceives})
	w.slack = slacktest.New(now)
	w.slack.AddChannel(slacktest.Channel{ID: channel, Name: "security", Member: true})
	w.shards, w.clean = 1, map[int]bool{}
	if seed%4 == 0 {
		w.shards = 2
	}
	w.every = 3 * time.Hour // without faults, how it comes in parts changes nothing
	if faulty {
		w.every = time.Duration(1+w.rng.IntN(40)) * time.Minute
	}
	w.lastRun = epoch
	return w
}

func (w *world) close() {
	w.slack.Close()
	require.NoError(w.t, os.RemoveAll(w.dir))
}

func (w *world) say(format string, args ...any) {
	if w.log != nil {
		_, _ = fmt.Fprintf(w.log, "%s  "+format+"\n", append([]any{w.clock.Now().Format("15:04:05.000")}, args...)...)
	}
}

// chance is true with probability p, as long as there are faults.
func (w *world) chance(p float64) bool { return !w.quiet && w.rng.Float64() < p }
