package simulate

import "time"

// longTime is how KMS writes times inside of its answers.
func longTime(unix int64) string {
	return time.Unix(unix, 0).UTC().Format("Jan 2, 2006, 3:04:05 PM")
}

// Clients of direct calls.
const (
	agentJava      = "aws-sdk-java/2.31.12 md/io#sync md/http#Apache ua/2.1 api/KMS#2.31.x os/Linux#6.1.128-136.201.amzn2023.x86_64 lang/java#21.0.6 md/OpenJDK_64-Bit_Server_VM#21.0.6+7-LTS md/vendor#Amazon.com_Inc. md/en m/D,N,e"
	agentPython    = "Boto3/1.37.11 md/Botocore#1.37.11 ua/2.1 os/linux#6.1.128-136.201.amzn2023.x86_64 md/arch#x86_64 lang/python#3.13.2 md/pyimpl#CPython exec-env/AWS_ECS_FARGATE m/Z,b,D cfg/retry-mode#standard Botocore/1.37.11"
	agentSDK       = "Boto3/1.37.11 md/Botocore#1.37.11 ua/2.1 os/linux#6.1.128 md/arch#x86_64 lang/python#3.13.2 md/pyimpl#CPython cfg/retry-mode#standard Botocore/1.37.11 AwsEncryptionSdkPython/3.3.0"
	agentGo        = "aws-sdk-go-v2/1.36.3 ua/2.1 os/linux lang/go#1.24.1 md/GOOS#linux md/GOARCH#arm64 exec-env/AWS_ECS_FARGATE api/kms#1.38.1 m/E"
	agentNode      = "aws-sdk-js/3.758.0 ua/2.1 os/linux#5.10.234-225.921.amzn2.x86_64 lang/js md/nodejs#22.11.0 api/kms#3.758.0 exec-env/AWS_Lambda_nodejs22.x m/E,T,h"
	agentLambda    = "aws-internal/3 aws-sdk-java/1.12.779 Linux/5.10.234-225.895.amzn2.x86_64 OpenJDK_64-Bit_Server_VM/25.442-b06 java/1.8.0_442 vendor/Amazon.com_Inc. cfg/retry-mode/standard"
	agentTerraform = "APN/1.0 HashiCorp/1.0 Terraform/1.11.1 (+https://www.terraform.io) terraform-provider-aws/5.90.0 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.36.3 ua/2.1 os/linux lang/go#1.23.5 md/GOOS#linux md/GOARCH#amd64 api/kms#1.38.0"
	agentBrowser   = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/134.0.0.0 Safari/537.36"
	agentCLI       = "aws-cli/2.24.10 md/awscrt#0.23.8 ua/2.1 os/macos#24.3.0 md/arch#arm64 lang/python#3.12.9 md/pyimpl#CPython m/E,b cfg/retry-mode#standard md/installer#exe md/prompt#off md/command#"
	agentScanner   = "Boto3/1.36.24 md/Botocore#1.36.24 ua/2.1 os/linux#6.8.0-1021-aws md/arch#x86_64 lang/python#3.12.3 md/pyimpl#CPython cfg/retry-mode#adaptive Botocore/1.36.24 posture-scanner/7.2"
)

var appAgents = []string{agentJava, agentPython, agentGo, agentSDK, agentJava, agentGo}

// emitter writes one thing that happens, which may be a few records.
type emitter struct {
	write func(g *traffic, p *place, at int64)
	// How often it happens by the part of the week: office hours, evenings and
	// nights, weekends.
	office, night, weekend float64
}

