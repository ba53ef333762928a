"""Going on with a file that was exported before: where it ends, what it lacks, and whether it is of this log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select

from auditcli.errors import UsageError
from auditcli.export.asked import Asked
from auditcli.export.formats import ExportFormat, compression_of
from auditcli.export.layout import layout_of
from auditcli.export.manifest import manifest_path, read_manifest
from auditcli.log.positions import window
from auditcli.log.reader import LogReader

_JSON_ID = re.compile(rb'\{"(?:change_)?id":(\d+),')
_FIRST_FIELD = re.compile(rb"(\d+)[,\t]")


@dataclass(frozen=True)
class _Line:
    """A line of the file: whose change it is about, and where it begins and ends (in bytes)."""

    change_id: int
    start: int
    end: int


@dataclass(frozen=True)
class Resumed:
    """What is still to be exported, and how many bytes of the file are kept."""

    asked: Asked
    size: int


def check_appendable(asked: Asked, path: Path | None, *, with_manifest: bool = False, grows: bool = False) -> None:
    """Raise UsageError where nothing can be appended to such a file, or its manifest would not be true any more."""
    if path is None:
        raise UsageError("there is no file to go on with", hint="name the FILE, or use --since")
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="name a file in it")
    if not asked.grows:
        raise UsageError(f"{asked.format} has an end, so nothing can be appended", hint="write csv, tsv or jsonl")
    if compression_of(path) is not None:
        raise UsageError(f"{path.name} is compressed, so nothing can be appended to it", hint="write it uncompressed")
    manifest = read_manifest(path) if path.exists() else None
    if with_manifest and manifest is None and path.exists():
        raise UsageError(f"{path} has no manifest to go on with", hint="export it anew with --manifest")
    if grows and manifest is not None:
        raise UsageError(f"{path} has a manifest, which is about a finished file", hint="leave --follow out")


def resumed(reader: LogReader, asked: Asked, path: Path) -> Resumed:
    """What the file lacks of what is asked for; raises UsageError where it is of another log, or no such export.

    The file goes on after its highest id; of transactions that began before and ended after that, it may have a part.
    """
    if not path.exists():
        return Resumed(asked, 0)
    _check_manifest(reader, asked, path)
    size, highest = _end(asked, path)
    if not highest:
        return Resumed(asked, size)
    exists, _ = reader.transaction_at(highest)
    if not exists:
        raise UsageError(f"{path} has change {highest}, which is not in this log", hint="name another file")
    until_id = asked.window.until_id
    if until_id is not None and until_id <= highest:
        return Resumed(replace(asked, window=window(reader, highest, highest)), size)
    further = window(reader, highest, until_id)
    already = _ids_in(asked, path, size, _ids_begun(reader, further.carried, highest))
    return Resumed(replace(asked, window=further, already=already), size)


def _check_manifest(reader: LogReader, asked: Asked, path: Path) -> None:
    manifest = read_manifest(path)
    if manifest is None:
        return
    if manifest.get("log_uuid") != reader.log_uuid():
        raise UsageError(f"{path} was exported from another log, says its manifest", hint="name another file")
    if manifest.get("selection") != asked.words:
        raise UsageError(
            f"{path} has another selection, says its manifest: {manifest.get('selection') or 'everything'}",
            hint=f"select the same, or remove {manifest_path(path).name}",
        )


def _end(asked: Asked, path: Path) -> tuple[int, int]:
    """Up to where the file is whole, and the highest id that it has; a line that was torn off is not counted."""
    opening = layout_of(asked.format, cells=asked.cells).opening.encode()
    with path.open("rb") as file:
        begun = file.read(len(opening))
    if begun != opening and not opening.startswith(begun):
        raise UsageError(f"{path} does not begin as {asked.format} of this kind does", hint="name another file")
    size = len(opening) if begun == opening else 0
    highest = previous = 0
    last: _Line | None = None
    for line in _lines(asked, path):
        if last is None or last.change_id != line.change_id:
            previous = max(previous, last.change_id) if last is not None else 0
            last = replace(line)
        else:
            last = replace(last, end=line.end)
        highest = max(highest, line.change_id)
    if last is None:
        return size, 0
    # Of the last change there may be more cells than there are lines.
    return (last.start, previous) if asked.cells else (last.end, highest)


def _lines(asked: Asked, path: Path) -> Iterator[_Line]:
    """The whole lines of the file but its header; a line of CSV may have line ends in it."""
    found = _JSON_ID if asked.format is ExportFormat.JSONL else _FIRST_FIELD
    at = len(layout_of(asked.format, cells=asked.cells).opening.encode())
    start, is_open, first = at, False, b""
    with path.open("rb") as file:
        file.seek(at)
        for part in file:
            at += len(part)
            first = first or part
            is_open ^= asked.format is ExportFormat.CSV and part.count(b'"') % 2 == 1
            if is_open or not part.endswith(b"\n"):
                continue
            match = found.match(first)
            if match is None:
                raise UsageError(f"{path} has a line at byte {start} that is no change", hint="name another file")
            yield _Line(int(match[1]), start, at)
            start, first = at, b""


def _ids_begun(reader: LogReader, transactions: frozenset[str], highest: int) -> frozenset[int]:
    """The records up to an id of transactions that go on after it."""
    log = reader.tables.changelog.c
    found: set[int] = set()
    for batch in reader.batches(sorted(transactions)):
        found.update(reader.execute(select(log.id).where(log.transaction_id.in_(batch), log.id <= highest)).scalars())
    return frozenset(found)


def _ids_in(asked: Asked, path: Path, size: int, wanted: frozenset[int]) -> frozenset[int]:
    """Which of these ids the kept part of the file has."""
    if not wanted:
        return frozenset()
    return frozenset(line.change_id for line in _lines(asked, path) if line.end <= size and line.change_id in wanted)
