select
  principal, key_arn, lane, owner_copy, min(event_time) as first_time, max(event_time) as last_time, count(*) as event_count,
  min(account) as account, min(region) as region, bool_or(is_person) as is_person, min(principal_type) as principal_type,
  min(principal_account) as principal_account, min(principal_name) as principal_name, split_part(key_arn, ':', 5) as key_account
from all_calls
group by principal, key_arn, lane, owner_copy
