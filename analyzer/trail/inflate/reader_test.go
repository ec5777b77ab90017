package inflate

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// text returns n bytes of a kind: what logs look like, and what they do not.
func text(kind string, n int, random *rand.Rand) []byte {
	b := make([]byte, 0, n+256)
	for len(b) < n {
		switch kind {
		case "log":
			b = fmt.Appendf(b, `{"eventTime":"2026-03-%02dT%02d:%02d:%02dZ","eventName":"Decrypt","requestID":"%08x-%04x","keyId":"arn:aws:kms:eu-west-1:111122223333:key/%d"},`,
				random.IntN(28)+1, random.IntN(24), random.IntN(60), random.IntN(60), random.Uint32(), random.IntN(1<<16), random.IntN(9))
		case "noise":
			b = append(b, byte(random.Uint32())) //nolint:gosec // the low byte
		case "few": // long words for what is rare
			b = append(b, byte(uint32(random.ExpFloat64()*4))) //nolint:gosec // seldom over 40
		case "near": // copies from each short distance, and of each length
			piece := text("noise", random.IntN(20)+1, random)
			b = append(b, bytes.Repeat(piece, random.IntN(20)+1)...)
		case "far": // copies from as far as there are
			if len(b) > History && random.IntN(2) == 0 {
				from := len(b) - History + random.IntN(64)
				b = append(b, b[from:min(len(b), from+3+random.IntN(300))]...)
			} else {
				b = append(b, text("noise", 200, random)...)
			}
		default:
			b = append(b, 0)
		}
	}
	return b[:n]
}

var kinds = []string{"log", "noise", "few", "near", "far", "zeros"}

func compress(t testing.TB, plain []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, level)
	require.NoError(t, err)
	_, err = z.Write(plain)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.Bytes()
}

// reading is a way to read a stream.
type reading struct {
	name string
	read func(r *Reader, src io.Reader) ([]byte, error)
}

var readings = []reading{
	{"Read", func(r *Reader, src io.Reader) ([]byte, error) {
		if err := r.Reset(src); err != nil {
			return nil, err
		}
		return readAll(r)
	}},
	{"Read of a byte", func(r *Reader, src io.Reader) ([]byte, error) {
		if err := r.Reset(src); err != nil {
			return nil, err
		}
		return readAll(iotest.OneByteReader(r))
	}},
	{"ReadOnto in 128 KiB", func(r *Reader, src io.Reader) ([]byte, error) { return onto(r, src, 128<<10) }},
	{"ReadOnto in little more than the history", func(r *Reader, src io.Reader) ([]byte, error) { return onto(r, src, History+700) }},
	{"ReadOnto, then Read", func(r *Reader, src io.Reader) ([]byte, error) {
		if err := r.Reset(src); err != nil {
			return nil, err
		}
		buf := make([]byte, 5000)
		n, err := r.ReadOnto(buf, 0)
		if err != nil {
			return buf[:n], err
		}
		r.Remember(buf[:n])
		rest, err := readAll(r)
		return append(buf[:n], rest...), err
	}},
	{"input in pieces", func(r *Reader, src io.Reader) ([]byte, error) {
		return onto(r, bufio.NewReaderSize(iotest.HalfReader(src), 16), 64<<10)
	}},
	{"input byte by byte", func(r *Reader, src io.Reader) ([]byte, error) { return onto(r, iotest.OneByteReader(src), 64<<10) }},
}

func onto(r *Reader, src io.Reader, size int) (all []byte, err error) {
	if err := r.Reset(src); err != nil {
		return nil, err
	}
	buf, at := make([]byte, size), 0
	for {
		n, err := r.ReadOnto(buf, at)
		all = append(all, buf[at:at+n]...)
		if err != nil {
			return all, err
		}
		if at += n; len(buf)-at < 600 {
			at = copy(buf, buf[at-min(at, History):at])
		}
	}
}

// readAll is io.ReadAll that says io.EOF, too.
func readAll(r io.Reader) (all []byte, err error) {
	all, err = io.ReadAll(r)
	if err == nil {
		err = io.EOF
	}
	return all, err
}

// oracle reads with the standard library.
func oracle(stream []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(stream))
	if err != nil {
		return nil, err
	}
	return readAll(z)
}

// class is what of an error is promised.
func class(err error) string {
	var corrupt flate.CorruptInputError
	if errors.As(err, &corrupt) {
		return "corrupt"
	}
	return fmt.Sprint(err)
}

