"""Places: going to one, naming one, looking at a row as it was at one, playing from one on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from auditcli.clock import utc_now
from auditcli.model import Change
from auditcli.selection import Selection
from auditcli.tui.details import Aspect
from auditcli.tui.explorer.browsing import Browsing
from auditcli.tui.screens.choice import Choice
from auditcli.tui.screens.player import Player

if TYPE_CHECKING:
    from auditcli.connect import Database
    from auditcli.log.reader import LogReader
    from auditcli.model import RowKey

_PLACE = "place"
_MARKING = "marking"
_FORMS = "a change id, 15m, yesterday 14:00, 2026-11-23, tx:ID, @mark"


class Places(Browsing):
    """The place at which rows are looked at is the boundary after a log id."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("colon", "goto", "Go to", show=False),
        Binding("m", "mark_place", "Name this place", show=False),
        Binding("t", "as_of", "As of", show=False),
        Binding("left_square_bracket", "step('change', -1)", "As of: a change back", show=False),
        Binding("right_square_bracket", "step('change', 1)", "As of: a change on", show=False),
        Binding("left_curly_bracket", "step('transaction', -1)", "As of: a transaction back", show=False),
        Binding("right_curly_bracket", "step('transaction', 1)", "As of: a transaction on", show=False),
        Binding("less_than_sign", "step('bar', -1)", "As of: a bar back", show=False),
        Binding("greater_than_sign", "step('bar', 1)", "As of: a bar on", show=False),
        Binding("o", "referenced", "Rows that it refers to", show=False),
        Binding("r", "play", "Replay from here", show=False),
    ]

    def action_goto(self) -> None:
        def go(log_id: int) -> None:
            self.pause()
            self.listing.begin_at(log_id)

        self.ask("go to", lambda word: self._resolve(word, go), hint=_FORMS)

    def action_mark_place(self) -> None:
        """Give the place after the change under the cursor a name."""
        change = self.changes.window.current
        if change is not None:
            self.ask(
                f"name the place after #{change.id:,}", lambda name: self._mark(name, change), hint="used as @NAME"
            )

    def action_as_of(self) -> None:
        """Ask when, and show the rows as they were then; without an answer they are shown as they are."""
        if self.standing.as_of is not None:
            self._look_as_of(None)
            return
        change = self.changes.window.current
        word = "" if change is None else str(change.id)
        self.ask("rows as of", lambda typed: self._resolve(typed, self._look_as_of), value=word, hint=_FORMS)

    def action_step(self, what: str, direction: int) -> None:
        """Move the place at which rows are looked at."""
        change = self.changes.window.current
        place = self.standing.as_of or (change.id if change is not None else 0)
        chosen, bar = self.chosen, self.activity.bar_of(change.timestamp) if change is not None else None
        if chosen is None:
            return

        def find(reader: LogReader) -> int:
            from auditcli.stepping import bar_step, transaction_step

            if what == "bar":
                return bar_step(reader, place, direction, bar.width) if bar is not None else place
            # A place never lies inside a transaction: a change is reached with all that was committed with it.
            return transaction_step(reader, chosen.selection if what == "change" else Selection(), place, direction)

        self.queries.ask(_PLACE, find, self._look_as_of)

    def action_referenced(self) -> None:
        """Offer the rows that the change under the cursor refers to, and show the history of one."""
        change = self.changes.window.current
        if change is None:
            return

        def find(reader: LogReader) -> list[RowKey]:
            from auditcli.stepping import referred_rows

            return referred_rows(reader, change)

        def offer(rows: list[RowKey]) -> None:
            if not rows:
                self.say("this row refers to no other")
                return

            def answered(number: int | None) -> None:
                if number is not None:
                    self.filter_bar.set_words("")
                    self.add_word(f"row:{rows[number]}")

            self.app.push_screen(Choice("refers to", [str(row) for row in rows]), answered)

        self.queries.ask(_PLACE, find, offer)

    def action_play(self) -> None:
        """Play what is selected from the change under the cursor on."""
        change = self.changes.window.current
        if change is not None and self.chosen is not None:
            self.app.push_screen(Player(self.queries, self.palette, self.chosen, change.id - 1, utc=self.standing.utc))

    def _look_as_of(self, log_id: int | None) -> None:
        self.stand(as_of=log_id)
        self.detail.turn_to(Aspect.THEN if log_id is not None else Aspect.DIFF)
        self.detail.look_at(self.changes.window.current)

    def _resolve(self, word: str, use: Callable[[int], None]) -> None:
        def resolve(reader: LogReader) -> int:
            from auditcli.chosen import boundary
            from auditcli.position import parse_position

            return boundary(reader, parse_position(word, now=utc_now()))

        self.queries.ask(_PLACE, resolve, use)

    def _mark(self, name: str, change: Change) -> None:
        def write(_database: Database, _is_wanted: Callable[[], bool]) -> str:
            from auditcli.connect import open_database
            from auditcli.log.marks import set_mark

            writing = open_database(self.target, writing=True)
            try:
                with writing.log() as reader:
                    by = self.author.actor
                    set_mark(
                        reader.connection, reader.tables, name.removeprefix("@"), change.id, now=utc_now(), actor=by
                    )
                    reader.connection.commit()
            finally:
                writing.close()
            return f"@{name.removeprefix('@')} stands after change {change.id}"

        self.queries.ask_database(_MARKING, write, self.say)
