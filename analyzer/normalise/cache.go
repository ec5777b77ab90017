package normalise

import (
	"hash/maphash"
	"unsafe"

	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// Mass events repeat: the same session uses the same key for the same data,
// thousands of times. So what a piece of a record means is remembered by its
// bytes. All the caches here have a fixed size, whatever the logs say.

// interner gives equal text the same memory. A slot holds the last text that
// fell on it, with what T was derived from it.
type interner[T any] struct {
	seed   maphash.Seed
	slots  []interned[T] // a power of two
	derive func(text string) T
	once   interned[T]
}

type interned[T any] struct {
	raw   string // as in the record, with its quotes
	text  string
	value T
}

// newInterner returns an interner of 2^bits slots.
func newInterner[T any](seed maphash.Seed, bits int, derive func(string) T) *interner[T] {
	return &interner[T]{seed: seed, slots: make([]interned[T], 1<<bits), derive: derive}
}

// words is an interner for texts of which nothing is derived.
type words = interner[struct{}]

func newWords(seed maphash.Seed, bits int) *words {
	return newInterner(seed, bits, func(string) struct{} { return struct{}{} })
}

// internable is the longest text, with its quotes, that is kept.
const internable = 1 << 10

// get returns the entry of a value, which is valid until the next call. Long
// texts and values that are no strings are not kept.
func (n *interner[T]) get(v jsonscan.Value) *interned[T] {
	raw := v.Raw()
	if len(raw) > internable || v.Kind() != jsonscan.String {
		n.once.text = text(v)
		n.once.value = n.derive(n.once.text)
		return &n.once
	}
	slot := n.slot(maphash.Bytes(n.seed, raw))
	if slot.raw != string(raw) {
		slot.raw = string(raw)
		if slot.text = slot.raw[1 : len(slot.raw)-1]; !isPlain(slot.text) {
			slot.text = text(v)
		}
		slot.value = n.derive(slot.text)
	}
	return slot
}

// text returns a value as text, with the memory of an equal one.
func (n *interner[T]) text(v jsonscan.Value) string {
	if !given(v) {
		return ""
	}
	return n.get(v).text
}

// intern gives a text the memory of an equal one.
func (n *interner[T]) intern(s string) string {
	slot := n.slot(maphash.String(n.seed, s))
	if slot.raw != "" || slot.text != s {
		// Entries made here have no raw form, so that no value finds them.
		*slot = interned[T]{text: s}
	}
	return slot.text
}

func (n *interner[T]) slot(hash uint64) *interned[T] {
	return &n.slots[hash&uint64(len(n.slots)-1)] //nolint:gosec // a length is not negative
}

// guess returns the entry of a value that often is the same as in the record
// before: last, which is replaced when it is another.
func (n *interner[T]) guess(v jsonscan.Value, last **interned[T]) *interned[T] {
	if l := *last; l != nil && l.raw == string(v.Raw()) && l.raw != "" {
		return l
	}
	entry := n.get(v)
	if entry != &n.once {
		*last = entry
	}
	return entry
}

// pieces tells what objects and lists mean. What that is stays with those that
// the reader of the records remembers by their bytes (see jsonscan.Known).
type pieces[T any] struct {
	parse func(v jsonscan.Value) T
	once  T
}

// get returns what a value means. The result is valid until the next call and
// must not be changed.
func (p *pieces[T]) get(v jsonscan.Value) *T {
	memo := v.Memo()
	if memo == nil {
		p.once = p.parse(v)
		return &p.once
	}
	value, ok := (*memo).(*T)
	if !ok {
		value = new(T)
		*value = p.parse(v)
		*memo = value
	}
	return value
}

// slab hands out texts that do not repeat, many to one allocation.
type slab struct{ free []byte }

// text returns a value as text, as the function of that name does.
func (s *slab) text(v jsonscan.Value) string {
	raw := v.Raw()
	if len(raw) > 64 || v.Kind() != jsonscan.String || !isPlain(raw) {
		return text(v)
	}
	body := raw[1 : len(raw)-1]
	if len(body) == 0 {
		return ""
	}
	if len(s.free) < len(body) {
		s.free = make([]byte, 8<<10)
	}
	n := copy(s.free, body)
	t := unsafe.String(&s.free[0], n) //nolint:gosec // these bytes are never written again
	s.free = s.free[n:]
	return t
}

// isPlain tells whether the inside of a JSON string means what it says: no
// escapes, nothing but ASCII.
func isPlain[T string | []byte](s T) bool {
	const (
		high = 0x8080808080808080
		low  = 0x0101010101010101
	)
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		escape := w ^ ('\\' * low)
		if (w|(escape-low)&^escape)&high != 0 {
			return false
		}
	}
	for ; i < len(s); i++ {
		if s[i] >= 0x80 || s[i] == '\\' {
			return false
		}
	}
	return true
}
