package simulate

import "strconv"

const (
	kmsSource   = "kms.amazonaws.com"
	awsInternal = "AWS Internal"
)

// scribe writes calls as records. Each method is one API call; it fills the
// record as that API does and hands it to out.
type scribe struct {
	r   *random
	out func(*call)

	c   call
	ctx []byte // the encryption context being gathered
	// Ids that the next record gets in place of random ones or none.
	sharedA, sharedB, requestA, requestB uint64
	params, response, extras             []byte
}

// share gives the next record a sharedEventID: the call concerns another
// account's key, whose trail has the other copy.
func (s *scribe) share() { s.sharedA, s.sharedB = s.r.Uint64(), s.r.Uint64() }

// begin clears the record for a call of by in the account and Region of p.
func (s *scribe) begin(at int64, p *place, by *caller, source, name string) *call {
	s.c = call{at: at, recipient: p.account.id, region: p.region, source: source, name: name, by: by}
	s.c.sharedA, s.c.sharedB, s.c.requestA, s.c.requestB = s.sharedA, s.sharedB, s.requestA, s.requestB
	s.sharedA, s.sharedB, s.requestA, s.requestB = 0, 0, 0, 0
	s.params = s.params[:0]
	s.response = s.response[:0]
	s.extras = s.extras[:0]
	return &s.c
}

// noContext starts an empty encryption context.
func (s *scribe) noContext() { s.ctx = s.ctx[:0] }

// context starts an encryption context with one pair, whose value is given in
// pieces.
func (s *scribe) context(name string, value ...string) {
	s.ctx = s.ctx[:0]
	s.also(name, value...)
}

// also adds a pair to the encryption context.
func (s *scribe) also(name string, value ...string) {
	if len(s.ctx) > 0 {
		s.ctx = append(s.ctx, ',')
	}
	s.ctx = append(s.ctx, '"')
	s.ctx = append(s.ctx, name...)
	s.ctx = append(s.ctx, `":"`...)
	for _, v := range value {
		s.ctx = append(s.ctx, v...)
	}
	s.ctx = append(s.ctx, '"')
}

func (s *scribe) put(pieces ...string) {
	for _, p := range pieces {
		s.params = append(s.params, p...)
	}
}

// putContext writes the gathered context as a member, after a comma.
func (s *scribe) putContext() {
	if len(s.ctx) == 0 {
		return
	}
	s.put(`"encryptionContext":{`)
	s.params = append(s.params, s.ctx...)
	s.put(`},`)
}

func (s *scribe) material(k *key) {
	s.extras = append(s.extras, `{"keyMaterialId":"`...)
	s.extras = append(s.extras, k.material...)
	s.extras = append(s.extras, `"}`...)
	s.c.extra = s.extras
}

// decrypt: most callers leave keyId out, for the ciphertext names the key.
func (s *scribe) decrypt(at int64, p *place, by *caller, k *key, named bool) {
	s.begin(at, p, by, kmsSource, "Decrypt")
	s.put(`{`)
	s.putContext()
	if named {
		s.put(`"keyId":"`, k.arn, `",`)
	}
	s.put(`"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`)
	s.c.params = s.params
	s.material(k)
	s.c.key = k
	s.out(&s.c)
}

// written is how callers name a key: by ARN, id or alias.
func (s *scribe) written(k *key) string {
	switch s.r.IntN(6) {
	case 0:
		return k.alias
	case 1:
		return k.id
	default:
		return k.arn
	}
}

func (s *scribe) generateDataKey(at int64, p *place, by *caller, k *key, plaintext bool) {
	s.generateDataKeyAs(at, p, by, k, plaintext, s.written(k))
}

func (s *scribe) generateDataKeyAs(at int64, p *place, by *caller, k *key, plaintext bool, keyID string) {
	name := "GenerateDataKey"
	if !plaintext {
		name = "GenerateDataKeyWithoutPlaintext"
	}
	s.begin(at, p, by, kmsSource, name)
	s.put(`{`)
	s.putContext()
	s.put(`"keyId":"`, keyID, `","keySpec":"AES_256"}`)
	s.c.params = s.params
	s.material(k)
	s.c.key = k
	s.out(&s.c)
}

