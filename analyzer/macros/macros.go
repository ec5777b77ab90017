// Package macros has the SQL that makes DuckDB answer as Trino does: detections
// are written once, for both.
package macros

import _ "embed" // macros.sql

// SQL creates the macros, in the schema that is in use.
//
//go:embed macros.sql
var SQL string
