//go:build linux

package inflate

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// guarded returns n bytes right before or right behind a page that must not be
// touched: who does ends the program.
func guarded(t *testing.T, n int, behind bool) []byte {
	t.Helper()
	page := unix.Getpagesize()
	pages := (n + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, pages+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(m)) })
	require.NoError(t, unix.Mprotect(m[:page], unix.PROT_NONE))
	require.NoError(t, unix.Mprotect(m[page+pages:], unix.PROT_NONE))
	if behind {
		return m[page : page+n : page+n]
	}
	return m[page+pages-n : page+pages : page+pages]
}

// TestNothingBesideTheMemoryIsTouched reads streams, valid and damaged, from and
// into memory that ends, or begins, where no memory is.
func TestNothingBesideTheMemoryIsTouched(t *testing.T) {
	random := rand.New(rand.NewPCG(17, 18))
	var r Reader
	for i := range 3000 {
		plain := text(kinds[i%len(kinds)], 50+random.IntN(4000), random)
		stream := compress(t, plain, []int{-2, 1, 6, 9}[i%4])
		damaged := i%3 > 0
		for range i % 3 {
			stream[10+random.IntN(len(stream)-10)] ^= 1 << random.IntN(8)
		}
		behind := i%2 == 0
		in, buf := guarded(t, len(stream)-10, behind), guarded(t, len(plain)+random.IntN(1000), behind)
		copy(in, stream[10:])
		// The input does not come through a bufio.Reader, which has memory of its own.
		require.NoError(t, r.Reset(bytes.NewReader(stream[:10])))
		r.in, r.pos = in, 0
		at := 0
		for at < len(buf) {
			n, err := r.ReadOnto(buf, at)
			at += n
			if err != nil {
				break
			}
		}
		if !damaged {
			require.True(t, bytes.Equal(plain, buf[:at]))
		}
	}
}
