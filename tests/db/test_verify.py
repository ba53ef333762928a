"""What the log says against what is there: every kind of difference is found, and none where nothing was missed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine

from auditcli.baseline import record_baseline
from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.init import Wishes, prepare
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.pause import pause, resume
from auditcli.verify import Difference, Verification

pytestmark = pytest.mark.thorough

SQLITE = dialect_named("sqlite")


class Shop:
    """A database with triggers, written by a plain client; `behind` writes what the triggers don't see."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self.engine = engine
        self.path = path
        self.write(
            "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price)",
            "CREATE TABLE loose (v)",
            "INSERT INTO item VALUES (1, 'old', 1)",
        )

    def init(self, **wishes: object) -> None:
        with self.engine.connect() as connection:
            wanted = Wishes(triggers=True, **wishes)  # type: ignore[arg-type]
            prepare(connection, log_tables(), SQLITE, wanted, now=utc_now())

    def init_triggers(self, *, wanted: bool) -> None:
        with self.engine.connect() as connection:
            prepare(connection, log_tables(), SQLITE, Wishes(triggers=wanted), now=utc_now())

    def write(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def behind(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            dropped = [f'DROP TRIGGER "{name}"' for name, _ in triggers]
            for statement in (*dropped, *statements, *(sql for _, sql in triggers)):
                connection.execute(statement)
            connection.commit()

    def verify(self) -> tuple[list[Difference], Verification]:
        with self.engine.connect() as connection:
            run = Verification(LogReader(connection, log_tables()))
            return list(run.differences()), run

    def pause(self, *words: str) -> None:
        with self.engine.connect() as connection:
            pause(connection, log_tables(), SQLITE, words, now=utc_now(), actor=None, reason=None)

    def resume(self, *words: str) -> None:
        with self.engine.connect() as connection:
            resume(connection, log_tables(), SQLITE, words, now=utc_now())


@pytest.fixture
def shop(engine: Engine) -> Shop:
    """A database whose triggers record what is written."""
    shop = Shop(engine, Path(str(engine.url.database)))
    shop.init()
    shop.write(
        "INSERT INTO item VALUES (2, 'two', 2), (3, 'three', 3.5), (4, 'four', x'00')",
        "UPDATE item SET price = 20 WHERE id = 2",
        "UPDATE item SET id = 30 WHERE id = 3",
        "DELETE FROM item WHERE id = 4",
        "INSERT INTO item VALUES (4, 'again', NULL)",
        "INSERT OR REPLACE INTO item VALUES (4, 'replaced', 1)",
        "INSERT INTO loose VALUES (1), (1), ('x')",
        "DELETE FROM loose WHERE v = 'x'",
    )
    return shop


def _found(differences: list[Difference]) -> list[tuple[str, str, str | None]]:
    return [(str(each.kind), str(each.row or each.table), each.column) for each in differences]


def test_a_clean_history_has_no_differences(shop: Shop) -> None:
    differences, run = shop.verify()

    assert differences == []
    assert {str(table): (tally.rows, tally.not_covered) for table, tally in run.tallies.items()} == {
        "item": (4, 1),
        "loose": (2, 0),
    }


def test_a_changed_cell_is_found_with_the_last_change_known(shop: Shop) -> None:
    shop.behind("UPDATE item SET price = 21 WHERE id = 2")

    [found] = shop.verify()[0]

    assert _found([found]) == [("changed", "item/2", "price")]
    assert (found.logged, found.found) == (20, 21)
    assert found.change_id == 4


@pytest.mark.parametrize("price", ["20.0", "'20'"])
def test_a_value_that_the_database_calls_equal_is_a_difference(shop: Shop, price: str) -> None:
    shop.behind(f"UPDATE item SET price = {price} WHERE id = 2")

    assert _found(shop.verify()[0]) == [("changed", "item/2", "price")]


def test_a_row_that_went_unseen_is_extra_in_the_log(shop: Shop) -> None:
    shop.behind("DELETE FROM item WHERE id = 30", "DELETE FROM loose WHERE rowid = 1")

    assert _found(shop.verify()[0]) == [("extra", "item/30", None), ("extra", "loose", None)]


def test_a_row_that_came_back_unseen_is_missed(shop: Shop) -> None:
    shop.write("DELETE FROM item WHERE id = 4")
    shop.behind("INSERT INTO item VALUES (4, 'back', 1)")

    assert _found(shop.verify()[0]) == [("missed", "item/4", None)]


def test_a_change_that_was_missed_in_the_middle_shows_though_the_end_is_right(shop: Shop) -> None:
    shop.behind("UPDATE item SET price = 21 WHERE id = 2")
    shop.write("UPDATE item SET price = 22 WHERE id = 2")

    [found] = shop.verify()[0]

    assert _found([found]) == [("broken", "item/2", "price")]
    assert (found.logged, found.found) == (20, 21)


def test_a_baseline_covers_rows_that_were_there_before(shop: Shop) -> None:
    record_baseline(shop.engine)
    shop.behind("UPDATE item SET name = 'new' WHERE id = 1")

    differences, run = shop.verify()

    assert _found(differences) == [("changed", "item/1", "name")]
    assert sum(tally.not_covered for tally in run.tallies.values()) == 0


def test_a_recorded_gap_explains_what_is_missing(shop: Shop) -> None:
    shop.pause("item")
    shop.write("UPDATE item SET price = 99 WHERE id = 2", "DELETE FROM item WHERE id = 30")
    shop.resume("item")

    differences, run = shop.verify()

    assert _found(differences) == [("changed", "item/2", "price"), ("extra", "item/30", None)]
    assert all(each.is_known_gap for each in differences)
    assert sum(tally.differences for tally in run.tallies.values()) == 0


def test_a_gap_explains_nothing_that_went_wrong_after_it(shop: Shop) -> None:
    shop.pause("item")
    shop.resume("item")
    shop.write("UPDATE item SET price = 5 WHERE id = 2")
    shop.behind("UPDATE item SET price = 6 WHERE id = 2")

    assert [each.is_known_gap for each in shop.verify()[0]] == [False]


def test_a_column_that_was_added_or_dropped_is_no_difference(shop: Shop) -> None:
    shop.init_triggers(wanted=False)
    shop.write("ALTER TABLE item ADD COLUMN fresh TEXT DEFAULT 'x'", "ALTER TABLE item DROP COLUMN name")
    shop.init_triggers(wanted=True)

    differences, run = shop.verify()

    assert differences == []
    assert {column for tally in run.tallies.values() for column in tally.unknown_columns} == {"fresh"}


def test_excluded_and_masked_columns_are_not_compared(engine: Engine) -> None:
    shop = Shop(engine, Path(str(engine.url.database)))
    shop.init(exclude_columns={"item": ("name",)}, mask_columns={"item": ("price",)})
    shop.write("INSERT INTO item VALUES (2, 'a', 1)")
    shop.behind("UPDATE item SET name = 'b', price = 2 WHERE id = 2")

    assert shop.verify()[0] == []


def test_keys_that_move_on_in_one_statement_are_followed(shop: Shop) -> None:
    shop.write(*(f"INSERT INTO item VALUES ({key}, 'n{key}', 0)" for key in range(100, 120)))
    shop.write("UPDATE item SET id = -id WHERE id >= 100", "UPDATE item SET id = 1 - id WHERE id < 0")

    assert shop.verify()[0] == []


def test_a_writer_that_goes_on_does_not_disturb(shop: Shop) -> None:
    shop.write("PRAGMA journal_mode = WAL")
    with shop.engine.connect() as connection:
        run = Verification(LogReader(connection, log_tables()))
        found = run.differences()
        first = next(found, None)
        shop.write("UPDATE item SET price = 77 WHERE id = 2")
        rest = list(found)

    assert first is None
    assert rest == []


def test_a_table_that_was_dropped_leaves_its_rows_in_the_log(shop: Shop) -> None:
    shop.write("DROP TABLE loose")

    assert _found(shop.verify()[0]) == [("extra", "loose", None), ("extra", "loose", None)]