func (s *scribe) encrypt(at int64, p *place, by *caller, k *key) {
	s.begin(at, p, by, kmsSource, "Encrypt")
	s.put(`{`)
	s.putContext()
	s.put(`"keyId":"`, s.written(k), `","encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`)
	s.c.params = s.params
	s.material(k)
	s.c.key = k
	s.out(&s.c)
}

func (s *scribe) sign(at int64, p *place, by *caller, k *key) {
	s.begin(at, p, by, kmsSource, "Sign")
	s.put(`{"signingAlgorithm":"RSASSA_PSS_SHA_256","messageType":"DIGEST","keyId":"`, k.arn, `"}`)
	s.c.params = s.params
	s.c.key = k
	s.out(&s.c)
}

// inspect is one of the calls that read about a key: DescribeKey, GetKeyPolicy,
// GetKeyRotationStatus, ListGrants, ListKeyPolicies, ListResourceTags.
func (s *scribe) inspect(at int64, p *place, by *caller, name string, k *key, keyID string) {
	s.begin(at, p, by, kmsSource, name)
	s.put(`{"keyId":"`, keyID, `"`)
	switch name {
	case "GetKeyPolicy":
		s.put(`,"policyName":"default"`)
	case "ListGrants", "ListResourceTags":
		s.put(`,"limit":50`)
	}
	s.put(`}`)
	s.c.params = s.params
	s.c.key = k
	s.out(&s.c)
}

// list is ListKeys or ListAliases, which concern no key.
func (s *scribe) list(at int64, p *place, by *caller, name string) {
	s.begin(at, p, by, kmsSource, name)
	if s.r.chance(0.5) {
		s.put(`{"limit":100}`)
		s.c.params = s.params
	}
	s.out(&s.c)
}

// denied is a call that a policy refused: no parameters, no resources; key,
// action and the policy that refused are in the message alone.
func (s *scribe) denied(at int64, p *place, by *caller, action string, k *key, because string) {
	s.begin(at, p, by, kmsSource, action)
	s.c.code = "AccessDenied"
	user := by.who.role.arn
	if by.who.kind == assumedRole {
		user = by.who.role.sts + string(by.who.appendSession(nil))
	}
	resource := "*"
	if k != nil {
		resource = k.arn
	}
	s.c.message = "User: " + user + " is not authorized to perform: kms:" + action +
		" on resource: " + resource + " because " + because
	s.c.write = writes(action)
	s.out(&s.c)
}

const (
	noResourcePolicy = "no resource-based policy allows the "
	noIdentityPolicy = "no identity-based policy allows the "
)

func writes(action string) bool {
	switch action {
	case "CreateGrant", "PutKeyPolicy", "ScheduleKeyDeletion", "DisableKey", "CreateKey", "CreateAlias", "TagResource",
		"RetireGrant", "RevokeGrant", "UpdateAlias", "EnableKeyRotation", "ReplicateKey", "CancelKeyDeletion":
		return true
	}
	return false
}

// throttled is a call over the Region's quota.
func (s *scribe) throttled(at int64, p *place, by *caller, action string) {
	s.begin(at, p, by, kmsSource, action)
	s.c.code = "ThrottlingException"
	s.c.message = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
	s.out(&s.c)
}

// failed is a call that KMS refused for the state of the key or the ciphertext.
func (s *scribe) failed(at int64, p *place, by *caller, action string, k *key, code, message string) {
	s.begin(at, p, by, kmsSource, action)
	s.c.code = code
	s.c.message = message
	s.put(`{`)
	s.putContext()
	if action == "Decrypt" {
		s.put(`"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`)
	} else {
		s.put(`"keyId":"`, k.arn, `","keySpec":"AES_256"}`)
	}
	s.c.params = s.params
	s.c.key = k
	s.c.write = writes(action)
	s.out(&s.c)
}

// grant is what CreateGrant asks for. The encryption context gathered in the
// scribe becomes its constraint: a subset, or equal when exact.
type grant struct {
	grantee    string
	retiring   string
	name       string
	operations []string
	exact      bool
	id         uint64 // seeds the grant id
}

func (g *grant) idText() string { return hexText(g.id, 64) }

