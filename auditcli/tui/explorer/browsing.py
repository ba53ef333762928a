"""The list, the details, the activity and what is committed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType

from auditcli.clock import utc_now
from auditcli.model import Change
from auditcli.tui.details import Aspect, Looking, describe, diff_lines
from auditcli.tui.explorer.filtering import Filtering
from auditcli.tui.following import Following
from auditcli.tui.listing import Listing
from auditcli.tui.timeline import RANGES, Timeline
from auditcli.tui.waiting import Waiting
from auditcli.tui.widgets.activity import Activity
from auditcli.tui.widgets.change_list import ChangeList
from auditcli.tui.widgets.detail import Detail

if TYPE_CHECKING:
    from auditcli.following.news import News
    from auditcli.log.reader import LogReader
    from auditcli.present import Line

_DETAIL = "detail"


class Browsing(Filtering):
    """Following pauses by itself while somebody reads further down, and goes on at the top."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "follow", "Follow"),
        Binding("h", "aspect('ROW')", "History"),
        Binding("b", "aspect('BLAME')", "Blame"),
        Binding("d", "aspect('DIFF')", "Diff", show=False),
        Binding("i", "activity", "Activity", show=False),
        Binding("z", "zoom_pane", "Zoom the pane", show=False),
        *(Binding(key, f"range('{key}')", f"Activity: {word}", show=False) for key, (word, _) in RANGES.items()),
    ]

    def on_mount(self) -> None:
        self.listing = Listing(
            self.queries,
            self.changes,
            begun=self._begun,
            counted=lambda matching, total: self.stand(matching=matching, total=total),
        )
        self.timeline = Timeline(self.app, self.queries, self.activity)
        self.following = Following(
            self.app, self.queries, began=self._nothing_is_missed, arrived=self._arrived, tell=self._tell
        )
        self._waiting = Waiting()
        self.changes.focus()
        self.stand()
        # After the first frame: the driver of a database takes longer to load than a screen to draw.
        self.call_after_refresh(self.choose, self.first_words)

    @on(Filtering.Selected)
    def _selected(self, event: Filtering.Selected) -> None:
        chosen = event.chosen
        self._waiting = Waiting()
        self.stand(matching=None, waiting=0, live=chosen.until is None)
        self.listing.choose(chosen)
        self.timeline.choose(chosen)
        if chosen.until is None:
            self.following.start(chosen)
        else:
            self.following.stop()

    # The list.

    @on(ChangeList.Wanted)
    def _page_wanted(self, event: ChangeList.Wanted) -> None:
        self.listing.extend(event.side, event.edge_id)

    @on(ChangeList.EndWanted)
    def _end_wanted(self, event: ChangeList.EndWanted) -> None:
        self.listing.begin_at_end(event.side)

    @on(ChangeList.PlaceWanted)
    def _place_wanted(self, event: ChangeList.PlaceWanted) -> None:
        self.pause()
        self.listing.begin_at(event.fraction)

    @on(ChangeList.Highlighted)
    def _highlighted(self, event: ChangeList.Highlighted) -> None:
        self.detail.look_at(event.change)
        if event.change is not None:
            self.activity.point_at(event.change.timestamp)

    @on(ChangeList.Opened)
    def _opened(self) -> None:
        self.add_class("-reading")
        self.detail.focus_body()

    @on(ChangeList.Marked)
    def _marked(self) -> None:
        self.stand(marked=len(self.changes.marked))

    @on(ChangeList.Scrolled)
    def _scrolled(self) -> None:
        if self.changes.window.is_at_newest and self.changes.window.cursor == 0:
            self.resume()
        else:
            self.pause()

    # The details.

    @on(Detail.Wanted)
    def _detail_wanted(self, event: Detail.Wanted) -> None:
        looking = Looking(utc_now(), self.standing.utc, event.unchanged, self.standing.as_of)
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
        self.remove_class("-zoomed")
        self.changes.focus()

    def action_aspect(self, name: str) -> None:
        self.detail.turn_to(Aspect[name])

    def action_zoom_pane(self) -> None:
        self.toggle_class("-zoomed")

    # The activity.

    @on(Activity.Jumped)
    def _jumped(self, event: Activity.Jumped) -> None:
        self.pause()
        self.listing.begin_at(event.bar.end)

    @on(Activity.Zoomed)
    def _zoomed(self, event: Activity.Zoomed) -> None:
        self.timeline.zoom(event.period)

    @on(Activity.Resized)
    def _resized(self) -> None:
        self.timeline.redraw()

    @on(Activity.Left)
    def _activity_left(self) -> None:
        self.changes.focus()

    def action_activity(self) -> None:
        self.activity.focus()

    def action_range(self, key: str) -> None:
        self.timeline.show_last(RANGES[key][1])

    # What is committed meanwhile.

    def _arrived(self, committed: Sequence[Change]) -> None:
        fresh = [change for change in committed if not self.changes.has(change)]
        if self.standing.live and not self.listing.is_beginning:
            self._show(fresh)
            return
        self._waiting.add(fresh)
        if not self.standing.live:
            self.stand(waiting=self._waiting.count)

    def _show(self, fresh: Sequence[Change]) -> None:
        if not fresh:
            return
        self.changes.add_newest(fresh, follow=True)
        stamps = [change.timestamp for change in fresh]
        self._grown(len(fresh), (min(stamps), max(stamps)))

    def _read_again(self) -> None:
        """Begin at the newest change, without those that wait: the log has them."""
        waiting, self._waiting = self._waiting, Waiting()
        self.listing.begin_at(None)
        if waiting.stamps is not None:
            self._grown(waiting.count, waiting.stamps)

    def _grown(self, changes: int, stamps: tuple[datetime, datetime]) -> None:
        counts = {"matching": self.standing.matching, "total": self.standing.total}
        self.stand(**{name: None if count is None else count + changes for name, count in counts.items()})
        self.timeline.grown(*stamps)

    def _nothing_is_missed(self) -> None:
        """The feed has begun: read again what was committed between the first look at the list and that."""
        self.recover()
        if self.standing.live:
            self.listing.begin_at(None)
        else:
            self._waiting.is_all = False

    def _begun(self) -> None:
        """The list has begun anew: show what came while it was read."""
        if not self.standing.live:
            return
        if self._waiting.is_all:
            self._show_waiting()
        else:
            self._read_again()

    def _tell(self, news: News) -> None:
        from auditcli.following.news import Back, Lost
        from auditcli.present.news import news_text

        if isinstance(news, Lost):
            self.stand(trouble=f"✗ {news_text(news)}")
            return
        if isinstance(news, Back):
            self.recover()
        self.say(news_text(news))

    def action_follow(self) -> None:
        if self.standing.live:
            self.pause()
        else:
            self.resume()

    def pause(self) -> None:
        """Let the list stand still; what comes is counted."""
        if self.standing.live:
            self.stand(live=False)

    def resume(self) -> None:
        """Show what came, and what comes from now on."""
        if self.standing.live or self.chosen is None or self.chosen.until is not None:
            return
        self.stand(live=True, waiting=0)
        if self.changes.window.is_at_newest and self._waiting.is_all:
            self._show_waiting()
        else:
            self._read_again()

    def _show_waiting(self) -> None:
        waiting, self._waiting = self._waiting, Waiting()
        self._show([change for change in waiting.changes if not self.changes.has(change)])
