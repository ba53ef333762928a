"""CSV and TSV: one change a line, the columns of its JSON form, images and context as JSON text.

Data stays data: a value that a spreadsheet would take for a formula is written as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from auditcli.export.form import Texts

_ODD_IN_CSV = re.compile('[,"\r\n]')
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def csv_row(cells: Iterable[str]) -> str:
    """A line of cells by commas; what needs it is quoted."""
    return ",".join(map(csv_cell, cells)) + "\n"


def tsv_row(cells: Iterable[str]) -> str:
    r"""A line of cells by tabs; tabs, line ends and backslashes in values are written `\t`, `\n`, `\r`, `\\`."""
    return "\t".join([cell.translate(_ESCAPES) for cell in cells]) + "\n"


def csv_cell(text: str) -> str:
    """A text as one cell."""
    return '"' + text.replace('"', '""') + '"' if _ODD_IN_CSV.search(text) else text


def csv_line(texts: Texts) -> str:
    """A change by commas; what is null is empty."""
    return csv_row(_cells(texts))


def tsv_line(texts: Texts) -> str:
    """A change by tabs; what is null is empty."""
    return tsv_row(_cells(texts))


def _cells(texts: Texts) -> list[str]:
    return [
        str(texts.id),
        texts.transaction_id or "",
        texts.timestamp,
        texts.actor or "",
        texts.schema or "",
        texts.table,
        texts.row_id or "",
        texts.old_row_id or "",
        texts.event_type,
        " ".join(texts.changed),
        _unless_empty(texts.before),
        _unless_empty(texts.after),
        texts.source,
        texts.reason or "",
        _unless_empty(texts.context),
    ]


def _unless_empty(text: str | None) -> str:
    return "" if text is None or text == "{}" else text
