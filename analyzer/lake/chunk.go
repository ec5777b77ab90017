package lake

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/format"
)

// chunk holds the values of one column of the row group being filled.
type chunk struct {
	kind   kind
	offset uintptr

	group  *group   // kindText: where the values are
	place  int      // and which of its columns
	bytes  []byte   // kindID, kindList: the texts one after another
	ends   []uint32 // where each ends in bytes
	ints   []int64  // times, numbers, and booleans as 0 and 1
	levels levels   // kindOptionalTime, kindList
}

// room returns s with room for n more. Large slices that append grows by a
// quarter each time are copied four times over until a row group is full; with
// three times the room it is half of once.
func room[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s
	}
	return slices.Grow(s, max(n, 2*len(s), 64))
}

// table holds the columns of the row group being filled.
type table struct {
	chunks []chunk
	groups []*group
	other  []*chunk // those without a group
}

// newTable returns an empty table of the columns.
func newTable(columns []Column) *table {
	t := &table{chunks: make([]chunk, len(columns))}
	byName := map[string]*group{}
	for _, names := range together {
		g := new(group)
		for _, name := range names {
			byName[name] = g
		}
	}
	for i, c := range columns {
		k := &t.chunks[i]
		k.kind, k.offset = c.kind, c.offset
		if c.kind != kindText {
			t.other = append(t.other, k)
			continue
		}
		g := byName[c.Name]
		if g == nil {
			g = new(group)
		}
		if len(g.offsets) == 0 {
			t.groups = append(t.groups, g)
		}
		k.group, k.place = g, len(g.offsets)
		g.offsets = append(g.offsets, c.offset)
		g.texts = append(g.texts, dictionary{})
	}
	return t
}

// add appends the event at base and returns how many bytes of memory it took
// beyond a few for each column.
func (t *table) add(base unsafe.Pointer) (size int) {
	for _, g := range t.groups {
		size += g.add(base)
	}
	for _, c := range t.other {
		size += c.add(base)
	}
	return size
}

func (t *table) reset() {
	for _, g := range t.groups {
		g.reset()
	}
	for _, c := range t.other {
		c.reset()
	}
}

type levels struct{ repetition, definition []byte }

// add appends the column's field of the event at base and returns how many
// bytes of memory that took beyond a few for each row.
func (c *chunk) add(base unsafe.Pointer) int {
	field := unsafe.Add(base, c.offset)
	switch c.kind {
	case kindText: // added with its group
	case kindID:
		return c.id(*(*string)(field))
	case kindBool:
		var v int64
		if *(*bool)(field) {
			v = 1
		}
		c.ints = append(room(c.ints, 1), v)
	case kindInt:
		c.ints = append(room(c.ints, 1), int64(*(*int)(field)))
	case kindTime:
		c.ints = append(room(c.ints, 1), (*time.Time)(field).UnixMilli())
	case kindOptionalTime:
		if t := (*time.Time)(field); t.IsZero() {
			c.levels.definition = append(room(c.levels.definition, 1), 0)
		} else {
			c.levels.definition = append(room(c.levels.definition, 1), 1)
			c.ints = append(room(c.ints, 1), t.UnixMilli())
		}
	case kindList:
		return c.list(*(*[]string)(field))
	}
	return 0
}

func (c *chunk) id(s string) int {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	c.bytes = append(room(c.bytes, len(s)), s...)
	c.ends = append(room(c.ends, 1), uint32(len(c.bytes))) //nolint:gosec // bounded by the memory of a row group
	return len(s)
}

func (c *chunk) list(texts []string) (size int) {
	if len(texts) == 0 {
		c.levels.repetition = append(room(c.levels.repetition, 1), 0)
		c.levels.definition = append(room(c.levels.definition, 1), 0)
		return 0
	}
	for i, s := range texts {
		first := byte(1)
		if i == 0 {
			first = 0
		}
		c.levels.repetition = append(room(c.levels.repetition, 1), first)
		c.levels.definition = append(room(c.levels.definition, 1), 1)
		size += c.id(s) + 8
	}
	return size
}

func (c *chunk) reset() {
	c.bytes, c.ends, c.ints = c.bytes[:0], c.ends[:0], c.ints[:0]
	c.levels.repetition, c.levels.definition = c.levels.repetition[:0], c.levels.definition[:0]
}

// encoded is a chunk in Parquet's encodings, not yet compressed.
type encoded struct {
	physical   format.Type
	dictionary []byte // page of the dictionary, empty when there is none
	entries    int    // in it
	data       []byte // data page
	encoding   format.Encoding
	values     int // in the data page, nulls included
	statistics format.Statistics
}

// encoder keeps the buffers that encoding needs, for all columns in turn.
type encoder struct {
	dictionary, data, values []byte
	ends                     []uint32
	texts                    []byte
}

var (
	lengths  delta.LengthByteArrayEncoding
	packed   delta.BinaryPackedEncoding
	oneLevel = rle.Encoding{BitWidth: 1}
)

