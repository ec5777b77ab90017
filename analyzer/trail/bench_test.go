package trail_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail"
)

// kmsRecord is of the size and shape of a Decrypt call; every one is different.
func kmsRecord(r *rand.Rand) string {
	role := fmt.Sprintf("%s-service", strings.Repeat("orders"[:r.IntN(6)+1], r.IntN(4)+1))
	key := fmt.Sprintf("%08x-12ab-34cd-56ef-1234567890ab", r.IntN(40))
	return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLEROLEID0001:i-%017x","arn":"arn:aws:sts::111122223333:assumed-role/%s/i-0a1b2c3d4e5f60718","accountId":"111122223333","accessKeyId":"ASIAEXAMPLE%09d","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLEROLEID0001","arn":"arn:aws:iam::111122223333:role/%s","accountId":"111122223333","userName":"%s"},"attributes":{"creationDate":"2026-03-02T08:51:10Z","mfaAuthenticated":"false"}}},"eventTime":"2026-03-02T09:%02d:%02dZ","eventSource":"kms.amazonaws.com","eventName":"Decrypt","awsRegion":"eu-west-1","sourceIPAddress":"198.51.100.%d","userAgent":"aws-sdk-java/2.20.%d Linux/5.10 OpenJDK_64-Bit_Server_VM/17.0.6 Java/17.0.6","requestParameters":{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::orders-archive-%d"},"keyId":"arn:aws:kms:eu-west-1:111122223333:key/%s","encryptionAlgorithm":"SYMMETRIC_DEFAULT"},"responseElements":null,"additionalEventData":{"keyMaterialId":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},"requestID":"%s","eventID":"%s","readOnly":true,"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:eu-west-1:111122223333:key/%s"}],"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management","tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"kms.eu-west-1.amazonaws.com"}}`,
		r.Uint64(), role, r.IntN(1e9), role, role, r.IntN(60), r.IntN(60), r.IntN(250), r.IntN(90), r.IntN(100), key, uuid(r), uuid(r), key)
}

// otherRecord is a call that no detection reads.
func otherRecord(r *rand.Rand) string {
	s := strings.Replace(kmsRecord(r), "kms.amazonaws.com", []string{"s3", "ec2", "sts", "dynamodb", "lambda"}[r.IntN(5)]+".amazonaws.com", 1)
	return strings.Replace(s, "Decrypt", []string{"GetObject", "DescribeInstances", "AssumeRole", "GetItem", "Invoke"}[r.IntN(5)], 1)
}

func uuid(r *rand.Rand) string {
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>52, b&(1<<48-1))
}

// logFile is {"Records":[…]} of n records, of which about kms in 100 are KMS's.
func logFile(r *rand.Rand, n, kms int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"Records":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		if r.IntN(100) < kms {
			b.WriteString(kmsRecord(r))
		} else {
			b.WriteString(otherRecord(r))
		}
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func zip(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, 6)
	require.NoError(t, err)
	_, err = w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

var onlyKMS = trail.NewFilter([]analyzer.EventName{{Source: "kms.amazonaws.com", Name: "*"}})

func benchmarkRead(b *testing.B, data []byte, size int) {
	reader := trail.Reader{Filter: onlyKMS}
	h := trail.Handler{Record: func(*trail.Record) error { return nil }}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		counts, err := reader.Read(context.Background(), "log.json", bytes.NewReader(data), h)
		if err != nil || counts.Records.Rejected > 0 {
			b.Fatal(counts, err)
		}
	}
}

// BenchmarkSkip reads records that nobody wants, without inflating.
func BenchmarkSkip(b *testing.B) {
	data := logFile(rand.New(rand.NewPCG(1, 1)), 5000, 0)
	benchmarkRead(b, data, len(data))
}

// BenchmarkKeep reads records that are wanted, without inflating.
func BenchmarkKeep(b *testing.B) {
	data := logFile(rand.New(rand.NewPCG(1, 2)), 5000, 100)
	benchmarkRead(b, data, len(data))
}

// BenchmarkMixed reads a log with 5 % KMS, without inflating.
func BenchmarkMixed(b *testing.B) {
	data := logFile(rand.New(rand.NewPCG(1, 3)), 5000, 5)
	benchmarkRead(b, data, len(data))
}

func BenchmarkMixedJSONLines(b *testing.B) {
	data := logFile(rand.New(rand.NewPCG(1, 3)), 5000, 5)
	data = bytes.ReplaceAll(data[len(`{"Records":[`):len(data)-2], []byte(`},{"eventVersion"`), []byte("}\n{\"eventVersion\""))
	benchmarkRead(b, data, len(data))
}

// BenchmarkMixedGzip is BenchmarkMixed with inflating.
func BenchmarkMixedGzip(b *testing.B) {
	data := logFile(rand.New(rand.NewPCG(1, 3)), 5000, 5)
	benchmarkRead(b, zip(b, data), len(data))
}

// BenchmarkInflate is the inflating alone, which bounds BenchmarkMixedGzip.
func BenchmarkInflate(b *testing.B) {
	data := logFile(rand.New(rand.NewPCG(1, 3)), 5000, 5)
	zipped := zip(b, data)
	var r gzip.Reader
	buf := make([]byte, 128<<10)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := r.Reset(bytes.NewReader(zipped)); err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := r.Read(buf); err != nil {
				break
			}
		}
	}
}

// BenchmarkSmallFiles reads 4,000 files of 11 KB (44 MB inflated).
func BenchmarkSmallFiles(b *testing.B) {
	dir := b.TempDir()
	random := rand.New(rand.NewPCG(1, 4))
	size := 0
	for i := range 4000 {
		data := logFile(random, 8, 20)
		size += len(data)
		require.NoError(b, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.json.gz", i)), zip(b, data), 0o600))
	}
	reader := trail.Reader{Filter: onlyKMS}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		listing, err := trail.Expand([]string{dir})
		require.NoError(b, err)
		_, err = reader.ReadAll(context.Background(), listing.Inputs, trail.All{})
		require.NoError(b, err)
	}
}

// BenchmarkHugeFile reads one file, inflating on one processor while the other scans.
func BenchmarkHugeFile(b *testing.B) {
	data := bytes.Repeat(logFile(rand.New(rand.NewPCG(1, 5)), 20000, 50), 1)
	path := filepath.Join(b.TempDir(), "huge.json.gz")
	require.NoError(b, os.WriteFile(path, zip(b, data), 0o600))
	listing, err := trail.Expand([]string{path})
	require.NoError(b, err)
	reader := trail.Reader{Filter: onlyKMS}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		counts, err := reader.ReadAll(context.Background(), listing.Inputs, trail.All{})
		if err != nil || counts.Records.Rejected > 0 {
			b.Fatal(counts, err)
		}
	}
}
