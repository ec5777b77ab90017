select event_id
from control_events
join keytrail.names on names.id = event_id
