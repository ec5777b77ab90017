/* ---
id: KMS-A90
title: Test of Keytrail
severity: high
status: active
family: audit
class: S
events: ["kms.amazonaws.com:KeytrailTestAlert"]
entity: [account, test]
window: 0
summary: "This is a test that {requested_by} asked for. Nothing has happened ({account_name}, {region})"
at_risk: "Nothing. That you read this means that Keytrail can reach you."
description: >-
  Somebody ran keytrail simulate alert to see whether an alert comes through the whole stack. KMS has no such call: the
  record was made by that command, and nothing was done to any key.
false_positives: None. If nobody of yours asked for it, see who may write to the ingest queue.
runbook: >-
  1. Acknowledge it. 2. If nobody asked for a test, look at who has sqs:SendMessage on the ingest queue: whoever can
  write there can make alerts.
references:
  - https://github.com/keytrail/keytrail
--- */
select
  account,
  session_name as test,
  region,
  principal,
  event_time as window_start,
  event_time as first_time,
  event_time as last_time,
  cast(1 as bigint) as event_count,
  array[event_id] as event_ids,
  session_name as requested_by
from control_events
where event_source = 'kms.amazonaws.com'
  and event_name = 'KeytrailTestAlert'
