package awssdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/cloud"
)

const (
	deleteBatch = 1000 // objects of one DeleteObjects
	// slowestUpload is how many bytes a second an attempt of Put is given time
	// for, beside AttemptTimeout. A function sends a hundred times as fast.
	slowestUpload = 1 << 20
	// stallTimeout is how long the body of an object may keep its reader waiting.
	stallTimeout = 30 * time.Second
)

// Bucket is a bucket of S3, with the checksums that the SDK adds and checks.
type Bucket struct {
	client *s3.Client
	name   string
	stall  time.Duration
}

var _ cloud.Bucket = (*Bucket)(nil)

// NewBucket returns the bucket of that name.
func NewBucket(client *s3.Client, name string) *Bucket {
	return &Bucket{client: client, name: name, stall: stallTimeout}
}

// Get implements cloud.Reader. Reading the body fails when its end does not
// come or its checksum is not the object's; the error is then never
// io.ErrUnexpectedEOF, which readers of compressed data take for a fault of the
// data.
func (b *Bucket) Get(ctx context.Context, key, version, ifNoneMatch string) (io.ReadCloser, cloud.ObjectInfo, error) {
	in := &s3.GetObjectInput{Bucket: &b.name, Key: &key, VersionId: optional(version), IfNoneMatch: optional(ifNoneMatch)}
	ctx, cancel := context.WithCancel(WithStream(ctx))
	out, err := b.client.GetObject(ctx, in)
	if err != nil {
		cancel()
		return nil, cloud.ObjectInfo{}, b.failed("read", key, err)
	}
	info := cloud.ObjectInfo{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag),
		Version: aws.ToString(out.VersionId), Modified: aws.ToTime(out.LastModified).UTC(),
	}
	return newBody(out.Body, b.address(key), b.stall, cancel), info, nil
}

// Head implements cloud.Reader.
func (b *Bucket) Head(ctx context.Context, key string) (cloud.ObjectInfo, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return cloud.ObjectInfo{}, b.failed("look up", key, err)
	}
	return cloud.ObjectInfo{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: aws.ToString(out.ETag),
		Version: aws.ToString(out.VersionId), Modified: aws.ToTime(out.LastModified).UTC(),
	}, nil
}

// List implements cloud.Reader. Keys come URL-encoded, because XML cannot hold
// all of them.
func (b *Bucket) List(ctx context.Context, prefix, after string) ([]cloud.ObjectInfo, bool, error) {
	in := &s3.ListObjectsV2Input{
		Bucket: &b.name, Prefix: optional(prefix), StartAfter: optional(after), EncodingType: types.EncodingTypeUrl,
	}
	for {
		out, err := b.client.ListObjectsV2(ctx, in)
		if err != nil {
			return nil, false, b.failed("list", prefix, err)
		}
		objects, err := listed(out)
		if err != nil {
			return nil, false, b.failed("list", prefix, err)
		}
		more := aws.ToBool(out.IsTruncated)
		if len(objects) > 0 || !more {
			return objects, more, nil
		}
		in.ContinuationToken = out.NextContinuationToken // a page may be empty and not the last
	}
}

func listed(out *s3.ListObjectsV2Output) ([]cloud.ObjectInfo, error) {
	objects := make([]cloud.ObjectInfo, 0, len(out.Contents))
	for _, o := range out.Contents {
		key := aws.ToString(o.Key)
		if out.EncodingType == types.EncodingTypeUrl {
			decoded, err := url.QueryUnescape(key)
			if err != nil {
				return nil, fmt.Errorf("decode the key %q: %w", key, err)
			}
			key = decoded
		}
		objects = append(objects, cloud.ObjectInfo{
			Key: key, Size: aws.ToInt64(o.Size), ETag: aws.ToString(o.ETag), Modified: aws.ToTime(o.LastModified).UTC(),
		})
	}
	return objects, nil
}

