"""`audit mark`: positions with a name."""

from __future__ import annotations

from typing import Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.options import FormatOptions, WhoOptions
from auditcli.cli.who import actor_of, check_reason
from auditcli.errors import UsageError

_COLUMNS = ("mark", "change", "timestamp", "actor", "reason")


def mark(
    app: AppContext,
    who: WhoOptions,
    form: FormatOptions,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The name of this position.")] = None,
    at: Annotated[str | None, typer.Option(metavar="POSITION", help="Mark this position instead of now.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the marks.")] = False,
    delete: Annotated[str | None, typer.Option("--delete", metavar="MARK", help="Forget a mark.")] = None,
) -> None:
    """Give a position of the log a name, to be used as @NAME.

    Examples:
      audit mark before-import -m 'spring prices'
      audit mark friday --at 'friday 18:00'
      audit mark --list
    """
    if sum((name is not None, listing, delete is not None)) != 1:
        raise UsageError("mark takes a NAME, --list or --delete NAME", hint="give exactly one of them")
    if at is not None and name is None:
        raise UsageError("--at needs a mark to set", hint="add a NAME")
    if listing:
        _list(app, form)
    elif delete is not None:
        _delete(app, who, delete.removeprefix("@"))
    else:
        _set(app, who, str(name), at)


def _list(app: AppContext, form: FormatOptions) -> None:
    from auditcli.log.marks import list_marks

    with app.log() as reader:
        records = [
            {
                "mark": each.name,
                "change": each.change_id,
                "timestamp": each.timestamp,
                "actor": each.actor,
                "reason": each.reason,
            }
            for each in list_marks(reader.connection, reader.tables)
        ]
        app.out.records(form.format, _COLUMNS, records)


def _set(app: AppContext, who: WhoOptions, name: str, at: str | None) -> None:
    from auditcli.clock import utc_now
    from auditcli.log.marks import set_mark

    check_reason(app.target, who)
    with app.database(writing=True) as database, database.log() as reader:
        app.out.note(f"target: {database.target.masked_url}")
        change_id = app.boundary(reader, None if at is None else app.position(at))
        actor = actor_of(who)
        set_mark(reader.connection, reader.tables, name, change_id, now=utc_now(), actor=actor, reason=who.reason)
        reader.connection.commit()
        app.out.note(f"@{name} stands after change {change_id}")


def _delete(app: AppContext, who: WhoOptions, name: str) -> None:
    from auditcli.log.marks import delete_mark

    check_reason(app.target, who)
    with app.database(writing=True) as database, database.log() as reader:
        app.out.note(f"target: {database.target.masked_url}")
        forgotten = delete_mark(reader.connection, reader.tables, name)
        reader.connection.commit()
        app.out.note(f"@{forgotten.name} is forgotten; it stood after change {forgotten.change_id}")
