/* ---
id: KMS-P02
title: External account admitted
severity: high
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
summary: "{principal_name} gave {key_name} a policy that admits {outsider_count} principals from outside: {outside_accounts} ({account_name}, {region})"
at_risk: "Whatever is encrypted under {key_name}: the accounts named can use the key from their side, and a denied attempt of theirs is not even logged here."
undo: aws kms put-key-policy --key-id {key_arn} --region {region} --policy file://previous-policy.json
description: >-
  The new key policy allows an account that is neither in the organisation nor a listed partner, or a unique id
  (AIDA…, AROA…) of which nobody can tell whose it is. The policy was judged as AWS would: conditions such as
  aws:PrincipalOrgID that keep outsiders away are honoured. Medium when only such ids are the reason.
false_positives: >-
  A vendor that holds a cross-account role. List its account under partners. A unique id alone is often what is left
  of a deleted role of your own.
runbook: >-
  1. Ask who owns the account. 2. If nobody knows, put the former policy back: it is in the evidence of the last
  PutKeyPolicy or CreateKey of this key, save it as previous-policy.json and run the command below. 3. See whether the
  outsider has used the key already (KMS-U07) or holds a grant, which survives the policy (KMS-G01). 4. Look at what else
  the caller changed.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html
--- */
with changes as (
  select *
  from control_events
  where event_source = 'kms.amazonaws.com'
    and event_name in ('PutKeyPolicy', 'CreateKey', 'ReplicateKey')
    and outcome = 'ok'
),

-- Accounts let in that are not ours as of the event, and no partner's.
outside as (
  select
    c.account,
    c.event_id,
    array_agg(distinct p.admitted order by p.admitted) as outside_accounts
  from changes c
  cross join unnest(c.policy_accounts) as p (admitted)
  left join accounts a on a.account = p.admitted
  where p.admitted <> c.account
    and p.admitted <> c.key_account
    and not coalesce(a.partner, false)
    and not coalesce(a.ours and (a.listed or a.first_time <= c.event_time), false)
  group by c.account, c.event_id
),

-- Whom the policy before let in, for comparison.
before_change as (
  select
    c.account,
    c.event_id,
    max_by(k.policy_accounts, row(k.event_time, k.event_id)) as admitted_before,
    max_by(k.event_id, row(k.event_time, k.event_id)) as previous_event
  from changes c
  join key_changes k on k.key_arn = c.key_arn
    and k.event_name in ('PutKeyPolicy', 'CreateKey', 'ReplicateKey')
    and k.event_time < c.event_time
  group by c.account, c.event_id
)

select
  c.key_arn,
  c.account,
  c.region,
  c.principal,
  c.event_time as window_start,
  c.event_time as first_time,
  c.event_time as last_time,
  cast(1 as bigint) as event_count,
  array[c.event_id] as event_ids,
  case when o.outside_accounts is null then 'medium' else 'high' end as severity,
  coalesce(cardinality(o.outside_accounts), 0) + coalesce(cardinality(c.policy_unknown_ids), 0) as outsider_count,
  o.outside_accounts,
  c.policy_unknown_ids as unresolved_ids,
  slice(c.policy_principals, 1, 20) as admitted_principals,
  b.admitted_before,
  b.previous_event,
  c.event_name,
  c.policy_problem,
  c.person,
  c.session_name,
  c.source_ip,
  c.client,
  c.lane
from changes c
left join outside o on o.account = c.account and o.event_id = c.event_id
left join before_change b on b.account = c.account and b.event_id = c.event_id
where o.outside_accounts is not null
  or cardinality(c.policy_unknown_ids) > 0
