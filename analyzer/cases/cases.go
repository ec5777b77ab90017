// Package cases reads the cases that a detection is tested with and compares
// what was found with what a case expects.
//
// A case is a file fixtures/FAMILY/NAME/match_WHAT.yaml or quiet_WHAT.yaml for
// the detection queries/FAMILY/NAME.sql. A match case lists the findings it
// expects, neither more nor fewer; a quiet case is the nearest legitimate
// neighbour and must end without a finding that could notify anybody.
//
//	about: Somebody disables a key from the console.
//	start: 2026-03-02T09:00:00Z
//	settings: {organisation: [{id: "111122223333"}]}    # keytrail.yaml
//	learn_until: 2026-02-01T00:00:00Z                   # or an offset, as -14d
//	define: …                                           # a place for YAML anchors
//	defaults: {eventName: DisableKey}                   # under every record
//	expect:
//	  - {severity: medium, principal: "arn:aws:iam::111122223333:user/alice", evidence: {client: console}}
//	records:
//	  - {_at: +5m, _as: user/alice, _key: "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}
//
// Records are CloudTrail records as AWS writes them. What every record has is
// filled in, and a few shorthands keep them short; a field written out wins
// over a shorthand:
//
//	_at      time relative to start (+5m, -3d, +1d2h30m) or an RFC 3339 time
//	_as      who called: user/NAME, role/NAME/SESSION, sso/PERMISSION_SET/PERSON,
//	         root, service/NAME.amazonaws.com, account/ID (an outsider as the
//	         key's owner sees it); ID:… in front for another account
//	_via     the AWS service that forwarded the call
//	_key     ARN of the key: fills resources, and requestParameters.keyId
//	_denied  the action denied, as kms:Decrypt: fills errorCode and errorMessage,
//	         and removes requestParameters as AWS does
//	_repeat  {times: 300, every: 2s, vary: {"requestParameters.x": "value-{n}"}}
//	         writes the record again and again; {n} counts from 1, and a list in
//	         place of the text is gone through in turn
package cases

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/keytrail/keytrail/analyzer"
)

// Kind tells what a case is for.
type Kind string

const (
	// Match is a case in which the detection must find what is expected.
	Match Kind = "match"
	// Quiet is a case in which it must find nothing that could notify.
	Quiet Kind = "quiet"
)

// Case is one test of a detection.
type Case struct {
	Detection  string // id
	Name       string // match_console
	Path       string // destruction/key_disabled/match_console.yaml
	Kind       Kind
	About      string
	Settings   []byte    // of a keytrail.yaml; empty means none
	LearnUntil time.Time // zero when the case does not say
	Expect     []Expect

	records [][]byte
}

// Expect is what a finding must look like. Empty fields are not compared; maps
// are compared key by key, others may be there.
type Expect struct {
	Severity  string            `yaml:"severity"`
	Status    string            `yaml:"status"`
	Principal *string           `yaml:"principal"`
	Key       *string           `yaml:"key"`
	Account   *string           `yaml:"account"`
	Region    *string           `yaml:"region"`
	Count     *int64            `yaml:"count"`
	EventIDs  *int              `yaml:"event_ids"` // how many
	Entity    map[string]string `yaml:"entity"`
	Evidence  map[string]any    `yaml:"evidence"`
}

// caseFile is a case as written.
type caseFile struct {
	About      string           `yaml:"about"`
	Settings   map[string]any   `yaml:"settings"`
	LearnUntil string           `yaml:"learn_until"`
	Start      string           `yaml:"start"`
	Define     any              `yaml:"define"`
	Defaults   map[string]any   `yaml:"defaults"`
	Expect     []Expect         `yaml:"expect"`
	Records    []map[string]any `yaml:"records"`
}

