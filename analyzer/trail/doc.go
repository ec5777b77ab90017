// Package trail reads CloudTrail logs: files in, raw records out.
//
// A log may come as CloudTrail wrote it to S3 ({"Records":[…]}, gzipped), as
// somebody saved it (plain JSON, JSON lines, one record, a bare array), as
// EventBridge carried it (in the detail of an envelope) or as the command
// aws cloudtrail lookup-events printed it (in a string). What a file holds is
// decided by its content alone, never by its name.
//
//	inputs, err := trail.Expand([]string{"logs/", "more/**/*.json.gz"})
//	reader := trail.Reader{Filter: trail.NewFilter(wanted)}
//	counts, err := reader.ReadAll(ctx, inputs.Inputs, trail.All{
//		Handler: func(worker int) trail.Handler {
//			return trail.Handler{Record: use, Reject: report}
//		},
//	})
//
// # What it promises
//
// Nothing is lost without a word. Every record is counted as kept, not of
// interest or rejected, every file as read, rejected or skipped, with reasons.
// What cannot be read is rejected with its place and why, and reading goes on
// at the next record: behind the brackets of the broken one, or where they
// cannot be trusted, at the next line of JSON lines or the next {"eventVersion"
// of an array. Only when there is none is the rest of the file given up. An
// error is returned only for what ends the whole work: the context or the
// caller's own functions.
//
// No input, however hostile, takes more than a bounded amount of memory or
// work for each of its bytes; Limits says how much.
//
// # How it is fast
//
// Nearly all records of a usual log are about other services and are read by
// no detection. They are recognised by "eventSource" and "eventName" at the
// top level of the record, found in the bit masks of package jsonscan, and
// never looked at again. Only the records that are kept are checked to be
// valid JSON and UTF-8; the places of their values are noted on the way, so
// that nobody has to scan them a second time (see Record.Doc). A record that
// is dropped is checked too when something in it looks as if it had swallowed
// its neighbours because of a missing bracket or quote.
package trail
