select principal, count(*) as calls
from control_events
where outcome = 'denied'
group by principal
