package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// replaySmall measures a whole replay of an incident's folder: many small
// files, start-up, detections and output included.
func replaySmall(ctx context.Context, b *bench) (r result, err error) {
	const filesEach = 100 // 20 gzips on each of two cores
	l, err := b.simulated(ctx, "small-logs", "--files", strconv.FormatInt(b.sized(4000), 10), "--records", strconv.FormatInt(b.sized(28_000), 10))
	if err != nil {
		return r, err
	}
	var found summary
	t, err := b.race(ctx, b.rounds(11),
		runner{
			name:    "keytrail replay",
			command: []string{b.keytrail, "replay", "--format", "json", l.Folder},
			check: func(stdout []byte) error {
				if found, err = summaryOf(stdout); err != nil {
					return err
				}
				return reads(l.Records)(stdout)
			},
		},
		b.gunzip(l.Folder, filesEach))
	if err != nil {
		return r, err
	}
	r.Times = t
	r.row("time, in units of parallel gzip -dc", ratio(t[0].Wall, t[1].Wall), "×", atMost(5), atMost(4))
	r.note("%d records in %d files, %.0f MB inflated, %.1f : 1; %d findings",
		l.Records, l.Files, float64(l.RawBytes)/1e6, l.compression(), count(found.Findings))
	return r, nil
}

func count(findings map[string]int64) (n int64) {
	for _, f := range findings {
		n += f
	}
	return n
}

const (
	historyDays  = 300
	shortDays    = 30
	historyDaily = 20_000
	historyStep  = 10 // days that are ingested and analysed at once
	tickEvents   = 35_000
)

var historyStart = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// tickHistory measures one tick on top of a short and of a long history. Both
// have the same last days, and the same events come next.
func tickHistory(ctx context.Context, b *bench) (r result, err error) {
	daily := b.sized(historyDaily)
	arguments := []string{strconv.Itoa(historyDays), strconv.FormatInt(daily, 10), "v1"}
	folder, err := b.cached("history", arguments, memorySources, func(folder string) error { return b.buildHistory(ctx, folder, daily) })
	if err != nil {
		return r, err
	}
	next := filepath.Join(b.cache, "lake-tick")
	defer func() { err = errors.Join(err, os.RemoveAll(next)) }()
	side := func(days int) runner {
		return runner{
			name:    fmt.Sprintf("keytrail analyze, %d days", days),
			prepare: func() error { return copyLake(filepath.Join(folder, historyName(days)), next) },
			command: []string{b.keytrail, "analyze", "--format", "json", "--lake", next},
			check:   keeps(b.sized(tickEvents)),
		}
	}
	t, err := b.race(ctx, b.rounds(11), side(historyDays), side(shortDays))
	if err != nil {
		return r, err
	}
	r.Times = t
	r.row("time after 300 days, in units of that after 30", ratio(t[0].Wall, t[1].Wall), "×", atMost(1.2), atMost(1.2))
	r.row("CPU after 300 days, in units of that after 30", ratio(t[0].CPU, t[1].CPU), "×", atMost(1.2), atMost(1.2))
	r.row("time after 300 days, s", median(t[0].Wall), "s", atMost(2), atMost(2))
	r.row("peak memory after 300 days, GiB", gib(t[0].Peak), "GiB", atMost(1), atMost(1))
	r.note("%d new events on top of %d a day; the tick is a whole process: start, memory, detections, alerts, output", b.sized(tickEvents), daily)
	return r, nil
}

func historyName(days int) string { return fmt.Sprintf("lake-%d", days) }

// buildHistory fills both lakes as a stream would: days are ingested and
// analysed in order. What the measured tick analyses is ingested last.
func (b *bench) buildHistory(ctx context.Context, folder string, daily int64) error {
	var past, next logs
	aside := filepath.Join(folder, "past")
	perDay := int(min(max(daily/1000, 1), 20))
	if err := b.simulate(ctx, aside, &past, "--start", historyStart.Format(time.RFC3339), "--duration", fmt.Sprintf("%dd", historyDays),
		"--records", strconv.FormatInt(daily*historyDays, 10), "--files", strconv.Itoa(historyDays*perDay)); err != nil {
		return err
	}
	end := historyStart.AddDate(0, 0, historyDays)
	upcoming := filepath.Join(folder, "next")
	if err := b.simulate(ctx, upcoming, &next, "--start", end.Format(time.RFC3339), "--duration", "42h",
		"--records", strconv.FormatInt(b.sized(tickEvents), 10)); err != nil {
		return err
	}
	for _, days := range []int{shortDays, historyDays} {
		lake := filepath.Join(folder, historyName(days))
		for from := historyDays - days; from < historyDays; from += historyStep {
			paths, err := deliveries(past.Folder, historyStart.AddDate(0, 0, from), historyStart.AddDate(0, 0, from+historyStep))
			if err != nil {
				return err
			}
			if err := b.ingest(ctx, lake, paths); err != nil {
				return err
			}
			if _, err := b.output(ctx, b.keytrail, "analyze", "--quiet", "--lake", lake); err != nil {
				return err
			}
			b.say("-")
		}
		if err := b.ingest(ctx, lake, []string{next.Folder}); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(aside), os.RemoveAll(upcoming))
}

func (b *bench) ingest(ctx context.Context, lake string, paths []string) error {
	_, err := b.output(ctx, b.keytrail, append([]string{"ingest", "--quiet", "--lake", lake}, paths...)...)
	return err
}

