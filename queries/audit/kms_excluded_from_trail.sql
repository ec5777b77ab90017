/* ---
id: KMS-A01
title: KMS excluded from a trail
severity: critical
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
  # trail keeps all KMS events: their gaps are low.
  secondary_trails: []
summary: "{principal_name} called {event_name} so that {trail_name} does not record KMS: {how} ({account_name}, {region})"
at_risk: "Sight of all use of keys: what this trail misses from now on cannot be added to it later. If it is the only trail, Keytrail is blind."
undo: aws cloudtrail put-event-selectors --trail-name {trail_arn} --region {region} --event-selectors ReadWriteType=All,IncludeManagementEvents=true
description: >-
  The event selectors of a trail or an event data store now leave KMS out, by excludeManagementEventSources or by an
  advanced selector on eventSource. The trail still looks healthy; Keytrail is blind where it was the only one. High
  when the attempt was refused, medium when a new trail or store was made like this, low when it was like this already.
false_positives: >-
  A second trail for cost reasons that was never meant to hold KMS events. Name it in the parameter secondary_trails
  of this detection.
runbook: >-
  1. Put the selectors back. The command below records all management events and replaces all selectors of a trail; if it
  had others, as for data events, write those of selectors_before in the evidence instead. An event data store takes aws
  cloudtrail update-event-data-store --advanced-event-selectors. 2. Treat everything between the change and the repair as unseen: ask CloudTrail's
  event history (LookupEvents, 90 days), which is not affected by selectors. 3. The caller had a reason: look at what it
  did before, and at KMS-U, G and P findings since.
references:
  - https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html
  - https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html
--- */
with changes as (
  select *
  from control_events
  where event_source = 'cloudtrail.amazonaws.com'
    and event_name in ('PutEventSelectors', 'CreateTrail', 'UpdateTrail', 'CreateEventDataStore', 'UpdateEventDataStore')
    and outcome in ('ok', 'denied')
    and cardinality(trail_blinds) > 0
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
    when c.outcome = 'denied' then 'high'
    -- The same selectors again, as infrastructure code writes them: told when they were new.
    when c.request_parameters = b.selectors_before then 'low'
    -- What is new has not taken anything away yet.
    when c.event_name in ('CreateTrail', 'CreateEventDataStore') then 'medium'
    else 'critical'
  end as severity,
  c.trail_blinds as how,
  c.trail_arn,
  c.event_name,
  c.outcome,
  b.selectors_before,
  c.request_parameters as selectors,
  c.person,
  c.session_name,
  c.source_ip,
  c.client
from changes c
left join before_change b on b.account = c.account and b.event_id = c.event_id
