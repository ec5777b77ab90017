package ingest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"

	"github.com/aws/aws-lambda-go/events"

	"github.com/keytrail/keytrail/analyzer/trail"
)

// shardOf returns which part of the lake has the events of an account's Region.
// Never change it: what memory knows of a key is in the part that has its events.
func shardOf(account, region string, shards int) int {
	if shards <= 1 || account == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(account + "/" + region))
	return int(binary.BigEndian.Uint32(sum[:]) % uint32(shards)) //nolint:gosec // a few shards
}

// lake returns the part of the lake for an object. One that is not named as
// CloudTrail names logs goes to the first.
func (h *Handler) lake(o object) Lake {
	hint, _ := trail.ParseObjectKey(o.Key)
	return h.Lakes[shardOf(hint.Account, hint.Region, len(h.Lakes))]
}

// caller is a call with the message that brought it.
type caller struct {
	call json.RawMessage
	from *events.SQSMessage
}

// part is the calls of an invocation that go to one part of the lake.
type part struct {
	lake  Lake
	calls []json.RawMessage
	from  []*events.SQSMessage // each once
}

// parts sorts calls by where they go.
func (h *Handler) parts(calls []caller) (parts []*part) {
	byShard := map[int]*part{}
	for _, c := range calls {
		var where struct {
			Account string `json:"account"`
			Region  string `json:"region"`
			Detail  struct {
				Recipient string `json:"recipientAccountId"`
				Region    string `json:"awsRegion"`
			} `json:"detail"`
		}
		_ = json.Unmarshal(c.call, &where) // it is an envelope, or was not kept
		account, region := where.Detail.Recipient, where.Detail.Region
		if account == "" {
			account, region = where.Account, where.Region
		}
		n := shardOf(account, region, len(h.Lakes))
		p := byShard[n]
		if p == nil {
			p = &part{lake: h.Lakes[n]}
			byShard[n], parts = p, append(parts, p)
		}
		p.calls = append(p.calls, c.call)
		if !slices.Contains(p.from, c.from) {
			p.from = append(p.from, c.from)
		}
	}
	return parts
}
