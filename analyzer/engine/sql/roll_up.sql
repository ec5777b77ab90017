-- Successful use by 5 minutes, of the rows in new_uses. What hangs on the
-- principal or the key alone is not grouped by; of what may differ within a
-- group the smallest value is kept, so that the order of events is irrelevant.
select make_timestamp_ms(bucket * 300000) as window_start, account, region, event_name, lane, invoked_by, principal, is_person,
       key_arn, owner_copy,
       min(principal_type) as principal_type, min(principal_account) as principal_account, min(principal_name) as principal_name,
       min(person) as person, min(client) as client, min(network) as network, min(key_account) as key_account,
       min(source_ip) as source_ip, min(session_name) as session_name, max(alias_name) as alias_name,
       count(*) as event_count, min(event_time) as first_time, max(event_time) as last_time
from (select *, epoch_ms(event_time) // 300000 as bucket from new_uses) u
group by bucket, account, region, event_name, lane, invoked_by, principal, is_person, key_arn, owner_copy
