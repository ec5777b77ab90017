-- The views that detections read, over the tables that a tick prepares:
--   control_all   control events: what memory kept one by one, and the new ones
--   uses_5m       successful use by 5 minutes: what is not settled yet, and the new
--   data_5m       data that decrypts named, by 5 minutes, in the same span
--   memory_pairs, memory_hours, memory_days, memory_accounts, memory_names
--                 what settled events were folded into
-- Each statement is in the part of SQL that DuckDB and Trino share.

create view uses as
select window_start, account, region, event_name, lane, invoked_by, principal, principal_type, principal_account,
       principal_name, person, is_person, client, network, key_arn, key_account, owner_copy, event_count,
       first_time, last_time, source_ip, session_name
from uses_5m;

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
  select key_arn, grant_id, min(event_time) as ended_time, min_by(principal, event_time) as ended_by
  from control_all
  where event_name in ('RevokeGrant', 'RetireGrant') and outcome = 'ok' and grant_id <> ''
  group by key_arn, grant_id
) e on e.grant_id = g.grant_id and (e.key_arn = g.key_arn or e.key_arn = '')
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
select principal, key_arn, lane, owner_copy,
       min(first_time) as first_time, max(last_time) as last_time, cast(sum(event_count) as bigint) as event_count,
       min(account) as account, min(region) as region, min(principal_type) as principal_type,
       min(principal_account) as principal_account, min(principal_name) as principal_name,
       min(key_account) as key_account, bool_or(is_person) as is_person
from (
  select principal, key_arn, lane, owner_copy, first_time, last_time, event_count, account, region, principal_type,
         principal_account, principal_name, key_account, is_person
  from memory_pairs
  union all
  select principal, key_arn, lane, owner_copy, first_time, last_time, event_count, account, region, principal_type,
         principal_account, principal_name, key_account, is_person
  from hot_pairs
) p
group by principal, key_arn, lane, owner_copy;

create view use_hours as
select hour, account, region, principal, principal_type, principal_name, key_arn, lane, is_person, event_count, first_time, last_time
from memory_hours
union all
select hour, account, region, principal, principal_type, principal_name, key_arn, lane, is_person, event_count, first_time, last_time
from hot_hours;

create view key_use_days as
select key_arn, day, cast(sum(event_count) as bigint) as event_count
from (
  select key_arn, day, event_count from memory_days
  union all
  select key_arn, day, event_count from hot_days
) d
group by key_arn, day;

-- Windows of 10 minutes at a hop of 5: a 5-minute span belongs to the window
-- that starts with it and to the one that started 5 minutes earlier.
create view data_uses as
select d.window_start - w.hop * interval '5' minute as window_start,
       d.window_start - w.hop * interval '5' minute + interval '10' minute as window_end,
       min(d.account) as account, min(d.region) as region, d.principal, min(d.principal_type) as principal_type,
       min(d.principal_name) as principal_name, min(d.person) as person, bool_or(d.is_person) as is_person,
       d.lane, d.data_kind, count(distinct d.data_arn) as distinct_data, cast(sum(d.event_count) as bigint) as event_count,
       count(distinct d.key_arn) as key_count, min(d.key_arn) as key_arn, min(d.first_time) as first_time,
       max(d.last_time) as last_time, min(d.source_ip) as source_ip, min(d.data_arn, 5) as data_sample
from data_5m d
cross join (values (0), (1)) as w (hop)
group by d.window_start - w.hop * interval '5' minute, d.principal, d.lane, d.data_kind;
