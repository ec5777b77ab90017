package simulate

import (
	"strconv"
	"time"
)

const hexDigits = "0123456789abcdef"

// base32Digits is the alphabet of AWS's unique ids (AROA…, ASIA…).
const base32Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// base62Digits is the alphabet of the last part of a log file's name.
const base62Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// appendHex writes n hex digits of v, the low ones.
func appendHex(dst []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		dst = append(dst, hexDigits[v>>(4*uint(i))&15])
	}
	return dst
}

// appendUUID writes a random UUID (version 4).
func appendUUID(dst []byte, a, b uint64) []byte {
	a = a&^0xf000 | 0x4000
	b = b&^(3<<62) | 1<<63
	dst = appendHex(dst, a>>32, 8)
	dst = append(dst, '-')
	dst = appendHex(dst, a>>16, 4)
	dst = append(dst, '-')
	dst = appendHex(dst, a, 4)
	dst = append(dst, '-')
	dst = appendHex(dst, b>>48, 4)
	dst = append(dst, '-')
	return appendHex(dst, b, 12)
}

// appendBase32 writes n digits of AWS's unique ids, grown from v.
func appendBase32(dst []byte, v uint64, n int) []byte {
	for i := range n {
		if i%12 == 0 {
			v = mix(v, uint64(i))
		}
		dst = append(dst, base32Digits[v>>(5*uint(i%12))&31])
	}
	return dst
}

// appendTime writes unix seconds as CloudTrail does: 2026-03-02T09:00:00Z.
func appendTime(dst []byte, unix int64) []byte {
	return time.Unix(unix, 0).UTC().AppendFormat(dst, "2006-01-02T15:04:05Z")
}

// appendString writes s as a JSON string. Input is ASCII of our own making.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

func hexText(v uint64, n int) string {
	var b []byte
	for i := 0; n > 0; i++ {
		b = appendHex(b, mix(v, uint64(i)), min(n, 16))
		n -= 16
	}
	return string(b)
}

func base32Text(v uint64, n int) string { return string(appendBase32(nil, v, n)) }

func uuidText(v uint64) string { return string(appendUUID(nil, mix(v, 1), mix(v, 2))) }

func itoa(n int) string { return strconv.Itoa(n) }
