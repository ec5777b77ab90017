// Package normalise turns a CloudTrail record into an event: one row that says
// who did what to which key, in words that stay the same from record to record.
//
// A [Normaliser] takes the bytes of one record and fills in an
// [analyzer.Event]. It reads every shape of record that AWS has written since
// 2014 and the mistakes seen in real logs; what it cannot read in a record it
// leaves empty, and it fails only when a record has no name, source or time.
//
// Three decisions shape the result (docs/events.md has each column):
//
//   - The principal is what outlives a session: the role behind it, the user,
//     the root of an account, the service, or the account of a caller elsewhere.
//   - The lane tells who stands behind a call: the principal itself (direct), a
//     service that uses the session of a user or role (forwarded), or a service
//     on its own (service). A service-linked role is a service.
//   - A person is an IAM user, the root user, a sign-in through IAM Identity
//     Center or a directory (the session bears the user's name or mail address),
//     whoever carries a source identity, any session of the console, and a
//     session of the command line, CloudShell or PowerShell unless the session,
//     the user agent or the way its credentials were delivered shows a machine:
//     an instance, a function, a container, a pipeline, a federated workload.
//     Session names made up by an SDK (botocore-session-…) are no such sign,
//     because that is what a person's assumed role looks like.
//
// Mass events cost little: what repeats from record to record, such as the
// identity or the encryption context, is parsed once and found again by its
// bytes.
package normalise

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/keytrail/keytrail/analyzer"
	"github.com/keytrail/keytrail/analyzer/trail/jsonscan"
)

// What is kept of one text at most, in runes. CloudTrail itself cuts records at
// 256 KB and request parameters at 100 KB.
const (
	maxText    = 8 << 10  // any text that is not named below
	maxJSON    = 64 << 10 // request, response and the like, and a policy
	maxContext = 8 << 10  // encryption context
	maxMessage = 2 << 10  // error message
	maxList    = 100      // entries of a list
)

const (
	sourceKMS        = "kms.amazonaws.com"
	sourceCloudTrail = "cloudtrail.amazonaws.com"
	awsInternal      = "AWS Internal"
)

// ErrIncomplete is wrapped by the error of Event for a record that lacks what
// every event has: a name, a source and a time that can be read.
var ErrIncomplete = errors.New("not a complete CloudTrail record")

// Hint says what is known of a record from where it was found: the account and
// the Region in the name of its log file. It stands in where the record itself
// is silent.
type Hint struct {
	Account string
	Region  string
}

// Option changes what a Normaliser does.
type Option func(*Normaliser)

// WithPolicyJudge calls judge for each event that carries a key policy, after
// all else is filled in. The judge fills in the Policy fields.
func WithPolicyJudge(judge func(ev *analyzer.Event)) Option {
	return func(n *Normaliser) { n.judge = judge }
}

// Normaliser turns records into events. It is not safe for concurrent use: take
// one for each worker. Its memory is bounded (some tens of megabytes) whatever
// the records.
type Normaliser struct {
	judge func(*analyzer.Event)

	names      *words
	agents     *interner[agent]
	networks   *interner[string]
	identities pieces[identity]
	resources  pieces[resources]
	requests   pieces[request]
	additional pieces[additional]
	tls        pieces[string]
	ids        slab
	doc        jsonscan.Doc // for records that come unparsed

	// What the record before this one had, as a guess: after each field the
	// field that followed, and the values.
	next        [fieldCount]fieldID
	lastName    [fieldCount]*interned[struct{}]
	lastAgent   *interned[agent]
	lastNetwork *interned[string]
}

// New returns a Normaliser.
func New(options ...Option) *Normaliser {
	seed := maphash.MakeSeed()
	parts := newWords(seed, 12) // texts inside the pieces
	n := &Normaliser{
		names:      newWords(seed, 11),
		agents:     newInterner(seed, 10, parseAgent),
		networks:   newInterner(seed, 12, networkOf),
		identities: pieces[identity]{parse: func(v jsonscan.Value) identity { return parseIdentity(v, parts) }},
		resources:  pieces[resources]{parse: parseResources},
		requests:   pieces[request]{parse: func(v jsonscan.Value) request { return parseRequest(v, parts) }},
		additional: pieces[additional]{parse: func(v jsonscan.Value) additional { return parseAdditional(v, parts) }},
		tls:        pieces[string]{parse: func(v jsonscan.Value) string { return parts.text(v.Get("tlsVersion")) }},
	}
	n.doc.Known = jsonscan.NewKnown()
	for _, o := range options {
		o(n)
	}
	return n
}

