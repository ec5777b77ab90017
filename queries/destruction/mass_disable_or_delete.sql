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
window: 1h
params:
  # People retire one key, or a pair of replicas. Three different ones within
  # an hour is a campaign or the end of an account, and both should be known.
  min_keys: 3
suppress: [change_window]
summary: "{principal_name} disabled or scheduled for deletion {key_count} keys within an hour, and tried it on {tried_count} ({account_name})"
at_risk: "All data under these keys: {keys}"
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
  deletions and enable the keys; the command below does so for the first three, add the others from the list; for a key that was only disabled
  cancel-key-deletion fails and enable-key works, which is all right.
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

-- Windows of an hour start every half hour, so that a burst across the full
-- hour is seen whole.
windows as (
  select
    a.principal,
    a.half_hour - interval '30' minute * w.hop as window_start,
    min(a.event_time) as first_time,
    max(a.event_time) as last_time,
    count(distinct a.event_id) as event_count,
    array_agg(distinct a.event_id order by a.event_id) as event_ids,
    count(distinct case when a.outcome = 'ok' then a.key_arn end) as key_count,
    count(distinct a.key_arn) as tried_count,
    array_agg(distinct a.key_arn order by a.key_arn) as keys,
    array_agg(distinct a.event_name order by a.event_name) as operations,
    min(a.account) as account,
    min(a.region) as region,
    count(distinct a.account) as account_count,
    count(distinct a.region) as region_count,
    min(a.person) as person,
    min(a.source_ip) as source_ip,
    min(a.client) as client
  from attacks a
  cross join (values (0), (1)) as w (hop)
  group by a.principal, a.half_hour - interval '30' minute * w.hop
),

-- Two windows with the same events are one finding: the later is kept, which
-- stays whole for longer.
ranked as (
  select
    *,
    row_number() over (partition by principal, first_time, last_time order by window_start desc) as copy
  from windows
  where tried_count >= :min_keys
)

select
  principal,
  account,
  region,
  window_start,
  first_time,
  last_time,
  event_count,
  event_ids,
  case when key_count >= :min_keys then 'critical' else 'high' end as severity,
  key_count,
  tried_count,
  slice(keys, 1, 10) as keys,
  -- For the command that undoes it: a list is no argument of a shell.
  element_at(keys, 1) as first_key,
  element_at(keys, 2) as second_key,
  element_at(keys, 3) as third_key,
  operations,
  account_count,
  region_count,
  person,
  source_ip,
  client
from ranked
where copy = 1
