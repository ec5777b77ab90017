/* ---
id: KMS-P04
title: Lockout check bypassed
severity: high
status: active
family: policy
class: S
mitre: [T1531, T1098]
events:
  - kms.amazonaws.com:PutKeyPolicy
  - kms.amazonaws.com:CreateKey
  - kms.amazonaws.com:ReplicateKey
entity: [key_arn]
window: 0
suppress: [iac, change_window]
summary: "{principal_name} set a policy on {key_name} and switched off KMS's check against locking the account out ({account_name}, {region})"
at_risk: "{key_name} may have become unmanageable: if the policy leaves nobody who can change it, only AWS Support can bring the key back, and the data under it waits."
undo: aws kms get-key-policy --key-id {key_arn} --policy-name default --region {region} --output text
description: >-
  KMS refuses a key policy that would lock its own setter out, unless the call says
  BypassPolicyLockoutSafetyCheck. There is hardly a reason to say it; an extortion needs it to take the account's
  administrators out of the policy.
false_positives: >-
  A few Terraform modules set the flag out of habit. List the role under roles.iac, or better, remove the flag.
runbook: >-
  1. Read the policy as it is now (command below). 2. Is the account root, or a role you hold, still allowed
  kms:PutKeyPolicy? Then put the former policy back at once, before somebody narrows it further. 3. If not, open a case
  with AWS Support with the account's root credentials; say that the key policy was changed without consent.
  4. Stop the caller.
references:
  - https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
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
  event_name,
  slice(policy_principals, 1, 20) as admitted_principals,
  person,
  session_name,
  source_ip,
  client,
  invoked_by,
  lane
from control_events
where event_source = 'kms.amazonaws.com'
  and event_name in ('PutKeyPolicy', 'CreateKey', 'ReplicateKey')
  and outcome = 'ok'
  and policy_lockout_bypass
