package simulate

import "fmt"

// clinic is Example Clinic, the small company of the incident: who works there,
// which keys it has and where.
type clinic struct {
	production, tools, research account

	west    *place // production, eu-west-1: nearly everything
	central *place // production, eu-central-1: the replica for disaster recovery
	unused  []*place
	toolsW  *place
	lab     *place

	// Keys of production in eu-west-1.
	patients, documents, secrets, billing, imaging, trail, fax, reminders *key
	more                                                                  []*key
	replica                                                               *key // of patients, in eu-central-1
	ssm, lambda, volumes, databases                                       *key
	artifacts, signing                                                    *key // tools
	lake                                                                  *key // research

	// Services in production.
	api, portal, imagingService, billingService, claimsExport, reminder *role
	backup, drVerify, supportTools, deploy, deployTools, deployResearch *role
	config, scaling, machines                                           *role
	runner                                                              *role // CI, tools
	etl, notebook                                                       *role // research
	onCall, admin, analyst                                              *role // people
	partner, outsider                                                   *role

	secretNames []string
}

const (
	clinicProduction = "111122223333"
	clinicTools      = "444455556666"
	clinicResearch   = "777788889999"
	clinicPartner    = partnerAccount // Example Billing, which files claims
	outsiderAccount  = "999900001111" // nobody's
	clinicTrail      = "clinic-trail"
	onCallPerson     = "mary.major@example.com"
	adminPerson      = "richard.roe@example.com"
	analystPerson    = "saanvi.sarkar@example.com"
	thiefAddress     = "203.0.113.77"
	thiefAgent       = "aws-cli/2.22.35 md/awscrt#0.22.0 ua/2.1 os/linux#6.11.2-amd64 md/arch#x86_64 lang/python#3.12.8 md/pyimpl#CPython m/n cfg/retry-mode#standard md/installer#source md/prompt#off md/command#"
)

func newClinic(seed uint64) *clinic {
	c := &clinic{
		production: account{id: clinicProduction, name: "clinic-production"},
		tools:      account{id: clinicTools, name: "clinic-tools"},
		research:   account{id: clinicResearch, name: "clinic-research"},
	}
	at := func(a *account, region string) *place {
		return &place{account: a, region: region, number: mix(seed, text(a.id), text(region))}
	}
	c.west = at(&c.production, "eu-west-1")
	c.central = at(&c.production, "eu-central-1")
	for _, region := range []string{"us-east-1", "us-west-2", "ap-southeast-1"} {
		c.unused = append(c.unused, at(&c.production, region))
	}
	c.toolsW = at(&c.tools, "eu-west-1")
	c.lab = at(&c.research, "eu-west-1")
	c.west.vpce = "vpce-0" + hexText(mix(seed, 81), 16)

	keyAt := func(p *place, alias string) *key { return newKey(seed, p.account.id, p.region, alias) }
	c.patients = newMultiRegionKey(seed, clinicProduction, "eu-west-1", "alias/clinic-patient-records")
	c.replica = newMultiRegionKey(seed, clinicProduction, "eu-central-1", "alias/clinic-patient-records")
	c.documents = keyAt(c.west, "alias/clinic-documents")
	c.secrets = keyAt(c.west, "alias/clinic-secrets")
	c.billing = keyAt(c.west, "alias/clinic-billing")
	c.imaging = keyAt(c.west, "alias/clinic-imaging")
	c.trail = keyAt(c.west, "alias/clinic-trail")
	c.fax = keyAt(c.west, "alias/clinic-legacy-fax")
	c.reminders = keyAt(c.west, "alias/clinic-reminders")
	for _, name := range []string{"queues", "tables", "database", "logs", "search", "messages"} {
		c.more = append(c.more, keyAt(c.west, "alias/clinic-"+name))
	}
	c.ssm = keyAt(c.west, "alias/aws/ssm")
	c.lambda = keyAt(c.west, "alias/aws/lambda")
	c.volumes = keyAt(c.west, "alias/clinic-volumes")
	c.databases = c.more[2]
	c.artifacts = keyAt(c.toolsW, "alias/clinic-artifacts")
	c.signing = keyAt(c.toolsW, "alias/clinic-release-signing")
	c.lake = keyAt(c.lab, "alias/clinic-research-lake")

	role := func(name string) *role { return newRole(seed, clinicProduction, "", name) }
	c.api, c.portal = role("records-api"), role("patient-portal")
	c.imagingService, c.billingService = role("imaging-service"), role("billing-service")
	c.claimsExport, c.reminder = role("claims-export"), role("appointment-reminder")
	c.backup, c.drVerify, c.supportTools = role("backup-runner"), role("dr-verify"), role("support-tools")
	c.deploy = role("terraform-deploy")
	c.deployTools = newRole(seed, clinicTools, "", "terraform-deploy")
	c.deployResearch = newRole(seed, clinicResearch, "", "terraform-deploy")
	c.config = newRole(seed, clinicProduction, "aws-service-role/config.amazonaws.com/", "AWSServiceRoleForConfig")
	c.scaling = newRole(seed, clinicProduction, "aws-service-role/autoscaling.amazonaws.com/", "AWSServiceRoleForAutoScaling")
	c.machines = newInfrastructure(clinicProduction)
	c.runner = newRole(seed, clinicTools, "", "ci-runner")
	c.etl = newRole(seed, clinicResearch, "", "research-etl")
	c.notebook = newRole(seed, clinicResearch, "", "notebook")
	c.onCall = newPermissionSet(seed, clinicProduction, "OnCallAccess")
	c.admin = newPermissionSet(seed, clinicProduction, "AdministratorAccess")
	c.analyst = newPermissionSet(seed, clinicResearch, "AnalystAccess")
	c.partner = newRole(seed, clinicPartner, "", "claims-reader")
	c.outsider = newRole(seed, outsiderAccount, "", "collector")

	for i := range 48 {
		app := [...]string{"records-api", "patient-portal", "imaging", "billing", "claims", "support", "pharmacy", "laboratory"}[i%8]
		kind := [...]string{"database", "api-token", "smtp", "signing", "partner-login", "session"}[i/8]
		c.secretNames = append(c.secretNames, fmt.Sprintf("clinic/%s/%s-%s", app, kind, suffix(mix(seed, 83, uint64(i)))))
	}
	return c
}

// customerKeys are the keys of production that Terraform and the backup know.
func (c *clinic) customerKeys() []*key {
	return append([]*key{c.patients, c.documents, c.secrets, c.billing, c.imaging, c.trail, c.volumes}, c.more...)
}

func (c *clinic) secretARN(n int) string {
	return "arn:aws:secretsmanager:eu-west-1:" + clinicProduction + ":secret:" + c.secretNames[n]
}
