/* ---
id: KMS-U20
title: Root uses KMS
severity: high
status: active
family: use
class: V
mitre: [T1078.004]
events: ["kms.amazonaws.com:*"]
entity: [account]
# Calls of one hour are one finding; the alert joins the hours.
window: 1h
evidence_events:
  table: uses
  on: [principal, lane]
summary: "The root user of {account_name} called KMS; calls: {event_count}, of kind {operations} ({region})"
at_risk: "Every key of the account: KMS's default key policy trusts the root user, and nothing in IAM limits it."
description: >-
  The account's root user called KMS itself. Nothing in daily work needs root; KMS needs it in rare cases of recovery.
  High when keys were changed or used; medium when root only looked at keys, as the console does by itself on many
  pages, or was refused.
false_positives: >-
  Break-glass work: regaining a key whose policy locked everybody out. It should be announced.
runbook: >-
  1. Ask the few people who hold the root credentials. If it was none of them: sign in as root yourself, change the
  password, remove access keys and unknown MFA devices, and end all sessions. 2. Go through all events of root in these
  hours, not only KMS. 3. Undo what it changed: look at KMS-D, P and G findings of the account.
references:
  - https://docs.aws.amazon.com/IAM/latest/UserGuide/root-user-best-practices.html
--- */
with calls as (
  select
    account, region, principal, lane, event_name, event_count, first_time, last_time, key_arn,
    cast(null as varchar) as event_id,
    '' as source_ip,
    -- Looking at keys is not using them.
    case when event_name like 'Get%' or event_name like 'List%' or event_name like 'Describe%' then 1 else 2 end as weight
  from uses
  where principal_type = 'root'
    and lane = 'direct'
    and not owner_copy
  union all
  select
    account, region, principal, lane, event_name, cast(1 as bigint) as event_count, event_time as first_time,
    event_time as last_time, key_arn, event_id, source_ip,
    case when outcome = 'ok' and not read_only then 2 else 1 end as weight
  from control_events
  where event_source = 'kms.amazonaws.com'
    and principal_type = 'root'
    and lane = 'direct'
    and not owner_copy
)

select
  account,
  min(region) as region,
  min(principal) as principal,
  min(lane) as lane,
  case when count(distinct key_arn) = 1 then min(key_arn) else '' end as key_arn,
  date_trunc('hour', first_time) as window_start,
  min(first_time) as first_time,
  max(last_time) as last_time,
  cast(sum(event_count) as bigint) as event_count,
  array_agg(distinct event_id order by event_id) filter (where event_id is not null) as event_ids,
  case when max(weight) = 2 then 'high' else 'medium' end as severity,
  array_agg(distinct event_name order by event_name) as operations,
  slice(array_agg(distinct key_arn order by key_arn), 1, 10) as keys,
  max(source_ip) as source_ip
from calls
group by account, date_trunc('hour', first_time)
