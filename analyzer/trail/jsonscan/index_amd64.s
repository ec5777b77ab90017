//go:build amd64 && !purego

#include "textflag.h"

// One byte each, spread over a register by VPBROADCASTB.
DATA bytes<>+0(SB)/8, $0x4E53651F7D7B5C22 // " \ { } 0x1F e S N
GLOBL bytes<>(SB), RODATA|NOPTR, $8

DATA lower<>+0(SB)/8, $0x2020202020202020
GLOBL lower<>(SB), RODATA|NOPTR, $8

// MASK leaves in out a bit for each of the 64 bytes in lo and hi, by their
// highest bits.
#define MASK(lo, hi, out, tmp) \
	VPMOVMSKB lo, out    \
	VPMOVMSKB hi, tmp    \
	SHLQ      $32, tmp   \
	ORQ       tmp, out

// func indexAVX2(dst *Block, src *byte, blocks int, state *State)
TEXT ·indexAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ blocks+16(FP), CX
	MOVQ state+24(FP), DX
	MOVQ 0(DX), R8 // inString: 0 or all bits
	MOVQ 8(DX), R9 // escaped: 0 or 1

	VPBROADCASTB bytes<>+0(SB), Y8  // "
	VPBROADCASTB bytes<>+1(SB), Y9  // \
	VPBROADCASTB bytes<>+2(SB), Y10 // {
	VPBROADCASTB bytes<>+3(SB), Y11 // }
	VPBROADCASTB bytes<>+4(SB), Y12 // 0x1F
	VPBROADCASTB bytes<>+5(SB), Y13 // e
	VPBROADCASTB bytes<>+6(SB), Y14 // S
	VPBROADCASTB bytes<>+7(SB), Y15 // N
	VPCMPEQB     X7, X7, X7         // all bits, for the carry-less product

loop:
	VMOVDQU 0(SI), Y0
	VMOVDQU 32(SI), Y1

	// R10 = quotes, kept in Y2 and Y3 for the candidates
	VPCMPEQB Y0, Y8, Y2
	VPCMPEQB Y1, Y8, Y3
	MASK(Y2, Y3, R10, AX)

	// R11 = candidates: a quote, then e, then S or N
	VPCMPEQB 1(SI), Y13, Y4
	VPCMPEQB 33(SI), Y13, Y5
	VPAND    Y2, Y4, Y2
	VPAND    Y3, Y5, Y3
	VPCMPEQB 6(SI), Y14, Y4
	VPCMPEQB 6(SI), Y15, Y5
	VPOR     Y4, Y5, Y4
	VPAND    Y2, Y4, Y2
	VPCMPEQB 38(SI), Y14, Y4
	VPCMPEQB 38(SI), Y15, Y5
	VPOR     Y4, Y5, Y4
	VPAND    Y3, Y4, Y3
	MASK(Y2, Y3, R11, AX)

	// R12 = backslashes
	VPCMPEQB Y0, Y9, Y2
	VPCMPEQB Y1, Y9, Y3
	MASK(Y2, Y3, R12, AX)

	// R13 = bytes below 0x20
	VPMINUB  Y0, Y12, Y2
	VPMINUB  Y1, Y12, Y3
	VPCMPEQB Y0, Y2, Y2
	VPCMPEQB Y1, Y3, Y3
	MASK(Y2, Y3, R13, AX)

	// BX = bytes that are not ASCII
	MASK(Y0, Y1, BX, AX)

	// { and [ differ in bit 5 only, and so do } and ]
	VPBROADCASTB lower<>+0(SB), Y6
	VPOR         Y0, Y6, Y0
	VPOR         Y1, Y6, Y1
	VPCMPEQB     Y0, Y10, Y2
	VPCMPEQB     Y1, Y10, Y3
	MASK(Y2, Y3, R15, AX)
	VPCMPEQB     Y0, Y11, Y2
	VPCMPEQB     Y1, Y11, Y3
	MASK(Y2, Y3, DX, AX)

	// Quotes behind an odd number of backslashes are text.
	MOVQ  R12, 32(DI)
	TESTQ R12, R12
	JNZ   escapes
	ANDNQ R10, R9, R10
	XORQ  R9, R9

strings:
	// AX = in a string, from its first quote to before its last
	MOVQ      R10, X4
	VPCLMULQDQ $0, X7, X4, X4
	MOVQ      X4, AX
	XORQ      R8, AX
	MOVQ      AX, R8
	SARQ      $63, R8

	MOVQ  AX, 0(DI)
	ANDNQ R15, AX, R15
	MOVQ  R15, 8(DI)
	ANDNQ DX, AX, DX
	MOVQ  DX, 16(DI)
	ANDQ  R10, R11
	MOVQ  R11, 24(DI)
	ANDQ  AX, R13
	ORQ   BX, R13
	MOVQ  R13, 40(DI)

	ADDQ $64, SI
	ADDQ $48, DI
	DECQ CX
	JNZ  loop

	MOVQ state+24(FP), DX
	MOVQ R8, 0(DX)
	MOVQ R9, 8(DX)
	VZEROUPPER
	RET

escapes:
	// See finish in index.go.
	ANDNQ R12, R9, AX               // potential
	PUSHQ SI
	PUSHQ DI
	MOVQ  $0xAAAAAAAAAAAAAAAA, SI
	LEAQ  (AX)(AX*1), DI
	ORQ   SI, DI
	SUBQ  AX, DI
	XORQ  SI, DI                    // codes
	ORQ   R12, R9
	XORQ  DI, R9                    // escaped
	ANDNQ R10, R9, R10
	ANDQ  DI, R12
	SHRQ  $63, R12
	MOVQ  R12, R9
	POPQ  DI
	POPQ  SI
	JMP   strings
