select min(event_time) as oldest, max(event_time) as newest
from seen
