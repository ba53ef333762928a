"""The parts of the explorer that need neither a screen nor a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from auditcli.model import Change, EventType, Source, TableName
from auditcli.tui.completion import Vocabulary
from auditcli.tui.playing import _LONGEST_PAUSE, Playing
from auditcli.tui.waiting import Waiting
from auditcli.tui.window import MOST, Side, Window

HEIGHT = 10
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Page:
    """Neighbouring changes."""

    changes: Sequence[Change]
    edge_id: int
    is_last: bool


def change(number: int, row: int = 1, event: EventType = EventType.UPDATE) -> Change:
    before = None if event is EventType.INSERT else {"id": row, "n": number - 1}
    after = None if event is EventType.DELETE else {"id": row, "n": number}
    return Change(
        id=number,
        timestamp=START + timedelta(seconds=number),
        table=TableName("item"),
        row_id=str(row),
        event_type=event,
        before=before,
        after=after,
        transaction_id=None,
        actor="tess",
        old_row_id=None,
        source=Source.LISTENER,
    )


def page(newest: int, oldest: int, *, is_last: bool = False, newer: bool = False) -> Page:
    changes = [change(number) for number in range(newest, oldest - 1, -1)]
    return Page(changes, newest if newer else oldest, is_last)


def ids(window: Window) -> list[int]:
    return [row.id for row in window.rows]


def test_an_empty_window_can_be_used_like_any_other() -> None:
    window = Window()
    window.begin(Page((), 0, is_last=True))
    window.move_to(5, HEIGHT)
    window.scroll(3, HEIGHT)
    assert (window.current, window.cursor, window.top, window.wanted(HEIGHT)) == (None, 0, 0, None)
    window.add_newest([change(1)], follow=False)
    assert ids(window) == [1]


@pytest.mark.parametrize(
    ("cursor", "expected"),
    [(-5, (0, 0)), (0, (0, 0)), (9, (9, 0)), (10, (10, 1)), (99, (99, 90)), (1000, (99, 90))],
)
def test_the_screen_follows_the_cursor(cursor: int, expected: tuple[int, int]) -> None:
    window = Window()
    window.begin(page(100, 1, is_last=True))
    window.move_to(cursor, HEIGHT)
    assert (window.cursor, window.top) == expected


def test_the_cursor_stays_on_the_screen_that_is_scrolled() -> None:
    window = Window()
    window.begin(page(100, 1, is_last=True))
    window.scroll(30, HEIGHT)
    assert (window.cursor, window.top) == (30, 30)
    window.scroll(-5, HEIGHT)
    assert (window.cursor, window.top) == (30, 25)
    window.scroll(500, HEIGHT)
    assert window.top == 90


def test_a_page_above_leaves_the_row_under_the_cursor_where_it_is() -> None:
    window = Window()
    window.begin(page(100, 51), page(150, 101, newer=True))
    window.move_to(60, HEIGHT)
    here, place = window.current, window.cursor - window.top
    window.extend(Side.NEWER, page(200, 151, newer=True, is_last=True))
    assert window.current == here
    assert window.cursor - window.top == place
    assert ids(window) == list(range(200, 50, -1))
    assert window.is_last[Side.NEWER]


def test_memory_is_bounded_however_far_one_goes() -> None:
    window = Window()
    newest = 100_000
    window.begin(page(newest, newest - 255))
    for _ in range(40):
        window.move_to(len(window.rows), HEIGHT)
        edge = window.edges[Side.OLDER]
        window.extend(Side.OLDER, page(edge - 1, edge - 256))
        assert len(window.rows) <= MOST
        assert ids(window) == list(range(window.rows[0].id, window.rows[-1].id - 1, -1))
    assert not window.is_last[Side.NEWER]
    for _ in range(40):
        window.move_to(0, HEIGHT)
        edge = window.edges[Side.NEWER]
        window.extend(Side.NEWER, page(edge + 256, edge + 1, newer=True))
        assert len(window.rows) <= MOST
        assert ids(window) == list(range(window.rows[0].id, window.rows[-1].id - 1, -1))


@pytest.mark.parametrize(("follow", "current"), [(True, 13), (False, 9)])
def test_what_is_committed_out_of_order_is_put_in_its_place(follow: bool, current: int) -> None:
    window = Window()
    window.begin(Page([change(number) for number in (10, 9, 7)], 7, is_last=True))
    window.move_to(1, HEIGHT)
    window.add_newest([change(8), change(13), change(9)], follow=follow)
    assert ids(window) == [13, 10, 9, 8, 7]
    assert window.current == change(current)


def test_of_very_many_waiting_changes_only_the_number_is_kept() -> None:
    waiting = Waiting()
    waiting.add([change(number) for number in range(MOST)])
    assert (waiting.count, waiting.is_all) == (MOST, True)
    waiting.add([change(MOST)])
    waiting.add([change(MOST + 1)])
    assert (waiting.count, waiting.is_all, waiting.changes) == (MOST + 2, False, [])


def test_playing_goes_on_and_back() -> None:
    playing = Playing()
    playing.step()
    playing.back()
    assert (playing.last, playing.next, playing.due_in(1)) == (None, None, 0)
    playing.add([change(1, event=EventType.INSERT), change(2, row=2), change(3)])
    for _ in range(4):
        playing.step()
    assert [shown.change.id for shown in playing.rows.values()] == [3, 2]
    assert [shown.touched for shown in playing.rows.values()] == [{"n"}, {"n"}]
    playing.back()
    assert [shown.change.id for shown in playing.rows.values()] == [2, 1]
    assert playing.next == change(3)


@pytest.mark.parametrize(
    ("seconds", "speed", "due"), [(60, 60, 1.0), (60, 600, 0.1), (86_400, 1, _LONGEST_PAUSE), (-5, 1, 0.0)]
)
def test_the_next_change_is_due_as_fast_as_asked_but_never_late(seconds: int, speed: float, due: float) -> None:
    playing = Playing()
    playing.add([change(0), change(seconds)])
    playing.step()
    assert playing.due_in(speed) == due


VOCABULARY = Vocabulary(
    tables=("orders", "order_line"), columns=("status", "total"), actors=("alice", "bob"), marks=("release",)
)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("", None),
        ("ac", "actor:"),
        ("actor:a", "actor:alice"),
        ("actor:alice", None),
        ("actor:zoe", None),
        ("not:actor:b", "not:actor:bob"),
        ("table:order_", "table:order_line"),
        ("actor:bob ev", "actor:bob event:"),
        ("actor:bob event:del", "actor:bob event:delete"),
        ("since:@r", "since:@release"),
        ("row:ord", "row:orders/"),
        ("tot", "total:"),
        ("actor:bob ", None),
        ("nowhere:x", None),
    ],
)
def test_the_last_word_is_completed(typed: str, completed: str | None) -> None:
    assert VOCABULARY.completed(typed) == completed
