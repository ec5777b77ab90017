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
summary: "{principal_name} stopped {trail_name} from recording KMS: {how} ({account_name}, {region})"
at_risk: "Sight of all use of keys. From now on this trail holds no KMS event, and what it misses cannot be had later."
undo: aws cloudtrail put-event-selectors --trail-name {trail_arn} --region {region} --event-selectors ReadWriteType=All,IncludeManagementEvents=true
description: >-
  The event selectors of a trail or an event data store now leave KMS out, by excludeManagementEventSources or by an
  advanced selector on eventSource. The trail still looks healthy; Keytrail is blind where it was the only one. High
  when the attempt was refused, medium when a new store was made like this.
false_positives: >-
  A second trail for cost reasons that was never meant to hold KMS events. Name it in the parameter secondary_trails
  of this detection.
runbook: >-
  1. Put the selectors back (command below; it replaces all selectors: keep data event selectors that were there, they
  are in the request of the event). 2. Treat everything between the change and the repair as unseen: ask CloudTrail's
  event history (LookupEvents, 90 days), which is not affected by selectors. 3. The caller had a reason: look at what it
  did before, and at KMS-U, G and P findings since.
references:
  - https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html
  - https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html
--- */
select
  account,
  trail_name,
  region,
  principal,
  event_time as window_start,
  event_time as first_time,
  event_time as last_time,
  cast(1 as bigint) as event_count,
  array[event_id] as event_ids,
  case
    when trail_name in :secondary_trails or trail_arn in :secondary_trails then 'low'
    when outcome = 'denied' then 'high'
    -- What is new has not taken anything away yet.
    when event_name in ('CreateTrail', 'CreateEventDataStore') then 'medium'
    else 'critical'
  end as severity,
  trail_blinds as how,
  trail_arn,
  event_name,
  outcome,
  request_parameters as request,
  person,
  session_name,
  source_ip,
  client,
  lane
from control_events
where event_source = 'cloudtrail.amazonaws.com'
  and event_name in ('PutEventSelectors', 'CreateTrail', 'UpdateTrail', 'CreateEventDataStore', 'UpdateEventDataStore')
  and outcome in ('ok', 'denied')
  and cardinality(trail_blinds) > 0
