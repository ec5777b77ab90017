package trail

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Stdin is the path that stands for standard input.
const Stdin = "-"

// Input is one file to read.
type Input struct {
	// Name is the path of a file, or what Open opens under.
	Name string
	Size int64 // in bytes as stored; 0 when it is not known
	// Open opens the input; nil means the file of that Name.
	Open func() (io.ReadCloser, error)

	// pipe says that opening and reading may wait for somebody else.
	pipe bool
}

// Listing is what paths stand for.
type Listing struct {
	Inputs []Input
	// Skipped counts what was found in folders but is not to be read.
	Skipped Counts
}

// Expand finds the inputs that the paths stand for: files, folders with all
// that is in them, patterns (*, ?, [ab], {a,b}, and ** for any folders) and
// "-" for standard input. They come in the order of the paths, those of a
// folder sorted, and each file once. Hidden files in folders are skipped and
// counted. A path or pattern that stands for nothing is an error that wraps
// fs.ErrNotExist.
func Expand(paths []string) (Listing, error) {
	e := expansion{seen: map[string]bool{}}
	for _, path := range paths {
		if err := e.argument(path); err != nil {
			return Listing{}, err
		}
	}
	return e.Listing, nil
}

type expansion struct {
	Listing
	seen map[string]bool // files and folders by their real paths
}

func (e *expansion) argument(path string) error {
	if path == Stdin {
		if !e.seen[Stdin] {
			e.seen[Stdin] = true
			open := func() (io.ReadCloser, error) { return io.NopCloser(os.Stdin), nil }
			e.Inputs = append(e.Inputs, Input{Name: Stdin, Open: open, pipe: true})
		}
		return nil
	}
	info, err := os.Stat(path)
	if err == nil {
		return e.found(path, info)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if !strings.ContainsAny(path, "*?[{") {
		return fmt.Errorf("%s does not exist: %w", path, fs.ErrNotExist)
	}
	matches, err := doublestar.FilepathGlob(path, doublestar.WithNoFollow())
	if err != nil {
		return fmt.Errorf("pattern %s: %w", path, err)
	}
	some := false
	for _, match := range matches {
		if isHidden(filepath.Base(match)) && !isHidden(filepath.Base(path)) {
			e.skip(SkippedHidden)
			continue
		}
		// A link that leads nowhere is no match.
		if info, err := os.Stat(match); err == nil {
			some = true
			if err := e.found(match, info); err != nil {
				return err
			}
		}
	}
	if !some {
		return fmt.Errorf("nothing matches %s: %w", path, fs.ErrNotExist)
	}
	return nil
}

// found takes a path that the user named, whatever it is.
func (e *expansion) found(path string, info fs.FileInfo) error {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil { // /dev/fd/63 leads to no file, but can be opened
		real = path
	}
	if info.IsDir() {
		return e.folder(path, real)
	}
	e.file(real, Input{Name: path, Size: info.Size(), pipe: !info.Mode().IsRegular()})
	return nil
}

func (e *expansion) file(real string, in Input) {
	if !e.seen[real] {
		e.seen[real] = true
		e.Inputs = append(e.Inputs, in)
	}
}

func (e *expansion) folder(path, real string) error {
	if e.seen[real] {
		return nil // links that lead in a circle
	}
	e.seen[real] = true
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("read folder %s: %w", path, err)
	}
	for _, entry := range entries {
		if err := e.entry(entry, filepath.Join(path, entry.Name()), filepath.Join(real, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (e *expansion) entry(entry fs.DirEntry, path, real string) error {
	switch {
	case isHidden(entry.Name()):
		e.skip(SkippedHidden)
		return nil
	case entry.IsDir():
		return e.folder(path, real)
	case entry.Type()&fs.ModeSymlink != 0:
		info, err := os.Stat(path)
		if err != nil {
			e.skip(SkippedLink)
			return nil //nolint:nilerr // counted
		}
		if info.IsDir() || info.Mode().IsRegular() {
			return e.found(path, info)
		}
	case entry.Type().IsRegular():
		info, err := entry.Info()
		if err != nil {
			return fmt.Errorf("look at %s: %w", path, err)
		}
		e.file(real, Input{Name: path, Size: info.Size()})
		return nil
	}
	e.skip(SkippedSpecial) // a socket or a device
	return nil
}

func (e *expansion) skip(reason string) {
	e.Skipped.Files.Skipped++
	e.Skipped.skip(reason, 1)
}

// isHidden tells whether a name in a folder is not meant for people: those that
// begin with a dot, and what Windows and macOS leave behind.
func isHidden(name string) bool {
	return strings.HasPrefix(name, ".") && name != "." && name != ".." ||
		name == "__MACOSX" || name == "Thumbs.db" || name == "desktop.ini"
}