// Load reads all cases of a detection, by name. fixtures is the folder that
// holds one folder a family. The error names every file that is not valid.
func Load(fixtures fs.FS, d analyzer.Detection) ([]Case, error) {
	folder := path.Join(d.Family, strings.TrimSuffix(path.Base(d.Path), ".sql"))
	entries, err := fs.ReadDir(fixtures, folder)
	if err != nil {
		return nil, fmt.Errorf("cases of %s: %w", d.ID, err)
	}
	var list []Case
	var problems []error
	for _, entry := range entries {
		file := path.Join(folder, entry.Name())
		if entry.IsDir() {
			problems = append(problems, fmt.Errorf("%s: a folder among the cases", file))
			continue
		}
		c, err := read(fixtures, file)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", file, err))
			continue
		}
		c.Detection = d.ID
		list = append(list, c)
	}
	if len(list) == 0 && len(problems) == 0 {
		problems = append(problems, fmt.Errorf("%s: no cases for %s", folder, d.ID))
	}
	return list, errors.Join(problems...)
}

func read(fixtures fs.FS, file string) (c Case, err error) {
	base := path.Base(file)
	ext := path.Ext(base)
	c = Case{Name: strings.TrimSuffix(base, ext), Path: file}
	kind, what, _ := strings.Cut(c.Name, "_")
	c.Kind = Kind(kind)
	if (c.Kind != Match && c.Kind != Quiet) || what == "" || (ext != ".yaml" && ext != ".json") {
		return c, errors.New("a case must be named match_WHAT.yaml or quiet_WHAT.yaml (or .json)")
	}
	text, err := fs.ReadFile(fixtures, file)
	if err != nil {
		return c, err
	}
	var f caseFile
	if err := yaml.UnmarshalWithOptions(text, &f, yaml.Strict()); err != nil {
		return c, errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	switch {
	case strings.TrimSpace(f.About) == "":
		return c, errors.New("about is missing: say in a sentence what happens")
	case c.Kind == Match && len(f.Expect) == 0:
		return c, errors.New("a match case must expect at least one finding")
	case c.Kind == Quiet && len(f.Expect) > 0:
		return c, errors.New("a quiet case expects nothing")
	case len(f.Records) == 0:
		return c, errors.New("records are missing: a case without events shows nothing")
	}
	c.About, c.Expect = strings.TrimSpace(f.About), f.Expect
	for i, e := range c.Expect {
		if e.Severity == "" {
			continue
		}
		if _, err := analyzer.ParseSeverity(e.Severity); err != nil {
			return c, fmt.Errorf("expect %d: %w", i+1, err)
		}
	}
	start, err := time.Parse(time.RFC3339, f.Start)
	if err != nil {
		return c, fmt.Errorf("start must be a time such as 2026-03-02T09:00:00Z: %w", err)
	}
	if f.LearnUntil != "" {
		if c.LearnUntil, err = timeAt(start, f.LearnUntil); err != nil {
			return c, fmt.Errorf("learn_until: %w", err)
		}
	}
	if len(f.Settings) > 0 {
		if c.Settings, err = yaml.Marshal(f.Settings); err != nil {
			return c, fmt.Errorf("settings: %w", err)
		}
	}
	if c.records, err = expand(file, start, f.Defaults, f.Records); err != nil {
		return c, err
	}
	return c, nil
}

// Records returns the CloudTrail records of the case as JSON, in the order
// written. They are the same each time; the slice is the caller's.
func (c Case) Records() [][]byte { return slices.Clone(c.records) }

// Compare returns what is wrong with the findings of this case for a person
// to read, or "" when they are as expected. Withdrawn findings do not count;
// to a quiet case only those matter that could notify.
func (c Case) Compare(got []analyzer.Finding) string {
	var own []analyzer.Finding
	for _, f := range got {
		notifies := f.Status == analyzer.FindingActive || f.Status == analyzer.FindingStaged
		if f.Detection != c.Detection || f.Status == analyzer.FindingWithdrawn || (c.Kind == Quiet && !notifies) {
			continue
		}
		own = append(own, f)
	}
	return Compare(c.Expect, own)
}
