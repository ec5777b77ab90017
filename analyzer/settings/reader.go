package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/keytrail/keytrail/analyzer"
)

// reader walks the tree of a YAML file and notes what is wrong with it. It
// walks the tree itself, not by struct tags, because only so every mistake is
// found in one go and account ids can be judged as they were written.
type reader struct {
	file       string
	problems   Problems
	anchors    map[string]ast.Node
	detections map[string]analyzer.Detection // nil when not known
	warn       func(Problem)
}

// Parse reads the settings from text; name stands for the file in errors.
func Parse(name string, text []byte, options ...Option) (*analyzer.Settings, error) {
	r := &reader{file: name, anchors: map[string]ast.Node{}, warn: func(Problem) {}}
	for _, o := range options {
		o(r)
	}
	s := &analyzer.Settings{}
	if body := r.parse(text); !isNull(body) {
		r.settings(body, s)
	}
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b Problem) int { return a.Line - b.Line })
		return nil, slices.Compact(r.problems)
	}
	s.Defaults()
	return s, nil
}

// parse turns the text into a tree; nil when it is empty or broken.
func (r *reader) parse(text []byte) (body ast.Node) {
	whole := func(format string, args ...any) {
		r.problems = append(r.problems, Problem{File: r.file, Text: fmt.Sprintf(format, args...)})
	}
	if len(text) > MaxSize {
		whole("it has %d bytes; at most %d are read", len(text), MaxSize)
		return nil
	}
	defer func() {
		if v := recover(); v != nil { // the parser must not take the program down with it
			whole("it cannot be read as YAML")
			body = nil
		}
	}()
	// Repeated keys are let through here and reported with the other mistakes.
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	var syntax *yaml.SyntaxError
	switch {
	case errors.As(err, &syntax) && syntax.Token != nil:
		r.problems = append(r.problems, Problem{File: r.file, Line: syntax.Token.Position.Line, Text: "this is not YAML: " + syntax.Message})
		return nil
	case err != nil:
		whole("this is not YAML: %v", err)
		return nil
	}
	var docs []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil {
			if _, isComment := d.Body.(*ast.CommentGroupNode); !isComment {
				docs = append(docs, d.Body)
			}
		}
	}
	if len(docs) == 0 {
		return nil
	}
	if len(docs) > 1 {
		r.fail(docs[1], "", "there is a second document after ---; one is read")
	}
	ast.Walk(anchorFinder(r.anchors), docs[0])
	return docs[0]
}

// anchorFinder notes the nodes that have a name (&name).
type anchorFinder map[string]ast.Node

// Visit implements ast.Visitor.
func (f anchorFinder) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
		f[a.Name.GetToken().Value] = a.Value
	}
	return f
}

// plain follows anchors, aliases and tags to the node that has the value.
func (r *reader) plain(n ast.Node) ast.Node {
	for range 20 { // an alias of an alias of …, or a ring
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			n = r.anchors[v.Value.GetToken().Value]
		case *ast.TagNode:
			n = v.Value
		default:
			return n
		}
	}
	return nil
}

func (r *reader) fail(n ast.Node, key, format string, args ...any) {
	r.problems = append(r.problems, r.problem(n, key, format, args...))
}

func (r *reader) problem(n ast.Node, key, format string, args ...any) Problem {
	p := Problem{File: r.file, Key: key, Text: fmt.Sprintf(format, args...)}
	if n != nil && n.GetToken() != nil && n.GetToken().Position != nil {
		p.Line = n.GetToken().Position.Line
	}
	return p
}

func isNull(n ast.Node) bool {
	_, ok := n.(*ast.NullNode)
	return n == nil || ok
}

// fields are the keys that a mapping may have.
type fields map[string]func(n ast.Node, key string)

// entry is one line of a mapping.
type entry struct {
	name  string
	node  ast.Node // of the name
	value ast.Node
}

// entries lists a mapping; ok is false, and a problem noted, when n is none.
func (r *reader) entries(n ast.Node, key string) (out []entry, ok bool) {
	var list []*ast.MappingValueNode
	switch v := r.plain(n).(type) {
	case *ast.MappingNode:
		list = v.Values
	case *ast.MappingValueNode:
		list = []*ast.MappingValueNode{v}
	default:
		r.fail(n, key, "must be a mapping of keys, not %s", describe(v))
		return nil, false
	}
	seen := map[string]bool{}
	for _, v := range list {
		if v.Key.IsMergeKey() {
			r.fail(v.Key, key, "<< is not read here; write the keys out")
			continue
		}
		name := v.Key.GetToken().Value
		if r.secret(v.Key, key, name) {
			continue
		}
		if seen[name] {
			r.fail(v.Key, join(key, name), "is there twice")
			continue
		}
		seen[name] = true
		out = append(out, entry{name, v.Key, r.plain(v.Value)})
	}
	return out, true
}

