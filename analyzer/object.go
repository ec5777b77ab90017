package analyzer

import "time"

// Object is one Parquet file of the lake.
type Object struct {
	Table   Table     `json:"table"`
	Path    string    `json:"path"` // relative to the root of the lake
	Rows    int64     `json:"rows"`
	MinTime time.Time `json:"min_time"` // of the earliest event
	MaxTime time.Time `json:"max_time"`
	Bytes   int64     `json:"bytes,omitempty"` // size of the file
}
