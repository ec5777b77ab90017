// Package remote keeps a lake and its memory in a bucket. The analysis works on
// them as on a folder: what it is about to read is copied into a cache on disk.
//
//	uses/day=2026-03-02/NAME.parquet, control/day=…/NAME.parquet   events
//	inbox/SHARD/NAME.json                  a batch that waits to be analysed
//	done/SHARD/NAME.json                   its receipt, once it is analysed
//	quarantine/NAME.jsonl                  records that could not be read
//	compacted/TABLE/day=…/SHARD.json       the ledger of a settled day
//	memory/SHARD/manifest.json             the current memory
//	memory/SHARD/GENERATION-NONCE.tar      its files
//	settings/keytrail.yaml                 the settings
//
// With several shards each NAME of an object and of a quarantine file ends in
// -sNN, see [ObjectName].
//
// # Once and whole
//
// There is no rename in a bucket, so the order is another than that of package
// lake: objects first, then the marker in the inbox, which makes the batch
// exist. An object that no marker and no receipt names is of a batch that is on
// its way, or that never arrived: it does not count, and no reader of
// [Lake.History] sees it. After the analysis the receipt is written and then the
// marker is deleted. A marker whose receipt is there is done.
//
// All writes are conditional or give the same each time, so that any of them may
// be lost, repeated or raced.
package remote