// mapping reads a mapping with known keys. Keys without a value are left out.
func (r *reader) mapping(n ast.Node, key string, known fields) {
	list, _ := r.entries(n, key)
	for _, e := range list {
		read, ok := known[e.name]
		switch {
		case !ok:
			r.fail(e.node, join(key, e.name), "there is no such key%s", didYouMean(e.name, known))
			r.secretIn(e.value, join(key, e.name))
		case isNull(e.value) && (e.name == "channel"):
			r.fail(e.node, join(key, e.name), `is empty; after # YAML reads a comment, so write "#name" in quotes`)
		case isNull(e.value):
		default:
			read(e.value, join(key, e.name))
		}
	}
}

// list reads each item of a sequence.
func (r *reader) list(n ast.Node, key string, item func(n ast.Node, key string)) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fail(n, key, "must be a list, not %s", describe(n))
		return
	}
	for i, v := range seq.Values {
		at := fmt.Sprintf("%s[%d]", key, i)
		if v = r.plain(v); isNull(v) {
			r.fail(n, at, "is empty")
			continue
		}
		item(v, at)
	}
}

// text reads a string. What YAML takes for a number or a boolean is refused,
// since its spelling may be lost by whoever edits the file with a program.
func (r *reader) text(n ast.Node, key string) (string, bool) {
	var s string
	switch v := n.(type) {
	case *ast.StringNode:
		s = v.Value
	case *ast.LiteralNode:
		s = strings.TrimSuffix(v.Value.Value, "\n")
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		r.fail(n, key, "%s is %s to YAML; write it in quotes", n.GetToken().Value, describe(n))
		return "", false
	default:
		r.fail(n, key, "must be text, not %s", describe(n))
		return "", false
	}
	if r.secret(n, key, s) {
		return "", false
	}
	if s == "" {
		r.fail(n, key, "is empty")
		return "", false
	}
	if i := strings.IndexFunc(s, func(c rune) bool { return c < 0x20 && c != '\n' && c != '\t' || c == 0x7f }); i >= 0 {
		r.fail(n, key, "has a control character")
		return "", false
	}
	return s, true
}

// keep returns a field reader that puts text where to points, after check.
func (r *reader) keep(to *string, check func(string) error) func(ast.Node, string) {
	return func(n ast.Node, key string) {
		s, ok := r.text(n, key)
		if !ok {
			return
		}
		if check != nil {
			if err := check(s); err != nil {
				r.fail(n, key, "%v", err)
				return
			}
		}
		*to = s
	}
}

// keepAll is keep for a list of text.
func (r *reader) keepAll(to *[]string, check func(string) error) func(ast.Node, string) {
	return func(n ast.Node, key string) {
		r.list(n, key, func(n ast.Node, key string) {
			var s string
			r.keep(&s, check)(n, key)
			if s == "" {
				return
			}
			if slices.Contains(*to, s) {
				r.fail(n, key, "%q is in the list twice", s)
				return
			}
			*to = append(*to, s)
		})
	}
}

func (r *reader) boolean(to *bool) func(ast.Node, string) {
	return func(n ast.Node, key string) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			r.fail(n, key, "must be true or false, not %s", describe(n))
			return
		}
		*to = b.Value
	}
}

func (r *reader) duration(to *time.Duration, least, most time.Duration) func(ast.Node, string) {
	return func(n ast.Node, key string) {
		switch n.(type) {
		case *ast.IntegerNode, *ast.FloatNode:
			r.fail(n, key, "%s needs a unit, as in 30m, 2h, 7d or 2w", n.GetToken().Value)
			return
		}
		s, ok := r.text(n, key)
		if !ok {
			return
		}
		d, err := ParseDuration(s)
		switch {
		case err != nil:
			r.fail(n, key, "%v", err)
		case d < least || d > most:
			r.fail(n, key, "%s is not between %s and %s", s, FormatDuration(least), FormatDuration(most))
		default:
			*to = d
		}
	}
}

func (r *reader) time(to *time.Time) func(ast.Node, string) {
	return func(n ast.Node, key string) {
		s, ok := r.text(n, key)
		if !ok {
			return
		}
		t, err := parseTime(s)
		if err != nil {
			r.fail(n, key, "%v", err)
			return
		}
		*to = t
	}
}

