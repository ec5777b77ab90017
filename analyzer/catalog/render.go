package catalog

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keytrail/keytrail/analyzer"
)

// CheckParams tells whether the settings may change these parameters of the
// detection. The error names the detection and each parameter that is unknown
// or of another type.
func CheckParams(d analyzer.Detection, overrides map[string]any) error {
	_, err := merge(d, overrides)
	return err
}

// Render returns the statement to run: the detection's SQL with a literal in
// the place of each :parameter. given replaces the detection's own parameters
// and sets those that the engine knows: the times now, learn_until and
// history_start, and the boolean has_org.
func Render(d analyzer.Detection, given map[string]any) (string, error) {
	overrides, builtin := map[string]any{}, map[string]any{}
	for name, value := range given {
		if !slices.Contains(builtinParams, name) {
			overrides[name] = value
			continue
		}
		_, isTime := value.(time.Time)
		_, isBool := value.(bool)
		if (name == "has_org" && !isBool) || (name != "has_org" && !isTime) {
			return "", fmt.Errorf("detection %s: parameter %s: a value of type %T does not fit", d.ID, name, value)
		}
		builtin[name] = value
	}
	values, err := merge(d, overrides)
	if err != nil {
		return "", err
	}
	maps.Copy(values, builtin)

	tokens, scanErr := scan(d.SQL, 1)
	if scanErr != nil {
		return "", fmt.Errorf("detection %s: line %d of its SQL: %w", d.ID, scanErr.line, scanErr)
	}
	var sql strings.Builder
	written := 0
	for _, t := range tokens {
		if t.kind != parameter {
			continue
		}
		value, ok := values[t.text]
		if !ok {
			return "", fmt.Errorf("detection %s: parameter :%s has no value", d.ID, t.text)
		}
		text, err := literal(value)
		if err != nil {
			return "", fmt.Errorf("detection %s: parameter %s: %w", d.ID, t.text, err)
		}
		sql.WriteString(d.SQL[written:t.start])
		sql.WriteString(text)
		written = t.end
	}
	sql.WriteString(d.SQL[written:])
	return sql.String(), nil
}

// merge lays the overrides over the detection's own values.
func merge(d analyzer.Detection, overrides map[string]any) (map[string]any, error) {
	values := make(map[string]any, len(d.Params)+len(builtinParams))
	maps.Copy(values, d.Params)
	var problems []error
	for _, name := range sortedKeys(overrides) {
		own, known := d.Params[name]
		if !known {
			list := "it has none"
			if len(d.Params) > 0 {
				list = "it has " + strings.Join(sortedKeys(d.Params), ", ")
			}
			problems = append(problems, fmt.Errorf("detection %s has no parameter %q; %s", d.ID, name, list))
			continue
		}
		value, err := sameType(own, overrides[name])
		if err == nil {
			_, err = literal(value)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("detection %s: parameter %s: %w", d.ID, name, err))
			continue
		}
		values[name] = value
	}
	return values, errors.Join(problems...)
}

// sameType brings an override to the type of the value it replaces.
func sameType(own, given any) (any, error) {
	if s, ok := given.(string); ok {
		if _, wantText := own.(string); wantText {
			return s, nil // even when it reads as a duration
		}
	}
	value, err := typedParam(given)
	if err != nil {
		return nil, err
	}
	switch own.(type) {
	case int64:
		if n, ok := value.(int64); ok {
			return n, nil
		}
	case float64:
		switch n := value.(type) {
		case float64:
			return n, nil
		case int64:
			return float64(n), nil
		}
	case time.Duration:
		if d, ok := value.(time.Duration); ok {
			return d, nil
		}
	case []string:
		if list, ok := value.([]string); ok {
			return list, nil
		}
	}
	return nil, fmt.Errorf("must be %s, not %s", describe(own), describe(given))
}

// literal writes a value as SQL that DuckDB and Trino read alike. Whatever the
// value holds, the result is one literal, or one list in parentheses.
func literal(value any) (string, error) {
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		if v < 0 {
			return "(" + strconv.FormatInt(v, 10) + ")", nil // :a-:b must not become a comment --
		}
		return strconv.FormatInt(v, 10), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "", errors.New("the number must be finite")
		}
		// An exponent makes it a double in both; without one it is a decimal,
		// which the two divide differently.
		s := strconv.FormatFloat(v, 'e', -1, 64)
		if v < 0 {
			s = "(" + s + ")"
		}
		return s, nil
	case string:
		return quote(v)
	case time.Duration:
		if v < 0 || v%time.Second != 0 {
			return "", fmt.Errorf("the duration %s must be whole seconds, not negative", v)
		}
		return fmt.Sprintf("interval '%d' second", int64(v/time.Second)), nil
	case time.Time:
		if y := v.UTC().Year(); y < 1 || y > 9999 {
			return "", fmt.Errorf("the time %s is out of range", v)
		}
		return "timestamp '" + v.UTC().Format("2006-01-02 15:04:05.000") + "'", nil
	case []string:
		if len(v) == 0 {
			// An empty list is a condition that holds for nothing; "in ()" is
			// not SQL, and a null in the list would spoil "not in".
			return "(select '' where false)", nil
		}
		items := make([]string, len(v))
		for i, s := range slices.All(v) {
			text, err := quote(s)
			if err != nil {
				return "", err
			}
			items[i] = text
		}
		return "(" + strings.Join(items, ", ") + ")", nil
	default:
		return "", fmt.Errorf("a value of type %T cannot be a parameter", value)
	}
}

// quote writes text as a SQL string. Neither database knows escapes other
// than the doubled quote; a NUL byte would end the statement in C.
func quote(s string) (string, error) {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", errors.New("the text must be valid UTF-8 without NUL")
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'", nil
}
