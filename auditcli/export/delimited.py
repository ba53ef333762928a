"""CSV and TSV: one change a line, the columns of its JSON form, images and context as JSON text.

Data stays data: a value that a spreadsheet would take for a formula is written as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from auditcli.export.form import Columns, Texts, by_value

_NEEDS_QUOTES = re.compile('[,"\r\n]')
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def csv_row(cells: Iterable[str]) -> str:
    """A line of cells by commas; what needs it is quoted."""
    return ",".join(map(csv_cell, cells)) + "\n"


def tsv_row(cells: Iterable[str]) -> str:
    r"""A line of cells by tabs; tabs, line ends and backslashes in values are written `\t`, `\n`, `\r`, `\\`."""
    return "\t".join([cell.translate(_ESCAPES) for cell in cells]) + "\n"


def csv_cell(text: str) -> str:
    """A text as one cell."""
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


def csv_lines(columns: Columns) -> Iterable[str]:
    """Changes by commas; what is null is empty."""
    (ids, by, moment, actor, schema, table, row, old_row, event, changed, before, after, source, reason, context) = (
        columns
    )
    cells = (
        *(map(str, ids), by_value(by, _csv_text), moment),
        *(by_value(values, _csv_text) for values in (actor, schema, table)),
        *(_csv_texts(row), by_value(old_row, _csv_text), event, by_value(changed, _csv_names)),
        *(_csv_objects(before), _csv_objects(after)),
        *(source, by_value(reason, _csv_text), by_value(context, _csv_context)),
    )
    return map(",".join, zip(*cells, strict=True))


def tsv_lines(columns: Columns) -> Iterable[str]:
    """Changes by tabs; what is null is empty."""
    return (tsv_row(_cells(texts)) for texts in zip(*columns, strict=True))


def _csv_text(text: str | None) -> str:
    return "" if text is None else csv_cell(text)


def _csv_names(names: Sequence[str]) -> str:
    return csv_cell(" ".join(names))


def _csv_context(text: str) -> str:
    return "\n" if text == "{}" else csv_cell(text) + "\n"


def _csv_texts(texts: Sequence[str | None]) -> Iterable[str]:
    """Texts that differ, each as a cell; one look at all of them: few have anything in them that needs it."""
    known = [text or "" for text in texts]
    return map(csv_cell, known) if _NEEDS_QUOTES.search("".join(known)) else known


def _csv_objects(texts: Sequence[str | None]) -> Iterable[str]:
    """Images, each as a cell; no JSON object but an empty one is without quotation marks."""
    known = ["" if text is None or text == "{}" else text for text in texts]
    joined = "\n".join(known)
    if "" in known or joined.count("\n") >= len(known):
        return [text and csv_cell(text) for text in known]
    return f'"{joined}"'.replace('"', '""').replace("\n", '"\n"')[1:-1].split("\n")


def _cells(texts: Texts) -> list[str]:
    (at, by, moment, actor, schema, table, row, old_row, event, changed, before, after, source, reason, context) = texts
    old, new = "" if before is None or before == "{}" else before, "" if after is None or after == "{}" else after
    return [
        *(str(at), by or "", moment, actor or "", schema or "", table, row or "", old_row or "", event),
        *(" ".join(changed), old, new, source, reason or "", "" if context == "{}" else context),
    ]
