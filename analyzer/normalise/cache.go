package normalise

import (
	"bytes"
	"hash/maphash"
	"unsafe"
)

// Mass events repeat: the same session uses the same key for the same data,
// thousands of times. So what a piece of a record means is remembered by its
// bytes. All the caches here have a fixed size, whatever the logs say.

const (
	internSlots = 1 << 13
	nearSlots   = 1 << 12
	doorSlots   = 1 << 13

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
}

type interned[T any] struct {
	raw   string // as in the record, between the quotes
	text  string
	value T
}

func newInterner[T any](seed maphash.Seed, derive func(string) T) *interner[T] {
	return &interner[T]{seed: seed, slots: make([]interned[T], internSlots), derive: derive}
}

// get returns the entry of a JSON value that is a string; other values are
// decoded and not kept. The entry is valid until the next call.
func (n *interner[T]) get(raw []byte) *interned[T] {
	if len(raw) < 2 || raw[0] != '"' || len(raw) > 1<<10 {
		s := text(raw)
		return &interned[T]{text: s, value: n.derive(s)}
	}
	body := raw[1 : len(raw)-1]
	slot := &n.slots[maphash.Bytes(n.seed, body)%internSlots]
	if slot.raw == string(body) && slot.raw != "" {
		return slot
	}
	slot.text = text(raw)
	slot.raw = slot.text
	if slot.raw != string(body) {
		slot.raw = string(body)
	}
	slot.value = n.derive(slot.text)
	return slot
}

// pieces remembers what objects and arrays mean.
//
// Finding the end of an object costs more than comparing it with one seen
// before. So the first window bytes choose a slot; when the piece in it is what
// the record goes on with, the piece ends where the known one ends, because a
// complete object cannot be the beginning of a longer one. Pieces shorter than
// the window are cheap to scan and are not put there.
type pieces[T any] struct {
	seed   maphash.Seed
	window int
	parse  func(raw []byte) T

	near  []*piece[T]
	known map[uint64]*piece[T]
	bytes int
	door  []uint64 // hashes seen once: a piece is kept when it comes again
	once  T
}

type piece[T any] struct {
	raw   []byte
	value T
}

func newPieces[T any](seed maphash.Seed, window int, parse func([]byte) T) *pieces[T] {
	return &pieces[T]{
		seed: seed, window: window, parse: parse,
		near:  make([]*piece[T], nearSlots),
		known: make(map[uint64]*piece[T]),
		door:  make([]uint64, doorSlots),
	}
}

// get returns what the value at data[i] means and the offset behind it, or -1
// when it is malformed. The result is valid until the next call and must not
// be changed.
func (p *pieces[T]) get(data []byte, i int) (*T, int) {
	var slot **piece[T]
	if i+p.window <= len(data) {
		slot = &p.near[maphash.Bytes(p.seed, data[i:i+p.window])%nearSlots]
		if *slot != nil && bytes.HasPrefix(data[i:], (*slot).raw) {
			return &(*slot).value, i + len((*slot).raw)
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
	if k := p.known[hash]; k != nil && bytes.Equal(k.raw, raw) {
		if slot != nil && len(raw) >= p.window {
			*slot = k
		}
		return &k.value, end
	}
	if p.door[hash%doorSlots] != hash {
		p.door[hash%doorSlots] = hash
		p.once = p.parse(raw)
		return &p.once, end
	}
	if len(p.known) >= cacheEntries || p.bytes >= cacheBytes {
		clear(p.known)
		clear(p.near)
		p.bytes = 0
	}
	k := &piece[T]{raw: bytes.Clone(raw), value: p.parse(raw)}
	p.known[hash] = k
	p.bytes += len(raw)
	if slot != nil && len(raw) >= p.window {
		*slot = k
	}
	return &k.value, end
}

// slab hands out texts that do not repeat, many to one allocation.
type slab struct{ free []byte }

// text returns a JSON value as text, as the function of that name does.
func (s *slab) text(raw []byte) string {
	body, plain := stringBody(raw)
	if !plain || len(body) > 64 || !isASCII(body) {
		return text(raw)
	}
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

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
