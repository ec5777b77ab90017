select distinct r.kind, p.principal as principal_pattern
from role_patterns r
join seen_principals p on p.principal like r.pattern escape '\'
