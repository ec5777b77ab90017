select key_arn, cast(event_time as date) as day, count(*) as event_count
from calls_of_months
group by key_arn, cast(event_time as date)
