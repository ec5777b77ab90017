/* ---
id: KMS-U04
title: Decrypt fan-out over keys
severity: high
status: active
family: use
class: V
mitre: [T1530, T1552]
events:
  - kms.amazonaws.com:Decrypt
  - kms.amazonaws.com:ReEncrypt
entity: [principal]
window: 10m
params:
  # A program knows its own few keys. Ten different ones within 10 minutes is
  # somebody who walks through what there is, or a backup.
  min_keys: 10
suppress: [routine]
evidence_events:
  table: uses
  on: [principal, lane]
  names: [Decrypt, ReEncrypt]
summary: "{principal_name} decrypted directly under {key_count} keys within 10 minutes, {event_count} calls ({account_name}, {region})"
at_risk: "Data under these keys: {keys}"
description: >-
  One principal decrypted with many different keys in a short time, calling KMS itself. Programs use the few keys they
  were built for. Calls that AWS services make for a principal are not counted here.
false_positives: >-
  Backup, migration and re-encryption jobs. List their roles under roles.routine.
runbook: >-
  1. Is it a known job? Then list it. 2. If not, stop the principal: deactivate the access key, or revoke the role's
  sessions (IAM console, "Revoke active sessions"). 3. The encryption contexts of the events say which data was read;
  the owners of these keys must know. 4. Find out how the principal got the right to decrypt under so many keys:
  kms:Decrypt on * in an IAM policy, or a key policy that trusts the whole account.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/iam-policies-best-practices.html
--- */
with windows as (
  select
    u.principal,
    u.lane,
    u.window_start - interval '5' minute * w.hop as window_start,
    min(u.account) as account,
    min(u.region) as region,
    min(u.first_time) as first_time,
    max(u.last_time) as last_time,
    cast(sum(u.event_count) as bigint) as event_count,
    count(distinct u.key_arn) as key_count,
    count(distinct u.key_account) as key_account_count,
    count(distinct u.region) as region_count,
    array_agg(distinct u.key_arn order by u.key_arn) as keys,
    max(case when u.is_person then 1 else 0 end) = 1 as is_person,
    min(u.principal_type) as principal_type
  from uses u
  cross join (values (0), (1)) as w (hop)
  where u.lane = 'direct'
    and not u.owner_copy
    and u.event_name in ('Decrypt', 'ReEncrypt')
    and u.key_arn <> ''
  group by u.principal, u.lane, u.window_start - interval '5' minute * w.hop
),

-- Windows with the same calls are one finding: the later is kept.
ranked as (
  select
    *,
    row_number() over (partition by principal, first_time, last_time order by window_start desc) as copy
  from windows
  where key_count >= :min_keys
)

select
  principal,
  account,
  region,
  lane,
  window_start,
  first_time,
  last_time,
  event_count,
  key_count,
  key_account_count,
  region_count,
  slice(keys, 1, 10) as keys,
  is_person,
  principal_type
from ranked
where copy = 1
