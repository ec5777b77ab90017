-- The shape of what memory holds: what a tick reads before there is any.

create table empty_uses (
  window_start timestamp, account varchar, region varchar, event_name varchar, lane varchar, principal varchar,
  is_person boolean, key_arn varchar, dest_key_arn varchar, owner_copy boolean, event_count bigint, first_time timestamp,
  last_time timestamp);

create table empty_data (
  window_start timestamp, account varchar, region varchar, principal varchar, is_person boolean, lane varchar,
  data_kind varchar, data_arn varchar, key_arn varchar, event_count bigint, first_time timestamp, last_time timestamp);

create table empty_principals (principal varchar, principal_type varchar, principal_account varchar, principal_name varchar, last_day date);

create table empty_ids (account varchar, event_id varchar, event_time timestamp);

create table empty_pairs (
  principal varchar, key_arn varchar, lane varchar, owner_copy boolean, first_time timestamp, last_time timestamp,
  event_count bigint, account varchar, region varchar, is_person boolean);

create table empty_hours (
  hour timestamp, account varchar, region varchar, principal varchar, key_arn varchar, lane varchar, is_person boolean,
  event_count bigint, first_time timestamp, last_time timestamp);

create table empty_days (key_arn varchar, day date, event_count bigint);

create table empty_accounts (account varchar, first_time timestamp);

create table empty_names (key_arn varchar, alias_name varchar, first_time timestamp);

-- What the settings say, and which principals of the hot events they mean.
create table organisation (account varchar, name varchar, sandbox boolean);
create table partners (account varchar, name varchar);
create table regions (region varchar);
create table organisation_ids (org_id varchar);
create table tier0_keys (key_arn varchar, alias_name varchar, account varchar);
create table key_allow (key_arn varchar, alias_name varchar, account varchar, principal_pattern varchar);
create table roles (kind varchar, principal_pattern varchar);
