package simulate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"time"
)

// delivery is how often CloudTrail writes a file for an account and Region.
const delivery = 5 * time.Minute

// appendObjectKey writes the key of a log file as CloudTrail names them:
// AWSLogs/[o-…/]ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/ACCOUNT_CloudTrail_REGION_YYYYMMDDTHHmmZ_16chars.json.gz
func appendObjectKey(dst []byte, organisation, account, region string, delivered time.Time, chance uint64) []byte {
	dst = append(dst, "AWSLogs/"...)
	if organisation != "" {
		dst = append(dst, organisation...)
		dst = append(dst, '/')
	}
	dst = append(dst, account...)
	dst = append(dst, "/CloudTrail/"...)
	dst = append(dst, region...)
	dst = delivered.AppendFormat(dst, "/2006/01/02/")
	dst = append(dst, account...)
	dst = append(dst, "_CloudTrail_"...)
	dst = append(dst, region...)
	dst = delivered.AppendFormat(dst, "_20060102T1504Z_")
	for i := range 16 {
		if i%10 == 0 {
			chance = mix(chance, uint64(i))
		}
		dst = append(dst, base62Digits[chance%62])
		chance /= 62
	}
	return append(dst, ".json.gz"...)
}

// objectParts reads account, Region and delivery time from an object key that
// appendObjectKey wrote.
func objectParts(name string) (account, region string, delivered time.Time, err error) {
	base := strings.TrimSuffix(name[strings.LastIndexByte(name, '/')+1:], ".json.gz")
	parts := strings.Split(base, "_")
	if len(parts) != 5 || parts[1] != "CloudTrail" {
		return "", "", time.Time{}, fmt.Errorf("object key %q is not ACCOUNT_CloudTrail_REGION_TIME_ID.json.gz", name)
	}
	delivered, err = time.Parse("20060102T1504Z", parts[3])
	if err != nil {
		return "", "", time.Time{}, fmt.Errorf("delivery time in object key %q: %w", name, err)
	}
	return parts[0], parts[2], delivered, nil
}

// logFile is what a digest says about one log file.
type logFile struct {
	name   string
	hash   [sha256.Size]byte // of the inflated file
	oldest int64
	newest int64
}

// digestFile is the JSON of a digest object. The signature over it lives in
// the metadata of the S3 object, which a folder cannot hold, so the chain has
// hashes but nothing to check them by.
type digestFile struct {
	Account       string        `json:"awsAccountId"`
	Start         string        `json:"digestStartTime"`
	End           string        `json:"digestEndTime"`
	Bucket        string        `json:"digestS3Bucket"`
	Object        string        `json:"digestS3Object"`
	PublicKey     string        `json:"digestPublicKeyFingerprint"`
	Algorithm     string        `json:"digestSignatureAlgorithm"`
	Newest        *string       `json:"newestEventTime"`
	Oldest        *string       `json:"oldestEventTime"`
	PrevBucket    *string       `json:"previousDigestS3Bucket"`
	PrevObject    *string       `json:"previousDigestS3Object"`
	PrevHash      *string       `json:"previousDigestHashValue"`
	PrevAlgorithm *string       `json:"previousDigestHashAlgorithm"`
	PrevSignature *string       `json:"previousDigestSignature"`
	Files         []digestEntry `json:"logFiles"`
}

type digestEntry struct {
	Bucket    string `json:"s3Bucket"`
	Object    string `json:"s3Object"`
	Hash      string `json:"hashValue"`
	Algorithm string `json:"hashAlgorithm"`
	Newest    string `json:"newestEventTime"`
	Oldest    string `json:"oldestEventTime"`
}

const trailBucket = "example-trail-logs"

// digests makes the hourly digest files of one account and Region out of its
// log files.
func digests(o *Options, account, region string, files []logFile) ([]digestObject, error) {
	byHour := map[int64][]logFile{}
	for _, f := range files {
		_, _, delivered, err := objectParts(f.name)
		if err != nil {
			return nil, err
		}
		hour := delivered.Truncate(time.Hour).Unix()
		byHour[hour] = append(byHour[hour], f)
	}
	var list []digestObject
	var prevObject, prevHash *string
	hash, bucket := "SHA-256", trailBucket
	// What happens in the last minutes is delivered in the hour that begins at the end.
	for at := o.Start.Truncate(time.Hour); !at.After(o.Start.Add(o.Duration)); at = at.Add(time.Hour) {
		end := at.Add(time.Hour)
		d := digestFile{
			Account: account, Start: at.Format(time.RFC3339), End: end.Format(time.RFC3339), Bucket: trailBucket,
			Object: "AWSLogs/" + organisationPath(o.Organisation) + account + "/CloudTrail-Digest/" + region + end.Format("/2006/01/02/") +
				account + "_CloudTrail-Digest_" + region + "_organisation_" + region + end.Format("_20060102T150405Z") + ".json.gz",
			PublicKey: hexText(mix(o.Seed, text(region)), 32), Algorithm: "SHA256withRSA", Files: []digestEntry{},
		}
		if prevObject != nil {
			d.PrevBucket, d.PrevObject, d.PrevHash, d.PrevAlgorithm = &bucket, prevObject, prevHash, &hash
		}
		in := byHour[at.Unix()]
		sort.Slice(in, func(i, j int) bool { return in[i].name < in[j].name })
		var oldest, newest int64
		for _, f := range in {
			if oldest == 0 || f.oldest < oldest {
				oldest = f.oldest
			}
			newest = max(newest, f.newest)
			d.Files = append(d.Files, digestEntry{
				Bucket: trailBucket, Object: f.name, Hash: hex.EncodeToString(f.hash[:]), Algorithm: hash,
				Newest: string(appendTime(nil, f.newest)), Oldest: string(appendTime(nil, f.oldest)),
			})
		}
		if len(in) > 0 {
			first, last := string(appendTime(nil, oldest)), string(appendTime(nil, newest))
			d.Oldest, d.Newest = &first, &last
		}
		body, err := json.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("digest of %s %s at %s: %w", account, region, d.End, err)
		}
		sum := sha256.Sum256(body)
		sumText, object := hex.EncodeToString(sum[:]), d.Object
		prevObject, prevHash = &object, &sumText
		list = append(list, digestObject{d.Object, body})
	}
	return list, nil
}

type digestObject struct {
	name string
	body []byte
}

func organisationPath(organisation string) string {
	if organisation == "" {
		return ""
	}
	return organisation + "/"
}
