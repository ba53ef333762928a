"""Changes as text for other programs: CSV, TSV, JSON, JSON lines or SQL, in files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TextIO

from auditcli.errors import UsageError
from auditcli.export.asked import Asked, Tally
from auditcli.export.form import COLUMNS, change_to_json
from auditcli.export.formats import Compression, ExportFormat, compression_of, format_of, named_format
from auditcli.export.layout import layout_of
from auditcli.export.manifest import manifest_of, manifest_path, manifest_text, read_manifest, tally_so_far
from auditcli.export.opening import check_compression, text_stream
from auditcli.export.resuming import check_appendable, resumed
from auditcli.export.texts import log_texts
from auditcli.log.reader import LogReader
from auditcli.model import Change
from auditcli.wholefile import appearing, appending

__all__ = [
    "COLUMNS",
    "Asked",
    "Compression",
    "ExportFormat",
    "Tally",
    "append_log",
    "change_to_json",
    "check_appendable",
    "check_layout",
    "compression_of",
    "export_changes",
    "export_log",
    "follow_log",
    "format_of",
    "named_format",
    "write_file",
    "write_log",
]

Told = Callable[[Tally], object]
"""Is told after each part how far an export has come."""


def export_changes(changes: Iterable[Change], format: ExportFormat | str, stream: TextIO) -> int:
    """Write changes as they come and return how many; a text stream should not translate line ends (`newline=""`)."""
    chosen = named_format(str(format))
    if chosen is ExportFormat.SQL:
        raise UsageError("statements are written of a whole log only", hint="use `audit export -o sql`")
    layout, tally = layout_of(chosen), Tally()
    stream.writelines(layout.parts(map(layout.text, tally.seen(changes))))
    return tally.count


def write_file(changes: Iterable[Change], path: Path, format: ExportFormat | str | None = None) -> int:
    """Write changes to a file that appears whole or not at all, and return how many.

    A file of that name is replaced at the end; until then, and where anything fails, it stays as it was.
    """
    chosen = format_of(path) if format is None else named_format(str(format))
    check_compression(compression_of(path))
    with (
        appearing(path) as unfinished,
        unfinished.open("wb") as file,
        text_stream(file, compression_of(path)) as stream,
    ):
        return export_changes(changes, chosen, stream)


def export_log(
    reader: LogReader, asked: Asked, stream: TextIO, *, now: datetime, tell: Told = lambda _tally: None
) -> Tally:
    """Write what is asked for of a log, and return what that was."""
    return _write(reader, asked, stream, Tally(), now=now, tell=tell)


def write_log(
    reader: LogReader,
    asked: Asked,
    path: Path,
    *,
    now: datetime,
    manifest: bool = False,
    tell: Told = lambda _tally: None,
) -> Tally:
    """The same to a file that appears whole or not at all, and its manifest after it."""
    check_compression(compression_of(path))
    with appearing(manifest_path(path)) if manifest else nullcontext() as beside, appearing(path) as unfinished:
        with unfinished.open("wb") as file, text_stream(file, compression_of(path)) as stream:
            tally = _write(reader, asked, stream, Tally(), now=now, tell=tell)
        if beside is not None:
            _write_manifest(reader, asked, tally, path, now, written=unfinished, beside=beside)
    return tally


def append_log(
    reader: LogReader,
    asked: Asked,
    path: Path,
    *,
    now: datetime,
    manifest: bool = False,
    tell: Told = lambda _tally: None,
) -> Tally:
    """Add to a file of an earlier export what it lacks of what is asked for, and return what that was.

    A line that was torn off is written anew; a file that is not there is made. What is interrupted is gone on with by
    the next call. Raises UsageError where the file is of another log, or can't be appended to.
    """
    check_appendable(asked, path)
    lacking = resumed(reader, asked, path)
    before = read_manifest(path)
    with appending(path, lacking.size) as file, text_stream(file, None) as stream:
        tally = _write(reader, lacking.asked, stream, Tally(), now=now, tell=tell, is_new=not lacking.size)
    if manifest or before is not None:
        whole = tally_so_far(before)
        whole.join(tally)
        asked = replace(asked, window=replace(asked.window, until_id=lacking.asked.window.until_id))
        with appearing(manifest_path(path)) as beside:
            _write_manifest(reader, asked, whole, path, now, written=path, beside=beside)
    return tally


def follow_log(
    committed: Iterable[Iterable[Change]], asked: Asked, stream: TextIO, tell: Told = lambda _tally: None
) -> None:
    """Write transactions as they come, each flushed, after what `append_log` or `export_log` has written."""
    layout, tally = layout_of(asked.format, cells=asked.cells), Tally()
    for changes in committed:
        stream.write("".join(map(layout.text, tally.seen(changes))))
        stream.flush()
        tell(tally)


def check_layout(asked: Asked) -> None:
    """Raise UsageError where the format has no such layout."""
    if asked.format is not ExportFormat.SQL or asked.cells:
        layout_of(asked.format, cells=asked.cells)


def _write(
    reader: LogReader, asked: Asked, stream: TextIO, tally: Tally, *, now: datetime, tell: Told, is_new: bool = True
) -> Tally:
    for part in log_texts(reader, asked, tally, now=now, is_new=is_new):
        stream.write(part)
        tell(tally)
    return tally


def _write_manifest(
    reader: LogReader, asked: Asked, tally: Tally, path: Path, now: datetime, *, written: Path, beside: Path
) -> None:
    told = manifest_of(reader, asked, tally, path, written=written, now=now)
    beside.write_text(manifest_text(told), encoding="utf-8")
