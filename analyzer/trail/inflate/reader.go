// Package inflate reads gzip files (RFC 1952) at the speed that logs ask for.
//
// Logs are JSON that says the same things over and over: they inflate ten times
// and more, nearly all of it is copied from what came before, and what is not
// are digits. So this decoder does what libdeflate and igzip do, which are made
// for such data: one load brings 56 bits or more of input, one look into a table
// gives two literals or a length with its extra bits, and copies are made 16
// bytes at a time, past the end of what is asked for. It writes into the memory
// of the caller, who has to look at the bytes anyway (see Reader.ReadOnto).
//
// What it takes, what it refuses, and with which errors is what compress/gzip
// does:
//
//   - gzip.ErrHeader for what is no gzip header, also behind the end of a member;
//   - flate.CorruptInputError, the offset of which counts from the beginning of
//     the stream, for compressed data that are not valid;
//   - gzip.ErrChecksum when they inflate to something else than was compressed;
//   - io.ErrUnexpectedEOF when the stream is cut off;
//   - io.EOF at the end of the last member, and for a stream without a byte.
//
// Like there, all that was inflated before an error is given first.
package inflate

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

const (
	// History is how far back a copy can reach, in bytes.
	History = 32 << 10
	// inputSize is how much compressed data is read at once.
	inputSize = 64 << 10
	// ownSize is the memory that Read inflates into.
	ownSize = 3 * History
)

// Reader reads what a gzip stream of one or more members inflates to. The zero
// Reader needs a Reset. It must not be used by two goroutines at once.
type Reader struct {
	source *bufio.Reader
	own    *bufio.Reader // when Reset was not given one

	// What the source has in its memory, and how far that is used.
	in     []byte
	pos    int
	passed int64 // of the stream, before in

	// step does what comes next. It gives how much is written of buf.
	step func(r *Reader, buf []byte, at int) (int, error)
	err  error // what every further call returns

	// Of the member that is being read.
	size int64  // given so far
	crc  uint32 // of that

	// Bits that were taken from in and not used yet, the lowest first; fewer
	// than 8 of them.
	bits  uint64
	nbits uint

	last             bool   // the block is the member's last one
	stored           int    // bytes that a stored block still has
	length, distance int    // of a copy for which there was no room
	codes            *codes // of the block
	dynamic          codes
	lengths          code // that the codes of a dynamic block are written in
	lengthTable      [1 << lengthBits]uint32

	// What Read inflates into.
	buf    []byte
	at     int // of what Read gives next
	filled int
}

// Reset begins a new stream, and reads its header. A *bufio.Reader is used as
// it is, and has given no more than the stream when that ends well.
func (r *Reader) Reset(src io.Reader) error {
	source, ok := src.(*bufio.Reader)
	if !ok {
		if r.own == nil {
			r.own = bufio.NewReaderSize(nil, inputSize)
		}
		r.own.Reset(src)
		source = r.own
	}
	r.source = source
	r.in, r.pos, r.passed = nil, 0, 0
	r.at, r.filled = 0, 0
	r.err = nil
	r.err = r.header()
	return r.err
}

// Read gives what comes next.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.at == r.filled {
		if r.buf == nil {
			r.buf = make([]byte, ownSize)
		}
		if r.filled > History && ownSize-r.filled < History {
			r.filled = copy(r.buf, r.buf[r.filled-History:r.filled])
			r.at = r.filled
		}
		n, err := r.ReadOnto(r.buf, r.filled)
		if n == 0 {
			return 0, err
		}
		r.filled += n // the next call will return the error
	}
	n := copy(p, r.buf[r.at:r.filled])
	r.at += n
	return n, nil
}

// Remember makes Read go on where ReadOnto ended, which has given what was
// given, or History bytes of it at least.
func (r *Reader) Remember(given []byte) {
	if r.buf == nil {
		r.buf = make([]byte, ownSize)
	}
	r.filled = copy(r.buf, given[max(0, len(given)-History):])
	r.at = r.filled
}

// ReadOnto is Read for who keeps what was given: buf[:at] ends with the last
// bytes of it, History of them or all that there are, and what comes next is
// written behind. The rest of buf may be overwritten beyond that, too. After it
// comes Read only with Remember, and after Read it only when buf has what Read
// gave.
//
// It returns as soon as it has something and there is less room than a copy may
// need: it may leave a few hundred bytes of buf unused.
func (r *Reader) ReadOnto(buf []byte, at int) (n int, err error) {
	if r.err != nil || at >= len(buf) {
		return 0, r.err
	}
	end := at
	for end == at && r.err == nil {
		end, r.err = r.step(r, buf, at)
		r.crc = crc32.Update(r.crc, crc32.IEEETable, buf[at:end])
		r.size += int64(end - at)
	}
	return end - at, r.err
}

