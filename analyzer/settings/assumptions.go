package settings

import "github.com/keytrail/keytrail/analyzer"

// Assumptions says in sentences what is assumed where the settings are silent.
// The list is empty when nothing that changes findings was left open.
func Assumptions(s *analyzer.Settings) []string {
	var out []string
	if len(s.Organisation) == 0 {
		out = append(out, "no organisation is listed: the accounts whose trails deliver logs are taken as ours, all others as outside; use of keys across that border is learned and posted, not paged")
	}
	if len(s.Organisation) > 0 && len(s.Partners) == 0 {
		out = append(out, "no partners are listed: every account outside the organisation that is let in counts as unknown")
	}
	if len(s.Tier0) == 0 {
		out = append(out, "no tier0_keys are listed: no key counts as critical, so no finding is raised for its key")
	}
	if len(s.KeyAllow) == 0 {
		out = append(out, "no key_allow is listed: which principals may use a key is learned from its use only")
	}
	if len(s.Roles.IaC) == 0 {
		out = append(out, "no roles.iac are listed: changes by infrastructure as code and CI are reported like those of anybody")
	}
	if len(s.Roles.Scanners) == 0 {
		out = append(out, "no roles.scanners are listed: posture scanners may show up as reconnaissance")
	}
	if len(s.Regions) == 0 {
		out = append(out, "no regions are listed: any Region may be in use")
	}
	return out
}
