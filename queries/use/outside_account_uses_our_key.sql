/* ---
id: KMS-U07
title: Outside account uses our key
severity: high
status: active
family: use
class: B
mitre: [T1537, T1078.004]
events:
  - kms.amazonaws.com:Decrypt
  - kms.amazonaws.com:ReEncrypt
  - kms.amazonaws.com:GenerateDataKey
  - kms.amazonaws.com:GenerateDataKeyWithoutPlaintext
  - kms.amazonaws.com:GenerateDataKeyPair
  - kms.amazonaws.com:GenerateDataKeyPairWithoutPlaintext
  - kms.amazonaws.com:Encrypt
  - kms.amazonaws.com:Sign
  - kms.amazonaws.com:GenerateMac
  - kms.amazonaws.com:DeriveSharedSecret
  - kms.amazonaws.com:Decapsulate
entity: [principal_account, key_arn]
# Calls of one hour are one finding; the alert joins the hours.
window: 1h
# Only without an organisation list: what is usual across the border is learned.
learn_days: 14
evidence_events:
  table: uses
  on: [principal_account, key_arn]
  names: [Decrypt, ReEncrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext, GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext, Encrypt, Sign, GenerateMac, DeriveSharedSecret, Decapsulate]
summary: "Account {principal_account}, which is not ours, used {key_name} {event_count} times: {operations} ({account_name}, {region})"
at_risk: "Data under {key_name} that the outside account holds or fetches: each of these calls succeeded."
undo: aws kms list-grants --key-id {key_arn} --region {region}
description: >-
  An account that is neither ours nor a partner's used one of our keys with success. Something lets it in: the key
  policy or a grant. Without a list of the organisation's accounts nobody can say who is outside; then only the first
  use by an account of a key is found, at medium, and only after two weeks of learning.
false_positives: >-
  A vendor that works with your data. List its account under partners: its use is then recorded and counted, not told.
runbook: >-
  1. Whose account is it? 2. If nobody knows, find what lets it in: a grant (the command below lists them; revoke it with
  aws kms revoke-grant) or a statement in the key policy (KMS-P02 and P03 on this key have the command that puts the
  former policy back). 3. Success of the cut shows as silence only: refused calls from another account are not in your
  logs. 4. The encryption contexts of the events name the data that was opened; treat it as known to the other side.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html
--- */
with calls as (
  select
    u.*,
    date_trunc('hour', u.window_start) as hour_start,
    case
      when coalesce(a.partner, false) then concat('partner ', case when a.name = '' then a.account else a.name end)
      else ''
    end as suppressed_by
  from uses u
  left join accounts a on a.account = u.principal_account
  -- An account that the list forgot may use its own keys.
  where u.owner_copy
    and u.event_name in (
      'Decrypt', 'ReEncrypt', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext', 'GenerateDataKeyPair',
      'GenerateDataKeyPairWithoutPlaintext', 'Encrypt', 'Sign', 'GenerateMac', 'DeriveSharedSecret', 'Decapsulate'
    )
    -- Without a list, an account is ours from its first own event on.
    and not coalesce(a.ours and (a.listed or a.first_time <= u.first_time), false)
),

first_of_account as (
  select principal_account, key_arn, min(first_time) as first_time
  from first_uses
  group by principal_account, key_arn
)

select
  c.principal_account,
  c.key_arn,
  min(c.account) as account,
  min(c.region) as region,
  min(c.principal) as principal,
  c.hour_start as window_start,
  min(c.first_time) as first_time,
  max(c.last_time) as last_time,
  cast(sum(c.event_count) as bigint) as event_count,
  case when :has_org then 'high' else 'medium' end as severity,
  not :has_org and c.suppressed_by = '' and f.first_time < :learn_until as learning,
  c.suppressed_by,
  f.first_time as first_use,
  slice(array_agg(distinct c.principal order by c.principal), 1, 10) as callers,
  array_agg(distinct c.event_name order by c.event_name) as operations,
  min(c.principal_type) as principal_type
from calls c
join first_of_account f on f.principal_account = c.principal_account and f.key_arn = c.key_arn
where :has_org
  or date_trunc('hour', f.first_time) = c.hour_start
group by c.principal_account, c.key_arn, c.hour_start, c.suppressed_by, f.first_time
