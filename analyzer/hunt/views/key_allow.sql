-- A key is listed even while nobody who may use it has been seen.
select k.key_arn, k.alias_name, k.account, coalesce(a.principal, '') as principal_pattern
from allowed_keys k
left join (
  select distinct l.entry, p.principal
  from allow_patterns l
  join seen_principals p on p.principal like l.pattern escape '\'
) a on a.entry = k.entry
