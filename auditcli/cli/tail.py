"""`audit tail`: the last changes, and then each transaction as it is committed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from auditcli.cli.changes import print_changes
from auditcli.cli.context import AppContext
from auditcli.cli.formats import Format
from auditcli.cli.options import ListOptions, SelectionOptions, Words
from auditcli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from auditcli.chosen import Chosen
    from auditcli.connect import Database
    from auditcli.log.reader import LogReader
    from auditcli.model import Change

_LAST = 10


def tail(app: AppContext, selecting: SelectionOptions, listing: ListOptions, words: Words = None) -> int:
    """Print the last changes and then, live, each transaction as it is committed; ^C ends it.

    Examples:
      audit tail
      audit tail -n 50 table:orders actor:svc-*
      audit tail --since 12345 -o jsonl      go on where an earlier tail stopped
    """
    if listing.reverse:
        raise UsageError("tail goes forward in time", hint="`audit log` takes --reverse")
    with app.database() as database:
        with database.log() as reader:
            chosen = app.choose(reader, words, selecting)
            _refuse_end(chosen)
            following = _Following(app, database, chosen, _first(reader, chosen, listing))
        try:
            following.print(listing.format)
        except KeyboardInterrupt:
            app.out.flush()
            app.out.note(f"stopped; to go on from here: audit tail{app.same_database} --since {following.resume_at}")
            return ExitCode.INTERRUPTED
    return ExitCode.DONE


class _Following:
    """The transactions to print, and where another tail would go on."""

    def __init__(self, app: AppContext, database: Database, chosen: Chosen, first: Sequence[Change]) -> None:
        self._app = app
        self._database = database
        self._selection = chosen.selection
        self._first = first
        self._start = int((chosen.window.until_id if chosen.since is None else chosen.window.since_id) or 0)
        self.resume_at = str(self._start)

    def print(self, asked: str | None) -> None:
        """Print every selected change, transaction by transaction, until somebody stops it."""
        if self._app.out.format(asked) is Format.TABLE:
            # One by one: a group of lines is only known to be complete when the next one begins.
            for committed in self._transactions():
                print_changes(self._app, asked, committed)
        else:
            # An array would never end.
            form = Format.JSONL if asked == Format.JSON else asked
            print_changes(self._app, form, chain.from_iterable(self._transactions()))

    def _transactions(self) -> Iterator[Sequence[Change]]:
        """What was there, then what is committed; each transaction is flushed when the next one is asked for."""
        from auditcli.feed import Feed

        if self._first:
            yield self._first
            self._app.out.flush()
        feed = Feed(self._database.engine, self._database.tables, self._database.dialect, self._start)
        for committed in feed.follow(self._selection):
            yield committed
            last = committed[-1]
            self.resume_at = f"tx:{last.transaction_id}" if last.transaction_id else str(last.id)
            self._app.out.flush()


def _refuse_end(chosen: Chosen) -> None:
    if chosen.until is not None:
        raise UsageError("tail has no end", hint="`audit log` takes --until")


def _first(reader: LogReader, chosen: Chosen, listing: ListOptions) -> Sequence[Change]:
    """The last changes that are there already; none where a start was named, since the feed begins there."""
    if chosen.since is not None:
        return ()
    last = _LAST if listing.limit is None else listing.limit
    return list(reader.changes(chosen.selection, chosen.window, newest_first=True, limit=last))[::-1]
