package inflate

// How what a member holds is written: RFC 1951.

// Kinds of blocks.
const (
	kindStored = iota
	kindFixed
	kindDynamic
)

// block reads the beginning of a block.
func (r *Reader) block(_ []byte, at int) (int, error) {
	if r.last {
		r.step = (*Reader).trailer // what is left of the last byte says nothing
		return at, nil
	}
	head, err := r.take(3)
	if err != nil {
		return at, err
	}
	r.last = head&1 != 0
	switch head >> 1 {
	case kindStored:
		return at, r.beginStored()
	case kindFixed:
		r.codes = fixedCodes()
	case kindDynamic:
		if err := r.readCodes(); err != nil {
			return at, err
		}
	default:
		return at, r.corrupt()
	}
	r.step = (*Reader).symbols
	return at, nil
}

// beginStored reads how long a stored block is.
func (r *Reader) beginStored() error {
	r.bits, r.nbits = 0, 0 // the rest of the byte
	size, err := r.take(16)
	if err != nil {
		return err
	}
	check, err := r.take(16)
	if err != nil {
		return err
	}
	if size^check != 0xffff {
		return r.corrupt()
	}
	r.stored, r.step = size, (*Reader).copyStored
	return nil
}

// copyStored gives what a stored block has.
func (r *Reader) copyStored(buf []byte, at int) (int, error) {
	if r.stored == 0 {
		r.step = (*Reader).block
		return at, nil
	}
	if err := r.fill(); err != nil {
		return at, cutOff(err)
	}
	n := copy(buf[at:], r.in[r.pos:min(len(r.in), r.pos+r.stored)])
	r.pos += n
	r.stored -= n
	return at + n, nil
}

const (
	maxLiterals  = 286 // symbols for literals, the end and lengths
	maxDistances = 30
	endOfBlock   = 256
	firstLength  = endOfBlock + 1
)

// lengthOrder is the order in which the code that codes are written in comes.
var lengthOrder = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// readCodes reads the codes of a dynamic block.
func (r *Reader) readCodes() error {
	head, err := r.take(14)
	if err != nil {
		return err
	}
	literals, distances, written := head&31+257, head>>5&31+1, head>>10+4
	if literals > maxLiterals || distances > maxDistances {
		return r.corrupt()
	}
	var lengths [len(lengthOrder)]uint8
	for _, symbol := range lengthOrder[:written] {
		n, err := r.take(3)
		if err != nil {
			return err
		}
		lengths[symbol] = uint8(n) //nolint:gosec // 3 bits
	}
	if !r.lengths.order(lengths[:]) {
		return r.corrupt()
	}
	r.lengths.fill(r.lengthTable[:], lengthBits, &lengthEntries)

	var all [maxLiterals + maxDistances]uint8
	for i := 0; i < literals+distances; {
		symbol, err := r.lengthSymbol()
		if err != nil {
			return err
		}
		if symbol < 16 {
			all[i] = uint8(symbol) //nolint:gosec // below 16
			i++
			continue
		}
		var repeated uint8
		n, width := 3, uint(2)
		switch symbol {
		case 16:
			if i == 0 {
				return r.corrupt()
			}
			repeated = all[i-1] //nolint:gosec // i > 0
		case 17:
			width = 3
		case 18:
			n, width = 11, 7
		}
		more, err := r.take(width)
		if err != nil {
			return err
		}
		if n += more; i+n > literals+distances {
			return r.corrupt()
		}
		for range n {
			all[i] = repeated
			i++
		}
	}
	if !r.dynamic.read(all[:literals], all[literals:literals+distances]) {
		return r.corrupt()
	}
	r.codes = &r.dynamic
	return nil
}

// lengthSymbol reads a symbol of the code that codes are written in.
func (r *Reader) lengthSymbol() (int, error) {
	for {
		e := r.lengthTable[r.bits&(1<<lengthBits-1)]
		if n := uint(e & entryBits); n <= r.nbits {
			if e&entryOdd != 0 {
				return 0, r.corrupt()
			}
			r.bits >>= n
			r.nbits -= n
			return int(e >> entryValue), nil
		}
		// No more than is needed: what follows the member is not its own.
		if err := r.need(r.nbits + 1); err != nil {
			return 0, err
		}
	}
}

// symbols gives what literals and copies stand for, until the block ends or
// there is no more room.
func (r *Reader) symbols(buf []byte, at int) (int, error) {
	oldest := at - int(min(int64(at), r.size)) // that a copy may reach
	start := at
	for at < len(buf) {
		if len(r.in)-r.pos >= fastInput {
			if len(buf)-at >= fastOutput {
				at = r.fast(buf, at, oldest)
			} else if at > start {
				return at, nil // there will be more room
			}
		}
		symbol, err := r.symbol(&r.codes.literals)
		switch {
		case err != nil:
			return at, err
		case symbol < endOfBlock:
			buf[at] = byte(symbol) //nolint:gosec // below 256
			at++
			continue
		case symbol == endOfBlock:
			r.step = (*Reader).block
			return at, nil
		}
		if err := r.readCopy(symbol, at-oldest); err != nil {
			return at, err
		}
		if at = r.copy(buf, at); r.length > 0 {
			r.step = (*Reader).copyOn
			return at, nil
		}
	}
	return at, nil
}

// symbol reads a symbol bit by bit. That is for where the input or the room
// ends, and for what is odd; the rest is for fast.
func (r *Reader) symbol(c *code) (int, error) {
	value, first, index := 0, 0, 0
	for n := uint(1); n <= maxBits; n++ {
		if err := r.need(n); err != nil {
			return 0, err
		}
		value |= int(r.bits>>(n-1)) & 1 //nolint:gosec // one bit
		count := int(c.counts[n])
		if value-first < count {
			r.bits >>= n
			r.nbits -= n
			return int(c.symbols[index+value-first]), nil
		}
		index += count
		first = (first + count) << 1
		value <<= 1
	}
	return 0, r.corrupt()
}

// readCopy reads what follows the symbol of a length. A copy reaches back over
// history bytes at most.
func (r *Reader) readCopy(symbol, history int) error {
	if symbol >= maxLiterals {
		return r.corrupt()
	}
	l := lengthCodes[symbol-firstLength]
	more, err := r.take(uint(l.extra))
	if err != nil {
		return err
	}
	r.length = int(l.base) + more
	if symbol, err = r.symbol(&r.codes.distances); err != nil {
		return err
	}
	if symbol >= maxDistances {
		return r.corrupt()
	}
	d := distanceCodes[symbol]
	if more, err = r.take(uint(d.extra)); err != nil {
		return err
	}
	if r.distance = int(d.base) + more; r.distance > history {
		return r.corrupt()
	}
	return nil
}

// copyOn goes on with a copy that there was no room for.
func (r *Reader) copyOn(buf []byte, at int) (int, error) {
	if r.distance > at {
		return at, r.corrupt() // the caller has not kept what was given
	}
	if at = r.copy(buf, at); r.length == 0 {
		r.step = (*Reader).symbols
	}
	return at, nil
}

// copy makes as much of a copy as there is room for.
func (r *Reader) copy(buf []byte, at int) int {
	n := min(r.length, len(buf)-at)
	for range n {
		buf[at] = buf[at-r.distance]
		at++
	}
	r.length -= n
	return at
}
