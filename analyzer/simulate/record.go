package simulate

// identityKind is the shape of a record's userIdentity.
type identityKind uint8

const (
	assumedRole identityKind = iota
	iamUser
	awsService // a service in its own name
	awsAccount // somebody of another account, as the key owner's trail shows it
	internal   // service events: only the account and "AWS Internal"
)

// sessionKind is how the name of a role session looks.
type sessionKind uint8

const (
	namedSession    sessionKind = iota // as written in identity.session
	taskSession                        // 32 hex digits: a container
	instanceSession                    // i-0123456789abcdef0
)

// identity is who a record says made the call.
type identity struct {
	kind      identityKind
	role      *role  // assumedRole; for iamUser the user
	session   string // namedSession: session name; awsAccount: the session too
	sessions  sessionKind
	instance  uint64 // seeds task and instance sessions
	login     uint64 // seeds the access key: one for each login
	since     int64  // when the session began, unix seconds
	mfa       bool
	invokedBy string // the service between; for awsService the service itself
	function  string // ARN of the Lambda function whose credentials these are
	ec2       bool   // credentials from the instance metadata service
	account   string // awsAccount, internal
	source    string // sourceIdentity, when the session carries one
}

// caller is an identity with the way it takes to KMS.
type caller struct {
	who     identity
	ip      string
	private uint32 // when not 0: the call came over the VPC endpoint from 10.x
	agent   string
	vpce    string
	tls     bool // direct calls carry tlsDetails
	console bool
}

// call is one record before it is written. Byte fields are JSON, nil means
// null (params, response) or absent (the rest).
type call struct {
	at        int64 // unix seconds
	recipient string
	region    string
	source    string
	name      string
	by        *caller
	code      string
	message   string
	params    []byte
	response  []byte
	extra     []byte // additionalEventData
	details   []byte // serviceEventDetails
	resources []byte // JSON array
	key, dest *key   // resources, when resources is nil
	write     bool   // readOnly: false
	service   bool   // AwsServiceEvent
	api       string // apiVersion, which a few services write
	sharedA   uint64
	sharedB   uint64 // sharedEventID, when not both 0
	requestA  uint64
	requestB  uint64 // requestID, random when both 0
}

func (i *identity) append(dst []byte) []byte {
	switch i.kind {
	case awsService:
		dst = append(dst, `{"type":"AWSService","invokedBy":"`...)
		dst = append(dst, i.invokedBy...)
		return append(dst, `"}`...)
	case internal:
		dst = append(dst, `{"accountId":"`...)
		dst = append(dst, i.account...)
		return append(dst, `","invokedBy":"AWS Internal"}`...)
	case awsAccount:
		dst = append(dst, `{"type":"AWSAccount","principalId":"`...)
		dst = append(dst, i.role.id...)
		dst = append(dst, ':')
		dst = i.appendSession(dst)
		dst = append(dst, `","accountId":"`...)
		dst = append(dst, i.account...)
		return append(dst, `"}`...)
	case iamUser:
		dst = append(dst, `{"type":"IAMUser","principalId":"`...)
		dst = append(dst, i.role.id...)
		dst = append(dst, `","arn":"`...)
		dst = append(dst, i.role.arn...)
		dst = append(dst, `","accountId":"`...)
		dst = append(dst, i.role.account...)
		dst = append(dst, `","accessKeyId":"AKIA`...)
		dst = appendBase32(dst, i.login, 16)
		dst = append(dst, `","userName":"`...)
		dst = append(dst, i.role.name...)
		dst = append(dst, '"')
	default:
		dst = append(dst, `{"type":"AssumedRole","principalId":"`...)
		dst = append(dst, i.role.id...)
		dst = append(dst, ':')
		dst = i.appendSession(dst)
		dst = append(dst, `","arn":"`...)
		dst = append(dst, i.role.sts...)
		dst = i.appendSession(dst)
		dst = append(dst, `","accountId":"`...)
		dst = append(dst, i.role.account...)
		dst = append(dst, `","accessKeyId":"ASIA`...)
		dst = appendBase32(dst, i.login, 16)
		dst = append(dst, `","sessionContext":{`...)
		dst = append(dst, i.role.issuer...)
		dst = append(dst, `"attributes":{"creationDate":"`...)
		dst = appendTime(dst, i.since)
		if i.mfa {
			dst = append(dst, `","mfaAuthenticated":"true"}`...)
		} else {
			dst = append(dst, `","mfaAuthenticated":"false"}`...)
		}
		if i.source != "" {
			dst = append(dst, `,"sourceIdentity":"`...)
			dst = append(dst, i.source...)
			dst = append(dst, '"')
		}
		if i.ec2 {
			dst = append(dst, `,"ec2RoleDelivery":"2.0"`...)
		}
		dst = append(dst, '}')
	}
	if i.invokedBy != "" {
		dst = append(dst, `,"invokedBy":"`...)
		dst = append(dst, i.invokedBy...)
		dst = append(dst, '"')
	}
	if i.function != "" {
		dst = append(dst, `,"inScopeOf":{"issuerType":"AWS::Lambda::Function","credentialsIssuedTo":"`...)
		dst = append(dst, i.function...)
		dst = append(dst, `"}`...)
	}
	return append(dst, '}')
}

