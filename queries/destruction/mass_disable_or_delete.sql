/* ---
id: KMS-D03
title: Mass disable or delete
severity: critical
status: active
family: destruction
class: V
mitre: [T1485, T1489]
events:
  - kms.amazonaws.com:ScheduleKeyDeletion
  - kms.amazonaws.com:DisableKey
  - kms.amazonaws.com:DeleteImportedKeyMaterial
entity: [principal]
# Windows of an hour start every half hour, so that a burst across the full hour
# is seen whole; those that begin in one hour are one finding.
window: 2h
params:
  # People retire one key, or a pair of replicas. Three different ones within
  # an hour is a campaign or the end of an account, and both should be known.
  min_keys: 3
suppress: [change_window]
summary: "{principal_name} tried to take {tried_count} keys out of service within an hour and succeeded with {key_count} of them ({account_name})"
at_risk: "All data under these keys: what is disabled cannot be read now, what is scheduled for deletion is lost when its waiting period ends, and deleted imported material is gone already."
undo: >-
  for key in {first_key} {second_key} {third_key}; do r=$(cut -d: -f4 <<<"$key"); aws kms cancel-key-deletion --key-id "$key" --region "$r"; aws kms enable-key --key-id "$key" --region "$r"; done
description: >-
  One principal took several keys out of service within an hour: disabled them, scheduled them for deletion or removed
  their imported material. This is what the last hour of an extortion looks like. High instead of critical when the
  attempts were refused and fewer than three keys were really hit.
false_positives: >-
  Closing an account. Announce it as a change window; roles for infrastructure code are not exempt, for a stolen
  pipeline does the same.
runbook: >-
  1. Stop the caller first: deactivate its access keys or attach a policy that denies all to its role. 2. Cancel the
  deletions and enable the keys; the command below does so for the first three, add the others from the list in the
  evidence. For a key that was only disabled cancel-key-deletion fails and enable-key works, which is all right.
  3. Imported material that was deleted must be imported again (see KMS-D04). 4. Check backups and snapshots: the same
  caller may have deleted those first.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys-scheduling-key-deletion.html
--- */
with attacks as (
  select
    *,
    date_trunc('hour', event_time) + interval '30' minute * (minute(event_time) / 30) as half_hour
  from control_events
  where event_source = 'kms.amazonaws.com'
    and event_name in ('ScheduleKeyDeletion', 'DisableKey', 'DeleteImportedKeyMaterial')
    and outcome in ('ok', 'denied')
    and key_arn <> ''
),

windows as (
  select
    a.principal,
    a.half_hour - interval '30' minute * w.hop as window_start,
    count(distinct case when a.outcome = 'ok' then a.key_arn end) as key_count,
    count(distinct a.key_arn) as tried_count
  from attacks a
  cross join (values (0), (1)) as w (hop)
  group by a.principal, a.half_hour - interval '30' minute * w.hop
  having count(distinct a.key_arn) >= :min_keys
),

-- Each call belongs to the latest such window that it is in, so that none is counted twice.
placed as (
  select
    a.*,
    w.window_start,
    w.key_count as window_keys,
    w.tried_count as window_tried,
    row_number() over (partition by a.account, a.event_id order by w.window_start desc) as place
  from windows w
  cross join (values (0), (1)) as h (hop)
  join attacks a on a.principal = w.principal
    and a.half_hour = w.window_start + interval '30' minute * h.hop
),

campaigns as (
  select
    principal,
    date_trunc('hour', window_start) as hour_start,
    min(event_time) as first_time,
    max(event_time) as last_time,
    count(distinct event_id) as event_count,
    array_agg(distinct event_id order by event_id) as event_ids,
    max(window_keys) as key_count,
    max(window_tried) as tried_count,
    -- The keys that were really hit: the command brings those back.
    array_agg(distinct key_arn order by key_arn) filter (where outcome = 'ok') as keys,
    array_agg(distinct key_arn order by key_arn) as tried_keys,
    array_agg(distinct event_name order by event_name) as operations,
    min(account) as account,
    min(region) as region,
    min(person) as person,
    min(session_name) as session_name,
    min(source_ip) as source_ip,
    min(client) as client
  from placed
  where place = 1
  group by principal, date_trunc('hour', window_start)
)

select
  principal,
  account,
  region,
  hour_start as window_start,
  first_time,
  last_time,
  event_count,
  event_ids,
  case when key_count >= :min_keys then 'critical' else 'high' end as severity,
  key_count,
  tried_count,
  slice(keys, 1, 20) as keys,
  slice(tried_keys, 1, 20) as tried_keys,
  -- For the command that undoes it: a list is no argument of a shell.
  element_at(keys, 1) as first_key,
  element_at(keys, 2) as second_key,
  element_at(keys, 3) as third_key,
  operations,
  person,
  session_name,
  source_ip,
  client
from campaigns
