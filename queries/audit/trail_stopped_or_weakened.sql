/* ---
id: KMS-A03
title: Trail stopped, deleted or weakened
severity: high
status: active
family: audit
class: S
mitre: [T1562.008]
events:
  - cloudtrail.amazonaws.com:StopLogging
  - cloudtrail.amazonaws.com:DeleteTrail
  - cloudtrail.amazonaws.com:UpdateTrail
  - cloudtrail.amazonaws.com:CreateTrail
entity: [account, trail_name]
window: 0
params:
  # Names or ARNs of trails that are there for something else, while another
  # trail records everything: what happens to them is low.
  secondary_trails: []
suppress: [iac, change_window]
summary: "{principal_name} called {event_name} on the trail {trail_name}: {what} ({account_name}, {region})"
at_risk: "The record of everything that happens in the account, and with it every detection of Keytrail there."
undo: aws cloudtrail start-logging --name {trail_arn} --region {region}
description: >-
  A trail was stopped, deleted or made to record or protect less: one Region instead of all, no global services, no
  validation, another bucket, another or no key for its log files. An update that names a bucket or key is compared with
  what the trail was known to have; the same again is no finding. Where that is not known it is medium. A refused
  attempt is medium.
false_positives: >-
  Replacing a trail by another one, mostly by infrastructure code. List that role under roles.iac.
runbook: >-
  1. Start logging again (command below). A deleted trail cannot be started: make it anew with aws cloudtrail
  create-trail, the same name and bucket (the evidence has the bucket), --is-multi-region-trail and
  --enable-log-file-validation, then start it. A weakened one is put right with aws cloudtrail update-trail. 2. If the
  bucket or key changed, look at who owns the new one. 3. Fill the gap from CloudTrail's event
  history (LookupEvents, 90 days). 4. Stop the caller: whoever blinds a trail does it before something else.
references:
  - https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-delete-trails-console.html
--- */
with tampering as (
  select *
  from control_events
  where event_source = 'cloudtrail.amazonaws.com'
    and event_name in ('StopLogging', 'DeleteTrail', 'UpdateTrail')
    and outcome in ('ok', 'denied')
),

-- What an update names need not be a change. The bucket and the key before it
-- are those of the last call that named one.
known_buckets as (
  select
    t.account,
    t.event_id,
    max_by(k.trail_bucket, row(k.event_time, k.event_id)) as bucket_before
  from tampering t
  join trail_changes k on k.account = t.account
    and k.trail_name = t.trail_name
    and k.event_time < t.event_time
  where k.trail_bucket <> ''
  group by t.account, t.event_id
),

known_keys as (
  select
    t.account,
    t.event_id,
    max_by(k.trail_kms_key, row(k.event_time, k.event_id)) as log_key_before
  from tampering t
  join trail_changes k on k.account = t.account
    and k.trail_name = t.trail_name
    and k.event_time < t.event_time
  where k.trail_kms_key <> ''
  group by t.account, t.event_id
),

judged as (
  select
    t.*,
    b.bucket_before,
    k.log_key_before,
    array_except(coalesce(t.trail_weakens, array['none']), array['bucket set', 'log key set', 'none']) as losses,
    case
      when t.trail_bucket = '' or t.trail_bucket = b.bucket_before then 'same'
      when b.bucket_before is null then 'unknown'
      else 'changed'
    end as bucket_state,
    case
      when t.trail_kms_key = '' or t.trail_kms_key = k.log_key_before then 'same'
      when k.log_key_before is null then 'unknown'
      else 'changed'
    end as log_key_state
  from tampering t
  left join known_buckets b on b.account = t.account and b.event_id = t.event_id
  left join known_keys k on k.account = t.account and k.event_id = t.event_id
)

select
  account,
  trail_name,
  region,
  principal,
  event_time as window_start,
  event_time as first_time,
  event_time as last_time,
  cast(1 as bigint) as event_count,
  array[event_id] as event_ids,
  case
    when trail_name in :secondary_trails or trail_arn in :secondary_trails then 'low'
    when outcome = 'denied' then 'medium'
    when event_name <> 'UpdateTrail' or cardinality(losses) > 0 or bucket_state = 'changed' or log_key_state = 'changed' then 'high'
    else 'medium'
  end as severity,
  event_name,
  trail_arn,
  outcome,
  case
    when outcome = 'denied' then array['refused']
    when cardinality(losses) > 0 then losses
    when bucket_state = 'changed' then array['bucket changed']
    when log_key_state = 'changed' then array['log key changed']
    when bucket_state = 'unknown' then array['bucket set']
    else array['log key set']
  end as what,
  trail_bucket,
  bucket_before,
  trail_kms_key as log_key,
  log_key_before,
  error_message,
  person,
  session_name,
  source_ip,
  client
from judged
where event_name <> 'UpdateTrail'
  or outcome = 'denied'
  or cardinality(losses) > 0
  or bucket_state in ('changed', 'unknown')
  -- A key where none was known makes the log safer.
  or log_key_state = 'changed'
