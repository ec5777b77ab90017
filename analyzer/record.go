package analyzer

// Reject is a record, or the rest of a file, that could not be read. It goes
// to quarantine; nothing else is lost because of it.
type Reject struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"` // in the inflated file
	Reason string `json:"reason"`
	Record []byte `json:"-"` // the bytes, cut at a limit, for quarantine
}

// FileCounts counts inputs.
type FileCounts struct {
	Read     int64 `json:"read"`
	Rejected int64 `json:"rejected"` // read in part or not at all
	Skipped  int64 `json:"skipped"`  // digests, Insight files, things that are not CloudTrail
}

// RecordCounts accounts for every record: Read = Kept + Duplicate +
// NotOfInterest + Rejected.
type RecordCounts struct {
	Read          int64 `json:"read"`
	Kept          int64 `json:"kept"`
	Duplicate     int64 `json:"duplicate"`
	NotOfInterest int64 `json:"not_of_interest"`
	Rejected      int64 `json:"rejected"`
}

// Add adds the counts of another part of the same run.
func (c *RecordCounts) Add(o RecordCounts) {
	c.Read += o.Read
	c.Kept += o.Kept
	c.Duplicate += o.Duplicate
	c.NotOfInterest += o.NotOfInterest
	c.Rejected += o.Rejected
}
