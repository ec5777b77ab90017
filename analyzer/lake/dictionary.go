package lake

import (
	"hash/maphash"
	"strings"
	"unicode/utf8"
)

// dictionary numbers the texts of a column in the order in which they come.
type dictionary struct {
	values []string
	slots  []slot // a power of two of them, at most half in use
}

// slot leads from the hash of a text to its number plus 1; 0 is an empty slot.
type slot struct {
	hash   uint64
	number uint32
}

// minSlots is the size of a fresh dictionary's table.
const minSlots = 16

var seed = maphash.MakeSeed()

// find returns the number of a text, and how many bytes of memory a new one
// took.
func (d *dictionary) find(s string) (number uint32, size int) {
	if !utf8.ValidString(s) {
		// A database would refuse the whole file.
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if d.slots == nil {
		d.slots = make([]slot, minSlots)
	}
	hash := maphash.String(seed, s)
	mask := uint64(len(d.slots) - 1) //nolint:gosec // a length is not negative
	at := hash & mask
	for ; d.slots[at].number != 0; at = (at + 1) & mask {
		if d.slots[at].hash == hash && d.values[d.slots[at].number-1] == s {
			return d.slots[at].number - 1, 0
		}
	}
	d.values = append(room(d.values, 1), s)
	number = uint32(len(d.values)) //nolint:gosec // at most one for each row of a row group
	d.slots[at] = slot{hash, number}
	if 2*len(d.values) > len(d.slots) {
		d.grow()
	}
	return number - 1, len(s) + 64
}

func (d *dictionary) grow() {
	old := d.slots
	d.slots = make([]slot, 2*len(old))
	mask := uint64(len(d.slots) - 1) //nolint:gosec // a length is not negative
	for _, s := range old {
		if s.number == 0 {
			continue
		}
		at := s.hash & mask
		for d.slots[at].number != 0 {
			at = (at + 1) & mask
		}
		d.slots[at] = s
	}
}

func (d *dictionary) reset() {
	clear(d.values)
	clear(d.slots)
	d.values = d.values[:0]
}
