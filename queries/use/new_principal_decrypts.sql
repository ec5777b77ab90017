/* ---
id: KMS-U01
title: New principal decrypts this key
severity: medium
status: active
family: use
class: B
mitre: [T1552, T1078.004]
events:
  - kms.amazonaws.com:Decrypt
  - kms.amazonaws.com:ReEncrypt
  - kms.amazonaws.com:GenerateDataKey
  - kms.amazonaws.com:GenerateDataKeyWithoutPlaintext
  - kms.amazonaws.com:GenerateDataKeyPair
  - kms.amazonaws.com:GenerateDataKeyPairWithoutPlaintext
  - kms.amazonaws.com:Encrypt
  - kms.amazonaws.com:DeriveSharedSecret
  - kms.amazonaws.com:Decapsulate
entity: [principal, key_arn]
window: 0
# Two weeks hold the weekly jobs twice.
learn_days: 14
params:
  # Around the making of a key all its users are new; that is no news.
  new_key: 168h
  # An account that joins later is learned as long as everything was at first.
  new_account: 336h
suppress: [iac, routine]
evidence_events:
  table: uses
  on: [principal, key_arn, lane]
  names: [Decrypt, ReEncrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext, Encrypt, DeriveSharedSecret, Decapsulate]
summary: "{principal_name} used {key_name} for the first time: {operations} ({account_name}, {region})"
at_risk: "The data under {key_name} that the caller could reach."
undo: aws kms get-key-policy --key-id {key_arn} --policy-name default --region {region} --output text
description: >-
  A principal used a key that it had never used in this way before. Use of keys is dull: the same roles use the same
  keys for months, so a first time is a deploy, a new colleague, or somebody with stolen credentials. Only the first
  use speaks. Direct calls are medium; calls that a service made for the principal, first uses that only encrypt, and
  keys younger than a week are low. What an account whose own first event came later than the learning does with its own
  keys is listed at info for two weeks. Calls that services make for themselves are left out.
false_positives: >-
  Deploys with new roles: the pair is known from then on and does not come again. Before 14 days of history everything
  looks new; what would have been found is then listed at info.
runbook: >-
  1. Do you know the principal, and is there a deploy or a person's task that explains it? 2. If not, see what was
  decrypted (encryption context in the events) and what else the principal did in the hour before: new credentials,
  AssumeRole, refused calls (KMS-U06). 3. To shut it out quickly, add a Deny for it to the key policy; the command
  below shows the policy as it is. 4. Then see what let it in: that policy, a grant (aws kms list-grants) or IAM.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html
--- */
with starts as (
  select
    principal,
    key_arn,
    lane,
    min(first_time) as first_time
  from first_uses
  group by principal, key_arn, lane
),

-- Those whose first time is recent, with what they did in these minutes.
recent as (
  select
    s.principal,
    s.key_arn,
    s.lane,
    s.first_time,
    max(u.last_time) as last_time,
    cast(sum(u.event_count) as bigint) as event_count,
    min(u.account) as account,
    min(u.region) as region,
    min(u.key_account) as key_account,
    min(u.principal_account) as principal_account,
    min(u.principal_type) as principal_type,
    max(case when u.is_person then 1 else 0 end) = 1 as is_person,
    array_agg(distinct u.event_name order by u.event_name) as operations,
    max(case when u.event_name <> 'Encrypt' then 1 else 0 end) = 1 as reads
  from starts s
  -- "uses" holds the last hours only; the pair is new when its first 5 minutes are there.
  join uses u on u.principal = s.principal
    and u.key_arn = s.key_arn
    and u.lane = s.lane
    and u.window_start <= s.first_time
  left join accounts a on a.account = u.principal_account
  where u.event_name in (
      'Decrypt', 'ReEncrypt', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext', 'GenerateDataKeyPair',
      'GenerateDataKeyPairWithoutPlaintext', 'Encrypt', 'DeriveSharedSecret', 'Decapsulate'
    )
    -- Our caller's own copy of a cross-account call tells it already.
    and not (u.owner_copy and coalesce(a.ours and (a.listed or a.first_time <= u.first_time), false))
  group by s.principal, s.key_arn, s.lane, s.first_time
),

young_keys as (
  select r.principal, r.key_arn, r.lane, max(c.event_time) as created
  from recent r
  join key_changes c on c.key_arn = r.key_arn
    and c.event_name in ('CreateKey', 'ReplicateKey')
    and c.event_time <= r.first_time
    and c.event_time >= r.first_time - :new_key
  group by r.principal, r.key_arn, r.lane
)

select
  r.principal,
  r.key_arn,
  r.account,
  r.region,
  r.lane,
  r.first_time as window_start,
  r.first_time,
  r.last_time,
  r.event_count,
  case
    -- All that an account does with its own keys is new when it came after the learning.
    when n.first_time > :learn_until and r.first_time < n.first_time + :new_account then 'info'
    when r.lane = 'direct' and r.reads and y.created is null then 'medium'
    else 'low'
  end as severity,
  r.first_time < :learn_until as learning,
  r.operations,
  r.principal_type,
  r.is_person,
  y.created as key_created
from recent r
left join young_keys y on y.principal = r.principal and y.key_arn = r.key_arn and y.lane = r.lane
left join accounts n on n.account = r.key_account and n.account = r.principal_account
