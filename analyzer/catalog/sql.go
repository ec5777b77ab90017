package catalog

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind tells tokens apart as far as checking and rendering need it.
type kind int

const (
	word        kind = iota // identifier or keyword
	quotedWord              // "identifier"
	text                    // 'string'
	number                  // 42, 1.5, 1e3
	parameter               // :name
	punctuation             // one character, or ::
)

// token is a piece of SQL. Space and comments are left out.
type token struct {
	kind  kind
	text  string // as written; for a parameter without the colon
	lower string // of words
	start int    // byte offset in the SQL
	end   int
	line  int // of the file
	depth int // of parentheses around it
}

func (t token) is(s string) bool {
	return (t.kind == word && t.lower == s) || (t.kind == punctuation && t.text == s)
}

// scanError says why text cannot be cut into tokens.
type scanError struct {
	line int
	text string
}

func (e *scanError) Error() string { return e.text }

// scan cuts SQL into tokens; line is that of its first byte. Comments do not
// nest, as in Trino. The error is nil or says where scanning stopped.
func scan(sql string, line int) ([]token, *scanError) {
	var tokens []token
	depth := 0
	for i := 0; i < len(sql); {
		start, rest := i, sql[i:]
		r, size := utf8.DecodeRuneInString(rest)
		t := token{start: start, line: line}
		switch {
		case r == '\n':
			line++
			i++
			continue
		case unicode.IsSpace(r):
			i += size
			continue
		case strings.HasPrefix(rest, "--"):
			if n := strings.IndexByte(rest, '\n'); n >= 0 {
				i += n
			} else {
				i = len(sql)
			}
			continue
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return tokens, &scanError{line, "a comment /* does not end"}
			}
			if strings.Contains(rest[2:2+n], "/*") {
				return tokens, &scanError{line, "comments must not nest: DuckDB and Trino read that differently"}
			}
			line += strings.Count(rest[:n+4], "\n")
			i += n + 4
			continue
		case r == '\'' || r == '"':
			n := quoted(rest, byte(r))
			if n < 0 {
				return tokens, &scanError{line, fmt.Sprintf("a quote %c does not end", r)}
			}
			t.kind = text
			if r == '"' {
				t.kind = quotedWord
			}
			line += strings.Count(rest[:n], "\n")
			i += n
		case strings.HasPrefix(rest, "::"):
			t.kind = punctuation
			i += 2
		case r == ':' && len(rest) > 1 && wordStart(rune(rest[1])):
			t.kind = parameter
			i += 1 + wordLength(rest[1:])
		case wordStart(r):
			t.kind = word
			i += wordLength(rest)
		case r >= '0' && r <= '9':
			t.kind = number
			i += numberLength(rest)
		default:
			t.kind = punctuation
			i += size
		}
		t.text, t.end = sql[start:i], i
		switch {
		case t.kind == word:
			t.lower = strings.ToLower(t.text)
		case t.kind == parameter:
			t.text = t.text[1:]
		case t.text == ")" || t.text == "]":
			depth--
		}
		t.depth = depth
		if t.kind == punctuation && (t.text == "(" || t.text == "[") {
			depth++
		}
		tokens = append(tokens, t)
	}
	if depth != 0 {
		return tokens, &scanError{line, "parentheses are not balanced"}
	}
	return tokens, nil
}

// quoted returns the length of the quoted piece that s starts with, or -1.
// A doubled quote stands for itself; backslashes mean nothing.
func quoted(s string, quote byte) int {
	for i := 1; i < len(s); i++ {
		if s[i] != quote {
			continue
		}
		if i+1 < len(s) && s[i+1] == quote {
			i++
			continue
		}
		return i + 1
	}
	return -1
}

func wordStart(r rune) bool { return r == '_' || unicode.IsLetter(r) }

func wordLength(s string) int {
	for i, r := range s {
		if !wordStart(r) && !unicode.IsDigit(r) {
			return i
		}
	}
	return len(s)
}

func numberLength(s string) int {
	for i, r := range s {
		digit := r >= '0' && r <= '9'
		exponent := i > 0 && (r == 'e' || r == 'E')
		sign := i > 0 && (r == '+' || r == '-') && (s[i-1] == 'e' || s[i-1] == 'E')
		if !digit && r != '.' && !exponent && !sign {
			return i
		}
	}
	return len(s)
}

