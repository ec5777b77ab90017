package lake

import (
	"fmt"
	"reflect"
	"time"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/keytrail/keytrail/analyzer"
)

// kind is how a column is held and written.
type kind uint8

const (
	kindText kind = iota // dictionary of texts
	kindID               // texts that hardly repeat
	kindBool
	kindInt
	kindTime         // always there
	kindOptionalTime // null when zero
	kindList         // list of texts
)

// Column is one column of a table.
type Column struct {
	Name string
	// SQL is the type in SQL: varchar, boolean, integer, timestamp (UTC, in
	// milliseconds) or varchar[].
	SQL string

	kind   kind
	offset uintptr // in analyzer.Event
}

// ids are the texts of which nearly every one is different, so that a
// dictionary of them would only cost.
var ids = map[string]bool{"event_id": true, "shared_event_id": true}

// Columns returns the columns of a table in their order: those of
// analyzer.Event, for uses without the ones tagged as control's.
func Columns(table analyzer.Table) []Column {
	t := reflect.TypeFor[analyzer.Event]()
	columns := make([]Column, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("col")
		only := f.Tag.Get("table")
		if name == "" || only != "" && analyzer.Table(only) != table {
			continue
		}
		c := Column{Name: name, offset: f.Offset}
		switch {
		case f.Type == reflect.TypeFor[time.Time]():
			c.SQL, c.kind = "timestamp", kindOptionalTime
			if name == "event_time" {
				c.kind = kindTime
			}
		case f.Type.Kind() == reflect.String:
			c.SQL, c.kind = "varchar", kindText
			if ids[name] {
				c.kind = kindID
			}
		case f.Type.Kind() == reflect.Bool:
			c.SQL, c.kind = "boolean", kindBool
		case f.Type.Kind() == reflect.Int:
			c.SQL, c.kind = "integer", kindInt
		case f.Type == reflect.TypeFor[[]string]():
			c.SQL, c.kind = "varchar[]", kindList
		default:
			panic(fmt.Sprintf("lake: analyzer.Event.%s has a type that no column can hold: %s", f.Name, f.Type))
		}
		columns = append(columns, c)
	}
	return columns
}

// schemaOf returns the Parquet schema of the columns, depth first.
func schemaOf(columns []Column) []format.SchemaElement {
	text := func(name string) format.SchemaElement {
		return format.SchemaElement{
			Name:           name,
			Type:           thrift.New(format.ByteArray),
			RepetitionType: thrift.New(format.Required),
			ConvertedType:  thrift.New(deprecated.UTF8),
			LogicalType:    format.LogicalType{Value: new(format.StringType)},
		}
	}
	plain := func(name string, t format.Type) format.SchemaElement {
		return format.SchemaElement{Name: name, Type: thrift.New(t), RepetitionType: thrift.New(format.Required)}
	}
	elements := []format.SchemaElement{{Name: "event", NumChildren: thrift.New(int32(len(columns)))}} //nolint:gosec // about a hundred
	for _, c := range columns {
		switch c.kind {
		case kindText, kindID:
			elements = append(elements, text(c.Name))
		case kindBool:
			elements = append(elements, plain(c.Name, format.Boolean))
		case kindInt:
			elements = append(elements, plain(c.Name, format.Int32))
		case kindTime, kindOptionalTime:
			// "Not adjusted to UTC" makes readers show what is stored, which is
			// UTC, instead of turning it into the zone of their session.
			e := plain(c.Name, format.Int64)
			e.LogicalType = format.LogicalType{Value: &format.TimestampType{Unit: format.TimeUnit{Value: new(format.MilliSeconds)}}}
			if c.kind == kindOptionalTime {
				e.RepetitionType = thrift.New(format.Optional)
			}
			elements = append(elements, e)
		case kindList:
			elements = append(elements,
				format.SchemaElement{
					Name: c.Name, RepetitionType: thrift.New(format.Required), NumChildren: thrift.New(int32(1)),
					ConvertedType: thrift.New(deprecated.List), LogicalType: format.LogicalType{Value: new(format.ListType)},
				},
				format.SchemaElement{Name: "list", RepetitionType: thrift.New(format.Repeated), NumChildren: thrift.New(int32(1))},
				text("element"))
		}
	}
	return elements
}
