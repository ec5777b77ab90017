package normalise

import (
	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// record holds the parts of a record that are read only when all of it has
// been seen.
type record struct {
	request, response, additional, service, resources jsonscan.Value

	// These belong to the caches and hold until the next record.
	who  *identity
	keys *resources
	req  *request
	add  *additional

	agent    agent
	readOnly jsonscan.Value
	console  bool
}

// What a record without these parts says.
var (
	noIdentity   = identity{lane: analyzer.LaneDirect}
	noResources  resources
	noRequest    request
	noAdditional additional
)

// fieldID is a field of a record.
type fieldID uint8

const (
	fieldOther fieldID = iota
	fieldAdditional
	fieldAgent
	fieldCategory
	fieldConsole
	fieldErrorCode
	fieldErrorMessage
	fieldEventID
	fieldIdentity
	fieldManagement
	fieldName
	fieldReadOnly
	fieldRecipient
	fieldRegion
	fieldRequest
	fieldRequestID
	fieldResources
	fieldResponse
	fieldService
	fieldShared
	fieldSource
	fieldSourceIP
	fieldTLS
	fieldTime
	fieldType
	fieldVPCE
	fieldVersion
	fieldCount
)

// fieldNames are the names as CloudTrail writes them. Those that nothing is
// read of are there so that they are known as quickly as the others.
var fieldNames = [fieldCount]string{
	fieldAdditional:   "additionalEventData",
	fieldAgent:        "userAgent",
	fieldCategory:     "eventCategory",
	fieldConsole:      "sessionCredentialFromConsole",
	fieldErrorCode:    "errorCode",
	fieldErrorMessage: "errorMessage",
	fieldEventID:      "eventID",
	fieldIdentity:     "userIdentity",
	fieldManagement:   "managementEvent",
	fieldName:         "eventName",
	fieldReadOnly:     "readOnly",
	fieldRecipient:    "recipientAccountId",
	fieldRegion:       "awsRegion",
	fieldRequest:      "requestParameters",
	fieldRequestID:    "requestID",
	fieldResources:    "resources",
	fieldResponse:     "responseElements",
	fieldService:      "serviceEventDetails",
	fieldShared:       "sharedEventID",
	fieldSource:       "eventSource",
	fieldSourceIP:     "sourceIPAddress",
	fieldTLS:          "tlsDetails",
	fieldTime:         "eventTime",
	fieldType:         "eventType",
	fieldVPCE:         "vpcEndpointId",
	fieldVersion:      "eventVersion",
}

// fieldsByName finds a field by its name alone.
var fieldsByName = func() map[string]fieldID {
	m := make(map[string]fieldID, fieldCount)
	for id, name := range fieldNames {
		if name != "" {
			m[name] = fieldID(id)
		}
	}
	return m
}()

// scan reads the top level of a record. Records follow one another with the
// same fields in the same order, so each field is first taken for the one that
// followed its predecessor in an earlier record.
func (n *Normaliser) scan(data jsonscan.Value, ev *analyzer.Event, r *record) {
	field := fieldOther
	for m := data.Members(); m.Next(); {
		name := m.Key()
		guess := n.next[field]
		if string(name) != fieldNames[guess] || guess == fieldOther {
			guess = fieldsByName[string(name)]
			n.next[field] = guess
		}
		field = guess
		n.value(field, m.Value(), ev, r)
	}
}

// value reads the value of one field.
func (n *Normaliser) value(field fieldID, v jsonscan.Value, ev *analyzer.Event, r *record) {
	switch field {
	case fieldName:
		ev.Name = n.name(field, v)
	case fieldSource:
		ev.Source = n.name(field, v)
	case fieldType:
		ev.Type = n.name(field, v)
	case fieldRegion:
		ev.Region = n.name(field, v)
	case fieldRecipient:
		ev.Account = n.name(field, v)
	case fieldVPCE:
		ev.VPCE = n.name(field, v)
	case fieldErrorCode:
		ev.ErrorCode = n.name(field, v)
	case fieldSourceIP:
		ip := n.networks.guess(v, &n.lastNetwork)
		ev.SourceIP, ev.Network = ip.text, ip.value
	case fieldAgent:
		a := n.agents.guess(v, &n.lastAgent)
		ev.UserAgent, r.agent = a.text, a.value
	case fieldTime:
		if raw := v.Raw(); len(raw) == 22 && raw[11] == 'T' && raw[20] == 'Z' {
			ev.Time, _ = parseSeconds(raw[1:21])
		}
		if ev.Time.IsZero() {
			ev.Time, _ = parseTime(text(v))
		}
	case fieldEventID:
		ev.ID = n.ids.text(v)
	case fieldShared:
		ev.SharedID = n.ids.text(v)
	case fieldReadOnly:
		r.readOnly = v
	case fieldErrorMessage:
		ev.ErrorMessage = long(v, maxMessage)
	case fieldConsole:
		r.console = truth(v)
	case fieldIdentity:
		if v.Kind() == jsonscan.Object {
			r.who = n.identities.get(v)
		}
	case fieldResources:
		r.resources = v
		if v.Kind() == jsonscan.Array || v.Kind() == jsonscan.Object {
			r.keys = n.resources.get(v)
		}
	case fieldRequest:
		r.request = v
		if v.Kind() == jsonscan.Object {
			r.req = n.requests.get(v)
		}
	case fieldAdditional:
		r.additional = v
		if v.Kind() == jsonscan.Object {
			r.add = n.additional.get(v)
		}
	case fieldTLS:
		if v.Kind() == jsonscan.Object {
			ev.TLSVersion = *n.tls.get(v)
		}
	case fieldResponse:
		r.response = v
	case fieldService:
		r.service = v
	}
}

// name reads a text that repeats.
func (n *Normaliser) name(field fieldID, v jsonscan.Value) string {
	return n.names.guess(v, &n.lastName[field]).text
}
