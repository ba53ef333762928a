"""CSV and TSV: one change a line, the columns of its JSON form, images and context as JSON text.

Data stays data: a value that a spreadsheet would take for a formula is written as it is.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from typing import Any, TextIO

from auditcli.export.form import COLUMNS, change_to_json
from auditcli.model import Change

_AS_JSON = ("before", "after", "context")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def write_csv(changes: Iterable[Change], stream: TextIO) -> int:
    """Comma-separated with a header; what is null is empty, what needs it is quoted."""
    lines = csv.writer(stream, lineterminator="\n")
    lines.writerow(COLUMNS)
    written = 0
    for change in changes:
        lines.writerow(_cells(change))
        written += 1
    return written


def write_tsv(changes: Iterable[Change], stream: TextIO) -> int:
    r"""Tab-separated with a header; tabs, line ends and backslashes in values are written `\t`, `\n`, `\r`, `\\`."""
    stream.write("\t".join(COLUMNS) + "\n")
    written = 0
    for change in changes:
        stream.write("\t".join(str(cell).translate(_ESCAPES) for cell in _cells(change)) + "\n")
        written += 1
    return written


def _cells(change: Change) -> list[Any]:
    form = change_to_json(change)
    form["changed"] = " ".join(form["changed"])
    for name in _AS_JSON:
        form[name] = _encode(form[name]) if form[name] else ""
    return ["" if form[name] is None else form[name] for name in COLUMNS]
