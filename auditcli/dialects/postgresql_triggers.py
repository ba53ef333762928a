"""PostgreSQL's capture as text: one function for all tables, and what each table's triggers tell it.

A table's triggers hand the function what is known of the table: its signature, the key, and the query that makes an
image where `row_to_json` alone would not do. When the signature does not fit the table any more, because a column was
added, renamed or given another type since or the table has another key, the function looks all of it up again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from auditcli import codec
from auditcli.dialects import postgresql_functions as texts
from auditcli.dialects.base import MARK, Fragment
from auditcli.dialects.capture import CaptureContext, CaptureObject, CaptureTable, LogNames
from auditcli.dialects.postgresql_shapes import BASE_TYPE, KIND, SIGNATURE
from auditcli.dialects.postgresql_text import dollars, literal, quoted, schema_sql, table_sql
from auditcli.dialects.postgresql_values import SETTINGS
from auditcli.model import TableName

TRANSACTION_SETTING = "auditcli.transaction_id"
TRIGGER_PREFIX = "Ra_auditcli_"
"""Sorts after the system's `RI_…`, and before nearly all other names: what they do to a row comes after its record."""

ROW_TRIGGER = f"{TRIGGER_PREFIX}capture"
TRUNCATE_TRIGGER = f"{TRIGGER_PREFIX}truncate"
_LOG_SCHEMA = "\0"
"""Stands for the log's schema, which is put in where a function or trigger is defined; no name can hold it."""

_SAFE = " ".join(
    [
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp",
        *(f"SET {name} = '{value}'" for name, value in SETTINGS.items()),
    ]
)


def capture_objects(log: LogNames, tables: Iterable[CaptureTable]) -> list[CaptureObject]:
    """The functions of the log, and the triggers of each table."""
    capture = _Capture(log)
    return [*capture.objects(), *(each for table in tables for each in capture.triggers(table))]


def installed_sql(log: LogNames) -> str:
    """Lists the triggers that call the log's functions, and the functions."""
    listed = ", ".join(literal(name) for name in _Capture(log).functions)
    of_log = f"pn.nspname = {schema_sql(log.changelog)} AND p.proname IN ({listed})"
    return f"""
SELECT kind, schema, name, object, is_enabled, text FROM (
SELECT 1 AS place, 'trigger' AS kind, NULLIF(n.nspname, current_schema())::text AS schema, c.relname::text AS name,
  t.tgname::text AS object, bool_and(t.tgenabled = 'A') AND (t.tgname <> {literal(TRUNCATE_TRIGGER)} OR count(*)
    = greatest(1, (SELECT count(*) FROM pg_partition_tree(c.oid) AS l WHERE l.isleaf))) AS is_enabled,
  string_agg(pg_get_triggerdef(t.oid), ' ' ORDER BY t.tgrelid) AS text
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = coalesce(pg_partition_root(t.tgrelid), t.tgrelid)
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_namespace AS pn ON pn.oid = p.pronamespace
WHERE {of_log} AND t.tgparentid = 0
GROUP BY n.nspname, c.oid, c.relname, t.tgname
UNION ALL SELECT 2, 'function', NULL, NULL, p.proname::text, true, pg_get_functiondef(p.oid)
FROM pg_proc AS p JOIN pg_namespace AS pn ON pn.oid = p.pronamespace WHERE {of_log}
) AS found ORDER BY place, schema, name, object"""


def triggered_sql(meta_table: TableName) -> str:
    """Lists the tables whose changes are recorded by the triggers of the log that has this table."""
    function = f"{meta_table.name.removesuffix('_meta')}_capture"
    return f"""
SELECT 'triggered', NULLIF(n.nspname, current_schema())::text, c.relname::text
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_namespace AS pn ON pn.oid = p.pronamespace
WHERE t.tgname = {literal(ROW_TRIGGER)} AND t.tgparentid = 0 AND p.proname = {literal(function)}
AND pn.nspname = {schema_sql(meta_table)}
AND (t.tgenabled = 'A' OR t.tgenabled = 'O' AND current_setting('session_replication_role') <> 'replica')"""


def drop_sql(kind: str, name: str, table: TableName | None, log: LogNames) -> str:
    """Drops one of the objects that `installed_sql` lists."""
    if kind == "trigger" and table is not None:
        return _do(texts.DROP_TRIGGER.format(trigger=literal(name), table=literal(table_sql(table))))
    return f"DROP FUNCTION IF EXISTS {table_sql(TableName(name, log.changelog.schema))}"


