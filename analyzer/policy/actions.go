package policy

import (
	"slices"
	"strings"
)

// ActionKind says what a KMS action is for.
type ActionKind string

// The kinds of actions.
const (
	ActionUse   ActionKind = "use"   // works with data: decrypts, encrypts, signs
	ActionGrant ActionKind = "grant" // hands the use on to others
	ActionAdmin ActionKind = "admin" // changes the key or its policy
	ActionRead  ActionKind = "read"  // tells about the key
)

// Action is one KMS action that a key policy can allow.
type Action struct {
	Name string // kms:Decrypt
	Kind ActionKind
	// CrossAccount tells that AWS honours the action for principals of other
	// accounts ("Permissions reference" of the KMS Developer Guide, column
	// cross-account use).
	CrossAccount bool
	// Harmless tells that a stranger gains nothing that the public key would
	// not give them.
	Harmless bool
}

// Exposes tells whether a stranger who may do this can do damage: it works
// across accounts and uses the key or hands its use on.
func (a Action) Exposes() bool {
	return a.CrossAccount && !a.Harmless && (a.Kind == ActionUse || a.Kind == ActionGrant)
}

// Actions lists the KMS actions that are about one key, by name. Actions for
// the account as a whole (kms:ListKeys, kms:CreateKey …) are not decided by key
// policies and are left out.
var Actions = func() []Action {
	var out []Action
	add := func(kind ActionKind, cross, harmless bool, names string) {
		for name := range strings.FieldsSeq(names) {
			out = append(out, Action{"kms:" + name, kind, cross, harmless})
		}
	}
	add(ActionUse, true, false, `Decapsulate Decrypt DeriveSharedSecret Encrypt GenerateDataKey GenerateDataKeyPair
		GenerateDataKeyPairWithoutPlaintext GenerateDataKeyWithoutPlaintext GenerateMac ReEncryptFrom ReEncryptTo Sign VerifyMac`)
	add(ActionUse, true, true, `Verify`)
	add(ActionGrant, true, false, `CreateGrant`)
	// They end grants: an outage for whoever relied on them, no access to data.
	add(ActionGrant, true, false, `RetireGrant RevokeGrant`)
	add(ActionRead, true, true, `DescribeKey GetKeyRotationStatus GetPublicKey ListGrants`)
	add(ActionRead, false, true, `GetKeyPolicy GetParametersForImport ListKeyPolicies ListKeyRotations ListResourceTags`)
	add(ActionAdmin, false, false, `CancelKeyDeletion CreateAlias DeleteAlias DeleteImportedKeyMaterial DisableKey DisableKeyRotation
		EnableKey EnableKeyRotation ImportKeyMaterial PutKeyPolicy ReplicateKey RotateKeyOnDemand ScheduleKeyDeletion
		SynchronizeMultiRegionKey TagResource UntagResource UpdateAlias UpdateKeyDescription UpdatePrimaryRegion`)
	slices.SortFunc(out, func(a, b Action) int { return strings.Compare(a.Name, b.Name) })
	return out
}()

// KindOf returns the kind of a KMS action, named with or without "kms:" in any
// case; "" when it is none that a key policy decides.
func KindOf(name string) ActionKind {
	name = strings.TrimPrefix(strings.ToLower(name), "kms:")
	for _, a := range Actions {
		if strings.ToLower(a.Name[len("kms:"):]) == name {
			return a.Kind
		}
	}
	return ""
}

// Covers tells whether the statement's Action or NotAction covers the action.
func (s *Statement) Covers(action string) bool {
	action = strings.ToLower(action)
	for _, p := range s.Actions {
		if glob(strings.ToLower(p), action) {
			return !s.NotAction
		}
	}
	return s.NotAction
}

// kmsActions are the KMS actions that the statement covers: those of the table,
// and those written out that the table does not know, which are taken for uses.
func (s *Statement) kmsActions() []Action {
	var out []Action
	for _, a := range Actions {
		if s.Covers(a.Name) {
			out = append(out, a)
		}
	}
	if s.NotAction {
		return out
	}
	for _, name := range s.Actions {
		service, rest, _ := strings.Cut(name, ":")
		if !strings.EqualFold(service, "kms") || strings.ContainsAny(rest, "*?") || accountWide[strings.ToLower(rest)] || KindOf(name) != "" {
			continue
		}
		out = append(out, Action{name, ActionUse, true, false})
	}
	return out
}

// accountWide are the KMS actions without a key: a key policy that names them
// has no effect.
var accountWide = map[string]bool{
	"connectcustomkeystore": true, "createcustomkeystore": true, "createkey": true, "deletecustomkeystore": true,
	"describecustomkeystores": true, "disconnectcustomkeystore": true, "generaterandom": true, "listaliases": true,
	"listkeys": true, "listretirablegrants": true, "updatecustomkeystore": true,
}
