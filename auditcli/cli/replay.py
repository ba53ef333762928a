"""`audit replay`: the log's transactions, one by one, in another database."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.elsewhere import ask_before, find_other, other_database
from auditcli.cli.options import SelectionOptions, WhoOptions, Words
from auditcli.cli.who import actor_of
from auditcli.errors import ExitCode, NotFound, UsageError

if TYPE_CHECKING:
    from auditcli.config import Target
    from auditcli.connect import Database
    from auditcli.replay import Progress, ReplayOptions


@dataclass(frozen=True)
class ReplayFlags:
    """Where to, and how."""

    to: Annotated[
        str, typer.Option("--to", metavar="TARGET", help="The database to replay into: a URL, a file or a profile.")
    ]
    create_tables: Annotated[
        bool, typer.Option("--create-tables", help="Create the tables that the target lacks, as the log knows them.")
    ] = False
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Empty the tables first, and fill them as they were at --since.")
    ] = False
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep the target up to date until ^C.")] = False
    speed: Annotated[
        str | None, typer.Option(metavar="FACTOR", help="1x is the original pace, 10x ten times that; else at once.")
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do it all, then roll it back.")] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False
    confirm: Annotated[str | None, typer.Option(metavar="WORD", help="The word that a protected target wants.")] = None
    force: Annotated[bool, typer.Option("--force", help="Overwrite rows that differ.")] = False
    skip_conflicts: Annotated[bool, typer.Option("--skip-conflicts", help="Leave such rows, do the rest.")] = False
    lock_timeout: Annotated[
        float, typer.Option("--lock-timeout", min=0, metavar="SECONDS", help="How long to wait for a lock.")
    ] = 5.0


def replay(app: AppContext, selecting: SelectionOptions, how: ReplayFlags, who: WhoOptions, words: Words = None) -> int:
    """Replay the log into another database: each transaction once, in commit order, from where it stopped.

    Examples:
      audit replay --to copy.db --create-tables
      audit replay --to postgresql://localhost/test --since @before-import --rebuild
      audit replay --to copy.db table:orders --dry-run
      audit replay --to copy.db --follow                 keep a copy live
    """
    if how.force and how.skip_conflicts:
        raise UsageError("--force and --skip-conflicts contradict each other", hint="give one of them")
    if how.follow and how.dry_run:
        raise UsageError("--follow never ends, and a dry run is rolled back at its end", hint="leave one away")
    target = find_other(how.to, who, dry_run=how.dry_run)
    speed = _speed(how.speed)
    creating = other_database(
        target,
        create=how.create_tables and not how.dry_run,
        hint="--create-tables makes it; a dry run does not",
        lock_timeout=how.lock_timeout,
    )
    with app.database() as source:
        options = _options(app, source, selecting, words, how, speed)
        app.out.note(f"target: {target.masked_url}")
        _ask(app, target, how)
        with creating as database:
            return _run(app, source, database, options, actor_of(who))


def _options(
    app: AppContext,
    source: Database,
    selecting: SelectionOptions,
    words: list[str] | None,
    how: ReplayFlags,
    speed: float | None,
) -> ReplayOptions:
    from auditcli.plan import PlanOptions
    from auditcli.replay import ReplayOptions
    from auditcli.selection import format_selection

    with source.log() as reader:
        chosen = app.choose(reader, words, selecting)
    return ReplayOptions(
        selection=chosen.selection,
        words=format_selection(chosen.selection),
        since=None if chosen.since is None else chosen.window.since_id,
        until=None if chosen.until is None else chosen.window.until_id,
        conflicts=PlanOptions(force=how.force, skip_conflicts=how.skip_conflicts),
        create_tables=how.create_tables,
        rebuild=how.rebuild,
        dry_run=how.dry_run,
        follow=how.follow,
        speed=speed,
    )


def _speed(word: str | None) -> float | None:
    if word is None:
        return None
    try:
        factor = float(word.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise UsageError(f"--speed {word!r} is no factor", hint="for example --speed 10x")
    return factor


def _ask(app: AppContext, target: Target, how: ReplayFlags) -> None:
    """Raise Declined unless a target whose rows go, or that is protected, is meant."""
    if how.dry_run or not (how.rebuild or target.protected):
        return
    question = f"{'empty and refill the tables of' if how.rebuild else 'replay into'} {target.masked_url}?"
    ask_before(app, target, question, yes=how.yes, confirm=how.confirm)


def _run(app: AppContext, source: Database, database: Database, options: ReplayOptions, actor: str) -> int:
    from auditcli.present import conflict_lines
    from auditcli.replay import Replay, ReplayConflict

    with app.out.progress() as tell:
        telling = _Telling(app, tell)
        stopping = _Stopping()
        run = Replay(
            source, database, options, by=actor, on_progress=telling.tell, on_note=telling.note, stop=stopping.event
        )
        try:
            with stopping.at_interrupt(lambda: run.has_begun):
                progress = run.run()
        except ReplayConflict as conflict:
            telling.clear()
            app.out.lines(conflict_lines(conflict.conflicts))
            raise
        except KeyboardInterrupt:
            telling.note("stopped in the middle of it; what was not done whole is rolled back")
            return ExitCode.INTERRUPTED
    if stopping.event.is_set():
        _summarise(app, progress, options)
        if not options.dry_run:
            app.out.note("stopped; the place is kept in the target: the same command goes on from there")
        return ExitCode.INTERRUPTED
    if progress.is_nothing:
        raise NotFound(
            f"nothing to replay: the target has all up to change {progress.place_id}", hint="--follow waits for more"
        )
    app.out.lines(conflict_lines(progress.conflicts))
    _summarise(app, progress, options)
    return ExitCode.PARTLY_APPLIED if progress.conflicts else ExitCode.DONE


class _Stopping:
    """What ^C does: the first one ends the replay after the transaction at hand, the second one in its middle."""

    def __init__(self) -> None:
        self.event = Event()

    @contextmanager
    def at_interrupt(self, has_begun: Callable[[], bool]) -> Iterator[None]:
        """Inside this block; until it `has_begun` there is nothing that could be ended after the next transaction."""

        def stop(_signal: int, _frame: object) -> None:
            if self.event.is_set() or not has_begun():
                raise KeyboardInterrupt
            self.event.set()

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _summarise(app: AppContext, progress: Progress, options: ReplayOptions) -> None:
    from auditcli.present import counted

    if progress.beginning_rows:
        app.out.note(f"began with {counted(progress.beginning_rows, 'row')} as they were at the start")
    done = f"{counted(progress.transactions, 'transaction')}, {counted(progress.changes, 'change')}"
    already = f", {progress.already:,} already as they should be" if progress.already else ""
    app.out.note(f"replayed {done}: {counted(progress.rows, 'row')} written and read back{already}")
    if progress.conflicts:
        app.out.note(f"{counted(len(progress.conflicts), 'conflict')} left as they are")
    if progress.held:
        app.out.note(f"{counted(progress.held, 'transaction')} held back: a foreign key waits for later ones")
    if options.dry_run:
        app.out.note("a dry run: all of it was rolled back")
    else:
        app.out.note(f"the target now has all up to change {progress.place_id}")


class _Telling:
    """Words for how far it has come: what is done, how fast, and how long it will take."""

    def __init__(self, app: AppContext, tell: Callable[[str], None]) -> None:
        self._app = app
        self._tell = tell
        self._began = time.monotonic()

    def clear(self) -> None:
        """Make room on the line where it was said how far it has come."""
        if sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")

    def note(self, text: str) -> None:
        """Say something that stays."""
        self.clear()
        self._app.out.note(text)

    def tell(self, progress: Progress) -> None:
        if progress.stage:
            self._tell(f"replay: {progress.stage}")
            return
        seconds = max(0.001, time.monotonic() - self._began)
        part = progress.part()
        left = seconds / part - seconds if part else 0
        rate = progress.changes / seconds
        ending = f", about {left:.0f} s left" if 0 < part < 1 else ""
        self._tell(
            f"replay: {progress.transactions:,} transactions, {progress.changes:,} changes, {rate:,.0f}/s{ending}"
        )
