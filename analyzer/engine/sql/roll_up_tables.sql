-- What a slice is rolled up into, before memory is added.

create table repeated (filename varchar, file_row_number bigint);

create table rolled (bucket integer, profile ubigint, event_count bigint, first_time timestamp, last_time timestamp);

create table profiles (
  profile ubigint, account varchar, region varchar, event_name varchar, lane varchar, principal varchar, is_person boolean,
  key_arn varchar, dest_key_arn varchar, owner_copy boolean, alias_name varchar, principal_type varchar,
  principal_account varchar, principal_name varchar, first_time timestamp, last_day date);

create table rolled_data (
  bucket integer, profile ubigint, data_id ubigint, data_kind varchar, data_arn varchar, event_count bigint,
  first_time timestamp, last_time timestamp);
