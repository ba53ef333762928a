"""Printing tables as they were: one table as its rows, several so that each row tells its table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from auditcli.cli.context import AppContext
from auditcli.cli.formats import Format, table_lines, write_delimited, write_json
from auditcli.errors import UsageError

if TYPE_CHECKING:
    from auditcli.asof import Past
    from auditcli.model import Image, JsonValue, TableName
    from auditcli.present import Line
    from auditcli.related import Member

_MEMBER_COLUMNS = ("depth", "table", "row_id", "refers_by", "image")
_UNKNOWN = "?"
"""Stands in a table for a value that nobody knows."""


def print_past(app: AppContext, asked: str | None, past: Past, *, is_single: bool) -> None:
    """The tables in the format that was asked for; `is_single` says that one table was named."""
    form = app.out.format(asked)
    if form is Format.TABLE:
        with app.out.paged():
            for table in past.tables:
                app.out.lines(_table(str(table.table), table.columns, past.rows(table)))
    elif form in (Format.CSV, Format.TSV):
        _print_delimited(app, form, past)
    elif is_single:
        write_json(app.out.machine_stream, form, past.rows(past.tables[0]))
    elif form is Format.JSONL:
        write_json(app.out.machine_stream, form, _rows_with_tables(past))
    else:
        _print_object(app, past)


def print_members(app: AppContext, asked: str | None, members: Sequence[tuple[Member, Image]]) -> None:
    """Rows that refer to each other, as they were; in a table those of one table stand together."""
    if app.out.format(asked) is not Format.TABLE:
        records = [
            {
                "depth": member.depth,
                "table": str(member.table),
                "row_id": None if member.row is None else member.row.row_id,
                "refers_by": None if member.reference is None else list(member.reference.columns),
                "image": image,
            }
            for member, image in members
        ]
        app.out.records(asked, _MEMBER_COLUMNS, records)
        return
    tables: dict[TableName, list[Image]] = {}
    for member, image in members:
        tables.setdefault(member.table, []).append(image)
    with app.out.paged():
        for table, images in tables.items():
            columns = tuple(dict.fromkeys(column for image in images for column in image))
            app.out.lines(_table(str(table), columns, images))


def _table(name: str, columns: Sequence[str], images: Iterable[Image]) -> Iterator[Line]:
    from auditcli.present import Span, Style, counted, value_text

    rows = [[value_text(image[column]) if column in image else _UNKNOWN for column in columns] for image in images]
    yield (Span(name, Style.IDENTITY), Span(f"  {counted(len(rows), 'row')}", Style.DIM))
    yield from table_lines(columns, rows)
    yield ()


def _print_delimited(app: AppContext, form: Format, past: Past) -> None:
    if len(past.tables) > 1:
        raise UsageError(
            f"{form.value} holds one table, and there were {len(past.tables)}",
            hint="choose one with --table, or print them all with -o jsonl",
        )
    for table in past.tables:
        rows = ([_number(image.get(column)) for column in table.columns] for image in past.rows(table))
        write_delimited(app.out.machine_stream, form, table.columns, rows)


def _number(value: JsonValue) -> JsonValue:
    """A number as it is written, without the tag that says how exact it is; any other value as it is."""
    if isinstance(value, dict) and len(value) == 1:
        return value.get("$decimal", value.get("$float", value))
    return value


def _rows_with_tables(past: Past) -> Iterator[dict[str, object]]:
    for table in past.tables:
        for image in past.rows(table):
            yield {"table": str(table.table), "row": image}


def _print_object(app: AppContext, past: Past) -> None:
    """One array of tables, their rows as they come."""
    stream = app.out.machine_stream
    separator = "[\n"
    for table in past.tables:
        stream.write(f'{separator}{{"table": {app.out.json_text(str(table.table))}, "rows": ')
        write_json(stream, Format.JSON, past.rows(table))
        stream.write("}")
        separator = ",\n"
    stream.write("[]\n" if separator == "[\n" else "\n]\n")
