package simulate

// other is the management traffic that is not of KMS, of which most trails
// consist. Records are about as long as KMS's.
var otherMix = []emitter{
	{(*traffic).describeInstances, 22, 24, 24},
	{(*traffic).assumeRole, 16, 16, 16},
	{(*traffic).bucketSettings, 14, 14, 14},
	{(*traffic).identityLook, 10, 10, 10},
	{(*traffic).logStream, 9, 10, 10},
	{(*traffic).functionLook, 8, 8, 8},
	{(*traffic).secretRead, 6, 6, 6},
	{(*traffic).tableLook, 6, 6, 6},
	{(*traffic).networkInterface, 4, 4, 4},
	{(*traffic).metricAlarm, 5, 5, 5},
}

// tool is a role with an SDK that looks after others: the scanner, autoscaling,
// the deploy role.
func (g *traffic) tool(p *place, at int64) *caller {
	a := p.account
	since := login(at, p.number)
	g.by = caller{tls: true}
	g.by.who = identity{kind: assumedRole, login: mix(p.number, 31, bits(since)), since: since}
	switch g.r.IntN(6) {
	case 0:
		g.by.who.role, g.by.who.session = a.scanner, "posture-scan"
		g.by.agent, g.by.ip = agentScanner, natAddress(200)
	case 1:
		g.by.who.role, g.by.who.session = a.deploy, "plan-and-apply"
		g.by.agent, g.by.ip = agentTerraform, natAddress(120)
	case 2:
		g.by.who.role, g.by.who.session = a.scaling, "AutoScaling"
		g.by.forward("autoscaling.amazonaws.com")
	default:
		app := g.r.skewed(len(a.apps))
		return g.roleCaller(p, at, app)
	}
	return &g.by
}

func (g *traffic) describeInstances(p *place, at int64) {
	by := g.tool(p, at)
	g.digits = appendHex(g.digits[:0], g.r.Uint64(), 16)
	id := string(g.digits)
	switch g.r.IntN(4) {
	case 0:
		g.s.plain(at, p, by, "ec2.amazonaws.com", "DescribeInstances", false,
			`{"instancesSet":{"items":[{"instanceId":"i-0`+id+`"}]},"filterSet":{"items":[{"name":"instance-state-name","valueSet":{"items":[{"value":"running"},{"value":"pending"}]}}]}}`, "")
	case 1:
		g.s.plain(at, p, by, "ec2.amazonaws.com", "DescribeNetworkInterfaces", false,
			`{"networkInterfaceIdSet":{},"filterSet":{"items":[{"name":"attachment.instance-id","valueSet":{"items":[{"value":"i-0`+id+`"}]}},{"name":"status","valueSet":{"items":[{"value":"in-use"}]}}]}}`, "")
	case 2:
		g.s.plain(at, p, by, "ec2.amazonaws.com", "DescribeVolumes", false,
			`{"maxResults":500,"volumeSet":{},"filterSet":{"items":[{"name":"tag:service","valueSet":{"items":[{"value":"`+appNames[g.r.IntN(len(appNames))]+`"}]}},{"name":"encrypted","valueSet":{"items":[{"value":"true"}]}}]}}`, "")
	default:
		g.s.plain(at, p, by, "ec2.amazonaws.com", "DescribeSecurityGroups", false,
			`{"securityGroupSet":{},"securityGroupIdSet":{"items":[{"groupId":"sg-0`+id+`"}]},"filterSet":{},"maxResults":1000}`, "")
	}
}

func (g *traffic) assumeRole(p *place, at int64) {
	a := p.account
	app := g.r.skewed(len(a.apps))
	r := a.apps[app]
	service := [...]string{"ecs-tasks.amazonaws.com", "lambda.amazonaws.com", "ec2.amazonaws.com"}[app%3]
	session := a.functions[app]
	by := g.service(service)
	g.digits = appendBase32(g.digits[:0], g.r.Uint64(), 16)
	accessKey := string(g.digits)
	g.digits = appendTime(g.digits[:0], at+3600)
	expires := string(g.digits)
	g.s.plain(at, p, by, "sts.amazonaws.com", "AssumeRole", false,
		`{"roleArn":"`+r.arn+`","roleSessionName":"`+session+`","durationSeconds":3600}`,
		`{"credentials":{"accessKeyId":"ASIA`+accessKey+`","expiration":"`+expires+`"},"assumedRoleUser":{"assumedRoleId":"`+r.id+`:`+session+`","arn":"`+r.sts+session+`"}}`)
}

