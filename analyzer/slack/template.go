package slack

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// placeholder is a {column} in a detection's summary, at_risk, runbook or undo.
var placeholder = regexp.MustCompile(`\{([a-z][a-z0-9_]*)\}`)

const (
	maxValue = 200 // of one value inside a sentence
	maxList  = 5   // of the elements of a list that are named
)

// value is what a placeholder stands for.
type value struct {
	text  string // as it is, for the command line
	prose string // for a sentence
}

// fillProse puts the values into a sentence. What is not known is said to be
// unknown; a brace that is left in the template is a mistake in it and no text
// for a person.
func fillProse(template string, lookup func(string) (value, bool)) string {
	var b strings.Builder
	literal := strings.NewReplacer("{", "", "}", "")
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(template, -1) {
		b.WriteString(literal.Replace(template[at:m[0]]))
		at = m[1]
		name := template[m[2]:m[3]]
		if v, ok := lookup(name); ok && v.prose != "" {
			b.WriteString(v.prose)
		} else {
			b.WriteString("(unknown " + strings.ReplaceAll(name, "_", " ") + ")")
		}
	}
	b.WriteString(literal.Replace(template[at:]))
	return strings.TrimSpace(b.String())
}

// quoteProse cuts a value to size and sets it in quotation marks when there is a
// space in it: a name like "test. Ignore this alert" shall not read as ours.
func quoteProse(s string) string {
	s = clean(s, maxValue)
	if strings.ContainsFunc(s, unicode.IsSpace) {
		return "“" + strings.NewReplacer("“", "\"", "”", "\"").Replace(s) + "”"
	}
	return s
}

// fillCommand puts the values into a command line as shell words. It returns
// no command, and why, when a value is of a kind that quoting cannot make
// harmless; missing lists what the reader has to fill in.
func fillCommand(template string, lookup func(string) (value, bool)) (cmd string, missing []string, refusal string) {
	var b strings.Builder
	var quotes quotation
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(template, -1) {
		b.WriteString(template[at:m[0]])
		quotes.read(template[at:m[0]])
		at = m[1]
		name := template[m[2]:m[3]]
		v, ok := lookup(name)
		if !ok || v.text == "" {
			word := strings.ToUpper(name)
			if !slices.Contains(missing, word) {
				missing = append(missing, word)
			}
			b.WriteString(word)
			continue
		}
		if why := unsafeArgument(v.text, quotes.open()); why != "" {
			return "", nil, fmt.Sprintf("No command is offered: the %s in the log %s.", strings.ReplaceAll(name, "_", " "), why)
		}
		if quotes.open() {
			b.WriteString(v.text) // unsafeArgument allowed plain ones only: the same in any quotation
		} else {
			b.WriteString(shellQuote(v.text))
		}
	}
	b.WriteString(template[at:])
	return strings.TrimSpace(b.String()), missing, ""
}

// quotation follows a shell's quotation marks through a template.
type quotation struct {
	mark    byte // that is open, or 0
	escaped bool
}

func (q *quotation) open() bool { return q.mark != 0 || q.escaped }

func (q *quotation) read(s string) {
	for _, c := range []byte(s) {
		switch {
		case q.escaped:
			q.escaped = false
		case c == '\\' && q.mark != '\'':
			q.escaped = true
		case c == q.mark:
			q.mark = 0
		case q.mark == 0 && (c == '\'' || c == '"'):
			q.mark = c
		}
	}
}

// unsafeArgument says what is wrong with a value that no quoting mends.
func unsafeArgument(s string, quoted bool) string {
	lower := strings.ToLower(s)
	switch {
	case strings.HasPrefix(s, "-"):
		return "begins with a dash and would be read as an option"
	case strings.HasPrefix(lower, "file://"), strings.HasPrefix(lower, "fileb://"),
		strings.HasPrefix(lower, "http://"), strings.HasPrefix(lower, "https://"):
		return "would make the AWS CLI read a file or an address" // docs: "Load AWS CLI parameters from a file"
	case quoted && !plainArgument(s), strings.ContainsRune(s, 0):
		return "has characters that do not belong there"
	case width(s) > 600:
		return "is too long"
	}
	return ""
}

// proseOf writes a value of a finding's evidence for a person.
func proseOf(x any) string {
	switch v := x.(type) {
	case nil:
		return ""
	case string:
		return quoteProse(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.UTC().Format("2 January 2006 15:04 UTC")
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e15 {
			return grouped(int64(v))
		}
		return strconv.FormatFloat(v, 'g', 6, 64)
	case float32:
		return proseOf(float64(v))
	case fmt.Stringer:
		return quoteProse(v.String())
	}
	rv := reflect.ValueOf(x)
	switch rv.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return grouped(rv.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(rv.Uint(), 10)
	case reflect.Slice, reflect.Array:
		var parts []string
		for i := range rv.Len() {
			if i == maxList {
				parts = append(parts, fmt.Sprintf("and %d more", rv.Len()-maxList))
				break
			}
			if p := proseOf(rv.Index(i).Interface()); p != "" {
				parts = append(parts, p)
			}
		}
		return strings.Join(parts, ", ")
	case reflect.Pointer:
		if rv.IsNil() {
			return ""
		}
		return proseOf(rv.Elem().Interface())
	}
	return quoteProse(fmt.Sprint(x))
}

// textOf writes a value for a command line.
func textOf(x any) string {
	switch v := x.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(x)
}

// grouped writes n with commas between thousands.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// utc writes a time for a place where Slack cannot show the reader's own.
func utc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 Jan 2006 15:04:05 UTC")
}
