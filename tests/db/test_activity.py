"""How much happened when."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from auditcli.activity import Period, bars_of, count_bar, whole_period
from auditcli.filters.filterword import parse_text_test
from auditcli.model import EventType
from auditcli.selection import Alternatives, Selection
from tests.db.logbook import START, Logbook


@pytest.fixture
def book(engine: Engine) -> Logbook:
    """Ten changes, one a second: every third one an update by bob."""
    book = Logbook.create(engine)
    for number in range(10):
        with book.transaction("bob" if number % 3 == 2 else "alice"):
            if number % 3 == 2:
                book.update("item", {"id": 1, "name": "a"}, {"id": 1, "name": f"n{number}"})
            else:
                book.insert("item", {"id": number, "name": "a"})
    return book


def test_bars_have_a_round_width_and_cover_the_span() -> None:
    period = Period(START + timedelta(minutes=7), START + timedelta(hours=5))

    bars = bars_of(period, 40)

    assert {bar.width for bar in bars} == {timedelta(minutes=10)}
    assert bars[0].start == START
    assert bars[-1].end >= period.end
    assert all(earlier.end == later.start for earlier, later in itertools.pairwise(bars))


@pytest.mark.parametrize("days", [0.00001, 1, 30, 400, 40_000])
@pytest.mark.parametrize("most", [2, 7, 80])
def test_any_span_fits_into_any_number_of_bars(days: float, most: int) -> None:
    period = Period(START, START + timedelta(days=days))

    bars = bars_of(period, most)

    assert 1 <= len(bars) <= most
    assert bars[0].start <= period.start
    assert bars[-1].end >= period.end


def test_the_bars_of_a_log_count_each_of_its_changes_once(book: Logbook) -> None:
    with book.reader() as reader:
        period = whole_period(reader)
        assert period is not None
        counts = [count_bar(reader, Selection(), bar) for bar in bars_of(period, 6)]

    assert sum(each.get(EventType.INSERT, 0) for each in counts) == 7
    assert sum(each.get(EventType.UPDATE, 0) for each in counts) == 3


@pytest.mark.parametrize(
    "selection",
    [Selection(actors=Alternatives(("bob",))), Selection(texts=Alternatives((parse_text_test("/n[0-9]/"),)))],
    ids=["by SQL", "by value"],
)
def test_bars_follow_the_selection(book: Logbook, selection: Selection) -> None:
    with book.reader() as reader:
        period = whole_period(reader)
        assert period is not None

        assert count_bar(reader, selection, period) == {EventType.UPDATE: 3}


def test_an_empty_log_has_no_span(engine: Engine) -> None:
    with Logbook.create(engine).reader() as reader:
        assert whole_period(reader) is None


def test_a_bar_and_the_ends_of_the_log_are_found_along_an_index(book: Logbook) -> None:
    asked: list[tuple[str, Any]] = []
    with book.reader() as reader:
        period = whole_period(reader)
        assert period is not None
        event.listen(reader.connection, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
        whole_period(reader)
        count_bar(reader, Selection(), Period(period.start, period.start + timedelta(seconds=2)))
        plans = [
            row[-1]
            for sql, values in list(asked)
            for row in reader.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
        ]

    assert [plan for plan in plans if plan.startswith("SCAN changelog") and "INDEX" not in plan] == []
    assert any("timestamp>? AND timestamp<?" in plan for plan in plans)
    assert not any("OFFSET" in sql.upper() for sql, _ in asked)
