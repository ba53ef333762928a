"""The rows of a stretch of the log while it is played back."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Label, Static

from auditcli.present import Line, Span, Style, change_heading, row_word, time_text, value_text, visible
from auditcli.tui.palette import EVENT_STYLES, Palette
from auditcli.tui.playing import SPEEDS, Playing, Shown
from auditcli.tui.queries import Queries

if TYPE_CHECKING:
    from auditcli.chosen import Chosen
    from auditcli.log.reader import LogReader
    from auditcli.paging import Page

_PLAY = "play"
_AHEAD = 64
_COLUMNS = 8


class Player(ModalScreen[None]):
    """Nothing is written: it shows what happened, at the speed that is asked for."""

    DEFAULT_CSS = """
    Player { align: center middle; }
    Player #dialog { width: 95%; height: 90%; border: thick $primary; background: $surface; padding: 0 1; }
    Player #rows { height: 1fr; }
    Player .quiet { color: $text-muted; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Play or pause"),
        Binding("right,l", "step", "A change on"),
        Binding("left,h", "back", "A change back"),
        Binding("plus,up", "faster(1)", "Faster"),
        Binding("minus,down", "faster(-1)", "Slower"),
        Binding("escape,q", "leave", "Back"),
    ]

    def __init__(self, queries: Queries, palette: Palette, chosen: Chosen, after_id: int, *, utc: bool) -> None:
        super().__init__()
        self._queries = queries
        self._palette = palette
        self._chosen = chosen
        self._edge_id = after_id
        self._is_last = False
        self._is_reading = False
        self._utc = utc
        self._speed = 2
        self._timer: Timer | None = None
        self.playing = Playing()

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label("replay", id="title", markup=False)
            yield Static(markup=False, id="change")
            yield Static(markup=False, id="rows")
            yield Label("space pauses · ← → a change · + - speed · esc back", classes="quiet", markup=False)

    def on_mount(self) -> None:
        self._read()
        self._show()

    @property
    def is_paused(self) -> bool:
        """Whether it stands still."""
        return self._timer is None

    def action_pause(self) -> None:
        if self.is_paused:
            self._go_on()
        else:
            self._stop()
        self._show()

    def action_step(self) -> None:
        self._stop()
        self._step()

    def action_back(self) -> None:
        self._stop()
        self.playing.back()
        self._show()

    def action_faster(self, steps: int) -> None:
        self._speed = max(0, min(self._speed + steps, len(SPEEDS) - 1))
        self._show()

    def action_leave(self) -> None:
        self._stop()
        self._queries.give_up(_PLAY)
        self.dismiss(None)

    def _go_on(self) -> None:
        self._timer = self.set_timer(max(self.playing.due_in(SPEEDS[self._speed]), 0.05), self._tick)

    def _tick(self) -> None:
        self._step()
        if self.playing.next is None and self._is_last:
            self._stop()
            self._show()
        else:
            self._go_on()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _step(self) -> None:
        self.playing.step()
        if len(self.playing.changes) - self.playing.position < _AHEAD:
            self._read()
        self._show()

    def _read(self) -> None:
        if self._is_reading or self._is_last:
            return
        self._is_reading = True
        edge_id = self._edge_id

        def read(reader: LogReader) -> Page:
            from auditcli.paging import Paging

            return Paging(reader, self._chosen.selection, self._chosen.window).newer(edge_id)

        self._queries.ask(_PLAY, read, self._take)

    def _take(self, page: Page) -> None:
        self._is_reading = False
        self._edge_id, self._is_last = page.edge_id, page.is_last
        is_first = not self.playing.changes
        self.playing.add(page.changes[::-1])
        if is_first and self.playing.changes:
            self._step()
            self._go_on()
        elif not page.changes and not page.is_last:
            self._read()

    def _show(self) -> None:
        change = self.playing.last
        state = "▮▮ paused" if self.is_paused else "▶"
        end = " · end of the log" if self.playing.next is None and self._is_last else ""
        when = "" if change is None else f" · {time_text(change.timestamp, utc=self._utc)}"
        self.query_one("#title", Label).update(f"replay {state} {SPEEDS[self._speed]:g}x{when}{end}")
        if change is not None:
            who = (Span(f"{visible(change.actor or '-')}  ", Style.DIM),)
            self.query_one("#change", Static).update(self._palette.text([(*change_heading(change), Span("  "), *who)]))
        height = max(self.query_one("#rows").size.height, 1)
        shown = list(self.playing.rows.values())[:height]
        self.query_one("#rows", Static).update(self._palette.text([_row_line(each, change) for each in shown]))


def _row_line(shown: Shown, newest: object) -> Line:
    """A row as it is after its last change; what that one touched stands out."""
    change = shown.change
    mark = "▸" if change is newest else " "
    style = EVENT_STYLES[change.event_type]
    spans = [
        Span(f"{mark}{change.event_type.letter} ", style),
        Span(row_word(change.table, change.row_id), Style.STRONG),
    ]
    if change.event_type.removes:
        return (*spans, Span("  gone", Style.DIM))
    ranked = sorted(change.image, key=lambda column: column not in shown.touched)[:_COLUMNS]
    for column in ranked:
        is_touched = column in shown.touched
        spans.append(Span(f"  {visible(column)} ", Style.DIM))
        spans.append(Span(value_text(change.image[column], 24), style if is_touched else Style.PLAIN))
    return tuple(spans)
