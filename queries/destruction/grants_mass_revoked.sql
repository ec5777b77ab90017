/* ---
id: KMS-D17
title: Grants mass-revoked or retired
severity: medium
status: active
family: destruction
class: V
mitre: [T1489, T1531]
events:
  - kms.amazonaws.com:RevokeGrant
  - kms.amazonaws.com:RetireGrant
entity: [principal, key_arn]
window: 15m
params:
  # An administrator cleans up one or two grants by hand; five different ones
  # of one key within a quarter of an hour cut off whatever relied on them.
  min_grants: 5
suppress: [iac, change_window]
summary: "{principal_name} revoked or retired {grant_count} grants of {key_name} within 15 minutes ({account_name}, {region})"
at_risk: "What worked through these grants: volumes cannot attach, databases cannot start. Running ones fail only at their next attach, so the outage may come later."
description: >-
  Many grants of one key were ended in a short time by somebody who is not an AWS service. Services live by grants:
  the volumes, databases and instances behind them lose the key, some of them only at their next start.
false_positives: >-
  Services retire their own grants; those calls are left out. A clean-up script run by a person is worth a question.
runbook: >-
  1. List what is left: aws kms list-grants. 2. Find whom the lost grants served (grantees in the evidence). 3. Detach
  and attach the volume, or restart the resource, so that the service makes its grant again, before a restart happens
  by itself at a worse time. 4. Grants that your own code made must be made again by that code.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/grant-delete.html
--- */
with endings as (
  select
    g.*,
    date_trunc('hour', g.event_time) + interval '5' minute * (minute(g.event_time) / 5) as slot
  from control_events g
  left join accounts a on a.account = g.principal_account
  where g.event_source = 'kms.amazonaws.com'
    and g.event_name in ('RevokeGrant', 'RetireGrant')
    and g.outcome = 'ok'
    -- Services retire their own grants, for themselves or for a caller.
    and g.lane = 'direct'
    and g.key_arn <> ''
    -- Our caller's own copy of a cross-account call tells it already.
    and not (g.owner_copy and coalesce(a.ours and (a.listed or a.first_time <= g.event_time), false))
),

-- Windows of 15 minutes start every 5.
windows as (
  select
    e.principal,
    e.key_arn,
    e.slot - interval '5' minute * w.hop as window_start,
    min(e.event_time) as first_time,
    max(e.event_time) as last_time,
    count(distinct case when e.shared_event_id <> '' then e.shared_event_id else e.event_id end) as event_count,
    array_agg(distinct e.event_id order by e.event_id) as event_ids,
    count(distinct case when e.grant_id <> '' then e.grant_id else e.event_id end) as grant_count,
    array_agg(distinct e.event_name order by e.event_name) as operations,
    array_agg(distinct e.grant_id order by e.grant_id) as ended_grants,
    min(e.account) as account,
    min(e.region) as region,
    min(e.person) as person,
    min(e.source_ip) as source_ip,
    min(e.client) as client
  from endings e
  cross join (values (0), (1), (2)) as w (hop)
  group by e.principal, e.key_arn, e.slot - interval '5' minute * w.hop
),

-- Windows with the same events are one finding: the latest is kept.
ranked as (
  select
    *,
    row_number() over (partition by principal, key_arn, first_time, last_time order by window_start desc) as copy
  from windows
  where grant_count >= :min_grants
)

select
  principal,
  key_arn,
  account,
  region,
  window_start,
  first_time,
  last_time,
  event_count,
  event_ids,
  grant_count,
  operations,
  slice(ended_grants, 1, 10) as ended_grants,
  person,
  source_ip,
  client
from ranked
where copy = 1
