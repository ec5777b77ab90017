// Package settings reads keytrail.yaml.
package settings

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/keytrail/keytrail/analyzer"
)

// FileName is where the settings are looked for when nothing else is said.
const FileName = "keytrail.yaml"

// Option tells Load what a file may name.
type Option func(*checker)

// WithDetections makes ids and parameters of detections known: others are
// errors.
func WithDetections(detections []analyzer.Detection) Option {
	return func(c *checker) {
		c.detections = make(map[string]analyzer.Detection, len(detections))
		for _, d := range detections {
			c.detections[d.ID] = d
		}
	}
}

type checker struct {
	detections map[string]analyzer.Detection // nil means any
}

// Default returns the settings without a file.
func Default() *analyzer.Settings {
	s := &analyzer.Settings{}
	s.Defaults()
	return s
}

// Discover returns the settings file to use: $KEYTRAIL_CONFIG, or keytrail.yaml
// in this folder, or "" when there is none.
func Discover(env func(string) string) string {
	if path := env("KEYTRAIL_CONFIG"); path != "" {
		return path
	}
	if _, err := os.Stat(FileName); err == nil {
		return FileName
	}
	return ""
}

// Load reads and checks a file.
func Load(path string, options ...Option) (*analyzer.Settings, error) {
	b, err := os.ReadFile(path) //nolint:gosec // the user names it
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	return Parse(path, b, options...)
}

// Parse reads and checks the text of a settings file of this name.
func Parse(name string, text []byte, options ...Option) (*analyzer.Settings, error) {
	s := &analyzer.Settings{}
	err := yaml.UnmarshalWithOptions(text, s, yaml.Strict(), yaml.CustomUnmarshaler(func(d *time.Duration, b []byte) error {
		v, err := parseDuration(strings.Trim(string(b), `"' `+"\n"))
		*d = v
		return err
	}))
	if err != nil {
		return nil, fmt.Errorf("%s: %s", name, strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	s.Defaults()
	c := &checker{}
	for _, o := range options {
		o(c)
	}
	return s, nil
}

// parseDuration reads 30m, 2h, 7d, 2w.
func parseDuration(s string) (time.Duration, error) {
	for suffix, unit := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			v, err := strconv.ParseFloat(n, 64)
			if err != nil {
				return 0, fmt.Errorf("%q is not a duration such as 30m, 2h, 7d or 2w", s)
			}
			return time.Duration(v * float64(unit)), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New(strconv.Quote(s) + " is not a duration such as 30m, 2h, 7d or 2w")
	}
	return d, nil
}

// Assumptions says what is taken for granted because the settings do not say.
func Assumptions(s *analyzer.Settings) []string {
	var a []string
	if len(s.Organisation) == 0 {
		a = append(a, "No organisation is listed: the accounts whose trails deliver logs are taken as ours.")
	}
	if len(s.Tier0) == 0 {
		a = append(a, "No tier-0 keys are listed: all keys count the same.")
	}
	return a
}
