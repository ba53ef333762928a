"""Changes as text for other programs: one form of a change, written as CSV, TSV, JSON or JSON lines."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TextIO, TypeAlias

from auditcli.errors import UsageError
from auditcli.export.delimited import write_csv, write_tsv
from auditcli.export.form import COLUMNS, change_to_json
from auditcli.export.jsontext import write_json, write_jsonl
from auditcli.model import Change

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
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="name a file in it")
    unfinished, written = _write_beside(changes, path, chosen)
    try:
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise _not_written(path, error) from error
    _flush_folder(path.parent)
    return written


def _write_beside(changes: Iterable[Change], path: Path, format: ExportFormat) -> tuple[Path, int]:
    """A finished file in the same folder, so that it can take the name in one step."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}-", suffix=".part")
    except OSError as error:
        raise _not_written(path, error) from error
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            written = export_changes(changes, format, stream)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.chmod(_permissions(path))
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _not_written(path, error) from error
        raise
    return unfinished, written


def _permissions(path: Path) -> int:
    """Those of the file that is replaced, else what a new file gets."""
    with suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _flush_folder(folder: Path) -> None:
    # Without this the new name may be lost in a crash; some systems don't open folders and keep names by themselves.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _not_written(path: Path, error: OSError) -> UsageError:
    if not path.parent.is_dir():
        return UsageError(
            f"no folder {path.parent} to write {path.name} to", hint="make it first, or name another file"
        )
    return UsageError(f"can't write {path}: {error.strerror or error}", hint="name a file that you may write")
