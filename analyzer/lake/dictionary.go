package lake

import (
	"strings"
	"unicode/utf8"
	"unsafe"
)

// dictionary numbers the texts of a column in the order in which they come.
//
// A text is looked up by its address first, and by what it says only when the
// address is new. An address stays taken while the dictionary holds it.
type dictionary struct {
	values []string
	known  map[string]uint32

	slots []slot
	used  int
}

// slot maps an address to the number of its text.
type slot struct {
	data  *byte
	size  int
	index uint32
}

// minSlots is the size of a fresh table of addresses, a power of two.
const minSlots = 64

// find returns the number of a text, and how many bytes of memory a new one
// took. byAddress says that texts of this column mostly come again at the same
// address.
func (d *dictionary) find(s string, byAddress bool) (index uint32, size int) {
	data := unsafe.StringData(s)
	if len(s) == 0 || !byAddress {
		// All empty texts are one, whatever their address.
		return d.intern(s)
	}
	if d.slots == nil {
		d.slots = make([]slot, minSlots)
	}
	mask := len(d.slots) - 1
	at := hashAddress(data, len(s)) & mask
	for ; d.slots[at].data != nil; at = (at + 1) & mask {
		if d.slots[at].data == data && d.slots[at].size == len(s) {
			return d.slots[at].index, 0
		}
	}
	index, size = d.intern(s)
	d.slots[at] = slot{data, len(s), index}
	if d.used++; d.used > len(d.slots)/2 {
		d.grow()
	}
	return index, size + int(unsafe.Sizeof(slot{}))*2
}

func (d *dictionary) intern(s string) (index uint32, size int) {
	if index, ok := d.known[s]; ok {
		return index, 0
	}
	text := s
	if !utf8.ValidString(text) {
		// A database would refuse the whole file.
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	if d.known == nil {
		d.known = make(map[string]uint32)
	}
	index = uint32(len(d.values)) //nolint:gosec // at most one for each row of a row group
	d.known[s] = index
	d.values = append(d.values, text)
	return index, len(s) + 64
}

func (d *dictionary) grow() {
	old := d.slots
	d.slots = make([]slot, 2*len(old))
	mask := len(d.slots) - 1
	for _, s := range old {
		if s.data == nil {
			continue
		}
		at := hashAddress(s.data, s.size) & mask
		for d.slots[at].data != nil {
			at = (at + 1) & mask
		}
		d.slots[at] = s
	}
}

func hashAddress(data *byte, size int) int {
	h := uint64(uintptr(unsafe.Pointer(data))) + uint64(size)<<40 //nolint:gosec // an address as a number
	h *= 0x9e3779b97f4a7c15
	return int(h >> 33) //nolint:gosec // 31 bits
}

func (d *dictionary) reset() {
	clear(d.known)
	clear(d.values)
	d.values = d.values[:0]
	if len(d.slots) > 1<<14 {
		d.slots = nil
	}
	clear(d.slots)
	d.used = 0
}