func (g *traffic) bucketSettings(p *place, at int64) {
	by := g.tool(p, at)
	bucket := p.buckets[g.r.IntN(len(p.buckets))]
	calls := [...][2]string{
		{"GetBucketAcl", "acl"},
		{"GetBucketPolicy", "policy"},
		{"GetBucketEncryption", "encryption"},
		{"GetBucketLocation", "location"},
		{"GetBucketVersioning", "versioning"},
		{"GetBucketTagging", "tagging"},
	}
	what := calls[g.r.IntN(len(calls))]
	g.s.begin(at, p, by, "s3.amazonaws.com", what[0])
	g.s.put(`{"bucketName":"`, bucket, `","Host":"`, bucket, `.s3.`, p.region, `.amazonaws.com","`, what[1], `":""}`)
	g.s.c.params = g.s.params
	g.digits = appendBase32(g.digits[:0], g.r.Uint64(), 24)
	g.s.extras = append(g.s.extras, `{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256","bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","x-amz-id-2":"`...)
	g.s.extras = append(g.s.extras, g.digits...)
	g.s.extras = append(g.s.extras, `=","bytesTransferredOut":`+itoa(200+g.r.IntN(600))+`}`...)
	g.s.c.extra = g.s.extras
	g.s.c.resources = []byte(`[{"accountId":"` + p.account.id + `","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::` + bucket + `"}]`)
	g.s.out(&g.s.c)
}

func (g *traffic) identityLook(p *place, at int64) {
	by := g.tool(p, at)
	names := [...]string{"GetRole", "ListAttachedRolePolicies", "ListRolePolicies", "ListRoleTags", "ListInstanceProfilesForRole"}
	g.s.plain(at, p, by, "iam.amazonaws.com", names[g.r.IntN(len(names))], false,
		`{"roleName":"`+p.account.apps[g.r.IntN(len(p.account.apps))].name+`"}`, "")
}

func (g *traffic) logStream(p *place, at int64) {
	app := g.r.skewed(len(p.account.apps))
	by := g.roleCaller(p, at, app)
	name := p.account.functions[app]
	g.digits = appendTime(g.digits[:0], at)
	day := string(g.digits[:4]) + "/" + string(g.digits[5:7]) + "/" + string(g.digits[8:10])
	g.digits = appendHex(g.digits[:0], g.r.Uint64(), 16)
	g.s.plain(at, p, by, "logs.amazonaws.com", "CreateLogStream", true,
		`{"logGroupName":"/aws/lambda/`+name+`","logStreamName":"`+day+`/[$LATEST]`+string(g.digits)+string(g.digits)+`"}`, "")
}

func (g *traffic) functionLook(p *place, at int64) {
	by := g.tool(p, at)
	name := p.account.functions[g.r.IntN(len(p.account.functions))]
	names := [...]string{"GetFunction20150331v2", "ListTags20170331", "GetPolicy20150331v2", "ListVersionsByFunction20150331"}
	g.s.begin(at, p, by, "lambda.amazonaws.com", names[g.r.IntN(len(names))])
	g.s.c.api = "2015-03-31"
	g.s.put(`{"functionName":"arn:aws:lambda:`, p.region, `:`, p.account.id, `:function:`, name, `"}`)
	g.s.c.params = g.s.params
	g.s.out(&g.s.c)
}

func (g *traffic) secretRead(p *place, at int64) {
	app := g.r.skewed(len(p.account.apps))
	by := g.roleCaller(p, at, app)
	g.s.getSecretValue(at, p, by, "arn:aws:secretsmanager:"+p.region+":"+p.account.id+":secret:"+p.secrets[(app*2+g.r.IntN(2))%len(p.secrets)])
}

func (g *traffic) tableLook(p *place, at int64) {
	by := g.tool(p, at)
	table := p.tableIDs[g.r.IntN(len(p.tableIDs))]
	g.s.begin(at, p, by, "dynamodb.amazonaws.com", "DescribeTable")
	g.s.put(`{"tableName":"`, table, `"}`)
	g.s.c.params = g.s.params
	g.s.c.api = "2012-08-10"
	g.s.c.resources = []byte(`[{"accountId":"` + p.account.id + `","type":"AWS::DynamoDB::Table","ARN":"arn:aws:dynamodb:` +
		p.region + `:` + p.account.id + `:table/` + table + `"}]`)
	g.s.out(&g.s.c)
}

func (g *traffic) networkInterface(p *place, at int64) {
	by := g.tool(p, at)
	g.digits = appendHex(g.digits[:0], g.r.Uint64(), 16)
	id := string(g.digits)
	g.s.plain(at, p, by, "ec2.amazonaws.com", "CreateNetworkInterface", true,
		`{"subnetId":"subnet-0`+id+`","description":"AWS Lambda VPC ENI-`+p.account.functions[0]+`","groupSet":{"items":[{"groupId":"sg-0`+id+`"}]},"privateIpAddressesSet":{},"ipv6AddressCount":0}`,
		`{"requestId":"`+id+`","networkInterface":{"networkInterfaceId":"eni-0`+id+`","subnetId":"subnet-0`+id+`","availabilityZone":"`+p.region+`a","ownerId":"`+p.account.id+`","requesterManaged":false,"status":"pending","sourceDestCheck":true,"interfaceType":"interface","tagSet":{}}}`)
}

func (g *traffic) metricAlarm(p *place, at int64) {
	by := g.tool(p, at)
	g.s.plain(at, p, by, "monitoring.amazonaws.com", "DescribeAlarms", false,
		`{"alarmNamePrefix":"`+appNames[g.r.IntN(len(appNames))]+`-","alarmTypes":["MetricAlarm","CompositeAlarm"],"maxRecords":100,"stateValue":"ALARM"}`, "")
}
