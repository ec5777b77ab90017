-- The views that detections read, over the tables that a tick prepares:
--   control_all   control events: what memory kept one by one, and the new ones
--   uses_5m       successful use by 5 minutes: what is not settled yet, and the new
--   data_5m       data that decrypts named, by 5 minutes, in the same span
--   memory_pairs, memory_hours, memory_days, memory_accounts, memory_names
--                 what settled events were folded into
-- Words of the enumeration are texts to whoever reads a view.
-- Each statement is in the part of SQL that DuckDB and Trino share.

create view uses as
select *, split_part(key_arn, ':', 5) as key_account, case when dest_key_arn = '' then '' else split_part(dest_key_arn, ':', 5) end as dest_key_account
from (
  select window_start, cast(account as varchar) as account, cast(region as varchar) as region, cast(event_name as varchar) as event_name,
         cast(lane as varchar) as lane, cast(principal as varchar) as principal, cast(principal_type as varchar) as principal_type,
         cast(principal_account as varchar) as principal_account, cast(principal_name as varchar) as principal_name, is_person,
         cast(key_arn as varchar) as key_arn, cast(dest_key_arn as varchar) as dest_key_arn, owner_copy, event_count, first_time, last_time
  from uses_5m
) u;

create view key_changes as
select * from control_all
where event_source = 'kms.amazonaws.com' and outcome = 'ok' and key_arn <> '' and not read_only;

create view trail_changes as
select * from control_all
where event_source = 'cloudtrail.amazonaws.com' and outcome = 'ok';

create view grants as
select g.grant_id, g.key_arn, g.key_account, g.account, g.region, g.grantee, g.grantee_kind, g.grantee_account,
       g.retiring_principal, g.grant_operations, g.grant_constraint, g.grant_fingerprint, g.grant_name, g.principal, g.lane,
       g.event_time as created_time, g.event_id as created_event_id, e.ended_time, e.ended_by
from control_all g
left join (
  select c.account, c.event_id, min(r.event_time) as ended_time, min_by(r.principal, row(r.event_time, r.event_id)) as ended_by
  from control_all c
  join control_all r on r.grant_id = c.grant_id and (r.key_arn = c.key_arn or r.key_arn = '') and r.event_time >= c.event_time
  where c.event_name = 'CreateGrant' and c.grant_id <> '' and r.event_name in ('RevokeGrant', 'RetireGrant') and r.outcome = 'ok'
  group by c.account, c.event_id
) e on e.account = g.account and e.event_id = g.event_id
where g.event_name = 'CreateGrant' and g.outcome = 'ok' and g.grant_id <> '';

-- An alias points to a key from one change to the next. Requests that name a key
-- by alias show the same, for aliases that were made before the logs begin.
create view aliases as
select alias_name, account, region, key_arn, valid_from, valid_to
from (
  select alias_name, account, region, event_name,
         case when dest_key_arn <> '' then dest_key_arn else key_arn end as key_arn,
         event_time as valid_from,
         lead(event_time) over (partition by account, region, alias_name order by event_time, event_id) as valid_to
  from control_all
  where event_name in ('CreateAlias', 'UpdateAlias', 'DeleteAlias') and outcome = 'ok' and alias_name <> ''
) a
where event_name <> 'DeleteAlias' and key_arn <> '';

create view first_uses as
select cast(u.principal as varchar) as principal, cast(u.key_arn as varchar) as key_arn, cast(u.lane as varchar) as lane, u.owner_copy,
       u.first_time, u.last_time, u.event_count, cast(u.account as varchar) as account, cast(u.region as varchar) as region, u.is_person,
       cast(p.principal_type as varchar) as principal_type, cast(p.principal_account as varchar) as principal_account,
       cast(p.principal_name as varchar) as principal_name, split_part(cast(u.key_arn as varchar), ':', 5) as key_account
from (
  select principal, key_arn, lane, owner_copy, min(first_time) as first_time, max(last_time) as last_time,
         cast(sum(event_count) as bigint) as event_count, min(account) as account, min(region) as region, bool_or(is_person) as is_person
  from (
    select principal, key_arn, lane, owner_copy, first_time, last_time, event_count, account, region, is_person from memory_pairs
    union all
    select principal, key_arn, lane, owner_copy, first_time, last_time, event_count, account, region, is_person from hot_pairs
  ) b
  group by principal, key_arn, lane, owner_copy
) u
join principals p on p.principal = u.principal;

create view use_hours as
select h.hour, cast(h.account as varchar) as account, cast(h.region as varchar) as region, cast(h.principal as varchar) as principal,
       cast(p.principal_type as varchar) as principal_type, cast(p.principal_account as varchar) as principal_account,
       cast(p.principal_name as varchar) as principal_name, cast(h.key_arn as varchar) as key_arn, cast(h.lane as varchar) as lane,
       h.is_person, h.event_count, h.first_time, h.last_time
from (
  select hour, account, region, principal, key_arn, lane, is_person, event_count, first_time, last_time from memory_hours
  union all
  select hour, account, region, principal, key_arn, lane, is_person, event_count, first_time, last_time from hot_hours
) h
join principals p on p.principal = h.principal;

create view key_use_days as
select key_arn, day, event_count from days;

-- Windows of 10 minutes at a hop of 5: a 5-minute span belongs to the window
-- that starts with it and to the one that started 5 minutes earlier.
create view data_uses as
select d.window_start, d.window_start + interval '10' minute as window_end, cast(d.account as varchar) as account,
       cast(d.region as varchar) as region, cast(d.principal as varchar) as principal, cast(p.principal_type as varchar) as principal_type,
       cast(p.principal_account as varchar) as principal_account, cast(p.principal_name as varchar) as principal_name, d.is_person,
       cast(d.lane as varchar) as lane, cast(d.data_kind as varchar) as data_kind, d.distinct_data, d.event_count, d.key_count,
       cast(d.key_arn as varchar) as key_arn, d.first_time, d.last_time, d.data_sample
from (
  select s.window_start - w.hop * interval '5' minute as window_start,
         min(s.account) as account, min(s.region) as region, s.principal, bool_or(s.is_person) as is_person,
         s.lane, s.data_kind, count(distinct s.data_id) as distinct_data, cast(sum(s.event_count) as bigint) as event_count,
         count(distinct s.key_arn) as key_count, min(s.key_arn) as key_arn, min(s.first_time) as first_time,
         max(s.last_time) as last_time, min(s.data_arn, 5) as data_sample
  from data_5m s
  cross join (values (0), (1)) as w (hop)
  group by s.window_start - w.hop * interval '5' minute, s.principal, s.lane, s.data_kind
) d
join principals p on p.principal = d.principal;
