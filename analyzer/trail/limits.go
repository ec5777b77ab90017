package trail

import "github.com/keytrail/keytrail/analyzer/trail/jsonscan"

// Limits bounds what a file may cost. The zero value of each means its default.
type Limits struct {
	// MaxRecord is the longest record in bytes; a longer one is rejected and
	// not held in memory. CloudTrail cuts its records at 256 KB; the default
	// of 16 MiB leaves room for what other tools have made of them.
	MaxRecord int
	// MaxDepth is how deep a record may be nested (default 200; real records
	// reach about 12).
	MaxDepth int
	// MaxRatio is how many times its size a gzip file may inflate to, once it
	// has given 64 MiB. Logs inflate 8 to 12 times, the same call over and over
	// some 40 times; deflate can do 1,032 times, which only a bomb does. The
	// default is 200.
	MaxRatio int64
	// MaxInflated is what one gzip file may inflate to in all (default 1 TiB,
	// which takes a quarter of an hour: a file that does not end is the only
	// thing that it is for).
	MaxInflated int64
}

// ratioFree is what a file may inflate to at any ratio.
const ratioFree = 64 << 20

func (l Limits) withDefaults() Limits {
	if l.MaxRecord <= 0 {
		l.MaxRecord = 16 << 20
	}
	if l.MaxDepth <= 0 {
		l.MaxDepth = jsonscan.DefaultMaxDepth
	}
	if l.MaxRatio <= 0 {
		l.MaxRatio = 200
	}
	if l.MaxInflated <= 0 {
		l.MaxInflated = 1 << 40
	}
	return l
}
