"""The text of PostgreSQL's capture functions and of what defines triggers: `str.format` templates.

The functions' search path is empty of everything that a user could put there, so they name each table with its schema.
"""

from __future__ import annotations

ROW_ID = """CREATE OR REPLACE FUNCTION {name}(image json, keys text[], kinds text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT CASE WHEN octet_length(convert_to(found, 'UTF8')) > {limit}
    THEN '{long_key}' || left(found, {start}) ELSE found END
  FROM (
    SELECT CASE WHEN count(*) = 1 THEN max(word) WHEN count(*) > 1 THEN '[' || string_agg(
      CASE WHEN is_text THEN to_json(word)::text ELSE word END, ',' ORDER BY place) || ']' END AS found
    FROM (
      SELECT place, kind NOT IN ('integer', 'boolean', 'float', 'decimal', 'bytes') AS is_text, CASE
        WHEN kind = 'decimal' THEN '{{"$decimal":"' || value || '"}}'
        WHEN kind = 'bytes' THEN '{{"$hex":"' || substr(value, 3) || '"}}'
        WHEN kind = 'float' AND value ~ '^-?[0-9]+$' THEN value || '.0'
        WHEN kind = 'float' AND value ~ '[a-z]$' THEN '{{"$float":"' || value || '"}}'
        ELSE value END AS word
      FROM (SELECT u.place, u.kind, image ->> u.key AS value
        FROM unnest(keys, kinds) WITH ORDINALITY AS u(key, kind, place)) AS parts
    ) AS words
  ) AS spelled
$function$"""
"""What the log holds of an image's key, as `codec.look_up_key` spells it."""

IMAGE = """CREATE OR REPLACE FUNCTION {name}(image json, before json, masked text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $function$
  SELECT '{{' || string_agg(to_json(n.key)::text || ':' || CASE
    WHEN n.key = ANY (masked) THEN '{{"$masked":true}}'
    WHEN length(n.value::text) > {long} AND n.value::text = o.value::text COLLATE "C" THEN '{{"$same":true}}'
    ELSE n.value::text END, ',' ORDER BY n.place) || '}}'
  FROM json_each(image) WITH ORDINALITY AS n(key, value, place) LEFT JOIN json_each(before) AS o ON o.key = n.key
$function$"""
"""An image without what is masked, and without the long values that the one before it has as well."""

PLAN = """CREATE OR REPLACE FUNCTION {name}(relation oid, excluded int2[], masked int2[], OUT signature text,
  OUT keys text[], OUT kinds text[], OUT columns_sql text, OUT image_sql text, OUT masked_names text[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $function$
  WITH root AS (SELECT coalesce(pg_partition_root(relation), relation)::oid AS id),
  named AS (SELECT r.attname::text AS name, r.attnum FROM pg_attribute AS r, root WHERE r.attrelid = root.id),
  columns AS (
    SELECT a.attname::text AS name, a.attnum AS place, {kind} AS kind, a.attgenerated <> 'v' AND NOT EXISTS (
      SELECT 1 FROM named AS x WHERE x.name = a.attname AND x.attnum = ANY (excluded)) AS recorded
    FROM pg_attribute AS a JOIN pg_type AS b ON b.oid = {base_type}
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
  ),
  key AS (
    SELECT c.name, c.kind, k.place FROM root JOIN pg_index AS i ON i.indrelid = root.id AND i.indisprimary
    CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
    JOIN named AS x ON x.attnum = k.number JOIN columns AS c ON c.name = x.name WHERE k.place <= i.indnkeyatts
  ),
  listed AS (
    SELECT string_agg(format(CASE kind WHEN 'nested' THEN 'r.%1$I::text AS %1$I'
      WHEN 'reference' THEN 'r.%1$I::oid AS %1$I' ELSE 'r.%1$I' END, name), ', ' ORDER BY place)
      FILTER (WHERE recorded) AS sql, bool_or(kind IN ('nested', 'reference') OR NOT recorded) AS is_needed
    FROM columns
  )
  SELECT ({planned_signature}),
    ARRAY(SELECT name FROM key ORDER BY place), ARRAY(SELECT kind FROM key ORDER BY place), listed.sql,
    CASE WHEN listed.is_needed THEN 'SELECT pg_catalog.row_to_json(x.*)::text FROM (SELECT ' || listed.sql
      || ' FROM (SELECT ($1).*) AS r) AS x' ELSE '' END,
    ARRAY(SELECT name FROM named WHERE attnum = ANY (masked))
  FROM listed
$function$"""
"""How a table's rows become images; what is left out or masked is given by number, which survives a new name."""

