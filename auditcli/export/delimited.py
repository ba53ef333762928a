"""CSV and TSV: one change a line, the columns of its JSON form, images and context as JSON text.

Data stays data: a value that a spreadsheet would take for a formula is written as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from auditcli.export.form import Texts

_NEEDS_QUOTES = re.compile('[,"\r\n]')
_ODD_IN_CSV = re.compile('["\r\n]')
_WITH_QUOTES = (10, 11, 14)
"""Where images and context stand: no JSON object but an empty one is without quotation marks."""

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


def csv_line(texts: Texts) -> str:
    """A change by commas; what is null is empty."""
    cells = _cells(texts)
    for at in _WITH_QUOTES:
        if cells[at]:
            cells[at] = '"' + cells[at].replace('"', '""') + '"'
    *plain, old, new, source, reason, context = cells
    start = ",".join(plain)
    # One look at all of them: few have anything in them that needs it.
    if start.count(",") != len(plain) - 1 or _ODD_IN_CSV.search(start):
        start = ",".join(map(csv_cell, plain))
    return f"{start},{old},{new},{source},{csv_cell(reason)},{context}\n"


def tsv_line(texts: Texts) -> str:
    """A change by tabs; what is null is empty."""
    return tsv_row(_cells(texts))


def _cells(texts: Texts) -> list[str]:
    (at, by, moment, actor, schema, table, row, old_row, event, changed, before, after, source, reason, context) = texts
    old, new = "" if before is None or before == "{}" else before, "" if after is None or after == "{}" else after
    return [
        *(str(at), by or "", moment, actor or "", schema or "", table, row or "", old_row or "", event),
        *(" ".join(changed), old, new, source, reason or "", "" if context == "{}" else context),
    ]
