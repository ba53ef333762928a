"""How a tracked connection hands its context to SQLite's capture triggers.

Triggers of the main database can't see what belongs to one connection only. So a TEMP trigger on the log stands in the
way of each record and puts one in its place that has the context, which a TEMP table holds. A context in a table of the
main database would be found by whoever writes next.
"""

from __future__ import annotations

from auditcli.dialects.base import MARK
from auditcli.dialects.capture import CaptureContext, LogNames
from auditcli.dialects.sqlite_images import quoted

CONTEXT_TABLE = "auditcli_context"
_COLUMNS = "timestamp, table_schema, table_name, row_id, old_row_id, event_type, before, after, source"


def send_context(log: LogNames, context: CaptureContext) -> list[tuple[str, tuple[str | None, ...]]]:
    """Statements that put a context where only this connection's writes find it."""
    values = (
        context.transaction_id,
        context.actor or None,
        context.reason or None,
        context.context,
        context.client,
        context.application,
    )
    columns = "transaction_id TEXT, actor TEXT, reason TEXT, context TEXT, client TEXT, application TEXT"
    return [
        (f"CREATE TEMP TABLE IF NOT EXISTS {CONTEXT_TABLE} ({columns}, told_at TEXT)", ()),
        (_record_trigger(log, "hand_over", "told_at IS NOT NULL"), ()),
        (_record_trigger(log, "hand_over_first", "told_at IS NULL", tells=True), ()),
        (_header_trigger(log), ()),
        (clear_context(), ()),
        (f"INSERT INTO temp.{CONTEXT_TABLE} VALUES ({', '.join([MARK] * len(values))}, NULL)", values),
    ]


def clear_context() -> str:
    """Takes the context back."""
    return f"DELETE FROM temp.{CONTEXT_TABLE}"


def _record_trigger(log: LogNames, what: str, condition: str, *, tells: bool = False) -> str:
    """A record with the context in place of one without; to change it afterwards would touch its indexes again.

    Only the first one of a context `tells` it to the transaction's header.
    """
    changelog = quoted(log.changelog.name)
    values = ", ".join(f"NEW.{column}" for column in _COLUMNS.split(", "))
    tell = f"\n  UPDATE {CONTEXT_TABLE} SET told_at = NEW.timestamp;" if tells else ""
    return f"""CREATE TEMP TRIGGER IF NOT EXISTS {quoted(f"auditcli_{what}_{log.changelog.name}")}
BEFORE INSERT ON main.{changelog}
WHEN NEW.transaction_id IS NULL AND NEW.source = 'trigger' AND EXISTS (SELECT 1 FROM {CONTEXT_TABLE} WHERE {condition})
BEGIN
  INSERT INTO {changelog} (transaction_id, actor, {_COLUMNS}) VALUES (
    (SELECT transaction_id FROM {CONTEXT_TABLE}), (SELECT actor FROM {CONTEXT_TABLE}), {values});{tell}
  SELECT RAISE(IGNORE);
END"""


def _header_trigger(log: LogNames) -> str:
    header = quoted(log.transaction.name)
    return f"""CREATE TEMP TRIGGER IF NOT EXISTS {quoted(f"auditcli_tell_{log.transaction.name}")}
AFTER UPDATE OF told_at ON {CONTEXT_TABLE}
WHEN NOT EXISTS (SELECT 1 FROM main.{header} AS h WHERE h.transaction_id = NEW.transaction_id)
BEGIN
  INSERT INTO {header} (transaction_id, timestamp, reason, context, client, application)
    VALUES (NEW.transaction_id, NEW.told_at, NEW.reason, NEW.context, NEW.client, NEW.application);
END"""
