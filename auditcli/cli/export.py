"""`audit export`: changes for other programs, streamed; a file appears whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.options import SelectionOptions
from auditcli.errors import AuditError

if TYPE_CHECKING:
    from auditcli.chosen import Chosen
    from auditcli.log.reader import LogReader

_STDOUT = "-"


def export(
    app: AppContext,
    selecting: SelectionOptions,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE] [WORD]...", help="The file, and a selection as in log.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", "-o", metavar="FORMAT", help="csv, tsv, json or jsonl; else the suffix."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=0, metavar="N", help="At most so many.")] = None,
) -> None:
    """Write changes, oldest first, to a file or to stdout.

    Examples:
      audit export changes.csv
      audit export orders.jsonl table:orders --since 2026-03-01
      audit export -o jsonl actor:bob | jq .after
    """
    from auditcli.export import export_changes, write_file
    from auditcli.present import counted

    with app.log() as reader:
        file, chosen = _understand(app, reader, words or [], selecting)
        found = app.out.counting(reader.changes(chosen.selection, chosen.window, limit=limit), "change")
        if file is None:
            written = export_changes(found, form or "tsv", app.out.machine_stream)
        else:
            written = write_file(found, file, form)
        app.out.note(f"{counted(written, 'change')} written{'' if file is None else f' to {file}'}")


def _understand(
    app: AppContext, reader: LogReader, words: list[str], selecting: SelectionOptions
) -> tuple[Path | None, Chosen]:
    """The file and the selection: the first word is a file unless it is a word of a selection."""
    if words[:1] == [_STDOUT]:
        return None, app.choose(reader, words[1:], selecting)
    if not words or _is_selecting(app, reader, words[0]):
        return None, app.choose(reader, words, selecting)
    return Path(words[0]).expanduser(), app.choose(reader, words[1:], selecting)


def _is_selecting(app: AppContext, reader: LogReader, word: str) -> bool:
    """Whether the word is one of a selection; raises what is wrong with it where it can't be a file either."""
    try:
        app.choose(reader, [word])
    except AuditError:
        if not _looks_like_file(word):
            raise
        return False
    return True


def _looks_like_file(word: str) -> bool:
    keyed = ":" in word and "/" not in word
    return not keyed and ("." in word or "/" in word)
