package lake

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
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
// memory. So a combination of texts is recognised by the hash of their
// addresses, without reading them. A combination at other addresses becomes
// another entry; the dictionaries see to it that equal texts still have one
// number. The hash has 64 bits and random seeds: in a row group of 120,000 rows
// two combinations have the same one with a chance of 1 in a thousand million.
type group struct {
	offsets []uintptr    // of the columns' fields in an event
	texts   []dictionary // one for each column

	slots   []slot   // by hash, the number of an entry plus 1; a power of two of them
	numbers []uint32 // of each entry: the numbers of its texts
	rows    []uint32 // of each row: its entry
	alike   []uint32 // by the number of the first text: the last entry with it
	alive   []string // texts of all entries, so that their addresses stay theirs
	entries int
}

// add appends the fields of the event at base and returns how many bytes of
// memory a new combination took.
func (g *group) add(base unsafe.Pointer) (size int) {
	var hash uint64
	for i, offset := range g.offsets {
		if s := *(*string)(unsafe.Add(base, offset)); len(s) > 0 {
			address := uint64(uintptr(unsafe.Pointer(unsafe.StringData(s)))) //nolint:gosec // an address as a number
			high, low := bits.Mul64(address^seeds[i].address, uint64(len(s))^seeds[i].size)
			hash += high ^ low
		}
	}
	if g.slots == nil {
		g.slots = make([]slot, minSlots)
	}
	mask := uint64(len(g.slots) - 1) //nolint:gosec // a length is not negative
	at := hash & mask
	for ; g.slots[at].number != 0; at = (at + 1) & mask {
		if g.slots[at].hash == hash {
			g.rows = append(room(g.rows, 1), g.slots[at].number-1)
			return 0
		}
	}

	entry := uint32(g.entries) //nolint:gosec // at most one for each row
	g.entries++
	g.slots[at] = slot{hash, entry + 1}
	g.numbers, g.alive = room(g.numbers, len(g.offsets)), room(g.alive, len(g.offsets))
	var model []uint32 // numbers of an entry with the same first text
	for i, offset := range g.offsets {
		s := *(*string)(unsafe.Add(base, offset))
		var number uint32
		if d := &g.texts[i]; model != nil && d.values[model[i]] == s {
			number = model[i]
		} else {
			var more int
			number, more = d.find(s)
			size += more
		}
		if i == 0 {
			model = g.model(number, entry)
		}
		g.numbers = append(g.numbers, number)
		g.alive = append(g.alive, s)
		size += 24
	}
	g.rows = append(room(g.rows, 1), entry)
	if 2*g.entries > len(g.slots) {
		g.grow()
	}
	return size + 32
}

// model returns the numbers of the last entry whose first text has a number,
// nil when there is none, and puts a new entry in its place. Entries with the
// same first text mostly have the others in common, too, and to compare them is
// cheaper than to look them up.
func (g *group) model(number, entry uint32) []uint32 {
	if int(number) == len(g.alike) {
		g.alike = append(room(g.alike, 1), entry)
		return nil
	}
	n := len(g.offsets)
	numbers := g.numbers[int(g.alike[number])*n:][:n]
	g.alike[number] = entry
	return numbers
}

// seeds make the hashes of addresses random.
var seeds = func() (s [16]struct{ address, size uint64 }) {
	for i := range s {
		s[i].address, s[i].size = rand.Uint64(), rand.Uint64() //nolint:gosec // no secret, only not the same each time
	}
	return s
}()

func (g *group) grow() {
	old := g.slots
	g.slots = make([]slot, 2*len(old))
	mask := uint64(len(g.slots) - 1) //nolint:gosec // a length is not negative
	for _, s := range old {
		if s.number == 0 {
			continue
		}
		at := s.hash & mask
		for g.slots[at].number != 0 {
			at = (at + 1) & mask
		}
		g.slots[at] = s
	}
}

func (g *group) reset() {
	for i := range g.texts {
		g.texts[i].reset()
	}
	clear(g.slots)
	clear(g.alive)
	g.entries = 0
	g.numbers, g.rows, g.alike, g.alive = g.numbers[:0], g.rows[:0], g.alike[:0], g.alive[:0]
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
	b = binary.AppendUvarint(b, uint64(groups)<<1|1) // a packed run
	for _, entry := range g.rows {
		v := g.numbers[int(entry)*n+column]
		switch width {
		case 1:
			b = append(b, byte(v)) //nolint:gosec // the low bits are meant
		case 2:
			b = binary.LittleEndian.AppendUint16(b, uint16(v)) //nolint:gosec // the low bits are meant
		case 3:
			b = append(b, byte(v), byte(v>>8), byte(v>>16)) //nolint:gosec // the low bits are meant
		default:
			b = binary.LittleEndian.AppendUint32(b, v)
		}
	}
	for range (groups*8 - rows) * width {
		b = append(b, 0)
	}
	return b
}
