package table

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// compressors are used again: each has about a megabyte of tables.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// compress returns data as gzip. JSON and base32 shrink to a half and less, and
// DynamoDB is paid by the kilobyte.
func compress(data []byte) ([]byte, error) {
	var out bytes.Buffer
	w := compressors.Get().(*gzip.Writer)
	defer compressors.Put(w)
	w.Reset(&out)
	if _, err := w.Write(data); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return out.Bytes(), nil
}

// gzipMagic begins what is compressed; no JSON begins so.
var gzipMagic = []byte{0x1f, 0x8b}

// expand undoes compress; what is not compressed it leaves as it is.
func expand(data []byte) ([]byte, error) {
	if !bytes.HasPrefix(data, gzipMagic) {
		return data, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return out, nil
}
