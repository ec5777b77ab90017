package simulate

import (
	"sort"
	"time"
)

// entry is one record of the story, before it is put into a file.
type entry struct {
	at        int64
	recipient string
	region    string
	kms       bool
	raw       []byte
}

// story writes the incident: first the weeks, then the theft.
type story struct {
	*clinic
	seed  uint64
	start time.Time
	end   time.Time
	r     *random
	s     scribe
	log   []entry
	// Spans in which production's trail leaves KMS out.
	blind []span
}

type span struct{ from, to int64 }

func (t *story) take(c *call) {
	if c.at < t.start.Unix() || c.at >= t.end.Unix() {
		return
	}
	kms := c.source == kmsSource
	if kms && c.recipient == clinicProduction {
		for _, b := range t.blind {
			if c.at >= b.from && c.at < b.to {
				return
			}
		}
	}
	t.log = append(t.log, entry{c.at, c.recipient, c.region, kms, c.append(nil, t.r)})
}

// times gives about mean times within the hour, in order.
func (t *story) times(hour time.Time, mean float64) []int64 {
	n := int(mean)
	if t.r.chance(mean - float64(n)) {
		n++
	}
	list := make([]int64, n)
	for i := range list {
		list[i] = hour.Unix() + int64(t.r.IntN(3600))
	}
	sort.Slice(list, func(i, j int) bool { return list[i] < list[j] })
	return list
}

// service is a direct call of a service's role from one of its two machines.
func (t *story) service(r *role, at int64, agent string) *caller {
	instance := mix(t.seed, text(r.arn), bits(t.r.IntN(2)))
	since := login(at, instance)
	return &caller{
		who: identity{
			kind: assumedRole, role: r, sessions: taskSession, instance: instance,
			login: mix(instance, bits(since)), since: since,
		},
		private: privateAddress(instance), vpce: t.west.vpce, agent: agent, tls: true,
	}
}

// session is a role session with a name of its own.
func (t *story) session(r *role, name string, at int64, ip, agent string) *caller {
	since := login(at, text(r.arn)+text(name))
	return &caller{
		who: identity{
			kind: assumedRole, role: r, session: name,
			login: mix(t.seed, text(r.arn), text(name), bits(since)), since: since,
		},
		ip: ip, agent: agent, tls: true,
	}
}

// support is the support tools' instance, whose credentials will be stolen.
func (t *story) support(at int64) *caller {
	instance := mix(t.seed, text(t.supportTools.arn))
	since := login(at, instance)
	return &caller{
		who: identity{
			kind: assumedRole, role: t.supportTools, sessions: instanceSession, instance: instance,
			login: mix(instance, bits(since)), since: since, ec2: true,
		},
		ip: "198.51.100.20", agent: agentPython, tls: true,
	}
}

func asService(name string) *caller {
	return &caller{who: identity{kind: awsService, invokedBy: name}, ip: name, agent: name}
}

func (t *story) secretContext(n int) {
	t.s.context("SecretARN", t.secretARN(n))
	t.s.also("SecretVersionId", uuidText(mix(t.seed, 87, bits(n))))
}

// readSecret is GetSecretValue and the Decrypt that it brings.
func (t *story) readSecret(at int64, by *caller, n int) {
	t.s.getSecretValue(at, t.west, by, t.secretARN(n))
	t.secretContext(n)
	forwarded := *by
	t.s.decrypt(at, t.west, forwarded.forward("secretsmanager.amazonaws.com"), t.secrets, false)
}

// weeks writes the ordinary life, hour by hour.
func (t *story) weeks() {
	for hour := t.start; hour.Before(t.end); hour = hour.Add(time.Hour) {
		t.productionHour(hour)
		weekend := hour.Weekday() == time.Saturday || hour.Weekday() == time.Sunday
		switch h := hour.Hour(); {
		case h == 2:
			t.nightlyBackup(hour)
		case h == 3 || h == 18 || h == 12 && !weekend:
			t.researchHour(hour)
		case h == 4:
			t.recoveryTest(hour)
		case h == 6:
			t.driftRun(hour)
		}
		if h := hour.Hour(); !weekend && (h == 9 || h == 11 || h == 14 || h == 16) {
			t.toolsHour(hour)
		}
	}
	t.events()
}

