"""A fold that is kept in a file is gone on with, says what a whole one says, and is refused where it does not fit."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine

from auditcli.clock import utc_now
from auditcli.dialects import Dialect
from auditcli.dialects.sqlite import SQLite
from auditcli.errors import AuditError, UsageError
from auditcli.init import Wishes, prepare
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.verify import Difference, Verification, totals


class Shop:
    """A database with triggers; `behind` writes what they don't see."""

    def __init__(self, engine: Engine, dialect: Dialect | None = None) -> None:
        self.engine = engine
        self.path = Path(str(engine.url.database))
        self.checkpoint = self.path.with_name("shop.checkpoint")
        self.dialect = dialect or SQLite()

    def init(self, **wishes: object) -> None:
        with self.engine.connect() as connection:
            wanted = Wishes(triggers=True, **wishes)  # type: ignore[arg-type]
            prepare(connection, log_tables(), SQLite(), wanted, now=utc_now())

    def write(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def behind(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for statement in (*(f'DROP TRIGGER "{name}"' for name, _ in triggers), *statements):
                connection.execute(statement)
            for _, sql in triggers:
                connection.execute(sql)
            connection.commit()

    def verify(self, *, whole: bool = False) -> tuple[list[Difference], Verification]:
        with self.engine.connect() as connection:
            reader = LogReader(connection, log_tables(), dialect=self.dialect)
            run = Verification(reader, checkpoint=None if whole else self.checkpoint)
            return list(run.differences()), run

    def folded(self) -> tuple[list[Difference], int]:
        """What differs, and how many records were folded for it."""
        differences, run = self.verify()
        return differences, totals(run.tallies).records


@pytest.fixture
def shop(engine: Engine) -> Shop:
    """Two rows of a table with a key and two equal ones of a table without, all recorded, and a checkpoint."""
    shop = Shop(engine)
    shop.write("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price)", "CREATE TABLE loose (v)")
    shop.init()
    shop.write("INSERT INTO item VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3)", "DELETE FROM item WHERE id = 3")
    shop.write("INSERT INTO loose VALUES (1), (1)")
    assert shop.folded() == ([], 6)
    return shop


def test_only_later_records_are_folded(shop: Shop) -> None:
    shop.write("UPDATE item SET price = 20 WHERE id = 2", "INSERT INTO item VALUES (3, 'again', 1)")
    shop.write("DELETE FROM loose WHERE rowid = 1")

    differences, run = shop.verify()

    assert differences == []
    assert totals(run.tallies).records == 3
    assert (run.start and run.start.log_id, run.end and run.end.log_id) == (6, 9)
    assert shop.folded() == ([], 0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE item SET price = 21 WHERE id = 2",
        "DELETE FROM item WHERE id = 1",
        "INSERT INTO item VALUES (3, 'back', 1)",
        "DELETE FROM loose WHERE rowid = 2",
    ],
)
def test_a_change_behind_the_log_is_found_each_time_as_a_whole_fold_finds_it(shop: Shop, statement: str) -> None:
    shop.behind(statement)

    first, again, whole = shop.verify()[0], shop.verify()[0], shop.verify(whole=True)[0]

    assert len(whole) == 1
    assert first == again == whole


def test_what_was_wrong_in_records_that_were_folded_before_is_told_again(shop: Shop) -> None:
    shop.behind("UPDATE item SET price = 21 WHERE id = 2")
    shop.write("UPDATE item SET price = 22 WHERE id = 2")

    first, again = shop.verify()[0], shop.verify()[0]

    assert [(str(each.kind), each.logged, each.found) for each in first] == [("broken", 2, 21)]
    assert again == first == shop.verify(whole=True)[0]


def test_a_table_whose_key_changed_is_folded_anew(shop: Shop) -> None:
    shop.init(tables=("loose",))
    shop.write(
        "CREATE TABLE made (id INTEGER, name TEXT PRIMARY KEY, price)",
        "INSERT INTO made SELECT * FROM item",
        "DROP TABLE item",
        "ALTER TABLE made RENAME TO item",
    )
    shop.init(tables=("*",))

    assert shop.folded() == ([], 4)


def test_a_table_that_was_left_out_for_a_while_is_folded_anew(shop: Shop) -> None:
    shop.init(exclude_tables=("item",))
    shop.verify()
    shop.init(exclude_tables=())

    assert shop.folded() == ([], 4)


class Unordered(SQLite):
    """A database whose log ids are not committed in order."""

    log_ids_follow_commits = False


def test_a_record_that_appears_below_the_place_that_was_reached_is_folded(engine: Engine) -> None:
    shop = Shop(engine, Unordered())
    shop.write("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price)")
    shop.init()
    shop.write("INSERT INTO item VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3)")
    shop.write("UPDATE item SET price = 10 WHERE id = 1", "UPDATE item SET price = 20 WHERE id = 2")
    shop.write("CREATE TABLE later AS SELECT * FROM changelog WHERE id = 4", "DELETE FROM changelog WHERE id = 4")
    shop.write("UPDATE changelog SET id = 30 WHERE id = 5")
    before, _ = shop.verify()
    shop.write("INSERT INTO changelog SELECT * FROM later", "UPDATE item SET price = 11 WHERE id = 1")

    assert [str(each.row) for each in before] == ["item/1"]
    assert shop.folded() == ([], 2)
    assert shop.folded() == ([], 0)


def test_a_checkpoint_of_another_log_is_refused(shop: Shop) -> None:
    shop.write("UPDATE changelog_meta SET value = 'another' WHERE name = 'uuid'")

    with pytest.raises(UsageError, match="is of another log"):
        shop.verify()


def test_a_checkpoint_of_what_a_restored_backup_does_not_have_is_refused(shop: Shop) -> None:
    backup = shop.path.with_name("backup.db")
    shutil.copyfile(shop.path, backup)
    shop.write("UPDATE item SET price = 3")
    shop.verify()
    kept = shop.checkpoint.read_bytes()
    shutil.copyfile(backup, shop.path)

    with pytest.raises(UsageError, match="a backup may have been restored"):
        shop.verify()

    assert shop.checkpoint.read_bytes() == kept


@pytest.mark.parametrize("content", [b"", b"my notes", b"SQLite format 3\x00" + bytes(4096)])
def test_a_file_of_something_else_is_refused_and_kept(shop: Shop, content: bytes) -> None:
    shop.checkpoint.write_bytes(content)

    with pytest.raises(UsageError, match="is no checkpoint"):
        shop.verify()

    assert shop.checkpoint.read_bytes() == content


def test_a_damaged_checkpoint_is_refused(shop: Shop) -> None:
    whole = shop.checkpoint.read_bytes()
    at = whole.index(b'"two"')
    for damaged in (whole[:at] + b'"twO"' + whole[at + 5 :], whole[: len(whole) // 2], whole[:4096] + bytes(8192)):
        shop.checkpoint.write_bytes(damaged)

        with pytest.raises(AuditError, match=r"is damaged|is no checkpoint"):
            shop.verify()


def test_a_run_that_is_broken_off_leaves_the_checkpoint_as_it_was(shop: Shop) -> None:
    kept = shop.checkpoint.read_bytes()
    shop.behind("UPDATE item SET price = 99")
    names = {path.name for path in shop.path.parent.iterdir()}

    with shop.engine.connect() as connection:
        found = Verification(LogReader(connection, log_tables()), checkpoint=shop.checkpoint).differences()
        next(found)
        found.close()  # type: ignore[attr-defined]

    assert shop.checkpoint.read_bytes() == kept
    assert {path.name for path in shop.path.parent.iterdir()} == names
