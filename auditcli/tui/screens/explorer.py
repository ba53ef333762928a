"""The one screen that is always there: activity, filter, the list of changes and what there is to know of one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer

from auditcli.clock import utc_now
from auditcli.model import Change
from auditcli.present import SHORT_ID, counted, row_word, visible
from auditcli.tui.details import Aspect, Looking, describe, diff_lines
from auditcli.tui.following import Following
from auditcli.tui.listing import Listing
from auditcli.tui.palette import Palette
from auditcli.tui.queries import Queries, QueryFailed
from auditcli.tui.screens.choice import Choice
from auditcli.tui.screens.undo_plan import UndoPlan
from auditcli.tui.timeline import RANGES, Timeline
from auditcli.tui.undoing import (
    Author,
    ToUndo,
    Undoing,
    redo_of_last,
    undo_of_changes,
    undo_of_selection,
    undo_of_transaction,
)
from auditcli.tui.widgets.activity import Activity
from auditcli.tui.widgets.change_list import ChangeList
from auditcli.tui.widgets.detail import Detail
from auditcli.tui.widgets.filter_bar import FilterBar
from auditcli.tui.widgets.heading import Heading, Standing

if TYPE_CHECKING:
    from auditcli.apply import Outcome
    from auditcli.chosen import Chosen
    from auditcli.config import Target
    from auditcli.following.news import News
    from auditcli.log.reader import LogReader
    from auditcli.present import Line

_FILTER = "filter"
_DETAIL = "detail"
_RETRY_AFTER = 2.0
_WIDE, _MIDDLE = 100, 60
_HIGH, _LOW = 16, 12


class Explorer(Screen[None]):
    """Messages come up from the widgets, and what the library answers goes down to them."""

    DEFAULT_CSS = """
    Explorer #panes { height: 1fr; }
    Explorer #list-pane { width: 3fr; border: round $panel; }
    Explorer #detail-pane { width: 2fr; border: round $panel; }
    Explorer #list-pane:focus-within, Explorer #detail-pane:focus-within { border: round $primary; }
    Explorer.-middle #panes { layout: vertical; }
    Explorer.-middle #list-pane { width: 1fr; height: 3fr; }
    Explorer.-middle #detail-pane { width: 1fr; height: 2fr; }
    Explorer.-narrow #detail-pane { display: none; }
    Explorer.-narrow #list-pane, Explorer.-flat #list-pane { border: none; }
    Explorer.-narrow.-reading #detail-pane { display: block; width: 1fr; }
    Explorer.-narrow.-reading #list-pane { display: none; }
    Explorer.-flat Activity { display: none; }
    Explorer.-low Footer { display: none; }
    Explorer.-zoomed #list-pane { display: none; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter"),
        Binding("backslash", "clear_filter", "Clear", show=False),
        Binding("f", "follow", "Follow"),
        Binding("h", "aspect('ROW')", "History"),
        Binding("b", "aspect('BLAME')", "Blame"),
        Binding("equals_sign", "keep_only", "Keep only", show=False),
        Binding("x", "exclude", "Exclude", show=False),
        Binding("i", "activity", "Activity", show=False),
        Binding("Z", "zoom_pane", "Zoom the pane", show=False),
        *(Binding(key, f"range('{key}')", show=False) for key in RANGES),
        Binding("u", "undo", "Undo"),
        Binding("U", "redo", "Undo an undo", show=False),
        Binding("question_mark", "help", "Help"),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(
        self, queries: Queries, palette: Palette, target: Target, author: Author, words: str, *, utc: bool
    ) -> None:
        super().__init__()
        self._target = target
        self._author = author
        standing = Standing(target.masked_url, target.profile, target.read_only, target.protected, utc=utc)
        self.queries = queries
        self.palette = palette
        self.standing = standing
        self.chosen: Chosen | None = None
        self._words = words
        self._waiting: list[Change] = []

    def compose(self) -> ComposeResult:
        yield Heading()
        yield Activity(self.palette, utc=self.standing.utc)
        yield FilterBar(self._words)
        with Horizontal(id="panes"):
            with Vertical(id="list-pane"):
                yield ChangeList(self.palette, utc=self.standing.utc)
            with Vertical(id="detail-pane"):
                yield Detail(self.palette)
        yield Footer()

    def on_mount(self) -> None:
        self.listing = Listing(self.queries, self.changes, self._counted)
        self.timeline = Timeline(self.app, self.queries, self.query_one(Activity))
        self.following = Following(self.app, self.queries, self._arrived, self._tell)
        self.changes.focus()
        self._say()
        # After the first frame: the driver of a database takes longer to load than a screen to draw.
        self.call_after_refresh(self._choose, self._words)

    @property
    def changes(self) -> ChangeList:
        """The list."""
        return self.query_one(ChangeList)

    @property
    def detail(self) -> Detail:
        """What there is to know of one change."""
        return self.query_one(Detail)

    # The filter.

    @on(FilterBar.Changed)
    def _filter_changed(self, event: FilterBar.Changed) -> None:
        self._choose(event.words)

    @on(FilterBar.Left)
    def _filter_left(self) -> None:
        self.changes.focus()

    def _choose(self, words: str) -> None:
        try:
            split = shlex.split(words)
        except ValueError as error:
            self.query_one(FilterBar).say(str(error).lower())
            return

        def choose(reader: LogReader) -> Chosen:
            from auditcli.chosen import choose

            return choose(reader, split, now=utc_now())

        self.queries.ask(_FILTER, choose, self._chosen)

    def _chosen(self, chosen: Chosen) -> None:
        self.query_one(FilterBar).say(None)
        if self.chosen is not None and chosen == self.chosen:
            return
        self.chosen = chosen
        self._waiting.clear()
        self._stand(matching=None, waiting=0)
        self.listing.choose(chosen)
        self.timeline.choose(chosen)
        self._follow(chosen)

    def action_filter(self) -> None:
        self.query_one(FilterBar).edit()

    def action_clear_filter(self) -> None:
        self.query_one(FilterBar).set_words("")

    def action_keep_only(self) -> None:
        self._add_word("")

    def action_exclude(self) -> None:
        self._add_word("not:")

    def _add_word(self, sign: str) -> None:
        """Narrow the filter by what is under the cursor: the actor in the list, the table where there is none."""
        change = self.changes.window.current
        if change is None:
            return
        from auditcli.filters.rowword import table_word

        word = f"{sign}table:{table_word(change.table)}" if change.actor is None else f"{sign}actor:{change.actor}"
        self.query_one(FilterBar).set_words(f"{self.query_one(FilterBar).words} {shlex.quote(word)}".strip())

    # The list.

    @on(ChangeList.Wanted)
    def _page_wanted(self, event: ChangeList.Wanted) -> None:
        self.listing.extend(event.side, event.edge_id)

    @on(ChangeList.EndWanted)
    def _end_wanted(self, event: ChangeList.EndWanted) -> None:
        self.listing.begin_at_end(event.side)

    @on(ChangeList.PlaceWanted)
    def _place_wanted(self, event: ChangeList.PlaceWanted) -> None:
        self._pause()
        self.listing.begin_at(event.fraction)

    @on(ChangeList.Highlighted)
    def _highlighted(self, event: ChangeList.Highlighted) -> None:
        self.detail.look_at(event.change)
        if event.change is not None:
            self.query_one(Activity).point_at(event.change.timestamp)

    @on(ChangeList.Opened)
    def _opened(self) -> None:
        self.add_class("-reading")
        self.detail.focus_body()

    @on(ChangeList.Marked)
    def _marked(self) -> None:
        self._stand(marked=len(self.changes.marked))

    @on(ChangeList.Scrolled)
    def _scrolled(self) -> None:
        """Following pauses by itself while somebody reads further down, and goes on at the top."""
        if self.changes.window.is_at_newest and self.changes.window.cursor == 0:
            self._resume()
        else:
            self._pause()

    def _counted(self, matching: int | None, total: int) -> None:
        self._stand(matching=matching, total=total)

    # The details.

    @on(Detail.Wanted)
    def _detail_wanted(self, event: Detail.Wanted) -> None:
        looking = Looking(utc_now(), self.standing.utc, event.unchanged)
        if event.aspect is Aspect.DIFF:
            self.queries.give_up(_DETAIL)
            self.detail.show(diff_lines(event.change, looking))
            return

        def read(reader: LogReader) -> list[Line]:
            return describe(event.aspect, reader, event.change, looking)

        self.queries.ask(_DETAIL, read, self.detail.show)

    @on(Detail.Left)
    def _detail_left(self) -> None:
        self.remove_class("-reading")
        self.changes.focus()

    def action_aspect(self, name: str) -> None:
        self.detail.turn_to(Aspect[name])

    def action_zoom_pane(self) -> None:
        self.toggle_class("-zoomed")

    # The activity.

    @on(Activity.Jumped)
    def _jumped(self, event: Activity.Jumped) -> None:
        self._pause()
        self.listing.begin_at(event.bar.end)

    @on(Activity.Zoomed)
    def _zoomed(self, event: Activity.Zoomed) -> None:
        self.timeline.zoom(event.period)

    @on(Activity.Resized)
    def _resized(self) -> None:
        self.timeline.redraw()

    def action_activity(self) -> None:
        self.query_one(Activity).focus()

    def action_range(self, key: str) -> None:
        self.timeline.show_last(RANGES[key])

    # Following.

    def _follow(self, chosen: Chosen) -> None:
        if chosen.until is None:
            self._stand(live=True)
            self.following.start(chosen)
        else:
            self._stand(live=False)
            self.following.stop()

    def _arrived(self, committed: Sequence[Change]) -> None:
        fresh = [change for change in committed if not self.changes.has(change)]
        if self.standing.live:
            self._show(fresh)
        elif fresh:
            self._waiting += fresh
            self._stand(waiting=len(self._waiting))

    def _tell(self, news: News) -> None:
        from auditcli.present.news import news_text

        self.notify(news_text(news), markup=False)

    def _show(self, committed: Sequence[Change]) -> None:
        if committed:
            self.changes.add_newest(committed, follow=True)
            known = self.standing
            more = len(committed)
            self._stand(
                matching=None if known.matching is None else known.matching + more,
                total=None if known.total is None else known.total + more,
            )
            self.timeline.grown(committed[-1].timestamp)

    def action_follow(self) -> None:
        if self.standing.live:
            self._pause()
        else:
            self._resume()

    def _pause(self) -> None:
        if self.standing.live:
            self._stand(live=False)

    def _resume(self) -> None:
        if self.standing.live or self.chosen is None or self.chosen.until is not None:
            return
        waiting, self._waiting = self._waiting, []
        self._stand(live=True, waiting=0)
        if self.changes.window.is_at_newest:
            self._show(waiting)
        else:
            self.listing.begin_at(None)

    # Undo.

    def action_undo(self) -> None:
        """Ask what is to be taken back, and show the plan."""
        offers = self._offers()

        def answered(number: int | None) -> None:
            if number is not None:
                self._plan(offers[number][1])

        if offers:
            self.app.push_screen(Choice("take back what?", [words for words, _ in offers]), answered)

    def action_redo(self) -> None:
        self._plan(redo_of_last(self._author.actor))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What a read-only database can't have done to it is not offered."""
        return action not in ("undo", "redo") or not self.standing.read_only

    def _offers(self) -> list[tuple[str, ToUndo]]:
        current, marked = self.changes.window.current, self.changes.marked
        offers = []
        if marked:
            offers.append((f"the {counted(len(marked), 'marked change')}", undo_of_changes(sorted(marked))))
        if current is not None:
            row = row_word(current.table, current.row_id)
            offers.append((f"this change, #{current.id} of {row}", undo_of_changes([current.id])))
            if current.transaction_id is not None:
                words = (
                    f"its whole transaction, tx:{current.transaction_id[:SHORT_ID]} by {visible(current.actor or '?')}"
                )
                offers.append((words, undo_of_transaction(current.transaction_id)))
        if self.chosen is not None and not self.chosen.selection.is_empty:
            matching = "all" if self.standing.matching is None else f"all {self.standing.matching:,}"
            offers.append((f"{matching} that the filter selects", undo_of_selection(self.chosen)))
        return offers

    def _plan(self, wanted: ToUndo) -> None:
        def ended(outcome: Outcome | None) -> None:
            if outcome is not None:
                self.changes.unmark()

        dialog = UndoPlan(Undoing(self.queries, self._target), wanted, self._author, self._target, self.palette)
        self.app.push_screen(dialog, ended)

    # How things stand.

    def fail(self, event: QueryFailed) -> None:
        """Say that a question could not be answered, and ask it again in a while."""
        if event.kind == _FILTER:
            self.query_one(FilterBar).say(_in_two_lines(event))
            return
        self._stand(trouble=f"✗ {event.error.message}; trying again …")
        if event.retry is not None:
            self.set_timer(_RETRY_AFTER, event.retry)

    def recover(self) -> None:
        """The database answers again."""
        if self.standing.trouble is not None:
            self._stand(trouble=None)

    def _stand(self, **known: object) -> None:
        self.standing = replace(self.standing, **known)  # type: ignore[arg-type]  # fields by their names
        self._say()

    def _say(self) -> None:
        self.query_one(Heading).say(self.standing)

    def on_resize(self) -> None:
        width, height = self.app.size
        self.set_class(_MIDDLE <= width < _WIDE, "-middle")
        self.set_class(width < _MIDDLE, "-narrow")
        self.set_class(height < _HIGH, "-flat")
        self.set_class(height < _LOW, "-low")


def _in_two_lines(event: QueryFailed) -> str:
    hint = f"\n{event.error.hint}" if event.error.hint else ""
    return f"{event.error.message}{hint}"
