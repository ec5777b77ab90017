// Package settings reads keytrail.yaml.
//
// [Load] takes a file or nothing of it: every mistake is reported in one go,
// each with file, line and key, so that a wrong file is put right in one round:
//
//	keytrail.yaml:12: tier0_keys[3]: "foo" is not a key ARN, mrk- id, alias/name or ACCOUNT:alias/name
//
// A key that this package does not know is a mistake, not a wish. Nothing in
// the file may be a secret: what looks like a Slack token, a webhook or an AWS
// access key is refused, and its text is repeated nowhere.
//
// Without a file [Default] works; [Assumptions] says in sentences what is
// assumed where the settings are silent.
//
// [Match] and [KeyRef] say what patterns and key references in the file mean.
// The Match functions decide whether a suppression, a silence or a change window
// is about a finding. They read no clock: what counts is the time of the
// finding's last event.
package settings

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/keytrail/keytrail/analyzer"
)

// FileName is what Discover looks for in the working directory.
const FileName = "keytrail.yaml"

// Variable is the name of the environment variable that names the file.
const Variable = "KEYTRAIL_CONFIG"

// MaxSize is the longest file that Load reads. The settings of a thousand
// accounts take a tenth of it.
const MaxSize = 1 << 20

// Problem is one thing that is wrong with a file.
type Problem struct {
	File string
	Line int    // from 1; 0 when it is about the whole file
	Key  string // tier0_keys[3], slack.channels.critical; empty for the whole file
	Text string
}

// Error returns "file:line: key: text".
func (p Problem) Error() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
	}
	if p.Key != "" {
		s += ": " + p.Key
	}
	return s + ": " + p.Text
}

// Problems are all the mistakes of a file, in the order of its lines. Load and
// Parse return one when the file could be read but not taken.
type Problems []Problem

// Error lists the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Option changes what Load and Parse check.
type Option func(*reader)

// WithDetections lets the reader check detection ids and their parameters
// against the catalogue. Without it ids are checked by their shape only.
func WithDetections(detections []analyzer.Detection) Option {
	return func(r *reader) {
		r.detections = map[string]analyzer.Detection{}
		for _, d := range detections {
			r.detections[d.ID] = d
		}
	}
}

// WithWarnings passes on what is odd but no mistake, such as a Region that this
// version does not know.
func WithWarnings(warn func(Problem)) Option {
	return func(r *reader) { r.warn = warn }
}

// Default returns the settings that hold without a file.
func Default() *analyzer.Settings {
	s := &analyzer.Settings{}
	s.Defaults()
	return s
}

// Discover returns the path of the settings: what KEYTRAIL_CONFIG says, else
// keytrail.yaml in the working directory when there is one, else "".
func Discover(getenv func(string) string) string {
	if path := getenv(Variable); path != "" {
		return path
	}
	if _, err := os.Stat(FileName); err == nil {
		return FileName
	}
	return ""
}

// Load reads the settings from a file. The error is Problems when the file is
// there and wrong.
func Load(path string, options ...Option) (*analyzer.Settings, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the settings: there is no file %s (named by --config or %s)", path, Variable)
	}
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	return Parse(path, text, options...)
}
