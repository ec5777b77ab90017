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
params:
  # What one caller does to a policy within a day is one change: the policy to go
  # back to is the one before it.
  one_go: 24h
suppress: [iac, change_window]
summary: "{principal_name} set a policy on {key_name} and switched off KMS's check against locking the account out ({account_name}, {region})"
at_risk: "{key_name} may have become unmanageable: if the policy leaves nobody who can change it, only AWS Support can bring the key back, and the data under it waits."
undo: >-
  aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventId,AttributeValue={previous_event}
  --region {call_region} --query 'Events[0].CloudTrailEvent' --output text
  | jq -er .requestParameters.policy > previous-policy.json
  && aws kms put-key-policy --key-id {key_arn} --region {region} --policy file://previous-policy.json
description: >-
  KMS refuses a key policy that would lock its own setter out, unless the call says
  BypassPolicyLockoutSafetyCheck. There is hardly a reason to say it; an extortion needs it to take the account's
  administrators out of the policy.
false_positives: >-
  A few Terraform modules set the flag out of habit. List the role under roles.iac, or better, remove the flag.
runbook: >-
  1. Look at whom the new policy admits (in the evidence). Is the account root, or a role you hold, among them? Then put
  the former policy back at once, before somebody narrows it further: the command below takes it from the event that set
  it (CloudTrail's event history has 90 days; the evidence of this finding has the text as previous_policy). 2. A key that
  was made like this and has no data yet can be scheduled for deletion. 3. If nobody can change the policy, open a case
  with AWS Support with the account's root credentials; say that the key policy was changed without consent.
  4. Stop the caller.
references:
  - https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
--- */
with changes as (
  select
    *,
    -- A replica has a policy of its own; the call that makes it is recorded with the primary key.
    case when event_name = 'ReplicateKey' and dest_key_arn <> '' then dest_key_arn else key_arn end as policy_key,
    case when event_name = 'ReplicateKey' and replica_region <> '' then replica_region else region end as policy_region
  from control_events
  where event_source = 'kms.amazonaws.com'
    and event_name in ('PutKeyPolicy', 'CreateKey', 'ReplicateKey')
    and outcome = 'ok'
    and policy_lockout_bypass
),

-- The policy that was there, for comparison and to put it back.
before_change as (
  select
    account,
    event_id,
    max_by(policy_principals, preference) as admitted_before,
    max_by(previous_id, preference) as previous_event,
    max_by(policy, preference) as previous_policy
  from (
    select
      c.account,
      c.event_id,
      k.policy_principals,
      k.event_id as previous_id,
      k.policy,
      -- Who changes a policy step by step wants none of the steps back, if another is known.
      row(
        case when k.principal <> c.principal or k.event_time < c.event_time - :one_go then 1 else 0 end,
        k.event_time,
        k.event_id
      ) as preference
    from changes c
    join key_changes k on k.key_arn = c.key_arn
      and k.event_name in ('PutKeyPolicy', 'CreateKey')
      and k.event_time < c.event_time
      and k.policy <> ''
  ) p
  group by account, event_id
)

select
  c.policy_key as key_arn,
  c.account,
  c.policy_region as region,
  c.principal,
  c.event_time as window_start,
  c.event_time as first_time,
  c.event_time as last_time,
  cast(1 as bigint) as event_count,
  array[c.event_id] as event_ids,
  c.event_name,
  slice(b.admitted_before, 1, 20) as admitted_before,
  slice(c.policy_principals, 1, 20) as admitted,
  b.previous_event,
  b.previous_policy,
  c.region as call_region,
  c.person,
  c.session_name,
  c.source_ip,
  c.client,
  c.invoked_by
from changes c
left join before_change b on b.account = c.account and b.event_id = c.event_id
