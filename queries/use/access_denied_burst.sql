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
# Windows of 10 minutes; those that begin in one hour are one finding.
window: 1h
params:
  # A program that lost a permission retries one call; ten refusals in 10
  # minutes are worth a look either way.
  min_denials: 10
  # Different things tried are the mark of somebody who feels their way.
  min_different: 5
  # AWS Config describes every key and is refused by many key policies, always.
  routine_services: [config.amazonaws.com]
suppress: [scanner]
summary: "{principal_name} was refused {event_count} KMS calls; different actions: {action_count}, keys: {key_count} ({account_name}, {region})"
at_risk: "Nothing yet. If one of these calls succeeds later, it was tried here first."
description: >-
  KMS refused one principal many times within 10 minutes, or refused it many different actions or keys. That is
  either somebody trying out what stolen credentials can do, or a broken deploy: a program that is refused one action on
  one key, again and again, is low. Action and key are read from the error messages. Calls that a service made for the
  principal count only by how many different actions and keys they touch, for services retry.
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
    d.slot - interval '5' minute * w.hop as window_start
  from denials d
  cross join (values (0), (1)) as w (hop)
  group by d.principal, d.slot - interval '5' minute * w.hop
  having count(distinct case when d.lane = 'direct' then d.event_id end) >= :min_denials
    or count(distinct d.action) >= :min_different
    or count(distinct case when d.key_arn <> '' then d.key_arn end) >= :min_different
),

-- Each refusal belongs to the latest such window that it is in, so that none is counted twice.
placed as (
  select
    d.*,
    w.window_start,
    row_number() over (partition by d.account, d.event_id order by w.window_start desc) as place
  from windows w
  cross join (values (0), (1)) as h (hop)
  join denials d on d.principal = w.principal
    and d.slot = w.window_start + interval '5' minute * h.hop
),

bursts as (
  select
    principal,
    date_trunc('hour', window_start) as hour_start,
    min(event_time) as first_time,
    max(event_time) as last_time,
    count(distinct event_id) as event_count,
    array_agg(distinct event_id order by event_id) as event_ids,
    count(distinct action) as action_count,
    array_agg(distinct action order by action) as actions,
    count(distinct case when key_arn <> '' then key_arn end) as key_count,
    array_agg(distinct key_arn order by key_arn) filter (where key_arn <> '') as keys,
    array_agg(distinct denied_by order by denied_by) filter (where denied_by <> '') as denied_by,
    array_agg(distinct region order by region) as regions,
    max(case when is_person then 1 else 0 end) = 1 as is_person,
    min(account) as account,
    min(region) as region,
    min(person) as person,
    min(session_name) as session_name,
    min(source_ip) as source_ip,
    min(client) as client
  from placed
  where place = 1
  group by principal, date_trunc('hour', window_start)
)

select
  principal,
  account,
  region,
  case when key_count = 1 then element_at(keys, 1) else '' end as key_arn,
  hour_start as window_start,
  first_time,
  last_time,
  event_count,
  event_ids,
  -- A program that lost a permission tries the same thing again; nobody feels the way like that.
  case when action_count = 1 and key_count <= 1 and not is_person then 'low' else 'medium' end as severity,
  action_count,
  slice(actions, 1, 10) as actions,
  key_count,
  slice(keys, 1, 10) as keys,
  denied_by,
  case when cardinality(regions) > 1 then regions end as regions,
  is_person,
  person,
  session_name,
  source_ip,
  client
from bursts