// kmsMix is the mass of KMS traffic. The weights come from what a middling
// organisation with encryption turned on sees: applications and S3 first.
var kmsMix = []emitter{
	{(*traffic).appField, 28, 26, 26},
	{(*traffic).bucketObject, 15, 17, 17},
	{(*traffic).roleSecret, 12, 12, 12},
	{(*traffic).parameter, 8, 6, 6},
	{(*traffic).tableKey, 7, 7, 7},
	{(*traffic).functionStart, 6, 6, 6},
	{(*traffic).bucketKey, 5, 6, 6},
	{(*traffic).trailFile, 4, 5, 5},
	{(*traffic).streamKey, 4, 4, 4},
	{(*traffic).volumeAttach, 3, 2, 2},
	{(*traffic).databaseKey, 2, 3, 3},
	{(*traffic).partnerRead, 2, 1, 1},
	{(*traffic).scannerLook, 1.2, 1.5, 1.5},
	{(*traffic).recorderDenied, 1, 1, 1},
	{(*traffic).release, 0.6, 0.02, 0.02},
	{(*traffic).personSecret, 0.5, 0.02, 0.02},
	{(*traffic).personLook, 0.4, 0.01, 0.01},
	{(*traffic).throttledApp, 0.2, 0.1, 0.1},
	{(*traffic).userReport, 0.2, 0.2, 0.1},
}

// login is when the credentials in use at a time were issued: they last six
// hours and are not all renewed at once.
func login(at int64, salt uint64) int64 {
	shift := int64(mix(salt) % 21600)
	return (at+shift)/21600*21600 - shift
}

// roleCaller is a direct call of a service's role from one of its instances.
func (g *traffic) roleCaller(p *place, at int64, app int) *caller {
	r := p.account.apps[app]
	instance := mix(p.number, bits(app), bits(g.r.skewed(6)))
	since := login(at, instance)
	c := &g.by
	*c = caller{agent: appAgents[app%len(appAgents)], tls: true}
	c.who = identity{kind: assumedRole, role: r, instance: instance, login: mix(instance, bits(since)), since: since}
	if app%3 == 0 { // on instances, the rest in containers
		c.who.sessions = instanceSession
		c.who.ec2 = true
	} else {
		c.who.sessions = taskSession
	}
	if app%4 != 3 { // through the VPC endpoint
		c.vpce = p.vpce
		c.private = privateAddress(instance)
	} else {
		c.ip = natAddress(p.account.number)
	}
	return c
}

var natAddresses = func() (list [250]string) {
	for i := range list {
		list[i] = "198.51.100." + itoa(i+1)
	}
	return list
}()

var officeAddresses = func() (list [250]string) {
	for i := range list {
		list[i] = "192.0.2." + itoa(i+1)
	}
	return list
}()

func natAddress(n int) string { return natAddresses[n%len(natAddresses)] }

// forward turns the caller into one that a service forwards.
func (c *caller) forward(service string) *caller {
	c.who.invokedBy = service
	c.ip, c.agent, c.vpce, c.private, c.tls, c.console = service, service, "", 0, false, false
	return c
}

// service is a call of a service in its own name.
func (g *traffic) service(name string) *caller {
	g.by = caller{who: identity{kind: awsService, invokedBy: name}, ip: name, agent: name}
	return &g.by
}

// person is somebody at work, with the console or the CLI.
func (g *traffic) person(p *place, at int64, verb string) *caller {
	a := p.account
	who := g.r.skewed(len(a.staff))
	set := a.people[(who+1)%len(a.people)]
	salt := mix(text(a.staff[who]), text(a.id))
	since := login(at, salt)
	g.by = caller{
		who: identity{
			kind: assumedRole, role: set, session: a.staff[who],
			login: mix(salt, bits(since)), since: since,
		},
		ip: officeAddresses[int(salt%40)], tls: true,
	}
	if who%2 == 0 {
		g.by.agent = agentBrowser
		g.by.console = true
	} else {
		g.by.agent = g.cli(verb)
	}
	return &g.by
}

func (g *traffic) cli(verb string) string {
	a, ok := g.agents[verb]
	if !ok {
		a = agentCLI + verb
		g.agents[verb] = a
	}
	return a
}

func (g *traffic) tenant() {
	g.digits = appendHex(g.digits[:0], bits(g.r.skewed(400)), 4)
	g.s.context("tenant", "t-", string(g.digits))
}

