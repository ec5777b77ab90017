/* ---
id: KMS-U02
title: Allow-list breach on a sensitive key
severity: high
status: active
family: use
class: F
mitre: [T1552, T1078.004]
events:
  - kms.amazonaws.com:Decrypt
  - kms.amazonaws.com:ReEncrypt
  - kms.amazonaws.com:GenerateDataKey
  - kms.amazonaws.com:GenerateDataKeyWithoutPlaintext
  - kms.amazonaws.com:GenerateDataKeyPair
  - kms.amazonaws.com:GenerateDataKeyPairWithoutPlaintext
  - kms.amazonaws.com:Encrypt
  - kms.amazonaws.com:Sign
  - kms.amazonaws.com:GenerateMac
  - kms.amazonaws.com:DeriveSharedSecret
  - kms.amazonaws.com:Decapsulate
entity: [principal, key_arn]
# Calls of one hour are one finding; the alert joins the hours.
window: 1h
suppress: []
evidence_events:
  table: uses
  on: [principal, key_arn]
  names: [Decrypt, ReEncrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext, Encrypt, Sign, GenerateMac, DeriveSharedSecret, Decapsulate]
summary: "{principal_name}, who is not on the list of {key_name}, used it {event_count} times: {operations} ({account_name}, {region})"
at_risk: "What {key_name} protects: you listed who may use it, and this caller is not among them."
undo: aws kms get-key-policy --key-id {key_arn} --policy-name default --region {region} --output text
description: >-
  The settings list who may use this key, and somebody else did, successfully. It needs no learning: it speaks from the
  first event. Both direct calls and those that a service made for the caller count; services that act for themselves
  do not.
false_positives: >-
  The list is behind: a new role of the same application. Add it under key_allow, where * may stand for a part of the
  name.
runbook: >-
  1. Is the caller new and meant? Then add it to key_allow. 2. If not, the key policy or a grant lets in more than you
  want: the command below shows the policy, aws kms list-grants the grants. 3. Take the caller out of both and see what
  it read (encryption context in the events).
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
--- */
with listed as (
  select key_arn, principal_pattern as allowed, timestamp '1970-01-01 00:00:00' as valid_from, cast(null as timestamp) as valid_to
  from key_allow
  where key_arn <> ''
  union all
  -- An alias means the key it pointed to at the time of the call.
  select a.key_arn, k.principal_pattern as allowed, a.valid_from, a.valid_to
  from key_allow k
  join aliases a on a.alias_name = k.alias_name
  where k.alias_name <> ''
    and (k.account = '' or k.account = a.account)
),

calls as (
  select
    u.*,
    date_trunc('hour', u.window_start) as hour_start
  from uses u
  left join accounts a on a.account = u.principal_account
  where u.event_name in (
      'Decrypt', 'ReEncrypt', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext', 'GenerateDataKeyPair',
      'GenerateDataKeyPairWithoutPlaintext', 'Encrypt', 'Sign', 'GenerateMac', 'DeriveSharedSecret', 'Decapsulate'
    )
    and not (u.owner_copy and coalesce(a.ours and (a.listed or a.first_time <= u.first_time), false))
),

-- A listed multi-Region id (mrk-…) means all its replicas.
matched as (
  select
    c.principal,
    c.key_arn,
    c.hour_start,
    c.window_start,
    c.account,
    c.region,
    c.event_name,
    c.lane,
    c.is_person,
    c.event_count,
    c.first_time,
    c.last_time,
    max(case when l.allowed = c.principal then 1 else 0 end) as is_allowed
  from calls c
  join listed l on (l.key_arn = c.key_arn or (l.key_arn like 'mrk-%' and c.key_arn like concat('%:key/', l.key_arn)))
    and c.last_time >= l.valid_from
    and (l.valid_to is null or c.first_time < l.valid_to)
  group by
    c.principal, c.key_arn, c.hour_start, c.window_start, c.account, c.region, c.event_name, c.lane, c.is_person,
    c.event_count, c.first_time, c.last_time
)

select
  principal,
  key_arn,
  min(account) as account,
  min(region) as region,
  hour_start as window_start,
  min(first_time) as first_time,
  max(last_time) as last_time,
  cast(sum(event_count) as bigint) as event_count,
  array_agg(distinct event_name order by event_name) as operations,
  max(case when is_person then 1 else 0 end) = 1 as is_person
from matched
where is_allowed = 0
group by principal, key_arn, hour_start
