"""`audit tail`: the last changes, and then each transaction as it is committed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from auditcli.cli.changes import print_changes
from auditcli.cli.context import AppContext
from auditcli.cli.formats import Format
from auditcli.cli.interrupts import Interrupts
from auditcli.cli.options import FormatOptions, SelectionOptions, Words
from auditcli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from auditcli.connect import Database
    from auditcli.feed import Delivered, Place
    from auditcli.follow import Following
    from auditcli.following.news import News
    from auditcli.log.reader import LogReader
    from auditcli.model import Change
    from auditcli.position import Position
    from auditcli.selection import Selection

_UNTIL_WORDS = ("until:", "until=")


@dataclass(frozen=True)
class TailOptions(FormatOptions):
    """How many of those that are there, and until when."""

    limit: Annotated[int, typer.Option("--limit", "-n", min=0, metavar="N", help="Begin with the last N changes.")] = 10
    duration: Annotated[str | None, typer.Option("--for", metavar="TIME", help="End after 30s, 10m, 1h30m.")] = None
    exit_after: Annotated[
        int | None,
        typer.Option("--exit-after", min=1, metavar="N", help="End after N changes, not counting those of -n."),
    ] = None
    max_hold: Annotated[
        str | None,
        typer.Option(
            "--max-hold", metavar="TIME", help="Go on past a transaction that is open for so long, and say so."
        ),
    ] = None


def tail(app: AppContext, selecting: SelectionOptions, how: TailOptions, words: Words = None) -> int:
    """Print the last changes and then, live, each transaction as it is committed; ^C ends it and says where to resume.

    Examples:
      audit tail
      audit tail -n 50 table:orders actor:svc-*
      audit tail --since 12345 -o jsonl      go on where an earlier tail stopped
      audit tail --for 10m --max-hold 30s    ten minutes, and nobody holds it up for more than half a one
    """
    seconds, max_hold = _seconds(how.duration), _seconds(how.max_hold)
    end_words, words, selecting = _without_end(words or [], selecting)
    with app.database() as database, Interrupts(seconds) as interrupts:
        begun = _begin(app, database, selecting, words, end_words, how)
        following = begun.follow(database, interrupts, app, max_hold)
        again = f"audit tail{app.same_database}{begun.words}"
        printing = _Printing(app, following, begun.place, interrupts, how.exit_after)
        try:
            printing.print(how.format, begun.first)
        except KeyboardInterrupt:
            app.out.flush()
            app.out.note(f"stopped; to go on from here: {again} --since {printing.place_word}")
            return ExitCode.INTERRUPTED
    app.out.flush()
    app.out.note(f"ended; to go on from here: {again} --since {printing.place_word}")
    return ExitCode.DONE


@dataclass(frozen=True)
class _Begun:
    """What to print first, and what to follow from where to where."""

    selection: Selection
    first: Sequence[Change]
    place: Place
    end: int | datetime | None

    @property
    def words(self) -> str:
        """What selects the same again, with a space before it."""
        from auditcli.selection import format_selection

        return f" {format_selection(self.selection)}".rstrip()

    def follow(self, database: Database, interrupts: Interrupts, app: AppContext, max_hold: float | None) -> Following:
        from auditcli.follow import Following
        from auditcli.present.news import news_text

        def tell(news: News) -> None:
            app.out.flush()
            app.out.note(news_text(news))

        return Following(
            database, self.place, self.selection, stop=interrupts, tell=tell, until=self.end, max_hold=max_hold
        )


class _Printing:
    """Prints transactions whole, and knows where another tail would go on."""

    def __init__(
        self, app: AppContext, following: Following, place: Place, interrupts: Interrupts, exit_after: int | None
    ) -> None:
        self._app = app
        self._following = following
        self._place = place
        self._interrupts = interrupts
        self._left = exit_after

    @property
    def place_word(self) -> str:
        """The position after what was printed."""
        transaction_id = self._place.transaction_id
        return f"tx:{transaction_id}" if transaction_id else str(self._place.log_id)

    def print(self, asked: str | None, first: Sequence[Change]) -> None:
        """Print the first changes and then what comes, until there is an end or somebody stops it."""
        if self._app.out.format(asked) is Format.TABLE:
            # One by one: a group of lines is only known to be complete when the next one begins.
            for changes in self._transactions(first):
                print_changes(self._app, asked, changes)
        else:
            # An array would never end.
            form = Format.JSONL if asked == Format.JSON else asked
            print_changes(self._app, form, chain.from_iterable(self._transactions(first)))

    def _transactions(self, first: Sequence[Change]) -> Iterator[Sequence[Change]]:
        """Each is printed when the next one is asked for."""
        if first:
            yield first
            self._app.out.flush()
        for batch in self._following.batches():
            for delivered in batch:
                yield delivered.changes
                self._take(delivered)
                if self._left is not None and self._left <= 0:
                    return
                self._interrupts.check()
            self._app.out.flush()

    def _take(self, delivered: Delivered) -> None:
        self._place = delivered.place
        if self._left is not None:
            self._left -= len(delivered.changes)


def _begin(
    app: AppContext,
    database: Database,
    selecting: SelectionOptions,
    words: list[str],
    end_words: Sequence[str],
    how: TailOptions,
) -> _Begun:
    from auditcli.feed import place_after
    from auditcli.following.start import certain_place

    with database.log() as reader:
        chosen = app.choose(reader, words, selecting)
        if chosen.since is not None:
            place = place_after(reader, chosen.window.since_id)
            return _Begun(chosen.selection, (), place, _end(app, reader, end_words, chosen.since, place))
    place = certain_place(database)
    with database.log() as reader:
        end = _end(app, reader, end_words, None, place)
        return _Begun(chosen.selection, _last(reader, chosen.selection, place, how.limit), place, end)


def _last(reader: LogReader, selection: Selection, place: Place, count: int) -> list[Change]:
    """The last changes before a place, in the order of their transactions."""
    from auditcli.log.positions import window

    until = window(reader, None, place.log_id)
    newest = list(reader.changes(selection, until, newest_first=True, limit=count))
    ends: dict[str | int, int] = {}
    for change in newest:
        ends.setdefault(change.transaction_id or change.id, change.id)
    return sorted(newest, key=lambda change: (ends[change.transaction_id or change.id], change.id))


def _without_end(words: Sequence[str], selecting: SelectionOptions) -> tuple[list[str], list[str], SelectionOptions]:
    """The positions that `until` names, and the rest: of all commands this one alone takes an end that is to come."""
    named = [word[len(_UNTIL_WORDS[0]) :] for word in words if word.startswith(_UNTIL_WORDS)]
    others = [word for word in words if not word.startswith(_UNTIL_WORDS)]
    return [*(selecting.until or ()), *named], others, replace(selecting, until=None)


def _end(
    app: AppContext, reader: LogReader, words: Sequence[str], since: Position | None, place: Place
) -> int | datetime | None:
    """The log id or the moment at which to end; raises UsageError where nothing is to come before it."""
    from auditcli.clock import utc_now
    from auditcli.log.positions import resolve
    from auditcli.position import AtChange, AtTime, describe

    ends = {app.position(word, may_come=True) for word in words}
    if len(ends) > 1:
        both = " and ".join(sorted(map(describe, ends)))
        raise UsageError(f"until is given twice: {both}", hint="give until once")
    for end in ends:
        if isinstance(end, AtTime) and end.moment > utc_now():
            return end.moment
        is_to_come = isinstance(end, AtChange) and end.id > reader.last_id()
        log_id = end.id if isinstance(end, AtChange) and is_to_come else resolve(end, reader)
        if log_id <= place.log_id:
            start = "what is already there" if since is None else f"since ({describe(since)})"
            raise UsageError(
                f"until ({describe(end)}) does not come after {start}",
                hint="`audit log --until` lists what is there; --for 10m ends after a time",
            )
        return log_id
    return None


def _seconds(word: str | None) -> float | None:
    from auditcli.position import parse_duration

    return None if word is None else parse_duration(word).total_seconds()
