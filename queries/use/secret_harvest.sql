/* ---
id: KMS-U05
title: Secret or parameter harvest seen from KMS
severity: high
status: active
family: use
class: V
mitre: [T1555.006, T1552, T1530]
events: ["kms.amazonaws.com:Decrypt"]
entity: [principal, data_kind]
# Windows of 10 minutes; those that begin in one hour are one finding.
window: 1h
params:
  # A person looks at a handful of secrets. Ten within 10 minutes is a loop.
  person_secrets: 10
  # A program reads its settings when it starts; 20 different secrets or
  # parameters are more than one program has.
  program_secrets: 20
  # Objects, volumes, tables: people page through folders, so many more.
  person_data: 100
suppress: [routine, scanner]
evidence_events:
  table: uses
  on: [principal, lane, data_kind]
  names: [Decrypt]
summary: "{principal_name} read {distinct_data} different {items} within 10 minutes ({account_name}, {region})"
at_risk: "The {items} themselves: they must be taken as known to the caller. Some of them are named in the evidence, all in the events."
description: >-
  Each read of an encrypted secret, parameter or object makes a Decrypt whose encryption context names it. One principal
  had many different ones decrypted within minutes, directly or through Secrets Manager, Systems Manager and others.
  What counts is how many different items, not how many calls. It shows even where the events of those services are
  not recorded.
false_positives: >-
  Operators that copy secrets into clusters (External Secrets and the like), and restores. List their roles under
  roles.routine.
runbook: >-
  1. Is the principal an operator that syncs secrets, or a restore? Then list it under roles.routine. 2. If not, stop it:
  deactivate the access key or revoke the role's sessions. 3. Rotate what was read; the events name each item. Begin with
  what opens other doors: database and API credentials. 4. Look at where these secrets are used from the first read on.
  5. Find the way in: what did the principal do in the hour before?
references:
  - https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
  - https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html
--- */
with windows as (
  select
    principal, lane, data_kind, window_start, account, region, principal_type, is_person, key_arn, distinct_data, event_count,
    first_time, last_time
  from data_uses
),

-- The windows that are too much, by the hour in which they begin.
harvests as (
  select
    principal,
    lane,
    data_kind,
    date_trunc('hour', window_start) as hour_start,
    min(window_start) as first_window,
    max(window_start) as last_window,
    max(distinct_data) as distinct_data
  from windows
  -- A window that begins with five minutes of nothing has no more than the next one.
  where first_time < window_start + interval '5' minute
    and (
      (data_kind in ('secret', 'parameter') and is_person and distinct_data >= :person_secrets)
      or (data_kind in ('secret', 'parameter') and distinct_data >= :program_secrets)
      or (data_kind not in ('secret', 'parameter') and is_person and distinct_data >= :person_data)
    )
  group by principal, lane, data_kind, date_trunc('hour', window_start)
)

-- Windows overlap by half. What was read from the first to the last of them is
-- added up over every second one, so that nothing is counted twice.
select
  h.principal,
  h.data_kind,
  min(d.account) as account,
  min(d.region) as region,
  h.lane,
  min(d.key_arn) as key_arn,
  h.hour_start as window_start,
  min(d.first_time) as first_time,
  max(d.last_time) as last_time,
  cast(sum(d.event_count) as bigint) as event_count,
  h.distinct_data,
  case h.data_kind when 's3_object' then 'objects' else concat(replace(h.data_kind, '_', '-'), 's') end as items,
  min(d.principal_type) as principal_type,
  max(case when d.is_person then 1 else 0 end) = 1 as is_person
from harvests h
join windows d on d.principal = h.principal
  and d.lane = h.lane
  and d.data_kind = h.data_kind
  and d.window_start >= h.first_window
  and d.window_start < h.last_window + interval '10' minute
  and mod(minute(d.window_start) - minute(h.first_window) + 60, 10) = 0
group by h.principal, h.lane, h.data_kind, h.hour_start, h.distinct_data
