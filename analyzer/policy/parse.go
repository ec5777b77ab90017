package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxSize is the longest policy that Parse reads. AWS takes 32 KiB.
const MaxSize = 64 << 10

// maxDepth is how deep a policy may nest: document, statements, statement,
// condition, operator, values make 6.
const maxDepth = 12

// maxStatements is far above what fits in the 32 KiB of AWS with any content.
const maxStatements = 1000

// ErrMalformed is wrapped by every error of Parse: the text is no key policy
// that AWS would accept.
var ErrMalformed = errors.New("malformed key policy")

// Document is a key policy.
type Document struct {
	Version    string // 2012-10-17 or 2008-10-17, the default
	ID         string
	Statements []Statement
}

// Statement is one statement of a policy.
type Statement struct {
	Sid   string
	Index int // 1 for the first
	Allow bool
	// Principals are the entries of Principal, or of NotPrincipal when
	// NotPrincipal is set.
	Principals   []Principal
	NotPrincipal bool
	// Actions are as written; NotAction turns them round.
	Actions   []string
	NotAction bool
	// Resources are as written; in a key policy "*" is the key itself.
	Resources   []string
	NotResource bool
	Conditions  []Condition
}

// Name is the Sid, or "statement N" for a statement without one.
func (s *Statement) Name() string {
	if s.Sid != "" {
		return s.Sid
	}
	return "statement " + strconv.Itoa(s.Index)
}

// PrincipalKind is the kind of an entry in Principal.
type PrincipalKind string

// The kinds of entries. PrincipalAny is "*" alone or under AWS.
const (
	PrincipalAny       PrincipalKind = "*" // everyone
	PrincipalAWS       PrincipalKind = "AWS"
	PrincipalService   PrincipalKind = "Service"
	PrincipalFederated PrincipalKind = "Federated"
	PrincipalCanonical PrincipalKind = "CanonicalUser"
)

// Principal is one entry of Principal or NotPrincipal.
type Principal struct {
	Kind  PrincipalKind
	Value string // as written
}

// Condition is one line of a Condition block: an operator, a key and the
// values of which one has to match (none, for the negated operators).
type Condition struct {
	Operator  string // StringLike; canonical spelling, without qualifier and IfExists
	Qualifier string // ForAnyValue, ForAllValues or ""
	IfExists  bool
	Key       string // as written
	Values    []string

	key  string // lower case
	vars bool   // the values may hold policy variables (Version 2012-10-17)
}

var operators = func() map[string]string {
	m := map[string]string{}
	for _, op := range []string{
		"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike",
		"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals",
		"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals",
		"Bool", "BinaryEquals", "IpAddress", "NotIpAddress", "ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike", "Null",
	} {
		m[strings.ToLower(op)] = op
	}
	return m
}()

// actionShape is service:Action with wildcards, or a lone *.
var actionShape = regexp.MustCompile(`^(\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+)$`)

// Parse reads a key policy. It takes every shape that AWS takes: one statement
// or many, single values or arrays, any case of element, action and condition
// names, and raw line breaks inside strings, which copies of policies have
// though JSON forbids them. The error names the statement and what is wrong
// with it, and wraps [ErrMalformed].
func Parse(text []byte) (*Document, error) {
	if len(text) > MaxSize {
		return nil, malformed("it has %d bytes; at most %d are read", len(text), MaxSize)
	}
	root, err := readJSON(text)
	if err != nil {
		return nil, malformed("%w", err)
	}
	top, ok := root.(object)
	if !ok {
		return nil, malformed("it is %s, not an object", kindOf(root))
	}
	doc := &Document{Version: "2008-10-17"} // what AWS assumes for a document without Version
	var statements any
	for _, f := range top {
		switch strings.ToLower(f.name) {
		case "version":
			doc.Version, ok = f.value.(string)
			if !ok || doc.Version != "2012-10-17" && doc.Version != "2008-10-17" {
				return nil, malformed("Version is %s; there are 2012-10-17 and 2008-10-17", show(f.value))
			}
		case "id":
			if doc.ID, ok = f.value.(string); !ok {
				return nil, malformed("Id is %s, not a string", kindOf(f.value))
			}
		case "statement":
			statements = f.value
		default:
			return nil, malformed("unknown element %q", f.name)
		}
	}
	var list []any
	switch v := statements.(type) {
	case object:
		list = []any{v}
	case []any:
		list = v
	default:
		return nil, malformed("Statement is %s, not an object or an array", kindOf(statements))
	}
	if len(list) == 0 {
		return nil, malformed("it has no statement")
	}
	if len(list) > maxStatements {
		return nil, malformed("it has %d statements; at most %d are read", len(list), maxStatements)
	}
	for i, v := range list {
		s, err := parseStatement(v, i+1, doc.Version == "2012-10-17")
		if err != nil {
			return nil, malformed("%s: %w", s.Name(), err)
		}
		doc.Statements = append(doc.Statements, s)
	}
	return doc, nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMalformed, fmt.Errorf(format, args...))
}

