"""`audit at`: the tables as they were, printed, or written into another database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.elsewhere import ask_before, find_other, is_missing, other_database, refuse_same
from auditcli.cli.options import FormatOptions, WhoOptions
from auditcli.cli.pasts import print_past
from auditcli.cli.who import actor_of
from auditcli.errors import UsageError

if TYPE_CHECKING:
    from auditcli.asof import Past
    from auditcli.config import Target
    from auditcli.connect import Database
    from auditcli.log.reader import LogReader
    from auditcli.model import TableName


@dataclass(frozen=True)
class RestoreFlags:
    """Where to write the tables instead of printing them."""

    to: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="Write them into this new database: a URL or a file.")
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --to: check, write nothing.")] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --to: don't ask.")] = False
    confirm: Annotated[str | None, typer.Option(metavar="WORD", help="The word that a protected target wants.")] = None
    lock_timeout: Annotated[
        float, typer.Option("--lock-timeout", min=0, metavar="SECONDS", help="How long to wait for a lock.")
    ] = 5.0


def at(
    app: AppContext,
    form: FormatOptions,
    restoring: RestoreFlags,
    who: WhoOptions,
    position: Annotated[str, typer.Argument(metavar="POSITION", help="A time, a change id, tx:ID or @mark.")],
    tables: Annotated[
        list[str] | None, typer.Option("--table", metavar="TABLE", help="Only this table; may be repeated.")
    ] = None,
) -> None:
    """Show the tables as they were at a position, or write them into a new database; nothing here is changed.

    Rows that are there now come in the order of their key; those that were deleted or got another key follow them.

    Examples:
      audit at 20m --table orders
      audit at @before-import --table orders -o csv > orders.csv
      audit at 'yesterday 14:00' -o jsonl
      audit at 'yesterday 14:00' --to copy.db
    """
    _check(form, restoring)
    if restoring.to is None:
        with app.log() as reader, _past(app, reader, position, tables) as past:
            print_past(app, form.format, past, is_single=len(tables or ()) == 1)
        return
    target = find_other(restoring.to, who, dry_run=restoring.dry_run)
    refuse_same(app.target, target)
    app.out.note(f"target: {target.masked_url}")
    with app.database() as source, source.log() as reader, _past(app, reader, position, tables) as past:
        _restore(app, source, target, past, restoring, who)


def _check(form: FormatOptions, restoring: RestoreFlags) -> None:
    if restoring.to is not None and form.format is not None:
        raise UsageError("--to writes a database, and --format is for printing", hint="give one of them")
    if restoring.to is None and (restoring.dry_run or restoring.yes or restoring.confirm is not None):
        raise UsageError("nothing is written without --to", hint="add --to URL, or leave --dry-run and --yes out")


@contextmanager
def _past(app: AppContext, reader: LogReader, word: str, tables: list[str] | None) -> Iterator[Past]:
    """The tables at the position, after saying which point that is and what is not known of them."""
    from auditcli.asof import as_of
    from auditcli.position import AtTime
    from auditcli.present import caveat_texts

    position = app.position(word)
    place = app.boundary(reader, position)
    wanted = None if not tables else _named(reader, tables)
    moment = position.moment if isinstance(position, AtTime) else None
    app.out.note(_point(app, reader, place))
    with app.out.progress() as tell, as_of(reader, place, wanted=wanted, moment=moment, tell=tell) as past:
        for text in caveat_texts(past.caveats, utc=app.out.utc):
            app.out.note(f"note: {text}")
        if past.unrecorded:
            from auditcli.present import wrapped_names

            app.out.note(f"note: not recorded, and left out: {wrapped_names(past.unrecorded, 12)}")
        yield past


def _named(reader: LogReader, words: Iterable[str]) -> list[TableName]:
    from auditcli.asof import recorded_tables
    from auditcli.filters.rowword import parse_table

    known = recorded_tables(reader)
    return list(dict.fromkeys(parse_table(word, known) for word in words))


def _point(app: AppContext, reader: LogReader, place: int) -> str:
    from auditcli.present import time_text, visible

    last = reader.id_at_or_before(place)
    if not last:
        return "as it was before the first change of the log"
    change = reader.change(last)
    by = "" if change.actor is None else f" by {visible(change.actor)}"
    return f"as it was after change #{last}, {time_text(change.timestamp, utc=app.out.utc)}{by}"


def _restore(
    app: AppContext, source: Database, target: Target, past: Past, restoring: RestoreFlags, who: WhoOptions
) -> None:
    from auditcli.present import counted
    from auditcli.restore import check_restore, restore

    rows = sum(each.rows for each in past.tables)
    size = f"{counted(len(past.tables), 'table')} with {counted(rows, 'row')}"
    if restoring.dry_run and is_missing(target):
        app.out.note(f"a dry run: would make the file, and write {size}")
        return
    opened = other_database(target, create=True, hint="", lock_timeout=restoring.lock_timeout)
    with opened as database, app.out.progress() as tell:
        check_restore(past, source, database)
        if restoring.dry_run:
            app.out.note(f"a dry run: would write {size}")
            return
        question = f"write {size} into {target.masked_url}?"
        ask_before(app, target, question, yes=restoring.yes, confirm=restoring.confirm)
        done = restore(
            past,
            source,
            database,
            actor=actor_of(who),
            reason=who.reason,
            tell=lambda written: tell(f"{written:,} of {rows:,} rows written"),
        )
    for note in done.notes:
        app.out.note(note)
    app.out.note(f"wrote {counted(done.tables, 'table')} with {counted(done.rows, 'row')}")
