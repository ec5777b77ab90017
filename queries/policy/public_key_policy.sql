/* ---
id: KMS-P03
title: Public key
severity: critical
status: active
family: policy
class: S
mitre: [T1098, T1537]
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
summary: "{principal_name} opened {key_name} to anyone: {statements} ({account_name}, {region})"
at_risk: "Everything under {key_name}: any AWS account in the world may use the key as the policy says, and refused attempts from there are not logged here."
undo: >-
  aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventId,AttributeValue={previous_event}
  --region {call_region} --query 'Events[0].CloudTrailEvent' --output text
  | jq -er .requestParameters.policy > previous-policy.json
  && aws kms put-key-policy --key-id {key_arn} --region {region} --policy file://previous-policy.json
description: >-
  A statement of the new key policy allows everybody, and nothing in the policy narrows that: neither an account, an
  organisation, a source nor a value of the encryption context. AWS's own default policies, which pair "*" with
  kms:CallerAccount, are not meant and not found here.
false_positives: >-
  Hardly any. A key for public verification should hand out its public key as a file, not by policy.
runbook: >-
  1. Put the former policy back now: the command below takes it from the event that set it (CloudTrail's event history has
  90 days; the evidence of this finding has the text as previous_policy). Where no former policy is known the key had KMS's
  default, which admits the root of its own account. 2. Then look for use by strangers since the change: KMS-U07 on this key.
  3. Grants made meanwhile survive the policy: aws kms list-grants, and revoke what you do not know. 4. Find out
  whether the caller did this or somebody with the caller's credentials.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
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
    and cardinality(policy_public) > 0
),

before_change as (
  select
    account,
    event_id,
    max_by(policy_public, preference) as statements_before,
    max_by(previous_id, preference) as previous_event,
    max_by(policy, preference) as previous_policy
  from (
    select
      c.account,
      c.event_id,
      k.policy_public,
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
  slice(c.policy_public, 1, 10) as statements,
  b.statements_before,
  b.previous_event,
  b.previous_policy,
  c.region as call_region,
  c.event_name,
  c.person,
  c.session_name,
  c.source_ip,
  c.client
from changes c
left join before_change b on b.account = c.account and b.event_id = c.event_id
