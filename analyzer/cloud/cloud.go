// Package cloud says what Keytrail needs of AWS, as interfaces so small that a
// fake can have all of their semantics: a bucket with conditional writes (S3),
// a table with conditional transactions (DynamoDB), a queue with visibility
// (SQS), and secrets. Package awssdk implements them with the AWS SDK; package
// cloudtest in memory, with the faults that AWS has.
//
// All implementations share these rules. An error that wraps
// analyzer.ErrNotFound or analyzer.ErrConflict is the service's answer; after
// any other error of a call that writes, whether it took effect is not known.
// Nothing is shared with the caller.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrNotModified is wrapped by the error of Bucket.Get when the object still
// has the ETag that the caller knows.
var ErrNotModified = errors.New("not modified")

// ObjectInfo describes an object of a bucket.
type ObjectInfo struct {
	Key      string
	Size     int64
	ETag     string // with its quotes, as S3 gives it
	Version  string // empty when the bucket keeps no versions
	Modified time.Time
}

// Condition is what must hold for Bucket.Put to write. The zero Condition
// always holds.
type Condition struct {
	IfAbsent bool   // there is no object of that key
	IfMatch  string // the object has this ETag
}

// Reader reads objects of one bucket.
type Reader interface {
	// Get opens an object. ifNoneMatch, when set, is an ETag: if the object
	// still has it, the error wraps ErrNotModified. version, when set, names one
	// of its versions. The error wraps analyzer.ErrNotFound when there is none.
	Get(ctx context.Context, key, version, ifNoneMatch string) (io.ReadCloser, ObjectInfo, error)
	// Head describes an object; the error wraps analyzer.ErrNotFound when there
	// is none.
	Head(ctx context.Context, key string) (ObjectInfo, error)
	// List returns objects whose key has the prefix and comes after the key
	// after, in the order of their keys, at most 1,000. more tells whether there
	// are others. It sees every write that was answered before it began.
	List(ctx context.Context, prefix, after string) (objects []ObjectInfo, more bool, err error)
}

// Bucket is one bucket of S3.
type Bucket interface {
	Reader
	// Put writes an object of at most 5 GiB as a whole. The error wraps
	// analyzer.ErrConflict when the condition does not hold. body is read from
	// its beginning, and may be read several times.
	Put(ctx context.Context, key string, body io.ReadSeeker, c Condition) (ObjectInfo, error)
	// Delete removes objects; that one is not there is no error. What could not
	// be removed is in the error, the others are gone.
	Delete(ctx context.Context, keys ...string) error
}

// Key names an item of a table.
type Key struct {
	Partition string
	Sort      string
}

// Item is an item of a table. Body is opaque, at most MaxBody bytes.
type Item struct {
	Key
	// Number is what conditions compare: a version, an epoch, a time. An item
	// that is not there has none.
	Number int64
	Body   []byte
	// Expires is when the item may be removed; zero means never. Removal is
	// late, up to days: readers must not rely on it.
	Expires time.Time
}

// MaxBody is how large the body of an item may be: DynamoDB's 400 KB less what
// names and keys take.
const MaxBody = 380_000

// MaxTransaction is how many writes one transaction takes at most.
const MaxTransaction = 100

// Test is the condition of a Write.
type Test int

// The conditions of a write, on the item that is there before it.
const (
	Always    Test = iota
	IfAbsent       // there is none
	IfNumber       // there is one, and its Number is Write.Than
	IfAtMost       // there is none, or its Number is at most Write.Than
	IfGreater      // there is none, or its Number is greater than Write.Than
)

// Write puts an item, or deletes it.
type Write struct {
	Item
	Delete bool
	Test   Test
	Than   int64
}

// Table is one table of DynamoDB. All reads are strongly consistent.
type Table interface {
	// Get reads one item; the error wraps analyzer.ErrNotFound when there is none.
	Get(ctx context.Context, key Key) (Item, error)
	// GetMany reads items of any number; those that are not there are left out.
	// The order is that of keys.
	GetMany(ctx context.Context, keys []Key) ([]Item, error)
	// Query reads all items of a partition whose sort key is at least from and
	// has the prefix, in the order of their sort keys, as bytes.
	Query(ctx context.Context, partition, prefix, from string) ([]Item, error)
	// Write does all writes or none; at most MaxTransaction, of different items.
	// The error wraps analyzer.ErrConflict when a condition does not hold.
	Write(ctx context.Context, writes ...Write) error
}

// Message goes into a queue.
type Message struct {
	Body string
	// Group and Dedup are for FIFO queues: messages of a group are delivered in
	// order; one whose Dedup was sent in the last five minutes is dropped.
	Group, Dedup string
	Delay        time.Duration // standard queues only, at most 15 minutes
}

// Received is a message out of a queue.
type Received struct {
	Message
	ID       string
	Receipt  string
	Receives int       // how often it was received, this time included
	Sent     time.Time // for the first time
}

// Queue is one queue of SQS.
type Queue interface {
	// Send puts messages of any number into the queue. When some were refused,
	// the error is a *SendError that says which.
	Send(ctx context.Context, messages ...Message) error
	// Receive takes at most ten messages, which others do not see for the time
	// of visibility. It may return none although there are some.
	Receive(ctx context.Context, visibility time.Duration) ([]Received, error)
	// Delete takes received messages out of the queue. What failed is in the
	// error.
	Delete(ctx context.Context, receipts ...string) error
	// Defer sets for how long from now a received message stays invisible, at
	// most MaxDefer.
	Defer(ctx context.Context, receipt string, d time.Duration) error
	// Depth returns about how many messages wait, visible or not.
	Depth(ctx context.Context) (int64, error)
}

// MaxDefer is how long a message can be invisible after it was received. SQS
// counts the 12 hours from the receipt.
const MaxDefer = 11 * time.Hour

// SendError says which messages of a Send were refused.
type SendError struct {
	Failed []int // indexes, ascending
	Reason error // why the first was
}

// Error gives the number of messages and the first reason.
func (e *SendError) Error() string {
	return fmt.Sprintf("%d messages were not sent: %v", len(e.Failed), e.Reason)
}

// Unwrap returns the first reason.
func (e *SendError) Unwrap() error { return e.Reason }

// Secrets reads secrets by their ARN: of Secrets Manager, or of a Parameter
// Store SecureString.
type Secrets interface {
	Secret(ctx context.Context, arn string) (string, error)
}
