"""Changes as text for other programs: one form of a change, written as CSV, TSV, JSON or JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TextIO, TypeAlias

from auditcli.errors import UsageError
from auditcli.export.delimited import write_csv, write_tsv
from auditcli.export.form import COLUMNS, change_to_json
from auditcli.export.jsontext import write_json, write_jsonl
from auditcli.model import Change
from auditcli.wholefile import appearing

__all__ = ["COLUMNS", "ExportFormat", "change_to_json", "export_changes", "format_of", "write_file"]

Writer: TypeAlias = Callable[[Iterable[Change], TextIO], int]


class ExportFormat(StrEnum):
    """What changes can be written as."""

    CSV = "csv"
    TSV = "tsv"
    JSON = "json"
    JSONL = "jsonl"


_WRITERS: Mapping[ExportFormat, Writer] = {
    ExportFormat.CSV: write_csv,
    ExportFormat.TSV: write_tsv,
    ExportFormat.JSON: write_json,
    ExportFormat.JSONL: write_jsonl,
}


def export_changes(changes: Iterable[Change], format: ExportFormat | str, stream: TextIO) -> int:
    """Write changes as they come and return how many; a text stream should not translate line ends (`newline=""`)."""
    return _WRITERS[named_format(str(format))](changes, stream)


def named_format(name: str) -> ExportFormat:
    """The format of that name."""
    try:
        return ExportFormat(name.lower())
    except ValueError as error:
        raise UsageError(f"no export format {name!r}", hint=f"formats: {', '.join(ExportFormat)}") from error


def format_of(path: Path) -> ExportFormat:
    """The format that a file's suffix names."""
    suffix = path.suffix.lstrip(".").lower()
    if suffix == "ndjson":
        return ExportFormat.JSONL
    try:
        return ExportFormat(suffix)
    except ValueError as error:
        raise UsageError(
            f"{path.name} does not say in which format to write it",
            hint=f"end its name in {', '.join('.' + each for each in ExportFormat)}, or give `-o FORMAT`",
        ) from error


def write_file(changes: Iterable[Change], path: Path, format: ExportFormat | str | None = None) -> int:
    """Write changes to a file that appears whole or not at all, and return how many.

    A file of that name is replaced at the end; until then, and where anything fails, it stays as it was.
    """
    chosen = format_of(path) if format is None else named_format(str(format))
    with (
        appearing(path) as unfinished,
        unfinished.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        return export_changes(changes, chosen, stream)
