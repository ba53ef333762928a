"""`audit export`: changes for other programs, streamed; a file appears whole or not at all."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.interrupts import Interrupts
from auditcli.cli.options import SelectionOptions
from auditcli.errors import AuditError, ExitCode, UsageError

if TYPE_CHECKING:
    from auditcli.chosen import Chosen
    from auditcli.connect import Database
    from auditcli.export import Asked, Tally
    from auditcli.feed import Place
    from auditcli.log.reader import LogReader
    from auditcli.model import Change

_STDOUT = "-"


@dataclass(frozen=True)
class ExportOptions:
    """What is written, and how."""

    format: Annotated[
        str | None,
        typer.Option("--format", "-o", metavar="FORMAT", help="csv, tsv, json, jsonl or sql; else the suffix."),
    ] = None
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=0, metavar="N", help="At most so many.")] = None
    cells: Annotated[bool, typer.Option("--cells", help="One line a cell: csv, tsv or jsonl.")] = False
    inverse: Annotated[bool, typer.Option("--inverse", help="SQL that takes the changes back, newest first.")] = False
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Say beside the file, in JSON, what is in it, with its sha256.")
    ] = False
    resume: Annotated[bool, typer.Option("--resume", help="Append to the file what it lacks.")] = False
    follow: Annotated[bool, typer.Option("--follow", help="Then go on as changes are committed; ^C ends it.")] = False


def export(
    app: AppContext,
    selecting: SelectionOptions,
    how: ExportOptions,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE] [WORD]...", help="The file, and a selection as in log.")
    ] = None,
) -> int:
    """Write changes, oldest first, to a file or to stdout. FILE may end in .gz or .zst.

    Examples:
      audit export changes.csv
      audit export orders.jsonl.gz table:orders --since 2026-03-01 --manifest
      audit export -o jsonl actor:bob | jq .after
      audit export redo.sql tx:1f3a9c      statements that do it again; --inverse takes it back
      audit export feed.jsonl --resume --follow
    """
    with app.database() as database, database.log() as reader, _ended_by_signals():
        file, chosen = _understand(app, reader, words or [], selecting)
        asked = _asked(app, reader, how, file, chosen)
        _check(how, file, chosen, asked)
        return _Exporting(app, database, reader, how, file, asked).run()


class _Exporting:
    """One export."""

    def __init__(
        self,
        app: AppContext,
        database: Database,
        reader: LogReader,
        how: ExportOptions,
        file: Path | None,
        asked: Asked,
    ) -> None:
        self._app = app
        self._database = database
        self._reader = reader
        self._how = how
        self._file = file
        self._asked = asked

    def run(self) -> int:
        """Write what there is, and then, if asked to, what comes."""
        from auditcli.present import counted

        with self._progress() as tell:
            tally = self._write(tell)
        added = "added" if self._how.resume else "written"
        self._app.out.note(f"{counted(tally.count, 'change')} {added}{self._to_file}")
        if not self._how.follow:
            return ExitCode.DONE
        with Interrupts() as interrupts:
            try:
                self._follow(interrupts)
            except KeyboardInterrupt:
                self._app.out.flush()
                again = f"audit export{self._app.same_database} {self._further}"
                self._app.out.note(f"stopped; to go on from here: {again}")
        return ExitCode.INTERRUPTED

    @property
    def _to_file(self) -> str:
        return "" if self._file is None else f" to {self._file}"

    @property
    def _further(self) -> str:
        if self._file is None:
            return f"--follow -o {self._asked.format} --since {self._place.log_id}"
        return f"{shlex.quote(str(self._file))} --resume --follow"

    def _write(self, tell: Callable[[Tally], object]) -> Tally:
        from auditcli.clock import utc_now
        from auditcli.export import append_log, export_log, write_log

        options: dict[str, Any] = {"now": utc_now(), "tell": tell}
        if self._file is None:
            tally = export_log(self._reader, self._asked, self._app.out.machine_stream, **options)
            self._app.out.flush()
            return tally
        write = append_log if self._how.resume or self._how.follow else write_log
        return write(self._reader, self._asked, self._file, manifest=self._how.manifest, **options)

    def _follow(self, interrupts: Interrupts) -> None:
        """Go on with what is committed after the part that was written first."""
        from auditcli.export import follow_log
        from auditcli.export.opening import text_stream
        from auditcli.wholefile import appending

        committed = self._committed(interrupts)
        if self._file is None:
            follow_log(committed, self._asked, self._app.out.machine_stream)
            return
        with appending(self._file, self._file.stat().st_size) as file, text_stream(file, None) as stream:
            follow_log(committed, self._asked, stream)

    def _committed(self, interrupts: Interrupts) -> Iterator[Sequence[Change]]:
        from auditcli.follow import Following
        from auditcli.present.news import news_text

        following = Following(
            self._database,
            self._place,
            self._asked.selection,
            stop=interrupts,
            tell=lambda news: self._app.out.note(news_text(news)),
        )
        for batch in following.batches():
            for delivered in batch:
                yield delivered.changes
                self._place = delivered.place
                interrupts.check()

    @cached_property
    def _place(self) -> Place:
        from auditcli.feed import place_after

        return place_after(self._reader, self._asked.window.until_id or 0)

    @contextmanager
    def _progress(self) -> Iterator[Callable[[Tally], None]]:
        """Says, where a person watches, how much is done, and how fast."""
        started = time.monotonic()
        end = self._asked.window.until_id or 0
        begin = self._asked.window.since_id

        with self._app.out.progress() as say:

            def tell(tally: Tally) -> None:
                rate = tally.count / max(time.monotonic() - started, 0.001)
                done = (tally.last_id or begin) - begin
                share = f"{min(1.0, done / (end - begin)):4.0%}  " if end > begin and not self._how.inverse else ""
                say(f"{share}{tally.count:,} changes  {rate:,.0f}/s")

            yield tell


def _asked(app: AppContext, reader: LogReader, how: ExportOptions, file: Path | None, chosen: Chosen) -> Asked:
    from auditcli.export import Asked, ExportFormat, format_of, named_format
    from auditcli.export.settling import settled
    from auditcli.selection import format_selection

    format = format_of(file) if file is not None and how.format is None else named_format(how.format or "tsv")
    if how.inverse and format is not ExportFormat.SQL:
        raise UsageError("--inverse is for SQL", hint="write a .sql file, or add -o sql")
    window = chosen.window
    if chosen.until is None:
        window, last = settled(reader, window), window.until_id
        if last and window.until_id != last:
            app.out.note(f"changes after {window.until_id} are left out: others that came before are not committed yet")
    return Asked(
        format, chosen.selection, window, format_selection(chosen.selection), how.limit, how.cells, how.inverse
    )


def _check(how: ExportOptions, file: Path | None, chosen: Chosen, asked: Asked) -> None:
    """Raise UsageError where the options don't go together."""
    from auditcli.export import check_appendable, check_layout

    check_layout(asked)
    if how.manifest and (file is None or how.follow):
        raise UsageError("--manifest is about a finished file", hint="name the FILE, and leave --follow out")
    if how.resume or (how.follow and file is not None):
        check_appendable(asked, file, with_manifest=how.manifest, grows=how.follow)
    if how.resume and chosen.since is not None:
        raise UsageError("--resume goes on where the file ends", hint="leave --since out")
    if how.follow and not asked.grows:
        raise UsageError(f"{asked.format} has an end, and --follow has none", hint="write csv, tsv or jsonl")
    if how.follow and (chosen.until is not None or how.limit is not None):
        raise UsageError("--follow has no end", hint="leave --until and --limit out")
    if how.follow and file is not None and file.exists() and not how.resume:
        raise UsageError(f"{file} is there already", hint="add --resume to go on with it, or name another file")


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


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End as by an error where the program is told to end, so that what is unfinished goes."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