// appField is an application that encrypts fields of its own, by tenant.
func (g *traffic) appField(p *place, at int64) {
	app := g.r.skewed(len(p.account.apps))
	by := g.roleCaller(p, at, app)
	k := p.appKeys[app]
	g.tenant()
	g.s.also("purpose", "field-encryption")
	switch n := g.r.IntN(100); {
	case n < 64:
		g.s.decrypt(at, p, by, k, app%2 == 0)
	case n < 92:
		g.s.generateDataKey(at, p, by, k, true)
	case n < 96:
		g.s.generateDataKey(at, p, by, k, false)
	default:
		g.s.encrypt(at, p, by, k)
	}
}

// bucketObject is S3 with SSE-KMS and no bucket key: one call for each object.
func (g *traffic) bucketObject(p *place, at int64) {
	app := g.r.skewed(len(p.account.apps))
	by := g.roleCaller(p, at, app).forward(awsInternal)
	bucket := p.buckets[app%len(p.buckets)]
	g.digits = appendTime(g.digits[:0], at)
	day := string(g.digits[:10])
	g.digits = appendHex(g.digits[:0], g.r.Uint64(), 12)
	g.s.context("aws:s3:arn", "arn:aws:s3:::", bucket, "/documents/", day, "/", string(g.digits), ".pdf")
	if g.r.chance(0.7) {
		g.s.decrypt(at, p, by, p.storage, false)
	} else {
		g.s.generateDataKeyAs(at, p, by, p.storage, true, p.storage.arn)
	}
}

// bucketKey is S3 with a bucket key: the context is the bucket.
func (g *traffic) bucketKey(p *place, at int64) {
	app := g.r.skewed(len(p.account.apps))
	by := g.roleCaller(p, at, app).forward(awsInternal)
	g.s.context("aws:s3:arn", "arn:aws:s3:::", p.buckets[(app+1)%len(p.buckets)])
	if g.r.chance(0.6) {
		g.s.decrypt(at, p, by, p.storage, false)
	} else {
		g.s.generateDataKeyAs(at, p, by, p.storage, true, p.storage.arn)
	}
}

func (g *traffic) secretContext(p *place, n int) {
	g.s.context("SecretARN", "arn:aws:secretsmanager:", p.region, ":", p.account.id, ":secret:", p.secrets[n])
	v := mix(p.number, 11, bits(n))
	g.digits = appendUUID(g.digits[:0], v, mix(v))
	g.s.also("SecretVersionId", string(g.digits))
}

// roleSecret is a service that reads one of its two secrets.
func (g *traffic) roleSecret(p *place, at int64) {
	app := g.r.skewed(len(p.account.apps))
	by := g.roleCaller(p, at, app).forward("secretsmanager.amazonaws.com")
	g.secretContext(p, (app*2+g.r.IntN(2))%len(p.secrets))
	g.s.decrypt(at, p, by, p.secret, false)
}

// parameter is a SecureString read from SSM.
func (g *traffic) parameter(p *place, at int64) {
	app := g.r.skewed(len(p.account.apps))
	by := g.roleCaller(p, at, app).forward(awsInternal)
	g.s.context("PARAMETER_ARN", "arn:aws:ssm:", p.region, ":", p.account.id, ":parameter", p.params[(app*2+g.r.IntN(2))%len(p.params)])
	g.s.decrypt(at, p, by, p.ssm, false)
}

// tableKey is DynamoDB, which fetches a table's key on its own or for a caller.
func (g *traffic) tableKey(p *place, at int64) {
	n := g.r.IntN(len(p.tableIDs))
	by := g.service("dynamodb.amazonaws.com")
	if g.r.chance(0.6) {
		by = g.roleCaller(p, at, n%len(p.account.apps)).forward("dynamodb.amazonaws.com")
	}
	g.s.context("aws:dynamodb:tableName", p.tableIDs[n])
	g.s.also("aws:dynamodb:subscriberId", p.account.id)
	g.s.decrypt(at, p, by, p.tables, false)
}

