package jsonscan

import (
	"math"
	"math/bits"
	"slices"
	"unicode/utf8"
)

const arrayBit = 1 << 31 // marks a parent that is an array

// parse reads one value, from p on to the end of data, which lies in depth
// brackets. It is one loop with labels for what may come next: a call for each
// value would cost as much as the work.
//
//nolint:gosec // positions and numbers of nodes are within int32: see the first line
func (d *Doc) parse(data []byte, blocks []Block, first, p, depth int) error {
	n := len(data)
	maxDepth, maxValues := d.limits()
	maxDepth -= depth
	closer := d.escaped || d.special

	nodes := d.nodes
	parents := d.parents[:0]
	var (
		parent uint32 // the node of the innermost open bracket
		c      byte
		end    int
		at     uint // for the blocks
		quotes uint64
		reason string
		lost   bool
		open   bool // inside some bracket
	)

value:
	for p < n && isSpace(data[p]) {
		p++
	}
	if p >= n {
		goto cut
	}
	if len(nodes) >= maxValues {
		reason = "too many values"
		goto fail
	}
	c = data[p]
	switch c {
	case '"':
		if p+1 >= n {
			goto cut
		}
		at = uint(first + p + 1)
		quotes = ^blocks[at/BlockSize].String >> (at % BlockSize)
		end = p + 1 + bits.TrailingZeros64(quotes)
		if quotes == 0 {
			end = nextQuote(blocks, int(at)) - first
		}
		if end >= n {
			goto cut
		}
		if closer {
			if problem, where := checkString(data[p+1 : end]); problem != "" {
				p += 1 + where
				reason = problem
				lost = true
				goto fail
			}
		}
		nodes = appendNode(nodes, p, end+1, String, 0)
		p = end + 1
	case '{':
		if len(parents) >= maxDepth {
			reason = "nested too deep"
			goto fail
		}
		parents = append(parents, parent)
		parent = uint32(len(nodes))
		open = true
		nodes = appendNode(nodes, p, 0, Object, 0)
		p++
		for p < n && isSpace(data[p]) {
			p++
		}
		if p < n && data[p] == '}' {
			goto closeBracket
		}
		goto key
	case '[':
		if len(parents) >= maxDepth {
			reason = "nested too deep"
			goto fail
		}
		parents = append(parents, parent)
		parent = uint32(len(nodes)) | arrayBit
		open = true
		nodes = appendNode(nodes, p, 0, Array, 0)
		p++
		for p < n && isSpace(data[p]) {
			p++
		}
		if p < n && data[p] == ']' {
			goto closeBracket
		}
		goto value
	default:
		kind := Missing
		end = p
		switch c {
		case 't':
			kind, end = literal(data, p, "true", Bool)
		case 'f':
			kind, end = literal(data, p, "false", Bool)
		case 'n':
			kind, end = literal(data, p, "null", Null)
		default:
			if c == '-' || c >= '0' && c <= '9' {
				kind, end = number(data, p)
			}
		}
		if kind == Missing {
			if end >= n {
				goto cut
			}
			reason, lost = "expected a value", true
			if end > p || c == '-' {
				reason = "malformed value"
			}
			p = end
			goto fail
		}
		nodes = appendNode(nodes, p, end, kind, 0)
		p = end
	}

after: // a value has ended
	if !open {
		goto done
	}
	for p < n && isSpace(data[p]) {
		p++
	}
	if p >= n {
		goto cut
	}
	c = data[p]
	if c == ',' {
		p++
		if parent&arrayBit != 0 {
			goto value
		}
		for p < n && isSpace(data[p]) {
			p++
		}
		goto key
	}
	if c == '}' && parent&arrayBit == 0 || c == ']' && parent&arrayBit != 0 {
		goto closeBracket
	}
	reason = "expected a comma or the end of an object"
	lost = true
	if parent&arrayBit != 0 {
		reason = "expected a comma or the end of an array"
	}
	goto fail

key:
	if p >= n {
		goto cut
	}
	if data[p] != '"' {
		reason = "expected a key"
		lost = true
		goto fail
	}
	if len(nodes) >= maxValues {
		reason = "too many values"
		goto fail
	}
	if p+1 >= n {
		goto cut
	}
	at = uint(first + p + 1)
	quotes = ^blocks[at/BlockSize].String >> (at % BlockSize)
	end = p + 1 + bits.TrailingZeros64(quotes)
	if quotes == 0 {
		end = nextQuote(blocks, int(at)) - first
	}
	if end >= n {
		goto cut
	}
	if closer {
		if problem, where := checkString(data[p+1 : end]); problem != "" {
			p += 1 + where
			reason = problem
			lost = true
			goto fail
		}
	}
	nodes = appendNode(nodes, p, end+1, String, 0)
	p = end + 1
	for p < n && isSpace(data[p]) {
		p++
	}
	if p >= n {
		goto cut
	}
	if data[p] != ':' {
		reason = "expected a colon"
		lost = true
		goto fail
	}
	p++
	goto value

closeBracket:
	p++
	{
		b := &nodes[parent&^arrayBit]
		b.end, b.next = uint32(p), uint32(len(nodes))
	}
	parent = parents[len(parents)-1]
	parents = parents[:len(parents)-1]
	open = len(parents) > 0
	goto after

done:
	for p < n && isSpace(data[p]) {
		p++
	}
	if p < n {
		reason = "something follows the value"
		lost = true
		goto fail
	}
	d.nodes, d.parents = nodes, parents
	return nil

cut:
	d.nodes, d.parents = nodes, parents
	return &SyntaxError{Offset: n, Reason: "unexpected end", Cut: true}

fail:
	d.nodes, d.parents = nodes, parents
	return &SyntaxError{Offset: p, Reason: reason, Lost: lost}
}

