"""The list of changes: as long as the log, and no longer in memory than what is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from auditcli.model import Change
from auditcli.present import Line, Span, Style, cells_summary, row_word, visible
from auditcli.tui.palette import EVENT_STYLES, Palette
from auditcli.tui.window import PageLike, Side, Window

_MARK = "●"
_THUMB, _TRACK = "█", "│"
_WHEEL = 3


class ChangeList(Widget, can_focus=True):
    """Changes one a line, newest first; says what it needs and what is done to it by messages."""

    DEFAULT_CSS = """
    ChangeList { height: 1fr; }
    ChangeList:focus { background-tint: $foreground 3%; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False),
        Binding("k,up", "move(-1)", "Up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("ctrl+d", "page(0.5)", "Half a page down", show=False),
        Binding("ctrl+u", "page(-0.5)", "Half a page up", show=False),
        Binding("g,home", "newest", "Newest", show=False),
        Binding("G,end", "oldest", "Oldest", show=False),
        Binding("space", "mark", "Mark", show=False),
        Binding("v", "mark_range", "Mark up to here", show=False),
        Binding("T", "mark_transaction", "Mark the transaction", show=False),
        Binding("escape", "unmark", "No marks", show=False),
        Binding("enter", "open", "Details", show=False),
    ]

    class Wanted(Message):
        """The next page of a side is needed; it begins at this id."""

        def __init__(self, side: Side, edge_id: int) -> None:
            super().__init__()
            self.side = side
            self.edge_id = edge_id

    class EndWanted(Message):
        """The list is to begin anew at one of its ends."""

        def __init__(self, side: Side) -> None:
            super().__init__()
            self.side = side

    class PlaceWanted(Message):
        """The list is to begin anew at a part of the log: 0 is its newest end, 1 its oldest one."""

        def __init__(self, fraction: float) -> None:
            super().__init__()
            self.fraction = fraction

    class Highlighted(Message):
        """Another change is under the cursor, or none."""

        def __init__(self, change: Change | None) -> None:
            super().__init__()
            self.change = change

    class Opened(Message):
        """The change under the cursor is to be looked at."""

    class Marked(Message):
        """Other changes are marked than before."""

    class Scrolled(Message):
        """The list was moved by hand."""

    def __init__(self, palette: Palette, *, utc: bool = False, id: str | None = None) -> None:  # noqa: A002  # as Textual names it
        super().__init__(id=id)
        self.window = Window()
        self.marked: dict[int, Change] = {}
        self.palette = palette
        self.is_waiting = True
        self.log_ids = (0, 0)
        self._utc = utc
        self._asked: tuple[Side, int] | None = None
        self._last_marked: int | None = None

    # What it shows.

    def begin(self, older: PageLike, newer: PageLike | None = None) -> None:
        """Show these pages instead of all that was there."""
        self.is_waiting = False
        self._asked = None
        self.window.begin(older, newer)
        self._moved()

    def extend(self, side: Side, page: PageLike) -> None:
        """Add the next page of a side."""
        self._asked = None
        self.window.extend(side, page)
        self._moved(announce=len(self.window.rows) == len(page.changes))

    def add_newest(self, changes: Sequence[Change], *, follow: bool) -> None:
        """Add changes that were committed just now."""
        self.log_ids = (self.log_ids[0], max(self.log_ids[1], *(change.id for change in changes)))
        self.window.add_newest(changes, follow=follow)
        self._moved()

    def has(self, change: Change) -> bool:
        """Whether a change is in the list already."""
        return change.id <= self.log_ids[1] and any(row.id == change.id for row in self.window.rows)

    def wait(self) -> None:
        """Say that what is shown is being looked for."""
        self.is_waiting = True
        self.refresh()

    def unmark(self) -> None:
        """Forget all marks."""
        self.marked.clear()
        self._last_marked = None
        self._marks_changed()

    @property
    def chosen(self) -> list[Change]:
        """The marked changes, oldest first; without marks the one under the cursor."""
        current = [self.window.current] if self.window.current is not None else []
        return [self.marked[change_id] for change_id in sorted(self.marked)] or current

    # How it is drawn.

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        number = self.window.top + y
        if number < len(self.window.rows):
            line = self._row_segments(
                self.window.rows[number], max(width - 1, 0), is_cursor=number == self.window.cursor
            )
        else:
            line = [Segment(set_cell_size(self._empty_text(y), max(width - 1, 0)), self.palette.style(Style.DIM))]
        return Strip([*line, self._scroll_segment(y)], width).apply_style(self.rich_style)

    def _empty_text(self, y: int) -> str:
        if y:
            return ""
        if self.is_waiting:
            return " looking …"
        if self.window.rows:
            return ""
        if self.log_ids[1]:
            return " no changes here; \\ clears the filter, ? lists the keys"
        return " nothing is recorded yet: `audit init` installs triggers, `auditcli.track` listens to an application"

    def _row_segments(self, change: Change, width: int, *, is_cursor: bool) -> list[Segment]:
        fitted = _fitted(self._row_line(change, width), width)
        segments = self.palette.segments(fitted)
        if not is_cursor:
            return segments
        marking = RichStyle(reverse=self.has_focus, bold=True, underline=not self.has_focus)
        return [Segment(segment.text, (segment.style or RichStyle()) + marking) for segment in segments]

    def _row_line(self, change: Change, width: int) -> Line:
        style = EVENT_STYLES[change.event_type]
        mark = Span(f"{_MARK if change.id in self.marked else ' '} ", Style.WARNING)
        what = cells_summary(change) or (Span(""),)
        row = Span(f"{row_word(change.table, change.row_id)}  ", Style.STRONG)
        letter = Span(f"{change.event_type.letter} ", style)
        if width < 60:
            return (mark, letter, row, *what)
        ids = max(len(f"{self.log_ids[1]:,}"), 5)
        actor = set_cell_size(visible(change.actor or "-"), 11)
        return (
            mark,
            Span(f"{change.id:>{ids},} ", Style.DIM),
            Span(f"{self._time(change.timestamp, long=width >= 90)} ", Style.DIM),
            Span(f"{actor} "),
            letter,
            row,
            *what,
        )

    def _time(self, moment: datetime, *, long: bool) -> str:
        shown = moment if self._utc else moment.astimezone()
        return f"{shown:%Y-%m-%d %H:%M:%S}" if long else f"{shown:%m-%d %H:%M}"

    def _scroll_segment(self, y: int) -> Segment:
        first, last = self.log_ids
        rows = self.window.rows
        if not rows or self.size.height < 2:
            return Segment(" ", RichStyle())
        top = rows[min(self.window.top, len(rows) - 1)]
        fraction = (last - top.id) / max(last - first, 1)
        thumb = round(max(0.0, min(fraction, 1.0)) * (self.size.height - 1))
        return Segment(_THUMB if y == thumb else _TRACK, self.palette.style(Style.DIM))

    # What is done to it.

    def action_move(self, rows: int) -> None:
        top, cursor = self.window.top, self.window.cursor
        self.window.move_to(cursor + rows, self.size.height)
        # All lines are drawn anew only where all of them have moved.
        self._moved(by_hand=True, lines=(cursor, self.window.cursor) if self.window.top == top else ())

    def action_page(self, pages: float) -> None:
        self.action_move(int(pages * max(self.size.height - 1, 1)))

    def action_newest(self) -> None:
        if self.window.is_last[Side.NEWER]:
            self.action_move(-len(self.window.rows))
        else:
            self.post_message(self.EndWanted(Side.NEWER))

    def action_oldest(self) -> None:
        if self.window.is_last[Side.OLDER]:
            self.action_move(len(self.window.rows))
        else:
            self.post_message(self.EndWanted(Side.OLDER))

    def action_mark(self) -> None:
        change = self.window.current
        if change is not None:
            if self.marked.pop(change.id, None) is None:
                self.marked[change.id] = change
            self._last_marked = change.id
            self._marks_changed()
            self.action_move(1)

    def action_mark_range(self) -> None:
        """Mark all changes between the last one that was marked and the cursor."""
        change = self.window.current
        if change is None:
            return
        low, high = sorted((self._last_marked or change.id, change.id))
        self.mark(each for each in self.window.rows if low <= each.id <= high)
        self._last_marked = change.id

    def action_mark_transaction(self) -> None:
        """Mark all changes of the transaction under the cursor that are in the list."""
        change = self.window.current
        if change is not None:
            self.mark(
                each
                for each in self.window.rows
                if each.transaction_id == change.transaction_id and (each.transaction_id or each.id == change.id)
            )

    def action_unmark(self) -> None:
        self.unmark()

    def action_open(self) -> None:
        self.post_message(self.Opened())

    def mark(self, changes: Iterable[Change]) -> None:
        """Mark changes besides those that are marked."""
        self.marked |= {change.id: change for change in changes}
        self._marks_changed()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._scroll(_WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._scroll(-_WHEEL)

    def on_click(self, event: events.Click) -> None:
        if event.x == self.size.width - 1:
            self.post_message(self.PlaceWanted(event.y / max(self.size.height - 1, 1)))
            return
        if self.window.top + event.y < len(self.window.rows):
            self.window.move_to(self.window.top + event.y, self.size.height)
            self._moved(by_hand=True)

    def on_resize(self) -> None:
        self.window.move_to(self.window.cursor, self.size.height)
        self._moved()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def _scroll(self, rows: int) -> None:
        self.window.scroll(rows, self.size.height)
        self._moved(by_hand=True)

    def _marks_changed(self) -> None:
        self.refresh()
        self.post_message(self.Marked())

    def _moved(self, *, by_hand: bool = False, announce: bool = True, lines: Sequence[int] = ()) -> None:
        self.refresh(*(Region(0, number - self.window.top, self.size.width, 1) for number in lines))
        if by_hand:
            self.post_message(self.Scrolled())
        if announce:
            self.post_message(self.Highlighted(self.window.current))
        side = self.window.wanted(max(self.size.height, 1))
        if side is not None and self._asked != (side, self.window.edges[side]):
            self._asked = (side, self.window.edges[side])
            self.post_message(self.Wanted(*self._asked))


def _fitted(line: Line, width: int) -> Line:
    """A line made exactly so many cells wide."""
    spans: list[Span] = []
    left = width
    for span in line:
        text = span.text if cell_len(span.text) <= left else set_cell_size(span.text, left)
        spans.append(Span(text, span.style))
        left -= cell_len(text)
        if left <= 0:
            break
    return (*spans, Span(" " * left)) if left > 0 else tuple(spans)
