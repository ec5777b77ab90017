-- Successful use by 5 minutes, of the rows in new_uses. A service that acts in
-- its own name is left out: its volume never interrupts anybody. Who a principal
-- is stands in the table principals; from where and with what a call was made is
-- looked up for the few findings that need it.
select make_timestamp_ms(bucket * 300000) as window_start, account, region, event_name, lane, principal, is_person, key_arn, dest_key_arn, owner_copy,
       count(*) as event_count, min(event_time) as first_time, max(event_time) as last_time
from (select *, epoch_ms(event_time) // 300000 as bucket from new_uses where lane <> 'service') u
group by bucket, account, region, event_name, lane, principal, is_person, key_arn, dest_key_arn, owner_copy
