// Package jsonscan finds its way through JSON text at the speed of memory: it
// is what the reading of logs stands on.
//
// It works in two steps, as simdjson does (G. Langdale and D. Lemire, "Parsing
// Gigabytes of JSON per Second", 2019). Index looks at every byte once, 64 at a
// time, and notes in bit masks where strings begin and end and where brackets
// stand outside of strings. Doc then walks from mark to mark: it checks that
// the text is strictly valid JSON (RFC 8259) and notes where each value begins
// and ends. Nothing is decoded or copied until it is asked for:
//
//	var doc jsonscan.Doc // reuse it: it keeps its memory
//	if err := doc.Parse(text); err != nil {
//		return err // a *SyntaxError that knows the offset
//	}
//	for m := doc.Root().Members(); m.Next(); {
//		switch string(m.Key()) {
//		case "eventName":
//			name = m.Value().Bytes()
//		case "userIdentity":
//			identity = m.Value().Raw()
//		}
//	}
//
// Values alias the text and the Doc: they are valid until the next Parse and
// as long as the text is not changed.
package jsonscan

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// What a Doc takes unless told otherwise.
const (
	// DefaultMaxDepth is far more than any real record has (about 12).
	DefaultMaxDepth = 200
	// DefaultMaxValues bounds the memory of a Doc to 20 MiB (20 bytes a value).
	DefaultMaxValues = 1 << 20
)

// Kind is the kind of a value.
type Kind uint8

// The kinds. Missing is the kind of the zero Value: what a lookup that finds
// nothing returns.
const (
	Missing Kind = iota
	Null
	Bool
	Number
	String
	Object
	Array
)

// SyntaxError tells why a text is not JSON, or not JSON that a Doc takes.
type SyntaxError struct {
	Offset int // in the text
	Reason string
	// Cut says that the text ended too early: with more of it, it might be valid.
	Cut bool
	// Lost says that from Offset on it is unknown what is a string and what is
	// nested in what. Otherwise brackets and quotes can be trusted, and the text
	// is over a limit or not UTF-8.
	Lost bool
}

// Error gives the reason and the offset.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset)
}

// node is one value or key. The nodes of a text stand in the order of the text;
// next leads over everything inside.
type node struct {
	start, end uint32 // in the text; strings with their quotes
	next       uint32 // the node after the value, in nodes
	piece      uint32 // of an object or list that is known: its number in pieces plus 1
	kind       Kind
}

// Doc is one JSON text with the places of its values. The zero Doc is ready
// for use. It must not be used by two goroutines at once.
type Doc struct {
	MaxDepth  int // of brackets in one another; 0 means DefaultMaxDepth
	MaxValues int // keys count too; 0 means DefaultMaxValues
	// Known, when set, saves reading again what repeats from text to text.
	Known *Known

	data    []byte
	nodes   []node
	pieces  []piece
	escaped bool // there is a backslash somewhere
	special bool // there is something that Block.Special says
	indexed []Block
	first   int // bit of indexed
	blocks  []Block
	parents []uint32
}

func (d *Doc) limits() (maxDepth, maxValues int) {
	maxDepth, maxValues = d.MaxDepth, d.MaxValues
	if maxDepth <= 0 {
		maxDepth = DefaultMaxDepth
	}
	if maxValues <= 0 {
		maxValues = DefaultMaxValues
	}
	return maxDepth, maxValues
}

// Parse reads the text, which must be one JSON value with nothing but white
// space around it. The error is a *SyntaxError; after it the Doc is empty.
func (d *Doc) Parse(text []byte) error {
	need := (len(text) + BlockSize - 1) / BlockSize
	if cap(d.blocks) < need {
		d.blocks = make([]Block, need+need/2+4)
	}
	d.blocks = d.blocks[:need]
	indexAll(d.blocks, text)
	return d.ParseIndexed(text, d.blocks, 0)
}

// ParseIndexed is Parse for a text that is part of a longer one which was
// indexed already: bit first of blocks stands for the text's first byte, where
// the index must have been outside of strings. The blocks must not change as
// long as values are used.
func (d *Doc) ParseIndexed(text []byte, blocks []Block, first int) error {
	d.nodes, d.pieces = d.nodes[:0], d.pieces[:0]
	d.data, d.indexed, d.first = text, blocks, first
	err := d.parseIndexed(text, blocks, first)
	if err != nil {
		d.data, d.nodes = nil, d.nodes[:0]
	}
	return err
}

func (d *Doc) parseIndexed(text []byte, blocks []Block, first int) error {
	if len(text) > math.MaxInt32 {
		return &SyntaxError{Offset: 0, Reason: "text is over 2 GiB"}
	}
	// Most records have neither escapes nor bytes outside of ASCII; the rest is
	// looked at more closely. The first and last block may hold bytes of the
	// neighbours, which costs time only.
	var escapes, special uint64
	if len(text) > 0 {
		for i := range blocks[first/BlockSize : (first+len(text)-1)/BlockSize+1] {
			b := &blocks[first/BlockSize+i]
			escapes |= b.Escape
			special |= b.Special
		}
	}
	d.escaped, d.special = escapes != 0, special != 0
	if d.Known != nil && !d.escaped && !d.special {
		if d.parseKnown(text, blocks, first) {
			return nil
		}
		d.nodes, d.pieces = d.nodes[:0], d.pieces[:0]
	}
	if err := d.parse(text, blocks, first, 0, 0); err != nil {
		return err
	}
	if d.special && !utf8.Valid(text) {
		return &SyntaxError{Offset: invalidUTF8(text), Reason: "invalid UTF-8"}
	}
	return nil
}