TRANSACTION = """
  _transaction := current_setting('{setting}', true);
  IF _transaction IS NULL OR _transaction = '' THEN
    _transaction := gen_random_uuid()::text;
    PERFORM set_config('{setting}', _transaction, true);
  END IF;
  _actor := left(coalesce(nullif(current_setting('auditcli.actor', true), ''), session_user), 255);
  IF current_setting('{header}', true) IS DISTINCT FROM _transaction THEN
    INSERT INTO {table} (transaction_id, "timestamp", reason, context, db_user, client, application) VALUES (
      _transaction, clock_timestamp() AT TIME ZONE 'UTC', nullif(current_setting('auditcli.reason', true), ''),
      nullif(current_setting('auditcli.context', true), ''), session_user,
      left(coalesce(nullif(current_setting('auditcli.client', true), ''), host(inet_client_addr())), 255),
      left(coalesce(nullif(current_setting('auditcli.application', true), ''),
        nullif(current_setting('application_name', true), '')), 255));
    PERFORM set_config('{header}', _transaction, true);
  END IF;
  _schema := TG_TABLE_SCHEMA;
  _table := TG_TABLE_NAME;
  IF TG_ARGV[8] = 'part' THEN
    SELECT n.nspname, c.relname INTO _schema, _table
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = coalesce(pg_partition_root(TG_RELID), TG_RELID);
  END IF;"""
"""Part of both trigger functions: which transaction this is, by whom, and on which table."""

CAPTURE = """CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql {safe} AS $function$
DECLARE
  _keys text[] := TG_ARGV[1];
  _kinds text[] := TG_ARGV[2];
  _image_sql text := TG_ARGV[3];
  _masked text[] := TG_ARGV[4];
  _before text;
  _after text;
  _row_id text;
  _old_row_id text;
  _schema text;
  _table text;
  _transaction text;
  _actor text;
BEGIN
  IF TG_OP = 'UPDATE' AND OLD *= NEW THEN
    RETURN NULL;
  END IF;
  -- What the system knows at once of a plain table comes first: neither written anew nor with one more column, and the
  -- key's index is there, on a column of that name.
  -- A condition of its own: one with a query in it is no simple expression, which is evaluated without ado.
  IF _image_sql <> '' OR _masked <> '{{}}' OR cardinality(_keys) <> 1
    OR pg_relation_filenode(TG_RELID)::text IS DISTINCT FROM TG_ARGV[9]
    OR has_column_privilege(TG_RELID, TG_ARGV[10]::int2, 'SELECT') IS NOT NULL
    OR pg_get_indexdef(TG_ARGV[11]::oid, 1, false) IS DISTINCT FROM quote_ident(_keys[1]) THEN
    IF TG_ARGV[0] IS DISTINCT FROM ({signature}) THEN
      SELECT p.keys, p.kinds, p.image_sql, p.masked_names INTO _keys, _kinds, _image_sql, _masked
      FROM {plan}(TG_RELID, TG_ARGV[5]::int2[], TG_ARGV[6]::int2[]) AS p;
    END IF;
  END IF;
  IF _image_sql = '' THEN
    IF TG_OP <> 'INSERT' THEN _before := row_to_json(OLD)::text; END IF;
    IF TG_OP <> 'DELETE' THEN _after := row_to_json(NEW)::text; END IF;
  ELSE
    IF TG_OP <> 'INSERT' THEN EXECUTE _image_sql INTO _before USING OLD; END IF;
    IF TG_OP <> 'DELETE' THEN EXECUTE _image_sql INTO _after USING NEW; END IF;
    -- Texts, which differ as soon as a value does; what is left out of them does not count.
    IF TG_OP = 'UPDATE' AND _before = _after COLLATE "C" THEN
      RETURN NULL;
    END IF;
  END IF;
  IF cardinality(_keys) = 1 AND _kinds[1] IN ('integer', 'text', 'moment', 'boolean') THEN
    _row_id := coalesce(_after, _before)::json ->> _keys[1];
    IF TG_OP = 'UPDATE' THEN _old_row_id := _before::json ->> _keys[1]; END IF;
  END IF;
  IF cardinality(_keys) > 0
    AND (_row_id IS NULL OR length(_row_id) * 4 > {limit} OR length(_old_row_id) * 4 > {limit}) THEN
    _row_id := {row_id}(coalesce(_after, _before)::json, _keys, _kinds);
    IF TG_OP = 'UPDATE' THEN _old_row_id := {row_id}(_before::json, _keys, _kinds); END IF;
  END IF;
  IF _masked <> '{{}}' OR TG_OP = 'UPDATE' AND length(_after) > {long} THEN
    _after := {image}(_after::json, _before::json, _masked);
    IF _masked <> '{{}}' THEN _before := {image}(_before::json, NULL, _masked); END IF;
  END IF;{transaction}
  INSERT INTO {changelog} (transaction_id, "timestamp", actor, table_schema, table_name, row_id, old_row_id,
    event_type, before, after, source)
  VALUES (_transaction, clock_timestamp() AT TIME ZONE 'UTC', _actor, nullif(_schema, TG_ARGV[7]), _table, _row_id,
    nullif(_old_row_id, _row_id), TG_OP, _before, _after, 'trigger');
  RETURN NULL;
END
$function$"""
"""Records one row's change. Its arguments: signature, keys, their kinds, the query of images, masked columns by name;
excluded and masked columns by number; the default schema; `part` for what belongs to a partitioned table; the number
of the table's file, that of its next column, and that of its key's index."""

