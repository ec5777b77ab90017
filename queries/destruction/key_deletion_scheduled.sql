/* ---
id: KMS-D01
title: Key deletion scheduled
severity: high
status: active
family: destruction
class: S
mitre: [T1485, T1490]
events: ["kms.amazonaws.com:ScheduleKeyDeletion"]
entity: [key_arn]
window: 0
params:
  # 7 days is the shortest that KMS accepts; whoever picks it is in a hurry.
  short_window_days: 7
  # Monthly jobs use a key once in 30 days.
  used_days: 30
  # Below this much history "never used" only means "not seen yet".
  history_days: 90
suppress: [iac, change_window]
summary: "{principal_name} scheduled {key_name} for deletion in {pending_days} days ({account_name}, {region})"
at_risk: "Everything encrypted under {key_name}: nothing can be decrypted from now on, and once the key is deleted nobody can ever, AWS included. Days of use in the last 30: {days_used}."
undo: aws kms cancel-key-deletion --key-id {key_arn} --region {region} && aws kms enable-key --key-id {key_arn} --region {region}
description: >-
  Somebody asked KMS to delete a key. The key is unusable from this moment and gone for good when the waiting period
  (7 to 30 days) ends; whatever is encrypted under it is then lost. Until that day the deletion can be cancelled.
  High when the waiting period is the shortest possible or the key was in use lately; low when at least 90 days of
  history show no use at all.
false_positives: >-
  Infrastructure code that tears a stack down, and cleaning up of test accounts. List those roles under roles.iac and
  the accounts as sandbox; a tier-0 key is never quiet.
runbook: >-
  1. Ask the caller whether this was meant; if you cannot reach them within minutes, cancel the deletion: that costs
  nothing. 2. cancel-key-deletion leaves the key disabled; enable-key makes it work again (the command below does
  both). 3. Look for more of the same caller: KMS-D02, D03, D04 and denied attempts (KMS-D05). 4. If the caller is not
  known to you, disable its credentials and see what else it did in the last 24 hours.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html
--- */
with scheduled as (
  select *
  from control_events
  where event_source = 'kms.amazonaws.com'
    and event_name = 'ScheduleKeyDeletion'
    and outcome = 'ok'
    and key_arn <> ''
),

-- Days on which the key did cryptographic work, up to the day of the event and
-- no farther back than the history that "never used" takes.
key_use as (
  select
    s.account,
    s.event_id,
    max(k.day) as last_day,
    count(case when date_diff('day', k.day, cast(s.event_time as date)) < :used_days then 1 end) as recent_days
  from scheduled s
  join key_use_days k on k.key_arn = s.key_arn
    and k.day <= cast(s.event_time as date)
    and date_diff('day', k.day, cast(s.event_time as date)) <= :history_days
  group by s.account, s.event_id
)

select
  s.key_arn,
  s.account,
  s.region,
  s.principal,
  s.event_time as window_start,
  s.event_time as first_time,
  s.event_time as last_time,
  cast(1 as bigint) as event_count,
  array[s.event_id] as event_ids,
  case
    when coalesce(u.recent_days, 0) > 0 then 'high'
    -- Never used in a history long enough to say so: nothing is at stake.
    when u.last_day is null and s.event_time >= :history_start + interval '1' day * :history_days then
      case when s.pending_window_days between 1 and :short_window_days then 'medium' else 'low' end
    when s.pending_window_days between 1 and :short_window_days then 'high'
    else 'medium'
  end as severity,
  -- KMS waits 30 days when the request does not say.
  case when s.pending_window_days = 0 then 30 else s.pending_window_days end as pending_days,
  s.deletion_date,
  coalesce(u.recent_days, 0) as days_used,
  u.last_day as last_used,
  s.key_state,
  s.person,
  s.session_name,
  s.source_ip,
  s.client,
  s.invoked_by
from scheduled s
left join key_use u on u.account = s.account and u.event_id = s.event_id
