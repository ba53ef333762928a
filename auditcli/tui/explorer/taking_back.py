"""Undo: what is to be taken back, and the plan of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from auditcli.present import SHORT_ID, counted, row_word, visible
from auditcli.tui.explorer.frame import Frame
from auditcli.tui.screens.choice import Choice
from auditcli.tui.screens.undo_plan import UndoPlan
from auditcli.tui.undoing import (
    ToUndo,
    Undoing,
    redo_of_last,
    undo_of_changes,
    undo_of_selection,
    undo_of_transaction,
)

if TYPE_CHECKING:
    from auditcli.apply import Outcome


class TakingBack(Frame):
    """A read-only database offers none of it, and the library would refuse it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "undo", "Undo"),
        Binding("U", "redo", "Undo your last undo", show=False),
    ]

    def action_undo(self) -> None:
        """Ask what is to be taken back, and show the plan."""
        offers = self._offers()

        def answered(number: int | None) -> None:
            if number is not None:
                self._plan(offers[number][1])

        if offers:
            self.app.push_screen(Choice("take back what?", [words for words, _ in offers]), answered)

    def action_redo(self) -> None:
        self._plan(redo_of_last(self.author.actor))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action not in ("undo", "redo", "mark_place") or not self.standing.read_only

    def _offers(self) -> list[tuple[str, ToUndo]]:
        current, marked = self.changes.window.current, self.changes.marked
        offers = []
        if marked:
            offers.append((f"the {counted(len(marked), 'marked change')}", undo_of_changes(sorted(marked))))
        if current is not None:
            row = row_word(current.table, current.row_id)
            offers.append((f"this change, #{current.id} of {row}", undo_of_changes([current.id])))
            if current.transaction_id is not None:
                name, by = current.transaction_id[:SHORT_ID], visible(current.actor or "?")
                offers.append(
                    (f"its whole transaction, tx:{name} by {by}", undo_of_transaction(current.transaction_id))
                )
        if self.chosen is not None and not self.chosen.selection.is_empty:
            matching = "all" if self.standing.matching is None else f"all {self.standing.matching:,}"
            offers.append((f"{matching} that the filter selects", undo_of_selection(self.chosen)))
        return offers

    def _plan(self, wanted: ToUndo) -> None:
        def ended(outcome: Outcome | None) -> None:
            if outcome is not None:
                self.changes.unmark()

        dialog = UndoPlan(Undoing(self.queries, self.target), wanted, self.author, self.target, self.palette)
        self.app.push_screen(dialog, ended)
