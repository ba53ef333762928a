"""`audit status`: which database, and what its log holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from auditcli.cli.context import AppContext
from auditcli.cli.formats import Format
from auditcli.cli.options import FormatOptions

if TYPE_CHECKING:
    from auditcli.config import Target
    from auditcli.log.verified import Verified
    from auditcli.status import Status, TableStatus

_COLUMNS = ("table", "changes", "last_id", "capture")


def status(app: AppContext, form: FormatOptions) -> None:
    """Say which database was chosen and why, what is tracked and how, and what happened last.

    Examples:
      audit status
      audit status -u shop.db
      audit status -o json | jq .changes
    """
    from auditcli.status import count_tables, read_status

    chosen = app.out.format(form.format)
    if chosen is Format.TABLE:
        _tell_target(app, app.target)
    with app.log() as reader:
        found = read_status(reader)
        if chosen is Format.TABLE:
            _tell_log(app, found)
        with app.watching(reader, "counted"):
            tables = count_tables(reader)
        if chosen in (Format.JSON, Format.JSONL):
            app.out.text(app.out.json_text(_facts(app.target, found, tables)) + "\n")
            return
        if chosen is Format.TABLE:
            _tell_size(app, tables)
        app.out.records(form.format, _COLUMNS, _table_records(tables))


def _facts(target: Target, found: Status, tables: Sequence[TableStatus]) -> dict[str, Any]:
    return {
        "database": target.masked_url,
        "chosen_by": target.origin,
        "read_only": target.read_only,
        "protected": target.protected,
        "log_uuid": found.log.uuid,
        "log_version": found.log.version,
        "changes": sum(each.changes for each in tables),
        "first_at": found.first_at,
        "last_id": found.last and found.last.id,
        "last_at": found.last and found.last.timestamp,
        "last_actor": found.last and found.last.actor,
        "last_verify": found.verified and found.verified.to_json(),
        "tables": _table_records(tables),
    }


def _table_records(tables: Sequence[TableStatus]) -> list[dict[str, Any]]:
    return [
        {"table": str(each.table), "changes": each.changes, "last_id": each.last_id, "capture": each.capture}
        for each in tables
    ]


def _tell_target(app: AppContext, target: Target) -> None:
    flags = [word for word, is_set in (("read-only", target.read_only), ("protected", target.protected)) if is_set]
    app.out.note(f"database   {target.masked_url}{''.join(f' ({flag})' for flag in flags)}")
    app.out.note(f"chosen by  {target.origin}")


def _tell_log(app: AppContext, found: Status) -> None:
    from auditcli.clock import utc_now
    from auditcli.present import ago, counted, time_text

    older = "; `audit init` would upgrade it" if found.log.is_older else ""
    app.out.note(f"log        version {found.log.version}{older}")
    if found.last is not None:
        when = f"{time_text(found.last.timestamp, utc=app.out.utc)} ({ago(found.last.timestamp, utc_now())})"
        app.out.note(f"last       #{found.last.id} {when} by {found.last.actor or 'nobody named'}")
    if found.verified is None:
        app.out.note("verified   never: `audit verify` proves that nothing was missed")
    else:
        app.out.note(f"verified   {_outcome(app, found.verified)}")
    if found.open_gaps:
        app.out.note(f"gaps       {counted(found.open_gaps, 'table')} not recorded at present")


def _outcome(app: AppContext, verified: Verified) -> str:
    from auditcli.clock import utc_now
    from auditcli.present import ago, counted, time_text

    when = f"{time_text(verified.at, utc=app.out.utc)} ({ago(verified.at, utc_now())})"
    missed = counted(verified.differences, "difference") if verified.differences else "nothing was missed"
    return f"#{verified.until_id} {when}: {missed}"


def _tell_size(app: AppContext, tables: Sequence[TableStatus]) -> None:
    from auditcli.present import counted

    app.out.note(f"changes    {sum(each.changes for each in tables):,} of {counted(len(tables), 'table')}")
