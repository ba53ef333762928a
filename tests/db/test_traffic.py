"""The proof that nothing was missed, after an hour's worth of traffic, and that it would have shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from auditcli.clock import utc_now
from auditcli.init import Wishes, prepare
from auditcli.log.reader import LogReader
from auditcli.verify import Difference, Verification
from tests.db.traffic import AN_HOUR, Traffic
from tests.db.write_paths import Recorded

pytestmark = pytest.mark.thorough

PLANTED: dict[str, tuple[tuple[str, ...], set[tuple[str, str, str | None]]]] = {
    "a row that was missed": (
        ("INSERT INTO review (id, body) VALUES (7, 'unseen')", "DELETE FROM review WHERE id = 8"),
        {("missed", "review/7", None), ("extra", "review/8", None)},
    ),
    "a column that was changed": (
        ("UPDATE review SET body = 'unseen' WHERE id = 9",),
        {("changed", "review/9", "body")},
    ),
    "a row that is there though it was deleted": (
        ("INSERT INTO review (id, body) VALUES (7, 'back')",),
        {("missed", "review/7", None)},
    ),
}


@pytest.mark.parametrize("mode", ["triggers", "listeners"])
def test_an_hour_of_traffic_leaves_no_difference(any_engine: Engine, mode: str) -> None:
    shop = Recorded(any_engine, mode)

    Traffic(shop, seed=7).run(AN_HOUR if mode == "triggers" else AN_HOUR // 10)

    shop.check()
    assert _verify(shop) == []


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_written_behind_the_triggers_is_found(any_engine: Engine, what: str) -> None:
    statements, expected = PLANTED[what]
    shop = Recorded(any_engine, "triggers")
    Traffic(shop, seed=3).run(40)
    _plainly(any_engine, *(f"INSERT INTO review (id, body) VALUES ({key}, 'x')" for key in (7, 8, 9)))
    _plainly(any_engine, "DELETE FROM review WHERE id = 7")

    _behind(shop, lambda: _plainly(any_engine, *statements))

    assert {(str(each.kind), str(each.row), each.column) for each in _verify(shop)} == expected


def test_a_change_that_was_missed_in_the_middle_shows_though_the_end_is_right(any_engine: Engine) -> None:
    shop = Recorded(any_engine, "triggers")
    _plainly(any_engine, "INSERT INTO review (id, body) VALUES (9, 'x')")

    _behind(shop, lambda: _plainly(any_engine, "UPDATE review SET body = 'unseen' WHERE id = 9"))
    _plainly(any_engine, "UPDATE review SET body = 'seen' WHERE id = 9")

    [found] = _verify(shop)
    assert (str(found.kind), str(found.row), found.column) == ("broken", "review/9", "body")


def _verify(shop: Recorded) -> list[Difference]:
    with shop.engine.connect() as connection:
        return list(Verification(LogReader(connection, shop.tables)).differences())


def _plainly(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def _behind(shop: Recorded, write: Callable[[], None]) -> None:
    """While the triggers are away."""
    for wanted in (False, True):
        with shop.engine.connect() as connection:
            prepare(connection, shop.tables, shop.dialect, Wishes(triggers=wanted), now=utc_now())
        if not wanted:
            write()
