package jsonscan

import (
	"hash/maphash"
	"math/bits"
)

// Known remembers objects and lists by their bytes, so that a Doc that reads
// one record after another need not look into those that it has found valid
// before: the same session uses the same key for the same data, thousands of
// times. Its size is fixed, some 2 MiB, whatever the texts say.
//
// What is remembered is found by a hash of 64 bits with a random seed, which is
// compared with four others each time: in 10^12 texts, one is taken for another
// with a chance of 1 in 5 million, and nobody can bring that about who does not
// know the seed.
//
// It must not be used by two Docs at once.
type Known struct {
	seed     maphash.Seed
	hashes   [][ways]uint64 // of the texts; those with the same lowest bits share a set
	memos    [][ways]any
	door     []uint32 // halves of hashes seen once: a text is remembered when it comes again
	victim   uint8
	maxDepth int // with which all was found valid
}

const (
	ways      = 4
	knownSets = 1 << 13
	knownDoor = 1 << 13
	// Shorter texts cost less to read than to remember, and longer ones do not
	// repeat often enough.
	knownFrom, knownTo = 64, 8 << 10
)

// NewKnown returns a Known that knows nothing yet.
func NewKnown() *Known {
	return &Known{seed: maphash.MakeSeed(), hashes: make([][ways]uint64, knownSets), memos: make([][ways]any, knownSets), door: make([]uint32, knownDoor)}
}

// piece is an object or list that Known has, and which is not looked into
// before somebody asks for it.
type piece struct {
	hash uint64
	node uint32 // the same value with all that is in it; 0 as long as nobody asks
	way  int8   // where it is in its set; -1 for nowhere
}

// Memo is room for what the caller makes of a value: whatever it puts there is
// there when a value of the same text comes, as long as that is remembered. It
// is nil for a value that is not remembered.
func (v Value) Memo() *any {
	if v.d == nil {
		return nil
	}
	if n := v.d.nodes[v.i].piece; n > 0 {
		// Another piece of the same text may have taken the place since.
		p, k := &v.d.pieces[n-1], v.d.Known
		if set := p.hash % knownSets; k.hashes[set][p.way] == p.hash {
			return &k.memos[set][p.way]
		}
	}
	return nil
}

// inside returns the first node in a value, and the one behind the last.
func (v Value) inside() (first, end uint32) {
	n := &v.d.nodes[v.i]
	if n.piece == 0 {
		return v.i + 1, n.next
	}
	root := v.d.open(v.i)
	return root + 1, v.d.nodes[root].next
}

// open looks into a piece and returns the node that has all that is in it.
func (d *Doc) open(i uint32) uint32 {
	n := d.nodes[i]
	p := &d.pieces[n.piece-1]
	if p.node == 0 {
		p.node = uint32(len(d.nodes)) //nolint:gosec // bounded by the length of the text
		if err := d.parse(d.data[:n.end], d.indexed, d.first, int(n.start), 1); err != nil {
			// It was valid before: the text has been changed since.
			panic("jsonscan: " + err.Error())
		}
	}
	return p.node
}

