/* ---
id: KMS-G04
title: Unconstrained Decrypt grant
severity: medium
status: active
family: grants
class: S
mitre: [T1098]
events: ["kms.amazonaws.com:CreateGrant"]
entity: [key_arn, grantee]
window: 0
suppress: [iac]
summary: "{principal_name} granted {grantee} the use of all data under {key_name}, by a grant without a constraint: {operations} ({account_name}, {region})"
at_risk: "All data under {key_name}, not only the part that the grantee needs."
undo: aws kms revoke-grant --key-id {key_arn} --grant-id {grant_id} --region {region}
description: >-
  A grant lets a role or user decrypt, re-encrypt or make data keys, and has no constraint on the encryption context.
  Such a grant opens everything under the key; a constraint such as encryptionContextSubset would bind it to one
  tenant, table or bucket.
false_positives: >-
  Older programs that do not use an encryption context. Suppress them by key and principal, with a date.
runbook: >-
  1. Ask the caller what the grantee should read. 2. If the data carries an encryption context, have the grant made
  again with a constraint, then revoke this one (command below). 3. If nobody knows the grantee, revoke first and look
  at what it decrypted.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/create-grant-overview.html#grant-constraints
--- */
select
  key_arn,
  grantee,
  account,
  region,
  principal,
  event_time as window_start,
  event_time as first_time,
  event_time as last_time,
  cast(1 as bigint) as event_count,
  array[event_id] as event_ids,
  grant_id,
  grant_name,
  grantee_account,
  grantee_kind,
  grant_operations as operations,
  person,
  session_name,
  source_ip,
  client
from control_events
where event_source = 'kms.amazonaws.com'
  and event_name = 'CreateGrant'
  and outcome = 'ok'
  and lane = 'direct'
  and grantee_kind not in ('service', 'infrastructure')
  and grant_constraint = ''
  -- What turns ciphertext into plaintext or into something the grantee can read.
  and arrays_overlap(grant_operations, array[
    'Decrypt', 'ReEncryptFrom', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext',
    'GenerateDataKeyPair', 'GenerateDataKeyPairWithoutPlaintext'
  ])
  and key_arn <> ''
