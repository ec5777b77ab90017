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
# Windows of 15 minutes; those that begin in one hour are one finding.
window: 1h
params:
  # An administrator cleans up one or two grants by hand; five different ones
  # of one key within a quarter of an hour cut off whatever relied on them.
  min_grants: 5
suppress: [iac, change_window]
summary: "{principal_name} ended {grant_count} grants of {key_name} within 15 minutes ({account_name}, {region})"
at_risk: "What worked through these grants: volumes cannot attach, databases cannot start. Running ones fail only at their next attach, so the outage may come later."
undo: aws kms list-grants --key-id {key_arn} --region {region}
description: >-
  Many grants of one key were ended in a short time by somebody who is not an AWS service. Services live by grants:
  the volumes, databases and instances behind them lose the key, some of them only at their next start.
false_positives: >-
  Services retire their own grants; those calls are left out. A clean-up script run by a person is worth a question.
runbook: >-
  1. See what is left (command below); an ended grant cannot be brought back, only made again. 2. Find whom the lost grants served (grantees in the evidence). 3. Detach
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
    count(distinct case when e.grant_id <> '' then e.grant_id else e.event_id end) as grant_count
  from endings e
  cross join (values (0), (1), (2)) as w (hop)
  group by e.principal, e.key_arn, e.slot - interval '5' minute * w.hop
  having count(distinct case when e.grant_id <> '' then e.grant_id else e.event_id end) >= :min_grants
),

-- Each call belongs to the latest such window that it is in, so that none is counted twice.
placed as (
  select
    e.*,
    w.window_start,
    w.grant_count as window_grants,
    row_number() over (partition by e.account, e.event_id order by w.window_start desc) as place
  from windows w
  cross join (values (0), (1), (2)) as h (hop)
  join endings e on e.principal = w.principal
    and e.key_arn = w.key_arn
    and e.slot = w.window_start + interval '5' minute * h.hop
)

select
  principal,
  key_arn,
  min(account) as account,
  min(region) as region,
  date_trunc('hour', window_start) as window_start,
  min(event_time) as first_time,
  max(event_time) as last_time,
  count(distinct case when shared_event_id <> '' then shared_event_id else event_id end) as event_count,
  array_agg(distinct event_id order by event_id) as event_ids,
  max(window_grants) as grant_count,
  array_agg(distinct event_name order by event_name) as operations,
  slice(array_agg(distinct grant_id order by grant_id), 1, 10) as ended_grants,
  min(person) as person,
  min(source_ip) as source_ip,
  min(client) as client
from placed
where place = 1
group by principal, key_arn, date_trunc('hour', window_start)