// request is what the request parameters of mass events say; those of control
// events are read in full (see Normaliser.control).
type request struct {
	context, sourceContext          encryptionContext
	keyID, sourceKeyID, destination string // as written
	target                          string
	algorithm                       string
	omitted                         bool

	written, alias string // the key and the alias that the call is about
	encryptionSDK  bool
}

func parseRequest(v jsonscan.Value, w *words) (r request) {
	for m := v.Members(); m.Next(); {
		v := m.Value()
		switch string(m.Key()) {
		case "encryptionContext":
			r.context = parseContext(v, w)
		case "sourceEncryptionContext":
			r.sourceContext = parseContext(v, w)
		case "keyId":
			r.keyID = strings.TrimSpace(w.text(v))
		case "sourceKeyId":
			r.sourceKeyID = strings.TrimSpace(w.text(v))
		case "destinationKeyId":
			r.destination = strings.TrimSpace(w.text(v))
		case "targetKeyId":
			r.target = strings.TrimSpace(w.text(v))
		case "aliasName":
			r.alias = w.text(v)
		case "encryptionAlgorithm", "signingAlgorithm", "macAlgorithm", "keyAgreementAlgorithm",
			"encapsulationAlgorithm", "sourceEncryptionAlgorithm", "wrappingAlgorithm":
			r.algorithm = w.text(v)
		case "omitted":
			r.omitted = truth(v)
		}
	}
	r.written = firstOf(r.keyID, r.target, r.sourceKeyID)
	if r.alias == "" {
		r.alias = aliasIn(r.written)
	}
	if r.context.json == "" {
		r.context = r.sourceContext
	}
	// Only the AWS Encryption SDK writes this name into a context.
	r.encryptionSDK = strings.Contains(r.context.keys, "aws-crypto-public-key")
	return r
}

// additional is what the additional event data of mass events say.
type additional struct {
	material, enclave string
}

func parseAdditional(v jsonscan.Value, w *words) (a additional) {
	for m := v.Members(); m.Next(); {
		switch string(m.Key()) {
		case "keyMaterialId", "sourceKeyMaterialId":
			a.material = w.text(m.Value())
		case "recipient":
			a.enclave = w.text(m.Value().Get("attestationDocumentEnclaveImageDigest"))
		}
	}
	return a
}

