/* ---
id: KMS-D07
title: Use of a key that is disabled or about to go
severity: high
status: active
family: destruction
class: V
mitre: [T1485, T1489]
events:
  - kms.amazonaws.com:Decrypt
  - kms.amazonaws.com:Encrypt
  - kms.amazonaws.com:ReEncrypt
  - kms.amazonaws.com:GenerateDataKey
  - kms.amazonaws.com:GenerateDataKeyWithoutPlaintext
  - kms.amazonaws.com:GenerateDataKeyPair
  - kms.amazonaws.com:GenerateDataKeyPairWithoutPlaintext
  - kms.amazonaws.com:GenerateMac
  - kms.amazonaws.com:VerifyMac
  - kms.amazonaws.com:Sign
  - kms.amazonaws.com:Verify
  - kms.amazonaws.com:DeriveSharedSecret
  - kms.amazonaws.com:Decapsulate
  - kms.amazonaws.com:CreateGrant
entity: [key_arn]
window: 24h
params:
  # One failing call is enough: somebody still needs the key.
  min_calls: 1
summary: "{key_name} is in state {state} and still needed: {callers} called it {event_count} times in vain ({account_name}, {region})"
at_risk: "What the callers do fails now. If the key is PendingDeletion, the data that they read is lost when it goes."
undo: aws kms cancel-key-deletion --key-id {key_arn} --region {region}; aws kms enable-key --key-id {key_arn} --region {region}
description: >-
  Something tried to use a key that is pending deletion, disabled or without its imported material. It is the last
  warning before data is lost: the key is in use after all. All calls of one day about one key are one finding, which
  lists the callers.
false_positives: >-
  A job that was forgotten when its key was retired on purpose. Even then it should be switched off before the key
  goes.
runbook: >-
  1. Find who disabled or scheduled the key (KMS-D01, D02, D04 on the same key). 2. Unless the callers are known to be
  obsolete, bring the key back: cancel the deletion, then enable it (the command below does both; of a key that was only
  disabled the first part fails, which is all right; for a key pending import see KMS-D04). 3. Tell the owners of the callers.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys-determining-usage.html
--- */
with failures as (
  select
    *,
    cast(date_trunc('day', event_time) as timestamp) as day_start,
    -- The states as KMS names them.
    case
      -- "is pending deletion", of a multi-Region key also "is pending replica deletion"
      when error_message like '%is pending%deletion%' then 'PendingDeletion'
      when error_message like '%is pending import%' then 'PendingImport'
      else 'Disabled'
    end as state
  from control_events
  where event_source = 'kms.amazonaws.com'
    and event_name in (
      'Decrypt', 'Encrypt', 'ReEncrypt', 'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext', 'GenerateDataKeyPair',
      'GenerateDataKeyPairWithoutPlaintext', 'GenerateMac', 'VerifyMac', 'Sign', 'Verify', 'DeriveSharedSecret',
      'Decapsulate', 'CreateGrant'
    )
    and (
      error_code = 'DisabledException'
      -- Other states, as "is unavailable" of a custom key store, are another matter.
      or (error_code in ('KMSInvalidStateException', 'KMSInvalidState')
          and (error_message like '%is pending%deletion%' or error_message like '%is pending import%' or error_message like '%is disabled%'))
    )
    and key_arn <> ''
)

select
  key_arn,
  min(account) as account,
  min(region) as region,
  min(principal) as principal,
  day_start as window_start,
  min(event_time) as first_time,
  max(event_time) as last_time,
  -- The two copies of a cross-account call share an id and count once.
  count(distinct case when shared_event_id <> '' then shared_event_id else event_id end) as event_count,
  array_agg(distinct event_id order by event_id) as event_ids,
  max(state) as state,
  slice(array_agg(distinct principal_name order by principal_name), 1, 20) as callers,
  slice(array_agg(distinct principal order by principal), 1, 20) as caller_arns,
  array_agg(distinct event_name order by event_name) as operations,
  slice(array_agg(distinct data_arn order by data_arn) filter (where data_arn <> ''), 1, 5) as data
from failures
group by key_arn, day_start
having count(distinct event_id) >= :min_calls