// notPortable lists words that DuckDB and Trino do not share, with what to
// write instead. Those with a trailing "(" are meant as calls only.
var notPortable = map[string]string{
	"ilike":             "lower(…) like",
	"qualify":           "a subquery with where",
	"string_agg(":       "array_join(array_agg(…), ',')",
	"group_concat(":     "array_join(array_agg(…), ',')",
	"listagg(":          "array_join(array_agg(…), ',')",
	"list(":             "array_agg(…)",
	"match_recognize":   "window functions",
	"date_parse(":       "timestamp literals and stored columns",
	"strptime(":         "timestamp literals and stored columns",
	"strftime(":         "date_format(…)",
	"epoch(":            "to_unixtime(…)",
	"regexp_matches(":   "regexp_like(…)",
	"approx_distinct(":  "count(distinct …)",
	"json_value(":       "json_extract_scalar(…)",
	"json_extract_path": "json_extract_scalar(…)",
	"unpivot":           "union all",
	"pivot":             "sum(case …)",
	"asof":              "a window function",
	"positional":        "a join with a condition",
	"sample":            "a condition",
	"anti":              "not exists (…)",
	"semi":              "exists (…)",
	"if(":               "case when … then … else … end",
	"bool_and(":         "every(…)",
	"bool_or(":          "max(case when … then 1 else 0 end)",
	"len(":              "length(…) or cardinality(…)",
	"list_contains(":    "contains(…)",
	"list_value(":       "array[…]",
	"list_distinct(":    "array_distinct(…)",
	"getvariable(":      "a parameter, :name",
	"lambda":            "unnest and a condition",
	"exclude":           "named columns",
	"columns(":          "named columns",
	"struct_pack(":      "columns",
	"age(":              "date_diff(…)",
	"now(":              "the parameter :now, the newest event time",
	"current_timestamp": "the parameter :now, the newest event time",
	"current_date":      "the parameter :now, the newest event time",
	"localtimestamp":    "the parameter :now, the newest event time",
	"random(":           "nothing: findings must be the same each time",
	"uuid(":             "nothing: findings must be the same each time",
	"any_value(":        "min(…): any_value may differ from run to run",
	"arbitrary(":        "min(…): arbitrary may differ from run to run",
}

// notAllowed lists what reaches outside of the views.
var notAllowed = map[string]bool{
	"insert": true, "update": true, "delete": true, "create": true, "drop": true, "alter": true,
	"attach": true, "detach": true, "copy": true, "export": true, "import": true, "install": true,
	"load": true, "pragma": true, "set": true, "call": true, "execute": true, "prepare": true,
	"vacuum": true, "checkpoint": true, "describe": true, "summarize": true, "show": true, "use": true,
}

// outputs returns the names of the columns that the outer SELECT gives, "" for
// an expression without a name, and the token of each, for its line.
func outputs(tokens []token) (names []string, at []token) {
	begin := -1
	for i, t := range tokens {
		if t.depth == 0 && t.is("select") {
			begin = i + 1
			break
		}
	}
	if begin < 0 {
		return nil, nil
	}
	if begin < len(tokens) && (tokens[begin].is("distinct") || tokens[begin].is("all")) {
		begin++
	}
	item := begin
	for i := begin; i <= len(tokens); i++ {
		atEnd := i == len(tokens) || (tokens[i].depth == 0 && tokens[i].is("from"))
		if !atEnd && (tokens[i].depth != 0 || !tokens[i].is(",")) {
			continue
		}
		if i > item {
			names, at = append(names, outputName(tokens[item:i])), append(at, tokens[item])
		}
		item = i + 1
		if atEnd {
			break
		}
	}
	return names, at
}

// outputName names one item of a select list: its alias, or the column alone.
func outputName(item []token) string {
	last := item[len(item)-1]
	named := len(item) == 1 ||
		item[len(item)-2].is("as") ||
		(len(item) == 3 && item[1].is("."))
	switch {
	case last.is("*"):
		return "*"
	case !named:
		return ""
	case last.kind == word:
		return last.lower
	case last.kind == quotedWord:
		return strings.Trim(last.text, `"`)
	default:
		return ""
	}
}

