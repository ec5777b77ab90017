//go:build amd64 && !purego

package jsonscan

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasBMI1 && cpu.X86.HasPCLMULQDQ

func index(dst []Block, src []byte, state *State) {
	if hasAVX2 {
		indexAVX2(&dst[0], &src[0], len(dst), state)
		return
	}
	indexPortable(dst, src, state)
}

// indexAVX2 does what indexPortable does, 32 bytes at a time.
//
//go:noescape
func indexAVX2(dst *Block, src *byte, blocks int, state *State)
