"""Printing changes: grouped by transaction for a person, one form for every program."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice
from typing import TYPE_CHECKING

from auditcli.cli.context import AppContext
from auditcli.cli.formats import Format

if TYPE_CHECKING:
    from auditcli.model import Change


def print_changes(app: AppContext, asked: str | None, changes: Iterable[Change]) -> None:
    """Changes in the format that was asked for, as they come."""
    form = app.out.format(asked)
    if form is Format.TABLE:
        from auditcli.clock import utc_now
        from auditcli.present import grouped_lines

        app.out.lines(grouped_lines(changes, now=utc_now(), utc=app.out.utc))
        return
    from auditcli.export import export_changes

    coming = iter(changes)
    first = list(islice(coming, 1))
    # An empty result has no header either.
    if first or form is Format.JSON:
        export_changes(chain(first, coming), form.value, app.out.machine_stream)
