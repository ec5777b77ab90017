// Package analyzer has the words that the rest of Keytrail shares, and imports
// none of it.
//
// A record is what CloudTrail wrote. An Event is a record normalised: one row,
// with a stable principal, a lane, a canonical key, an outcome. A Detection asks
// a question of events; each row that it returns is a Finding, whose id depends
// on its content alone. Findings of one detection about one entity join an
// Alert, which has a life: open, acknowledged, silenced, closed.
//
//	trail      files in, raw records out
//	normalise  record to Event; policy judges the key policies in it
//	lake       Events as Parquet, in two tables
//	catalog    the Detections, from queries/
//	engine     a slice of the lake and what is remembered (memory) to Findings
//	alert      Findings to Alerts; store keeps both
//	slack      Alerts as messages; report the same for a terminal
//	settings   keytrail.yaml
//	pipeline   the order in which all of this happens
//
// The interfaces that the parts need of a store are here too, so that a store
// knows nobody but this package.
package analyzer
