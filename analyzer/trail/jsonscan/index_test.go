package jsonscan

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// simpleIndex is Index as one would write it without hurry.
func simpleIndex(text []byte, state *State) []Block {
	blocks := make([]Block, len(text)/BlockSize)
	inString, escaped := state.inString != 0, state.escaped != 0
	for i := range len(blocks) * BlockSize {
		b, bit, c := &blocks[i/BlockSize], uint64(1)<<(i%BlockSize), text[i]
		wasEscaped := escaped
		escaped = false
		if c == '\\' {
			b.Escape |= bit
			escaped = !wasEscaped
		}
		if c == '"' && !wasEscaped {
			inString = !inString
			if text[i+1] == 'e' && (text[i+6] == 'S' || text[i+6] == 'N') {
				b.Candidate |= bit
			}
		}
		if inString {
			b.String |= bit
		}
		if !inString && (c == '{' || c == '[') {
			b.Open |= bit
		}
		if !inString && (c == '}' || c == ']') {
			b.Close |= bit
		}
		if c >= 0x80 || c < 0x20 && inString {
			b.Special |= bit
		}
	}
	*state = State{}
	if inString {
		state.inString = ^uint64(0)
	}
	if escaped {
		state.escaped = 1
	}
	return blocks
}

func TestIndexesAgree(t *testing.T) {
	byteOf := rapid.OneOf(rapid.SampledFrom([]byte("\"\"\"\\\\\\{}[]eSN, \n\x00\x1f\x20\x7f\x80\xff")), rapid.Byte())
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(byteOf, 0, 400).Draw(t, "text")
		if at := bytes.IndexByte(text, '"'); at >= 0 && rapid.Bool().Draw(t, "key") {
			copy(text[at:], `"eventSource"`)
		}
		blocks := len(text) / BlockSize
		padded := append(bytes.Clone(text[:blocks*BlockSize]), bytes.Repeat([]byte(" "), Lookahead)...)
		var simple, portable, fast State
		if rapid.Bool().Draw(t, "in string") {
			simple.inString = ^uint64(0)
		}
		if rapid.Bool().Draw(t, "escaped") {
			simple.escaped = 1
		}
		portable, fast = simple, simple
		want := simpleIndex(padded, &simple)
		got := make([]Block, blocks)
		indexPortable(got, padded, &portable)
		require.Equal(t, want, got)
		require.Equal(t, simple, portable)
		if blocks > 0 {
			clear(got)
			index(got, padded, &fast)
			require.Equal(t, want, got)
			require.Equal(t, simple, fast)
		}
	})
}

// record is of the size and shape of a Decrypt call.
func record() []byte {
	return []byte(`{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLEROLEID0001:i-0a1b2c3d4e5f60718","arn":"arn:aws:sts::111122223333:assumed-role/orders-service/i-0a1b2c3d4e5f60718","accountId":"111122223333","accessKeyId":"ASIAEXAMPLEKEYID0001","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLEROLEID0001","arn":"arn:aws:iam::111122223333:role/orders-service","accountId":"111122223333","userName":"orders-service"},"attributes":{"creationDate":"2026-03-02T08:51:10Z","mfaAuthenticated":"false"}}},"eventTime":"2026-03-02T09:00:01Z","eventSource":"kms.amazonaws.com","eventName":"Decrypt","awsRegion":"eu-west-1","sourceIPAddress":"198.51.100.7","userAgent":"aws-sdk-java/2.20.43 Linux/5.10 OpenJDK_64-Bit_Server_VM/17.0.6 Java/17.0.6","requestParameters":{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::orders-archive"},"keyId":"arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab","encryptionAlgorithm":"SYMMETRIC_DEFAULT"},"responseElements":null,"additionalEventData":{"keyMaterialId":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},"requestID":"b1a2c3d4-0000-4000-8000-0123456789ab","eventID":"c1a2c3d4-0000-4000-8000-0123456789ab","readOnly":true,"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}],"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management","tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"kms.eu-west-1.amazonaws.com"}}`)
}

func BenchmarkIndex(b *testing.B) {
	text := bytes.Repeat(record(), 40)
	blocks := make([]Block, (len(text)-Lookahead)/BlockSize)
	for name, f := range map[string]func([]Block, []byte, *State){"fast": index, "portable": indexPortable} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				var state State
				f(blocks, text, &state)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	text := record()
	// Records of different lengths, so that the processor cannot learn one by heart.
	random := rand.New(rand.NewPCG(1, 2))
	var list [][]byte
	size := 0
	for range 200 {
		s := strings.Replace(string(text), "orders-archive", strings.Repeat("o", random.IntN(40)), 1)
		s = strings.Replace(s, "Decrypt", "GenerateDataKey"[:random.IntN(12)+3], 1)
		s = strings.ReplaceAll(s, "orders-service", strings.Repeat("s", random.IntN(40)))
		s = strings.Replace(s, "aws-sdk-java", strings.Repeat("a", random.IntN(90)), 1)
		list = append(list, []byte(s))
		size += len(s)
	}
	var doc Doc
	b.SetBytes(int64(size))
	for b.Loop() {
		for _, text := range list {
			if err := doc.Parse(text); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkEncodingJSONValid(b *testing.B) {
	text := record()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		json.Valid(text)
	}
}
