package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// lakeBytesTarget is the most that an event may take in the lake.
const lakeBytesTarget = 60

func readKMS(ctx context.Context, b *bench) (result, error) {
	return b.read(ctx, "kms", 240_000, 1, 1.0, 1.5)
}

func readMixed(ctx context.Context, b *bench) (result, error) {
	return b.read(ctx, "mixed", 480_000, 0.05, 1.6, 2.2)
}

// read measures `keytrail ingest` against gzip on 32 files of a day.
func (b *bench) read(ctx context.Context, name string, records int64, share, target, design float64) (r result, err error) {
	l, err := b.simulated(ctx, name+"-logs", "--files", "32", "--file-records", "1000000",
		"--records", strconv.FormatInt(b.sized(records), 10), "--kms-share", strconv.FormatFloat(share, 'g', -1, 64))
	if err != nil {
		return r, err
	}
	lake := filepath.Join(b.cache, "lake-"+name)
	defer func() {
		if cleanErr := os.RemoveAll(lake); err == nil && cleanErr != nil {
			err = fmt.Errorf("remove the lake: %w", cleanErr)
		}
	}()
	t, err := b.race(ctx, b.rounds(7),
		runner{
			name:    "keytrail ingest",
			prepare: func() error { return os.RemoveAll(lake) },
			command: []string{b.keytrail, "ingest", "--format", "json", "--lake", lake, l.Folder},
			check:   reads(l.Records),
		},
		b.gunzip(l.Folder, 1))
	if err != nil {
		return r, err
	}
	r.Times = t
	r.row("speed, in units of parallel gzip -dc", 1/ratio(t[0].Wall, t[1].Wall), "×", atLeast(target), atLeast(design))
	size, objects, err := lakeSize(lake)
	if err != nil {
		return r, err
	}
	r.note("%d records in %d files, %d MB inflated: %.0f bytes a record, %.1f : 1", l.Records, l.Files, l.RawBytes/1e6, l.recordBytes(), l.compression())
	r.note("%.0f records/s, %.0f MB/s inflated, %.1f µs of CPU a record",
		float64(l.Records)/median(t[0].Wall), float64(l.RawBytes)/1e6/median(t[0].Wall), median(t[0].CPU)/float64(l.Records)*1e6)
	if share == 1 {
		perEvent := float64(size) / float64(l.Records)
		r.row("lake, bytes an event", perEvent, "", atMost(lakeBytesTarget), atMost(lakeBytesTarget))
		r.note("lake: %d MB in %d objects", size/1e6, objects)
	}
	return r, nil
}
