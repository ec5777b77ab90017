/* ---
id: KMS-D04
title: Imported key material deleted
severity: high
status: active
family: destruction
class: F
mitre: [T1485, T1486]
events:
  - kms.amazonaws.com:DeleteImportedKeyMaterial
  - kms.amazonaws.com:ImportKeyMaterial
entity: [key_arn]
# How long after the deletion the new import may come.
window: 10m
suppress: [iac, change_window]
summary: "{principal_name} deleted the imported key material of {key_name}; imported again within 10 minutes: {reimported} ({account_name}, {region})"
at_risk: "Everything under {key_name}, from this second on: there is no waiting period, and AWS has no copy of the material."
undo: aws kms get-parameters-for-import --key-id {key_arn} --wrapping-algorithm RSAES_OAEP_SHA_256 --wrapping-key-spec RSA_4096 --region {region}
description: >-
  The key material that had been imported into a key was deleted. Unlike a scheduled deletion this works at once: the
  key is pending import, and all decrypts fail until exactly the same material is imported again. Critical when that
  has not happened within 10 minutes.
false_positives: >-
  Rotation of imported material in which the old material is imported again at once. The finding then stays high and
  says that it was imported again; list the role that does it under roles.iac.
runbook: >-
  1. Find the original material: your own HSM or escrow, or whoever imported it last (ImportKeyMaterial in the history of
  this key). 2. Get a wrapping key and token (the command below), wrap
  the material and import it with aws kms import-key-material; it must be the same
  material: other material will be refused. 3. If nobody holds a copy, and the attacker imported the material, treat it
  as an extortion: keep all logs, do not delete the key. 4. Stop the caller.
references:
  - https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys-delete-key-material.html
--- */
with deletions as (
  select *
  from control_events
  where event_source = 'kms.amazonaws.com'
    and event_name = 'DeleteImportedKeyMaterial'
    and outcome = 'ok'
    and key_arn <> ''
),

reimports as (
  select
    d.account,
    d.event_id,
    min(i.event_time) as import_time,
    min_by(i.principal, row(i.event_time, i.event_id)) as importer
  from deletions d
  join control_events i on i.key_arn = d.key_arn
    and i.event_source = 'kms.amazonaws.com'
    and i.event_name = 'ImportKeyMaterial'
    and i.outcome = 'ok'
    and i.event_time > d.event_time
    and i.event_time <= d.event_time + interval '10' minute
  group by d.account, d.event_id
)

select
  d.key_arn,
  d.account,
  d.region,
  d.principal,
  d.event_time as window_start,
  d.event_time as first_time,
  d.event_time as last_time,
  cast(1 as bigint) as event_count,
  array[d.event_id] as event_ids,
  -- Absence can be judged only when the ten minutes are over.
  case
    when r.import_time is null and :now > d.event_time + interval '10' minute then 'critical'
    else 'high'
  end as severity,
  case
    when r.import_time is not null then 'yes'
    when :now > d.event_time + interval '10' minute then 'no'
    else 'not yet'
  end as reimported,
  r.import_time,
  r.importer,
  d.person,
  d.session_name,
  d.source_ip,
  d.client
from deletions d
left join reimports r on r.account = d.account and r.event_id = d.event_id
