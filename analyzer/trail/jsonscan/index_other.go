//go:build !amd64 || purego

package jsonscan

func index(dst []Block, src []byte, state *State) { indexPortable(dst, src, state) }