func (s *scribe) createGrant(at int64, p *place, by *caller, k *key, g *grant) {
	s.begin(at, p, by, kmsSource, "CreateGrant")
	s.put(`{"keyId":"`, k.arn, `",`)
	if len(s.ctx) > 0 {
		if g.exact {
			s.put(`"constraints":{"encryptionContextEquals":{`)
		} else {
			s.put(`"constraints":{"encryptionContextSubset":{`)
		}
		s.params = append(s.params, s.ctx...)
		s.put(`}},`)
	}
	if g.name != "" {
		s.put(`"name":"`, g.name, `",`)
	}
	if g.retiring != "" {
		s.put(`"retiringPrincipal":"`, g.retiring, `",`)
	}
	s.put(`"granteePrincipal":"`, g.grantee, `","operations":[`)
	for i, o := range g.operations {
		if i > 0 {
			s.put(`,`)
		}
		s.put(`"`, o, `"`)
	}
	s.put(`]}`)
	s.c.params = s.params
	s.answer(`{"grantId":"`, g.idText(), `","keyId":"`, k.arn, `"}`)
	s.c.key = k
	s.c.write = true
	s.out(&s.c)
}

// retireGrant has no parameters: the grant is in additionalEventData.
func (s *scribe) retireGrant(at int64, p *place, by *caller, k *key, g *grant) {
	s.begin(at, p, by, kmsSource, "RetireGrant")
	s.extras = append(s.extras, `{"grantId":"`+g.idText()+`"}`...)
	s.c.extra = s.extras
	s.answer(`{"keyId":"`, k.arn, `"}`)
	s.c.key = k
	s.c.write = true
	s.out(&s.c)
}

func (s *scribe) putKeyPolicy(at int64, p *place, by *caller, k *key, policy string) {
	s.begin(at, p, by, kmsSource, "PutKeyPolicy")
	s.put(`{"keyId":"`, k.id, `","policyName":"default","policy":`)
	s.params = appendString(s.params, policy)
	s.put(`,"bypassPolicyLockoutSafetyCheck":false}`)
	s.c.params = s.params
	s.c.key = k
	s.c.write = true
	s.out(&s.c)
}

func (s *scribe) createKey(at int64, p *place, by *caller, k *key, description, policy string) {
	s.begin(at, p, by, kmsSource, "CreateKey")
	s.put(`{"description":"`, description, `","origin":"AWS_KMS","multiRegion":false,"bypassPolicyLockoutSafetyCheck":false,`,
		`"customerMasterKeySpec":"SYMMETRIC_DEFAULT","keySpec":"SYMMETRIC_DEFAULT","keyUsage":"ENCRYPT_DECRYPT","policy":`)
	s.params = appendString(s.params, policy)
	s.put(`}`)
	s.c.params = s.params
	s.answer(`{"keyMetadata":{"aWSAccountId":"`, k.account, `","keyId":"`, k.id, `","arn":"`, k.arn, `","creationDate":"`, longTime(at),
		`","enabled":true,"description":"`, description, `","keyUsage":"ENCRYPT_DECRYPT","keyState":"Enabled","origin":"AWS_KMS",`,
		`"keyManager":"CUSTOMER","customerMasterKeySpec":"SYMMETRIC_DEFAULT","keySpec":"SYMMETRIC_DEFAULT",`,
		`"encryptionAlgorithms":["SYMMETRIC_DEFAULT"],"multiRegion":false,"currentKeyMaterialId":"`, k.material, `"}}`)
	s.c.key = k
	s.c.write = true
	s.out(&s.c)
}

// createAlias lists the alias and its key, both typed.
func (s *scribe) createAlias(at int64, p *place, by *caller, k *key) {
	s.begin(at, p, by, kmsSource, "CreateAlias")
	s.put(`{"aliasName":"`, k.alias, `","targetKeyId":"`, k.id, `"}`)
	s.c.params = s.params
	s.c.resources = []byte(`[{"accountId":"` + k.account + `","type":"AWS::KMS::Key","ARN":"` + k.arn +
		`"},{"accountId":"` + k.account + `","type":"AWS::KMS::Alias","ARN":"arn:aws:kms:` + k.region + `:` + k.account + `:` + k.alias + `"}]`)
	s.c.write = true
	s.out(&s.c)
}

