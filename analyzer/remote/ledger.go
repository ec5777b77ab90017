package remote

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

// ledger names the objects of a settled day that were analysed for certain:
// those that were merged from others and those that stay as they are. It is one
// object for each table, day and shard and is replaced with If-Match, so that
// two compactions of a day cannot both count.
type ledger struct {
	Settled []settled `json:"settled"`
}

// settled is one entry. It counts as long as its object is there.
type settled struct {
	Object analyzer.Object `json:"object"`
	// Sources are what the object was merged from. They do not count any more.
	Sources []source  `json:"sources,omitempty"`
	At      time.Time `json:"at"`
}

// source is an object as it was when it was merged. If one of its name is
// written again with another content, that is another object.
type source struct {
	Path string `json:"path"`
	ETag string `json:"etag"`
}

// folder is a table's day as it was listed.
type folder struct {
	table analyzer.Table
	date  string
	ledger
	etag    string // of the ledger; empty when there is none
	objects []cloud.ObjectInfo
}

// folders reads the days from and to of a table and those between, in order.
//
// The ledgers are read before the objects are listed. An object that a ledger
// names was written before it and is thus listed, and what it was merged from is
// deleted a day later at the earliest.
func (l *Lake) folders(ctx context.Context, table analyzer.Table, from, to time.Time) ([]folder, error) {
	days := map[string]*folder{}
	day := func(date string) *folder {
		if days[date] == nil {
			days[date] = &folder{table: table, date: date}
		}
		return days[date]
	}
	var dates []string
	prefix := "compacted/" + string(table) + "/day="
	name := path.Base(l.ledgerKey(table, ""))
	err := l.eachDay(ctx, prefix, from, to, func(date string, o cloud.ObjectInfo) {
		if path.Base(o.Key) == name {
			dates = append(dates, date)
		}
	})
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	err = l.each(ctx, len(dates), func(ctx context.Context, i int) error {
		read, etag, err := l.readLedger(ctx, table, dates[i])
		mu.Lock()
		defer mu.Unlock()
		f := day(dates[i])
		f.ledger, f.etag = read, etag
		return err
	})
	if err != nil {
		return nil, err
	}
	err = l.eachDay(ctx, string(table)+"/day=", from, to, func(date string, o cloud.ObjectInfo) {
		if _, ours := l.baseOf(o.Key); ours {
			f := day(date)
			f.objects = append(f.objects, o)
		}
	})
	if err != nil {
		return nil, err
	}
	all := make([]folder, 0, len(days))
	for _, f := range days {
		all = append(all, *f)
	}
	slices.SortFunc(all, func(a, b folder) int { return strings.Compare(a.date, b.date) })
	return all, nil
}

// eachDay lists the keys under a prefix that ends in "day=", for a range of days.
func (l *Lake) eachDay(ctx context.Context, prefix string, from, to time.Time, add func(date string, o cloud.ObjectInfo)) error {
	last := dateOf(to)
	return list(ctx, l.options.Bucket, prefix, prefix+dateOf(from), func(o cloud.ObjectInfo) bool {
		date, ok := dateIn(o.Key, prefix)
		if ok && date > last {
			return true
		}
		if ok {
			add(date, o)
		}
		return false
	})
}

// readLedger returns the empty ledger, without an ETag, when there is none.
func (l *Lake) readLedger(ctx context.Context, table analyzer.Table, date string) (read ledger, etag string, err error) {
	info, err := getJSON(ctx, l.options.Bucket, l.ledgerKey(table, date), "", &read)
	if errors.Is(err, analyzer.ErrNotFound) {
		return ledger{}, "", nil
	}
	if err != nil {
		return ledger{}, "", fmt.Errorf("%w; when it is damaged, put an older version of it back: it says which objects hold the same events", err)
	}
	return read, info.ETag, nil
}

// parted is what a folder holds.
type parted struct {
	entries []settled          // of the ledger, those that count
	sources []replaced         // what is there although it was merged
	orphans []cloud.ObjectInfo // merged by a compaction that did not come to its ledger
	others  []cloud.ObjectInfo // of which the ledger says nothing
}

// replaced is an object that was merged into another, with the time of that.
type replaced struct {
	key string
	at  time.Time
}

// part sorts the objects of a folder by what its ledger says about them.
func (l *Lake) part(f *folder) (p parted) {
	etags := make(map[string]string, len(f.objects))
	for _, o := range f.objects {
		etags[o.Key] = o.ETag
	}
	told := map[string]bool{}
	for _, e := range f.Settled {
		if _, there := etags[e.Object.Path]; !there || told[e.Object.Path] {
			continue
		}
		told[e.Object.Path] = true
		p.entries = append(p.entries, e)
		for _, s := range e.Sources {
			if etag, there := etags[s.Path]; there && etag == s.ETag {
				told[s.Path] = true
				p.sources = append(p.sources, replaced{s.Path, e.At})
			}
		}
	}
	for _, o := range f.objects {
		switch {
		case told[o.Key]:
		case l.isMerged(o.Key):
			p.orphans = append(p.orphans, o)
		default:
			p.others = append(p.others, o)
		}
	}
	return p
}
