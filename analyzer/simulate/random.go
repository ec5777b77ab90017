package simulate

import (
	"math/rand/v2"
)

// random is one stream of chance. Every file has its own, seeded by what the
// file is about, so that files can be written in any order and in parallel.
type random struct {
	*rand.Rand
}

// newRandom seeds a stream by the run's seed and by what it is for.
func newRandom(seed uint64, parts ...uint64) *random {
	return &random{rand.New(rand.NewPCG(seed, mix(seed, parts...)))} //nolint:gosec // logs are made up again from their seed; no secret is drawn
}

// chance is true with probability p.
func (r *random) chance(p float64) bool { return r.Float64() < p }

// skewed returns a number in [0,n) that favours the small ones, as the use of
// anything does: the first quarter gets half.
func (r *random) skewed(n int) int {
	f := r.Float64()
	return int(f * f * float64(n))
}

// mix folds numbers into one that looks random and never changes (splitmix64).
func mix(seed uint64, parts ...uint64) uint64 {
	h := seed ^ 0x9e3779b97f4a7c15
	for _, p := range parts {
		h ^= p
		h += 0x9e3779b97f4a7c15
		h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9
		h = (h ^ (h >> 27)) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// text folds a string into a part for mix (FNV-1a).
func text(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// bits is a number as a part for mix, which hashes it: its sign means nothing.
func bits[T int | int64](n T) uint64 {
	return uint64(n)
}

// unit is a number in [0,1) that depends on the parts only.
func unit(seed uint64, parts ...uint64) float64 {
	return float64(mix(seed, parts...)>>11) / (1 << 53)
}
