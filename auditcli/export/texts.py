"""A log as the text of a file, some hundred changes at a time, so that memory stays flat at any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TypeVar

from auditcli.export.asked import Asked, Tally
from auditcli.export.formats import ExportFormat
from auditcli.export.layout import Layout, layout_of
from auditcli.export.records import RecordTexts
from auditcli.log.reader import LogReader
from auditcli.model import Change

T = TypeVar("T")

_TOGETHER = 500


def log_texts(reader: LogReader, asked: Asked, tally: Tally, *, now: datetime, is_new: bool = True) -> Iterator[str]:
    """The parts of a file with what is asked for, in order; one that is gone on with has its beginning already."""
    if asked.format is ExportFormat.SQL:
        changes = _changes(reader, asked, tally, newest_first=asked.inverted)
        # It brings the reader of user rows along, which nothing else that is listed or exported needs.
        from auditcli.patch import Patch

        lines = Patch(reader).of_changes(changes, inverted=asked.inverted, now=now)
        for some in _in_parts(lines):
            yield "".join(f"{line}\n" for line in some)
        return
    layout = layout_of(asked.format, cells=asked.cells)
    criteria = reader.criteria(asked.selection, asked.window)
    if layout.lines is not None and criteria.exact and not asked.already:
        pages = RecordTexts(reader, layout.lines, tally).pages(criteria, asked.limit)
        texts: Iterator[str] = map(layout.between.join, pages)
    else:
        texts = joined(layout, _changes(reader, asked, tally))
    yield from layout.parts(texts, is_new=is_new)


def joined(layout: Layout, changes: Iterable[Change]) -> Iterator[str]:
    """The texts of changes, some at a time."""
    for some in _in_parts(changes):
        yield layout.between.join(map(layout.text, some))


def _changes(reader: LogReader, asked: Asked, tally: Tally, *, newest_first: bool = False) -> Iterator[Change]:
    found = reader.changes(asked.selection, asked.window, newest_first=newest_first)
    return tally.seen(islice((each for each in found if each.id not in asked.already), asked.limit))


def _in_parts(things: Iterable[T]) -> Iterator[list[T]]:
    coming = iter(things)
    while some := list(islice(coming, _TOGETHER)):
        yield some
