/* ---
id: KMS-U03
title: Decrypt spike
severity: medium
status: active
family: use
class: V
mitre: [T1530, T1552]
events:
  - kms.amazonaws.com:Decrypt
  - kms.amazonaws.com:ReEncrypt
  - kms.amazonaws.com:GenerateDataKey
entity: [principal, key_arn]
window: 1h
params:
  # Three times the busiest like hour leaves room for growth and for a retry of
  # a whole batch, and is far below what copying a bucket needs.
  factor: 3
  # Below 300 calls an hour (5 a minute) a multiple means nothing.
  floor: 300
  # An hour is compared with the same hour of the week and its neighbours, so
  # that a job which starts late is no spike. 28 days give four of them.
  compare_with: 672h
  # A pair known for two weeks has shown its weekly jobs twice.
  baseline: 336h
  # Whatever the hour of the week: three hours of the last 28 days that came near
  # it (the busiest 1 % of a fortnight) show that such an hour is part of its work.
  like_hours: 3
  # Without a baseline: a person who decrypts by hand does it a few times. 200
  # direct calls in 10 minutes are a loop.
  burst: 200
suppress: [routine]
evidence_events:
  table: uses
  on: [principal, key_arn, lane]
  names: [Decrypt, ReEncrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, Encrypt, GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext, GenerateMac, VerifyMac, Sign, Verify, DeriveSharedSecret, Decapsulate]
summary: "{principal_name} called {key_name} directly {event_count} times, up to {busiest_count} within {minutes} minutes; usual: {usual_count} an hour ({account_name}, {region})"
at_risk: "Bulk data under {key_name}: this is how a copy of everything looks from the key's side."
undo: aws kms get-key-policy --key-id {key_arn} --policy-name default --region {region} --output text
description: >-
  A principal used a key far more often than in the same hours of the weeks before, and than nearly all hours of these
  weeks. For pairs of principal and key that
  are known for less than two weeks there is nothing to compare with; then a burst by a person speaks (an IAM user, a
  single sign-on user, a console or command-line session): 200 direct calls within 10 minutes. Calls made by services
  do not count here, KMS-U05 counts the data they read.
false_positives: >-
  A batch job that was moved, repeated or newly written. List the role under roles.routine when it is meant to be
  irregular.
runbook: >-
  1. Ask the owner of the principal whether a batch ran. 2. Look at what was decrypted: the encryption contexts of the
  events name the data. 3. If it is a person or nobody knows, take the key away from it for now: add a Deny to the key
  policy (the command below shows the policy), and rotate its credentials.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/requests-per-second.html
--- */
with hot as (
  select date_trunc('hour', min(window_start)) as since
  from uses
),

pairs as (
  select principal, key_arn, min(first_time) as first_time
  from first_uses
  where lane = 'direct'
  group by principal, key_arn
),

hours as (
  select principal, key_arn, hour, min(account) as account, cast(sum(event_count) as bigint) as event_count
  from use_hours
  where lane = 'direct'
  group by principal, key_arn, hour
),

busy_hours as (
  select h.principal, h.key_arn, h.hour, h.account, h.event_count
  from hours h
  cross join hot
  where h.hour >= hot.since
    and h.event_count >= :floor
),

-- The busiest of the same hours (and their neighbours) of the weeks before.
compared as (
  select
    b.principal,
    b.key_arn,
    b.hour,
    b.account,
    b.event_count,
    coalesce(max(p.event_count), 0) as usual_count
  from busy_hours b
  join pairs f on f.principal = b.principal
    and f.key_arn = b.key_arn
    and f.first_time <= b.hour - :baseline
  left join hours p on p.principal = b.principal
    and p.key_arn = b.key_arn
    -- The hour just before is left out: it is the spike itself when it began there.
    and p.hour < b.hour - interval '1' hour
    and p.hour >= b.hour - :compare_with
    and mod(date_diff('hour', p.hour, b.hour), 168) in (0, 1, 167)
  group by b.principal, b.key_arn, b.hour, b.account, b.event_count
),