def send_context(context: CaptureContext) -> Fragment:
    """Tells the triggers of this transaction who writes and why; it ends with the transaction."""
    told = {
        TRANSACTION_SETTING: context.transaction_id,
        "auditcli.actor": context.actor,
        "auditcli.reason": context.reason,
        "auditcli.context": context.context,
        "auditcli.application": context.application,
        "auditcli.client": context.client,
    }
    calls = ", ".join(f"set_config('{name}', {MARK}, true)" for name in told)
    return Fragment(f"SELECT {calls}", tuple(value or "" for value in told.values()))


class _Capture:
    """What one log's capture is called, and its text."""

    def __init__(self, log: LogNames) -> None:
        name = log.changelog.name
        self._log = log
        self._capture, self._truncate = f"{name}_capture", f"{name}_capture_truncate"
        self._plan, self._row_id, self._image = f"{name}_capture_plan", f"{name}_row_id", f"{name}_image"
        self.functions = (self._row_id, self._image, self._plan, self._capture, self._truncate)
        # A setting's name takes no odd characters.
        header = f"auditcli.header_{hashlib.sha256(str(log.changelog).encode()).hexdigest()[:12]}"
        self._names = {
            "safe": _SAFE,
            "limit": str(codec.ROW_ID_LIMIT),
            "long_key": codec.LONG_KEY,
            "start": str(codec.LONG_KEY_START),
            "long": str(codec.SAME_OVER),
            "base_type": BASE_TYPE,
            "kind": KIND,
            "signature": SIGNATURE.format("TG_RELID"),
            "planned_signature": SIGNATURE.format("relation"),
            "changelog": _in_log(name),
            "plan": _in_log(self._plan),
            "image": _in_log(self._image),
            "row_id": _in_log(self._row_id),
            "transaction": texts.TRANSACTION.format(
                setting=TRANSACTION_SETTING, header=header, table=_in_log(log.transaction.name)
            ),
        }

    def objects(self) -> list[CaptureObject]:
        """The functions, those first that others call."""
        bodies = (texts.ROW_ID, texts.IMAGE, texts.PLAN, texts.CAPTURE, texts.CAPTURE_TRUNCATE)
        return [
            CaptureObject(
                "function",
                name,
                None,
                (self._defined(body.format(name=_in_log(name), **self._names)),),
                drop_sql("function", name, None, self._log),
            )
            for name, body in zip(self.functions, bodies, strict=True)
        ]

    def triggers(self, table: CaptureTable) -> list[CaptureObject]:
        """The triggers of one table."""
        return [
            self._trigger(table, ROW_TRIGGER, self._capture, texts.ROW_TRIGGER),
            self._trigger(table, TRUNCATE_TRIGGER, self._truncate, texts.TRUNCATE_TRIGGER),
        ]

    def _trigger(self, table: CaptureTable, name: str, function: str, body: str) -> CaptureObject:
        shape = table.shape
        create = body.format(
            trigger=quoted(name),
            table=literal(table_sql(shape.table)),
            function=_in_log(function).replace("'", "''").replace("%", "%%"),
            plan=_in_log(self._plan),
            excluded=_listed(table.excluded),
            masked=_listed(table.masked),
            # The text changes with the table, so that triggers which were made for other columns are found.
            signature=hashlib.sha256(f"{shape.signature} {shape.primary_key}".encode()).hexdigest(),
        )
        drop = drop_sql("trigger", name, shape.table, self._log)
        return CaptureObject("trigger", name, shape.table, (self._defined(_do(create)),), drop)

    def _defined(self, text: str) -> str:
        schema = schema_sql(self._log.changelog)
        parts = f" || quote_ident({schema}) || ".join(map(dollars, text.split(_LOG_SCHEMA)))
        return _do(f"BEGIN EXECUTE {parts}; END")


def _in_log(name: str) -> str:
    return f"{_LOG_SCHEMA}.{quoted(name)}"


def _do(block: str) -> str:
    return f"DO {dollars(block)}"


def _listed(names: Iterable[str]) -> str:
    return f"ARRAY[{', '.join(literal(name) for name in sorted(names))}]::text[]"
