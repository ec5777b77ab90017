package normalise

import (
	"net/netip"
	"strings"
)

// Client families that decide more than their own column.
const (
	clientInternal   = "aws-internal" // "AWS Internal": console or service, the lane tells
	clientService    = "aws-service"
	clientConsole    = "console"
	clientCLI        = "aws-cli"
	clientCloudShell = "cloudshell"
	clientPowerShell = "aws-powershell"
	clientEncryption = "encryption-sdk"
)

// clientMarks name the family of a user agent by a part of it in lower case;
// the first that fits counts. What an attacker brings stands first, then what
// wraps an SDK, then the SDKs.
var clientMarks = []struct{ mark, family string }{
	{"pacu", "pacu"},
	{"stratus-red-team", "stratus-red-team"},
	{"cloudfox", "cloudfox"},
	{"scoutsuite", "scoutsuite"},
	{"trufflehog", "trufflehog"},
	{"prowler", "prowler"},
	{"steampipe", "steampipe"},
	{"parrot", "parrot"},
	{"kali", "kali"},

	{"exec-env/cloudshell", clientCloudShell},
	{"opentofu", "opentofu"},
	{"terraform", "terraform"},
	{"pulumi", "pulumi"},
	{"aws-cdk", "aws-cdk"},
	{"aws-sam-cli", "aws-sam-cli"},
	{"ansible", "ansible"},
	{"awsencryptionsdk", clientEncryption},
	{"aws-encryption-sdk", clientEncryption},
	{"dynamodb-encryption", clientEncryption},
	{"amazons3encryptionclient", "s3-encryption-client"},
	{"s3encryption", "s3-encryption-client"},

	{"s3console", clientConsole},
	{"console.amazonaws.com", clientConsole},
	{"console.aws.amazon.com", clientConsole},
	{"signin.amazonaws.com", clientConsole},
	{"aws-internal/", clientInternal},
	{"aws internal", clientInternal},

	{"aws-cli/", clientCLI},
	{"awspowershell", clientPowerShell},
	{"aws-tools-for-powershell", clientPowerShell},
	{"boto3/", "boto3"},
	{"boto/", "boto3"},
	{"botocore/", "boto3"},
	{"aws-sdk-java/", "aws-sdk-java"},
	{"aws-sdk-java", "aws-sdk-java"},
	{"aws-sdk-kotlin", "aws-sdk-kotlin"},
	{"aws-sdk-go-v2", "aws-sdk-go"},
	{"aws-sdk-go", "aws-sdk-go"},
	{"aws-sdk-js", "aws-sdk-js"},
	{"aws-sdk-nodejs", "aws-sdk-js"},
	{"aws-sdk-ruby", "aws-sdk-ruby"},
	{"aws-sdk-php", "aws-sdk-php"},
	{"aws-sdk-net", "aws-sdk-dotnet"},
	{"aws-sdk-dotnet", "aws-sdk-dotnet"},
	{"aws-sdk-rust", "aws-sdk-rust"},
	{"aws-sdk-cpp", "aws-sdk-cpp"},
	{"aws-sdk-swift", "aws-sdk-swift"},
	{"aws-sdk-ios", "aws-sdk-mobile"},
	{"aws-sdk-android", "aws-sdk-mobile"},
	{"aws-sdk-mobile", "aws-sdk-mobile"},
	{"aws-sdk", "aws-sdk"},
	{"curl/", "curl"},
	{"python-requests", "python-requests"},
	{"mozilla/", "browser"},
}

// agent is what a user agent says about the caller.
type agent struct {
	family string
	// compute: the SDK says that it runs in a function, a container or on an
	// instance.
	compute bool
}

// parseAgent reads a user agent, which is text that the caller chose.
func parseAgent(userAgent string) agent {
	if userAgent == "" {
		return agent{}
	}
	lower := strings.ToLower(userAgent)
	a := agent{family: "other"}
	for _, m := range clientMarks {
		if strings.Contains(lower, m.mark) {
			a.family = m.family
			break
		}
	}
	if a.family == "other" && isServiceName(userAgent) {
		a.family = clientService
	}
	a.compute = strings.Contains(lower, "exec-env/aws_lambda") ||
		strings.Contains(lower, "exec-env/aws_ecs") ||
		strings.Contains(lower, "exec-env/ec2")
	return a
}

// Values of Event.Network.
const (
	networkAWS     = "aws"
	networkPrivate = "private"
	networkPublic  = "public"
	networkUnknown = "unknown"
)

// carrierGrade is the shared address space of RFC 6598.
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

// networkOf classes a sourceIPAddress: an address, or the name of a service.
func networkOf(source string) string {
	if isServiceName(source) {
		return networkAWS
	}
	ip, err := netip.ParseAddr(source)
	switch {
	case err != nil:
		return networkUnknown
	case ip.IsPrivate(), ip.IsLoopback(), ip.IsLinkLocalUnicast(), carrierGrade.Contains(ip.Unmap()):
		return networkPrivate
	}
	return networkPublic
}
