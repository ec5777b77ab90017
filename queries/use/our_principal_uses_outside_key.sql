/* ---
id: KMS-U08
title: Our principal uses an outside key
severity: high
status: active
family: use
class: B
mitre: [T1486, T1537]
events:
  - kms.amazonaws.com:GenerateDataKey
  - kms.amazonaws.com:GenerateDataKeyWithoutPlaintext
  - kms.amazonaws.com:GenerateDataKeyPair
  - kms.amazonaws.com:GenerateDataKeyPairWithoutPlaintext
  - kms.amazonaws.com:Encrypt
  - kms.amazonaws.com:ReEncrypt
  - kms.amazonaws.com:CreateGrant
entity: [principal, key_arn]
# Calls of one hour are one finding; the alert joins the hours.
window: 1h
# Only without an organisation list: what is usual across the border is learned.
learn_days: 14
evidence_events:
  table: uses
  on: [principal, key_arn]
  names: [GenerateDataKey, GenerateDataKeyWithoutPlaintext, GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext, Encrypt, ReEncrypt]
summary: "{principal_name} encrypted {event_count} times under {key_arn}, a key of account {key_account}, which is not ours: {operations} ({account_name}, {region})"
at_risk: "Our data that is now encrypted under somebody else's key: its owner can withhold it, and can read whatever of it reaches them."
undo: aws cloudtrail lookup-events --lookup-attributes AttributeKey=ResourceName,AttributeValue={key_arn} --region {region}
description: >-
  One of our principals encrypted under a key, re-encrypted our data to it, or made a grant on it, and the key belongs
  to an account neither ours nor a partner's. It is the visible half of an extortion: objects, snapshots or volumes are
  copied under the attacker's key. ReEncrypt moves small ciphertexts to the attacker's key inside of KMS; nobody sees
  plaintext. Calls that a service made for the principal count, too: S3 and EBS do it like that. Without a list of the
  organisation's accounts only the first use of such a key is found, at medium, after two weeks of learning;
  re-encryption to it is high even then.
false_positives: >-
  A vendor whose key your data must be delivered under. List its account under partners: such use is then recorded and
  counted, not told. A move of data to a key account of your own that is missing in the list of the organisation.
runbook: >-
  1. Whose key is it? If nobody knows, stop the principal now: every call takes more data out of reach. 2. See which
  resources were written with that key: the encryption contexts of the events name buckets, objects or volumes, and the
  command below lists the latest calls. 3. While you can still decrypt, copy the data back under a key of yours. What
  went out by ReEncrypt is in the other account's hands: change those secrets. 4. Check that old versions, snapshots
  and backups still exist and protect them. 5. Deny the use of outside keys by a service control policy on
  aws:ResourceOrgID or kms:ResourceAccount.
references:
  - https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
--- */
with calls as (
  select
    principal,
    -- Of a re-encryption the outside key is the one that it goes to.
    case when event_name = 'ReEncrypt' then dest_key_arn else key_arn end as key_arn,
    case when event_name = 'ReEncrypt' then dest_key_account else key_account end as key_account,
    account, region, principal_type, is_person, event_name, event_count, first_time, last_time,
    cast(null as varchar) as event_id
  from uses
  where not owner_copy
    and event_name in (
      'GenerateDataKey', 'GenerateDataKeyWithoutPlaintext', 'GenerateDataKeyPair', 'GenerateDataKeyPairWithoutPlaintext',
      'Encrypt', 'ReEncrypt'
    )
  union all
  select
    principal, key_arn, key_account, account, region, principal_type, is_person, event_name,
    cast(1 as bigint) as event_count, event_time as first_time, event_time as last_time, event_id
  from control_events
  where event_source = 'kms.amazonaws.com'
    and event_name = 'CreateGrant'
    and outcome = 'ok'
    and lane <> 'service'
),

outside as (
  select
    c.*,
    date_trunc('hour', c.first_time) as hour_start,
    case
      when coalesce(a.partner, false) then concat('partner ', case when a.name = '' then a.account else a.name end)
      else ''
    end as suppressed_by
  from calls c
  left join accounts a on a.account = c.key_account
  where c.key_arn <> ''
    -- An account that the list forgot may use its own keys.
    and c.key_account <> c.account
    -- Without a list, an account is ours from its first own event on.
    and not coalesce(a.ours and (a.listed or a.first_time <= c.first_time), false)
),

first_of_pair as (
  select principal, key_arn, min(first_time) as first_time
  from first_uses
  group by principal, key_arn
)

select
  c.principal,
  c.key_arn,
  min(c.key_account) as key_account,
  min(c.account) as account,
  min(c.region) as region,
  c.hour_start as window_start,
  min(c.first_time) as first_time,
  max(c.last_time) as last_time,
  cast(sum(c.event_count) as bigint) as event_count,
  array_agg(distinct c.event_id order by c.event_id) filter (where c.event_id is not null) as event_ids,
  -- Without a list, encryption under a vendor's key may be what is usual here;
  -- what is re-encrypted to an unknown account leaves it.
  case when :has_org or max(case when c.event_name = 'ReEncrypt' then 1 else 0 end) = 1 then 'high' else 'medium' end as severity,
  not :has_org and c.suppressed_by = ''
    and max(case when c.event_name = 'ReEncrypt' then 1 else 0 end) = 0
    and least(coalesce(f.first_time, min(c.first_time)), min(c.first_time)) < :learn_until as learning,
  c.suppressed_by,
  array_agg(distinct c.event_name order by c.event_name) as operations,
  min(c.principal_type) as principal_type,
  max(case when c.is_person then 1 else 0 end) = 1 as is_person
from outside c
left join first_of_pair f on f.principal = c.principal and f.key_arn = c.key_arn
where :has_org
  -- New as of the hour: a grant may come long before the first use.
  or f.first_time is null
  or date_trunc('hour', f.first_time) >= c.hour_start
group by c.principal, c.key_arn, c.hour_start, c.suppressed_by, f.first_time
