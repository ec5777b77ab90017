package analyzer

import "time"

// Lane tells who stands behind a call. The three are kept apart before
// anything is counted or learned.
type Lane string

const (
	// LaneDirect is a principal that called the service itself.
	LaneDirect Lane = "direct"
	// LaneForwarded is an AWS service that called with the session of a named
	// user or role, as Secrets Manager does when a person reads a secret.
	LaneForwarded Lane = "forwarded"
	// LaneService is an AWS service that called in its own name.
	LaneService Lane = "service"
)

// Outcome is how a call ended.
type Outcome string

// How a call can end.
const (
	OutcomeOK     Outcome = "ok"      // no error code
	OutcomeDenied Outcome = "denied"  // access denied by some policy
	OutcomeFailed Outcome = "failed"  // any other error
	OutcomeDryRun Outcome = "dry_run" // DryRunOperationException: would have succeeded
)

// Event is one normalised CloudTrail record: what the detections read. Each
// field is one column of the lake under the name in its col tag; docs/events.md
// gives the source of each. Text fields are empty, never null, when the record
// does not say; times are UTC with a resolution of milliseconds.
//
// Fields tagged table:"control" are stored for control events only (see Table).
type Event struct {
	Time      time.Time `col:"event_time"`
	ID        string    `col:"event_id"`        // eventID; derived from the content when the record has none
	SharedID  string    `col:"shared_event_id"` // sharedEventID: joins the two copies of a cross-account call
	Account   string    `col:"account"`         // recipientAccountId: whose trail recorded it
	Region    string    `col:"region"`
	Source    string    `col:"event_source"` // kms.amazonaws.com
	Name      string    `col:"event_name"`
	Type      string    `col:"event_type"` // AwsApiCall, AwsServiceEvent, AwsVpceEvent, …
	ReadOnly  bool      `col:"read_only"`
	Lane      Lane      `col:"lane"`
	OwnerCopy bool      `col:"owner_copy"` // the copy of a cross-account call in the key owner's account

	// Who. Principal is stable across sessions: role ARN, user ARN, root ARN,
	// account id or service name.
	Principal        string `col:"principal"`
	PrincipalType    string `col:"principal_type"` // role, user, root, account, service, federated, identity_center, unknown
	PrincipalAccount string `col:"principal_account"`
	PrincipalName    string `col:"principal_name"` // last part of the ARN, or the service
	SessionName      string `col:"session_name"`
	Person           string `col:"person"`    // sourceIdentity, SSO user, or user name; empty when no person is known
	IsPerson         bool   `col:"is_person"` // IAM user with a long-term key or console, root, SSO role, console or CLI session
	AccessKey        string `col:"access_key"`
	MFA              string `col:"mfa"`        // "true", "false" or ""
	InvokedBy        string `col:"invoked_by"` // the AWS service that forwarded the call

	// From where.
	SourceIP   string `col:"source_ip"`
	Network    string `col:"network"` // public, private, aws, unknown
	VPCE       string `col:"vpc_endpoint_id"`
	Client     string `col:"client"`                      // family: aws-cli, console, cloudshell, terraform, boto3, aws-sdk-java, aws-service, encryption-sdk, …
	UserAgent  string `col:"user_agent" table:"control"`  // control
	TLSVersion string `col:"tls_version" table:"control"` // control

	// Which key. KeyARN is canonical (arn:…:key/…) or empty.
	KeyARN         string `col:"key_arn"`
	KeyAccount     string `col:"key_account"`
	KeyRegion      string `col:"key_region"`
	KeyWritten     string `col:"key_written"`  // what the caller wrote: id, ARN, alias or alias ARN
	KeyMulti       string `col:"key_mrk"`      // mrk-… id shared by all replicas, or empty
	AliasName      string `col:"alias_name"`   // alias/… when the caller used one or the call is about one
	DestKeyARN     string `col:"dest_key_arn"` // ReEncrypt: destination; UpdateAlias: new target
	DestKeyAccount string `col:"dest_key_account"`

	// What data. Context is the encryption context as compact JSON with sorted
	// keys (for ReEncrypt the source's).
	Context     string `col:"encryption_context"`
	ContextKeys string `col:"context_keys"` // sorted key names joined by ","
	DataKind    string `col:"data_kind"`    // secret, parameter, s3_object, s3_bucket, volume, table, database, function, log_group, trail, stream, …
	DataARN     string `col:"data_arn"`     // what the context names
	Algorithm   string `col:"algorithm"`    // encryption, signing, MAC or key-agreement algorithm
	MaterialID  string `col:"key_material_id"`
	Enclave     string `col:"enclave_digest"` // image digest of the attested recipient

	// How it ended.
	Outcome      Outcome `col:"outcome"`
	ErrorCode    string  `col:"error_code"`
	ErrorMessage string  `col:"error_message" table:"control"` // control
	DeniedAction string  `col:"denied_action" table:"control"` // control: kms:Decrypt, parsed from the message
	DeniedBy     string  `col:"denied_by" table:"control"`     // control: identity-based, resource-based, service-control, permissions-boundary, session, vpc-endpoint, …

	// Life of a key. All control.
	PendingDays     int       `col:"pending_window_days" table:"control"`
	DeletionDate    time.Time `col:"deletion_date" table:"control"`
	KeyState        string    `col:"key_state" table:"control"`
	Origin          string    `col:"key_origin" table:"control"`
	KeySpec         string    `col:"key_spec" table:"control"`
	KeyUsage        string    `col:"key_usage" table:"control"`
	MultiRegion     bool      `col:"multi_region" table:"control"`
	StoreID         string    `col:"custom_key_store_id" table:"control"`
	XksKeyID        string    `col:"xks_key_id" table:"control"`
	ValidTo         time.Time `col:"material_valid_to" table:"control"`
	ExpirationModel string    `col:"expiration_model" table:"control"`
	RotationType    string    `col:"rotation_type" table:"control"`
	ReplicaRegion   string    `col:"replica_region" table:"control"`

	// Grants. All control.
	GrantID           string   `col:"grant_id" table:"control"`
	GrantName         string   `col:"grant_name" table:"control"`
	Grantee           string   `col:"grantee" table:"control"`
	GranteeKind       string   `col:"grantee_kind" table:"control"` // service, infrastructure, role, user, root, account, session, federated, unknown
	GranteeAccount    string   `col:"grantee_account" table:"control"`
	RetiringPrincipal string   `col:"retiring_principal" table:"control"`
	RetiringAccount   string   `col:"retiring_account" table:"control"`
	GrantOps          []string `col:"grant_operations" table:"control"`  // sorted
	GrantConstraint   string   `col:"grant_constraint" table:"control"`  // compact JSON, empty when unconstrained
	GrantHash         string   `col:"grant_fingerprint" table:"control"` // of key, grantee, operations and constraint

	// Key policy, judged when read (package policy). All control.
	Policy           string   `col:"policy" table:"control"` // the document
	PolicyHash       string   `col:"policy_hash" table:"control"`
	PolicyProblem    string   `col:"policy_problem" table:"control"`    // why it could not be judged
	PolicyPublic     []string `col:"policy_public" table:"control"`     // statements that admit anyone: "sid: actions"
	PolicyNarrowed   []string `col:"policy_narrowed" table:"control"`   // statements that admit anyone under a condition: "sid: actions (condition keys)"
	PolicyAccounts   []string `col:"policy_accounts" table:"control"`   // besides the key's own
	PolicyPrincipals []string `col:"policy_principals" table:"control"` // every principal admitted, as written
	PolicyUnknown    []string `col:"policy_unknown_ids" table:"control"`
	PolicyOrgs       []string `col:"policy_org_ids" table:"control"`
	PolicyServices   []string `col:"policy_services" table:"control"`  // "*" is any service
	PolicyUnguarded  []string `col:"policy_unguarded" table:"control"` // services that strangers can make use the key
	PolicyBypass     bool     `col:"policy_lockout_bypass" table:"control"`

	// Trails and event data stores. All control.
	TrailName     string   `col:"trail_name" table:"control"`
	TrailARN      string   `col:"trail_arn" table:"control"`
	TrailBlinds   []string `col:"trail_blinds" table:"control"`  // how KMS events stop: "excludes kms.amazonaws.com", …
	TrailDrops    []string `col:"trail_drops" table:"control"`   // what else stops: "read events", "management events"
	TrailWeakens  []string `col:"trail_weakens" table:"control"` // "not multi-Region", "no log file validation", …
	TrailBucket   string   `col:"trail_bucket" table:"control"`
	TrailKeyID    string   `col:"trail_kms_key" table:"control"`
	MissingParams bool     `col:"params_omitted" table:"control"` // requestParameters.omitted or too large

	// The record's own words, compact JSON, for detections that need more. All control.
	Request    string `col:"request_parameters" table:"control"`
	Response   string `col:"response_elements" table:"control"`
	Additional string `col:"additional_event_data" table:"control"`
	Service    string `col:"service_event_details" table:"control"`
	Resources  string `col:"resources" table:"control"`
}

// Table names one of the two datasets of the lake.
type Table string

const (
	// TableUses holds successful read-only KMS calls, above all the
	// cryptographic ones: the mass.
	TableUses Table = "uses"
	// TableControl holds everything else: writes, failures, service events and
	// the calls of other services. It is small and most detections read it alone.
	TableControl Table = "control"
)

// Table tells which dataset of the lake an event belongs to.
func (e *Event) Table() Table {
	if e.Source == "kms.amazonaws.com" && e.ReadOnly && e.Outcome == OutcomeOK && e.Type != "AwsServiceEvent" {
		return TableUses
	}
	return TableControl
}
