"""What a running command has at hand: its global options, the database, and where to print."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.render import Output

if TYPE_CHECKING:
    from auditcli.chosen import Chosen
    from auditcli.cli.options import SelectionOptions
    from auditcli.config import Target
    from auditcli.connect import Database
    from auditcli.log.reader import LogReader
    from auditcli.position import Position


@dataclass(frozen=True)
class GlobalOptions:
    """The options that every command takes, on either side of its name."""

    url: Annotated[str | None, typer.Option("--url", "-u", metavar="URL", help="The database: a URL or a file.")] = None
    profile: Annotated[
        str | None, typer.Option("--profile", "-P", metavar="NAME", help="A database named in a config file.")
    ] = None
    color: Annotated[str | None, typer.Option("--color", metavar="WHEN", help="auto, always or never.")] = None
    utc: Annotated[bool, typer.Option("--utc", help="Times in UTC instead of local time.")] = False
    no_pager: Annotated[bool, typer.Option("--no-pager", help="Never page.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes on stderr.")] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say which database, and why that one.")] = False
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False

    def over(self, outer: GlobalOptions | None) -> GlobalOptions:
        """These options, and those given before the command where these are silent."""
        if outer is None:
            return self
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(outer, **{name: value for name, value in given.items() if value not in (None, False)})


class AppContext:
    """One run of one command."""

    def __init__(self, options: GlobalOptions) -> None:
        self.options = options

    @cached_property
    def out(self) -> Output:
        """Where this command prints."""
        options = self.options
        return Output(options.color, quiet=options.quiet, utc=options.utc, pages=not options.no_pager)

    @cached_property
    def target(self) -> Target:
        """The database that the options, the environment and the config files name."""
        from auditcli.config import find_target

        target = find_target(self.options.url, self.options.profile, os.environ, Path.cwd())
        if self.options.verbose:
            self.out.note(f"database: {target.masked_url} (from {target.origin})")
        return target

    @property
    def same_database(self) -> str:
        """What names the same database in another command: nothing where it is found without an option."""
        named = self.options.url
        if named is not None:
            shown, whole = self.target.masked_url, self.target.url.render_as_string(hide_password=False)
            return f" -u {shlex.quote(named if shown == whole else shown)}"
        return f" -P {shlex.quote(self.options.profile)}" if self.options.profile is not None else ""

    @contextmanager
    def database(self, *, writing: bool = False, lock_timeout: float | None = None) -> Iterator[Database]:
        """The database, open for reading or also for writing."""
        from auditcli.connect import LOCK_TIMEOUT, open_database

        timeout = LOCK_TIMEOUT if lock_timeout is None else lock_timeout
        database = open_database(self.target, writing=writing, lock_timeout=timeout)
        try:
            yield database
        finally:
            database.close()

    @contextmanager
    def log(self) -> Iterator[LogReader]:
        """The log of the database, for reading."""
        with self.database() as database, database.log() as reader:
            yield reader

    @contextmanager
    def watching(self, reader: LogReader, verb: str = "looked through") -> Iterator[None]:
        """Say how far the reader has come along the log, where that takes long and a person watches."""
        with self.out.progress() as tell:
            reader.watch = lambda done, whole: tell(f"{verb} {done:,} of {whole:,} changes, ^C ends it")
            yield

    def position(self, word: str, *, may_come: bool = False) -> Position:
        """The position that a word names; one in the future is refused, unless it `may_come`."""
        from auditcli.clock import utc_now
        from auditcli.position import parse_position

        return parse_position(word, now=utc_now(), may_come=may_come)

    def choose(self, reader: LogReader, words: Sequence[str] | None, options: SelectionOptions | None = None) -> Chosen:
        """What words and options choose in the log."""
        from auditcli.chosen import choose
        from auditcli.clock import utc_now

        chosen = choose(reader, words or (), now=utc_now(), options=options.as_words() if options else None)
        self._warn_of_clock(reader, chosen.since, chosen.window.since_id)
        self._warn_of_clock(reader, chosen.until, chosen.window.until_id)
        if self.options.verbose:
            self.out.note(f"log ids: after {chosen.window.since_id}, up to {chosen.window.until_id}")
        return chosen

    def boundary(self, reader: LogReader, position: Position | None) -> int:
        """The log id that a position stands after; without one, all that is committed by now."""
        from auditcli.chosen import boundary

        place = boundary(reader, position)
        self._warn_of_clock(reader, position, place)
        return place

    def _warn_of_clock(self, reader: LogReader, position: Position | None, place: int | None) -> None:
        from auditcli.log.positions import set_back

        late = set_back(position, reader, place)
        if late is not None and position is not None:
            from auditcli.position import describe
            from auditcli.present import time_text

            stamped = time_text(late.timestamp, utc=self.out.utc)
            self.out.note(
                f"note: the clock was set back: change #{late.id} is stamped {stamped}, but came before #{place}; "
                f"{describe(position)} means up to #{place} here, a change's #ID says it exactly"
            )
