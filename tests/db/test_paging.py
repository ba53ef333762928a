"""Pages of a log: neighbours on both sides of an id, whatever decides which changes are selected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from auditcli import paging
from auditcli.filters.filterword import parse_text_test
from auditcli.model import Change
from auditcli.paging import Page, Paging
from auditcli.selection import Alternatives, Selection
from tests.db.logbook import Logbook

EVERYTHING = Selection()
BY_BOB = Selection(actors=Alternatives(("bob",)))
WITH_SEVEN = Selection(texts=Alternatives((parse_text_test("7"),)))


@pytest.fixture
def book(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Logbook:
    """Sixty changes, every third by bob; the stretches of a search are short."""
    monkeypatch.setattr(paging, "_STRETCH", 4)
    monkeypatch.setattr(paging, "_FAR", 12)
    book = Logbook.create(engine)
    for number in range(1, 61):
        with book.transaction("bob" if number % 3 == 0 else "alice"):
            book.insert("item", {"id": number, "name": f"n{number}"})
    return book


def ids(page: Page) -> list[int]:
    return [change.id for change in page.changes]


def downwards(pages: Paging) -> Iterator[Change]:
    page = pages.older()
    while True:
        yield from page.changes
        if page.is_last:
            return
        page = pages.older(page.edge_id)


def upwards(pages: Paging) -> Iterator[Change]:
    page = pages.newer(0)
    while True:
        yield from reversed(page.changes)
        if page.is_last:
            return
        page = pages.newer(page.edge_id)


def test_the_newest_page_comes_first_and_the_next_one_goes_on(book: Logbook) -> None:
    with book.reader() as reader:
        pages = Paging(reader, EVERYTHING, size=5)
        first = pages.older()
        second = pages.older(first.edge_id)

    assert ids(first) == [60, 59, 58, 57, 56]
    assert ids(second) == [55, 54, 53, 52, 51]
    assert not first.is_last


def test_the_last_page_says_so(book: Logbook) -> None:
    with book.reader() as reader:
        page = Paging(reader, EVERYTHING, size=5).older(4)

    assert (ids(page), page.is_last) == ([3, 2, 1], True)


def test_newer_changes_come_newest_first_too(book: Logbook) -> None:
    with book.reader() as reader:
        page = Paging(reader, BY_BOB, size=3).newer(30)

    assert ids(page) == [39, 36, 33]


@pytest.mark.parametrize("selection", [EVERYTHING, BY_BOB, WITH_SEVEN], ids=["all", "by index", "by value"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(size=st.integers(1, 70))
def test_pages_of_any_size_hold_each_selected_change_once(book: Logbook, selection: Selection, size: int) -> None:
    with book.reader() as reader:
        wanted = [change.id for change in reader.changes(selection)]
        pages = Paging(reader, selection, size=size)

        assert [change.id for change in upwards(pages)] == wanted
        assert [change.id for change in downwards(pages)] == wanted[::-1]


def test_a_search_that_is_not_wanted_any_more_ends_and_can_go_on(book: Logbook) -> None:
    looks = iter([True, False])
    with book.reader() as reader:
        given_up = Paging(reader, WITH_SEVEN, is_wanted=lambda: next(looks)).older()
        rest = Paging(reader, WITH_SEVEN).older(given_up.edge_id)

    assert ids(given_up) == [57]
    assert not given_up.is_last
    assert ids(rest) == [47]


def test_an_empty_log_has_one_empty_page(engine: Engine) -> None:
    with Logbook.create(engine).reader() as reader:
        pages = Paging(reader, EVERYTHING)

        assert pages.older() == Page((), 0, is_last=True)
        assert pages.newer(0).is_last
