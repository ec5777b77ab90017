package simulate

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Sink takes files. Create may be called from several goroutines at once, and
// files come in no particular order; each is written once, in full, and then
// closed.
type Sink interface {
	Create(name string) (io.WriteCloser, error)
}

// Dir is a sink that writes into a folder, under the object's own path.
type Dir string

var (
	_ Sink = Dir("")
	_ Sink = (*Memory)(nil)
)

// Create makes the file and the folders above it.
func (d Dir) Create(name string) (io.WriteCloser, error) {
	path := filepath.Join(string(d), filepath.FromSlash(name))
	// As readable as other files of the user: these logs are made up.
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // see above
		return nil, fmt.Errorf("folder for log file %s: %w", name, err)
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("log file %s: %w", name, err)
	}
	return f, nil
}

// Memory is a sink that keeps files for tests. The zero value is ready.
type Memory struct {
	mu    sync.Mutex
	files map[string][]byte
}

// Create starts a file; it is kept when closed.
func (m *Memory) Create(name string) (io.WriteCloser, error) {
	return &memoryFile{m: m, name: name}, nil
}

// Names lists the files in order of their names.
func (m *Memory) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.files))
}

// Data returns the bytes of a file, nil when there is none of that name.
func (m *Memory) Data(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files[name]
}

type memoryFile struct {
	bytes.Buffer
	m    *Memory
	name string
}

func (f *memoryFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if _, ok := f.m.files[f.name]; ok {
		return fmt.Errorf("file %s was written twice", f.name)
	}
	if f.m.files == nil {
		f.m.files = map[string][]byte{}
	}
	f.m.files[f.name] = f.Bytes()
	return nil
}

// countingSink counts the bytes that go through it.
type countingSink struct {
	Sink
	n int64
}

func (c *countingSink) Create(name string) (io.WriteCloser, error) {
	w, err := c.Sink.Create(name)
	if err != nil {
		return nil, err
	}
	return &countedFile{w, c}, nil
}

type countedFile struct {
	io.WriteCloser
	c *countingSink
}

func (f *countedFile) Write(b []byte) (int, error) {
	n, err := f.WriteCloser.Write(b)
	f.c.n += int64(n)
	return n, err
}