var tenants = []string{"clinic-north", "clinic-south", "clinic-east", "clinic-harbour", "clinic-children"}

func (t *story) tenantContext(what string) {
	t.s.context("tenant", tenants[t.r.skewed(len(tenants))])
	t.s.also("table", what)
}

// productionHour is what production does in an hour, more by day than by night.
func (t *story) productionHour(hour time.Time) {
	f, w := rhythm(hour), t.west
	for _, at := range t.times(hour, 3.4*f) {
		t.tenantContext("patients")
		t.s.decrypt(at, w, t.service(t.api, at, agentJava), t.patients, true)
	}
	for _, at := range t.times(hour, 2.6*f) {
		t.tenantContext("appointments")
		by := t.service(t.portal, at, agentNode)
		if t.r.chance(0.3) {
			t.s.generateDataKey(at, w, by, t.patients, true)
		} else {
			t.s.decrypt(at, w, by, t.patients, false)
		}
	}
	for _, at := range t.times(hour, 2.2*f) {
		t.image(at)
	}
	for _, at := range t.times(hour, 1.4*f) {
		t.s.context("aws:s3:arn", "arn:aws:s3:::example-clinic-documents")
		by := t.service(t.api, at, agentJava)
		t.s.decrypt(at, w, by.forward(awsInternal), t.documents, false)
	}
	for _, at := range t.times(hour, 1.2*f) {
		t.s.context("tenant", tenants[t.r.skewed(len(tenants))])
		t.s.also("purpose", "invoice")
		by := t.service(t.billingService, at, agentGo)
		if t.r.chance(0.4) {
			t.s.generateDataKey(at, w, by, t.billing, true)
		} else {
			t.s.decrypt(at, w, by, t.billing, true)
		}
	}
	for i, r := range []*role{t.api, t.portal, t.imagingService, t.billingService} {
		for _, at := range t.times(hour, 0.5) {
			t.readSecret(at, t.service(r, at, agentPython), i+8*t.r.IntN(2))
		}
	}
	for _, at := range t.times(hour, 0.6) {
		t.s.context("PARAMETER_ARN", "arn:aws:ssm:eu-west-1:", clinicProduction, ":parameter/clinic/portal/feature-flags")
		t.s.decrypt(at, w, t.service(t.portal, at, agentNode).forward(awsInternal), t.ssm, false)
	}
	if hour.Hour()%2 == 0 {
		at := hour.Unix() + 120 + int64(t.r.IntN(30))
		t.s.context("aws:lambda:FunctionArn", "arn:aws:lambda:eu-west-1:", clinicProduction, ":function:claims-export")
		by := t.session(t.claimsExport, "claims-export", at, "198.51.100.41", agentLambda)
		by.who.function = "arn:aws:lambda:eu-west-1:" + clinicProduction + ":function:claims-export"
		t.s.decrypt(at, w, by, t.lambda, false)
	}
	if hour.Hour()%3 == 1 {
		at := hour.Unix() + int64(t.r.IntN(3600))
		t.s.context("aws:rds:db-id", "db-CLINIC7RECORDS4PRIMARY")
		t.s.decrypt(at, w, asService("rds.amazonaws.com"), t.databases, false)
	}
	if hour.Hour()%6 == 5 { // the recorder asks about keys that do not let it
		at := hour.Unix() + int64(t.r.IntN(3000))
		by := t.session(t.config, "AWSConfig-Describe", at, "", "")
		by.forward("config.amazonaws.com")
		for i, k := range []*key{t.patients, t.imaging} {
			t.s.denied(at+int64(i), w, by, "DescribeKey", k, noResourcePolicy+"kms:DescribeKey action")
		}
	}
	t.trailFile(hour)
	t.machineHour(hour, f)

	if weekend := hour.Weekday() == time.Saturday || hour.Weekday() == time.Sunday; !weekend {
		if h := hour.Hour(); h >= 9 && h < 17 {
			for _, at := range t.times(hour, 1.3) {
				t.claims(at)
			}
			if h == 10 || h == 15 { // support opens a ticket or two
				at := hour.Unix() + int64(t.r.IntN(3000))
				by := t.support(at)
				t.readSecret(at, by, 5)
				if h == 15 {
					t.readSecret(at+40, t.support(at), 13)
				}
			}
		}
	}
	for _, at := range t.times(hour, 1.5*f) { // what is not of KMS
		r := []*role{t.api, t.portal, t.imagingService, t.billingService}[t.r.IntN(4)]
		session := r.name
		t.s.plain(at, w, asService("ecs-tasks.amazonaws.com"), "sts.amazonaws.com", "AssumeRole", false,
			`{"roleArn":"`+r.arn+`","roleSessionName":"`+session+`","durationSeconds":21600}`,
			`{"credentials":{"accessKeyId":"ASIA`+base32Text(t.r.Uint64(), 16)+`","expiration":"`+string(appendTime(nil, at+21600))+
				`"},"assumedRoleUser":{"assumedRoleId":"`+r.id+`:`+session+`","arn":"`+r.sts+session+`"}}`)
	}
}

