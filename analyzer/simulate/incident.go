package simulate

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"sort"
	"text/template"
	"time"

	"github.com/klauspost/compress/gzip"
)

//go:generate go run ./incident -out ../../fixtures/incident

// IncidentSeed is the seed of fixtures/incident.
const IncidentSeed = 20260411

// IncidentOptions choose another incident of the same story.
type IncidentOptions struct {
	Seed uint64 // 0 means IncidentSeed
}

// Expected is what a replay of the incident must say, as expected.json has it.
type Expected struct {
	// Findings must be raised, each by at least one finding that is active.
	Findings []ExpectedFinding `json:"findings"`
	// Tolerated may be raised, for they are true, but need not be.
	Tolerated []ExpectedFinding `json:"tolerated"`
	// Quiet are principals whose ordinary work must raise nothing that is posted
	// or pages anybody.
	Quiet []QuietPrincipal `json:"quiet"`
}

// ExpectedFinding names a finding by what people would check.
type ExpectedFinding struct {
	Detection string `json:"detection"`
	Severity  string `json:"severity"`
	Principal string `json:"principal"` // empty: any
	Key       string `json:"key"`       // key ARN, empty: none or any
	Account   string `json:"account"`
	About     string `json:"about"`
}

// QuietPrincipal is somebody who does what a thief does, with every right.
type QuietPrincipal struct {
	Principal string `json:"principal"`
	About     string `json:"about"`
}

// Incident writes six weeks of Example Clinic and the theft at their end: log
// files under AWSLogs/, and beside them keytrail.yaml with the company's
// settings, expected.json with what must be found, and README.md with what
// happened when.
//
// To keep the files few, one holds an hour and not five minutes.
func Incident(o IncidentOptions, sink Sink) (Totals, error) {
	t := newStory(o)
	t.weeks()
	t.theft()
	totals, err := t.deliver(sink)
	if err != nil {
		return Totals{}, fmt.Errorf("simulate incident: %w", err)
	}
	if err := t.pages(sink, totals); err != nil {
		return Totals{}, fmt.Errorf("simulate incident: %w", err)
	}
	return totals, nil
}

const incidentDays = 42

func newStory(o IncidentOptions) *story {
	if o.Seed == 0 {
		o.Seed = IncidentSeed
	}
	t := &story{
		clinic: newClinic(o.Seed), seed: o.Seed,
		start: DefaultStart, end: DefaultStart.AddDate(0, 0, incidentDays),
		r:     newRandom(o.Seed, 1),
		blind: []span{{kmsExcluded.Unix() + 1, selectorsRestored.Unix()}},
	}
	t.s.r = t.r
	t.s.out = t.take
	return t
}

// deliver puts the records into files, one for each account, Region and hour
// that has any.
func (t *story) deliver(sink Sink) (Totals, error) {
	type slot struct {
		recipient, region string
		hour              int64
	}
	files := map[slot][]entry{}
	var totals Totals
	for _, e := range t.log {
		s := slot{e.recipient, e.region, e.at / 3600}
		files[s] = append(files[s], e)
		totals.Records++
		if e.kms {
			totals.KMS++
		}
	}
	for s, list := range files {
		sort.SliceStable(list, func(i, j int) bool { return list[i].at < list[j].at })
		b := Batch{Name: string(appendObjectKey(nil, "", s.recipient, s.region,
			time.Unix((s.hour+1)*3600, 0).UTC().Add(delivery), mix(t.seed, text(s.recipient), text(s.region), bits(s.hour))))}
		for _, e := range list {
			b.Records = append(b.Records, e.raw)
		}
		body := b.Body()
		counted := &countingSink{Sink: sink}
		if err := writeFile(counted, b.Name, body, gzip.BestCompression); err != nil {
			return Totals{}, err
		}
		totals.Files++
		totals.RawBytes += int64(len(body))
		totals.GzBytes += counted.n
	}
	return totals, nil
}

//go:embed incident.md.tmpl
var incidentPage string

//go:embed incident.yaml.tmpl
var incidentSettings string

// pages writes what goes beside the logs.
func (t *story) pages(sink Sink, totals Totals) error {
	expected, err := json.MarshalIndent(t.expected(), "", "  ")
	if err != nil {
		return fmt.Errorf("expected.json: %w", err)
	}
	expected = append(expected, '\n')
	facts := t.facts(totals)
	for _, page := range []struct{ name, text string }{
		{"README.md", incidentPage}, {"keytrail.yaml", incidentSettings}, {"expected.json", ""},
	} {
		body := expected
		if page.text != "" {
			tmpl, err := template.New(page.name).Option("missingkey=error").Parse(page.text)
			if err != nil {
				return fmt.Errorf("template of %s: %w", page.name, err)
			}
			var b bytes.Buffer
			if err := tmpl.Execute(&b, facts); err != nil {
				return fmt.Errorf("template of %s: %w", page.name, err)
			}
			body = b.Bytes()
		}
		w, err := sink.Create(page.name)
		if err != nil {
			return err
		}
		if _, err := w.Write(body); err != nil {
			return fmt.Errorf("write %s: %w", page.name, err)
		}
		if err := w.Close(); err != nil {
			return fmt.Errorf("write %s: %w", page.name, err)
		}
	}
	return nil
}

