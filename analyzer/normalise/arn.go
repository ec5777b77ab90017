package normalise

import "strings"

// arnParts is an ARN cut at its first five colons.
type arnParts struct {
	partition, service, region, account, resource string
}

// splitARN cuts an ARN; ok is false when s is none.
func splitARN(s string) (a arnParts, ok bool) {
	rest, ok := strings.CutPrefix(s, "arn:")
	if !ok {
		if len(s) < 4 || !strings.EqualFold(s[:4], "arn:") {
			return arnParts{}, false
		}
		rest = s[4:]
	}
	for _, part := range []*string{&a.partition, &a.service, &a.region, &a.account} {
		if *part, rest, ok = strings.Cut(rest, ":"); !ok {
			return arnParts{}, false
		}
	}
	a.resource = rest
	return a, a.partition != ""
}

// lastPart returns what follows the last slash, or else the last colon.
func lastPart(s string) string {
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		return s[i+1:]
	}
	return s[strings.LastIndexByte(s, ':')+1:]
}

// partitionOf returns the partition that a Region belongs to.
func partitionOf(region string) string {
	for _, p := range []struct{ prefix, partition string }{
		{"cn-", "aws-cn"},
		{"us-gov-", "aws-us-gov"},
		{"us-isof-", "aws-iso-f"},
		{"us-isob-", "aws-iso-b"},
		{"us-iso-", "aws-iso"},
		{"eu-isoe-", "aws-iso-e"},
		{"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}

// isAccount tells whether s could be an account id. Real logs have ids of the
// wrong width, anonymised or with the leading zeros lost.
func isAccount(s string) bool {
	if len(s) < 8 || len(s) > 14 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// isServiceName tells whether s is how CloudTrail names an AWS service.
func isServiceName(s string) bool {
	return s == awsInternal ||
		strings.HasSuffix(s, ".amazonaws.com") ||
		strings.HasSuffix(s, ".amazonaws.com.cn") ||
		strings.HasSuffix(s, ".aws.internal")
}
