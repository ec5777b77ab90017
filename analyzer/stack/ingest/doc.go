// Package ingest reads what the ingest queue brings into the lake: log objects
// that CloudTrail put into a bucket, and KMS calls that EventBridge gave.
//
// A message is done when all that it brings is in the lake or in quarantine,
// and only then leaves the queue. Each object is a batch of its own whose names
// come from bucket, key and version; the calls of one invocation are a batch
// named after their ids. So a message that is delivered again, in whatever
// company, writes the same objects or none. What cannot be read never will be:
// it goes to quarantine and not back to the queue. What a service refused may
// go well later: the message goes back.
package ingest