// deliveries lists the folders of logs that CloudTrail delivered on the days
// from one to another. What is delivered at the very end belongs to the day after.
func deliveries(folder string, from, to time.Time) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(folder, "AWSLogs", "*", "CloudTrail", "*", "*", "*", "*"))
	if err != nil {
		return nil, fmt.Errorf("list the logs: %w", err)
	}
	first, last := from.Format("2006/01/02"), to.Format("2006/01/02")
	return slices.DeleteFunc(all, func(p string) bool {
		day := filepath.ToSlash(p[len(p)-len("2006/01/02"):])
		return day < first || day >= last
	}), nil
}

const (
	manyEvents = 10_000_000
	manyDays   = 30
)

// detectAll measures the analysis of a large lake from nothing against one
// grouped scan of the same files.
func detectAll(ctx context.Context, b *bench) (r result, err error) {
	records := b.sized(manyEvents)
	arguments := []string{strconv.Itoa(manyDays), strconv.FormatInt(records, 10), "v1"}
	folder, err := b.cached("many", arguments, lakeSources, func(folder string) error { return b.buildMany(ctx, folder, records) })
	if err != nil {
		return r, err
	}
	lake := filepath.Join(folder, "lake")
	fresh := filepath.Join(b.cache, "lake-many")
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	var found summary
	t, err := b.race(ctx, b.rounds(3),
		runner{
			name:    "keytrail analyze",
			prepare: func() error { return copyLake(lake, fresh) },
			command: []string{b.keytrail, "analyze", "--format", "json", "--lake", fresh},
			check: func(stdout []byte) error {
				if found, err = summaryOf(stdout); err != nil {
					return err
				}
				return keeps(records)(stdout)
			},
		},
		runner{name: "one grouped scan, DuckDB", command: []string{b.self, "scan", strconv.Itoa(b.cores), lake}})
	if err != nil {
		return r, err
	}
	r.Times = t
	size, objects, err := lakeSize(lake)
	if err != nil {
		return r, err
	}
	r.row("time, in units of one grouped scan", ratio(t[0].Wall, t[1].Wall), "×", atMost(20), atMost(20))
	r.row("peak memory, GiB", gib(t[0].Peak), "GiB", atMost(2), atMost(2))
	r.note("%d events of %d days, %d MB in %d objects: %.1f bytes an event; %d findings",
		records, manyDays, size/1e6, objects, float64(size)/float64(records), count(found.Findings))
	r.note("the scan: select principal, key_arn, count(*) … group by all, over all objects")
	return r, nil
}

// buildMany fills a lake with days as CloudTrail delivers them, a few at once,
// and analyses nothing.
func (b *bench) buildMany(ctx context.Context, folder string, records int64) error {
	const step = 3
	var l logs
	aside := filepath.Join(folder, "logs")
	if err := b.simulate(ctx, aside, &l, "--start", historyStart.Format(time.RFC3339), "--duration", fmt.Sprintf("%dd", manyDays),
		"--records", strconv.FormatInt(records, 10)); err != nil {
		return err
	}
	for from := 0; from <= manyDays; from += step {
		paths, err := deliveries(l.Folder, historyStart.AddDate(0, 0, from), historyStart.AddDate(0, 0, from+step))
		if err != nil {
			return err
		}
		if len(paths) == 0 {
			continue
		}
		if err := b.ingest(ctx, filepath.Join(folder, "lake"), paths); err != nil {
			return err
		}
		b.say("-")
	}
	return os.RemoveAll(aside)
}

// coldStart measures the analysis of a single event in an empty lake: nearly
// all of it is start-up.
func coldStart(ctx context.Context, b *bench) (r result, err error) {
	folder, err := b.cached("one", nil, lakeSources, func(folder string) error {
		log := filepath.Join(folder, "one.json")
		if err := os.WriteFile(log, []byte(oneRecord), 0o600); err != nil {
			return fmt.Errorf("write one record: %w", err)
		}
		return b.ingest(ctx, filepath.Join(folder, "lake"), []string{log})
	})
	if err != nil {
		return r, err
	}
	fresh := filepath.Join(b.cache, "lake-one")
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	t, err := b.race(ctx, b.rounds(15), runner{
		name:    "keytrail analyze",
		prepare: func() error { return copyLake(filepath.Join(folder, "lake"), fresh) },
		command: []string{b.keytrail, "analyze", "--format", "json", "--lake", fresh},
		check:   keeps(1),
	})
	if err != nil {
		return r, err
	}
	r.Times = t
	r.row("time to analyse one event, s", median(t[0].Wall), "s", atMost(0.3), atMost(0.3))
	r.note("a whole process, with all that follows the first query: tables, detections, memory, alerts, output")
	return r, nil
}

const oneRecord = `{"Records":[{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLEEXAMPLE001",
"arn":"arn:aws:iam::111122223333:user/alice","accountId":"111122223333","userName":"alice"},"eventTime":"2026-03-02T09:00:00Z",
"eventSource":"kms.amazonaws.com","eventName":"ScheduleKeyDeletion","awsRegion":"eu-west-1","sourceIPAddress":"192.0.2.10",
"userAgent":"aws-cli/2.15.0","requestParameters":{"keyId":"arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555",
"pendingWindowInDays":7},"responseElements":null,"eventID":"11111111-2222-4333-8444-555555555555","readOnly":false,
"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}]}`

// testOne measures what the author of a detection waits for.
func testOne(ctx context.Context, b *bench) (r result, err error) {
	t, err := b.race(ctx, b.rounds(7), runner{name: "keytrail test KMS-D01", command: []string{b.keytrail, "test", "KMS-D01"}, folder: b.root})
	if err != nil {
		return r, err
	}
	r.Times = t
	r.row("time, s", median(t[0].Wall), "s", below(3), below(3))
	return r, nil
}

func gib(n int64) float64 { return float64(n) / (1 << 30) }