// account reads an account id. YAML takes one without quotes for a number; one
// that starts with 0 is then an octal number to some readers and loses the 0.
func (r *reader) account(n ast.Node, key string) (string, bool) {
	written := n.GetToken()
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.StringNode:
	default:
		r.fail(n, key, "must be an account id, 12 digits in quotes, not %s", describe(n))
		return "", false
	}
	id := written.Value
	quoted := written.Type == token.SingleQuoteType || written.Type == token.DoubleQuoteType
	if r.secret(n, key, id) {
		return "", false
	}
	digits := id != "" && strings.Trim(id, "0123456789") == ""
	switch {
	case !quoted && digits && strings.HasPrefix(id, "0"):
		r.fail(n, key, `%s must be in quotes: "%s"; without them YAML reads a number and the 0 is lost`, id, id)
		return "", false
	case !digits:
		r.fail(n, key, "%q is not an account id: 12 digits", shorten(id))
		return "", false
	case len(id) != 12 && quoted:
		r.fail(n, key, "%q has %d digits; an account id has 12", shorten(id), len(id))
		return "", false
	case len(id) != 12:
		r.fail(n, key, "%s has %d digits; an account id has 12. If it starts with 0, put it in quotes", shorten(id), len(id))
		return "", false
	}
	return id, true
}

// secretShapes are texts that are secrets wherever they stand, and where they
// belong.
var secretShapes = []struct{ start, what, where string }{
	{"xoxb-", "a Slack token", "put it into the environment variable KEYTRAIL_SLACK_TOKEN"},
	{"xox", "a Slack token", "put a bot token (xoxb-) into the environment variable KEYTRAIL_SLACK_TOKEN"},
	{"xapp-", "a Slack app token", "Keytrail needs a bot token only, in the environment variable KEYTRAIL_SLACK_TOKEN"},
	{"hooks.slack.com/", "a Slack webhook", "put it into the environment variable KEYTRAIL_SLACK_WEBHOOK"},
	{"hooks.slack-gov.com/", "a Slack webhook", "put it into the environment variable KEYTRAIL_SLACK_WEBHOOK"},
}

// secret notes a problem when s holds a secret. It does not repeat it.
func (r *reader) secret(n ast.Node, key, s string) bool {
	lower := strings.ToLower(s)
	for _, shape := range secretShapes {
		at := strings.Index(lower, shape.start)
		if at < 0 {
			continue
		}
		if shape.start == "xox" && !slackToken.MatchString(lower[at:]) {
			continue
		}
		r.fail(n, key, "looks like %s; no secrets in this file: %s", shape.what, shape.where)
		return true
	}
	if accessKey.MatchString(s) {
		r.fail(n, key, "looks like an AWS access key; no secrets in this file: Keytrail takes credentials from the AWS environment")
		return true
	}
	return false
}

// secretIn looks for a secret where a value is not read any further.
func (r *reader) secretIn(n ast.Node, key string) {
	if n, ok := n.(*ast.StringNode); ok {
		r.secret(n, key, n.Value)
	}
}

// value reads a parameter of any type.
func (r *reader) value(n ast.Node, key string) (any, bool) {
	switch v := n.(type) {
	case *ast.IntegerNode:
		i, err := strconv.ParseInt(strings.ReplaceAll(v.Token.Value, "_", ""), 0, 64)
		if err != nil {
			r.fail(n, key, "the number %s is too large", v.Token.Value)
			return nil, false
		}
		return i, true
	case *ast.FloatNode:
		return v.Value, true
	case *ast.BoolNode:
		return v.Value, true
	case *ast.SequenceNode:
		out := []string{}
		r.keepAll(&out, nil)(n, key)
		return out, true
	case *ast.StringNode:
		if v.Value == "" {
			return "", true
		}
	}
	return r.text(n, key)
}

func join(key, name string) string {
	name = shorten(name)
	if key == "" {
		return name
	}
	return key + "." + name
}

// shorten keeps what the file says short in messages.
func shorten(s string) string {
	const limit = 60
	if r := []rune(s); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return s
}

func describe(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "a boolean"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	}
	return "this"
}

// didYouMean proposes the nearest of the known names, if one is near.
func didYouMean[V any](name string, known map[string]V) string {
	best, distance := "", 4
	names := make([]string, 0, len(known))
	for k := range known {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		d := editDistance(strings.ToLower(name), strings.ToLower(k))
		if len(name) > 3 && strings.HasPrefix(k, strings.ToLower(name)) { // cut short
			d = 1
		}
		if d < distance && d <= max(1, len(k)/2) {
			best, distance = k, d
		}
	}
	if best != "" {
		return "; did you mean " + best + "?"
	}
	if len(names) <= 20 && len(names) > 0 {
		return "; there are " + strings.Join(names, ", ")
	}
	return ""
}

// editDistance counts the letters to insert, remove or replace (Levenshtein).
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			above := row[j]
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above+1, row[j-1]+1, diagonal+cost)
			diagonal = above
		}
	}
	return row[len(b)]
}
