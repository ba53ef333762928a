"""The forms in which lists are printed: a table for people, TSV, CSV and JSON for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

if TYPE_CHECKING:
    from auditcli.present import Line

Record: TypeAlias = Mapping[str, Any]

GAP = "  "
"""What stands between the columns of a table."""

_NARROWEST = 4
_TSV_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Format(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    TSV = "tsv"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"


def write_delimited(stream: TextIO, form: Format, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A header and rows, by commas or tabs; nothing where there are no rows. A TSV cell has no tabs or line ends."""
    writer = csv.writer(stream, lineterminator="\n")
    for number, row in enumerate(rows):
        texts = [machine_text(value) for value in row]
        for line in (columns, texts) if number == 0 else (texts,):
            if form is Format.CSV:
                writer.writerow(line)
            else:
                stream.write("\t".join(text.translate(_TSV_ESCAPES) for text in line) + "\n")


def write_json(stream: TextIO, form: Format, records: Iterable[Record]) -> None:
    """Records as JSON lines, or as one array."""
    if form is Format.JSONL:
        stream.writelines(json_text(record) + "\n" for record in records)
        return
    separator = "[\n"
    for record in records:
        stream.write(separator + json_text(record))
        separator = ",\n"
    stream.write("[]\n" if separator == "[\n" else "\n]\n")


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], room: int | None = None, whole: Collection[str] = ()
) -> list[Line]:
    """A table that fits into the room that there is: the widest columns give way, those in `whole` never."""
    from auditcli.present import Span, Style, text_width

    if not rows:
        return []
    widths = [max(text_width(line[position]) for line in (columns, *rows)) for position in range(len(columns))]
    too_much = 0 if room is None else sum(widths) + len(GAP) * (len(columns) - 1) - room
    for _ in range(too_much):
        cut = [at for at, name in enumerate(columns) if name not in whole and widths[at] > _NARROWEST]
        if not cut:
            break
        widths[max(cut, key=widths.__getitem__)] -= 1
    return [
        (Span(_joined(columns, widths), Style.STRONG),),
        *((Span(_joined(row, widths)),) for row in rows),
    ]


def machine_text(value: object) -> str:
    """A value as the text of one cell; names in a list stand side by side."""
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, list) and all(isinstance(each, str) for each in plain):
        return " ".join(plain)
    return plain if isinstance(plain, str) else json_text(plain) if isinstance(plain, dict | list) else str(plain)


def json_text(value: object) -> str:
    """A value as JSON, its times in UTC."""
    return json.dumps(_plain(value), ensure_ascii=False)


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(_fitted(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _fitted(cell: str, width: int) -> str:
    from auditcli.present import text_width

    if text_width(cell) > width:
        while text_width(cell) > width - 1:
            cell = cell[:-1]
        cell += "…"
    return cell + " " * (width - text_width(cell))


def _plain(value: object) -> object:
    """A value in the types of JSON; times in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)
