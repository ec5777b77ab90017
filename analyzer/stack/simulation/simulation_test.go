package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/alert"
	"github.com/keytrail/keytrail/analyzer/cloud"
	"github.com/keytrail/keytrail/analyzer/store/table"
)

var (
	seeds = flag.Uint64("seeds", 12, "how many seeds to try")
	first = flag.Uint64("first", 1, "the first of them")
	seed  = flag.Uint64("seed", 0, "try this seed alone and show its calls")
)

func TestWhateverFailsEveryAlertIsToldOnce(t *testing.T) {
	if *seed != 0 {
		trySeed(t, *seed, os.Stderr)
		return
	}
	for s := *first; s < *first+*seeds; s++ {
		t.Run(fmt.Sprint("seed ", s), func(t *testing.T) {
			t.Parallel()
			trySeed(t, s, nil)
		})
	}
}

func trySeed(t *testing.T, seed uint64, log io.Writer) {
	t.Helper()
	want := play(t, seed, false, nil)
	got := play(t, seed, true, log)
	require.Equal(t, want.alerts, got.alerts, "the alerts of seed %d", seed)
	for thread, n := range got.parents {
		require.Equal(t, 1, n, "messages about %s, seed %d", thread, seed)
	}
	// A thread has the name of its alert's first id: an event that comes late moves
	// the alert's start and with it its id, but not its thread.
	for _, thread := range got.told {
		require.Equal(t, 1, got.parents[thread], "messages about %s, seed %d", thread, seed)
	}
}

func TestASeedGivesTheSameRunAgain(t *testing.T) {
	var a, b bytes.Buffer
	play(t, 3, true, &a)
	play(t, 3, true, &b)
	require.Equal(t, strings.Split(a.String(), "\n"), strings.Split(b.String(), "\n"))
}

// outcome is what a run came to.
type outcome struct {
	alerts  []string       // what the store has, in short
	told    []string       // threads that there is to be a message of
	parents map[string]int // messages that are no replies, by alert
}

// play lets the story of a seed happen until it is quiet.
func play(t *testing.T, seed uint64, faulty bool, log io.Writer) outcome {
	t.Helper()
	w := newWorld(t, seed, faulty, log)
	defer w.close()
	w.deliver(newStory(seed), faulty)
	w.run()
	w.checkQueues(seed)
	return w.outcome()
}

const (
	maxSteps = 200_000
	maxTime  = 3 * 24 * time.Hour
)

// run lets things happen until all that was delivered is dealt with.
func (w *world) run() {
	for _, p := range w.poison {
		require.NoError(w.t, w.notifyQueue.Send(context.Background(), cloud.Message{Body: p, Group: "poison", Dedup: "poison"}))
	}
	after := 0 // steps since the last delivery
	for step := 0; ; step++ {
		require.Less(w.t, step, maxSteps, "it does not come to an end")
		require.Less(w.t, w.clock.Now().Sub(epoch), maxTime, "it does not come to an end")
		if len(w.deliveries) == 0 {
			if after++; after > 400 && !w.quiet {
				w.quiet = true
				w.say("--- from here on all is well")
			}
			if w.done() {
				return
			}
		}
		w.step()
	}
}

// done tells whether nothing is left to do.
func (w *world) done() bool {
	if len(w.running) > 0 || len(w.ingestQueue.Messages()) > 0 || len(w.notifyQueue.Messages()) > 0 || !w.allClean() {
		return false
	}
	waiting, _, err := w.lake.List(context.Background(), "inbox/", "")
	require.NoError(w.t, err)
	return len(waiting) == 0
}

func (w *world) allClean() bool {
	for n := range w.shards {
		if !w.clean[n] {
			return false
		}
	}
	return true
}

// step does one thing out of those that can be done.
func (w *world) step() {
	var can []func()
	add := func(weight int, do func()) {
		for range weight {
			can = append(can, do)
		}
	}
	for _, p := range w.running {
		add(4, func() { w.goOn(p) })
	}
	if len(w.deliveries) > 0 && !w.deliveries[0].at.After(w.clock.Now()) {
		add(4, w.deliverNext)
	}
	if w.ingestQueue.Waiting() > 0 && w.count("ingest") < 2 {
		add(2, func() {
			w.consume("ingest", w.ingestQueue, ingestTimeout, handleIngest)
		})
	}
	if w.notifyQueue.Waiting() > 0 && w.count("notify") < 2 {
		add(2, func() {
			w.consume("notify", w.notifyQueue, notifyTimeout, handleNotify)
		})
	}
	if w.clock.Now().Sub(w.lastRun) >= w.every && w.count("analyze") < 2 {
		add(2, w.analyzes)
	}
	if len(can) == 0 || w.rng.IntN(20) == 0 && len(w.running) == 0 {
		w.clock.Advance(time.Duration(1+w.rng.IntN(60)) * time.Second)
		return
	}
	can[w.rng.IntN(len(can))]()
}

