-- Rolls the rows of chunk_uses up: kinds of use by 5 minutes, what each kind is,
-- and the data that decrypts named. A service reading for itself names no data
-- here; data other than secrets and parameters counts only where a person reads it.

insert into rolled
select epoch_ms(event_time) // 300000 as bucket,
       profile_key(account, region, event_name, lane, principal, is_person, key_arn, dest_key_arn, owner_copy) as profile,
       count(*) as event_count, min(event_time) as first_time, max(event_time) as last_time
from chunk_uses
group by bucket, profile;

insert into profiles
select profile_key(account, region, event_name, lane, principal, is_person, key_arn, dest_key_arn, owner_copy) as profile,
       any_value(account), any_value(region), any_value(event_name), any_value(lane), principal, any_value(is_person),
       any_value(key_arn), any_value(dest_key_arn), any_value(owner_copy),
       alias_name, any_value(principal_type), any_value(principal_account), any_value(principal_name),
       min(event_time) as first_time, cast(max(event_time) as date) as last_day
from chunk_uses
group by profile, principal, hash(key_arn), alias_name, hash(principal_type), hash(principal_account), hash(principal_name);

insert into rolled_data
select epoch_ms(event_time) // 300000 as bucket,
       profile_key(account, region, event_name, lane, principal, is_person, key_arn, dest_key_arn, owner_copy) as profile,
       data_key(data_arn) as data_id, data_kind, any_value(data_arn) as data_arn,
       count(*) as event_count, min(event_time) as first_time, max(event_time) as last_time
from chunk_uses
where event_name = 'Decrypt' and lane <> 'service' and data_arn <> '' and not owner_copy
  and (data_kind in ('secret', 'parameter') or is_person)
group by bucket, profile, data_id, data_kind
