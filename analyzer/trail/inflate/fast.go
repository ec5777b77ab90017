package inflate

import (
	"encoding/binary"
	"unsafe"
)

const (
	// fastInput is how much input there must be at the beginning of a round of
	// fast: it takes 7 bytes at most, twice, and looks at 8.
	fastInput = 2*7 + 8 + 8
	// fastOutput is how much room there must be: a round gives two pairs of
	// literals and a copy of 258 bytes, which may be written in steps of 64.
	fastOutput = 2*2 + 258 + 64 + 8
)

// fast gives what literals and copies stand for, as long as there are enough
// input and room for not having to look for their ends. It stops before what
// is odd, the end of the block or what is not valid, and leaves it to symbols.
//
// All addresses stay within r.in and buf: by fastInput and fastOutput those that
// only grow, by the check against oldest that of what is copied. Entries only
// lead to places in their own table, see code.fill.
//
//nolint:gosec // bounds and number sizes are those that the comments say
func (r *Reader) fast(buf []byte, at, oldest int) int {
	var (
		first  = unsafe.Pointer(&buf[oldest])
		out    = unsafe.Pointer(&buf[at])
		outEnd = unsafe.Pointer(&buf[len(buf)-fastOutput])
		in     = unsafe.Pointer(&r.in[r.pos])
		inEnd  = unsafe.Pointer(&r.in[len(r.in)-fastInput])
		bits   = r.bits
		n      = uint64(r.nbits) // of bits; above them are copies of what comes next
		lits   = &r.codes.literalTable
		dists  = &r.codes.distanceTable
	)
	// Each time there are 56 to 63 bits then. A length takes 20 of them at most,
	// 15 for its word and 5 more, and a distance 28.
	bits |= load64(in) << (n & 63)
	in = unsafe.Add(in, (63-n)>>3)
	n |= 56
	e := lits[bits&(1<<literalBits-1)]
	for uintptr(in) <= uintptr(inEnd) && uintptr(out) <= uintptr(outEnd) {
		if e&entryLiteral != 0 {
			store16(out, e>>entryValue)
			out = unsafe.Add(out, e>>6&3)
			bits >>= e & entryBits
			n -= uint64(e & entryBits)
			e = lits[bits&(1<<literalBits-1)]
			if e&entryLiteral != 0 {
				store16(out, e>>entryValue)
				out = unsafe.Add(out, e>>6&3)
				bits >>= e & entryBits
				n -= uint64(e & entryBits)
				bits |= load64(in) << (n & 63)
				in = unsafe.Add(in, (63-n)>>3)
				n |= 56
				e = lits[bits&(1<<literalBits-1)]
				continue
			}
			bits |= load64(in) << (n & 63)
			in = unsafe.Add(in, (63-n)>>3)
			n |= 56
		}
		b, m := bits, n // bits and n stay at the symbol until it is known to be well
		if e&entryOdd != 0 {
			if e&entryLink == 0 {
				break
			}
			b >>= literalBits
			m -= literalBits
			e = lits[uint64(e>>entryValue)+b&(1<<(e>>entryWord&15)-1)]
			if e&entryLiteral != 0 {
				store16(out, e>>entryValue)
				out = unsafe.Add(out, 1)
				bits = b >> (e & entryBits)
				n = m - uint64(e&entryBits)
				bits |= load64(in) << (n & 63)
				in = unsafe.Add(in, (63-n)>>3)
				n |= 56
				e = lits[bits&(1<<literalBits-1)]
				continue
			}
			if e&entryOdd != 0 {
				break
			}
		}
		length := uintptr(e>>entryValue) + uintptr(b&(1<<(e&entryBits)-1)>>(e>>entryWord&15))
		b >>= e & entryBits
		m -= uint64(e & entryBits)
		e = dists[b&(1<<distanceBits-1)]
		if e&entryOdd != 0 {
			if e&entryLink == 0 {
				break
			}
			b >>= distanceBits
			m -= distanceBits
			e = dists[uint64(e>>entryValue)+b&(1<<(e>>entryWord&15)-1)]
			if e&entryOdd != 0 {
				break
			}
		}
		distance := uintptr(e>>entryValue) + uintptr(b&(1<<(e&entryBits)-1)>>(e>>entryWord&15))
		if distance > uintptr(out)-uintptr(first) {
			break
		}
		bits = b >> (e & entryBits)
		n = m - uint64(e&entryBits)
		bits |= load64(in) << (n & 63)
		in = unsafe.Add(in, (63-n)>>3)
		n |= 56
		e = lits[bits&(1<<literalBits-1)] // while the copy is made

		from := unsafe.Add(out, -int(distance))
		end := unsafe.Add(out, length)
		if distance >= 16 {
			copy64(out, from)
			for ; length > 64; length -= 64 {
				out, from = unsafe.Add(out, 64), unsafe.Add(from, 64)
				copy64(out, from)
			}
		} else {
			copyNear(out, from, distance, length)
		}
		out = end
	}
	// Whole bytes go back.
	r.pos = int(uintptr(in)-uintptr(unsafe.Pointer(&r.in[0]))) - int(n>>3)
	r.nbits = uint(n & 7)
	r.bits = bits & (1<<r.nbits - 1)
	return int(uintptr(out) - uintptr(unsafe.Pointer(&buf[0])))
}

func load64(p unsafe.Pointer) uint64 { return binary.LittleEndian.Uint64((*[8]byte)(p)[:]) }

func store64(p unsafe.Pointer, v uint64) { binary.LittleEndian.PutUint64((*[8]byte)(p)[:], v) }

func store16(p unsafe.Pointer, v uint32) {
	binary.LittleEndian.PutUint16((*[2]byte)(p)[:], uint16(v)) //nolint:gosec // the low half is meant
}

// copy64 copies 64 bytes that may overlap by all but 16: each 16 are written
// before the next are read.
func copy64(to, from unsafe.Pointer) {
	*(*[16]byte)(to) = *(*[16]byte)(from)
	*(*[16]byte)(unsafe.Add(to, 16)) = *(*[16]byte)(unsafe.Add(from, 16))
	*(*[16]byte)(unsafe.Add(to, 32)) = *(*[16]byte)(unsafe.Add(from, 32))
	*(*[16]byte)(unsafe.Add(to, 48)) = *(*[16]byte)(unsafe.Add(from, 48))
}

// copyNear makes a copy from less than 16 bytes before, which repeats them. It
// writes up to 7 bytes more.
//
//go:noinline
func copyNear(to, from unsafe.Pointer, distance, length uintptr) {
	end := uintptr(to) + length
	if distance >= 8 {
		for uintptr(to) < end {
			store64(to, load64(from))
			to, from = unsafe.Add(to, 8), unsafe.Add(from, 8)
		}
		return
	}
	repeated := load64(from) & (1<<(8*distance) - 1)
	for width := 8 * distance; width < 64; width *= 2 {
		repeated |= repeated << width
	}
	step := 8 - 8%distance
	for uintptr(to) < end {
		store64(to, repeated)
		to = unsafe.Add(to, step)
	}
}
