/* ---
id: KMS-G05
title: Eternal grant
severity: high
status: active
family: grants
class: F
mitre: [T1098]
events:
  - kms.amazonaws.com:CreateGrant
  - kms.amazonaws.com:RevokeGrant
entity: [key_arn, grantee]
window: 24h
params:
  # A retry with the same name gives the same grant, and a program makes one.
  # Three living twins within a day are insurance against being revoked.
  min_grants: 3
  # Who revokes by hand looks at the result for some minutes.
  recreated_within: 10m
suppress: [iac]
summary: "{principal_name} made the same grant on {key_name} for {grantee} again and again, or right after it was revoked ({account_name}, {region})"
at_risk: "Data under {key_name}: revoking one grant changes nothing while the others live."
undo: >-
  for id in $(aws kms list-grants --key-id {key_arn} --grantee-principal {grantee} --region {region}
  --query 'Grants[].GrantId' --output text);
  do aws kms revoke-grant --key-id {key_arn} --region {region} --grant-id "$id"; done
description: >-
  The same grant (key, grantee, operations and constraint) was made three times or more within a day, or it was made
  again within 10 minutes after it had been revoked. Grants survive the detaching of IAM policies and the change of the
  key policy, so this is a way to stay. A grant made again by the one who revoked it is medium: it looks like a
  correction.
false_positives: >-
  Retry storms of programs that create a grant without a name at each start. Give the grant a name: KMS then returns
  the existing one.
runbook: >-
  1. Stop whoever makes them first, else they come back: deactivate the access key, or revoke the role's sessions.
  2. Revoke all grants of the grantee on this key (the command below; it takes those that the grantee needs, too). 3. Look
  again after 10 minutes with aws kms list-grants.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/grant-manage.html
--- */
with made as (
  select
    *,
    date_trunc('day', event_time) + interval '12' hour * (hour(event_time) / 12) as half_day
  from control_events
  where event_source = 'kms.amazonaws.com'
    and event_name = 'CreateGrant'
    and outcome = 'ok'
    and lane = 'direct'
    and grantee_kind not in ('service', 'infrastructure')
    and key_arn <> ''
    and grant_id <> ''
),

-- Windows of a day start at midnight and at noon.
windows as (
  select
    m.key_arn,
    m.grantee,
    m.grant_fingerprint,
    m.half_day - interval '12' hour * w.hop as window_start,
    count(distinct m.grant_id) as grant_count
  from made m
  cross join (values (0), (1)) as w (hop)
  group by m.key_arn, m.grantee, m.grant_fingerprint, m.half_day - interval '12' hour * w.hop
  having count(distinct m.grant_id) >= :min_grants
),

-- Each grant belongs to the latest such window that it is in, so that none is counted twice.
placed as (
  select
    m.*,
    w.window_start,
    w.grant_count,
    row_number() over (partition by m.account, m.event_id order by w.window_start desc) as place
  from windows w
  cross join (values (0), (1)) as h (hop)
  join made m on m.key_arn = w.key_arn
    and m.grant_fingerprint = w.grant_fingerprint
    and m.half_day = w.window_start + interval '12' hour * h.hop
),

twins as (
  select
    key_arn,
    grantee,
    window_start,
    min(event_time) as first_time,
    max(event_time) as last_time,
    count(distinct case when shared_event_id <> '' then shared_event_id else event_id end) as event_count,
    array_agg(distinct event_id order by event_id) as event_ids,
    'high' as severity,
    max(grant_count) as grant_count,
    min(account) as account,
    min(region) as region,
    -- The owner's copy of a call across accounts names the account only.
    coalesce(min(case when principal like 'arn:%' then principal end), min(principal)) as principal,
    min(grant_id) as grant_id,
    min(source_ip) as source_ip,
    min(person) as person,
    '' as revoked_by
  from placed
  where place = 1
  group by key_arn, grantee, grant_fingerprint, window_start
),

-- What was revoked, by the grant that it was. Ids do not come again, but the
-- same grant may be asked for twice.
revoked as (
  select
    r.event_id,
    r.event_time,
    r.principal,
    g.key_arn,
    g.grant_id,
    g.grant_fingerprint
  from control_events r
  join grants g on g.grant_id = r.grant_id
    and (g.key_arn = r.key_arn or r.key_arn = '')
    and g.created_time <= r.event_time
    and (g.ended_time is null or g.ended_time >= r.event_time)
  where r.event_source = 'kms.amazonaws.com'
    and r.event_name = 'RevokeGrant'
    and r.outcome = 'ok'
),

recreated as (
  select
    m.key_arn,
    m.grantee,
    r.event_time as window_start,
    r.event_time as first_time,
    max(m.event_time) as last_time,
    cast(1 as bigint) + count(distinct m.grant_id) as event_count,
    array_agg(distinct m.event_id order by m.event_id) as event_ids,
    case when max(case when m.principal <> r.principal then 1 else 0 end) = 1 then 'high' else 'medium' end as severity,
    count(distinct m.grant_id) as grant_count,
    min(m.account) as account,
    min(m.region) as region,
    -- The owner's copy of a call across accounts names the account only.
    coalesce(min(case when m.principal like 'arn:%' then m.principal end), min(m.principal)) as principal,
    min(m.grant_id) as grant_id,
    min(m.source_ip) as source_ip,
    min(m.person) as person,
    min(r.principal) as revoked_by
  from revoked r
  join made m on m.key_arn = r.key_arn
    and m.grant_fingerprint = r.grant_fingerprint
    and m.grant_id <> r.grant_id
    and m.event_time > r.event_time
    and m.event_time <= r.event_time + :recreated_within
  group by m.key_arn, m.grantee, r.event_time
)

select
  key_arn, grantee, account, region, principal, window_start, first_time, last_time, event_count, event_ids, severity,
  grant_count, grant_id, revoked_by, person, source_ip
from twins
union all
select
  key_arn, grantee, account, region, principal, window_start, first_time, last_time, event_count, event_ids, severity,
  grant_count, grant_id, revoked_by, person, source_ip
from recreated
