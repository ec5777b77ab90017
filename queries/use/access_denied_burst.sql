/* ---
id: KMS-U06
title: AccessDenied burst
severity: medium
status: active
family: use
class: V
mitre: [T1580, T1526, T1110]
events: ["kms.amazonaws.com:*"]
entity: [principal]
window: 10m
params:
  # A program that lost a permission retries one call; ten refusals in 10
  # minutes are worth a look either way.
  min_denials: 10
  # Different things tried are the mark of somebody who feels their way.
  min_different: 5
  # AWS Config describes every key and is refused by many key policies, always.
  routine_services: [config.amazonaws.com]
suppress: [scanner]
summary: "{principal_name} was refused {event_count} KMS calls within 10 minutes: {action_count} different actions on {key_count} keys ({account_name}, {region})"
at_risk: "Nothing yet. If one of these calls succeeds later, it was tried here first."
description: >-
  KMS refused one principal many times within 10 minutes, or refused it many different actions or keys. That is
  either somebody trying out what stolen credentials can do, or a broken deploy. Action and key are read from the
  error messages. Calls that a service made for the principal count only by how many different actions and keys they
  touch, for services retry.
false_positives: >-
  A role that lost a permission: one action on one key, again and again. AWS Config is left out; scanners can be listed
  under roles.scanners.
runbook: >-
  1. One action on one key from a program: tell its owner. 2. Several actions or keys: treat the credentials as stolen
  until their owner explains it. 3. Look at what the same principal was allowed to do around that time, and at the
  address it came from. 4. Watch for KMS-P02, G01 and U01 about the keys tried.
references:
  - https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
--- */
with denials as (
  select
    *,
    case when denied_action <> '' then denied_action else concat('kms:', event_name) end as action,
    date_trunc('hour', event_time) + interval '5' minute * (minute(event_time) / 5) as slot
  from control_events
  where event_source = 'kms.amazonaws.com'
    and outcome = 'denied'
    and lane <> 'service'
    and invoked_by not in :routine_services
    and principal not like '%:role/aws-service-role/%'
    -- The owner's copy of a cross-account call is the same call.
    and not owner_copy
),

-- Windows of 10 minutes start every 5.
windows as (
  select
    d.principal,
    d.slot - interval '5' minute * w.hop as window_start,
    min(d.event_time) as first_time,
    max(d.event_time) as last_time,
    count(distinct d.event_id) as event_count,
    count(distinct case when d.lane = 'direct' then d.event_id end) as direct_count,
    array_agg(distinct d.event_id order by d.event_id) as event_ids,
    count(distinct d.action) as action_count,
    array_agg(distinct d.action order by d.action) as actions,
    count(distinct case when d.key_arn <> '' then d.key_arn end) as key_count,
    array_agg(distinct d.key_arn order by d.key_arn) as keys,
    array_agg(distinct d.denied_by order by d.denied_by) as denied_by,
    min(d.key_arn) as key_arn,
    min(d.account) as account,
    min(d.region) as region,
    count(distinct d.region) as region_count,
    min(d.person) as person,
    min(d.session_name) as session_name,
    min(d.source_ip) as source_ip,
    min(d.client) as client
  from denials d
  cross join (values (0), (1)) as w (hop)
  group by d.principal, d.slot - interval '5' minute * w.hop
),

-- Windows with the same events are one finding: the later is kept.
ranked as (
  select
    *,
    row_number() over (partition by principal, first_time, last_time order by window_start desc) as copy
  from windows
  where direct_count >= :min_denials
    or action_count >= :min_different
    or key_count >= :min_different
)

select
  principal,
  account,
  region,
  case when key_count = 1 then key_arn else '' end as key_arn,
  window_start,
  first_time,
  last_time,
  event_count,
  event_ids,
  action_count,
  slice(actions, 1, 10) as actions,
  key_count,
  slice(keys, 1, 10) as keys,
  denied_by,
  region_count,
  person,
  session_name,
  source_ip,
  client
from ranked
where copy = 1
