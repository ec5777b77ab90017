package remote

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

const (
	parquetExt = ".parquet"
	jsonExt    = ".json"
	// compactPrefix begins the names of objects that were merged from others.
	compactPrefix = "compact-"
)

// ObjectName is what something of a name is called in the lake of one of several
// shards: NAME-sNN. With one shard it is the name itself.
func ObjectName(name string, shard, shards int) string {
	if shards <= 1 {
		return name
	}
	return fmt.Sprintf("%s-s%02d", name, shard)
}

// checkName refuses names of batches that could not be told from what is added
// to them.
func checkName(name string) error {
	if !fs.ValidPath(name) || strings.ContainsAny(name, `/\.`) || strings.HasPrefix(name, compactPrefix) {
		return fmt.Errorf("%q cannot be the name of a batch", name)
	}
	return nil
}

func (l *Lake) inboxPrefix() string { return "inbox/" + strconv.Itoa(l.options.Shard) + "/" }

func (l *Lake) markerKey(name string) string { return l.inboxPrefix() + name + jsonExt }

func (l *Lake) receiptKey(name string) string {
	return "done/" + strconv.Itoa(l.options.Shard) + "/" + name + jsonExt
}

func (l *Lake) quarantineKey(name string) string {
	return "quarantine/" + ObjectName(name, l.options.Shard, l.options.Shards) + ".jsonl"
}

// objectPath is the path of the n-th object that a batch has in a day's folder.
func (l *Lake) objectPath(folder, name string, n int) string {
	if n > 0 {
		name += "." + strconv.Itoa(n)
	}
	return path.Join(folder, ObjectName(name, l.options.Shard, l.options.Shards)+parquetExt)
}

// baseOf is the name of an object without what marks its shard; ok tells whether
// it is of this one.
func (l *Lake) baseOf(objectPath string) (base string, ok bool) {
	base, ok = strings.CutSuffix(path.Base(objectPath), parquetExt)
	if !ok || l.options.Shards <= 1 {
		return base, ok
	}
	return strings.CutSuffix(base, ObjectName("", l.options.Shard, l.options.Shards))
}

// batchOf is the name of the batch that an object of this shard came with.
func (l *Lake) batchOf(objectPath string) string {
	base, _ := l.baseOf(objectPath)
	name, _, _ := strings.Cut(base, ".")
	return name
}

func (l *Lake) isMerged(objectPath string) bool {
	base, _ := l.baseOf(objectPath)
	return strings.HasPrefix(base, compactPrefix)
}

// folderOf is the folder of a table's day.
func folderOf(table analyzer.Table, date string) string { return string(table) + "/day=" + date }

func (l *Lake) ledgerKey(table analyzer.Table, date string) string {
	return "compacted/" + folderOf(table, date) + "/" + strconv.Itoa(l.options.Shard) + jsonExt
}

// dateIn finds the day in a key that begins with a prefix ending in "day=".
func dateIn(key, prefix string) (date string, ok bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return "", false
	}
	date, _, ok = strings.Cut(rest, "/")
	if _, err := time.Parse(time.DateOnly, date); err != nil {
		return "", false
	}
	return date, ok
}

func dateOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }
