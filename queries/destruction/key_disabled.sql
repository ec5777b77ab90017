/* ---
id: KMS-D02
title: Key disabled
severity: medium
status: active
family: destruction
class: S
mitre: [T1489]
events: ["kms.amazonaws.com:DisableKey"]
entity: [key_arn]
window: 0
suppress: [iac, change_window]
summary: "{principal_name} disabled {key_name} ({account_name}, {region})"
at_risk: "Whatever reads data under {key_name} fails from now on: databases that restart, volumes that attach, secrets that are fetched."
undo: aws kms enable-key --key-id {key_arn} --region {region}
description: >-
  Somebody disabled a key. Nothing is lost, but everything that needs the key stops working, at once or at its next
  restart. Attackers disable keys to make an outage, defenders do it to contain one.
false_positives: >-
  Rotation drills, and old keys that are disabled for some weeks before they are deleted. Announce them as a change
  window, or list the role that does it under roles.iac.
runbook: >-
  1. See whether anything still needs the key: KMS-D07 on the same key means that callers are failing now. 2. If nobody
  owns up, enable the key with the command below. 3. Look at what else the caller did to keys; three keys within an
  hour is KMS-D03.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/enabling-keys.html
--- */
select
  key_arn,
  account,
  region,
  principal,
  event_time as window_start,
  event_time as first_time,
  event_time as last_time,
  cast(1 as bigint) as event_count,
  array[event_id] as event_ids,
  person,
  session_name,
  source_ip,
  client,
  invoked_by
from control_events
where event_source = 'kms.amazonaws.com'
  and event_name = 'DisableKey'
  and outcome = 'ok'
  and key_arn <> ''
