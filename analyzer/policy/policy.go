// Package policy reads KMS key policies and says whom they let in.
//
// [Parse] reads the JSON text, [Judge] answers the question that matters for a
// key: which accounts, organisations, services and strangers can use it, by
// which statement and for which actions. [Apply] writes the answer into the
// Policy columns of an event.
//
// # How a policy is judged
//
// Judge does not match patterns in the text. It tries the policy out: for each
// kind of caller that the document could tell apart (a stranger without an
// organisation, a stranger in an organisation of their own, a member of each
// organisation named, each account named, each principal, unique id and service
// named, and services that act for each of those) it looks for a request that
// an Allow statement admits and no Deny statement refuses. Whatever the caller
// may choose is chosen in the caller's favour. So negated operators, IfExists,
// ForAllValues, Null, policy variables, NotPrincipal, NotAction and any mixture
// of Allow and Deny come out as AWS would decide them, and a Deny that keeps
// outsiders away ("deny unless my organisation") takes back a public Allow.
//
// # What narrows
//
// Condition keys are of four kinds; the tables are in keys.go.
//
//   - Keys that say who calls: kms:CallerAccount, aws:PrincipalAccount,
//     aws:PrincipalArn, aws:PrincipalOrgID, aws:PrincipalOrgPaths, aws:userid,
//     and for services aws:SourceAccount, aws:SourceArn, aws:SourceOrgID,
//     aws:SourceOrgPaths. A wildcard that these narrow is resolved to who
//     remains. The organisation and source keys may be missing from a request,
//     so IfExists on them lets strangers in; the account keys are always there.
//   - Keys that guard: the caller cannot give them any value they like without
//     knowing or owning something. Values of the encryption context
//     (kms:EncryptionContext:name), the network (aws:SourceIp, aws:SourceVpc,
//     aws:SourceVpce …), the grantee of a grant (kms:GranteePrincipal) and the
//     attestation of an enclave (kms:RecipientAttestation:…). A wildcard that
//     only these narrow is not public but "open with a condition"
//     ([Facts.Narrowed]): the encryption context is no secret, says AWS, but a
//     ciphertext decrypts only with the context it was made with, so such a
//     statement exposes some data, not all. A pattern that fits anybody's
//     value, like "*" or arn:aws:s3:::*, and an address range wider than /8
//     (IPv6: /16) do not narrow.
//   - Keys that the caller chooses, which narrow nobody out: kms:ViaService
//     (any account can go through that service; it takes kms:CallerAccount
//     beside it, as in AWS's own policies, to narrow), names of encryption
//     context keys (kms:EncryptionContextKeys), kms:GrantIsForAWSResource,
//     kms:GrantConstraintType, kms:GrantOperations, aws:PrincipalTag and
//     aws:username (strangers tag and name their own principals), time, MFA,
//     Region, algorithms, and every key this package does not know.
//   - Properties of the key itself (kms:KeySpec, aws:ResourceTag …), which are
//     taken as they best suit the caller.
//
// A stranger counts as admitted for actions that AWS honours across accounts
// and that do something: a statement that opens only DescribeKey or
// GetPublicKey, or only administrative actions, which AWS refuses to other
// accounts, is listed as narrowed, not as public.
//
// A service principal is guarded when a stranger cannot make the service use
// the key on their behalf. An unguarded one (confused deputy) is reported in
// [Facts.Services] and is not public.
package policy