// same reads a stream in all ways and compares with the standard library.
func same(t testing.TB, stream []byte, r *Reader) {
	t.Helper()
	want, wantErr := oracle(stream)
	for _, way := range readings {
		got, err := way.read(r, bytes.NewReader(stream))
		require.Equal(t, class(wantErr), class(err), way.name)
		// What comes before an error may be more here, where the decoder of the
		// standard library gives whole windows only, but never other.
		if errors.Is(wantErr, io.EOF) {
			require.True(t, bytes.Equal(want, got), "%s: %d bytes, %d wanted", way.name, len(got), len(want))
		} else {
			n := min(len(got), len(want))
			require.True(t, bytes.Equal(want[:n], got[:n]), way.name)
			require.GreaterOrEqual(t, len(got), len(want), way.name)
		}
	}
}

func TestItReadsWhatTheStandardLibraryReads(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var r Reader
	for _, kind := range kinds {
		for _, level := range []int{gzip.HuffmanOnly, gzip.NoCompression, 1, 6, 9} {
			for _, n := range []int{0, 1, 57, 70_000, 200_000 + random.IntN(1000)} {
				t.Run(fmt.Sprintf("%s at %d of %d", kind, level, n), func(t *testing.T) {
					same(t, compress(t, text(kind, n, random), level), &r)
				})
			}
		}
	}
}

func TestMembersFollowOneAnother(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var stream []byte
	for i := range 40 {
		stream = append(stream, compress(t, text(kinds[i%len(kinds)], random.IntN(9000), random), i%10)...)
	}
	var r Reader
	same(t, stream, &r)
	same(t, append(stream, "rubbish"...), &r)
	same(t, append(stream, 0x1f), &r)
	// A member must not copy from the one before.
	same(t, append(compress(t, text("log", 5000, random), 6), member(
		0x05, 0x80, 0xe8, 0x0f, 0x00)...), &r)
}

// member is a member with these compressed data and no trailer.
func member(data ...byte) []byte {
	return append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, data...)
}

func TestHeadersMayHaveAllThatThereIs(t *testing.T) {
	plain := text("log", 500, rand.New(rand.NewPCG(5, 6)))
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Name, z.Comment, z.Extra = "a.json", "of the trail", []byte("extra")
	_, err := z.Write(plain)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	var r Reader
	same(t, b.Bytes(), &r)
	for cut := range b.Len() {
		same(t, b.Bytes()[:cut], &r)
	}
	for _, at := range []int{0, 1, 2, 3} {
		for flip := range 8 {
			stream := bytes.Clone(b.Bytes())
			stream[at] ^= 1 << flip
			same(t, stream, &r)
		}
	}
	long := append(member(), make([]byte, 600)...)
	long[3] = flagName
	copy(long[10:], strings.Repeat("n", 590))
	same(t, long, &r)
}

func TestACutIsTold(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	var r Reader
	for _, kind := range kinds {
		stream := compress(t, text(kind, 3000, random), 6)
		for cut := range stream {
			same(t, stream[:cut], &r)
		}
	}
}

func TestDamageIsReadAsTheStandardLibraryReadsIt(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	var r Reader
	tries := 4000
	if testing.Short() {
		tries = 400
	}
	for i := range tries {
		stream := compress(t, text(kinds[i%len(kinds)], 100+random.IntN(3000), random), []int{-2, 1, 6, 9}[i%4])
		for range 1 + random.IntN(3) {
			at := 10 + random.IntN(len(stream)-10)
			stream[at] ^= 1 << random.IntN(8)
		}
		same(t, stream, &r)
	}
}

// What comes after the stream stays with the source.
func TestTheSourceKeepsWhatFollows(t *testing.T) {
	want := errors.New("broken pipe")
	stream := compress(t, text("log", 50_000, rand.New(rand.NewPCG(11, 12))), 6)
	var r Reader
	for _, cut := range []int{0, 5, 300, len(stream) - 3, len(stream)} {
		for _, way := range readings {
			_, err := way.read(&r, io.MultiReader(bytes.NewReader(stream[:cut]), iotest.ErrReader(want)))
			require.ErrorIs(t, err, want, way.name)
		}
	}
}

func FuzzReader(f *testing.F) {
	random := rand.New(rand.NewPCG(13, 14))
	for i, kind := range kinds {
		f.Add(compress(f, text(kind, 2000, random), []int{-2, 0, 1, 6, 9, 6}[i])[10:])
	}
	f.Add(bytes.Repeat([]byte{0xff}, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Reader
		same(t, member(data...), &r)
	})
}

func BenchmarkReadOnto(b *testing.B) {
	plain := text("log", 8<<20, rand.New(rand.NewPCG(15, 16)))
	stream := compress(b, plain, 6)
	var r Reader
	buf, in := make([]byte, 128<<10), bufio.NewReaderSize(nil, 64<<10)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		in.Reset(bytes.NewReader(stream))
		require.NoError(b, r.Reset(in))
		for at := 0; ; {
			n, err := r.ReadOnto(buf, at)
			if err != nil {
				break
			}
			if at += n; at > 96<<10 {
				at = copy(buf, buf[at-History:at])
			}
		}
	}
}
