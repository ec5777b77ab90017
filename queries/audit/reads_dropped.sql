/* ---
id: KMS-A02
title: Reads dropped
severity: high
status: active
family: audit
class: S
mitre: [T1562.008]
events:
  - cloudtrail.amazonaws.com:PutEventSelectors
  - cloudtrail.amazonaws.com:CreateTrail
  - cloudtrail.amazonaws.com:UpdateTrail
  - cloudtrail.amazonaws.com:CreateEventDataStore
  - cloudtrail.amazonaws.com:UpdateEventDataStore
entity: [account, trail_name]
window: 0
params:
  # Names or ARNs of trails that are there for something else, while another
  # trail keeps all management events: their gaps are low.
  secondary_trails: []
summary: "{principal_name} called {event_name} so that {trail_name} does not record everything; dropped: {what} ({account_name}, {region})"
at_risk: "Sight of the use of keys: Decrypt, GenerateDataKey and all other cryptographic calls are read events."
undo: aws cloudtrail put-event-selectors --trail-name {trail_arn} --region {region} --event-selectors ReadWriteType=All,IncludeManagementEvents=true
description: >-
  The event selectors of a trail now drop read events, write events or all management events. Nearly all use of keys is
  read events, so a trail that keeps writes only sees no Decrypt at all. A refused attempt is medium, with the
  selectors unknown where the record does not carry them; low when they were like this already.
false_positives: >-
  Trails for data events, and cost trails beside a full one. Name them in the parameter secondary_trails of this
  detection.
runbook: >-
  1. Put the selectors back. The command below records all management events and replaces all selectors of a trail; if it
  had others, as for data events, write those of selectors_before in the evidence instead.
  2. Treat the time between as unseen and fill it from CloudTrail's event history (LookupEvents, 90 days). 3. See who
  the caller is and what it did before.
references:
  - https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html
--- */
with changes as (
  select *
  from control_events
  where event_source = 'cloudtrail.amazonaws.com'
    and event_name in ('PutEventSelectors', 'CreateTrail', 'UpdateTrail', 'CreateEventDataStore', 'UpdateEventDataStore')
    and (
      (outcome in ('ok', 'denied') and cardinality(trail_drops) > 0)
      -- Refused calls often carry no parameters: what they wanted is not known.
      or (outcome = 'denied' and event_name = 'PutEventSelectors' and coalesce(cardinality(trail_blinds), 0) = 0 and request_parameters = '')
    )
),

-- The selectors that were there, for comparison and to put them back.
before_change as (
  select
    c.account,
    c.event_id,
    max_by(k.request_parameters, row(k.event_time, k.event_id)) as selectors_before
  from changes c
  join trail_changes k on k.account = c.account
    and k.trail_name = c.trail_name
    and k.event_time < c.event_time
  where k.event_name in ('PutEventSelectors', 'CreateEventDataStore', 'UpdateEventDataStore')
    and k.request_parameters <> ''
  group by c.account, c.event_id
)

select
  c.account,
  c.trail_name,
  c.region,
  c.principal,
  c.event_time as window_start,
  c.event_time as first_time,
  c.event_time as last_time,
  cast(1 as bigint) as event_count,
  array[c.event_id] as event_ids,
  case
    when c.trail_name in :secondary_trails or c.trail_arn in :secondary_trails then 'low'
    when c.outcome = 'denied' then 'medium'
    -- The same selectors again, as infrastructure code writes them: told when they were new.
    when c.request_parameters = b.selectors_before then 'low'
    when c.event_name in ('CreateTrail', 'CreateEventDataStore') then 'medium'
    else 'high'
  end as severity,
  case when cardinality(c.trail_drops) > 0 then c.trail_drops else array['unknown'] end as what,
  c.trail_arn,
  c.event_name,
  c.outcome,
  c.error_message,
  b.selectors_before,
  c.request_parameters as selectors,
  c.person,
  c.session_name,
  c.source_ip,
  c.client
from changes c
left join before_change b on b.account = c.account and b.event_id = c.event_id
