package jsonscan

import "encoding/binary"

// BlockSize is how many bytes a Block tells about.
const BlockSize = 64

// Lookahead is how many bytes Index looks at beyond the last block.
const Lookahead = 8

// Block tells about 64 bytes of text, one bit for each byte, the lowest bit
// for the first.
type Block struct {
	// String has the bytes of strings, each from its opening quote to before
	// its closing one.
	String uint64
	// Open has { and [, Close has } and ], outside of strings.
	Open, Close uint64
	// Candidate has the quotes, at the beginning or the end of a string, that
	// "eventSource" or "eventName" may follow: e after one byte, and S or N
	// after six.
	Candidate uint64
	// Escape has all backslashes.
	Escape uint64
	// Special has what makes a closer look necessary: bytes that are not
	// ASCII, and control characters in strings.
	Special uint64
}

// State is what Index remembers from one part of a text to the next. The zero
// State is outside of strings.
type State struct {
	inString uint64 // all bits set when the text before ended within a string
	escaped  uint64 // 1 when it ended in an escape that is not complete
}

// Index fills dst from the first 64*len(dst) bytes of src. src must have
// Lookahead bytes more; past the end of a text it takes anything that is not
// text, such as spaces.
func Index(dst []Block, src []byte, state *State) {
	if len(dst) == 0 {
		return
	}
	_ = src[len(dst)*BlockSize+Lookahead-1]
	index(dst, src, state)
}

// indexAll fills dst, which must have a block for every 64 bytes begun, from
// the whole text.
func indexAll(dst []Block, text []byte) {
	var state State
	whole := max(0, (len(text)-Lookahead)/BlockSize)
	Index(dst[:whole], text, &state)
	// The last one or two blocks end where the text does or near it.
	var tail [2*BlockSize + Lookahead]byte
	for i := range tail {
		tail[i] = ' '
	}
	copy(tail[:], text[whole*BlockSize:])
	Index(dst[whole:], tail[:], &state)
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// indexPortable is Index for machines that have no instructions of their own
// for it: eight bytes at a time.
func indexPortable(dst []Block, src []byte, state *State) {
	for i := range dst {
		block := src[i*BlockSize : i*BlockSize+BlockSize+Lookahead]
		var quote, escape, open, closing, control, high, candidate uint64
		for j := 0; j < BlockSize; j += 8 {
			w := binary.LittleEndian.Uint64(block[j:])
			q := equal(w, '"')
			if q != 0 {
				quote |= gather(q) << j
				// A key is rare enough to look for it byte by byte.
				second := binary.LittleEndian.Uint64(block[j+1:])
				seventh := binary.LittleEndian.Uint64(block[j+6:])
				if c := q & equal(second, 'e'); c != 0 {
					candidate |= gather(c&(equal(seventh, 'S')|equal(seventh, 'N'))) << j
				}
			}
			if e := equal(w, '\\'); e != 0 {
				escape |= gather(e) << j
			}
			// { and [ differ in bit 5 only, and so do } and ].
			lower := w | 0x20*ones
			if o := equal(lower, '{'); o != 0 {
				open |= gather(o) << j
			}
			if c := equal(lower, '}'); c != 0 {
				closing |= gather(c) << j
			}
			if h := w & highs; h != 0 {
				high |= gather(h) << j
			}
			// A byte below 0x20 has none of the bits 5, 6 and 7.
			if c := ^(w | w<<1 | w<<2) & highs; c != 0 {
				control |= gather(c) << j
			}
		}
		dst[i] = finish(quote, escape, open, closing, control, high, candidate, state)
	}
}

// finish takes away what escapes and strings hide.
func finish(quote, escape, open, closing, control, high, candidate uint64, state *State) Block {
	escaped := state.escaped
	if escape != 0 {
		// Which bytes follow an odd number of backslashes, by letting a
		// subtraction run along each row of them (simdjson, 2023).
		const odd = 0xAAAAAAAAAAAAAAAA
		potential := escape &^ state.escaped
		codes := ((potential<<1 | odd) - potential) ^ odd
		escaped = codes ^ (escape | state.escaped)
		state.escaped = (codes & escape) >> 63
	} else {
		state.escaped = 0
	}
	quote &^= escaped
	inString := prefixXor(quote) ^ state.inString
	state.inString = -(inString >> 63)
	return Block{
		String:    inString,
		Open:      open &^ inString,
		Close:     closing &^ inString,
		Candidate: candidate & quote,
		Escape:    escape,
		Special:   high | control&inString,
	}
}

// equal has the highest bit of every byte that is c.
func equal(w uint64, c byte) uint64 {
	x := w ^ uint64(c)*ones
	return ^((x&^uint64(highs) + ^uint64(highs)) | x) & highs
}

// gather moves the highest bits of eight bytes together.
func gather(w uint64) uint64 {
	return (w >> 7) * 0x0102040810204080 >> 56
}

// prefixXor has in each bit whether the number of bits up to it is odd.
func prefixXor(w uint64) uint64 {
	w ^= w << 1
	w ^= w << 2
	w ^= w << 4
	w ^= w << 8
	w ^= w << 16
	w ^= w << 32
	return w
}
