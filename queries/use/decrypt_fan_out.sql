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
# Windows of 10 minutes; those that begin in one hour are one finding.
window: 1h
params:
  # A program knows its own few keys. Ten different ones within 10 minutes is
  # somebody who walks through what there is, or a backup.
  min_keys: 10
suppress: [routine]
evidence_events:
  table: uses
  on: [principal, lane]
  names: [Decrypt, ReEncrypt]
summary: "{principal_name} decrypted under {key_count} different keys within 10 minutes, {event_count} calls in all ({account_name}, {region})"
at_risk: "Data under all of these keys: what was decrypted must be taken as known to the caller."
description: >-
  One principal decrypted with many different keys in a short time, calling KMS itself. Programs use the few keys they
  were built for. Calls that AWS services make for a principal are not counted here.
false_positives: >-
  Backup, migration and re-encryption jobs. List their roles under roles.routine.
runbook: >-
  1. Is it a known job? Then list it under roles.routine. 2. If not, stop the principal: deactivate the access key, or
  revoke the role's sessions (IAM console, "Revoke active sessions"). 3. The encryption contexts of the events say which data was read;
  the owners of these keys must know. 4. Find out how the principal got the right to decrypt under so many keys:
  kms:Decrypt on * in an IAM policy, or a key policy that trusts the whole account.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/iam-policies-best-practices.html
--- */
with calls as (
  select
    principal, lane, window_start as slot, account, region, principal_type, is_person, key_arn, event_count, first_time,
    last_time
  from uses
  where lane = 'direct'
    and not owner_copy
    and event_name in ('Decrypt', 'ReEncrypt')
    and key_arn <> ''
),

windows as (
  select
    c.principal,
    c.slot - interval '5' minute * w.hop as window_start,
    count(distinct c.key_arn) as key_count
  from calls c
  cross join (values (0), (1)) as w (hop)
  group by c.principal, c.slot - interval '5' minute * w.hop
  having count(distinct c.key_arn) >= :min_keys
),

-- Each five minutes belong to the latest such window that they are in, so that no call is counted twice.
placed as (
  select principal, slot, max(window_start) as window_start, max(key_count) as key_count
  from (
    select w.principal, w.window_start + interval '5' minute * h.hop as slot, w.window_start, w.key_count
    from windows w
    cross join (values (0), (1)) as h (hop)
  ) s
  group by principal, slot
)

select
  c.principal,
  min(c.account) as account,
  min(c.region) as region,
  min(c.lane) as lane,
  date_trunc('hour', p.window_start) as window_start,
  min(c.first_time) as first_time,
  max(c.last_time) as last_time,
  cast(sum(c.event_count) as bigint) as event_count,
  max(p.key_count) as key_count,
  slice(array_agg(distinct c.key_arn order by c.key_arn), 1, 20) as keys,
  case when count(distinct c.region) > 1 then array_agg(distinct c.region order by c.region) end as regions,
  min(c.principal_type) as principal_type,
  max(case when c.is_person then 1 else 0 end) = 1 as is_person
from placed p
join calls c on c.principal = p.principal and c.slot = p.slot
group by c.principal, date_trunc('hour', p.window_start)
