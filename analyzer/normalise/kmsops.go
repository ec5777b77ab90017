package normalise

import "strings"

// Kind says what an operation of KMS does.
type Kind string

const (
	// KindCrypto uses a key on data or makes random or key material; CloudTrail
	// calls these reads.
	KindCrypto Kind = "crypto"
	// KindRead looks at keys, grants, policies or stores.
	KindRead Kind = "read"
	// KindWrite changes something.
	KindWrite Kind = "write"
	// KindEffect is a service event: KMS reports what it did by itself.
	KindEffect Kind = "effect"
)

// ReadOnly tells what the readOnly field says, or would say, of such an
// operation.
func (k Kind) ReadOnly() bool { return k == KindCrypto || k == KindRead }

// Operations lists every operation of KMS, by the name that CloudTrail records,
// after the AWS KMS API Reference and the chapter on CloudTrail of the
// developer guide.
var Operations = map[string]Kind{
	"Decapsulate":                         KindCrypto,
	"Decrypt":                             KindCrypto,
	"DeriveSharedSecret":                  KindCrypto,
	"Encrypt":                             KindCrypto,
	"GenerateDataKey":                     KindCrypto,
	"GenerateDataKeyPair":                 KindCrypto,
	"GenerateDataKeyPairWithoutPlaintext": KindCrypto,
	"GenerateDataKeyWithoutPlaintext":     KindCrypto,
	"GenerateMac":                         KindCrypto,
	"GenerateRandom":                      KindCrypto,
	"ReEncrypt":                           KindCrypto,
	"Sign":                                KindCrypto,
	"Verify":                              KindCrypto,
	"VerifyMac":                           KindCrypto,

	"DescribeCustomKeyStores": KindRead,
	"DescribeKey":             KindRead,
	"GetKeyLastUsage":         KindRead,
	"GetKeyPolicy":            KindRead,
	"GetKeyRotationStatus":    KindRead,
	"GetParametersForImport":  KindRead,
	"GetPublicKey":            KindRead,
	"ListAliases":             KindRead,
	"ListGrants":              KindRead,
	"ListKeyPolicies":         KindRead,
	"ListKeyRotations":        KindRead,
	"ListKeys":                KindRead,
	"ListResourceTags":        KindRead,
	"ListRetirableGrants":     KindRead,

	"CancelKeyDeletion":         KindWrite,
	"ConnectCustomKeyStore":     KindWrite,
	"CreateAlias":               KindWrite,
	"CreateCustomKeyStore":      KindWrite,
	"CreateGrant":               KindWrite,
	"CreateKey":                 KindWrite,
	"DeleteAlias":               KindWrite,
	"DeleteCustomKeyStore":      KindWrite,
	"DeleteImportedKeyMaterial": KindWrite,
	"DisableKey":                KindWrite,
	"DisableKeyRotation":        KindWrite,
	"DisconnectCustomKeyStore":  KindWrite,
	"EnableKey":                 KindWrite,
	"EnableKeyRotation":         KindWrite,
	"ImportKeyMaterial":         KindWrite,
	"PutKeyPolicy":              KindWrite,
	"ReplicateKey":              KindWrite,
	"RetireGrant":               KindWrite,
	"RevokeGrant":               KindWrite,
	"RotateKeyOnDemand":         KindWrite,
	"ScheduleKeyDeletion":       KindWrite,
	"SynchronizeMultiRegionKey": KindWrite,
	"TagResource":               KindWrite,
	"UntagResource":             KindWrite,
	"UpdateAlias":               KindWrite,
	"UpdateCustomKeyStore":      KindWrite,
	"UpdateKeyDescription":      KindWrite,
	"UpdatePrimaryRegion":       KindWrite,

	"DeleteExpiredKeyMaterial": KindEffect,
	"DeleteKey":                KindEffect,
	"RotateKey":                KindEffect,
}

// readOnly guesses the readOnly field of a record that lacks it, as records
// before event version 1.02 do. An operation of KMS that is not in the table,
// and any call of another service, is judged by its first word.
func readOnly(source, name string) bool {
	if source == sourceKMS {
		if kind, ok := Operations[name]; ok {
			return kind.ReadOnly()
		}
	}
	for _, prefix := range []string{"Get", "List", "Describe", "Head", "Lookup", "BatchGet", "Search", "Query", "Scan", "Select"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
