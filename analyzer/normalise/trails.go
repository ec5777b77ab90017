package normalise

import (
	"slices"
	"strings"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// trail fills in what a call about a trail or an event data store takes away.
func trail(ev *analyzer.Event, request, response jsonscan.Value, resource string) {
	for _, field := range []string{"trailName", "name", "trailNameOrARN", "eventDataStore", "trailARN"} {
		if ev.TrailName = text(request.Get(field)); ev.TrailName != "" {
			break
		}
	}
	ev.TrailARN = firstOf(text(response.Get("trailARN")), text(response.Get("trailArn")), text(response.Get("eventDataStoreArn")), resource)
	if _, ok := splitARN(ev.TrailName); ok {
		ev.TrailARN = firstOf(ev.TrailARN, ev.TrailName)
		ev.TrailName = lastPart(ev.TrailName)
	}
	if ev.TrailARN == "" && ev.TrailName != "" && (strings.HasSuffix(ev.Name, "Trail") || trailCalls[ev.Name]) {
		// A trail is changed in its home Region and account only, so its ARN is known.
		ev.TrailARN = "arn:" + partitionOf(ev.Region) + ":cloudtrail:" + ev.Region + ":" + ev.Account + ":trail/" + ev.TrailName
	}
	ev.TrailBucket = text(request.Get("s3BucketName"))
	ev.TrailKeyID = text(request.Get("kmsKeyId"))

	switch ev.Name {
	case "PutEventSelectors", "CreateTrail", "UpdateTrail", "CreateEventDataStore", "UpdateEventDataStore":
		c := coverage{}
		c.basic(list(request.Get("eventSelectors")))
		c.advanced(list(request.Get("advancedEventSelectors")))
		ev.TrailBlinds, ev.TrailDrops = c.judge()
		if strings.HasPrefix(ev.Name, "Create") && !c.management {
			// A new store for data events takes nothing away.
			ev.TrailDrops = nil
		}
	}
	switch ev.Name {
	case "UpdateTrail", "UpdateEventDataStore":
		ev.TrailWeakens = weakened(request)
	case "StopLogging":
		ev.TrailWeakens = []string{"logging stopped"}
	case "DeleteTrail":
		ev.TrailWeakens = []string{"trail deleted"}
	case "StopEventDataStoreIngestion":
		ev.TrailWeakens = []string{"ingestion stopped"}
	case "DeleteEventDataStore":
		ev.TrailWeakens = []string{"event data store deleted"}
	}
}

// trailCalls name a trail in the request without the word in their own name.
var trailCalls = map[string]bool{"PutEventSelectors": true, "StopLogging": true, "StartLogging": true, "PutInsightSelectors": true}

// weakened lists what an update takes from a trail. Only fields of the request
// count: the response repeats all that was set before.
func weakened(request jsonscan.Value) (weakens []string) {
	off := func(field string) bool {
		v := request.Get(field)
		return given(v) && !truth(v)
	}
	for _, f := range []struct{ field, words string }{
		{"isMultiRegionTrail", "not multi-Region"},
		{"multiRegionEnabled", "not multi-Region"},
		{"includeGlobalServiceEvents", "no global service events"},
		{"enableLogFileValidation", "no log file validation"},
		{"isOrganizationTrail", "not organisation-wide"},
		{"organizationEnabled", "not organisation-wide"},
		{"terminationProtectionEnabled", "no termination protection"},
	} {
		if off(f.field) {
			weakens = append(weakens, f.words)
		}
	}
	for _, f := range []struct{ field, set, emptied string }{
		{"s3BucketName", "bucket set", "no bucket"},
		{"kmsKeyId", "log key set", "log key removed"},
		{"cloudWatchLogsLogGroupArn", "", "no CloudWatch Logs"},
		{"snsTopicName", "", "no notifications"},
	} {
		v := request.Get(f.field)
		if v.Kind() != jsonscan.String {
			continue
		}
		words := f.set
		if v.String() == "" {
			words = f.emptied
		}
		if words != "" {
			weakens = append(weakens, words)
		}
	}
	return weakens
}

// coverage is the union of what the selectors of one call let through of the
// management events: KMS or not, reads and writes. One selector that covers
// KMS is enough, whatever the others leave out.
type coverage struct {
	given       bool // there were selectors
	management  bool // some selector takes management events
	excludesKMS []string
	narrowedBy  []string // fields that let only some KMS events through

	kmsRead, kmsWrite         bool // fully
	kmsReadPart, kmsWritePart bool // only some
	otherRead, otherWrite     bool // of the other services
}

// basic adds event selectors of the older kind.
func (c *coverage) basic(selectors []jsonscan.Value) {
	for _, s := range selectors {
		if s.Kind() != jsonscan.Object {
			continue
		}
		c.given = true
		// Both default to the wide setting (CloudTrail API Reference, EventSelector).
		management := s.Get("includeManagementEvents")
		if given(management) && !truth(management) {
			continue
		}
		read, write := true, true
		switch strings.ToLower(text(s.Get("readWriteType"))) {
		case "writeonly":
			read = false
		case "readonly":
			write = false
		}
		c.management = true
		c.otherRead, c.otherWrite = c.otherRead || read, c.otherWrite || write
		excluded := false
		for _, source := range list(s.Get("excludeManagementEventSources")) {
			excluded = excluded || strings.EqualFold(strings.TrimSpace(text(source)), sourceKMS)
		}
		if excluded {
			c.excludesKMS = append(c.excludesKMS, "excludes "+sourceKMS)
			continue
		}
		c.kmsRead, c.kmsWrite = c.kmsRead || read, c.kmsWrite || write
	}
}

// advanced adds advanced event selectors.
func (c *coverage) advanced(selectors []jsonscan.Value) {
	for _, s := range selectors {
		if s.Kind() != jsonscan.Object {
			continue
		}
		c.given = true
		management, read, write := false, true, true
		var blind, narrowed []string
		for _, f := range list(s.Get("fieldSelectors")) {
			field := text(f.Get("field"))
			switch field {
			case "eventCategory":
				management = admits(f, "Management")
			case "readOnly":
				read, write = read && admits(f, "true"), write && admits(f, "false")
			case "eventSource":
				if !admits(f, sourceKMS) {
					blind = append(blind, exclusion(f))
				}
			case "":
			default:
				narrowed = append(narrowed, field)
			}
		}
		if !management {
			continue
		}
		c.management = true
		c.otherRead, c.otherWrite = c.otherRead || read, c.otherWrite || write
		switch {
		case len(blind) > 0:
			c.excludesKMS = append(c.excludesKMS, blind...)
		case len(narrowed) > 0:
			c.narrowedBy = append(c.narrowedBy, narrowed...)
			c.kmsReadPart, c.kmsWritePart = c.kmsReadPart || read, c.kmsWritePart || write
		default:
			c.kmsRead, c.kmsWrite = c.kmsRead || read, c.kmsWrite || write
		}
	}
}

// admits tells whether one field selector lets a value of its field through:
// each operator given must hold, any value of a positive one is enough, and no
// value of a negative one may fit.
func admits(f jsonscan.Value, value string) bool {
	hasFit := func(operator string, fits func(s, pattern string) bool) (given, fit bool) {
		for _, p := range list(f.Get(operator)) {
			given = true
			fit = fit || fits(value, text(p))
		}
		return given, fit
	}
	for _, op := range []struct {
		positive, negative string
		fits               func(s, pattern string) bool
	}{
		{"equals", "notEquals", strings.EqualFold},
		{"startsWith", "notStartsWith", strings.HasPrefix},
		{"endsWith", "notEndsWith", strings.HasSuffix},
	} {
		if given, fit := hasFit(op.positive, op.fits); given && !fit {
			return false
		}
		if _, fit := hasFit(op.negative, op.fits); fit {
			return false
		}
	}
	return true
}

// exclusion says how a field selector on eventSource shuts KMS out.
func exclusion(f jsonscan.Value) string {
	for _, op := range []string{"notEquals", "notStartsWith", "notEndsWith"} {
		if len(list(f.Get(op))) > 0 {
			return "eventSource " + op + " excludes " + sourceKMS
		}
	}
	return "eventSource lists others than " + sourceKMS
}

// judge tells how KMS events stop, and what else stops.
func (c *coverage) judge() (blinds, drops []string) {
	if !c.given {
		return nil, nil
	}
	kms := c.kmsRead || c.kmsWrite || c.kmsReadPart || c.kmsWritePart
	switch {
	case !c.management:
		return nil, []string{"management events"}
	case !kms:
		slices.Sort(c.excludesKMS)
		blinds = slices.Compact(c.excludesKMS)
		if len(blinds) == 0 {
			// readOnly selectors that contradict each other take nothing at all.
			drops = append(drops, "management events")
		}
	case !c.kmsRead && !c.kmsReadPart && c.otherRead && len(c.excludesKMS) > 0:
		drops = append(drops, "KMS read events")
	case !c.kmsWrite && !c.kmsWritePart && c.otherWrite && len(c.excludesKMS) > 0:
		drops = append(drops, "KMS write events")
	}
	if !c.otherRead && c.otherWrite {
		drops = append(drops, "read events")
	}
	if !c.otherWrite && c.otherRead {
		drops = append(drops, "write events")
	}
	if !c.kmsRead && c.kmsReadPart || !c.kmsWrite && c.kmsWritePart {
		slices.Sort(c.narrowedBy)
		for _, field := range slices.Compact(c.narrowedBy) {
			drops = append(drops, "events not selected by "+field)
		}
	}
	return blinds, drops
}
