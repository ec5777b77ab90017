package hunt

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/catalog"
)

// Subject is what is hunted.
type Subject struct {
	analyzer.Detection
	// Own tells that it is a person's own statement and no detection: its views
	// hold the hunted time exactly, and all of its rows are shown.
	Own bool
}

// Of hunts a detection.
func Of(d analyzer.Detection) Subject { return Subject{Detection: d} }

// family finds the folder that a detection says it is of.
var family = regexp.MustCompile(`(?m)^family:[ \t]*([a-z][a-z0-9_]*)`)

// Read reads the text of a file: a detection when it has a front matter, which
// must then be whole and valid, else a person's own statement. name is how
// errors call the file.
func Read(name, text string) (Subject, error) {
	if !strings.HasPrefix(strings.TrimSpace(text), "/* ---") {
		return own(name, text)
	}
	folder := "hunt"
	if m := family.FindStringSubmatch(text); m != nil {
		folder = m[1]
	}
	c, err := catalog.Load(oneFile{path.Join(folder, filepath.Base(name)), text}, catalog.Options{})
	var problems catalog.Problems
	if errors.As(err, &problems) {
		for i := range problems {
			problems[i].Path = name
		}
		return Subject{}, problems
	}
	if err != nil {
		return Subject{}, fmt.Errorf("read %s: %w", name, err)
	}
	return Of(c.Detections()[0]), nil
}

// own takes a statement as it is; the engine judges it. It has to be a select,
// for the views stand in front of it.
func own(name, text string) (Subject, error) {
	list := words(text)
	if n := len(list); n > 0 && list[n-1].text == ";" {
		text, list = text[:list[n-1].start], list[:n-1] // Athena refuses it
	}
	if len(list) == 0 || list[0].text != "select" && list[0].text != "with" {
		return Subject{}, fmt.Errorf("%s: it must be one statement that starts with select or with", name)
	}
	for _, w := range list {
		if w.text == ";" {
			return Subject{}, fmt.Errorf("%s:%d: exactly one statement can be hunted with", name, 1+strings.Count(text[:w.start], "\n"))
		}
	}
	return Subject{Detection: analyzer.Detection{ID: name, Path: name, SQL: strings.TrimSpace(text)}, Own: true}, nil
}

// oneFile is a folder of detections with one file.
type oneFile struct{ name, text string }

// Open finds nothing: a catalogue lists with Glob and reads with ReadFile.
func (f oneFile) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// Glob lists the file, whatever the pattern.
func (f oneFile) Glob(string) ([]string, error) { return []string{f.name}, nil }

// ReadFile returns the file.
func (f oneFile) ReadFile(string) ([]byte, error) { return []byte(f.text), nil }