// Put implements cloud.Bucket. The length of the body is found by seeking to
// its end. S3 does not say when it wrote the object: Modified is zero.
//
// The condition is S3's own. It answers 412 when the condition does not hold,
// which may also mean that the object is ours: see the package comment; and 409
// when another conditional write or a deletion was under way, where whether
// that one took effect is not known. Both wrap analyzer.ErrConflict: read again.
// When IfMatch is set and there is no object, it answers 404, and the error
// wraps analyzer.ErrNotFound.
func (b *Bucket) Put(ctx context.Context, key string, body io.ReadSeeker, c cloud.Condition) (cloud.ObjectInfo, error) {
	if c.IfAbsent && c.IfMatch != "" {
		return cloud.ObjectInfo{}, b.failed("write", key, errors.New("an object cannot be absent and have an ETag"))
	}
	size, err := length(body)
	if err != nil {
		return cloud.ObjectInfo{}, b.failed("write", key, err)
	}
	in := &s3.PutObjectInput{
		Bucket: &b.name, Key: &key, ContentLength: &size, IfMatch: optional(c.IfMatch),
		Body: struct{ io.ReadSeeker }{body}, // without Close: the body is the caller's
	}
	if c.IfAbsent {
		in.IfNoneMatch = aws.String("*")
	}
	out, err := b.client.PutObject(withExtraTime(ctx, time.Duration(size)*time.Second/slowestUpload), in)
	if err != nil {
		return cloud.ObjectInfo{}, b.failed("write", key, err)
	}
	return cloud.ObjectInfo{Key: key, Size: size, ETag: aws.ToString(out.ETag), Version: aws.ToString(out.VersionId)}, nil
}

// length returns how long a body is, and rewinds it.
func length(body io.Seeker) (int64, error) {
	size, err := body.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = body.Seek(0, io.SeekStart)
	}
	if err != nil {
		return 0, fmt.Errorf("measure the body: %w", err)
	}
	return size, nil
}

// Delete implements cloud.Bucket, 1,000 objects a request.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	var failed []error
	for batch := range slices.Chunk(keys, deleteBatch) {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(failed, b.failed("delete from", batch[0]+" on", err))...)
		}
		objects := make([]types.ObjectIdentifier, len(batch))
		for i := range batch {
			objects[i].Key = &batch[i]
		}
		out, err := b.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: &b.name, Delete: &types.Delete{Objects: objects, Quiet: aws.Bool(true)},
		})
		if err != nil {
			failed = append(failed, b.failed(fmt.Sprintf("delete %d objects, the first of which is", len(batch)), batch[0], err))
			continue
		}
		for _, e := range out.Errors {
			if aws.ToString(e.Code) != "NoSuchKey" {
				failed = append(failed, fmt.Errorf("delete %s: %w", b.address(aws.ToString(e.Key)),
					&smithy.GenericAPIError{Code: aws.ToString(e.Code), Message: aws.ToString(e.Message)}))
			}
		}
	}
	return errors.Join(failed...)
}

func (b *Bucket) address(key string) string { return "s3://" + b.name + "/" + key }

// failed says what was being done to which object, and what the answer means.
func (b *Bucket) failed(doing, key string, err error) error {
	status, code := answer(err)
	switch {
	case status == http.StatusNotModified:
		err = fmt.Errorf("%w: %w", cloud.ErrNotModified, err)
	case status == http.StatusNotFound && code != "NoSuchBucket": // a wrong setting, which only HEAD cannot tell apart
		err = fmt.Errorf("%w: %w", analyzer.ErrNotFound, err)
	case status == http.StatusPreconditionFailed, status == http.StatusConflict && code == "ConditionalRequestConflict":
		err = fmt.Errorf("%w: %w", analyzer.ErrConflict, err)
	case status == http.StatusForbidden && doing != "list":
		err = fmt.Errorf("%w (without s3:ListBucket on the bucket, S3 answers so when there is no such object, too)", err)
	case elsewhere(err) != "":
		err = fmt.Errorf("%w (the bucket is in the Region %s: run Keytrail there)", err, elsewhere(err))
	}
	return fmt.Errorf("%s %s: %w", doing, b.address(key), err)
}

// elsewhere returns the Region of a bucket that is not in ours.
func elsewhere(err error) string {
	var r *smithyhttp.ResponseError
	if !errors.As(err, &r) || r.Response == nil {
		return ""
	}
	_, code := answer(err)
	if r.HTTPStatusCode() != http.StatusMovedPermanently && code != "AuthorizationHeaderMalformed" {
		return ""
	}
	return r.Response.Header.Get("X-Amz-Bucket-Region")
}

// answer returns the status and the code of AWS's answer, zero if there was none.
func answer(err error) (status int, code string) {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		status = r.HTTPStatusCode()
	}
	var a smithy.APIError
	if errors.As(err, &a) {
		code = a.ErrorCode()
	}
	return status, code
}

// optional is nil for the empty string, which AWS takes for a value.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
