// Package lake keeps events in a folder of Parquet files that DuckDB, Trino and
// Athena read as they are.
//
//	LAKE/uses/day=2026-03-02/NAME.parquet      successful reads of KMS: the mass
//	LAKE/control/day=2026-03-02/NAME.parquet   everything else, all columns
//	LAKE/inbox/NAME.json                       batches not analysed yet
//	LAKE/quarantine/NAME.jsonl                 records that could not be read
//	LAKE/tmp/                                  what is being written
//
// The day is that of the events, in UTC. The columns are those of
// [analyzer.Event] (see docs/events.md); times are timestamps in milliseconds,
// in UTC and without a zone.
//
// # Once and whole
//
// A [Writer] lets objects grow in a folder of its own under tmp, where no
// reader looks. [Lake.Commit] then writes one marker into the inbox, under a
// temporary name that is renamed: that rename is the moment from which the
// batch exists. After it the objects are moved to their days. Whoever opens the
// lake or reads the inbox finishes the moves that an interrupted process left,
// so a reader of markers finds every object that they name, and a reader of all
// objects under the tables finds only those of committed batches. A process
// that dies before the rename leaves nothing but files under tmp; they are
// removed the next time the lake is opened, when no living process holds them.
//
// Committing the same batch again replaces the marker and the objects of the
// same names. An event that arrives in two batches is twice in the lake:
// whoever reads it tells events apart by event_id and account.
package lake
