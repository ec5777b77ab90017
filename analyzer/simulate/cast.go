package simulate

import "fmt"

// role is a principal: an IAM role or, for the few that are left, a user.
type role struct {
	account string
	name    string
	id      string // AROA… or AIDA…
	arn     string
	sts     string // arn of its sessions, up to the session's name
	issuer  string // the sessionIssuer member, with a comma after it
}

func newRole(seed uint64, account, path, name string) *role {
	r := &role{account: account, name: name}
	r.id = "AROA" + base32Text(mix(seed, text(account), text(path+name)), 17)
	r.arn = "arn:aws:iam::" + account + ":role/" + path + name
	r.sts = "arn:aws:sts::" + account + ":assumed-role/" + name + "/"
	r.issuer = fmt.Sprintf(`"sessionIssuer":{"type":"Role","principalId":%q,"arn":%q,"accountId":%q,"userName":%q},`,
		r.id, r.arn, account, name)
	return r
}

// newInfrastructure is the identity under which EC2 uses the grants of an
// instance's volumes.
func newInfrastructure(account string) *role {
	r := newRole(0, account, "", "aws:ec2-infrastructure")
	r.id = account + ":aws:ec2-infrastructure"
	r.issuer = fmt.Sprintf(`"sessionIssuer":{"type":"Role","principalId":%q,"arn":%q,"accountId":%q,"userName":%q},`,
		r.id, r.arn, account, r.name)
	return r
}

func newUser(seed uint64, account, name string) *role {
	return &role{
		account: account, name: name,
		id:  "AIDA" + base32Text(mix(seed, text(account), text(name)), 17),
		arn: "arn:aws:iam::" + account + ":user/" + name,
	}
}

// key is a KMS key in one Region.
type key struct {
	account  string
	region   string
	id       string // UUID or mrk-…
	arn      string
	alias    string // alias/…
	material string // keyMaterialId, 64 hex digits
	resource string // its element of resources
}

func newKey(seed uint64, account, region, alias string) *key {
	return keyWithID(seed, account, region, alias, uuidText(mix(seed, text(account), text(region), text(alias))))
}

// newMultiRegionKey gives the same id in every Region.
func newMultiRegionKey(seed uint64, account, region, alias string) *key {
	return keyWithID(seed, account, region, alias, "mrk-"+hexText(mix(seed, text(account), text(alias)), 32))
}

func keyWithID(seed uint64, account, region, alias, id string) *key {
	k := &key{account: account, region: region, id: id, alias: alias}
	k.arn = "arn:aws:kms:" + region + ":" + account + ":key/" + id
	k.material = hexText(mix(seed, text(account), text(id), 7), 64)
	k.resource = fmt.Sprintf(`{"accountId":%q,"type":"AWS::KMS::Key","ARN":%q}`, account, k.arn)
	return k
}

// account is one account of the organisation.
type account struct {
	id     string
	name   string
	number int
	weight float64 // share of the traffic, over all accounts 1

	apps      []*role // services of the company, the busiest first
	people    []*role // permission sets of IAM Identity Center
	deploy    *role
	backup    *role
	scanner   *role
	config    *role
	scaling   *role
	machines  *role // aws:ec2-infrastructure
	reports   *role // the last IAM user
	partner   *role // of the partner's account, with a grant here
	staff     []string
	functions []string // names; the role of functions[i] is apps[i%len]
}

// place is an account in one Region: the keys and the data they protect.
type place struct {
	account *account
	region  string
	number  uint64 // mixes into what is derived here
	weight  float64

	appKeys []*key // apps[i] uses appKeys[i%len]
	shared  *key   // used by the account before this one too
	signing *key
	secret  *key
	storage *key
	volumes *key // aws/ebs
	disks   *key // customer key for volumes of scaling groups
	tables  *key
	db      *key
	lambda  *key // aws/lambda
	ssm     *key // aws/ssm
	logs    *key
	trail   *key
	billing *key // the partner's grant is on it
	all     []*key

	vpce      string
	secrets   []string // names with their random suffix
	params    []string
	buckets   []string
	tableIDs  []string
	databases []string
	streams   []string
}

// cast is everybody and everything of a run.
type cast struct {
	seed     uint64
	accounts []*account
	places   []*place // accounts x Regions
	partner  string
}

// Documentation accounts come first; the rest are plainly made up.
func accountID(n int) string {
	if n < 3 {
		return [...]string{"111122223333", "444455556666", "777788889999"}[n]
	}
	return fmt.Sprintf("1000%08d", n)
}

const partnerAccount = "222233334444"

var (
	appNames = []string{
		"checkout", "orders", "catalog", "billing", "search", "identity", "notify", "reports",
		"ledger", "gateway", "media", "shipping", "pricing", "support", "audit", "inventory",
	}
	accountNames   = []string{"production", "shared", "data", "staging", "edge", "payments", "mobile", "labs"}
	permissionSets = []string{"AdministratorAccess", "DeveloperAccess", "OnCallAccess", "ReadOnlyAccess"}
	staffNames     = []string{
		"alejandro.rosalez", "arnav.desai", "carlos.salazar", "diego.ramirez", "jane.doe", "john.stiles",
		"kwaku.mensah", "li.juan", "maria.garcia", "martha.rivera", "mary.major", "nikhil.jayashankar",
		"pat.candella", "paulo.santos", "richard.roe", "saanvi.sarkar", "shirley.rodriguez", "sofia.martinez",
	}
)