-- Jobs that run at any hour: how many hours of these weeks came near. Asked of
-- the few hours that are left only.
spikes as (
  select c.principal, c.key_arn, c.hour, c.account, c.event_count, c.usual_count
  from compared c
  left join hours p on p.principal = c.principal
    and p.key_arn = c.key_arn
    and p.hour < c.hour - interval '1' hour
    and p.hour >= c.hour - :compare_with
    and p.event_count * :factor >= c.event_count
  where c.event_count > :factor * c.usual_count
  group by c.principal, c.key_arn, c.hour, c.account, c.event_count, c.usual_count
  having count(p.hour) < :like_hours
),

-- What an hour's row does not know comes from the 5-minute rows.
spike_details as (
  select
    s.principal,
    s.key_arn,
    s.hour as window_start,
    s.account,
    s.event_count,
    s.usual_count,
    min(u.region) as region,
    min(u.first_time) as first_time,
    max(u.last_time) as last_time,
    min(u.principal_type) as principal_type,
    max(case when u.is_person then 1 else 0 end) = 1 as is_person
  from spikes s
  join uses u on u.principal = s.principal
    and u.key_arn = s.key_arn
    and u.lane = 'direct'
    and date_trunc('hour', u.window_start) = s.hour
  group by s.principal, s.key_arn, s.hour, s.account, s.event_count, s.usual_count
),

personal_calls as (
  select principal, key_arn, window_start as slot, account, region, principal_type, event_count, first_time, last_time
  from uses
  where lane = 'direct'
    and is_person
    -- The owner's copy of a cross-account call is the same call.
    and not owner_copy
    and event_name in ('Decrypt', 'ReEncrypt', 'GenerateDataKey')
    and key_arn <> ''
),

-- Windows of 10 minutes at a hop of 5.
bursts as (
  select
    c.principal,
    c.key_arn,
    c.slot - interval '5' minute * w.hop as window_start,
    cast(sum(c.event_count) as bigint) as event_count
  from personal_calls c
  cross join (values (0), (1)) as w (hop)
  group by c.principal, c.key_arn, c.slot - interval '5' minute * w.hop
  having sum(c.event_count) >= :burst
),

-- Each five minutes belong to the latest such window that they are in, so that no call is counted twice.
placed as (
  select principal, key_arn, slot, max(window_start) as window_start, max(event_count) as busiest_count
  from (
    select b.principal, b.key_arn, b.window_start + interval '5' minute * h.hop as slot, b.window_start, b.event_count
    from bursts b
    cross join (values (0), (1)) as h (hop)
  ) s
  group by principal, key_arn, slot
),

burst_details as (
  select
    c.principal,
    c.key_arn,
    date_trunc('hour', p.window_start) as window_start,
    min(c.account) as account,
    cast(sum(c.event_count) as bigint) as event_count,
    max(p.busiest_count) as busiest_count,
    min(c.region) as region,
    min(c.first_time) as first_time,
    max(c.last_time) as last_time,
    min(c.principal_type) as principal_type
  from placed p
  join personal_calls c on c.principal = p.principal
    and c.key_arn = p.key_arn
    and c.slot = p.slot
  -- Who has been known for longer is compared with the hours before.
  join pairs f on f.principal = c.principal
    and f.key_arn = c.key_arn
    and f.first_time > date_trunc('hour', p.window_start) - :baseline
  group by c.principal, c.key_arn, date_trunc('hour', p.window_start)
)

select
  principal, key_arn, account, region, 'direct' as lane, window_start, first_time, last_time, event_count,
  event_count as busiest_count, 60 as minutes, usual_count, principal_type, is_person
from spike_details
union all
select
  principal, key_arn, account, region, 'direct' as lane, window_start, first_time, last_time, event_count,
  busiest_count, 10 as minutes, cast(0 as bigint) as usual_count, principal_type, true as is_person
from burst_details
