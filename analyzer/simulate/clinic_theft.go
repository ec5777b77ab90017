package simulate

import "time"

// The last days: Saturday 11 April 2026, and what followed.
var (
	theftDay          = DefaultStart.AddDate(0, 0, 40)
	reconnaissance    = theftDay.Add(1*time.Hour + 12*time.Minute)
	refusals          = theftDay.Add(1*time.Hour + 33*time.Minute)
	outsiderGranted   = theftDay.Add(1*time.Hour + 52*time.Minute)
	policyWidened     = theftDay.Add(2*time.Hour + 5*time.Minute)
	outsiderReads     = theftDay.Add(2*time.Hour + 11*time.Minute)
	policyPublic      = theftDay.Add(2*time.Hour + 20*time.Minute)
	patientsRead      = theftDay.Add(2*time.Hour + 31*time.Minute)
	secretsHarvested  = theftDay.Add(2*time.Hour + 50*time.Minute)
	kmsExcluded       = theftDay.Add(3*time.Hour + 5*time.Minute)
	selectorsRestored = theftDay.Add(6*time.Hour + 7*time.Minute) // the drift run of that Saturday
	deletionScheduled = theftDay.Add(6*time.Hour + 41*time.Minute)
	onCallLooks       = theftDay.Add(9*time.Hour + 30*time.Minute)
)

// thief is the stolen session: the same instance, another address and client.
func (t *story) thief(at int64, verb string) *caller {
	by := t.support(at)
	by.ip, by.agent = thiefAddress, thiefAgent+verb
	return by
}

// theft writes what the thief did. Nothing here is ordinary.
func (t *story) theft() {
	t.recon()
	t.probe()
	t.letOutsiderIn()
	t.openPolicy()
	t.takePatients()
	t.takeSecrets()
	t.s.putEventSelectors(kmsExcluded.Unix(), t.west, t.thief(kmsExcluded.Unix(), "cloudtrail.put-event-selectors"), clinicTrail, kmsSource)
	t.s.scheduleKeyDeletion(deletionScheduled.Unix(), t.west, t.thief(deletionScheduled.Unix(), "kms.schedule-key-deletion"), t.imaging, 7)
	t.lookAround()
}

// recon looks at who it is, the trail, and the keys in five Regions.
func (t *story) recon() {
	at := reconnaissance.Unix()
	t.s.plain(at, t.west, t.thief(at, "sts.get-caller-identity"), "sts.amazonaws.com", "GetCallerIdentity", false, "", "")
	t.s.plain(at+25, t.west, t.thief(at, "iam.list-attached-role-policies"), "iam.amazonaws.com", "ListAttachedRolePolicies", false,
		`{"roleName":"support-tools"}`, "")
	t.s.plain(at+70, t.west, t.thief(at, "cloudtrail.describe-trails"), "cloudtrail.amazonaws.com", "DescribeTrails", false,
		`{"includeShadowTrails":true,"trailNameList":[]}`, "")
	t.s.plain(at+82, t.west, t.thief(at, "cloudtrail.get-event-selectors"), "cloudtrail.amazonaws.com", "GetEventSelectors", false,
		`{"trailName":"`+clinicTrail+`"}`, "")
	at += 120
	for _, p := range append([]*place{t.west, t.central}, t.unused...) {
		t.s.list(at, p, t.thief(at, "kms.list-keys"), "ListKeys")
		t.s.list(at+4, p, t.thief(at, "kms.list-aliases"), "ListAliases")
		at += 15
	}
	for _, k := range []*key{t.patients, t.documents, t.secrets, t.billing, t.imaging, t.databases} {
		t.s.inspect(at, t.west, t.thief(at, "kms.describe-key"), "DescribeKey", k, k.id)
		t.s.inspect(at+9, t.west, t.thief(at, "kms.get-key-policy"), "GetKeyPolicy", k, k.id)
		t.s.inspect(at+17, t.west, t.thief(at, "kms.list-grants"), "ListGrants", k, k.id)
		at += 95
	}
}