// appendNode is append(nodes, node{…}), which would make the node elsewhere and
// copy it: that costs more than all the rest.
//
//nolint:gosec // positions and numbers of nodes are within int32: see Doc.parseIndexed
func appendNode(nodes []node, start, end int, kind Kind, piece int) []node {
	i := len(nodes)
	if i == cap(nodes) {
		nodes = slices.Grow(nodes, max(i, 64))
	}
	nodes = nodes[:i+1]
	n := &nodes[i]
	n.start, n.end, n.next, n.piece, n.kind = uint32(start), uint32(end), uint32(i+1), uint32(piece), kind
	return nodes
}

func isSpace(c byte) bool {
	return c <= ' ' && (c == ' ' || c == '\n' || c == '\r' || c == '\t')
}

// nextQuote returns where the string that the bit lies in ends: at its closing
// quote, or beyond the text. The caller has looked in the bit's own block.
func nextQuote(blocks []Block, bit int) int {
	for i := bit/BlockSize + 1; i < len(blocks); i++ {
		if s := blocks[i].String; s != ^uint64(0) {
			return i*BlockSize + bits.TrailingZeros64(^s)
		}
	}
	return math.MaxInt
}

// literal reads true, false or null. When the text does not have it, kind is
// Missing and end is where it differs.
func literal(data []byte, p int, word string, kind Kind) (Kind, int) {
	for i := range len(word) {
		if p+i >= len(data) || data[p+i] != word[i] {
			return Missing, p + i
		}
	}
	return kind, p + len(word)
}

// number reads a number as RFC 8259 has it. When it is malformed, kind is
// Missing and end is where.
func number(data []byte, p int) (kind Kind, end int) {
	if data[p] == '-' {
		p++
	}
	switch {
	case p < len(data) && data[p] == '0':
		p++
	default:
		if end = digits(data, p); end == p {
			return Missing, p
		}
		p = end
	}
	if p < len(data) && data[p] == '.' {
		if end = digits(data, p+1); end == p+1 {
			return Missing, end
		}
		p = end
	}
	if p < len(data) && data[p]|0x20 == 'e' {
		p++
		if p < len(data) && (data[p] == '+' || data[p] == '-') {
			p++
		}
		if end = digits(data, p); end == p {
			return Missing, p
		}
		p = end
	}
	return Number, p
}

func digits(data []byte, p int) int {
	for p < len(data) && data[p] >= '0' && data[p] <= '9' {
		p++
	}
	return p
}

// checkString looks for control characters and malformed escapes; reason is
// empty when there are none, or else at is where.
func checkString(s []byte) (reason string, at int) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ':
			return "control character in a string", i
		case c == '\\':
			i++
			if i >= len(s) {
				return "malformed escape", i - 1
			}
			switch s[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if hex4(s[i+1:]) < 0 {
					return "malformed escape", i - 1
				}
				i += 4
			default:
				return "malformed escape", i - 1
			}
		}
	}
	return "", 0
}

// invalidUTF8 returns where text stops to be UTF-8.
func invalidUTF8(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(text)
}