// newCast peoples an organisation.
func newCast(seed uint64, accounts int, regions []string) *cast {
	c := &cast{seed: seed, partner: partnerAccount}
	for n := range accounts {
		a := newAccount(seed, n)
		c.accounts = append(c.accounts, a)
		for i, region := range regions {
			p := newPlace(seed, a, region)
			// The first Region has most of the traffic, the others share a fifth.
			p.weight = a.weight
			if len(regions) > 1 {
				p.weight = a.weight * 0.8
				if i > 0 {
					p.weight = a.weight * 0.2 / float64(len(regions)-1)
				}
			}
			c.places = append(c.places, p)
		}
	}
	var sum float64
	for _, p := range c.places {
		sum += p.weight
	}
	for _, p := range c.places {
		p.weight /= sum
	}
	return c
}

func newAccount(seed uint64, n int) *account {
	id := accountID(n)
	a := &account{
		id: id, number: n,
		name:   fmt.Sprintf("%s-%d", accountNames[n%len(accountNames)], n/len(accountNames)),
		weight: 1 / float64(n+2), // a few accounts carry most of the traffic
	}
	apps := 6 + int(mix(seed, text(id))%10)
	for i := range apps {
		name := appNames[(i+n)%len(appNames)]
		a.apps = append(a.apps, newRole(seed, id, "service/", name+"-task-role"))
		a.functions = append(a.functions, name+"-handler")
	}
	for _, set := range permissionSets {
		a.people = append(a.people, newPermissionSet(seed, id, set))
	}
	for i := range 6 {
		a.staff = append(a.staff, staffNames[(n*5+i)%len(staffNames)]+"@example.com")
	}
	a.deploy = newRole(seed, id, "cicd/", "terraform-deploy")
	a.backup = newRole(seed, id, "service-role/", "AWSBackupDefaultServiceRole")
	a.scanner = newRole(seed, id, "security/", "posture-scanner")
	a.config = newRole(seed, id, "aws-service-role/config.amazonaws.com/", "AWSServiceRoleForConfig")
	a.scaling = newRole(seed, id, "aws-service-role/autoscaling.amazonaws.com/", "AWSServiceRoleForAutoScaling")
	a.machines = newInfrastructure(id)
	a.reports = newUser(seed, id, "legacy-reports")
	a.partner = newRole(seed, partnerAccount, "", "claims-reader")
	return a
}

// newPermissionSet is the role that IAM Identity Center makes in an account.
func newPermissionSet(seed uint64, account, set string) *role {
	return newRole(seed, account, "aws-reserved/sso.amazonaws.com/eu-west-1/",
		"AWSReservedSSO_"+set+"_"+hexText(mix(seed, text(account), text(set)), 16))
}

func newPlace(seed uint64, a *account, region string) *place {
	p := &place{account: a, region: region, number: mix(seed, text(a.id), text(region))}
	mk := func(alias string) *key {
		k := newKey(seed, a.id, region, alias)
		p.all = append(p.all, k)
		return k
	}
	for i, app := range a.apps {
		alias := "alias/" + app.name[:len(app.name)-len("-task-role")]
		if i == 0 { // the busiest has a multi-Region key
			k := newMultiRegionKey(seed, a.id, region, alias)
			p.all = append(p.all, k)
			p.appKeys = append(p.appKeys, k)
			continue
		}
		p.appKeys = append(p.appKeys, mk(alias))
	}
	p.shared = mk("alias/shared-documents")
	p.signing = mk("alias/release-signing")
	p.secret = mk("alias/secrets")
	p.storage = mk("alias/storage")
	p.disks = mk("alias/disks")
	p.tables = mk("alias/tables")
	p.db = mk("alias/databases")
	p.logs = mk("alias/logs")
	p.trail = mk("alias/trail")
	p.billing = mk("alias/claims")
	p.volumes = newKey(seed, a.id, region, "alias/aws/ebs")
	p.lambda = newKey(seed, a.id, region, "alias/aws/lambda")
	p.ssm = newKey(seed, a.id, region, "alias/aws/ssm")

	p.vpce = "vpce-0" + hexText(mix(p.number, 1), 16)
	for i := range 40 {
		app := appNames[(i+a.number)%len(appNames)]
		p.secrets = append(p.secrets, fmt.Sprintf("%s/%s-%s", app, secretKinds[i%len(secretKinds)], suffix(mix(p.number, 2, uint64(i)))))
		p.params = append(p.params, fmt.Sprintf("/%s/%s/%d", app, secretKinds[i%len(secretKinds)], i/len(secretKinds)))
	}
	for i := range 8 {
		app := appNames[(i+a.number)%len(appNames)]
		p.buckets = append(p.buckets, fmt.Sprintf("example-%s-%s-%s", a.name, app, region))
		p.tableIDs = append(p.tableIDs, app+"-state")
		p.databases = append(p.databases, "db-"+base32Text(mix(p.number, 3, uint64(i)), 26))
		p.streams = append(p.streams, app+"-events")
	}
	return p
}

var secretKinds = []string{"database", "api-token", "smtp", "signing", "partner-login"}

// suffix is the six characters that Secrets Manager adds to a name.
func suffix(v uint64) string {
	var b [6]byte
	for i := range b {
		b[i] = base62Digits[v%62]
		v /= 62
	}
	return string(b[:])
}