// image is the imaging service that stores or shows a picture. When its key is
// pending deletion it fails, and tries again.
func (t *story) image(at int64) {
	by := t.service(t.imagingService, at, agentSDK)
	t.s.context("aws-crypto-public-key", "A"+base32Text(t.r.Uint64(), 20))
	t.s.also("study", "st-", hexText(t.r.Uint64(), 8))
	if at >= deletionScheduled.Unix() {
		message := t.imaging.arn + " is pending deletion."
		for i := range int64(3) {
			t.s.failed(at+i*2, t.west, by, "Decrypt", t.imaging, "KMSInvalidStateException", message)
		}
		return
	}
	if t.r.chance(0.35) {
		t.s.generateDataKey(at, t.west, by, t.imaging, true)
	} else {
		t.s.decrypt(at, t.west, by, t.imaging, true)
	}
}

// claims is the partner that reads through its grant: the owner's copy.
func (t *story) claims(at int64) {
	by := &caller{
		who: identity{kind: awsAccount, role: t.partner, account: clinicPartner, session: "claims-job"},
		ip:  "198.51.100.200", agent: agentPython, tls: true,
	}
	t.s.context("purpose", "claims-export")
	t.s.share()
	t.s.decrypt(at, t.west, by, t.billing, true)
}

// trailFile is CloudTrail's data key for the log file of the hour.
func (t *story) trailFile(hour time.Time) {
	at := hour.Unix() + 3590
	object := appendObjectKey(nil, "", clinicProduction, "eu-west-1", hour.Add(time.Hour+delivery), mix(t.seed, bits(at)))
	t.s.context("aws:cloudtrail:arn", "arn:aws:cloudtrail:eu-west-1:", clinicProduction, ":trail/", clinicTrail)
	t.s.also("aws:s3:arn", "arn:aws:s3:::example-clinic-trail/", string(object))
	t.s.share()
	t.s.generateDataKeyAs(at, t.west, asService("cloudtrail.amazonaws.com"), t.trail, true, t.trail.arn)
}

// machineHour starts and stops instances with encrypted volumes on working days:
// grants that EC2 makes and retires.
func (t *story) machineHour(hour time.Time, f float64) {
	if f < 1.5 || hour.Hour()%4 != 0 {
		return
	}
	at := hour.Unix() + int64(t.r.IntN(2400))
	for range 2 {
		instance := t.r.Uint64()
		at += 45
		g := grant{
			grantee:    clinicProduction + ":aws:ec2-infrastructure:i-0" + hexText(instance, 16),
			operations: ec2Operations, id: instance,
		}
		volume := hexText(mix(instance), 16)
		by := t.session(t.scaling, "AutoScaling", at, "", "")
		by.forward("autoscaling.amazonaws.com")
		t.s.context("aws:ebs:id", "vol-0", volume)
		t.s.generateDataKeyAs(at, t.west, by, t.volumes, false, t.volumes.arn)
		t.s.createGrant(at+1, t.west, by, t.volumes, &g)
		machine := &caller{who: identity{
			kind: assumedRole, role: t.machines, sessions: instanceSession, instance: instance,
			login: instance, since: at, ec2: true, invokedBy: awsInternal,
		}, ip: awsInternal, agent: awsInternal}
		t.s.context("aws:ebs:id", "vol-0", volume)
		t.s.decrypt(at+4, t.west, machine, t.volumes, false)
		t.s.retireGrant(at+1000, t.west, machine, t.volumes, &g)
	}
}

