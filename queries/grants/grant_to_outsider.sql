/* ---
id: KMS-G01
title: Grant to outside principal
severity: high
status: active
family: grants
class: S
mitre: [T1098, T1537]
events: ["kms.amazonaws.com:CreateGrant"]
entity: [key_arn, grantee]
window: 0
summary: "{principal_name} granted {operations} on {key_name} to {grantee}; account {outsider} is not ours ({account_name}, {region})"
at_risk: "Data under {key_name}, for as long as the grant lives: grants do not expire and survive a change of the key policy."
undo: aws kms revoke-grant --key-id {key_arn} --grant-id {grant_id} --region {region}
description: >-
  A grant on one of our keys names a grantee in an account that is neither ours nor a listed partner's, or it was made
  by a caller from such an account. Grants to AWS services and to the infrastructure of our own instances are left out.
  Medium when only the right to retire the grant goes outside: that can break things but read nothing.
false_positives: >-
  Sharing an encrypted machine image with a partner account. List the account under partners: such grants are then
  recorded and counted, not told.
runbook: >-
  1. Whose account is it? If nobody knows, revoke the grant (command below); it stops working within minutes. 2. See
  what the grantee did with it: KMS-U07 for this key since the grant was made. 3. aws kms list-grants shows more grants
  by the same caller; KMS-G05 is one that comes back after it was revoked. 4. Stop the caller, or it makes the next.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/grants.html
--- */
with made as (
  select
    g.*,
    -- Of each party: '' is ours or nobody, 'partner …' a partner, 'outside' anybody else.
    case
      when g.grantee_account in ('', g.key_account) then ''
      when coalesce(ga.ours and (ga.listed or ga.first_time <= g.event_time), false) then ''
      when coalesce(ga.partner, false) then concat('partner ', case when ga.name = '' then ga.account else ga.name end)
      else 'outside'
    end as grantee_side,
    case
      when g.retiring_account in ('', g.key_account) then ''
      when coalesce(ra.ours and (ra.listed or ra.first_time <= g.event_time), false) then ''
      when coalesce(ra.partner, false) then concat('partner ', case when ra.name = '' then ra.account else ra.name end)
      else 'outside'
    end as retiring_side,
    case
      when g.principal_account in ('', g.key_account) then ''
      when coalesce(ca.ours and (ca.listed or ca.first_time <= g.event_time), false) then ''
      when coalesce(ca.partner, false) then concat('partner ', case when ca.name = '' then ca.account else ca.name end)
      else 'outside'
    end as caller_side,
    -- The key is ours when its account is, or when this is the owner's copy of the event.
    coalesce(ka.ours and (ka.listed or ka.first_time <= g.event_time), false) or g.key_account = g.account as key_ours
  from control_events g
  left join accounts ga on ga.account = g.grantee_account
  left join accounts ra on ra.account = g.retiring_account
  left join accounts ca on ca.account = g.principal_account
  left join accounts ka on ka.account = g.key_account
  where g.event_source = 'kms.amazonaws.com'
    and g.event_name = 'CreateGrant'
    and g.outcome = 'ok'
    and g.lane <> 'service'
    and g.grantee_kind not in ('service', 'infrastructure')
    and g.key_arn <> ''
)

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
  case when grantee_side = 'outside' or caller_side = 'outside' then 'high' else 'medium' end as severity,
  -- Only partners are let in.
  case
    when grantee_side = 'outside' or retiring_side = 'outside' or caller_side = 'outside' then ''
    when grantee_side <> '' then grantee_side
    when caller_side <> '' then caller_side
    else retiring_side
  end as suppressed_by,
  case
    when grantee_side = 'outside' then grantee_account
    when caller_side = 'outside' then principal_account
    when retiring_side = 'outside' then retiring_account
    when grantee_side <> '' then grantee_account
    when caller_side <> '' then principal_account
    else retiring_account
  end as outsider,
  grant_id,
  grant_name,
  grantee_account,
  case when retiring_side = '' then '' else retiring_principal end as retiring_principal,
  case when retiring_side = '' then '' else retiring_account end as retiring_account,
  case when caller_side = '' then '' else principal_account end as principal_account,
  grant_operations as operations,
  case when grant_constraint = '' then 'none' else grant_constraint end as only_for_context,
  principal_type,
  person,
  session_name,
  source_ip,
  client,
  invoked_by
from made
where key_ours
  and (grantee_side <> '' or retiring_side <> '' or caller_side <> '')
