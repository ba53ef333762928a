"""How much happened when: a bar a stretch of time, stacked by event, with an axis and a cursor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from auditcli.activity import Counts, Period
from auditcli.model import EventType
from auditcli.present import Style
from auditcli.tui.palette import EVENT_STYLES, Palette

_BLOCKS = " ▁▂▃▄▅▆▇█"
_EIGHTHS = 8
_CURSOR = "▲"
_UNKNOWN = "·"
_LABEL_EVERY = 18
_STACKED = (EventType.INSERT, EventType.UPDATE, EventType.DELETE)
_LETTERS = {EventType.INSERT: "I", EventType.UPDATE: "U", EventType.DELETE: "D"}


class Activity(Widget, can_focus=True):
    """Counts come bar by bar; a bar that is not counted yet is a dot."""

    DEFAULT_CSS = """
    Activity { height: 6; border: round $panel; border-title-color: $text-muted; }
    Activity:focus { border: round $primary; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "move(-1)", "Earlier", show=False),
        Binding("right,l", "move(1)", "Later", show=False),
        Binding("enter", "jump", "Go there", show=False),
        Binding("plus", "zoom", "Zoom in", show=False),
        Binding("minus", "zoom_out", "Zoom out", show=False),
        Binding("escape", "leave", "Back to the list", show=False),
    ]

    class Jumped(Message):
        """The list is to show what happened in this stretch of time."""

        def __init__(self, bar: Period) -> None:
            super().__init__()
            self.bar = bar

    class Zoomed(Message):
        """This stretch of time is to fill the width."""

        def __init__(self, period: Period) -> None:
            super().__init__()
            self.period = period

    class Left(Message):
        """The list is next."""

    class Resized(Message):
        """There is room for another number of bars."""

    def __init__(self, palette: Palette, *, utc: bool = False, id: str | None = None) -> None:  # noqa: A002  # as Textual names it
        super().__init__(id=id)
        self.palette = palette
        self.bars: Sequence[Period] = ()
        self.counts: dict[Period, Counts] = {}
        self.cursor: int | None = None
        self._utc = utc

    @property
    def room(self) -> int:
        """How many bars fit."""
        return max(self.size.width, 2)

    def show(self, bars: Sequence[Period], counts: dict[Period, Counts]) -> None:
        """Show these bars; those that are counted already have their height at once."""
        self.bars, self.counts = bars, counts
        self.cursor = None
        self._say()

    def add(self, bar: Period, counts: Counts) -> None:
        """A bar has been counted."""
        self.counts[bar] = counts
        self._say()

    def point_at(self, moment: datetime) -> None:
        """Put the cursor where a moment is, if it is on the screen."""
        cursor = next((number for number, bar in enumerate(self.bars) if bar.start <= moment < bar.end), None)
        if cursor != self.cursor:
            self.cursor = cursor
            self._say()

    def bar_of(self, moment: datetime) -> Period | None:
        """The bar in which a moment is; None where it is not on the screen."""
        return next((bar for bar in self.bars if bar.start <= moment < bar.end), None)

    def render_line(self, y: int) -> Strip:
        width, height = self.size.width, self.size.height
        if y == height - 1:
            segments = self._axis(width)
        else:
            top = max((self._total(bar) for bar in self.bars), default=0)
            level = height - 2 - y
            segments = [self._cell(bar, level, top, height - 1) for bar in self.bars[:width]]
            segments.append(Segment(" " * max(width - len(self.bars), 0), RichStyle()))
        return Strip(segments, width).apply_style(self.rich_style)

    def _cell(self, bar: Period, level: int, top: int, levels: int) -> Segment:
        """One cell of a bar: its kinds of event stand on each other, of which a cell can show two."""
        if bar not in self.counts:
            return Segment(_UNKNOWN if level == 0 else " ", self.palette.style(Style.DIM))
        total = self._total(bar)
        height = max(round(total / top * levels * _EIGHTHS), 1) if top and total else 0
        here = min(max(height - level * _EIGHTHS, 0), _EIGHTHS)
        if not here:
            return Segment(" ", RichStyle())
        kind = self._kind_at(bar, (level * _EIGHTHS + here / 2) / height)
        return Segment(_BLOCKS[here], self.palette.style(EVENT_STYLES[kind]))

    def _kind_at(self, bar: Period, fraction: float) -> EventType:
        """Which kind of event stands at a part of the bar's height."""
        counts, reached = self._stacked(bar), 0
        for kind, count in counts:
            reached += count
            if fraction * self._total(bar) <= reached:
                return kind
        return EventType.UPDATE

    def _stacked(self, bar: Period) -> list[tuple[EventType, int]]:
        counts = self.counts.get(bar, {})
        removed = counts.get(EventType.DELETE, 0) + counts.get(EventType.TRUNCATE, 0)
        return [(kind, removed if kind is EventType.DELETE else counts.get(kind, 0)) for kind in _STACKED]

    def _total(self, bar: Period) -> int:
        return sum(count for _, count in self._stacked(bar))

    def _axis(self, width: int) -> list[Segment]:
        marks = [" "] * width
        for place in range(0, len(self.bars), _LABEL_EVERY):
            for offset, character in enumerate(self._label(self.bars[place])):
                if place + offset < width:
                    marks[place + offset] = character
        if self.cursor is not None and self.cursor < width:
            marks[self.cursor] = _CURSOR
        return [Segment(set_cell_size("".join(marks), width), self.palette.style(Style.DIM))]

    def _label(self, bar: Period) -> str:
        start = self._shown(bar.start)
        if bar.width >= timedelta(days=1):
            return f"╵{start:%Y-%m-%d}"
        return f"╵{start:%H:%M:%S}" if bar.width < timedelta(minutes=1) else f"╵{start:%m-%d %H:%M}"

    def _shown(self, moment: datetime) -> datetime:
        return moment if self._utc else moment.astimezone()

    def _say(self) -> None:
        """The title says how wide a bar is and, of the one under the cursor, what it holds."""
        self.refresh()
        if not self.bars:
            self.border_title = "activity"
            return
        title = f"activity · {_width_word(self.bars[0].width)} a bar"
        if self.cursor is not None and self.cursor < len(self.bars):
            bar = self.bars[self.cursor]
            counted = " ".join(f"{_LETTERS[kind]} {count:,}" for kind, count in self._stacked(bar))
            title += f" · {self._shown(bar.start):%Y-%m-%d %H:%M:%S}: {counted}"
        else:
            shown = [self._stacked(bar) for bar in self.bars if bar in self.counts]
            sums = {kind: sum(dict(each)[kind] for each in shown) for kind in _STACKED}
            title += " · " + " ".join(f"{_LETTERS[kind]} {count:,}" for kind, count in sums.items())
        self.border_title = title

    def action_move(self, bars: int) -> None:
        if self.bars:
            start = len(self.bars) if self.cursor is None else self.cursor
            self.cursor = max(0, min(start + bars, len(self.bars) - 1))
            self._say()

    def action_jump(self) -> None:
        if self.cursor is not None:
            self.post_message(self.Jumped(self.bars[self.cursor]))

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def action_zoom(self) -> None:
        if self.cursor is not None and self.bars[self.cursor].width > timedelta(seconds=1):
            self.post_message(self.Zoomed(self.bars[self.cursor]))

    def action_zoom_out(self) -> None:
        if self.bars:
            whole = Period(self.bars[0].start, self.bars[-1].end)
            self.post_message(self.Zoomed(Period(whole.start - whole.width / 2, whole.end + whole.width / 2)))

    def on_click(self, event: events.Click) -> None:
        place = event.get_content_offset(self)
        if place is not None and place.x < len(self.bars):
            self.cursor = place.x
            self._say()
            self.action_jump()

    def on_resize(self) -> None:
        self.post_message(self.Resized())


def _width_word(width: timedelta) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if width.total_seconds() >= length:
            return f"{width.total_seconds() / length:g} {unit}"
    return f"{width.total_seconds():g} s"
