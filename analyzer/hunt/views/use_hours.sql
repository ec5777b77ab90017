-- An hour with fewer than 30 calls cannot lift a threshold above the least one
-- that makes sense.
select
  date_trunc('hour', event_time) as hour, account, min(region) as region, principal, min(principal_type) as principal_type,
  min(principal_account) as principal_account, min(principal_name) as principal_name, key_arn, lane,
  bool_or(is_person) as is_person, count(*) as event_count, min(event_time) as first_time, max(event_time) as last_time
from calls_of_weeks
group by date_trunc('hour', event_time), account, principal, key_arn, lane
having count(*) >= 30