// encode turns a chunk into pages. They are valid until the next call.
func (e *encoder) encode(c *chunk, rows int) (out encoded, err error) {
	out.values = rows
	e.dictionary, e.data = e.dictionary[:0], e.data[:0]
	switch c.kind {
	case kindText:
		return e.encodeTexts(c, rows)
	case kindID:
		out.physical, out.encoding = format.ByteArray, format.DeltaLengthByteArray
		if e.values, err = lengths.EncodeByteArray(e.values[:0], c.bytes, e.offsets(c.ends)); err != nil {
			return out, fmt.Errorf("encode texts: %w", err)
		}
	case kindList:
		out.physical, out.encoding = format.ByteArray, format.DeltaLengthByteArray
		out.values = len(c.levels.definition)
		if e.values, err = lengths.EncodeByteArray(e.values[:0], c.bytes, e.offsets(c.ends)); err != nil {
			return out, fmt.Errorf("encode lists: %w", err)
		}
		if err := e.level(c.levels.repetition); err != nil {
			return out, err
		}
		if err := e.level(c.levels.definition); err != nil {
			return out, err
		}
	case kindBool:
		out.physical, out.encoding = format.Boolean, format.Plain
		e.values = slices.Grow(e.values[:0], (len(c.ints)+7)/8)[:(len(c.ints)+7)/8]
		clear(e.values)
		for i, v := range c.ints {
			e.values[i/8] |= byte(v) << (i % 8) //nolint:gosec // 0 or 1
		}
	case kindInt:
		out.physical, out.encoding = format.Int32, format.Plain
		e.values = e.values[:0]
		for _, v := range c.ints {
			e.values = binary.LittleEndian.AppendUint32(e.values, uint32(v)) //nolint:gosec // a 32-bit column by contract
		}
	case kindTime:
		out.physical, out.encoding = format.Int64, format.DeltaBinaryPacked
		if e.values, err = packed.EncodeInt64(e.values[:0], c.ints); err != nil {
			return out, fmt.Errorf("encode times: %w", err)
		}
		out.statistics = timeRange(c.ints)
	case kindOptionalTime:
		out.physical, out.encoding = format.Int64, format.Plain
		e.values = e.values[:0]
		for _, v := range c.ints {
			e.values = binary.LittleEndian.AppendUint64(e.values, uint64(v)) //nolint:gosec // two's complement is what the format wants
		}
		if err := e.level(c.levels.definition); err != nil {
			return out, err
		}
		out.statistics = timeRange(c.ints)
		out.statistics.NullCount = int64(rows - len(c.ints))
	}
	e.data = append(e.data, e.values...)
	out.data = e.data
	return out, nil
}

// level appends repetition or definition levels, with their length in front as
// version 1 of the data page has it.
func (e *encoder) level(levels []byte) (err error) {
	if e.values == nil {
		e.values = []byte{}
	}
	encoded, err := oneLevel.EncodeLevels(nil, levels)
	if err != nil {
		return fmt.Errorf("encode levels: %w", err)
	}
	e.data = binary.LittleEndian.AppendUint32(e.data, uint32(len(encoded))) //nolint:gosec // bounded by the row group
	e.data = append(e.data, encoded...)
	return nil
}

// offsets returns ends with the start of the first in front.
func (e *encoder) offsets(ends []uint32) []uint32 {
	e.ends = append(append(e.ends[:0], 0), ends...)
	return e.ends
}

func timeRange(millis []int64) (s format.Statistics) {
	if len(millis) == 0 {
		return s
	}
	low, high := slices.Min(millis), slices.Max(millis)
	s.MinValue = binary.LittleEndian.AppendUint64(nil, uint64(low))  //nolint:gosec // two's complement
	s.MaxValue = binary.LittleEndian.AppendUint64(nil, uint64(high)) //nolint:gosec // two's complement
	return s
}

// encodeTexts writes a dictionary and the indexes into it, or the texts
// themselves when too few of them repeat.
func (e *encoder) encodeTexts(c *chunk, rows int) (out encoded, err error) {
	d := &c.group.texts[c.place]
	out.physical, out.values = format.ByteArray, rows
	out.statistics = textRange(d.values)
	if len(d.values) > rows/2 && rows > 16 {
		e.texts, e.ends = e.texts[:0], append(e.ends[:0], 0)
		for i := range rows {
			e.texts = append(e.texts, d.values[c.group.number(i, c.place)]...)
			e.ends = append(e.ends, uint32(len(e.texts))) //nolint:gosec // bounded by the memory of a row group
		}
		out.encoding = format.DeltaLengthByteArray
		if e.data, err = lengths.EncodeByteArray(e.data, e.texts, e.ends); err != nil {
			return out, fmt.Errorf("encode texts: %w", err)
		}
		out.data = e.data
		return out, nil
	}
	for _, s := range d.values {
		e.dictionary = binary.LittleEndian.AppendUint32(e.dictionary, uint32(len(s))) //nolint:gosec // texts are cut long before
		e.dictionary = append(e.dictionary, s...)
	}
	e.data = c.group.appendIndexes(e.data, c.place)
	out.dictionary, out.entries = e.dictionary, len(d.values)
	out.data, out.encoding = e.data, format.RLEDictionary
	return out, nil
}

// statisticsLimit is the longest text kept as a bound: longer ones would cost
// more than they can save.
const statisticsLimit = 256

func textRange(values []string) (s format.Statistics) {
	if len(values) == 0 {
		return s
	}
	low, high := slices.Min(values), slices.Max(values)
	if len(low) <= statisticsLimit && len(high) <= statisticsLimit {
		s.MinValue, s.MaxValue = []byte(low), []byte(high)
	}
	return s
}
