-- Without a list of the organisation an account is ours when it has events of
-- its own.
select
  coalesce(o.account, s.account, p.account) as account,
  s.first_time,
  o.account is not null or (n.listed = 0 and s.account is not null and p.account is null) as ours,
  o.account is not null as listed,
  coalesce(o.name, p.name, '') as name,
  coalesce(o.sandbox, false) as sandbox,
  p.account is not null as partner
from organisation o
full join (
  select account, min(event_time) as first_time
  from seen
  where account <> ''
  group by account
) s on s.account = o.account
full join partners p on p.account = coalesce(o.account, s.account)
cross join (select count(*) as listed from organisation) n