// Root returns the whole text's value; of an empty Doc it is Missing.
func (d *Doc) Root() Value {
	if len(d.nodes) == 0 {
		return Value{}
	}
	return Value{d: d}
}

// Size returns how many bytes of memory the Doc holds on to.
func (d *Doc) Size() int {
	return cap(d.nodes)*20 + cap(d.blocks)*48
}

// Value is one value of a Doc. The zero Value is Missing; all methods can be
// called on it.
type Value struct {
	d *Doc
	i uint32
}

// Kind returns the value's kind.
func (v Value) Kind() Kind {
	if v.d == nil {
		return Missing
	}
	return v.d.nodes[v.i].kind
}

// Raw returns the value as it stands in the text; nil when it is Missing.
func (v Value) Raw() []byte {
	if v.d == nil {
		return nil
	}
	n := &v.d.nodes[v.i]
	return v.d.data[n.start:n.end]
}

// Offset returns where the value begins in the text.
func (v Value) Offset() int {
	if v.d == nil {
		return 0
	}
	return int(v.d.nodes[v.i].start)
}

// Bytes returns what a string says, without quotes and escapes. It aliases the
// text unless there are escapes. Of other kinds it is nil.
func (v Value) Bytes() []byte {
	if v.Kind() != String {
		return nil
	}
	return v.d.text(v.i)
}

// String returns what a string says, and "" for other kinds.
func (v Value) String() string { return string(v.Bytes()) }

// Int returns a number that is an integer of 64 bits.
func (v Value) Int() (n int64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v.Raw()), 10, 64)
	return n, err == nil
}

// Bool returns true or false, and whether the value is one of them.
func (v Value) Bool() (b, ok bool) {
	if v.Kind() != Bool {
		return false, false
	}
	return v.Raw()[0] == 't', true
}

// Get returns the member of an object; the last one when the key is repeated,
// as encoding/json does. It is Missing when there is none.
func (v Value) Get(key string) (found Value) {
	if v.Kind() != Object {
		return Value{}
	}
	d := v.d
	for i, end := v.inside(); i < end; i = d.nodes[i+1].next {
		n := &d.nodes[i]
		if int(n.end-n.start) == len(key)+2 && string(d.data[n.start+1:n.end-1]) == key ||
			d.escaped && string(d.text(i)) == key {
			found = Value{d, i + 1}
		}
	}
	return found
}

// Members goes through an object; of other kinds there is nothing to go through.
func (v Value) Members() Members {
	if v.Kind() != Object {
		return Members{}
	}
	first, end := v.inside()
	return Members{d: v.d, next: first, end: end}
}

// Elements goes through an array; of other kinds there is nothing to go through.
func (v Value) Elements() Elements {
	if v.Kind() != Array {
		return Elements{}
	}
	first, end := v.inside()
	return Elements{d: v.d, next: first, end: end}
}

// Members goes through the members of an object in the order of the text:
//
//	for m := v.Members(); m.Next(); { use(m.Key(), m.Value()) }
type Members struct {
	d              *Doc
	key, next, end uint32
}

// Next goes to the next member, if there is one.
func (m *Members) Next() bool {
	if m.next >= m.end {
		return false
	}
	m.key = m.next
	m.next = m.d.nodes[m.key+1].next
	return true
}

// Key returns the key without quotes and escapes.
func (m *Members) Key() []byte { return m.d.text(m.key) }

// Value returns the member's value.
func (m *Members) Value() Value { return Value{m.d, m.key + 1} }

// Elements goes through the elements of an array:
//
//	for e := v.Elements(); e.Next(); { use(e.Value()) }
type Elements struct {
	d              *Doc
	cur, next, end uint32
}

// Next goes to the next element, if there is one.
func (e *Elements) Next() bool {
	if e.next >= e.end {
		return false
	}
	e.cur = e.next
	e.next = e.d.nodes[e.cur].next
	return true
}

// Value returns the element.
func (e *Elements) Value() Value { return Value{e.d, e.cur} }

// text returns a string node without its quotes and escapes.
func (d *Doc) text(i uint32) []byte {
	n := &d.nodes[i]
	s := d.data[n.start+1 : n.end-1]
	if d.escaped && bytes.IndexByte(s, '\\') >= 0 {
		return AppendUnescaped(nil, s)
	}
	return s
}

// AppendUnescaped appends the inside of a valid JSON string with its escapes
// resolved. Halves of surrogate pairs that stand alone become U+FFFD, as in
// encoding/json.
func AppendUnescaped(dst, s []byte) []byte {
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 || i+1 >= len(s) {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(s)
			if r < 0 {
				dst = utf8.AppendRune(dst, utf8.RuneError)
				continue
			}
			s = s[4:]
			if r >= 0xD800 && r < 0xDC00 && len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
				if low := hex4(s[2:]); low >= 0xDC00 && low < 0xE000 {
					r = (r-0xD800)<<10 + (low - 0xDC00) + 0x10000
					s = s[6:]
				}
			}
			dst = utf8.AppendRune(dst, r) // a lone half is not a rune: U+FFFD
		default: // quote, backslash, slash
			dst = append(dst, c)
		}
	}
}

// hex4 reads four hexadecimal digits; -1 when they are not.
func hex4(s []byte) rune {
	if len(s) < 4 {
		return -1
	}
	var r rune
	for _, c := range s[:4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}
