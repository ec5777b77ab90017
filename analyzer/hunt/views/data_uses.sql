-- Windows of 10 minutes at a hop of 5: 5 minutes belong to the window that
-- starts with them and to the one that started 5 minutes earlier.
select
  d.slot - interval '5' minute * w.hop as window_start,
  d.slot - interval '5' minute * w.hop + interval '10' minute as window_end,
  min(d.account) as account, min(d.region) as region, d.principal, min(d.principal_type) as principal_type,
  min(d.principal_account) as principal_account, min(d.principal_name) as principal_name, bool_or(d.is_person) as is_person,
  d.lane, d.data_kind, count(distinct d.data_arn) as distinct_data, cast(sum(d.event_count) as bigint) as event_count,
  count(distinct d.key_arn) as key_count, min(d.key_arn) as key_arn, min(d.first_time) as first_time,
  max(d.last_time) as last_time, min(d.data_arn, 5) as data_sample
from (
  select
    slot, account, region, lane, principal, is_person, key_arn, dest_key_arn, data_kind, data_arn,
    min(principal_type) as principal_type, min(principal_account) as principal_account, min(principal_name) as principal_name,
    count(*) as event_count, min(event_time) as first_time, max(event_time) as last_time
  from data_calls
  group by slot, account, region, lane, principal, is_person, key_arn, dest_key_arn, data_kind, data_arn
) d
cross join (values (0), (1)) as w (hop)
group by d.slot - interval '5' minute * w.hop, d.principal, d.lane, d.data_kind