func parseStatement(v any, index int, vars bool) (Statement, error) {
	s := Statement{Index: index, Resources: []string{"*"}}
	fields, ok := v.(object)
	if !ok {
		return s, fmt.Errorf("is %s, not an object", kindOf(v))
	}
	if sid, ok := fields.get("sid").(string); ok { // first, so that errors can name it
		s.Sid = sid
	}
	seen := map[string]bool{}
	for _, f := range fields {
		name := strings.ToLower(f.name)
		seen[name] = true
		var err error
		switch name {
		case "sid":
			if _, ok := f.value.(string); !ok {
				err = fmt.Errorf("is %s, not a string", kindOf(f.value))
			}
		case "effect":
			switch f.value {
			case "Allow":
				s.Allow = true
			case "Deny":
			default:
				err = fmt.Errorf("is %s; there are Allow and Deny", show(f.value))
			}
		case "principal", "notprincipal":
			s.NotPrincipal = name == "notprincipal"
			s.Principals, err = parsePrincipals(f.value)
		case "action", "notaction":
			s.NotAction = name == "notaction"
			if s.Actions, err = textList(f.value); err == nil {
				err = checkActions(s.Actions)
			}
		case "resource", "notresource":
			s.NotResource = name == "notresource"
			s.Resources, err = textList(f.value)
		case "condition":
			s.Conditions, err = parseConditions(f.value, vars)
		default:
			err = errors.New("is no element of a statement")
		}
		if err != nil {
			return s, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	switch {
	case !seen["effect"]:
		return s, errors.New("has no Effect")
	case seen["principal"] == seen["notprincipal"]:
		return s, errors.New("needs one of Principal and NotPrincipal")
	case seen["action"] == seen["notaction"]:
		return s, errors.New("needs one of Action and NotAction")
	case seen["resource"] && seen["notresource"]:
		return s, errors.New("has both Resource and NotResource")
	}
	return s, nil
}

func checkActions(actions []string) error {
	for _, a := range actions {
		if !actionShape.MatchString(a) {
			return fmt.Errorf("%q is no action; actions look like kms:Decrypt", cut(a))
		}
	}
	return nil
}

func parsePrincipals(v any) ([]Principal, error) {
	if s, ok := v.(string); ok {
		if s != "*" {
			return nil, fmt.Errorf(`%q stands alone; only "*" may, others need {"AWS": …}`, cut(s))
		}
		return []Principal{{PrincipalAny, "*"}}, nil
	}
	fields, ok := v.(object)
	if !ok {
		return nil, fmt.Errorf(`is %s, not "*" or an object`, kindOf(v))
	}
	var out []Principal
	for _, f := range fields {
		values, err := textList(f.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		var kind PrincipalKind
		switch strings.ToLower(f.name) {
		case "aws", "*":
			kind = PrincipalAWS
		case "service":
			kind = PrincipalService
		case "federated":
			kind = PrincipalFederated
		case "canonicaluser":
			kind = PrincipalCanonical
		default:
			return nil, fmt.Errorf("%q is no kind of principal; there are AWS, Service, Federated and CanonicalUser", cut(f.name))
		}
		for _, value := range values {
			p := Principal{kind, value}
			switch {
			case value == "":
				return nil, fmt.Errorf("%s: an entry is empty", f.name)
			case kind == PrincipalAWS && strings.Trim(value, "*") == "":
				p.Kind = PrincipalAny
			case kind == PrincipalAWS && !isAWSPrincipal(value):
				return nil, fmt.Errorf("%s: %q is no account id, ARN or unique id", f.name, cut(value))
			}
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("names nobody")
	}
	return out, nil
}

// uniqueID is the id that takes the place of a deleted principal's ARN:
// AIDA… for users, AROA… for roles (IAM identifiers, "Unique identifiers").
var uniqueID = regexp.MustCompile(`^A[A-Z]{3}[A-Z0-9]{8,124}$`)

func isAWSPrincipal(s string) bool {
	return isAccount(s) || strings.HasPrefix(s, "arn:") && strings.Count(s, ":") >= 5 || uniqueID.MatchString(s)
}

// isAccount tells whether s is an account id: 12 digits.
func isAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

func parseConditions(v any, vars bool) ([]Condition, error) {
	blocks, ok := v.(object)
	if !ok {
		return nil, fmt.Errorf("is %s, not an object", kindOf(v))
	}
	var out []Condition
	for _, block := range blocks {
		base, err := parseOperator(block.name)
		if err != nil {
			return nil, err
		}
		keys, ok := block.value.(object)
		if !ok {
			return nil, fmt.Errorf("%s: is %s, not an object of condition keys", block.name, kindOf(block.value))
		}
		for _, f := range keys {
			c := base
			c.Key, c.key, c.vars = f.name, strings.ToLower(f.name), vars
			if !strings.Contains(c.Key, ":") {
				return nil, fmt.Errorf("%s: %q is no condition key; they look like kms:CallerAccount", block.name, cut(c.Key))
			}
			if c.Values, err = valueList(f.value); err == nil {
				err = c.check()
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", block.name, c.Key, err)
			}
			out = append(out, c)
		}
	}
	return out, nil
}

func parseOperator(written string) (Condition, error) {
	var c Condition
	name := strings.ToLower(written)
	if rest, ok := strings.CutPrefix(name, "foranyvalue:"); ok {
		c.Qualifier, name = "ForAnyValue", rest
	} else if rest, ok := strings.CutPrefix(name, "forallvalues:"); ok {
		c.Qualifier, name = "ForAllValues", rest
	}
	if rest, ok := strings.CutSuffix(name, "ifexists"); ok {
		c.IfExists, name = true, rest
	}
	c.Operator = operators[name]
	if c.Operator == "" || c.Operator == "Null" && (c.IfExists || c.Qualifier != "") {
		return c, fmt.Errorf("%q is no condition operator", cut(written))
	}
	return c, nil
}

// check refuses values that the operator cannot compare. Values with a policy
// variable are known only when a request is there.
func (c *Condition) check() error {
	for _, v := range c.Values {
		if c.vars && strings.Contains(v, "${") {
			continue
		}
		ok := true
		switch {
		case c.Operator == "Bool" || c.Operator == "Null":
			ok = strings.EqualFold(v, "true") || strings.EqualFold(v, "false")
		case strings.HasPrefix(c.Operator, "Numeric"):
			_, err := strconv.ParseFloat(v, 64)
			ok = err == nil
		case strings.HasPrefix(c.Operator, "Date"):
			_, ok = parseDate(v)
		case strings.HasSuffix(c.Operator, "IpAddress"):
			_, ok = parseCIDR(v)
		}
		if !ok {
			return fmt.Errorf("%q is no value for %s", cut(v), c.Operator)
		}
	}
	return nil
}

func parseDate(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04Z", "2006-01-02"} {
		if t, err := time.Parse(layout, strings.ToUpper(s)); err == nil {
			return t, true
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0).UTC(), true
	}
	return time.Time{}, false
}

func parseCIDR(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// textList reads a string or an array of strings.
func textList(v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case []any:
		if len(v) == 0 {
			return nil, errors.New("is an empty list")
		}
		out := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("has %s in its list, not only strings", kindOf(e))
			}
			out = append(out, s)
		}
		return out, nil
	}
	return nil, fmt.Errorf("is %s, not a string or a list of strings", kindOf(v))
}

// valueList reads the values of a condition: strings, numbers or booleans,
// alone or in a list. An empty list matches nothing and is legal.
func valueList(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		switch e := e.(type) {
		case string:
			out = append(out, e)
		case bool:
			out = append(out, strconv.FormatBool(e))
		case json.Number:
			out = append(out, e.String())
		default:
			return nil, fmt.Errorf("a value is %s", kindOf(e))
		}
	}
	return out, nil
}

