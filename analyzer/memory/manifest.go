// Package memory keeps what the engine remembers between ticks: the keys,
// aliases, grants and trails as they were, who used which key, how often by
// the hour, and which events of the last hours were already seen.
//
// Memory is a folder of Parquet files for each generation and one manifest
// that names them. Saving writes the files of the next generation first and
// then replaces the manifest in one step, so that a reader sees either the old
// generation whole or the new one whole.
package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/keytrail/keytrail/analyzer"
)

// Version is the layout that this code reads and writes. A manifest of another
// version is refused: memory is then rebuilt from the lake.
const Version = 1

// ErrVersion is returned by Load, wrapped, for a manifest that another version
// of Keytrail wrote.
var ErrVersion = errors.New("memory was written by another version")

// Manifest names one generation of memory and says how far it has come.
type Manifest struct {
	Version    int   `json:"version"`
	Generation int64 `json:"generation"` // 0 before the first save

	HistoryStart time.Time `json:"history_start"` // earliest event ever seen
	Now          time.Time `json:"now"`           // newest event ever seen

	// Watermark is the time before which no event was expected any more: one
	// that comes now and is older is later than allowed.
	Watermark time.Time `json:"watermark"`

	// Events before these times are folded into what is remembered; those at or
	// after them are kept one by one (control) or by 5 minutes (uses), because
	// events that come late may still change what they mean.
	ControlFrom time.Time `json:"control_from"`
	UsesFrom    time.Time `json:"uses_from"`

	// Hot are the objects of the lake with uses at or after UsesFrom: where the
	// ids of events behind a roll-up are looked up.
	Hot []analyzer.Object `json:"hot"`

	// Consumed are the inbox markers that the last tick analysed. A marker that
	// is still in the inbox after a crash is known by its name here.
	Consumed []string `json:"consumed"`

	// Learning are the detections that had too little history to judge. What
	// they listed meanwhile goes when they have enough.
	Learning []string `json:"learning,omitempty"`

	Late int64 `json:"late"` // events that came later than the allowed lateness, ever
}

// Dir is the memory of one lake.
type Dir struct {
	root string
}

// Open returns the memory under root, a local folder that need not exist.
func Open(root string) *Dir { return &Dir{root: root} }

// Root is the folder that holds all generations.
func (d *Dir) Root() string { return d.root }

// Generation is the folder of one generation's files.
func (d *Dir) Generation(n int64) string {
	return filepath.Join(d.root, fmt.Sprintf("generation-%08d", n))
}

func (d *Dir) manifestPath() string { return filepath.Join(d.root, "manifest.json") }

// Load reads the manifest. Without one it returns the empty memory.
func (d *Dir) Load(ctx context.Context) (Manifest, error) {
	m := Manifest{Version: Version}
	if err := ctx.Err(); err != nil {
		return m, fmt.Errorf("read the memory's manifest: %w", err)
	}
	b, err := os.ReadFile(d.manifestPath())
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read the memory's manifest: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read the memory's manifest %s: %w; run analyze with --rebuild to make it anew from the lake", d.manifestPath(), err)
	}
	if m.Version != Version {
		return m, fmt.Errorf("%w: %s has version %d, this is %d; run analyze with --rebuild to make it anew from the lake", ErrVersion, d.manifestPath(), m.Version, Version)
	}
	return m, nil
}

// Commit makes m the current memory in one step, then removes the generations
// that no reader needs. The files of m's generation must be complete.
func (d *Dir) Commit(ctx context.Context, m Manifest) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write the memory's manifest: %w", err)
	}
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return fmt.Errorf("write the memory's manifest: %w", err)
	}
	if err := os.MkdirAll(d.root, 0o750); err != nil {
		return fmt.Errorf("write the memory's manifest: %w", err)
	}
	tmp := d.manifestPath() + ".new"
	if err := writeSynced(tmp, b); err != nil {
		return fmt.Errorf("write the memory's manifest: %w", err)
	}
	if err := os.Rename(tmp, d.manifestPath()); err != nil {
		return fmt.Errorf("write the memory's manifest: %w", err)
	}
	return d.clean(m.Generation)
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// Remove forgets everything. The manifest goes first, so that a crash leaves
// either all of memory or none.
func (d *Dir) Remove() error {
	if err := os.Remove(d.manifestPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the memory: %w", err)
	}
	if err := os.RemoveAll(d.root); err != nil {
		return fmt.Errorf("remove the memory: %w", err)
	}
	return nil
}

// clean removes every generation but the current one, also those that a crash
// left half written.
func (d *Dir) clean(current int64) error {
	entries, err := os.ReadDir(d.root)
	if err != nil {
		return fmt.Errorf("clean old memory: %w", err)
	}
	for _, e := range entries {
		n, ok := strings.CutPrefix(e.Name(), "generation-")
		if !ok {
			continue
		}
		if g, err := strconv.ParseInt(n, 10, 64); err == nil && g == current {
			continue
		}
		if err := os.RemoveAll(filepath.Join(d.root, e.Name())); err != nil {
			return fmt.Errorf("clean old memory: %w", err)
		}
	}
	return nil
}
