// Package queries holds the detections: one file of SQL each, in a folder for
// its family. Package catalog reads them; CONTRIBUTING.md shows how to add one.
package queries

import "embed"

// Files are the detections as FAMILY/NAME.sql.
//
//go:embed */*.sql
var Files embed.FS
