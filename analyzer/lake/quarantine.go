package lake

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/keytrail/keytrail/analyzer"
)

// MaxQuarantined is how many bytes of a record go to quarantine.
const MaxQuarantined = 64 << 10

// Quarantine collects the records of one run that could not be read, as JSON
// lines. It is safe for concurrent use.
type Quarantine struct {
	lake *Lake
	name string

	mu    sync.Mutex
	out   *os.File
	w     *bufio.Writer
	count int64
}

// quarantined is one line.
type quarantined struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Reason string `json:"reason"`
	// Record is the record as text, cut; bytes that are no text go to Base64.
	Record string `json:"record,omitempty"`
	Base64 []byte `json:"record_base64,omitempty"`
	Cut    bool   `json:"cut,omitempty"`
}

// Quarantine begins the quarantine file of a run. Nothing is written unless
// something is added; the file of an earlier run of the same name is replaced.
func (l *Lake) Quarantine(name string) (*Quarantine, error) {
	if name == "" || !fs.ValidPath(name) || strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, ".") {
		return nil, fmt.Errorf("begin the quarantine file: %q cannot be its name", name)
	}
	return &Quarantine{lake: l, name: name}, nil
}

// Add adds a record.
func (q *Quarantine) Add(r analyzer.Reject) error {
	line := quarantined{File: strings.ToValidUTF8(r.File, "\uFFFD"), Offset: r.Offset, Reason: r.Reason}
	record := r.Record
	if len(record) > MaxQuarantined {
		record, line.Cut = record[:MaxQuarantined], true
		for n := 0; n < utf8.UTFMax && !utf8.Valid(record); n++ {
			record = record[:len(record)-1] // not through the middle of a rune
		}
	}
	if utf8.Valid(record) {
		line.Record = string(record)
	} else {
		line.Base64 = record
	}
	text, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("quarantine a record of %s: %w", r.File, err)
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	if q.out == nil {
		if err := q.begin(); err != nil {
			return err
		}
	}
	q.count++
	if _, err := q.w.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("quarantine a record of %s: %w", r.File, err)
	}
	return nil
}

func (q *Quarantine) begin() error {
	dir, err := q.lake.staging("quarantine")
	if err != nil {
		return err
	}
	if q.out, err = os.Create(filepath.Join(dir, q.name+".jsonl")); err != nil {
		return fmt.Errorf("begin the quarantine file: %w", err)
	}
	q.w = bufio.NewWriter(q.out)
	return nil
}

// Close puts the file into the lake and returns its path relative to the lake
// and the number of records; the path is empty when there are none.
func (q *Quarantine) Close() (path string, records int64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.out == nil {
		return "", 0, nil
	}
	out := q.out
	q.out = nil
	if err := errors.Join(q.w.Flush(), out.Close()); err != nil {
		return "", 0, fmt.Errorf("write the quarantine file: %w", err)
	}
	path = quarantineDir + "/" + q.name + ".jsonl"
	if err := os.Rename(out.Name(), filepath.Join(q.lake.root, filepath.FromSlash(path))); err != nil {
		return "", 0, fmt.Errorf("write the quarantine file: %w", err)
	}
	return path, q.count, nil
}