// checkSQL reports what is wrong with the statement, whatever its header says.
func (f *file) checkSQL() {
	if len(f.sql) == 0 {
		f.problem("", "there is no SQL after the front matter")
		return
	}
	if first := f.sql[0]; !first.is("select") && !first.is("with") {
		f.problemAt(first.line, "the statement must start with select or with, not %q", first.text)
	}
	at := func(i int) token {
		if i < 0 || i >= len(f.sql) {
			return token{kind: punctuation}
		}
		return f.sql[i]
	}
	for i, t := range f.sql {
		previous, next := at(i-1), at(i+1)
		switch {
		case t.is(";") && i == len(f.sql)-1:
			f.problemAt(t.line, "no semicolon at the end: Athena refuses it")
		case t.is(";"):
			f.problemAt(t.line, "exactly one statement is allowed")
		case t.is("::"):
			f.problemAt(t.line, "`::` is not portable; write cast(… as …)")
		case t.is("$") || t.is("?") || t.is("@") || t.is("#") || t.is("{") || t.is("`"):
			f.problemAt(t.line, "%q is not portable", t.text)
		case t.is("[") && !previous.is("array") && previous.kind != word && !previous.is(")"):
			f.problemAt(t.line, "a list in brackets is not portable; write array[…]")
		case t.is("-") && next.is(">") && next.start == t.end:
			f.problemAt(t.line, "`->` is not portable; write json_extract_scalar(…), or unnest in place of a lambda")
		case t.kind == text && (previous.is("from") || previous.is("join")):
			f.problemAt(t.line, "a file must not be read; use the documented views")
		case t.kind == text && previous.kind == word && len(previous.text) == 1 && previous.end == t.start:
			f.problemAt(t.line, "%s'…' is not portable; write plain quotes", previous.text)
		case t.kind != word:
		case previous.is("."):
			// a column, whatever its name
		case notAllowed[t.lower] && t.depth == 0 && previous.is(")"):
			// with … as (…) insert into …
			f.problemAt(t.line, "%s is not allowed: a detection only reads", t.lower)
		case next.is("(") && strings.HasPrefix(t.lower, "read_"), next.is("(") && (t.lower == "glob" || t.lower == "parquet_scan" || t.lower == "sniff_csv" || strings.HasPrefix(t.lower, "duckdb_") || strings.HasPrefix(t.lower, "pragma_")):
			f.problemAt(t.line, "%s is not allowed: a detection reads the documented views only", t.lower)
		case notPortable[t.lower] != "":
			f.problemAt(t.line, "%s is not allowed or not portable; use %s", t.lower, notPortable[t.lower])
		case next.is("(") && notPortable[t.lower+"("] != "":
			f.problemAt(t.line, "%s(…) is not allowed or not portable; use %s", t.lower, notPortable[t.lower+"("])
		case t.is("ignore") && next.is("nulls"):
			f.problemAt(t.line, "`ignore nulls` is not portable; filter the nulls out before")
		case t.is("time") && previous.is("at") && next.is("zone"):
			f.problemAt(t.line, "`at time zone` is not portable; times are UTC")
		case t.is("extract") && next.is("(") && (at(i+2).is("dow") || at(i+2).is("day_of_week")):
			f.problemAt(t.line, "extract(%s …) differs; use day_of_week(…)", at(i+2).lower)
		case (t.is("group") || t.is("order")) && next.is("by") && at(i+2).is("all"):
			f.problemAt(t.line, "`%s by all` is not portable; name the columns", t.lower)
		case (t.is("concat") || t.is("greatest") || t.is("least")) && next.is("(") && f.arguments(i+1) > map[string]int{"concat": 4, "greatest": 2, "least": 2}[t.lower]:
			f.problemAt(t.line, "%s has too many arguments for the macro that makes it portable; nest it", t.lower)
		}
	}
}

// arguments counts the arguments of the call whose parenthesis is token i.
func (f *file) arguments(i int) int {
	n, inside := 1, f.sql[i].depth+1
	for _, t := range f.sql[i+1:] {
		if t.depth < inside {
			break
		}
		if t.depth == inside && t.is(",") {
			n++
		}
	}
	return n
}

func (f *file) readSQL(sql string, line int) {
	tokens, err := scan(sql, line)
	if err != nil {
		f.problemAt(err.line, "%s", err.text)
	}
	f.sql = tokens
}
