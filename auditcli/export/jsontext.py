"""JSON: one array, or one object a line; streamed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TextIO

from auditcli.export.form import change_to_json
from auditcli.model import Change

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def write_jsonl(changes: Iterable[Change], stream: TextIO) -> int:
    """One object a line."""
    written = 0
    for change in changes:
        stream.write(_encode(change_to_json(change)) + "\n")
        written += 1
    return written


def write_json(changes: Iterable[Change], stream: TextIO) -> int:
    """One array of objects, an object a line."""
    written = 0
    for change in changes:
        stream.write(",\n" if written else "[\n")
        stream.write(_encode(change_to_json(change)))
        written += 1
    stream.write("\n]\n" if written else "[]\n")
    return written
