package normalise

import (
	"bytes"
	"strings"

	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// text returns any value as text in memory of its own: a string as what it
// says, null and what is missing as nothing, the rest as its JSON.
func text(v jsonscan.Value) string { return long(v, maxText) }

// long is text with another limit, in runes.
func long(v jsonscan.Value, limit int) string {
	switch v.Kind() {
	case jsonscan.Missing, jsonscan.Null:
		return ""
	case jsonscan.String:
		return cut(string(v.Bytes()), limit)
	}
	return cut(string(v.Raw()), limit)
}

// cut cuts s to at most limit runes.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	n := 0
	for i := range s {
		if n == limit {
			return strings.Clone(s[:i])
		}
		n++
	}
	return s
}

// truth reads a boolean that may be logged as text.
func truth(v jsonscan.Value) bool {
	b, isBool := v.Bool()
	return b || !isBool && bytes.EqualFold(v.Bytes(), []byte("true"))
}

// given tells whether there is a value that is not null.
func given(v jsonscan.Value) bool {
	return v.Kind() != jsonscan.Missing && v.Kind() != jsonscan.Null
}

// unwrap returns the value inside of a string that holds JSON, which is how
// some tools log objects and lists, and any other value as it is.
func unwrap(v jsonscan.Value) jsonscan.Value {
	inside := bytes.TrimSpace(v.Bytes())
	if len(inside) == 0 || inside[0] != '{' && inside[0] != '[' {
		return v
	}
	var doc jsonscan.Doc
	if doc.Parse(inside) != nil {
		return v
	}
	return doc.Root()
}

// list returns the elements of a list, at most maxList; a value that is no list
// is a list of itself.
func list(v jsonscan.Value) (elements []jsonscan.Value) {
	v = unwrap(v)
	if v.Kind() != jsonscan.Array {
		if given(v) {
			elements = append(elements, v)
		}
		return elements
	}
	for e := v.Elements(); e.Next() && len(elements) < maxList; {
		elements = append(elements, e.Value())
	}
	return elements
}

// compact returns a value without white space, in memory of its own, at most
// maxJSON runes of it; null and nothing are empty.
func compact(v jsonscan.Value) string {
	if !given(v) {
		return ""
	}
	return wrap(withoutSpace(v.Raw()), maxJSON)
}

// withoutSpace returns valid JSON without white space between its values.
func withoutSpace(raw []byte) string {
	var b strings.Builder
	b.Grow(len(raw))
	start := 0
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c == '"':
			i = stringEnd(raw, i)
		case c <= ' ':
			b.Write(raw[start:i])
			i++
			start = i
		default:
			i++
		}
	}
	b.Write(raw[start:])
	return b.String()
}

// stringEnd returns the offset behind the closing quote of the string in valid
// JSON whose opening quote is raw[i].
func stringEnd(raw []byte, i int) int {
	for j := i + 1; ; {
		n := bytes.IndexByte(raw[j:], '"')
		if n < 0 {
			return len(raw)
		}
		j += n
		escapes := 0
		for k := j - 1; k > i && raw[k] == '\\'; k-- {
			escapes++
		}
		j++
		if escapes%2 == 0 {
			return j
		}
	}
}

// wrap keeps JSON text that is too long valid JSON: its first limit runes
// become the text of {"truncated": …}. Half an object would make the database
// that reads it fail.
func wrap(s string, limit int) string {
	if short := cut(s, limit); len(short) < len(s) {
		return `{"truncated":` + string(appendJSON(nil, short)) + `}`
	}
	return s
}
