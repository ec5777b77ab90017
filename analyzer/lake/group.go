package lake

import (
	"encoding/binary"
	"unsafe"
)

// together lists text columns whose values come and go together: an identity
// has one name, one account and so on. Their values in an event are looked up
// as one. The grouping makes writing faster and changes nothing else.
var together = [][]string{
	{
		"principal", "principal_type", "principal_account", "principal_name", "session_name", "person",
		"access_key", "mfa", "invoked_by", "lane",
	},
	{
		"account", "region", "event_source", "event_name", "event_type", "client", "outcome", "error_code",
	},
	{"source_ip", "network", "vpc_endpoint_id"},
	{
		"key_arn", "key_account", "key_region", "key_written", "key_mrk", "alias_name", "dest_key_arn", "dest_key_account",
		"algorithm", "key_material_id", "enclave_digest",
	},
	{"encryption_context", "data_arn"},
	{"context_keys", "data_kind"},
	{"user_agent", "tls_version"},
	{"denied_action", "denied_by"},
	{
		"key_state", "key_origin", "key_spec", "key_usage", "custom_key_store_id", "xks_key_id", "expiration_model",
		"rotation_type", "replica_region",
	},
	{"grantee", "grantee_kind", "grantee_account", "retiring_principal", "retiring_account", "grant_constraint", "grant_name"},
	{"policy", "policy_hash", "policy_problem"},
	{"trail_name", "trail_arn", "trail_bucket", "trail_kms_key"},
}

// group holds the values of text columns that are looked up together.
//
// The texts of events are shared: the normaliser gives equal texts the same
// memory. So a combination of texts is recognised by their addresses, without
// reading them. A combination at other addresses becomes another entry; the
// dictionaries see to it that equal texts still have one number. An address
// stays taken as long as an entry holds it.
type group struct {
	offsets []uintptr    // of the columns' fields in an event
	texts   []dictionary // one for each column

	slots   []uint32 // number of an entry plus 1, or 0; a power of two of them
	tags    []uint32 // of each entry: its hash
	heads   []string // of each entry: the texts
	numbers []uint32 // of each entry: the numbers of its texts
	rows    []uint32 // of each row: its entry
	alike   []uint32 // by the number of the first text: the last entry with it
}

// add appends the fields of the event at base and returns how many bytes of
// memory a new combination took.
func (g *group) add(base unsafe.Pointer) (size int) {
	n := len(g.offsets)
	var h uint64
	for i, offset := range g.offsets {
		s := (*string)(unsafe.Add(base, offset))
		if len(*s) > 0 {
			h += (uint64(uintptr(unsafe.Pointer(unsafe.StringData(*s)))) + uint64(len(*s))<<48) * multipliers[i] //nolint:gosec // an address as a number
		}
	}
	h ^= h >> 32
	tag := uint32(h) //nolint:gosec // the low half
	if g.slots == nil {
		g.slots = make([]uint32, 256)
	}
	mask := uint32(len(g.slots) - 1) //nolint:gosec // small
	at := tag & mask
probe:
	for ; g.slots[at] != 0; at = (at + 1) & mask {
		entry := g.slots[at] - 1
		if g.tags[entry] != tag {
			continue
		}
		heads := g.heads[int(entry)*n:][:n]
		for i, offset := range g.offsets {
			if !same(heads[i], *(*string)(unsafe.Add(base, offset))) {
				continue probe
			}
		}
		g.rows = append(g.rows, entry)
		return 0
	}

	entry := uint32(len(g.tags)) //nolint:gosec // at most one for each row
	g.slots[at] = entry + 1
	g.tags = append(g.tags, tag)
	var model []uint32 // numbers of an entry with the same first text
	for i, offset := range g.offsets {
		s := *(*string)(unsafe.Add(base, offset))
		var number uint32
		if d := &g.texts[i]; model != nil && d.values[model[i]] == s {
			number = model[i]
		} else {
			var more int
			number, more = d.find(s, n > 2)
			size += more
		}
		if i == 0 {
			model = g.model(number, entry)
		}
		g.heads = append(g.heads, s)
		g.numbers = append(g.numbers, number)
		size += 24
	}
	g.rows = append(g.rows, entry)
	if 2*len(g.tags) > len(g.slots) {
		g.grow()
	}
	return size
}

// model returns the numbers of the last entry whose first text has a number,
// nil when there is none, and puts a new entry in its place. Entries with the
// same first text mostly have the others in common, too, and to compare them is
// cheaper than to look them up.
func (g *group) model(number, entry uint32) []uint32 {
	if int(number) == len(g.alike) {
		g.alike = append(g.alike, entry)
		return nil
	}
	n := len(g.offsets)
	numbers := g.numbers[int(g.alike[number])*n:][:n]
	g.alike[number] = entry
	return numbers
}

// same tells whether two texts are the same memory, or both empty.
func same(a, b string) bool {
	return len(a) == len(b) && (len(a) == 0 || unsafe.StringData(a) == unsafe.StringData(b))
}

// multipliers spread addresses; odd numbers without a pattern.
var multipliers = func() (m [16]uint64) {
	x := uint64(0x9e3779b97f4a7c15)
	for i := range m {
		x ^= x >> 30
		x *= 0xbf58476d1ce4e5b9
		x ^= x >> 27
		m[i] = x | 1
	}
	return m
}()

func (g *group) grow() {
	g.slots = make([]uint32, 2*len(g.slots))
	mask := uint32(len(g.slots) - 1) //nolint:gosec // small
	for entry, tag := range g.tags {
		at := tag & mask
		for g.slots[at] != 0 {
			at = (at + 1) & mask
		}
		g.slots[at] = uint32(entry) + 1 //nolint:gosec // at most one for each row
	}
}

func (g *group) reset() {
	for i := range g.texts {
		g.texts[i].reset()
	}
	if len(g.slots) > 1<<16 {
		g.slots = nil
	}
	clear(g.slots)
	clear(g.heads)
	g.tags, g.heads, g.numbers = g.tags[:0], g.heads[:0], g.numbers[:0]
	g.rows, g.alike = g.rows[:0], g.alike[:0]
}

// number returns the number of a column's text in a row.
func (g *group) number(row, column int) uint32 {
	return g.numbers[int(g.rows[row])*len(g.offsets)+column]
}

// appendIndexes appends the numbers of a column's texts in Parquet's encoding:
// the bit width, then one run. The width is a whole number of bytes, which the
// format allows and the compressor after it turns into less than tight packing
// would.
func (g *group) appendIndexes(b []byte, column int) []byte {
	rows, n, distinct := len(g.rows), len(g.offsets), len(g.texts[column].values)
	if distinct == 1 {
		b = append(b, 1)                             // bit width
		b = binary.AppendUvarint(b, uint64(rows)<<1) // a repeated run
		return append(b, 0)
	}
	width := 1
	for top := distinct - 1; top > 0xff; top >>= 8 {
		width++
	}
	groups := (rows + 7) / 8
	b = append(b, byte(8*width))
	b = binary.AppendUvarint(b, uint64(groups)<<1|1) //nolint:gosec // a packed run
	for _, entry := range g.rows {
		v := g.numbers[int(entry)*n+column]
		b = append(b, byte(v))
		if width > 1 {
			b = append(b, byte(v>>8))
		}
		if width > 2 {
			b = append(b, byte(v>>16))
		}
	}
	for range (groups*8 - rows) * width {
		b = append(b, 0)
	}
	return b
}
