-- An alias means a key from one change to the next.
select alias_name, account, region, key_arn, valid_from, valid_to
from (
  select
    alias_name, account, region, event_name,
    case when dest_key_arn <> '' then dest_key_arn else key_arn end as key_arn,
    event_time as valid_from,
    lead(event_time) over (partition by account, region, alias_name order by event_time, event_id) as valid_to
  from alias_changes
) a
where event_name <> 'DeleteAlias'
  and key_arn <> ''
