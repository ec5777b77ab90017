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
summary: "{principal_name} granted {operations} on {key_name} to {grantee}, outside of the organisation ({account_name}, {region})"
at_risk: "Data under {key_name}, for as long as the grant lives: grants do not expire and survive a change of the key policy."
undo: aws kms revoke-grant --key-id {key_arn} --grant-id {grant_id} --region {region}
description: >-
  A grant on one of our keys names a grantee in an account that is neither ours nor a listed partner's, or it was made
  by a caller from such an account. Grants to AWS services and to the infrastructure of our own instances are left out.
  Medium when only the right to retire the grant goes outside: that can break things but read nothing.
false_positives: >-
  Sharing an encrypted machine image with a partner account. List the account under partners.
runbook: >-
  1. Whose account is it? If nobody knows, revoke the grant (command below); it stops working within minutes. 2. See
  what the grantee did with it: KMS-U07 for this key since the grant was made. 3. aws kms list-grants for more grants
  by the same caller, and KMS-G05 for one that comes back after it was revoked.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/grants.html
--- */
with made as (
  select
    g.*,
    coalesce(ga.ours and (ga.listed or ga.first_time <= g.event_time), false) or coalesce(ga.partner, false)
      or g.grantee_account = g.key_account or g.grantee_account = '' as grantee_known,
    coalesce(ra.ours and (ra.listed or ra.first_time <= g.event_time), false) or coalesce(ra.partner, false)
      or g.retiring_account = g.key_account or g.retiring_account = '' as retiring_known,
    coalesce(ca.ours and (ca.listed or ca.first_time <= g.event_time), false) or coalesce(ca.partner, false)
      or g.principal_account = g.key_account or g.principal_account = '' as caller_known,
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
  case when grantee_known and caller_known then 'medium' else 'high' end as severity,
  grant_id,
  grant_name,
  grantee_account,
  grantee_kind,
  retiring_principal,
  retiring_account,
  principal_account,
  grant_operations as operations,
  case when grant_constraint = '' then 'none' else grant_constraint end as constraint_text,
  person,
  session_name,
  source_ip,
  client,
  invoked_by,
  lane
from made
where key_ours
  and not (grantee_known and retiring_known and caller_known)
