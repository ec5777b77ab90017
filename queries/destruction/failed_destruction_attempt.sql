/* ---
id: KMS-D05
title: Failed destruction attempt
severity: medium
status: active
family: destruction
class: S
mitre: [T1485]
events:
  - kms.amazonaws.com:ScheduleKeyDeletion
  - kms.amazonaws.com:DisableKey
  - kms.amazonaws.com:DeleteImportedKeyMaterial
  - kms.amazonaws.com:PutKeyPolicy
entity: [principal, key_arn]
window: 0
suppress: [iac, change_window]
summary: "{principal_name} was refused {action} on {key_name} ({account_name}, {region})"
at_risk: "Nothing yet: the call was refused; the policy that did so is {denied_by}. The same caller may find another way."
description: >-
  Somebody tried to delete, disable or take over a key and was refused. The refusal worked, but the wish is what
  matters: leaked credentials are tried out like this. The key and the kind of policy that refused are read from the
  error message, for refused calls carry no parameters.
false_positives: >-
  A pipeline that lost a permission and tries again at each run. All its attempts join one alert; give it the
  permission, or list it under roles.iac.
runbook: >-
  1. Ask the caller. 2. If unknown, look at everything else these credentials did in the last 24 hours, refused or
  not (KMS-U06 counts refusals). 3. Make sure that what refused is not a coincidence: an identity-based refusal ends
  when somebody attaches a policy, an explicit deny in a service control policy does not.
references:
  - https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
--- */
select
  principal,
  key_arn,
  account,
  region,
  event_time as window_start,
  event_time as first_time,
  event_time as last_time,
  cast(1 as bigint) as event_count,
  array[event_id] as event_ids,
  case when denied_action <> '' then denied_action else concat('kms:', event_name) end as action,
  case when denied_by = '' then 'unnamed' else denied_by end as denied_by,
  error_code,
  error_message,
  person,
  session_name,
  source_ip,
  client
from control_events
where event_source = 'kms.amazonaws.com'
  and event_name in ('ScheduleKeyDeletion', 'DisableKey', 'DeleteImportedKeyMaterial', 'PutKeyPolicy')
  and outcome = 'denied'