// nightlyBackup decrypts under every key within five minutes, directly: listed
// in the settings as routine. It looks first whether a key can be used.
func (t *story) nightlyBackup(hour time.Time) {
	at := hour.Unix() + 600
	by := t.session(t.backup, "nightly", at, "198.51.100.30", agentPython)
	for i, k := range t.customerKeys() {
		when := at + int64(i*20)
		t.s.inspect(when, t.west, by, "DescribeKey", k, k.arn)
		if k == t.imaging && when >= deletionScheduled.Unix() {
			continue
		}
		t.s.context("job", "nightly-backup")
		t.s.decrypt(when+1, t.west, by, k, true)
		t.s.generateDataKeyAs(when+2, t.west, by, k, false, k.arn)
	}
}

// recoveryTest reads a few records in the other Region, under the replica.
func (t *story) recoveryTest(hour time.Time) {
	at := hour.Unix() + 1200
	by := t.session(t.drVerify, "verify", at, "198.51.100.31", agentGo)
	for i := range int64(6) {
		t.tenantContext("patients")
		t.s.decrypt(at+i*5, t.central, by, t.replica, true)
	}
	if t.r.chance(0.5) {
		t.s.synchronized(at+60, t.central, t.replica)
	}
}

// driftRun is Terraform at six in the morning, in production and tools.
func (t *story) driftRun(hour time.Time) {
	at := hour.Unix() + 360
	by := t.session(t.deploy, "drift", at, "198.51.100.50", agentTerraform)
	keys := t.customerKeys()
	if at > reminderDeployed.Unix() {
		keys = append(keys, t.reminders)
	}
	if at < faxScheduled.Unix() {
		keys = append(keys, t.fax)
	}
	for i, k := range keys {
		t.s.inspect(at+int64(i*2), t.west, by, "DescribeKey", k, k.id)
		t.s.inspect(at+int64(i*2)+1, t.west, by, "GetKeyPolicy", k, k.id)
	}
	// The trail is described in code, too: what was changed by hand is put back.
	if hour.Weekday() == time.Saturday {
		t.s.putEventSelectors(at+60, t.west, by, clinicTrail, "")
	}
	tools := t.session(t.deployTools, "drift", at, "198.51.100.50", agentTerraform)
	for i, k := range []*key{t.artifacts, t.signing} {
		t.s.inspect(at+90+int64(i*2), t.toolsW, tools, "DescribeKey", k, k.id)
		t.s.inspect(at+91+int64(i*2), t.toolsW, tools, "GetKeyPolicy", k, k.id)
	}
}

// toolsHour is builds: artifacts read and written, releases signed.
func (t *story) toolsHour(hour time.Time) {
	for _, at := range t.times(hour, 18) {
		by := t.session(t.runner, "build", at, "198.51.100.60", agentPython)
		t.s.context("aws:s3:arn", "arn:aws:s3:::example-clinic-artifacts")
		if t.r.chance(0.6) {
			t.s.decrypt(at, t.toolsW, by.forward(awsInternal), t.artifacts, false)
		} else {
			t.s.generateDataKeyAs(at, t.toolsW, by.forward(awsInternal), t.artifacts, true, t.artifacts.arn)
		}
	}
	for _, at := range t.times(hour, 2) {
		t.s.noContext()
		t.s.sign(at, t.toolsW, t.session(t.runner, "release", at, "198.51.100.60", agentGo), t.signing)
	}
	for _, at := range t.times(hour, 6) {
		t.s.plain(at, t.toolsW, t.session(t.runner, "build", at, "198.51.100.60", agentPython), "s3.amazonaws.com", "GetBucketLocation", false,
			`{"bucketName":"example-clinic-artifacts","location":"","Host":"example-clinic-artifacts.s3.eu-west-1.amazonaws.com"}`, "")
	}
}

