-- Data named by the encryption contexts of decrypts, by 5 minutes. A service
-- reading for itself is left out; data other than secrets and parameters counts
-- only where a person reads it.
select make_timestamp_ms(bucket * 300000) as window_start, account, region, principal, is_person, lane, data_kind, data_arn, key_arn,
       count(*) as event_count, min(event_time) as first_time, max(event_time) as last_time
from (
  select *, epoch_ms(event_time) // 300000 as bucket
  from new_uses
  where event_name = 'Decrypt' and lane <> 'service' and data_arn <> '' and not owner_copy
    and (data_kind in ('secret', 'parameter') or is_person)
) u
group by bucket, account, region, principal, is_person, lane, data_kind, data_arn, key_arn
