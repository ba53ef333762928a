"""An undo before it is applied: the plan, a decision for each conflict, a rehearsal, and the word that applies it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from auditcli.present import conflict_lines, counted, plan_lines, plan_summary, rehearsal_lines, visible
from auditcli.tui.palette import Palette
from auditcli.tui.queries import QueryFailed
from auditcli.tui.undoing import Author, ToUndo, Undoing, confirming_word
from auditcli.tui.widgets.line import Line

if TYPE_CHECKING:
    from auditcli.apply import Outcome
    from auditcli.applying.rehearsal import Rehearsal
    from auditcli.config import Target
    from auditcli.plan import Conflict, Plan
    from auditcli.planning.savedplan import SavedPlan

_MOST_CONFLICTS = 500
_LOW = 16
"""On a terminal of fewer lines the dialog has all of it."""


class UndoPlan(ModalScreen["Outcome | None"]):
    """Ends with the outcome, or without one where nothing was written."""

    DEFAULT_CSS = """
    UndoPlan { align: center middle; }
    UndoPlan #dialog { width: 90%; max-width: 130; height: 90%; border: thick $warning; background: $surface; }
    UndoPlan #dialog { padding: 0 1; }
    UndoPlan #plan { height: 1fr; min-height: 3; }
    UndoPlan OptionList { height: auto; max-height: 40%; }
    UndoPlan OptionList, UndoPlan OptionList:focus { border: none; }
    UndoPlan Input, UndoPlan Input:focus { border: none; height: 1; padding: 0; background: $boost; }
    UndoPlan .line { height: 1; }
    UndoPlan .line Label { width: auto; }
    UndoPlan #buttons { height: 3; align-horizontal: right; }
    UndoPlan #buttons Button { margin-left: 1; }
    UndoPlan #trouble { color: $text-error; height: auto; }
    UndoPlan.-low #dialog { width: 100%; height: 100%; border: none; padding: 0; }
    UndoPlan.-low #plan { min-height: 2; }
    UndoPlan.-low OptionList { max-height: 3; }
    UndoPlan.-low #buttons, UndoPlan.-low Button { height: 1; }
    UndoPlan.-low Button { min-width: 0; width: auto; padding: 0; border: none !important; }
    UndoPlan.-low #trouble { max-height: 2; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("k", "decide('keep')", "Keep it as it is now"),
        Binding("t", "decide('take_back')", "Take it back all the same"),
        Binding("s", "decide('skip')", "Skip the whole row"),
        Binding("K", "decide_all('keep')", "Keep all"),
        Binding("r", "rehearse", "Rehearse"),
        Binding("y", "yes", "Apply", show=False),
    ]

    def __init__(self, undoing: Undoing, wanted: ToUndo, author: Author, target: Target, palette: Palette) -> None:
        super().__init__()
        self._undoing = undoing
        self._wanted = wanted
        self._author = author
        self._target = target
        self._palette = palette
        self._saved: SavedPlan | None = None
        self._is_working = True

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label("planning …", id="title", markup=False)
            with VerticalScroll(id="plan"):
                yield Static(markup=False, id="plan-lines")
            yield OptionList(id="conflicts")
            yield Static(markup=False, id="trouble")
            with Horizontal(classes="line"):
                yield Label("why  ")
                yield Line(self._author.reason or "", placeholder="the reason, which is recorded", id="reason")
            with Horizontal(classes="line", id="word-line"):
                yield Label("", id="word-label", markup=False)
                yield Line(id="word")
            with Horizontal(id="buttons"):
                yield Button("Cancel (Esc)", id="cancel")
                yield Button("Rehearse (r)", id="rehearse")
                yield Button("Apply", id="apply", variant="warning")

    def on_mount(self) -> None:
        self.query_one("#conflicts").display = False
        self.query_one("#word-line").display = False
        self.query_one("#cancel").focus()
        self._say()
        self._undoing.plan(self._wanted, self._author, self._planned)

    def on_resize(self) -> None:
        self.set_class(self.app.size.height < _LOW, "-low")

    # The plan and its conflicts.

    def _planned(self, saved: SavedPlan) -> None:
        self._saved = saved
        self._is_working = False
        plan = saved.plan
        self._title(f"{plan.kind}: {visible(plan.summary)} · {plan.target}")
        lines = plan_lines(replace(plan, conflicts=()))
        self._lines(self._palette.text([*lines, plan_summary(plan)]))
        self._list_conflicts(saved)
        self._say()

    def _list_conflicts(self, saved: SavedPlan) -> None:
        conflicts = self.query_one("#conflicts", OptionList)
        conflicts.clear_options()
        shown = saved.plan.conflicts[:_MOST_CONFLICTS]
        conflicts.add_options([Option(self._conflict_text(number, each)) for number, each in enumerate(shown)])
        conflicts.display = bool(shown)
        if shown:
            conflicts.highlighted = 0
            conflicts.focus()

    def _conflict_text(self, number: int, conflict: Conflict) -> Text:
        assert self._saved is not None
        decision = self._saved.conflict_decisions[number]
        word = {None: "? decide", "keep": "= keep", "take_back": "← take back", "skip": "∅ skip row"}[decision]
        where = f"{conflict.row or conflict.table} {conflict.column or ''}".strip()
        return Text(f"{word:<11} {conflict.kind} {visible(where)}: {visible(conflict.message)}", overflow="fold")

    def action_decide(self, word: str) -> None:
        highlighted = self.query_one("#conflicts", OptionList).highlighted
        if self._saved is not None and highlighted is not None and not self._is_working:
            self._decide([highlighted], word)
            following = min(highlighted + 1, self.query_one("#conflicts", OptionList).option_count - 1)
            self.query_one("#conflicts", OptionList).highlighted = following

    def action_decide_all(self, word: str) -> None:
        if self._saved is not None and not self._is_working:
            self._decide(range(len(self._saved.plan.conflicts)), word)

    def _decide(self, numbers: list[int] | range, word: str) -> None:
        from auditcli.planning.savedplan import Decision

        assert self._saved is not None
        decisions = list(self._saved.conflict_decisions)
        decision = Decision(word)
        for number in numbers:
            if decision is Decision.TAKE_BACK and self._saved.ways[number] is None:
                self._trouble("there is no way to take this one back: keep it, or skip the row")
                continue
            decisions[number] = decision
        self._saved = replace(self._saved, conflict_decisions=tuple(decisions))
        conflicts = self.query_one("#conflicts", OptionList)
        for number in numbers:
            if number < conflicts.option_count:
                prompt = self._conflict_text(number, self._saved.plan.conflicts[number])
                conflicts.replace_option_prompt_at_index(number, prompt)
        self._say()

    # What may be done.

    @property
    def _decided(self) -> Plan | None:
        """The plan that the decisions make, where nothing is left to be decided."""
        from auditcli.planning.savedplan import decided

        if self._saved is None or self._saved.undecided:
            return None
        return decided(self._saved)

    def _say(self) -> None:
        """Show what can be done, and which word it wants."""
        plan = self._decided
        can_write = plan is not None and not plan.is_empty and not self._target.read_only and not self._is_working
        word = confirming_word(plan, self._target) if plan is not None and can_write else None
        self.query_one("#word-line").display = word is not None
        self.query_one("#word-label", Label).update(f"type  {word}  to apply ▸ ")
        typed = self.query_one("#word", Input).value.strip()
        self.query_one("#rehearse", Button).disabled = not can_write
        self.query_one("#apply", Button).disabled = (
            not can_write or (word is not None and typed != word) or not self._may
        )
        self.query_one("#apply", Button).label = "Apply (y)" if word is None else "Apply"

    @property
    def _may(self) -> bool:
        return bool(self._reason) or not self._target.protected

    @property
    def _reason(self) -> str | None:
        return self.query_one("#reason", Input).value.strip() or None

    @on(Input.Changed)
    def _typed(self) -> None:
        self._say()

    @on(Input.Submitted)
    def _entered(self) -> None:
        """Enter in a field goes on to the buttons, and never applies anything."""
        self.query_one("#apply" if not self.query_one("#apply", Button).disabled else "#cancel").focus()

    def action_rehearse(self) -> None:
        if not self.query_one("#rehearse", Button).disabled:
            self._start("rehearsing …", self._undoing.rehearse, self._rehearsed)

    def action_yes(self) -> None:
        button = self.query_one("#apply", Button)
        if not button.disabled and not self.query_one("#word-line").display:
            self._start("applying …", self._undoing.apply, self._applied)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        match event.button.id:
            case "rehearse":
                self.action_rehearse()
            case "apply":
                self._start("applying …", self._undoing.apply, self._applied)
            case _:
                self.action_cancel()

    def action_cancel(self) -> None:
        if self._saved is None:
            self._undoing.give_up()
        elif self._is_working:
            # What is being written ends by itself, whole or not at all.
            return
        self.dismiss(None)

    def _start(self, title: str, work: Callable[..., None], done: Callable[..., None]) -> None:
        self._is_working = True
        self._trouble("")
        self._title(title)
        self._say()
        work(self._saved, replace(self._author, reason=self._reason), done)

    def _rehearsed(self, rehearsal: Rehearsal) -> None:
        self._is_working = False
        self._title("rehearsed and rolled back: nothing of it stayed")
        self._lines(self._palette.text(rehearsal_lines(rehearsal)))
        self._say()

    def _applied(self, outcome: Outcome) -> None:
        left = f", {counted(len(outcome.plan.conflicts), 'conflict')} left" if outcome.is_partial else ""
        self.app.notify(
            f"{outcome.plan.kind}: {counted(outcome.rows, 'row')} written and read back{left}; U takes it back"
        )
        self.dismiss(outcome)

    def fail(self, event: QueryFailed) -> None:
        """Planning, rehearsing or applying did not work; nothing was written."""
        from auditcli.apply import PlanConflict

        self._is_working = False
        self._title("nothing was written")
        self._trouble(f"{event.error.message}\n{event.error.hint or ''}".strip())
        if isinstance(event.error, PlanConflict):
            self._lines(self._palette.text(conflict_lines(event.error.conflicts)))
        self._say()

    def _title(self, text: str) -> None:
        self.query_one("#title", Label).update(text)

    def _lines(self, text: Text) -> None:
        self.query_one("#plan-lines", Static).update(text)

    def _trouble(self, text: str) -> None:
        self.query_one("#trouble", Static).update(Text(text))
