package normalise

import (
	"strings"

	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// keyRef names a key, or the lack of one.
type keyRef struct {
	arn, account, region string
	multi                string // mrk-… or empty
}

// parseKeyARN reads the ARN of a key; ok is false for aliases and all else.
func parseKeyARN(s string) (k keyRef, ok bool) {
	a, ok := splitARN(strings.TrimSpace(s))
	if !ok || a.service != "kms" {
		return keyRef{}, false
	}
	id, ok := strings.CutPrefix(a.resource, "key/")
	if !ok || id == "" || strings.ContainsAny(id, " *?") {
		return keyRef{}, false
	}
	return newKeyRef(a.partition, a.region, a.account, id), true
}

func newKeyRef(partition, region, account, id string) keyRef {
	k := keyRef{
		arn:     "arn:" + partition + ":kms:" + region + ":" + account + ":key/" + id,
		account: account,
		region:  region,
	}
	if strings.HasPrefix(id, "mrk-") {
		k.multi = id
	}
	return k
}

// isKeyID tells whether s is a bare key id: a UUID, or mrk- and 32 hex digits.
func isKeyID(s string) bool {
	if id, ok := strings.CutPrefix(s, "mrk-"); ok {
		return len(id) >= 16 && isHex(id)
	}
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (s[i] == '-') || !dash && !isHex(s[i:i+1]) {
			return false
		}
	}
	return true
}

// aliasIn returns alias/NAME when s is an alias name or an alias ARN.
func aliasIn(s string) string {
	if strings.HasPrefix(s, "alias/") {
		return s
	}
	if a, ok := splitARN(s); ok && a.service == "kms" && strings.HasPrefix(a.resource, "alias/") {
		return a.resource
	}
	return ""
}

// resources is what the resources field says: the keys in its order, each
// once at each place, and an alias.
type resources struct {
	keys  []keyRef
	ids   []bareID // named without an ARN, as lookup-events does
	alias string
	trail string // ARN of a trail or an event data store
}

type bareID struct{ id, account string }

// maxResources bounds what is taken from one record.
const maxResources = 16

// parseResources reads a resources field in all the shapes that occur: the
// name of the ARN in either case, the type missing, the keys of lookup-events,
// and an alias listed as a key. What a value is, its own form tells.
func parseResources(v jsonscan.Value) (r resources) {
	if v.Kind() == jsonscan.Object {
		r.resource(v)
	}
	for e := v.Elements(); e.Next(); {
		r.resource(e.Value())
	}
	return r
}

func (r *resources) resource(v jsonscan.Value) {
	var name, typ, account string
	for m := v.Members(); m.Next(); {
		switch string(m.Key()) {
		case "ARN", "arn", "Arn", "ResourceName", "resourceName":
			if s := text(m.Value()); s != "" {
				name = s
			}
		case "type", "ResourceType", "resourceType":
			typ = text(m.Value())
		case "accountId", "AccountId":
			account = text(m.Value())
		}
	}
	r.add(strings.TrimSpace(name), typ, account)
}

func (r *resources) add(name, typ, account string) {
	if len(r.keys)+len(r.ids) >= maxResources {
		return
	}
	if k, ok := parseKeyARN(name); ok {
		r.keys = append(r.keys, k)
		return
	}
	if alias := aliasIn(name); alias != "" {
		r.alias = alias
		return
	}
	if isKeyID(name) && (typ == "" || typ == "AWS::KMS::Key") {
		r.ids = append(r.ids, bareID{name, account})
		return
	}
	if a, ok := splitARN(name); ok && a.service == "cloudtrail" {
		r.trail = name
	}
}