// researchHour copies the documents that may be used and reads the lake. The
// documents are under production's key: each such call is in both trails.
func (t *story) researchHour(hour time.Time) {
	p := t.lab
	for _, at := range t.times(hour, 10) {
		by := t.session(t.notebook, "analysis", at, "198.51.100.70", agentPython)
		t.s.context("aws:s3:arn", "arn:aws:s3:::example-clinic-research/cohort-", itoa(t.r.IntN(12)), ".parquet")
		t.s.decrypt(at, p, by.forward(awsInternal), t.lake, false)
	}
	if hour.Hour() == 3 {
		for _, at := range t.times(hour, 6) {
			t.sharedDecrypt(at, t.session(t.etl, "nightly-copy", at, "198.51.100.71", agentPython), p, t.west, t.documents)
			by := t.session(t.etl, "nightly-copy", at, "198.51.100.71", agentPython)
			t.s.context("job", "nightly-copy")
			t.s.generateDataKeyAs(at+2, p, by, t.lake, true, t.lake.arn)
		}
	}
	if hour.Hour() == 12 {
		for i := range int64(4) {
			at := hour.Unix() + 1500 + i*70
			by := t.session(t.analyst, analystPerson, at, "192.0.2.44", agentBrowser)
			by.console = true
			t.s.context("aws:s3:arn", "arn:aws:s3:::example-clinic-research/cohort-", itoa(t.r.IntN(12)), ".parquet")
			t.s.decrypt(at, p, by.forward(awsInternal), t.lake, false)
		}
	}
}

// sharedDecrypt is a direct Decrypt under another account's key: the caller's
// copy and the owner's, one sharedEventID.
func (t *story) sharedDecrypt(at int64, by *caller, from, to *place, k *key) {
	a, b, requestA, requestB := t.r.Uint64(), t.r.Uint64(), t.r.Uint64(), t.r.Uint64()
	ids := func() { t.s.sharedA, t.s.sharedB, t.s.requestA, t.s.requestB = a, b, requestA, requestB }
	t.s.context("job", "nightly-copy")
	ids()
	t.s.decrypt(at, from, by, k, true)
	owner := *by
	owner.who.kind, owner.who.account = awsAccount, from.account.id
	ids()
	t.s.decrypt(at, to, &owner, k, true)
}

// When the larger things of ordinary life happen.
var (
	selectorsKept    = DefaultStart.AddDate(0, 0, 9).Add(9*time.Hour + 20*time.Minute)   // Wed 11 March
	faxScheduled     = DefaultStart.AddDate(0, 0, 17).Add(14*time.Hour + 5*time.Minute)  // Thu 19 March
	documentsRotated = DefaultStart.AddDate(0, 0, 18).Add(5*time.Hour + 12*time.Minute)  // Fri 20 March
	brokenRelease    = DefaultStart.AddDate(0, 0, 23).Add(15*time.Hour + 10*time.Minute) // Wed 25 March
	reminderDeployed = DefaultStart.AddDate(0, 0, 29).Add(9*time.Hour + 35*time.Minute)  // Tue 31 March
)