CAPTURE_TRUNCATE = """CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql {safe} AS $function$
DECLARE
  _plan record;
  _schema text;
  _table text;
  _transaction text;
  _actor text;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    -- This transaction's snapshot may be older than its lock: rows committed in between would go unseen.
    RAISE EXCEPTION 'the rows that a TRUNCATE of % removes can''t be recorded in a % transaction',
      TG_RELID::regclass, upper(current_setting('transaction_isolation'))
      USING ERRCODE = 'feature_not_supported', HINT = 'TRUNCATE in a READ COMMITTED transaction, or DELETE the rows';
  END IF;
  SELECT p.* INTO _plan FROM {plan}(TG_RELID, TG_ARGV[5]::int2[], TG_ARGV[6]::int2[]) AS p;{transaction}
  EXECUTE format($sql$
    INSERT INTO {changelog} (transaction_id, "timestamp", actor, table_schema, table_name, row_id, event_type, before,
      source)
    SELECT $1, clock_timestamp() AT TIME ZONE 'UTC', $2, $3, $4, {row_id}(row_to_json(x.*), $5, $6), 'TRUNCATE',
      CASE WHEN $7 = '{{}}' THEN row_to_json(x.*)::text ELSE {image}(row_to_json(x.*), NULL, $7) END, 'trigger'
    FROM (SELECT %s FROM ONLY %s AS r) AS x$sql$, _plan.columns_sql, TG_RELID::regclass)
  USING _transaction, _actor, nullif(_schema, TG_ARGV[7]), _table, _plan.keys, _plan.kinds, _plan.masked_names;
  RETURN NULL;
END
$function$"""
"""Records all rows of a table that is about to be emptied."""

_NUMBERS = """DECLARE
  _table regclass := {table};
  _excluded int2[] := ARRAY(SELECT attnum FROM pg_attribute WHERE attrelid = _table AND attname = ANY ({excluded}));
  _masked int2[] := ARRAY(SELECT attnum FROM pg_attribute WHERE attrelid = _table AND attname = ANY ({masked}));"""

ROW_TRIGGER = f"""-- {{signature}}
{_NUMBERS}
  _plan record;
BEGIN
  SELECT p.* INTO _plan FROM {{plan}}(_table, _excluded, _masked) AS p;
  EXECUTE format('CREATE OR REPLACE TRIGGER {{trigger}} AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW '
    'EXECUTE FUNCTION {{function}}(%L, %L, %L, %L, %L, %L, %L, %L, %L, %L, %L, %L)', _table, _plan.signature,
    _plan.keys, _plan.kinds, _plan.image_sql, _plan.masked_names, _excluded, _masked, current_schema(),
    (SELECT CASE relkind WHEN 'p' THEN 'part' ELSE '' END FROM pg_class WHERE oid = _table),
    coalesce(pg_relation_filenode(_table)::text, ''), (SELECT relnatts + 1 FROM pg_class WHERE oid = _table),
    coalesce((SELECT indexrelid FROM pg_index WHERE indrelid = _table AND indisprimary), 0));
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER {{trigger}}', _table);
END"""

TRUNCATE_TRIGGER = f"""-- {{signature}}
{_NUMBERS}
  _part regclass;
BEGIN
  FOR _part IN SELECT relid FROM pg_partition_tree(_table) WHERE isleaf
    UNION SELECT _table WHERE NOT EXISTS (SELECT 1 FROM pg_partition_tree(_table)) LOOP
    EXECUTE format('CREATE OR REPLACE TRIGGER {{trigger}} BEFORE TRUNCATE ON %s FOR EACH STATEMENT '
      'EXECUTE FUNCTION {{function}}('''', '''', '''', '''', '''', %L, %L, %L, %L)', _part, _excluded, _masked,
      current_schema(), CASE WHEN _part = _table THEN '' ELSE 'part' END);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER {{trigger}}', _part);
  END LOOP;
END"""
"""A partitioned table's rows are emptied leaf by leaf, so each leaf has one."""

DROP_TRIGGER = """DECLARE
  _part regclass;
BEGIN
  FOR _part IN SELECT t.tgrelid FROM pg_trigger AS t WHERE t.tgname = {trigger} AND t.tgparentid = 0
    AND coalesce(pg_partition_root(t.tgrelid), t.tgrelid) = to_regclass({table}) LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', {trigger}, _part);
  END LOOP;
END"""
