package inflate

import (
	"math/bits"
	"sync"
)

// maxBits is how long a word of a code can be.
const maxBits = 15

// An entry of a table says what the bits stand for that it is looked up by:
//
//	bits  0 to 5   how many bits it takes, extra bits included
//	bits  6 and 7  how many literals it gives: 1 or 2, or 0 when it is no literal
//	bits  8 to 11  how many bits the word of the code takes alone; of a link, how
//	               many bits the other table is looked up by
//	bit  14        it is a link: the word is longer than the table knows
//	bit  15        it is odd: a link, the end of the block, or no word at all
//	bits 16 to 31  the literals; the length or distance without its extra bits;
//	               where the table begins that a link leads to
const (
	entryBits    = 0x3f
	entryOne     = 1 << 6 // a literal
	entryPair    = 2 << 6
	entryLiteral = 3 << 6
	entryWord    = 8
	entryLink    = 1 << 14
	entryOdd     = 1 << 15
	entryValue   = 16

	// entryPerBit is what a bit of a word adds to an entry.
	entryPerBit = 1<<entryWord + 1
)

const (
	literalBits  = 11
	distanceBits = 8
	lengthBits   = 7 // all there are

	// A table that is linked to has 2^k entries for k+1 words at least, since
	// its longest word has k bits and every bit of it another word beside it.
	// So for each symbol it takes 2^k/(k+1) entries at most, and the more the
	// larger k is: 4 and 7 at most.
	literalEntries  = 1<<literalBits + 288*16/5
	distanceEntries = 1<<distanceBits + 32*128/8
)

// codes are the codes of a block.
type codes struct {
	literals, distances code
	literalTable        [literalEntries]uint32
	distanceTable       [distanceEntries]uint32
}

// code is a Huffman code: words of a length are counted up in the order of
// their symbols, and go on where the shorter ones ended.
type code struct {
	counts  [maxBits + 1]uint16 // words by their length
	symbols [288]uint16         // in the order of their words
	words   [288]uint16         // of the symbols, by fill; the first bit is the lowest
}

// span is what a symbol for lengths or distances says.
type span struct {
	base  uint16
	extra uint8 // bits that follow and are added
}

var lengthCodes = func() (l [maxLiterals - firstLength]span) {
	base := uint16(3)
	for i := range l {
		var extra uint8
		if i >= 8 {
			extra = uint8(i/4 - 1)
		}
		l[i] = span{base, extra}
		base += 1 << extra
	}
	l[len(l)-1] = span{258, 0} // which the one before could say, too
	return l
}()

var distanceCodes = func() (d [maxDistances]span) {
	base := uint16(1)
	for i := range d {
		var extra uint8
		if i >= 4 {
			extra = uint8(i/2 - 1)
		}
		d[i] = span{base, extra}
		base += 1 << extra
	}
	return d
}()

// The entries of symbols, to which the length of their words is added.
var (
	literalSymbols, distanceSymbols, lengthEntries = symbolEntries()
)

func symbolEntries() (literals, distances, lengths [288]uint32) {
	for i := range literals {
		switch {
		case i < endOfBlock:
			literals[i] = uint32(i)<<entryValue | entryOne
		case i == endOfBlock || i >= maxLiterals:
			literals[i] = entryOdd
		default:
			l := lengthCodes[i-firstLength]
			literals[i] = uint32(l.base)<<entryValue | uint32(l.extra)
		}
		distances[i] = entryOdd
		if i < maxDistances {
			d := distanceCodes[i]
			distances[i] = uint32(d.base)<<entryValue | uint32(d.extra)
		}
		lengths[i] = uint32(i) << entryValue
	}
	return literals, distances, lengths
}

// fixedCodes returns the codes of fixed blocks.
var fixedCodes = sync.OnceValue(func() *codes {
	var literals [288]uint8
	for i := range literals {
		switch {
		case i < 144:
			literals[i] = 8
		case i < 256:
			literals[i] = 9
		case i < 280:
			literals[i] = 7
		default:
			literals[i] = 8
		}
	}
	var distances [32]uint8
	for i := range distances {
		distances[i] = 5
	}
	c := new(codes)
	c.read(literals[:], distances[:])
	return c
})

// read makes the codes those whose words have these lengths. It returns false
// when there are no such codes.
func (c *codes) read(literals, distances []uint8) bool {
	if !c.literals.order(literals) || !c.distances.order(distances) {
		return false
	}
	c.literals.fill(c.literalTable[:], literalBits, &literalSymbols)
	c.pair()
	c.distances.fill(c.distanceTable[:], distanceBits, &distanceSymbols)
	return true
}