// functionStart is Lambda that decrypts a function's environment.
func (g *traffic) functionStart(p *place, at int64) {
	app := g.r.skewed(len(p.account.apps))
	name := p.account.functions[app]
	r := p.account.apps[app]
	since := at - int64(g.r.IntN(3))
	g.by = caller{
		who:   identity{kind: assumedRole, role: r, session: name, login: g.r.Uint64(), since: since},
		ip:    natAddress(p.account.number + 7),
		agent: agentLambda, tls: true,
	}
	g.s.context("aws:lambda:FunctionArn", "arn:aws:lambda:", p.region, ":", p.account.id, ":function:", name)
	g.s.decrypt(at, p, &g.by, p.lambda, false)
}

// trailFile is CloudTrail's own data key, one for each log file.
func (g *traffic) trailFile(p *place, at int64) {
	g.s.context("aws:cloudtrail:arn", "arn:aws:cloudtrail:", p.region, ":", p.account.id, ":trail/organisation")
	day := time.Unix(at, 0).UTC()
	g.digits = appendObjectKey(g.digits[:0], "", p.account.id, p.region, day.Truncate(delivery).Add(delivery), g.r.Uint64())
	g.s.also("aws:s3:arn", "arn:aws:s3:::example-trail-logs/", string(g.digits))
	g.s.share()
	g.s.generateDataKeyAs(at, p, g.service("cloudtrail.amazonaws.com"), p.trail, true, p.trail.arn)
}

// streamKey is a queue, stream, topic or log group.
func (g *traffic) streamKey(p *place, at int64) {
	n := g.r.IntN(len(p.streams))
	switch g.r.IntN(4) {
	case 0:
		g.s.context("aws:logs:arn", "arn:aws:logs:", p.region, ":", p.account.id, ":log-group:/service/", p.streams[n])
		g.s.decrypt(at, p, g.service("logs."+p.region+".amazonaws.com"), p.logs, false)
	case 1:
		by := g.roleCaller(p, at, n%len(p.account.apps)).forward("kinesis.amazonaws.com")
		g.s.context("aws:kinesis:arn", "arn:aws:kinesis:", p.region, ":", p.account.id, ":stream/", p.streams[n])
		g.s.generateDataKeyAs(at, p, by, p.logs, true, p.logs.arn)
	case 2:
		by := g.roleCaller(p, at, n%len(p.account.apps)).forward("sqs.amazonaws.com")
		g.s.context("aws:sqs:arn", "arn:aws:sqs:", p.region, ":", p.account.id, ":", p.streams[n])
		g.s.decrypt(at, p, by, p.logs, false)
	default:
		g.s.context("aws:sns:topicArn", "arn:aws:sns:", p.region, ":", p.account.id, ":", p.streams[n])
		g.s.generateDataKeyAs(at, p, g.service("sns.amazonaws.com"), p.logs, true, p.logs.arn)
	}
}

// volumeAttach is EC2 that uses the grant of an instance's volume.
func (g *traffic) volumeAttach(p *place, at int64) {
	instance := mix(p.number, 21, bits(g.r.IntN(60)))
	since := at - int64(g.r.IntN(60))
	g.by = caller{who: identity{
		kind: assumedRole, role: p.account.machines, sessions: instanceSession, instance: instance,
		login: mix(instance, bits(since)), since: since, ec2: true, invokedBy: awsInternal,
	}, ip: awsInternal, agent: awsInternal}
	g.digits = appendHex(g.digits[:0], instance, 16)
	g.s.context("aws:ebs:id", "vol-0", string(g.digits))
	k := p.volumes
	if instance%3 == 0 {
		k = p.disks
	}
	g.s.decrypt(at, p, &g.by, k, false)
}

// databaseKey is RDS in its own name.
func (g *traffic) databaseKey(p *place, at int64) {
	g.s.context("aws:rds:db-id", p.databases[g.r.IntN(len(p.databases))])
	by := g.service("rds.amazonaws.com")
	if g.r.chance(0.8) {
		g.s.decrypt(at, p, by, p.db, false)
	} else {
		g.s.generateDataKeyAs(at, p, by, p.db, true, p.db.arn)
	}
}

