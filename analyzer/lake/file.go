package lake

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// The layout of a file is written here and not by parquet-go's own writer,
// whose dictionaries hash the text of each value of each column, which takes
// four times as long (measured on a day of simulated traffic, for files of the
// same size). Its encodings and its definition of the metadata are used; its
// reader and DuckDB read the result in the tests.

const (
	magic     = "PAR1"
	createdBy = "keytrail"
)

// file is a Parquet file being written.
type file struct {
	path    string
	columns []Column
	out     *os.File
	w       *bufio.Writer
	offset  int64

	groups []format.RowGroup
	rows   int64
	header thrift.CompactProtocol
}

// createFile starts a file.
func createFile(path string, columns []Column) (*file, error) {
	out, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create an object of the lake: %w", err)
	}
	f := &file{path: path, columns: columns, out: out, w: bufio.NewWriterSize(out, 1<<16)}
	if err := f.write([]byte(magic)); err != nil {
		_ = out.Close()
		return nil, err
	}
	return f, nil
}

func (f *file) write(parts ...[]byte) error {
	for _, b := range parts {
		n, err := f.w.Write(b)
		f.offset += int64(n)
		if err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
	}
	return nil
}

// compressor compresses pages.
type compressor struct {
	zstd   *zstd.Encoder
	buffer []byte
}

func newCompressor() (*compressor, error) {
	z, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20), zstd.WithZeroFrames(true),
		// Event ids have no repeats to find, but only half the entropy of their text.
		zstd.WithAllLitEntropyCompression(true))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	return &compressor{zstd: z}, nil
}

func (c *compressor) compress(page []byte) []byte {
	c.buffer = c.zstd.EncodeAll(page, c.buffer[:0])
	return c.buffer
}

// rowGroup writes the chunks as one row group.
func (f *file) rowGroup(t *table, rows int, e *encoder, z *compressor) error {
	group := format.RowGroup{NumRows: int64(rows), FileOffset: f.offset, Ordinal: int16(len(f.groups))} //nolint:gosec // see Writer.Add: files are ended long before
	for i := range t.chunks {
		c, err := f.column(i, &t.chunks[i], rows, e, z)
		if err != nil {
			return fmt.Errorf("column %s of %s: %w", f.columns[i].Name, f.path, err)
		}
		group.TotalByteSize += c.MetaData.TotalUncompressedSize
		group.TotalCompressedSize += c.MetaData.TotalCompressedSize
		group.Columns = append(group.Columns, c)
	}
	f.groups = append(f.groups, group)
	f.rows += int64(rows)
	return nil
}

func (f *file) column(i int, c *chunk, rows int, e *encoder, z *compressor) (out format.ColumnChunk, err error) {
	pages, err := e.encode(c, rows)
	if err != nil {
		return out, err
	}
	path := []string{f.columns[i].Name}
	if c.kind == kindList {
		path = append(path, "list", "element")
	}
	out.MetaData = format.ColumnMetaData{
		Type:         pages.physical,
		Encoding:     []format.Encoding{pages.encoding, format.RLE},
		PathInSchema: path,
		Codec:        format.Zstd,
		NumValues:    int64(pages.values),
		Statistics:   pages.statistics,
	}
	m := &out.MetaData
	start := f.offset
	if pages.entries > 0 {
		m.Encoding = append(m.Encoding, format.Plain)
		m.DictionaryPageOffset = f.offset
		header := format.PageHeader{
			Type: format.DictionaryPage,
			DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{
				NumValues: int32(pages.entries), Encoding: format.Plain, //nolint:gosec // at most one for each row
			}),
		}
		n, err := f.page(header, pages.dictionary, z)
		if err != nil {
			return out, err
		}
		m.TotalUncompressedSize += n
	}
	m.DataPageOffset = f.offset
	header := format.PageHeader{
		Type: format.DataPage,
		DataPageHeader: thrift.New(format.DataPageHeader{
			NumValues:               int32(pages.values), //nolint:gosec // bounded by the row group
			Encoding:                pages.encoding,
			DefinitionLevelEncoding: format.RLE,
			RepetitionLevelEncoding: format.RLE,
		}),
	}
	n, err := f.page(header, pages.data, z)
	if err != nil {
		return out, err
	}
	m.TotalUncompressedSize += n
	m.TotalCompressedSize = f.offset - start
	return out, nil
}

// page writes one page and returns its size before compression.
func (f *file) page(header format.PageHeader, page []byte, z *compressor) (int64, error) {
	body := z.compress(page)
	header.UncompressedPageSize = int32(len(page)) //nolint:gosec // bounded by the row group
	header.CompressedPageSize = int32(len(body))   //nolint:gosec // the same
	head, err := thrift.Marshal(&f.header, &header)
	if err != nil {
		return 0, fmt.Errorf("encode a page header: %w", err)
	}
	return int64(len(head) + len(page)), f.write(head, body)
}

// close writes the footer and closes the file.
func (f *file) close(minTime, maxTime time.Time) (err error) {
	defer func() {
		if closeErr := f.out.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("close %s: %w", f.path, closeErr)
		}
	}()
	leaves := len(f.columns)
	orders := make([]format.ColumnOrder, leaves)
	for i := range orders {
		orders[i] = format.ColumnOrder{Value: new(format.TypeDefinedOrder)}
	}
	footer, err := thrift.Marshal(&f.header, &format.FileMetaData{
		Version:   1,
		Schema:    schemaOf(f.columns),
		NumRows:   f.rows,
		RowGroups: f.groups,
		KeyValueMetadata: []format.KeyValue{
			{Key: "keytrail.min_time", Value: minTime.Format(time.RFC3339Nano)},
			{Key: "keytrail.max_time", Value: maxTime.Format(time.RFC3339Nano)},
		},
		CreatedBy:    createdBy,
		ColumnOrders: orders,
	})
	if err != nil {
		return fmt.Errorf("encode the footer of %s: %w", f.path, err)
	}
	size := binary.LittleEndian.AppendUint32(nil, uint32(len(footer))) //nolint:gosec // a footer is small
	if err := f.write(footer, size, []byte(magic)); err != nil {
		return err
	}
	if err := f.w.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	return nil
}

// abandon closes the file without finishing it.
func (f *file) abandon() {
	f.w.Reset(io.Discard)
	_ = f.out.Close()
}