// order makes the code from the lengths of its words. All of the words there
// can be must be in use, as it makes no sense otherwise, but two exceptions are
// usual: a code of a single word, of one bit, and one without any, when the
// block has nothing to say with it.
func (c *code) order(lengths []uint8) bool {
	clear(c.counts[:])
	for _, n := range lengths {
		c.counts[n]++
	}
	used := len(lengths) - int(c.counts[0])
	c.counts[0] = 0
	var next [maxBits + 1]uint16 // place of the next symbol
	left := 1                    // words of this length that are still free
	for n := 1; n <= maxBits; n++ {
		left = left<<1 - int(c.counts[n])
		if left < 0 {
			return false
		}
		next[n] = next[n-1] + c.counts[n-1]
	}
	if left > 0 && used > 0 && (used != 1 || c.counts[1] != 1) {
		return false
	}
	for symbol, n := range lengths {
		if n > 0 {
			c.symbols[next[n]] = uint16(symbol)
			next[n]++
		}
	}
	return true
}

// fill makes a table that is looked up by width bits, with the tables behind it
// that its links lead to.
func (c *code) fill(table []uint32, width uint, symbols *[288]uint32) {
	table[0], table[1] = entryOdd, entryOdd // of codes that are not complete
	var (
		word  uint // the first bit, which is the highest one of its number, is the lowest here
		index int
	)
	for n := uint(1); n <= width; n++ {
		if n > 1 {
			// Who does not look at the bit finds the same with it.
			copy(table[1<<(n-1):1<<n], table[:1<<(n-1)])
		}
		for range c.counts[n] {
			table[word] = symbols[c.symbols[index]] + uint32(n*entryPerBit)
			c.words[index] = uint16(word)
			index++
			word = after(word, n)
		}
	}
	var (
		end    = 1 << width
		prefix uint
		sub    []uint32
	)
	for n := width + 1; n <= maxBits; n++ {
		for i := range int(c.counts[n]) {
			if p := word & (1<<width - 1); sub == nil || p != prefix {
				prefix = p
				k := c.depth(n, int(c.counts[n])-i, width)
				table[p] = entryOdd | entryLink | uint32(width) | uint32(k)<<entryWord | uint32(end)<<entryValue //nolint:gosec // each within its bits
				sub = table[end : end+1<<k]
				end += 1 << k
			}
			e := symbols[c.symbols[index]] + uint32((n-width)*entryPerBit)
			for at := word >> width; at < uint(len(sub)); at += 1 << (n - width) {
				sub[at] = e
			}
			index++
			word = after(word, n)
		}
	}
}

// after returns the word of n bits that follows a word. Behind the last one
// nothing is defined.
func after(word, n uint) uint {
	zeros := ^word & (1<<n - 1)
	if zeros == 0 {
		return 0
	}
	bit := uint(1) << (bits.Len(zeros) - 1)
	return word&(bit-1) | bit
}

// depth returns by how many bits a table is looked up that begins with the
// first of left words of n bits and is reached by width bits.
func (c *code) depth(n uint, left int, width uint) uint {
	k := n - width
	for room := 1<<k - left; room > 0; {
		k++
		room = room<<1 - int(c.counts[width+k])
	}
	return k
}

// pair gives two literals to each entry whose bits are enough for both.
func (c *codes) pair() {
	type literal struct {
		word uint16
		bits uint8
		text uint8
	}
	var (
		short [256]literal
		count int
		index int
	)
	for n := 1; n < literalBits; n++ {
		for range c.literals.counts[n] {
			if symbol := c.literals.symbols[index]; symbol < endOfBlock {
				short[count] = literal{c.literals.words[index], uint8(n), uint8(symbol)}
				count++
			}
			index++
		}
	}
	table := (*[1 << literalBits]uint32)(c.literalTable[:])
	for _, a := range short[:count] {
		for _, b := range short[:count] {
			n := a.bits + b.bits
			if n > literalBits {
				break // the others have as many bits or more
			}
			e := uint32(a.text)<<entryValue | uint32(b.text)<<(entryValue+8) | entryPair | uint32(n)
			for at := uint(a.word) | uint(b.word)<<a.bits; at < uint(len(table)); at += 1 << n {
				table[at] = e
			}
		}
	}
}
