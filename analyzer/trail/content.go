package trail

import (
	"bytes"
	"fmt"
	"strings"
)

const bom = "\xef\xbb\xbf"

// headSize is how much is looked at to know what a file is: tar has its mark
// at byte 257.
const headSize = 512

// foreignFormats are what logs may be packed in that is not read here. They are
// rejected, not skipped: there may be records in them.
var foreignFormats = []struct {
	magic  string
	at     int
	reason string
}{
	{"\x28\xb5\x2f\xfd", 0, "zstd data: decompress it first (zstd -d)"},
	{"PK\x03\x04", 0, "a zip archive: unpack it first (unzip)"},
	{"BZh", 0, "bzip2 data: decompress it first (bunzip2)"},
	{"\xfd7zXZ\x00", 0, "xz data: decompress it first (xz -d)"},
	{"7z\xbc\xaf\x27\x1c", 0, "a 7-Zip archive: unpack it first (7z x)"},
	{"\x04\x22\x4d\x18", 0, "lz4 data: decompress it first (lz4 -d)"},
	{"ustar", 257, "a tar archive: unpack it first (tar -xf)"},
	{"PAR1", 0, "Parquet, not a log: give the JSON files that CloudTrail wrote"},
	{"\xff\xfe", 0, "UTF-16 text: convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)"},
	{"\xfe\xff", 0, "UTF-16 text: convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)"},
}

// open decides what the stream is. Without a verdict it is JSON, and p is where
// it begins; otherwise it was rejected, or verdict is why it is skipped.
func (s *scan) open() (verdict string, err error) {
	if s.fatal != nil {
		return "", s.fatal
	}
	w := &s.window
	head := w.head(headSize)
	for range maxLayers - 1 {
		if !bytes.HasPrefix(head, []byte(gzipMagic)) {
			break
		}
		rest := w.src
		if w.err != nil {
			rest = failing{w.err}
		}
		w.reset(again(w.buf[:w.end], rest, s.limits))
		head = w.head(headSize)
	}
	if w.err != nil { // it may have waited until the context ended
		if s.fatal = s.ctx.Err(); s.fatal != nil {
			return "", s.fatal
		}
	}
	if failure := w.failure(); failure != nil && len(head) == 0 {
		s.gaveUp = true
		return "", s.reject(0, describe(failure), nil)
	}
	for _, f := range foreignFormats {
		if len(head) > f.at && bytes.HasPrefix(head[f.at:], []byte(f.magic)) {
			s.gaveUp = true
			return SkippedOther, s.reject(0, f.reason, nil)
		}
	}
	if bytes.HasPrefix(head, []byte(bom)) {
		s.p = len(bom)
	}
	text := bytes.TrimLeft(head[s.p:], " \t\r\n")
	if len(text) == 0 && w.err == nil || beginsJSON(text) {
		return "", nil
	}
	switch {
	case len(text) == 0:
		return SkippedEmpty, nil
	case s.named && s.hint.Kind == KindLog, hasJSONName(s.name):
		// Its beginning may be missing.
		reason := fmt.Sprintf("named as JSON but begins with %q", text[:min(len(text), 16)])
		s.begin()
		return "", s.lost(s.offset, reason, s.p)
	}
	return SkippedOther, nil
}

// beginsJSON tells whether text begins as a JSON object does, or an array of
// such. Text files begin with a bracket at times: "[INFO] started".
func beginsJSON(text []byte) bool {
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return false
	}
	inside := bytes.TrimLeft(text[1:], " \t\r\n")
	if len(inside) == 0 {
		return true
	}
	if text[0] == '{' {
		return inside[0] == '"' || inside[0] == '}'
	}
	return inside[0] == '{' || inside[0] == ']'
}

func hasJSONName(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".gz")
	return strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, ".ndjson")
}
