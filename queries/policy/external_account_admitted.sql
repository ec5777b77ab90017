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
params:
  # What one caller does to a policy within a day is one change: the policy to go
  # back to is the one before it.
  one_go: 24h
summary: "{principal_name} gave {key_name} a key policy that lets outsiders in: {outsiders} ({account_name}, {region})"
at_risk: "Whatever is encrypted under {key_name}: the outsiders can use the key from their side, and a refused attempt of theirs is not even logged here."
undo: >-
  aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventId,AttributeValue={previous_event}
  --region {call_region} --query 'Events[0].CloudTrailEvent' --output text
  | jq -er .requestParameters.policy > previous-policy.json
  && aws kms put-key-policy --key-id {key_arn} --region {region} --policy file://previous-policy.json
description: >-
  The new key policy allows an account that is neither ours nor a listed partner's, the members of an AWS Organization
  that is not listed under organisation_ids, or a unique id (AIDA…, AROA…) of which nobody can tell whose it is. The
  policy was judged as AWS would: conditions such as aws:PrincipalOrgID that keep outsiders away are honoured. While
  organisation_ids is empty an organisation in a policy is taken for ours. Medium when only unique ids are the reason;
  low when the same policy was there already.
false_positives: >-
  A vendor that holds a cross-account role. List its account under partners: such policies are then recorded and counted,
  not told. A unique id alone is often what is left of a deleted role of your own.
runbook: >-
  1. Ask who owns the account. 2. If nobody knows, put the former policy back: the command below takes it from the event
  that set it (CloudTrail's event history has 90 days; the evidence of this finding has the text as previous_policy).
  Where no former policy is known the key had KMS's default, which admits the root of its own account. 3. See whether the
  outsider has used the key already (KMS-U07) or holds a grant, which survives the policy (KMS-G01). 4. Look at what
  else the caller changed.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html
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
),

-- Without a list, an organisation in a policy is taken for ours.
listing as (
  select count(*) as listed_organisations
  from organisation_ids
),

-- Whom the policy lets in that is not ours as of the event; partner is '' for strangers.
strangers as (
  select
    c.account,
    c.event_id,
    p.admitted as outsider,
    'account' as kind,
    case when coalesce(a.partner, false) then case when a.name = '' then a.account else a.name end else '' end as partner
  from changes c
  cross join unnest(c.policy_accounts) as p (admitted)
  left join accounts a on a.account = p.admitted
  where p.admitted <> c.account
    and p.admitted <> c.key_account
    and not coalesce(a.ours and (a.listed or a.first_time <= c.event_time), false)
  union all
  select c.account, c.event_id, o.admitted as outsider, 'organisation' as kind, '' as partner
  from changes c
  cross join unnest(c.policy_org_ids) as o (admitted)
  cross join listing l
  -- An id (o-exampleorg), or a path below it: o-exampleorg/r-ab12/ou-ab12-11111111/
  left join organisation_ids i on i.org_id = split_part(o.admitted, '/', 1)
  where l.listed_organisations > 0
    and i.org_id is null
  union all
  select c.account, c.event_id, u.admitted as outsider, 'unique id' as kind, '' as partner
  from changes c
  cross join unnest(c.policy_unknown_ids) as u (admitted)
),

outside as (
  select
    account,
    event_id,
    -- Partners are named where nobody else is let in.
    coalesce(
      array_agg(distinct outsider order by outsider) filter (where partner = ''),
      array_agg(distinct outsider order by outsider)
    ) as outsiders,
    count(case when kind <> 'unique id' and partner = '' then 1 end) as named_count,
    count(case when partner = '' then 1 end) as stranger_count,
    min(partner) as partner
  from strangers
  group by account, event_id
),

-- The policy that was there, for comparison and to put it back.
before_change as (
  select
    account,
    event_id,
    max_by(policy_principals, preference) as previous_principals,
    max_by(policy_org_ids, preference) as previous_org_ids,
    max_by(previous_id, preference) as previous_event,
    max_by(policy, preference) as previous_policy,
    max_by(policy_hash, preference) as previous_hash
  from (
    select
      c.account,
      c.event_id,
      k.policy_principals,
      k.policy_org_ids,
      k.event_id as previous_id,
      k.policy,
      k.policy_hash,
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
),

-- Principals as written, and organisations, before and after.
admissions as (
  select c.account, c.event_id, p.admitted, 'after' as side
  from changes c
  cross join unnest(c.policy_principals) as p (admitted)
  union all
  select c.account, c.event_id, o.admitted, 'after' as side
  from changes c
  cross join unnest(c.policy_org_ids) as o (admitted)
  union all
  select b.account, b.event_id, p.admitted, 'before' as side
  from before_change b
  cross join unnest(b.previous_principals) as p (admitted)
  union all
  select b.account, b.event_id, o.admitted, 'before' as side
  from before_change b
  cross join unnest(b.previous_org_ids) as o (admitted)
),

compared as (
  select
    account,
    event_id,
    array_agg(distinct admitted order by admitted) filter (where side = 'before') as admitted_before,
    array_agg(distinct admitted order by admitted) filter (where side = 'after') as admitted
  from admissions
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
  case
    -- The same policy again, as infrastructure code writes it: told when it was new.
    when c.policy_hash = b.previous_hash then 'low'
    -- A unique id alone is mostly what a deleted role leaves behind.
    when o.named_count = 0 and o.stranger_count > 0 then 'medium'
    else 'high'
  end as severity,
  case when o.stranger_count = 0 then concat('partner ', o.partner) else '' end as suppressed_by,
  o.outsiders,
  slice(m.admitted_before, 1, 20) as admitted_before,
  slice(m.admitted, 1, 20) as admitted,
  b.previous_event,
  b.previous_policy,
  c.region as call_region,
  c.event_name,
  c.policy_problem,
  c.person,
  c.session_name,
  c.source_ip,
  c.client
from changes c
join outside o on o.account = c.account and o.event_id = c.event_id
left join before_change b on b.account = c.account and b.event_id = c.event_id
left join compared m on m.account = c.account and m.event_id = c.event_id