// field and object keep the order of a JSON object and tell repeated names.
type field struct {
	name  string
	value any
}

type object []field

func (o object) get(lower string) any {
	for _, f := range o {
		if strings.ToLower(f.name) == lower {
			return f.value
		}
	}
	return nil
}

// readJSON decodes exactly one JSON value. Names repeated in an object, in any
// case, are an error: which one counts would be a guess.
func readJSON(text []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(foldControls(text)))
	dec.UseNumber()
	v, err := readValue(dec, 0)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("the JSON ends too early")
		}
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there is more after the document, from byte %d", dec.InputOffset())
	}
	return v, nil
}

func readValue(dec *json.Decoder, depth int) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if depth >= maxDepth {
		return nil, fmt.Errorf("it nests deeper than %d", maxDepth)
	}
	if delim == '[' {
		list := []any{}
		for dec.More() {
			v, err := readValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	}
	var o object
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := tok.(string)
		if lower := strings.ToLower(name); seen[lower] {
			return nil, fmt.Errorf("%q is there twice in one object", cut(name))
		} else {
			seen[lower] = true
		}
		v, err := readValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		o = append(o, field{name, v})
	}
	_, err = dec.Token()
	return o, err
}

// foldControls replaces each run of raw control characters and the blanks after
// it inside a JSON string by one blank. Policies copied from wrapped text have
// them; the rest of such a document is sound.
func foldControls(text []byte) []byte {
	out := make([]byte, 0, len(text))
	inString, folding := false, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case inString && c < 0x20:
			if !folding {
				out = append(out, ' ')
			}
			folding = true
			continue
		case folding && c == ' ':
			continue
		case inString && c == '\\' && i+1 < len(text):
			out = append(out, c)
			i++
			c = text[i]
		case c == '"':
			inString = !inString
		}
		folding = false
		out = append(out, c)
	}
	return out
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "missing or null"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case []any:
		return "an array"
	}
	return "an object"
}

func show(v any) string {
	if s, ok := v.(string); ok {
		return strconv.Quote(cut(s))
	}
	return kindOf(v)
}

// cut keeps log text in errors short.
func cut(s string) string {
	const limit = 80
	if r := []rune(s); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return s
}

func sortedSet(in []string) []string {
	out := slices.Clone(in)
	slices.Sort(out)
	return slices.Compact(out)
}
