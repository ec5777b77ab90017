package hunt

import (
	"fmt"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Param reads name=value, as people write it. The value takes the type that the
// detection gives the parameter; for a person's own statement, the one it reads
// as: a whole number, a number, true, a duration (10m), a time (RFC 3339), a list
// of text ([a, b]) or else text.
func (s Subject) Param(written string) (name string, value any, err error) {
	name, text, ok := strings.Cut(written, "=")
	if !ok || name == "" {
		return "", nil, fmt.Errorf("parameter %q must be written name=value", written)
	}
	if _, isText := s.Params[name].(string); isText {
		return name, text, nil
	}
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return name, text, nil //nolint:nilerr // what is no YAML is text
	}
	switch v := v.(type) {
	case uint64:
		if v <= 1<<62 {
			return name, int64(v), nil
		}
		return name, text, nil
	case int64, float64, bool:
		return name, v, nil
	case []any:
		list := make([]string, len(v))
		for i, item := range v {
			list[i] = fmt.Sprint(item)
		}
		return name, list, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return name, d, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil && s.Own {
		return name, t, nil
	}
	return name, text, nil
}
