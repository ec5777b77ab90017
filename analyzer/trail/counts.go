package trail

import "github.com/keytrail/keytrail/analyzer"

// Why files are skipped. Skipping is not an error: they are what lies beside
// logs.
const (
	SkippedDigest  = "CloudTrail digest"
	SkippedInsight = "CloudTrail Insights"
	SkippedConfig  = "AWS Config data"
	SkippedJSON    = "JSON that is not CloudTrail"
	SkippedOther   = "not a log"
	SkippedEmpty   = "empty"
	SkippedHidden  = "hidden file"
	SkippedLink    = "link that leads nowhere"
	SkippedSpecial = "not a regular file"
)

// Counts accounts for what was read. Every file is in one of Files' three
// numbers: rejected ones gave at least one reject and may have given records.
// Records.Read is the sum of Kept, NotOfInterest and Rejected; the rest of a
// file that had to be given up counts as one rejected record.
type Counts struct {
	Files   analyzer.FileCounts
	Records analyzer.RecordCounts
	// Skipped counts skipped files by reason.
	Skipped map[string]int64
	// Bytes is what was read, Inflated what it was after inflating.
	Bytes, Inflated int64
}

// Add adds the counts of another part of the same run.
func (c *Counts) Add(o Counts) {
	c.Files.Read += o.Files.Read
	c.Files.Rejected += o.Files.Rejected
	c.Files.Skipped += o.Files.Skipped
	c.Records.Add(o.Records)
	c.Bytes += o.Bytes
	c.Inflated += o.Inflated
	for reason, n := range o.Skipped {
		c.skip(reason, n)
	}
}

func (c *Counts) skip(reason string, n int64) {
	if c.Skipped == nil {
		c.Skipped = map[string]int64{}
	}
	c.Skipped[reason] += n
}
