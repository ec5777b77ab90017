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

// tablesRead lists the names that stand where tables stand, each once: behind
// from and join, and behind a comma after from. Names with a schema in front
// and calls are none. It may name a column too many, as in "is distinct from x".
func tablesRead(sql string) []string {
	var names []string
	seen := map[string]bool{}
	inFrom := []bool{false} // for each depth of parentheses
	list := words(sql)
	at := func(i int) string {
		if i < 0 || i >= len(list) {
			return ""
		}
		return list[i].text
	}
	for i, w := range list {
		top := len(inFrom) - 1
		switch {
		case w.text == "(":
			inFrom = append(inFrom, false)
			continue
		case w.text == ")" && top > 0:
			inFrom = inFrom[:top]
			continue
		case w.text == "from":
			inFrom[top] = true
			continue
		case afterFrom[w.text]:
			inFrom[top] = false
			continue
		}
		table := at(i-1) == "from" || at(i-1) == "join" || at(i-1) == "," && inFrom[top]
		if table && at(i+1) != "." && at(i+1) != "(" && !seen[w.text] {
			seen[w.text] = true
			names = append(names, w.text)
		}
	}
	return names
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
