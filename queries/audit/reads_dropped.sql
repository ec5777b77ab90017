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
summary: "{principal_name} narrowed what {trail_name} records; it now drops {what} ({account_name}, {region})"
at_risk: "Sight of the use of keys: Decrypt, GenerateDataKey and all other cryptographic calls are read events."
undo: aws cloudtrail put-event-selectors --trail-name {trail_arn} --region {region} --event-selectors ReadWriteType=All,IncludeManagementEvents=true
description: >-
  The event selectors of a trail now drop read events, write events or all management events. Nearly all use of keys is
  read events, so a trail that keeps writes only sees no Decrypt at all. A refused attempt is medium, with the
  selectors unknown where the record does not carry them.
false_positives: >-
  Trails for data events, and cost trails beside a full one. Name them in the parameter secondary_trails of this
  detection.
runbook: >-
  1. Put the selectors back (command below; it replaces all selectors: keep data event selectors that were there).
  2. Treat the time between as unseen and fill it from CloudTrail's event history (LookupEvents, 90 days). 3. See who
  the caller is and what it did before.
references:
  - https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html
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
    when outcome = 'denied' then 'medium'
    when event_name in ('CreateTrail', 'CreateEventDataStore') then 'medium'
    else 'high'
  end as severity,
  trail_drops as what,
  trail_arn,
  event_name,
  outcome,
  error_message,
  request_parameters as request,
  person,
  session_name,
  source_ip,
  client,
  lane
from control_events
where event_source = 'cloudtrail.amazonaws.com'
  and event_name in ('PutEventSelectors', 'CreateTrail', 'UpdateTrail', 'CreateEventDataStore', 'UpdateEventDataStore')
  and (
    (outcome in ('ok', 'denied') and cardinality(trail_drops) > 0)
    -- Refused calls often carry no parameters: what they wanted is not known.
    or (outcome = 'denied' and event_name = 'PutEventSelectors' and coalesce(cardinality(trail_blinds), 0) = 0 and request_parameters = '')
  )