// facts are what the templates name.
func (t *story) facts(totals Totals) map[string]any {
	clock := func(at time.Time) string { return at.Format("Mon 2 Jan 15:04") }
	return map[string]any{
		"Seed": t.seed, "Files": totals.Files, "Records": totals.Records, "KMS": totals.KMS,
		"MiB": fmt.Sprintf("%.1f", float64(totals.RawBytes)/(1<<20)), "GzMiB": fmt.Sprintf("%.1f", float64(totals.GzBytes)/(1<<20)),
		"Start": t.start.Format(time.DateOnly), "End": t.end.AddDate(0, 0, -1).Format(time.DateOnly),
		"Production": clinicProduction, "Tools": clinicTools, "Research": clinicResearch,
		"Partner": clinicPartner, "Outsider": outsiderAccount,
		"ThiefIP": thiefAddress, "Trail": clinicTrail, "OnCall": onCallPerson, "Admin": adminPerson,
		"OnCallRole": t.onCall.arn, "OutsiderRole": t.outsider.arn, "PartnerRole": t.partner.arn,
		"Patients": t.patients.id, "Documents": t.documents.id, "Secrets": t.secrets.id, "Billing": t.billing.id,
		"Imaging": t.imaging.id, "Fax": t.fax.id, "Reminders": t.reminders.id,
		"Stolen": t.supportTools.arn, "Harvested": harvestedSecrets, "SecretCount": len(t.secretNames),
		"SelectorsKept": clock(selectorsKept), "FaxScheduled": clock(faxScheduled), "Rotated": clock(documentsRotated),
		"Broken": clock(brokenRelease), "Reminder": clock(reminderDeployed),
		"Recon": clock(reconnaissance), "Refusals": clock(refusals), "Granted": clock(outsiderGranted),
		"Widened": clock(policyWidened), "OutsiderReads": clock(outsiderReads), "Public": clock(policyPublic),
		"PatientsRead": clock(patientsRead), "Harvest": clock(secretsHarvested), "Excluded": clock(kmsExcluded),
		"Restored": clock(selectorsRestored), "Scheduled": clock(deletionScheduled), "Looks": clock(onCallLooks),
	}
}

// expected is what a replay with keytrail.yaml must find.
func (t *story) expected() Expected {
	thief := t.supportTools.arn
	f := func(detection, severity, principal string, k *key, about string) ExpectedFinding {
		e := ExpectedFinding{Detection: detection, Severity: severity, Principal: principal, Account: clinicProduction, About: about}
		if k != nil {
			e.Key = k.arn
		}
		return e
	}
	return Expected{
		Findings: []ExpectedFinding{
			f("KMS-D01", "high", thief, t.imaging, "the imaging key is scheduled for deletion, with the shortest wait of 7 days, on a day it was used"),
			f("KMS-D05", "high", thief, t.patients, "DisableKey, ScheduleKeyDeletion and PutKeyPolicy on the patients' key refused; medium, raised for a tier-0 key"),
			f("KMS-D07", "high", t.imagingService.arn, t.imaging, "the imaging service keeps using the key that is pending deletion"),
			f("KMS-P02", "high", thief, t.imaging, "the imaging key's policy lets an unknown account in"),
			f("KMS-P03", "critical", thief, t.imaging, "the imaging key's policy lets everybody in"),
			f("KMS-G01", "high", thief, t.documents, "a grant on the documents key for a role of an unknown account"),
			f("KMS-G02", "high", thief, t.documents, "that grant lets its holder make grants"),
			f("KMS-G04", "medium", thief, t.documents, "that grant lets its holder decrypt, without a constraint"),
			f("KMS-U01", "high", thief, t.patients, "support-tools never used the patients' key before; medium, raised for a tier-0 key"),
			f("KMS-U01", "medium", outsiderAccount, t.documents, "nobody of that account ever used the documents key"),
			f("KMS-U02", "critical", thief, t.patients, "support-tools is not on the allow-list of the patients' key; high, raised for a tier-0 key"),
			f("KMS-U05", "high", thief, t.secrets, "46 different secrets within 7 minutes, through Secrets Manager"),
			f("KMS-U06", "medium", thief, nil, "15 refusals within 6 minutes: eight different actions on four keys of three accounts"),
			f("KMS-U07", "high", outsiderAccount, t.documents, "the unknown account uses the documents key through its grant"),
			f("KMS-A01", "critical", thief, nil, "KMS is excluded from production's trail"),
		},
		Tolerated: []ExpectedFinding{
			f("KMS-U01", "low", t.reminder.arn, nil, "the service of the fifth week uses its own new key and reads its secret: new, and meant"),
			f("KMS-U03", "high", thief, t.patients, "360 direct decrypts within 8 minutes; a spike only to those who take a machine's session for a person's"),
		},
		Quiet: []QuietPrincipal{
			{t.deploy.arn, "Terraform: no-op PutKeyPolicy, the partner's grant, a planned deletion of an unused key, the trail's selectors written as they are"},
			{t.backup.arn, "the backup: decrypts directly under 13 keys within 5 minutes, every night"},
			{t.onCall.arn, "on-call: reads two or three secrets, at night too"},
			{clinicPartner, "the partner: uses its grant on the billing key, bound to a context"},
			{t.scaling.arn, "EC2 Auto Scaling: grants for instances that start"},
			{t.machines.arn, "EC2: uses and retires these grants"},
			{t.config.arn, "AWS Config: is refused by the same keys every six hours"},
			{t.billingService.arn, "a broken release: eight refusals of one action on one key"},
			{t.etl.arn, "the nightly copy: uses a key of another account of the company"},
			{t.drVerify.arn, "the recovery test: uses the replica of the patients' key"},
			{t.admin.arn, "an administrator who tags a key"},
		},
	}
}

// Story returns what the incident's logs must make a replay say.
func Story(o IncidentOptions) Expected { return newStory(o).expected() }