// partnerRead is the partner that uses its grant: the owner's copy of the call.
func (g *traffic) partnerRead(p *place, at int64) {
	day := at / 86400
	g.by = caller{
		who: identity{kind: awsAccount, role: p.account.partner, account: partnerAccount, session: "claims-job"},
		ip:  "203.0.113." + itoa(int(day%4)+10), agent: agentPython, tls: true,
	}
	g.s.context("purpose", "claims-export")
	g.s.share()
	g.s.decrypt(at, p, &g.by, p.billing, true)
}

// scannerLook is a posture scanner that walks over the keys.
func (g *traffic) scannerLook(p *place, at int64) {
	since := login(at, p.number)
	g.by = caller{
		who: identity{
			kind: assumedRole, role: p.account.scanner, session: "posture-scan",
			login: mix(p.number, bits(since)), since: since,
		},
		ip: natAddress(200), agent: agentScanner, tls: true,
	}
	k := p.all[g.r.IntN(len(p.all))]
	g.s.inspect(at, p, &g.by, inspections[g.r.IntN(len(inspections))], k, k.id)
}

var inspections = []string{"DescribeKey", "GetKeyPolicy", "GetKeyRotationStatus", "ListGrants", "ListKeyPolicies", "ListResourceTags"}

// recorderDenied is AWS Config that keeps asking about keys that do not let it.
func (g *traffic) recorderDenied(p *place, at int64) {
	since := login(at, p.number)
	g.by = caller{who: identity{
		kind: assumedRole, role: p.account.config, session: "AWSConfig-Describe",
		login: mix(p.number, 5, bits(since)), since: since,
	}}
	g.by.forward("config.amazonaws.com")
	k := p.all[g.r.IntN(len(p.all))]
	action := [...]string{"DescribeKey", "Decrypt", "GetKeyRotationStatus"}[g.r.IntN(3)]
	g.s.denied(at, p, &g.by, action, k, noResourcePolicy+"kms:"+action+" action")
}

// release signs what was built.
func (g *traffic) release(p *place, at int64) {
	for i := range int64(1 + g.r.IntN(4)) {
		since := login(at, p.number)
		g.by = caller{
			who: identity{
				kind: assumedRole, role: p.account.deploy, session: "release",
				login: mix(p.number, 6, bits(since)), since: since,
			},
			ip: natAddress(120), agent: agentGo, tls: true,
		}
		g.s.sign(at+i, p, &g.by, p.signing)
	}
}

// personSecret is a person that reads one or two secrets.
func (g *traffic) personSecret(p *place, at int64) {
	by := g.person(p, at, "secretsmanager.get-secret-value").forward("secretsmanager.amazonaws.com")
	for i := range int64(1 + g.r.IntN(2)) {
		g.secretContext(p, g.r.skewed(6))
		g.s.decrypt(at+20*i, p, by, p.secret, false)
	}
}

// personLook is a person that looks at a key in the console or with the CLI.
func (g *traffic) personLook(p *place, at int64) {
	k := p.all[g.r.skewed(len(p.all))]
	by := g.person(p, at, "kms.describe-key")
	g.s.inspect(at, p, by, "DescribeKey", k, k.id)
	if by.console {
		g.s.inspect(at+1, p, by, "GetKeyPolicy", k, k.id)
		g.s.inspect(at+1, p, by, "ListResourceTags", k, k.id)
	}
}

// throttledApp is over the quota for a moment and tries again.
func (g *traffic) throttledApp(p *place, at int64) {
	app := g.r.skewed(len(p.account.apps))
	by := g.roleCaller(p, at, app)
	g.s.throttled(at, p, by, "Decrypt")
	g.s.throttled(at, p, by, "Decrypt")
	g.tenant()
	g.s.decrypt(at+1, p, by, p.appKeys[app], true)
}

// userReport is the one job that still runs with a long-term key.
func (g *traffic) userReport(p *place, at int64) {
	u := p.account.reports
	g.by = caller{
		who: identity{kind: iamUser, role: u, login: mix(p.number, 9)},
		ip:  natAddress(90 + p.account.number), agent: agentPython, tls: true,
	}
	g.s.context("report", "monthly-usage")
	g.s.decrypt(at, p, &g.by, p.appKeys[0], true)
}