func (i *identity) appendSession(dst []byte) []byte {
	switch i.sessions {
	case taskSession:
		dst = appendHex(dst, i.instance, 16)
		return appendHex(dst, mix(i.instance), 16)
	case instanceSession:
		dst = append(dst, `i-0`...)
		return appendHex(dst, i.instance, 16)
	default:
		return append(dst, i.session...)
	}
}

// privateAddress picks 10.x out of a number; never 0, which means none.
func privateAddress(v uint64) uint32 { return uint32(v&0x3f3fff) | 1 }

// appendIP writes the address that the record shows.
func (c *caller) appendIP(dst []byte) []byte {
	if c.private == 0 {
		return append(dst, c.ip...)
	}
	dst = append(dst, `10.`...)
	dst = append(dst, itoa(int(c.private>>16&63))...)
	dst = append(dst, '.')
	dst = append(dst, itoa(int(c.private>>8&63))...)
	dst = append(dst, '.')
	return append(dst, itoa(int(c.private&255))...)
}

// append writes the record with its fields in CloudTrail's order.
func (c *call) append(dst []byte, r *random) []byte {
	dst = append(dst, `{"eventVersion":"1.11","userIdentity":`...)
	dst = c.by.who.append(dst)
	dst = append(dst, `,"eventTime":"`...)
	dst = appendTime(dst, c.at)
	dst = append(dst, `","eventSource":"`...)
	dst = append(dst, c.source...)
	dst = append(dst, `","eventName":"`...)
	dst = append(dst, c.name...)
	dst = append(dst, `","awsRegion":"`...)
	dst = append(dst, c.region...)
	dst = append(dst, `","sourceIPAddress":"`...)
	dst = c.by.appendIP(dst)
	dst = append(dst, `","userAgent":"`...)
	dst = append(dst, c.by.agent...)
	dst = append(dst, '"')
	if c.code != "" {
		dst = append(dst, `,"errorCode":"`...)
		dst = append(dst, c.code...)
		dst = append(dst, `","errorMessage":`...)
		dst = appendString(dst, c.message)
	}
	dst = append(dst, `,"requestParameters":`...)
	dst = appendOrNull(dst, c.params)
	dst = append(dst, `,"responseElements":`...)
	dst = appendOrNull(dst, c.response)
	if c.extra != nil {
		dst = append(dst, `,"additionalEventData":`...)
		dst = append(dst, c.extra...)
	}
	if !c.service {
		dst = append(dst, `,"requestID":"`...)
		if c.requestA == 0 && c.requestB == 0 {
			c.requestA, c.requestB = r.Uint64(), r.Uint64()
		}
		dst = appendUUID(dst, c.requestA, c.requestB)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"eventID":"`...)
	dst = appendUUID(dst, r.Uint64(), r.Uint64())
	if c.write {
		dst = append(dst, `","readOnly":false`...)
	} else {
		dst = append(dst, `","readOnly":true`...)
	}
	switch {
	case c.resources != nil:
		dst = append(dst, `,"resources":`...)
		dst = append(dst, c.resources...)
	case c.key != nil:
		dst = append(dst, `,"resources":[`...)
		dst = append(dst, c.key.resource...)
		if c.dest != nil {
			dst = append(dst, ',')
			dst = append(dst, c.dest.resource...)
		}
		dst = append(dst, ']')
	}
	if c.service {
		dst = append(dst, `,"eventType":"AwsServiceEvent"`...)
	} else {
		dst = append(dst, `,"eventType":"AwsApiCall"`...)
	}
	if c.api != "" {
		dst = append(dst, `,"apiVersion":"`...)
		dst = append(dst, c.api...)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"managementEvent":true,"recipientAccountId":"`...)
	dst = append(dst, c.recipient...)
	dst = append(dst, '"')
	if c.details != nil {
		dst = append(dst, `,"serviceEventDetails":`...)
		dst = append(dst, c.details...)
	}
	if c.sharedA != 0 || c.sharedB != 0 {
		dst = append(dst, `,"sharedEventID":"`...)
		dst = appendUUID(dst, c.sharedA, c.sharedB)
		dst = append(dst, '"')
	}
	if c.by.vpce != "" {
		dst = append(dst, `,"vpcEndpointId":"`...)
		dst = append(dst, c.by.vpce...)
		dst = append(dst, `","vpcEndpointAccountId":"`...)
		dst = append(dst, c.by.who.role.account...)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"eventCategory":"Management"`...)
	if c.by.tls {
		dst = append(dst, `,"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"`...)
		dst = append(dst, c.source[:len(c.source)-len("amazonaws.com")]...)
		dst = append(dst, c.region...)
		dst = append(dst, `.amazonaws.com","keyExchange":"X25519MLKEM768"}`...)
	}
	if c.by.console {
		dst = append(dst, `,"sessionCredentialFromConsole":"true"`...)
	}
	return append(dst, '}')
}

func appendOrNull(dst, value []byte) []byte {
	if value == nil {
		return append(dst, `null`...)
	}
	return append(dst, value...)
}
