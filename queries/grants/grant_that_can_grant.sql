/* ---
id: KMS-G02
title: Grant that can grant
severity: high
status: active
family: grants
class: S
mitre: [T1098]
events: ["kms.amazonaws.com:CreateGrant"]
entity: [key_arn, grantee]
window: 0
suppress: [iac]
summary: "{principal_name} gave {grantee} a grant on {key_name} that can make further grants ({account_name}, {region})"
at_risk: "Control over who uses {key_name}: the grantee can pass its access on, and again after you revoke what you found."
undo: aws kms revoke-grant --key-id {key_arn} --grant-id {grant_id} --region {region}
description: >-
  The operations of a new grant contain CreateGrant, and the grantee is no AWS service. AWS services need that right to
  hand keys to their resources; a role or user that holds it can keep itself access for ever without touching a
  policy.
false_positives: >-
  An account that prepares Auto Scaling or volumes in another account by hand, following AWS's guide, grants
  CreateGrant to a service-linked role: that grantee counts as a service and is not found.
runbook: >-
  1. Ask why the grantee should make grants; a program nearly never does. 2. Revoke the grant (command below). 3. Look
  for grants that the grantee made meanwhile (CreateGrant events with it as the caller) and revoke these, too: they live
  on without the first.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/create-grant-overview.html
--- */
select
  key_arn,
  grantee,
  account,
  region,
  principal,
  event_time as window_start,
  event_time as first_time,
  event_time as last_time,
  cast(1 as bigint) as event_count,
  array[event_id] as event_ids,
  grant_id,
  grant_name,
  grantee_account,
  grantee_kind,
  grant_operations as operations,
  case when grant_constraint = '' then 'none' else grant_constraint end as only_for_context,
  person,
  session_name,
  source_ip,
  client
from control_events
where event_source = 'kms.amazonaws.com'
  and event_name = 'CreateGrant'
  and outcome = 'ok'
  -- A service that forwards a caller's session makes its grants for itself.
  and lane = 'direct'
  and grantee_kind not in ('service', 'infrastructure')
  and contains(grant_operations, 'CreateGrant')
  and key_arn <> ''
