package normalise

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// errMalformed tells that the bytes end or turn inside a value. The reader of
// the records checks syntax before; this keeps a mistake there from being worse
// than an error.
var errMalformed = errors.New("record is not one well-formed JSON object")

// object walks the fields of the object that starts at data[i] (a brace) and
// calls field with the raw name and the offset of its value; field returns the
// offset behind the value, or -1 when it is malformed. It returns the offset
// behind the closing brace, or -1.
//
// Names are compared as written: CloudTrail does not escape its own names.
func object(data []byte, i int, field func(name []byte, value int) int) int {
	if i >= len(data) || data[i] != '{' {
		return -1
	}
	for i++; ; {
		i = space(data, i)
		if i >= len(data) {
			return -1
		}
		switch data[i] {
		case '}':
			return i + 1
		case ',':
			i++
			continue
		case '"':
		default:
			return -1
		}
		end := stringEnd(data, i)
		if end < 0 {
			return -1
		}
		name := data[i+1 : end-1]
		i = space(data, end)
		if i >= len(data) || data[i] != ':' {
			return -1
		}
		i = space(data, i+1)
		if i >= len(data) {
			return -1
		}
		if i = field(name, i); i < 0 {
			return -1
		}
	}
}

// elements walks the array that starts at data[i] (a bracket) as object does.
func elements(data []byte, i int, element func(value int) int) int {
	if i >= len(data) || data[i] != '[' {
		return -1
	}
	for i++; ; {
		i = space(data, i)
		if i >= len(data) {
			return -1
		}
		switch data[i] {
		case ']':
			return i + 1
		case ',':
			i++
			continue
		}
		if i = element(i); i < 0 {
			return -1
		}
	}
}

// space returns the offset of the first byte at or after i that is not JSON
// white space. CloudTrail writes none, pretty-printed files do.
func space(data []byte, i int) int {
	for i < len(data) && data[i] <= ' ' {
		i++
	}
	return i
}

// stringEnd returns the offset behind the closing quote of the string whose
// opening quote is data[i], or -1.
func stringEnd(data []byte, i int) int {
	for j := i + 1; ; {
		n := bytes.IndexByte(data[j:], '"')
		if n < 0 {
			return -1
		}
		j += n
		escapes := 0
		for k := j - 1; k > i && data[k] == '\\'; k-- {
			escapes++
		}
		j++
		if escapes%2 == 0 {
			return j
		}
	}
}

// skip returns the offset behind the value that starts at data[i], or -1.
func skip(data []byte, i int) int {
	if i >= len(data) {
		return -1
	}
	switch data[i] {
	case '"':
		return stringEnd(data, i)
	case '{', '[':
	default:
		start := i
		for i < len(data) {
			switch data[i] {
			case ',', '}', ']', ' ', '\t', '\n', '\r':
				if i == start {
					return -1
				}
				return i
			}
			i++
		}
		return i
	}
	for depth := 0; i < len(data); {
		switch data[i] {
		case '"':
			if i = stringEnd(data, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}

// stringBody returns the bytes between the quotes of a string value, and false
// when raw is not a string or has escapes, which need decoding.
func stringBody(raw []byte) ([]byte, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, false
	}
	body := raw[1 : len(raw)-1]
	return body, bytes.IndexByte(body, '\\') < 0
}

// text decodes any value to text in memory of its own: a string to what it
// says, null to nothing, the rest to its JSON.
func text(raw []byte) string {
	if body, plain := stringBody(raw); plain {
		return clean(string(body), maxText)
	}
	r := gjson.ParseBytes(raw)
	if r.Type == gjson.Null {
		return ""
	}
	return clean(r.String(), maxText)
}

// clean makes s valid UTF-8 and cuts it to at most limit runes.
func clean(s string, limit int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return cut(s, limit)
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
