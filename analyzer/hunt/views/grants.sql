select
  g.grant_id, g.key_arn, g.key_account, g.account, g.region, g.grantee, g.grantee_kind, g.grantee_account,
  g.retiring_principal, g.grant_operations, g.grant_constraint, g.grant_fingerprint, g.grant_name, g.principal, g.lane,
  g.event_time as created_time, g.event_id as created_event_id, e.ended_time, e.ended_by
from grant_changes g
left join (
  select
    c.account, c.event_id, min(r.event_time) as ended_time,
    min_by(r.principal, row(r.event_time, r.event_id)) as ended_by
  from grant_changes c
  join grant_changes r on r.grant_id = c.grant_id
    and (r.key_arn = c.key_arn or r.key_arn = '')
    and r.event_time >= c.event_time
  where c.event_name = 'CreateGrant'
    and r.event_name <> 'CreateGrant'
  group by c.account, c.event_id
) e on e.account = g.account and e.event_id = g.event_id
where g.event_name = 'CreateGrant'
