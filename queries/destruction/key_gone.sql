/* ---
id: KMS-D06
title: Key really gone
severity: high
status: active
family: destruction
class: F
mitre: [T1485]
events:
  - kms.amazonaws.com:DeleteKey
  - kms.amazonaws.com:DeleteExpiredKeyMaterial
entity: [key_arn]
window: 24h
summary: "KMS carried out {event_name} on {key_name}, as {scheduled_by} had arranged on {scheduled_date} ({account_name}, {region})"
at_risk: "All data under {key_name}. After DeleteKey it is lost; after DeleteExpiredKeyMaterial it can be read again once somebody imports the same material."
description: >-
  KMS did what somebody had set in motion: it deleted a key at the end of its waiting period, or removed imported
  material that had expired. The event itself names nobody; the principal shown is the one that scheduled the deletion
  or imported the material with that date.
false_positives: >-
  Planned deletions. The alert KMS-D01 on the same key was then acknowledged 7 to 30 days ago.
runbook: >-
  1. A deleted key does not come back. Look for data under it: backups under other keys, replicas of a multi-Region
  key, plaintext copies. 2. Expired material can be imported again if somebody holds it: ask the principal that
  imported it. 3. If nobody planned this, the scheduling principal was compromised or careless weeks ago: look at
  everything it did since.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/ct-delete-key.html
  - https://docs.aws.amazon.com/kms/latest/developerguide/ct-deleteexpiredkeymaterial.html
--- */
-- KMS tells of one effect twice, to CloudTrail and to EventBridge, under two ids
-- and seconds apart: one effect on a key counts once a day.
with effects as (
  select
    key_arn,
    event_name,
    date_trunc('day', event_time) as window_start,
    min(event_time) as first_time,
    max(event_time) as last_time,
    array_agg(distinct event_id order by event_id) as event_ids,
    min(account) as account,
    min(region) as region,
    max(key_origin) as key_origin
  from control_events
  where event_source = 'kms.amazonaws.com'
    and event_name in ('DeleteKey', 'DeleteExpiredKeyMaterial')
    and outcome = 'ok'
    and key_arn <> ''
  group by key_arn, event_name, date_trunc('day', event_time)
),

-- Who set it in motion: the latest call before the effect.
causes as (
  select
    e.key_arn,
    e.event_name,
    e.window_start,
    max(c.event_time) as cause_time,
    max_by(c.principal, row(c.event_time, c.event_id)) as cause_principal,
    max_by(c.person, row(c.event_time, c.event_id)) as cause_person,
    max_by(c.event_id, row(c.event_time, c.event_id)) as cause_event
  from effects e
  join key_changes c on c.key_arn = e.key_arn
    and c.event_time <= e.first_time
    and c.event_name = case e.event_name when 'DeleteKey' then 'ScheduleKeyDeletion' else 'ImportKeyMaterial' end
  group by e.key_arn, e.event_name, e.window_start
)

select
  e.key_arn,
  e.account,
  e.region,
  coalesce(c.cause_principal, '') as principal,
  e.window_start,
  e.first_time,
  e.last_time,
  cast(1 as bigint) as event_count,
  e.event_ids,
  e.event_name,
  c.cause_principal as scheduled_by,
  date_format(c.cause_time, '%Y-%m-%d') as scheduled_date,
  c.cause_person as scheduled_person,
  c.cause_event as scheduled_event,
  e.key_origin
from effects e
left join causes c on c.key_arn = e.key_arn and c.event_name = e.event_name and c.window_start = e.window_start