// probe tries what the role may not do: use keys of the other accounts, whose
// trails do not show it, and administer the patients' key.
func (t *story) probe() {
	at := refusals.Unix()
	deny := func(action, verb string, k *key, because string) {
		t.s.denied(at, t.west, t.thief(at, "kms."+verb), action, k, because)
		at += 23
	}
	for _, k := range []*key{t.lake, t.artifacts, t.signing} {
		for _, try := range [][2]string{{"Decrypt", "decrypt"}, {"DescribeKey", "describe-key"}, {"GetKeyPolicy", "get-key-policy"}} {
			deny(try[0], try[1], k, "the resource does not exist in this Region, no resource-based policies allow access, "+
				"or a resource-based policy explicitly denies access")
		}
	}
	for _, try := range [][2]string{
		{"CreateGrant", "create-grant"},
		{"PutKeyPolicy", "put-key-policy"},
		{"PutKeyPolicy", "put-key-policy"},
		{"DisableKey", "disable-key"},
		{"ScheduleKeyDeletion", "schedule-key-deletion"},
		{"ReplicateKey", "replicate-key"},
	} {
		deny(try[0], try[1], t.patients, noResourcePolicy+"kms:"+try[0]+" action")
	}
}

// letOutsiderIn makes a grant for an account that nobody knows, which may pass it
// on; the outsider uses it: our copy of its calls.
func (t *story) letOutsiderIn() {
	at := outsiderGranted.Unix()
	t.s.noContext()
	t.s.createGrant(at, t.west, t.thief(at, "kms.create-grant"), t.documents, &grant{
		grantee: t.outsider.arn, operations: []string{"Decrypt", "CreateGrant", "DescribeKey"}, id: mix(t.seed, 107),
	})
	for i := range int64(14) {
		by := &caller{
			who: identity{kind: awsAccount, role: t.outsider, account: outsiderAccount, session: "worker"},
			ip:  "203.0.113.140", agent: thiefAgent + "kms.decrypt", tls: true,
		}
		t.s.context("aws:s3:arn", "arn:aws:s3:::example-clinic-documents")
		t.s.share()
		t.s.decrypt(outsiderReads.Unix()+i*29, t.west, by, t.documents, true)
	}
}

// openPolicy lets in an outside account first, then everybody.
func (t *story) openPolicy() {
	statement := func(sid, principal, actions string) string {
		return `{"Version":"2012-10-17","Id":"key-default-1","Statement":[` +
			`{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + clinicProduction + `:root"},"Action":"kms:*","Resource":"*"},` +
			`{"Sid":"` + sid + `","Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":` + actions + `,"Resource":"*"}]}`
	}
	at := policyWidened.Unix()
	t.s.putKeyPolicy(at, t.west, t.thief(at, "kms.put-key-policy"), t.imaging,
		statement("AllowVendor", "arn:aws:iam::"+outsiderAccount+":root", `["kms:Decrypt","kms:DescribeKey","kms:CreateGrant"]`))
	at = policyPublic.Unix()
	t.s.putKeyPolicy(at, t.west, t.thief(at, "kms.put-key-policy"), t.imaging,
		statement("AllowVendor", "*", `["kms:Decrypt","kms:DescribeKey"]`))
}

// takePatients decrypts records one by one under a key that this role had never
// used.
func (t *story) takePatients() {
	for i := range int64(360) {
		at := patientsRead.Unix() + i*4/3
		t.s.context("tenant", tenants[int(i)%len(tenants)])
		t.s.also("table", "patients")
		t.s.decrypt(at, t.west, t.thief(at, "kms.decrypt"), t.patients, false)
	}
}

// takeSecrets reads nearly every secret there is.
func (t *story) takeSecrets() {
	at := secretsHarvested.Unix()
	t.s.plain(at-40, t.west, t.thief(at, "secretsmanager.list-secrets"), "secretsmanager.amazonaws.com", "ListSecrets", false, `{"maxResults":100}`, "")
	for n := range harvestedSecrets {
		t.readSecret(at+int64(n)*9, t.thief(at, "secretsmanager.get-secret-value"), n)
	}
}

const harvestedSecrets = 46

// lookAround is Mary, on call on Saturday morning, who takes the failures for a
// broken release and leaves it for Monday.
func (t *story) lookAround() {
	at := onCallLooks.Unix()
	console := t.session(t.onCall, onCallPerson, at, "192.0.2.17", agentBrowser)
	console.console = true
	t.s.list(at, t.west, console, "ListAliases")
	t.s.inspect(at+20, t.west, console, "DescribeKey", t.imaging, t.imaging.id)
	t.s.inspect(at+21, t.west, console, "ListResourceTags", t.imaging, t.imaging.id)
	cli := t.session(t.onCall, onCallPerson, at, "192.0.2.17", agentCLI+"secretsmanager.get-secret-value")
	t.readSecret(at+200, cli, 0)
	t.readSecret(at+260, cli, 8)
}
