/* ---
id: KMS-U05
title: Secret or parameter harvest seen from KMS
severity: high
status: active
family: use
class: V
mitre: [T1555.006, T1552, T1530]
events: ["kms.amazonaws.com:Decrypt"]
entity: [principal, data_kind]
window: 10m
params:
  # A person looks at a handful of secrets. Ten within 10 minutes is a loop.
  person_secrets: 10
  # A program reads its settings when it starts; 20 different secrets or
  # parameters are more than one program has.
  program_secrets: 20
  # Objects, volumes, tables: people page through folders, so many more.
  person_data: 100
suppress: [routine, scanner]
evidence_events:
  table: uses
  on: [principal, lane, data_kind]
  names: [Decrypt]
summary: "{principal_name} read {distinct_data} different items of kind {data_kind} within 10 minutes, seen from KMS in the {lane} lane ({account_name}, {region})"
at_risk: "The items themselves, among them {data_sample}: they must be taken as known to the caller."
description: >-
  Each read of an encrypted secret, parameter or object makes a Decrypt whose encryption context names it. One principal
  had many different ones decrypted within minutes, directly or through Secrets Manager, Systems Manager and others.
  What counts is how many different items, not how many calls. It shows even where the events of those services are
  not recorded.
false_positives: >-
  Operators that copy secrets into clusters (External Secrets and the like), and restores. List their roles under
  roles.routine.
runbook: >-
  1. Is the principal an operator that syncs secrets? Then list it. 2. If not, stop it: deactivate the access key or
  revoke the role's sessions. 3. Rotate what was read; the events name each item. Begin with what opens other doors:
  database and API credentials. 4. Look at where these secrets are used from the first read on. 5. Find the way in:
  what did the principal do in the hour before?
references:
  - https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
  - https://docs.aws.amazon.com/kms/latest/developerguide/services-parameter-store.html
--- */
with harvests as (
  select
    *,
    row_number() over (
      partition by principal, lane, data_kind, first_time, last_time
      order by window_start desc
    ) as copy
  from data_uses
  where (data_kind in ('secret', 'parameter') and is_person and distinct_data >= :person_secrets)
    or (data_kind in ('secret', 'parameter') and distinct_data >= :program_secrets)
    or (data_kind not in ('secret', 'parameter') and is_person and distinct_data >= :person_data)
)

-- Windows of 10 minutes overlap; two with the same reads are one finding.
select
  principal,
  data_kind,
  account,
  region,
  lane,
  key_arn,
  window_start,
  first_time,
  last_time,
  event_count,
  distinct_data,
  key_count,
  data_sample,
  is_person,
  principal_type
from harvests
where copy = 1