// deliverNext brings the next delivery, or an earlier one again.
func (w *world) deliverNext() {
	d := w.deliveries[0]
	w.deliveries = w.deliveries[1:]
	if w.chance(0.15) { // notifications repeat
		again := d
		again.at = w.clock.Now().Add(time.Duration(w.rng.IntN(1200)) * time.Second)
		w.deliveries = append(w.deliveries, again)
	}
	body := d.msg
	if d.key != "" {
		w.say("delivered %s", d.key)
		_, err := w.trail.Put(context.Background(), d.key, bytes.NewReader(d.log), cloud.Condition{})
		require.NoError(w.t, err)
		body = w.json(fields{"Records": []fields{{
			"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
			"s3": fields{"bucket": fields{"name": trailBucket}, "object": fields{"key": url.QueryEscape(d.key), "size": len(d.log)}},
		}}})
		switch w.rng.IntN(3) {
		case 0:
			body = w.json(fields{"Type": "Notification", "Message": body})
		case 1:
			body = w.json(fields{"source": "aws.s3", "detail-type": "Object Created", "detail": fields{
				"bucket": fields{"name": trailBucket}, "object": fields{"key": d.key, "size": len(d.log)},
			}})
		}
	}
	require.NoError(w.t, w.ingestQueue.Send(context.Background(), cloud.Message{Body: body}))
}

// checkQueues checks that nothing is left anywhere but what was put there on
// purpose.
func (w *world) checkQueues(seed uint64) {
	require.Empty(w.t, w.ingestDL.Messages(), "dead letters of ingest, seed %d", seed)
	var dead []string
	for _, m := range w.notifyDL.Messages() {
		dead = append(dead, m.Body)
	}
	require.Equal(w.t, w.poison, dead, "dead letters of notify, seed %d", seed)
	quarantine, _, err := w.lake.List(context.Background(), "quarantine/", "")
	require.NoError(w.t, err)
	if w.misfits == 0 {
		require.Empty(w.t, quarantine, "quarantine, seed %d", seed)
	} else {
		require.NotEmpty(w.t, quarantine, "quarantine, seed %d", seed)
	}
}

// outcome says what the store and Slack have.
func (w *world) outcome() outcome {
	o := outcome{parents: map[string]int{}}
	s := table.New(w.table, table.Options{Now: w.clock.Now})
	alerts, err := s.Alerts(context.Background(), time.Time{})
	require.NoError(w.t, err)
	for _, a := range alerts {
		if a.Count == 0 {
			continue
		}
		// Which findings hide, and which texts Slack shows, follows from these.
		o.alerts = append(o.alerts, w.json(fields{
			"id": a.ID, "detection": a.Detection, "severity": a.Severity, "action": a.Action, "count": a.Count,
			"findings": a.FindingIDs, "key": a.Key, "principal": a.Principal, "latest": a.Latest,
		}))
		if a.Action == analyzer.ActionPage || a.Action == analyzer.ActionPost {
			o.told = append(o.told, a.Thread)
		}
	}
	left, err := alert.Unqueued(context.Background(), s)
	require.NoError(w.t, err)
	require.Empty(w.t, left, "alerts that nobody queued")
	due, err := alert.Pending(context.Background(), s, w.clock.Now().Add(time.Hour))
	require.NoError(w.t, err)
	require.Empty(w.t, due, "alerts that nobody told")
	for _, m := range w.slack.Messages(channel) {
		if m.ThreadTS != "" && m.ThreadTS != m.TS {
			continue
		}
		var meta struct {
			Payload struct {
				AlertID string `json:"alert_id"`
			} `json:"event_payload"`
		}
		require.NoError(w.t, json.Unmarshal(m.Metadata, &meta))
		o.parents[meta.Payload.AlertID]++
	}
	return o
}