// fill makes sure that there is input, or returns why there is none.
func (r *Reader) fill() error {
	if r.pos < len(r.in) {
		return nil
	}
	r.release()
	if _, err := r.source.Peek(1); err != nil {
		return err //nolint:wrapcheck // as the source gave it
	}
	r.in, _ = r.source.Peek(r.source.Buffered())
	return nil
}

// release gives what was used of the input back to the source.
func (r *Reader) release() {
	_, _ = r.source.Discard(r.pos) // it is there
	r.passed += int64(r.pos)
	r.in, r.pos = nil, 0
}

// next returns the next byte of the input.
func (r *Reader) next() (byte, error) {
	if err := r.fill(); err != nil {
		return 0, err
	}
	c := r.in[r.pos]
	r.pos++
	return c, nil
}

// need makes sure that there are n bits, at most 16.
func (r *Reader) need(n uint) error {
	for r.nbits < n {
		c, err := r.next()
		if err != nil {
			return cutOff(err)
		}
		r.bits |= uint64(c) << r.nbits
		r.nbits += 8
	}
	return nil
}

// take returns the next n bits, at most 16.
func (r *Reader) take(n uint) (int, error) {
	if err := r.need(n); err != nil {
		return 0, err
	}
	v := r.bits & (1<<n - 1)
	r.bits >>= n
	r.nbits -= n
	return int(v), nil //nolint:gosec // 16 bits
}

// corrupt says where compressed data are not valid.
func (r *Reader) corrupt() error {
	return flate.CorruptInputError(r.passed + int64(r.pos))
}

// cutOff is what an end means that should not be there.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// The flags of a gzip header.
const (
	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
)

// maxText is the longest name or comment of a header, with the byte that ends
// it.
const maxText = 512

// header reads the header of a member. It returns io.EOF when there is not a
// byte of it.
func (r *Reader) header() error {
	var h [10]byte
	for i := range h {
		c, err := r.next()
		if err != nil {
			if i > 0 {
				err = cutOff(err)
			}
			return err
		}
		h[i] = c
	}
	flags := h[3]
	if h[0] != 0x1f || h[1] != 0x8b || h[2] != 8 {
		return gzip.ErrHeader
	}
	r.crc = crc32.ChecksumIEEE(h[:])
	if flags&flagExtra != 0 {
		size, err := r.headerNumber()
		for ; err == nil && size > 0; size-- {
			_, err = r.headerByte()
		}
		if err != nil {
			return err
		}
	}
	for _, flag := range []byte{flagName, flagComment} {
		if flags&flag == 0 {
			continue
		}
		for n := 1; ; n++ {
			c, err := r.headerByte()
			if err != nil {
				return err
			}
			if c == 0 {
				break
			}
			if n == maxText {
				return gzip.ErrHeader
			}
		}
	}
	if flags&flagHeaderCRC != 0 {
		want := uint16(r.crc) //nolint:gosec // the low half is what is stored
		crc, err := r.headerNumber()
		if err != nil {
			return err
		}
		if crc != want {
			return gzip.ErrHeader
		}
	}
	r.size, r.crc = 0, 0
	r.bits, r.nbits = 0, 0
	r.last, r.step = false, (*Reader).block
	return nil
}

// headerByte reads a byte of a header and adds it to its checksum.
func (r *Reader) headerByte() (byte, error) {
	c, err := r.next()
	if err != nil {
		return 0, cutOff(err)
	}
	r.crc = crc32.Update(r.crc, crc32.IEEETable, []byte{c})
	return c, nil
}

func (r *Reader) headerNumber() (uint16, error) {
	low, err := r.headerByte()
	if err != nil {
		return 0, err
	}
	high, err := r.headerByte()
	return uint16(low) | uint16(high)<<8, err
}

// trailer reads what ends a member, and the header of the next one.
func (r *Reader) trailer(_ []byte, at int) (int, error) {
	var t [8]byte
	for i := range t {
		c, err := r.next()
		if err != nil {
			return at, cutOff(err)
		}
		t[i] = c
	}
	crc, size := binary.LittleEndian.Uint32(t[:]), binary.LittleEndian.Uint32(t[4:])
	if crc != r.crc || size != uint32(r.size) { //nolint:gosec // the size is stored modulo 2^32
		return at, gzip.ErrChecksum
	}
	return at, r.header()
}
