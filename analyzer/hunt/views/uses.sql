select
  slot as window_start, account, region, event_name, lane, principal,
  min(principal_type) as principal_type, min(principal_account) as principal_account, min(principal_name) as principal_name,
  is_person, key_arn, split_part(key_arn, ':', 5) as key_account,
  dest_key_arn, case when dest_key_arn = '' then '' else split_part(dest_key_arn, ':', 5) end as dest_key_account,
  owner_copy, count(*) as event_count, min(event_time) as first_time, max(event_time) as last_time
from recent_calls
group by slot, account, region, event_name, lane, principal, is_person, key_arn, dest_key_arn, owner_copy
