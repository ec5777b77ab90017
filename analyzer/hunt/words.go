package hunt

import (
	"regexp"
	"strings"
)

// piece matches one piece of SQL: texts, quoted names and comments whole, so
// that nothing inside them is taken for a name or a parameter.
var piece = regexp.MustCompile(`(?s)'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|::|:[A-Za-z_]\w*|[A-Za-z_]\w*|\S`)

// word is a piece of SQL that is neither space nor comment. Quoted names are
// without their quotes; other names in lower case.
type word struct {
	text       string
	start, end int
}

func words(sql string) []word {
	var list []word
	for _, at := range piece.FindAllStringIndex(sql, -1) {
		text := sql[at[0]:at[1]]
		switch {
		case strings.HasPrefix(text, "--"), strings.HasPrefix(text, "/*"):
			continue
		case len(text) > 1 && text[0] == '"':
			text = strings.ReplaceAll(text[1:len(text)-1], `""`, `"`)
		case text[0] != '\'':
			text = strings.ToLower(text)
		}
		list = append(list, word{text, at[0], at[1]})
	}
	return list
}

// afterFrom are the words that end the list of tables after from.
var afterFrom = map[string]bool{
	"where": true, "group": true, "order": true, "having": true, "select": true, "union": true, "intersect": true,
	"except": true, "limit": true, "window": true, "fetch": true, "offset": true,
}

// fromInside are functions in which from is no clause, as extract(day from t).
var fromInside = map[string]bool{"extract": true, "trim": true, "substring": true}

// tablesRead lists the names that stand where tables stand, each once: behind
// from and join, and behind a comma after from. Calls are none, and of names with
// a schema in front it only tells that there are some.
func tablesRead(sql string) (names []string, others bool) {
	// level is what is known at one depth of parentheses.
	type level struct{ inFrom, inCall bool }
	levels := []level{{}}
	list := words(sql)
	at := func(i int) string {
		if i < 0 || i >= len(list) {
			return ""
		}
		return list[i].text
	}
	seen := map[string]bool{}
	table := false // a table's name comes next
	for i, w := range list {
		expected, here := table, &levels[len(levels)-1]
		table = false
		switch {
		case w.text == "(":
			levels = append(levels, level{inCall: fromInside[at(i-1)]})
			table = expected // as in from (uses join grants …)
		case w.text == ")":
			levels = levels[:max(1, len(levels)-1)]
		case w.text == "from":
			if !here.inCall && at(i-1) != "distinct" { // is distinct from
				here.inFrom, table = true, true
			}
		case w.text == "join":
			table = true
		case w.text == ",":
			table = here.inFrom
		case afterFrom[w.text]:
			here.inFrom = false
		case !expected || at(i+1) == "(" || seen[w.text]:
		case at(i+1) == ".":
			others = true
		default:
			seen[w.text] = true
			names = append(names, w.text)
		}
	}
	return names, others
}

// tablesMade lists the names that the with-clause at the front of a statement
// gives.
func tablesMade(sql string) []string {
	list := words(sql)
	if len(list) == 0 || list[0].text != "with" {
		return nil
	}
	var names []string
	depth := 0
	for i, w := range list {
		switch {
		case w.text == "(":
			depth++
		case w.text == ")":
			depth--
		case depth == 0 && w.text == "select":
			return names
		case depth == 0 && i > 0 && (list[i-1].text == "with" || list[i-1].text == "recursive" || list[i-1].text == ","):
			names = append(names, w.text)
		}
	}
	return names
}

// replaceParameters puts SQL in the place of some parameters.
func replaceParameters(sql string, by map[string]string) string {
	var b strings.Builder
	written := 0
	for _, w := range words(sql) {
		name, ok := strings.CutPrefix(w.text, ":")
		text, known := by[name]
		if !ok || !known {
			continue
		}
		b.WriteString(sql[written:w.start])
		b.WriteString(text)
		written = w.end
	}
	b.WriteString(sql[written:])
	return b.String()
}

func usesParameter(sql, name string) bool {
	for _, w := range words(sql) {
		if w.text == ":"+name {
			return true
		}
	}
	return false
}
