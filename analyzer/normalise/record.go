package normalise

import (
	"fmt"

	"github.com/keytrail/keytrail/analyzer"
)

// record holds the parts of a record that are read only when all of it has
// been seen. The slices point into the caller's bytes.
type record struct {
	request, response, additional, service, resources []byte

	// These belong to the caches and hold until the next record.
	who  *identity
	keys *resources
	req  *request
	add  *additional

	agent    agent
	readOnly []byte
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

// fieldNames are the names as CloudTrail writes them, up to the value.
var fieldNames = [fieldCount]string{
	fieldAdditional:   `"additionalEventData":`,
	fieldAgent:        `"userAgent":`,
	fieldCategory:     `"eventCategory":`,
	fieldConsole:      `"sessionCredentialFromConsole":`,
	fieldErrorCode:    `"errorCode":`,
	fieldErrorMessage: `"errorMessage":`,
	fieldEventID:      `"eventID":`,
	fieldIdentity:     `"userIdentity":`,
	fieldManagement:   `"managementEvent":`,
	fieldName:         `"eventName":`,
	fieldReadOnly:     `"readOnly":`,
	fieldRecipient:    `"recipientAccountId":`,
	fieldRegion:       `"awsRegion":`,
	fieldRequest:      `"requestParameters":`,
	fieldRequestID:    `"requestID":`,
	fieldResources:    `"resources":`,
	fieldResponse:     `"responseElements":`,
	fieldService:      `"serviceEventDetails":`,
	fieldShared:       `"sharedEventID":`,
	fieldSource:       `"eventSource":`,
	fieldSourceIP:     `"sourceIPAddress":`,
	fieldTLS:          `"tlsDetails":`,
	fieldTime:         `"eventTime":`,
	fieldType:         `"eventType":`,
	fieldVPCE:         `"vpcEndpointId":`,
	fieldVersion:      `"eventVersion":`,
}

// fieldsByName finds a field by its name alone.
var fieldsByName = func() map[string]fieldID {
	m := make(map[string]fieldID, fieldCount)
	for id, name := range fieldNames {
		if name != "" {
			m[name[1:len(name)-2]] = fieldID(id)
		}
	}
	return m
}()

// scan reads the top level of a record. Records follow one another with the
// same fields in the same order, so each field is first taken for the one that
// followed its predecessor in an earlier record.
func (n *Normaliser) scan(data []byte, ev *analyzer.Event, r *record) error {
	malformed := func(at int) error {
		return fmt.Errorf("%w at byte %d: %w", ErrIncomplete, at, errMalformed)
	}
	i := space(data, 0)
	if i >= len(data) || data[i] != '{' {
		return malformed(i)
	}
	i++
	for field := fieldOther; ; {
		if i < len(data) && data[i] == ',' {
			i++
		}
		if guess := n.next[field]; guess != fieldOther && hasPrefix(data, i, fieldNames[guess]) {
			field = guess
			i += len(fieldNames[guess])
		} else {
			if i = space(data, i); i >= len(data) {
				return malformed(i)
			}
			if data[i] == '}' {
				if space(data, i+1) != len(data) {
					return malformed(i)
				}
				return nil
			}
			if data[i] == ',' {
				continue
			}
			end := stringEnd(data, i)
			if data[i] != '"' || end < 0 {
				return malformed(i)
			}
			next := fieldsByName[string(data[i+1:end-1])]
			n.next[field] = next
			field = next
			if i = space(data, end); i >= len(data) || data[i] != ':' {
				return malformed(i)
			}
			i++
		}
		if i < len(data) && data[i] <= ' ' {
			i = space(data, i)
		}
		if i >= len(data) {
			return malformed(i)
		}
		at := i
		if i = n.value(field, data, i, ev, r); i < 0 {
			return malformed(at)
		}
	}
}

// value reads the value of one field and returns the offset behind it, or -1.
func (n *Normaliser) value(field fieldID, data []byte, i int, ev *analyzer.Event, r *record) int {
	from := i
	composite := data[i] == '{' || data[i] == '['
	switch field {
	case fieldName:
		return n.name(field, data, i, &ev.Name)
	case fieldSource:
		return n.name(field, data, i, &ev.Source)
	case fieldType:
		return n.name(field, data, i, &ev.Type)
	case fieldRegion:
		return n.name(field, data, i, &ev.Region)
	case fieldRecipient:
		return n.name(field, data, i, &ev.Account)
	case fieldVPCE:
		return n.name(field, data, i, &ev.VPCE)
	case fieldErrorCode:
		return n.name(field, data, i, &ev.ErrorCode)
	case fieldSourceIP:
		ip, end := n.networks.get(data, i, &n.lastNetwork)
		if end > 0 {
			ev.SourceIP, ev.Network = ip.text, ip.value
		}
		return end
	case fieldAgent:
		a, end := n.agents.get(data, i, &n.lastAgent)
		if end > 0 {
			ev.UserAgent, r.agent = a.text, a.value
		}
		return end
	case fieldIdentity:
		if composite {
			r.who, i = n.identities.get(data, i)
			return i
		}
	case fieldResources:
		if composite {
			r.keys, i = n.resources.get(data, i)
			r.resources = data[from:max(from, i)]
			return i
		}
	case fieldRequest:
		if composite {
			r.req, i = n.requests.get(data, i)
			r.request = data[from:max(from, i)]
			return i
		}
	case fieldAdditional:
		if composite {
			r.add, i = n.additional.get(data, i)
			r.additional = data[from:max(from, i)]
			return i
		}
	case fieldTLS:
		if composite {
			version, end := n.tls.get(data, i)
			if end > 0 {
				ev.TLSVersion = *version
			}
			return end
		}
	}

	end := skip(data, i)
	if end < 0 {
		return -1
	}
	v := data[i:end]
	switch field {
	case fieldTime:
		if len(v) == 22 && v[11] == 'T' && v[20] == 'Z' {
			ev.Time, _ = parseSeconds(v[1:21])
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
		ev.ErrorMessage = cut(text(v), maxMessage)
	case fieldConsole:
		r.console = string(v) == `"true"` || string(v) == "true"
	case fieldRequest:
		r.request = v
	case fieldResponse:
		if v[0] != 'n' {
			r.response = v
		}
	case fieldAdditional:
		r.additional = v
	case fieldService:
		r.service = v
	case fieldResources:
		r.resources = v
	}
	return end
}

// name reads a text that repeats.
func (n *Normaliser) name(field fieldID, data []byte, i int, to *string) int {
	e, end := n.names.get(data, i, &n.lastName[field])
	if end > 0 {
		*to = e.text
	}
	return end
}