// events are what does not come every day.
func (t *story) events() {
	deploy := func(at time.Time) *caller {
		return t.session(t.deploy, "plan-and-apply", at.Unix(), "198.51.100.50", agentTerraform)
	}
	monday := t.start

	// The partner's grant, bound to a context, made on the first morning.
	at := monday.Add(8 * time.Hour)
	t.s.context("purpose", "claims-export")
	t.s.createGrant(at.Unix(), t.west, deploy(at), t.billing, &grant{
		grantee: t.partner.arn, retiring: t.deploy.arn, name: "example-billing-claims",
		operations: []string{"Decrypt", "DescribeKey"}, exact: true, id: mix(t.seed, 101),
	})
	// Aliases are known from the first deploy.
	for i, k := range append(t.customerKeys(), t.fax) {
		t.s.createAlias(at.Unix()+60+int64(i), t.west, deploy(at), k)
	}

	// Every Tuesday and Thursday Terraform deploys; it writes back a policy that
	// is already there.
	for day := range 40 {
		at := monday.AddDate(0, 0, day).Add(14*time.Hour + 12*time.Minute)
		if at.Weekday() != time.Tuesday && at.Weekday() != time.Thursday {
			continue
		}
		by := deploy(at)
		for i, k := range t.customerKeys() {
			for n, name := range []string{"DescribeKey", "GetKeyPolicy", "GetKeyRotationStatus", "ListResourceTags"} {
				t.s.inspect(at.Unix()+int64(i*3+n/2), t.west, by, name, k, k.id)
			}
		}
		k := t.customerKeys()[(day+1)%5]
		t.s.putKeyPolicy(at.Unix()+70, t.west, by, k, t.policy(k))
	}

	// Mary is on call: a look at a key, two or three secrets, at any hour.
	for i, hours := range []int{9, 83, 170, 250, 338, 431, 506, 590, 677, 769, 850, 921} {
		at := monday.Add(time.Duration(hours)*time.Hour + 17*time.Minute).Unix()
		cli := t.session(t.onCall, onCallPerson, at, "192.0.2.17", agentCLI+"secretsmanager.get-secret-value")
		for n, secret := range []int{0, 8, 3}[:2+i%2] {
			t.readSecret(at+int64(n*90), cli, secret)
		}
		if i%3 == 0 {
			console := t.session(t.onCall, onCallPerson, at, "192.0.2.17", agentBrowser)
			console.console = true
			t.s.inspect(at+300, t.west, console, "DescribeKey", t.documents, t.documents.id)
			t.s.inspect(at+301, t.west, console, "GetKeyPolicy", t.documents, t.documents.id)
			t.s.list(at+301, t.west, console, "ListAliases")
		}
	}
	// Richard tags a key once; with a second factor and from the office.
	console := t.session(t.admin, adminPerson, monday.Add(100*time.Hour).Unix(), "192.0.2.12", agentBrowser)
	console.console = true
	t.s.tagResource(monday.Add(100*time.Hour).Unix(), t.west, console, t.documents, "cost-centre", "clinic-4711")

	// Terraform writes the trail's selectors as they are.
	t.s.putEventSelectors(selectorsKept.Unix(), t.west, deploy(selectorsKept), clinicTrail, "")
	// A key that was never used goes, with the full waiting time.
	t.s.scheduleKeyDeletion(faxScheduled.Unix(), t.west, deploy(faxScheduled), t.fax, 30)
	// A yearly rotation.
	t.s.rotated(documentsRotated.Unix(), t.west, t.documents, hexText(mix(t.seed, 103), 64))
	// A release without its permission, rolled back after some minutes: one
	// action on one key, eight refusals.
	for i := range int64(8) {
		at := brokenRelease.Unix() + i*40
		t.s.denied(at, t.west, t.service(t.billingService, at, agentGo), "Decrypt", t.billing, noIdentityPolicy+"kms:Decrypt action")
	}
	t.newService(deploy(reminderDeployed))
}

// newService is the appointment reminder of the fifth week: a key of its own and
// a secret.
func (t *story) newService(by *caller) {
	at := reminderDeployed.Unix()
	t.s.createKey(at, t.west, by, t.reminders, "Appointment reminders", t.policy(t.reminders))
	t.s.createAlias(at+2, t.west, by, t.reminders)
	t.s.enableKeyRotation(at+3, t.west, by, t.reminders)
	t.s.tagResource(at+4, t.west, by, t.reminders, "service", "appointment-reminder")
	for hour := reminderDeployed.Truncate(time.Hour).Add(time.Hour); hour.Before(t.end); hour = hour.Add(time.Hour) {
		for _, at := range t.times(hour, 0.5*rhythm(hour)) {
			t.s.context("tenant", tenants[t.r.skewed(len(tenants))])
			t.s.also("purpose", "reminder")
			caller := t.service(t.reminder, at, agentGo)
			if t.r.chance(0.5) {
				t.s.generateDataKeyAs(at, t.west, caller, t.reminders, true, t.reminders.arn)
			} else {
				t.s.decrypt(at, t.west, caller, t.reminders, true)
			}
		}
		if hour.Hour()%8 == 2 {
			at := hour.Unix() + 100
			t.readSecret(at, t.service(t.reminder, at, agentGo), 37)
		}
	}
}

// policy is the key policy as Terraform has it.
func (t *story) policy(k *key) string {
	if k != t.patients {
		return defaultPolicy(clinicProduction)
	}
	// IAM decides about use; only the deploy role may change or delete.
	return `{"Version":"2012-10-17","Statement":[` +
		`{"Sid":"UseByIAM","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + clinicProduction + `:root"},` +
		`"Action":["kms:Decrypt","kms:Encrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:GetKeyPolicy","kms:ListGrants","kms:ListResourceTags","kms:GetKeyRotationStatus"],"Resource":"*"},` +
		`{"Sid":"AdministerByTerraform","Effect":"Allow","Principal":{"AWS":"` + t.deploy.arn + `"},"Action":"kms:*","Resource":"*"}]}`
}