// parseKnown reads an object as parse does, if it is written without white
// space and escapes, and leaves out what is in objects and lists that are known.
// It returns false when it cannot tell what the text is.
//
//nolint:gosec // positions and numbers of nodes are within int32: see parse
func (d *Doc) parseKnown(data []byte, blocks []Block, first int) bool {
	n := len(data)
	if n < 2 || data[0] != '{' || data[1] != '"' {
		return false
	}
	maxDepth, maxValues := d.limits()
	if d.Known.maxDepth != maxDepth {
		d.Known.forget(maxDepth)
	}
	nodes := appendNode(d.nodes, 0, 0, Object, 0)
	unseen := 0 // values in what is left out, at most
	for p := 1; ; {
		// A key.
		if p >= n || data[p] != '"' {
			return false
		}
		end := stringEnd(blocks, first+p+1) - first
		if end >= n-2 || data[end+1] != ':' {
			return false
		}
		nodes = appendNode(nodes, p, end+1, String, 0)
		p = end + 2

		// Its value.
		switch c := data[p]; c {
		case '"':
			if end = stringEnd(blocks, first+p+1) - first; end >= n {
				return false
			}
			end++
			nodes = appendNode(nodes, p, end, String, 0)
		case '{', '[':
			if end = closing(blocks, first+p) + 1 - first; end >= n {
				return false
			}
			kind := Object
			if c == '[' {
				kind = Array
			}
			known := piece{way: -1}
			if size := end - p; size >= knownFrom && size <= knownTo {
				known = d.Known.find(data[p:end])
			}
			if known.way >= 0 {
				unseen += (end-p)/2 + 1
				d.pieces = append(d.pieces, known)
				nodes = appendNode(nodes, p, end, kind, len(d.pieces))
				break
			}
			before := len(nodes)
			d.nodes = nodes
			err := d.parse(data[:end], blocks, first, p, 1)
			nodes = d.nodes
			if err != nil {
				return false
			}
			if known.hash != 0 && d.Known.add(&known) {
				known.node = uint32(before)
				d.pieces = append(d.pieces, known)
				nodes[before].piece = uint32(len(d.pieces))
			}
		default:
			kind := Missing
			switch c {
			case 't':
				kind, end = literal(data, p, "true", Bool)
			case 'f':
				kind, end = literal(data, p, "false", Bool)
			case 'n':
				kind, end = literal(data, p, "null", Null)
			default:
				if c == '-' || c >= '0' && c <= '9' {
					kind, end = number(data, p)
				}
			}
			if kind == Missing {
				return false
			}
			nodes = appendNode(nodes, p, end, kind, 0)
		}
		p = end
		if p >= n || len(nodes)+unseen >= maxValues {
			return false
		}
		if data[p] == ',' {
			p++
			continue
		}
		if data[p] != '}' || p+1 != n {
			return false
		}
		nodes[0].end, nodes[0].next = uint32(n), uint32(len(nodes))
		d.nodes = nodes
		return true
	}
}

// stringEnd returns the bit of the quote that ends the string which goes on at
// a bit, or one beyond the text.
func stringEnd(blocks []Block, bit int) int {
	i := uint(bit)
	if quotes := ^blocks[i/BlockSize].String >> (i % BlockSize); quotes != 0 {
		return bit + bits.TrailingZeros64(quotes)
	}
	return nextQuote(blocks, bit)
}

// closing returns the bit of the bracket that closes the one at a bit, or one
// beyond the blocks.
func closing(blocks []Block, bit int) int {
	depth := 0
	mask := ^uint64(0) << (uint(bit) % BlockSize)
	for i := bit / BlockSize; i < len(blocks); i++ {
		opens, closes := blocks[i].Open&mask, blocks[i].Close&mask
		mask = ^uint64(0)
		if n := bits.OnesCount64(closes); depth > n {
			depth += bits.OnesCount64(opens) - n
			continue
		}
		for m := opens | closes; m != 0; m &= m - 1 {
			if m&-m&opens != 0 {
				depth++
				continue
			}
			if depth--; depth == 0 {
				return i*BlockSize + bits.TrailingZeros64(m)
			}
		}
	}
	return len(blocks) * BlockSize
}

// find looks for a text. It always says its hash.
func (k *Known) find(text []byte) piece {
	hash := maphash.Bytes(k.seed, text)
	if hash == 0 {
		hash = 1 // 0 is a free place
	}
	for way, h := range k.hashes[hash%knownSets] {
		if h == hash {
			return piece{hash: hash, way: int8(way)}
		}
	}
	return piece{hash: hash, way: -1}
}

// add remembers a text that was found valid, if it has come before.
func (k *Known) add(p *piece) bool {
	if door, mark := &k.door[p.hash%knownDoor], uint32(p.hash>>32); *door != mark {
		*door = mark
		return false
	}
	k.victim++
	p.way = int8(k.victim % ways)
	set := p.hash % knownSets
	k.hashes[set][p.way], k.memos[set][p.way] = p.hash, nil
	return true
}

// forget forgets all.
func (k *Known) forget(maxDepth int) {
	clear(k.hashes)
	clear(k.memos)
	clear(k.door)
	k.maxDepth = maxDepth
}