func (s *scribe) enableKeyRotation(at int64, p *place, by *caller, k *key) {
	s.begin(at, p, by, kmsSource, "EnableKeyRotation")
	s.put(`{"keyId":"`, k.arn, `","rotationPeriodInDays":365}`)
	s.c.params = s.params
	s.c.key = k
	s.c.write = true
	s.out(&s.c)
}

func (s *scribe) tagResource(at int64, p *place, by *caller, k *key, name, value string) {
	s.begin(at, p, by, kmsSource, "TagResource")
	s.put(`{"keyId":"`, k.arn, `","tags":[{"tagKey":"`, name, `","tagValue":"`, value, `"}]}`)
	s.c.params = s.params
	s.c.key = k
	s.c.write = true
	s.out(&s.c)
}

func (s *scribe) scheduleKeyDeletion(at int64, p *place, by *caller, k *key, days int) {
	s.begin(at, p, by, kmsSource, "ScheduleKeyDeletion")
	s.put(`{"keyId":"`, k.arn, `","pendingWindowInDays":`, strconv.Itoa(days), `}`)
	s.c.params = s.params
	s.answer(`{"keyId":"`, k.arn, `","deletionDate":"`, longTime(at+int64(days)*86400),
		`","keyState":"PendingDeletion","pendingWindowInDays":`, strconv.Itoa(days), `}`)
	s.c.key = k
	s.c.write = true
	s.out(&s.c)
}

// rotated is the service event of an automatic rotation: no actor, no request.
func (s *scribe) rotated(at int64, p *place, k *key, previous string) {
	by := &caller{who: identity{kind: internal, account: p.account.id}, ip: awsInternal, agent: awsInternal}
	s.begin(at, p, by, kmsSource, "RotateKey")
	s.c.service = true
	s.c.write = true
	s.c.key = k
	s.c.details = []byte(`{"keyId":"` + k.id + `","rotationType":"AUTOMATIC","keyOrigin":"AWS_KMS","previousKeyMaterialId":"` +
		previous + `","currentKeyMaterialId":"` + k.material + `"}`)
	s.out(&s.c)
}

// synchronized is the noise of multi-Region keys.
func (s *scribe) synchronized(at int64, p *place, k *key) {
	by := &caller{who: identity{kind: internal, account: p.account.id}, ip: awsInternal, agent: awsInternal}
	s.begin(at, p, by, kmsSource, "SynchronizeMultiRegionKey")
	s.c.write = true
	s.c.key = k
	s.out(&s.c)
}

// putEventSelectors sets a trail's basic selector; excluded is an event source
// that the trail shall no longer record, or empty.
func (s *scribe) putEventSelectors(at int64, p *place, by *caller, trail, excluded string) {
	s.begin(at, p, by, "cloudtrail.amazonaws.com", "PutEventSelectors")
	sources := ""
	if excluded != "" {
		sources = `"` + excluded + `"`
	}
	selectors := `[{"readWriteType":"All","includeManagementEvents":true,"dataResources":[],"excludeManagementEventSources":[` + sources + `]}]`
	s.put(`{"trailName":"`, trail, `","eventSelectors":`, selectors, `}`)
	s.c.params = s.params
	s.answer(`{"trailARN":"arn:aws:cloudtrail:`, p.region, `:`, p.account.id, `:trail/`, trail, `","eventSelectors":`, selectors, `}`)
	s.c.write = true
	s.out(&s.c)
}

// plain is a call of another service with parameters and answer as given.
func (s *scribe) plain(at int64, p *place, by *caller, source, name string, write bool, params, response string) {
	s.begin(at, p, by, source, name)
	if params != "" {
		s.put(params)
		s.c.params = s.params
	}
	if response != "" {
		s.answer(response)
	}
	s.c.write = write
	s.out(&s.c)
}

// getSecretValue is Secrets Manager's own record of a read; KMS's Decrypt
// comes beside it.
func (s *scribe) getSecretValue(at int64, p *place, by *caller, secretARN string) {
	s.begin(at, p, by, "secretsmanager.amazonaws.com", "GetSecretValue")
	s.put(`{"secretId":"`, secretARN, `"}`)
	s.c.params = s.params
	s.out(&s.c)
}

func (s *scribe) answer(pieces ...string) {
	for _, p := range pieces {
		s.response = append(s.response, p...)
	}
	s.c.response = s.response
}