// Event reads the JSON object of one record into ev, which is overwritten. The
// texts in ev own their memory; data may be used again.
//
// The error wraps ErrIncomplete when the record is not one that can be placed
// in time and catalogue; then ev is not to be used.
func (n *Normaliser) Event(data []byte, hint Hint, ev *analyzer.Event) error {
	if err := n.doc.Parse(data); err != nil {
		return fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	return n.Record(n.doc.Root(), hint, ev)
}

// Record is Event for a record that the reader of the log has parsed already.
func (n *Normaliser) Record(data jsonscan.Value, hint Hint, ev *analyzer.Event) error {
	*ev = analyzer.Event{}
	r := record{who: &noIdentity, keys: &noResources, req: &noRequest, add: &noAdditional}
	n.scan(data, ev, &r)
	if ev.Name == "" || ev.Source == "" || ev.Time.IsZero() {
		return fmt.Errorf("%w: eventName %q, eventSource %q, eventTime read: %t",
			ErrIncomplete, cut(ev.Name, 64), cut(ev.Source, 64), !ev.Time.IsZero())
	}
	if ev.ID == "" {
		ev.ID = contentID(data.Raw())
	}
	if ev.Region == "" {
		ev.Region = hint.Region
	}
	if ev.Type == "" {
		ev.Type = "AwsApiCall"
	}
	if ev.Account == "" {
		ev.Account = firstOf(hint.Account, r.who.account)
	}
	if ev.ReadOnly = truth(r.readOnly); !ev.ReadOnly && !given(r.readOnly) {
		ev.ReadOnly = readOnly(ev.Source, ev.Name)
	}
	ev.Outcome = outcomeOf(ev.ErrorCode, ev.ErrorMessage)

	n.who(ev, &r)
	kms := ev.Source == sourceKMS
	if kms {
		whichKey(ev, &r)
	}
	if ev.Table() == analyzer.TableControl {
		n.control(ev, &r)
	}
	ev.OwnerCopy = ev.KeyAccount != "" && ev.KeyAccount == ev.Account &&
		r.who.account != "" && r.who.account != ev.Account &&
		(r.who.kind == "AWSAccount" || ev.SharedID != "" && ev.PrincipalType != "service")
	if ev.Policy != "" {
		if n.judge != nil {
			n.judge(ev)
		}
		if ev.PolicyHash == "" {
			ev.PolicyHash = fingerprint(canonical(ev.Policy))
		}
	}
	return nil
}

// contentID names a record that has no eventID by its content, without regard
// to white space.
func contentID(data []byte) string {
	sum := sha256.Sum256([]byte(withoutSpace(data)))
	return "content-" + hex.EncodeToString(sum[:16])
}

// who fills in the caller, its lane, and whether it is a person.
func (n *Normaliser) who(ev *analyzer.Event, r *record) {
	id := r.who
	ev.Principal, ev.PrincipalType = id.principal, id.principalType
	ev.PrincipalAccount, ev.PrincipalName = id.account, id.name
	ev.SessionName, ev.Person, ev.IsPerson = id.session, id.person, id.isPerson
	ev.AccessKey, ev.MFA, ev.InvokedBy = id.accessKey, id.mfa, id.invokedBy
	ev.Lane = id.lane
	if ev.Principal == "" || ev.Principal == "unknown" {
		ev.Principal, ev.PrincipalName, ev.PrincipalType, ev.Lane = "unknown", "unknown", "unknown", analyzer.LaneDirect
		if isServiceName(ev.SourceIP) {
			// A service that only its address names.
			ev.Principal, ev.PrincipalName, ev.PrincipalType = ev.SourceIP, ev.SourceIP, "service"
			ev.Lane = analyzer.LaneService
		}
	}
	if ev.Lane == analyzer.LaneDirect && ev.Network == networkAWS {
		// Old records do not say invokedBy; a call that comes from a service's
		// name instead of an address was made by that service.
		ev.Lane, ev.InvokedBy = analyzer.LaneForwarded, ev.SourceIP
	}
	if ev.Network == "" {
		ev.Network = networkUnknown
	}

	ev.Client = r.agent.family
	if ev.Client == clientInternal {
		// The console's own calls look like a service's, but come from an address.
		ev.Client = clientService
		if ev.Lane == analyzer.LaneDirect {
			ev.Client = clientConsole
		}
	}
	if ev.PrincipalType != "role" && ev.PrincipalType != "federated" || ev.IsPerson || id.isMachine || r.agent.compute {
		if r.console && ev.PrincipalType == "role" && ev.Person == "" && ev.IsPerson {
			ev.Person = ev.SessionName
		}
		return
	}
	console := r.console || ev.Client == clientConsole || ev.Client == clientCloudShell
	if console && ev.Person == "" {
		// The console names the session after the user who switched to the role.
		ev.Person = ev.SessionName
	}
	ev.IsPerson = console || ev.Client == clientCLI || ev.Client == clientPowerShell
}

// whichKey fills in the key, the data and what the caller wrote.
func whichKey(ev *analyzer.Event, r *record) {
	req, c := r.req, &r.req.context
	ev.KeyWritten = req.written
	if ev.AliasName = req.alias; ev.AliasName == "" {
		ev.AliasName = r.keys.alias
	}
	ev.Context, ev.ContextKeys, ev.DataKind, ev.DataARN = c.json, c.keys, c.dataKind, c.data
	ev.Algorithm, ev.MaterialID, ev.Enclave = req.algorithm, r.add.material, r.add.enclave
	if req.encryptionSDK && !isSpecialClient(ev.Client) {
		ev.Client = clientEncryption
	}

	key, dest := r.keys.pick(ev)
	switch ev.Name {
	case "ReEncrypt":
		if dest.arn == "" || req.destination != "" {
			if k := writtenKey(req.destination, ev); k.arn != "" {
				dest = k
			}
		}
	case "UpdateAlias":
		if k := writtenKey(req.target, ev); k.arn != "" && key.arn == "" {
			key = k
		}
		dest = key
	default:
		dest = keyRef{}
	}
	if key.arn == "" {
		key = otherKey(ev, r)
	}
	ev.KeyARN, ev.KeyAccount, ev.KeyRegion, ev.KeyMulti = key.arn, key.account, key.region, key.multi
	ev.DestKeyARN, ev.DestKeyAccount = dest.arn, dest.account
	if ev.Name == "UpdateAlias" && dest.arn == "" {
		ev.DestKeyARN, ev.DestKeyAccount = key.arn, key.account
	}
}

// isSpecialClient tells whether a family says more than "an SDK".
func isSpecialClient(family string) bool {
	return family == clientService || family == clientConsole || family == clientCloudShell
}

// pick chooses the key that the event is about and, for ReEncrypt, the second.
func (r *resources) pick(ev *analyzer.Event) (key, second keyRef) {
	switch {
	case len(r.keys) == 1:
		return r.keys[0], keyRef{}
	case len(r.keys) > 1:
		key, second = r.keys[0], r.keys[1]
		if ev.Name != "ReEncrypt" {
			// A multi-Region operation lists the copies: take the one here.
			for _, k := range r.keys {
				if k.region == ev.Region {
					key = k
					break
				}
			}
		}
		return key, second
	}
	for i, id := range r.ids {
		k := newKeyRef(partitionOf(ev.Region), ev.Region, firstOf(id.account, ev.Account), id.id)
		if i == 0 {
			key = k
		} else {
			return key, k
		}
	}
	return key, keyRef{}
}

// writtenKey resolves what a caller wrote, when it is the ARN or the id of a
// key. A bare id means a key of the account and Region that were called.
func writtenKey(written string, ev *analyzer.Event) keyRef {
	if written == "" {
		return keyRef{}
	}
	if k, ok := parseKeyARN(written); ok {
		return k
	}
	if isKeyID(written) && ev.Account != "" && ev.Region != "" {
		return newKeyRef(partitionOf(ev.Region), ev.Region, ev.Account, written)
	}
	return keyRef{}
}

// otherKey finds the key of a record whose resources name none.
func otherKey(ev *analyzer.Event, r *record) keyRef {
	try := make([]string, 0, 8)
	meta := r.response.Get("keyMetadata")
	try = append(try, text(r.response.Get("keyId")), text(meta.Get("arn")), text(meta.Get("keyId")), text(r.service.Get("keyId")))
	try = append(try, ev.KeyWritten)
	if ev.ErrorMessage != "" {
		arn := arnIn(ev.ErrorMessage)
		try = append(try, arn)
		if ev.AliasName == "" {
			ev.AliasName = aliasIn(arn)
		}
	}
	for _, written := range try {
		if k := writtenKey(written, ev); k.arn != "" {
			return k
		}
	}
	return keyRef{}
}

// control fills in what only control events have.
func (n *Normaliser) control(ev *analyzer.Event, r *record) {
	ev.Request, ev.Response = compact(r.request), compact(r.response)
	ev.Additional, ev.Service, ev.Resources = compact(r.additional), compact(r.service), compact(r.resources)
	ev.MissingParams = r.req.omitted || strings.Contains(ev.Request, "requestParameters too large")

	request, response := unwrap(r.request), unwrap(r.response)
	if ev.Outcome == analyzer.OutcomeDenied {
		d := parseDenial(ev.ErrorMessage)
		ev.DeniedAction, ev.DeniedBy = d.action, d.layer
		if ev.DeniedAction == "" {
			service, _, _ := strings.Cut(ev.Source, ".")
			ev.DeniedAction = service + ":" + ev.Name
		}
		if ev.DeniedBy == "" && ev.ErrorCode == "VpceAccessDenied" {
			ev.DeniedBy = "vpc-endpoint"
		}
	}
	switch ev.Source {
	case sourceKMS:
		n.lifeOfKey(ev, r, request, response)
	case sourceCloudTrail:
		trail(ev, request, response, r.keys.trail)
		usedKey(ev, r, request)
	default:
		usedKey(ev, r, request)
	}
}

// usedKey names the key that a call of another service speaks of.
func usedKey(ev *analyzer.Event, r *record, request jsonscan.Value) {
	if k, _ := r.keys.pick(ev); k.arn != "" {
		ev.KeyARN, ev.KeyAccount, ev.KeyRegion, ev.KeyMulti = k.arn, k.account, k.region, k.multi
	}
	for _, field := range []string{"kmsKeyId", "kMSKeyId", "kmsKeyID", "kmsKeyArn", "kmsMasterKeyId", "x-amz-server-side-encryption-aws-kms-key-id"} {
		written := text(request.Get(field))
		if written == "" {
			continue
		}
		k := writtenKey(written, ev)
		ev.KeyWritten, ev.AliasName = written, aliasIn(written)
		if k.arn != "" {
			ev.KeyARN, ev.KeyAccount, ev.KeyRegion, ev.KeyMulti = k.arn, k.account, k.region, k.multi
		}
		return
	}
}

// lifeOfKey fills in what a control event of KMS says about a key.
func (n *Normaliser) lifeOfKey(ev *analyzer.Event, r *record, request, response jsonscan.Value) {
	extra, service := unwrap(r.additional), unwrap(r.service)
	meta := response.Get("keyMetadata")
	if meta.Kind() != jsonscan.Object {
		meta = response.Get("replicaKeyMetadata")
	}
	either := func(name string) string {
		return firstOf(text(request.Get(name)), text(response.Get(name)), text(meta.Get(name)), text(extra.Get(name)))
	}

	ev.PendingDays = days(either("pendingWindowInDays"))
	if ev.PendingDays == 0 && ev.Name == "ScheduleKeyDeletion" && ev.Outcome == analyzer.OutcomeOK {
		ev.PendingDays = 30 // what KMS takes when the caller does not say
	}
	ev.DeletionDate = parseDate(either("deletionDate"))
	ev.KeyState = firstOf(text(response.Get("keyState")), text(meta.Get("keyState")), keyStateIn(ev.ErrorCode, ev.ErrorMessage))
	ev.Origin = firstOf(either("origin"), text(service.Get("keyOrigin")))
	ev.KeySpec = firstOf(either("keySpec"), either("customerMasterKeySpec"), either("keyPairSpec"))
	ev.KeyUsage = either("keyUsage")
	ev.MultiRegion = truth(request.Get("multiRegion")) || truth(meta.Get("multiRegion")) || ev.KeyMulti != ""
	ev.StoreID = either("customKeyStoreId")
	ev.XksKeyID = firstOf(either("xksKeyId"), text(meta.Get("xksKeyConfiguration").Get("id")))
	ev.ValidTo = parseDate(either("validTo"))
	ev.ExpirationModel = either("expirationModel")
	ev.RotationType = firstOf(text(service.Get("rotationType")), text(response.Get("rotationType")))
	ev.ReplicaRegion = firstOf(text(request.Get("replicaRegion")), text(request.Get("primaryRegion")))
	ev.MaterialID = firstOf(ev.MaterialID, text(response.Get("keyMaterialId")), text(service.Get("currentKeyMaterialId")), text(service.Get("keyMaterialId")))
	if ev.Name == "ReplicateKey" {
		if k, ok := parseKeyARN(text(response.Get("replicaKeyMetadata").Get("arn"))); ok {
			ev.DestKeyARN, ev.DestKeyAccount = k.arn, k.account
		}
	}

	switch ev.Name {
	case "CreateGrant", "RevokeGrant", "RetireGrant":
		grant(ev, request, response, extra)
	case "PutKeyPolicy", "CreateKey", "ReplicateKey":
		policy := request.Get("policy")
		if replica := response.Get("replicaPolicy"); ev.Name == "ReplicateKey" && given(replica) {
			policy = replica
		}
		ev.Policy = long(policy, maxJSON)
		ev.PolicyBypass = truth(request.Get("bypassPolicyLockoutSafetyCheck"))
	}
}

func days(s string) int {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n < 0 || n > 1e6 {
		return 0
	}
	return int(n)
}

// canonical returns JSON text without white space and with sorted names, so
// that equal values are equal texts; what is no JSON is returned as it is.
func canonical(s string) string {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return s
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return s
	}
	return strings.TrimRight(buf.String(), "\n")
}
