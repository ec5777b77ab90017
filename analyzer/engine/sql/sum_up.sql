-- Joins what the slice was rolled up into with memory. Texts that repeat become
-- words of one enumeration, in their own order, so that groups and joins cost
-- what numbers cost. Views turn them back into texts: in the hands of detections
-- an enumeration has traps, such as lists in order, for which DuckDB writes it
-- out as SQL.

create type word as enum (
  select distinct w
  from (
    select unnest([account, region, event_name, lane, principal, key_arn, dest_key_arn, split_part(key_arn, ':', 5),
                   split_part(dest_key_arn, ':', 5), principal_type, principal_account, principal_name]) as w from profiles
    union all select data_kind from (select distinct data_kind from rolled_data)
    union all select unnest([account, region, event_name, lane, principal, key_arn, dest_key_arn, split_part(key_arn, ':', 5),
                             split_part(dest_key_arn, ':', 5)]) from saved_uses
    union all select unnest([account, region, principal, lane, data_kind, key_arn]) from saved_data
    union all select unnest([principal, key_arn, split_part(key_arn, ':', 5), lane, account, region]) from saved_pairs
    union all select unnest([account, region, principal, key_arn, lane]) from saved_hours
    union all select unnest([principal, principal_type, principal_account, principal_name]) from saved_principals
    union all select ''
  ) t
  where w is not null
  order by w);

create table principals as
select cast(principal as word) as principal, cast(min(principal_type) as word) as principal_type,
       cast(min(principal_account) as word) as principal_account, cast(min(principal_name) as word) as principal_name,
       max(last_day) as last_day
from (
  select principal, principal_type, principal_account, principal_name, last_day from saved_principals
  union all
  select principal, principal_type, principal_account, principal_name, last_day from profiles where lane <> 'service'
) p
group by principal;

create table kinds as
select profile, cast(any_value(account) as word) as account, cast(any_value(region) as word) as region,
       cast(any_value(event_name) as word) as event_name, cast(any_value(lane) as word) as lane,
       cast(any_value(principal) as word) as principal, any_value(is_person) as is_person,
       cast(any_value(key_arn) as word) as key_arn, cast(any_value(dest_key_arn) as word) as dest_key_arn,
       any_value(owner_copy) as owner_copy
from profiles
group by profile;

create view added_uses as
select make_timestamp_ms(cast(r.bucket as bigint) * 300000) as window_start, k.account, k.region, k.event_name, k.lane, k.principal,
       k.is_person, k.key_arn, k.dest_key_arn, k.owner_copy, r.event_count, r.first_time, r.last_time
from rolled r
join kinds k on k.profile = r.profile;

-- A service that acts in its own name is left out: its volume never interrupts
-- anybody. What a slice adds is by 5 minutes already; only where memory has the
-- same 5 minutes are the two to be added up. Who a principal is stands in each
-- row; from where and with what a call was made is looked up for the few
-- findings that need it.
create table uses_5m as
select u.*, p.principal_type, p.principal_account, p.principal_name
from (
  select window_start, account, region, event_name, lane, principal, is_person, key_arn, dest_key_arn, owner_copy,
         event_count, first_time, last_time
  from added_uses
  where lane <> 'service' and window_start > (select coalesce(max(window_start), timestamp '0001-01-01') from saved_uses)
  union all
  select window_start, account, region, event_name, lane, principal, is_person, key_arn, dest_key_arn, owner_copy,
         cast(sum(event_count) as bigint) as event_count, min(first_time) as first_time, max(last_time) as last_time
  from (
    select window_start, cast(account as word) as account, cast(region as word) as region, cast(event_name as word) as event_name,
           cast(lane as word) as lane, cast(principal as word) as principal, is_person, cast(key_arn as word) as key_arn,
           cast(dest_key_arn as word) as dest_key_arn, owner_copy, event_count, first_time, last_time
    from saved_uses
    union all
    select window_start, account, region, event_name, lane, principal, is_person, key_arn, dest_key_arn, owner_copy,
           event_count, first_time, last_time
    from added_uses
    where lane <> 'service' and window_start <= (select max(window_start) from saved_uses)
  ) b
  group by window_start, account, region, event_name, lane, principal, is_person, key_arn, dest_key_arn, owner_copy
) u
join principals p on p.principal = u.principal;

create table data_5m as
select make_timestamp_ms(cast(r.bucket as bigint) * 300000) as window_start, k.account, k.region, k.principal, k.is_person, k.lane,
       cast(r.data_kind as word) as data_kind, r.data_id, r.data_arn, k.key_arn, r.event_count, r.first_time, r.last_time
from rolled_data r
join kinds k on k.profile = r.profile
union all
select window_start, cast(account as word), cast(region as word), cast(principal as word), is_person, cast(lane as word),
       cast(data_kind as word), data_key(data_arn), data_arn, cast(key_arn as word), event_count, first_time, last_time
from saved_data;

create table memory_pairs as
select cast(principal as word) as principal, cast(key_arn as word) as key_arn, cast(lane as word) as lane, owner_copy,
       first_time, last_time, event_count, cast(account as word) as account, cast(region as word) as region, is_person
from saved_pairs;

create table memory_hours as
select hour, cast(account as word) as account, cast(region as word) as region, cast(principal as word) as principal,
       cast(key_arn as word) as key_arn, cast(lane as word) as lane, is_person, event_count, first_time, last_time
from saved_hours;

create table key_names as
select key_arn, alias_name, min(first_time) as first_time
from (
  select key_arn, alias_name, first_time from saved_names
  union all
  select key_arn, alias_name, first_time from profiles where alias_name <> '' and key_arn <> ''
  union all
  select key_arn, alias_name, event_time from control_all
  where alias_name <> '' and key_arn <> '' and event_name not in ('CreateAlias', 'UpdateAlias', 'DeleteAlias')
) n
group by key_arn, alias_name;

create table seen_accounts as
select account, min(first_time) as first_time
from (
  select account, first_time from saved_accounts
  union all
  select account, event_time from control_all
  union all
  select account, first_time from profiles
) a
where account <> ''
group by account;
