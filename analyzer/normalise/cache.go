package normalise

import (
	"hash/maphash"
	"unsafe"
)

// Mass events repeat: the same session uses the same key for the same data,
// thousands of times. So what a piece of a record means is remembered by its
// bytes. All the caches here have a fixed size, whatever the logs say.

const (
	nearSlots = 1 << 12
	doorSlots = 1 << 13

	// A cache is emptied when it holds this many pieces or bytes of them: a log
	// in which nothing repeats must not fill the memory.
	cacheEntries = 1 << 14
	cacheBytes   = 16 << 20
	// Longer pieces do not repeat often enough to be worth keeping.
	cachedPiece = 4 << 10
)

// interner gives equal text the same memory. A slot holds the last text that
// fell on it, with what T was derived from it.
type interner[T any] struct {
	seed   maphash.Seed
	slots  []interned[T]
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

// get returns the entry of the JSON value at data[i] and the offset behind it,
// or -1 when it is malformed. last is the entry of the record before, which is
// tried first, and is replaced. Values that are no strings are decoded and not
// kept. The entry is valid until the next call.
func (n *interner[T]) get(data []byte, i int, last **interned[T]) (*interned[T], int) {
	if l := *last; l != nil && l.raw != "" && hasPrefix(data, i, l.raw) {
		return l, i + len(l.raw)
	}
	end := skip(data, i)
	if end < 0 {
		return nil, -1
	}
	entry := n.of(data[i:end])
	if entry != &n.once {
		*last = entry
	}
	return entry, end
}

// of returns the entry of a whole JSON value.
func (n *interner[T]) of(raw []byte) *interned[T] {
	if raw[0] != '"' || len(raw) > 1<<10 {
		n.once.text = text(raw)
		n.once.value = n.derive(n.once.text)
		return &n.once
	}
	slot := &n.slots[maphash.Bytes(n.seed, raw)&uint64(len(n.slots)-1)]
	if slot.raw != string(raw) {
		slot.raw = string(raw)
		if slot.text = slot.raw[1 : len(slot.raw)-1]; !isPlain(slot.text) {
			slot.text = text(raw)
		}
		slot.value = n.derive(slot.text)
	}
	return slot
}

// words is an interner for texts of which nothing is derived.
type words = interner[struct{}]

func newWords(seed maphash.Seed, bits int) *words {
	return newInterner(seed, bits, func(string) struct{} { return struct{}{} })
}

// hasPrefix tells whether data goes on with prefix at i.
func hasPrefix(data []byte, i int, prefix string) bool {
	return len(data)-i >= len(prefix) && string(data[i:i+len(prefix)]) == prefix
}

// pieces remembers what objects and arrays mean.
//
// Finding the end of an object costs more than comparing it with one seen
// before. So its first bytes, as many as a window is wide, choose a slot; when
// a piece in it is what the record goes on with, the piece ends where the known
// one ends, because a complete object cannot be the beginning of a longer one.
// A window should reach to where pieces differ, but not past the end of a short
// one; so there may be several. A piece is in the widest that it fills.
type pieces[T any] struct {
	seed    maphash.Seed
	parse   func(raw []byte) T
	windows []window[T] // widest first

	known map[uint64]*piece[T]
	bytes int
	door  [doorSlots]uint64 // hashes seen once: a piece is kept when it comes again
	once  T
}

type piece[T any] struct {
	raw   string
	value T
}

// window finds pieces by their first bytes.
type window[T any] struct {
	width int
	slots []near[T]

	found *near[T] // the slot for what is being looked for
	tag   uint64   // and its hash
}

// near is a slot with room for two pieces that begin alike. The hashes stand
// beside them so that a miss touches no other memory.
type near[T any] struct {
	tags   [2]uint64
	pieces [2]*piece[T]
}

func newPieces[T any](seed maphash.Seed, parse func([]byte) T, widths ...int) *pieces[T] {
	p := &pieces[T]{seed: seed, parse: parse, known: make(map[uint64]*piece[T])}
	for _, w := range widths {
		p.windows = append(p.windows, window[T]{width: w, slots: make([]near[T], nearSlots)})
	}
	return p
}

// at returns the piece with which data goes on at i, or nil.
func (w *window[T]) at(seed maphash.Seed, data []byte, i int) *piece[T] {
	if w.found = nil; i+w.width > len(data) {
		return nil
	}
	w.tag = maphash.Bytes(seed, data[i:i+w.width])
	w.found = &w.slots[w.tag%nearSlots]
	if w.found.tags[0] == w.tag && w.found.pieces[0] != nil && hasPrefix(data, i, w.found.pieces[0].raw) {
		return w.found.pieces[0]
	}
	if w.found.tags[1] == w.tag && w.found.pieces[1] != nil && hasPrefix(data, i, w.found.pieces[1].raw) {
		w.found.swap()
		return w.found.pieces[0]
	}
	return nil
}

func (n *near[T]) swap() {
	n.tags[0], n.tags[1] = n.tags[1], n.tags[0]
	n.pieces[0], n.pieces[1] = n.pieces[1], n.pieces[0]
}

// put puts a piece into the slot of the widest window that it fills.
func (p *pieces[T]) put(k *piece[T]) {
	for i := range p.windows {
		w := &p.windows[i]
		if len(k.raw) >= w.width {
			if w.found != nil {
				w.found.swap()
				w.found.tags[0], w.found.pieces[0] = w.tag, k
			}
			return
		}
	}
}

// get returns what the value at data[i] means and the offset behind it, or -1
// when it is malformed. The result is valid until the next call and must not
// be changed.
func (p *pieces[T]) get(data []byte, i int) (*T, int) {
	for j := range p.windows {
		if k := p.windows[j].at(p.seed, data, i); k != nil {
			return &k.value, i + len(k.raw)
		}
	}
	end := skip(data, i)
	if end < 0 {
		return nil, -1
	}
	raw := data[i:end]
	if len(raw) > cachedPiece {
		p.once = p.parse(raw)
		return &p.once, end
	}
	hash := maphash.Bytes(p.seed, raw)
	if door := &p.door[hash%doorSlots]; *door != hash {
		// Seen for the first time, or forgotten.
		*door = hash
		if k := p.known[hash]; k == nil || k.raw != string(raw) {
			p.once = p.parse(raw)
			return &p.once, end
		}
	}
	k := p.known[hash]
	if k == nil || k.raw != string(raw) {
		if len(p.known) >= cacheEntries || p.bytes >= cacheBytes {
			clear(p.known)
			for _, w := range p.windows {
				clear(w.slots)
			}
			p.bytes = 0
		}
		k = &piece[T]{raw: string(raw), value: p.parse(raw)}
		p.known[hash] = k
		p.bytes += len(raw)
	}
	p.put(k)
	return &k.value, end
}

// slab hands out texts that do not repeat, many to one allocation.
type slab struct{ free []byte }

// text returns a JSON value as text, as the function of that name does.
func (s *slab) text(raw []byte) string {
	if len(raw) < 2 || len(raw) > 64 || raw[0] != '"' || !isPlain(raw) {
		return text(raw)
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

// intern gives a text the memory of an equal one.
func (n *interner[T]) intern(s string) string {
	slot := &n.slots[maphash.String(n.seed, s)&uint64(len(n.slots)-1)]
	if slot.raw != "" || slot.text != s {
		// Entries made here have no raw form, so that no JSON finds them.
		*slot = interned[T]{text: s}
	}
	return slot.text
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
