"""A fold that goes on from where an earlier one came to, and misses nothing that was committed late."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, func, select, text, update

from auditcli.errors import UsageError
from auditcli.log.reader import LogReader
from auditcli.verify import Difference, Verification
from tests.db.traffic import Traffic
from tests.db.write_paths import Recorded

pytestmark = pytest.mark.thorough


@pytest.fixture
def shop(any_engine: Engine) -> Recorded:
    """A shop after some traffic that triggers recorded."""
    shop = Recorded(any_engine, "triggers")
    Traffic(shop, seed=1).run(30)
    return shop


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where the fold is kept."""
    return tmp_path / "kept"


def _verify(shop: Recorded, kept: Path) -> tuple[list[Difference], int]:
    """What differs, and how many records were folded."""
    with shop.engine.connect() as connection:
        run = Verification(LogReader(connection, shop.tables), checkpoint=kept)
        found = list(run.differences())
    return found, sum(tally.records for tally in run.tallies.values())


def _write(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_only_what_is_new_is_folded_and_all_rows_are_compared(shop: Recorded, kept: Path) -> None:
    whole = _verify(shop, kept)
    nothing = _verify(shop, kept)
    _write(shop.engine, "INSERT INTO tag (id) VALUES ('new')", "UPDATE tag SET note = 'x' WHERE id = 'new'")
    new = _verify(shop, kept)

    assert whole == ([], len(shop.changes()) - 2)
    assert (nothing, new) == (([], 0), ([], 2))


def test_what_was_missed_is_found_each_time(shop: Recorded, kept: Path) -> None:
    _write(shop.engine, "INSERT INTO tag (id) VALUES ('new')")
    _verify(shop, kept)
    log = shop.tables.changelog
    with shop.engine.begin() as connection:
        connection.execute(text("UPDATE tag SET note = 'x' WHERE id = 'new'"))
        last = connection.scalar(select(func.max(log.c.id)))
        connection.execute(delete(log).where(log.c.id == last))
    _write(shop.engine, "UPDATE tag SET note = 'y' WHERE id = 'new'")

    for _ in range(2):
        [found] = _verify(shop, kept)[0]
        assert (str(found.kind), str(found.row), found.column) == ("broken", "tag/new", "note")


def test_what_is_committed_after_later_ids_is_folded_the_next_time(shop: Recorded, kept: Path) -> None:
    if shop.dialect.locks_whole_database:
        # There is one writer: ids are committed in order.
        return
    with shop.engine.connect() as slow:
        slow.execute(text("INSERT INTO tag (id) VALUES ('slow')"))
        _write(shop.engine, "INSERT INTO tag (id) VALUES ('fast')")
        assert _verify(shop, kept)[0] == []
        slow.commit()

    assert _verify(shop, kept) == ([], 1)
    assert _verify(shop, kept) == ([], 0)


def test_a_rolled_back_transaction_leaves_a_gap_that_stays_one(shop: Recorded, kept: Path) -> None:
    with shop.engine.connect() as connection:
        connection.execute(text("INSERT INTO tag (id) VALUES ('never')"))
        connection.rollback()
    _write(shop.engine, "INSERT INTO tag (id) VALUES ('new')")

    assert _verify(shop, kept)[0] == []
    assert _verify(shop, kept) == ([], 0)


def test_a_fold_of_another_log_is_refused(shop: Recorded, kept: Path) -> None:
    _verify(shop, kept)
    with shop.engine.begin() as connection:
        meta = shop.tables.meta
        connection.execute(update(meta).where(meta.c.name == "uuid").values(value="another"))

    with pytest.raises(UsageError, match="is of another log"):
        _verify(shop, kept)


def test_a_fold_of_a_log_that_was_restored_from_a_backup_is_refused(shop: Recorded, kept: Path) -> None:
    _write(shop.engine, "INSERT INTO tag (id) VALUES ('lost')")
    _verify(shop, kept)
    log = shop.tables.changelog
    with shop.engine.begin() as connection:
        connection.execute(delete(log).where(log.c.id == connection.scalar(select(func.max(log.c.id)))))

    with pytest.raises(UsageError, match="a backup may have been restored"):
        _verify(shop, kept)


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_that_is_no_fold_is_refused_and_left_alone(shop: Recorded, kept: Path, content: bytes) -> None:
    kept.write_bytes(content)

    with pytest.raises(UsageError, match="checkpoint"):
        _verify(shop, kept)

    assert kept.read_bytes() == content
    assert list(kept.parent.glob(f".{kept.name}*")) == []


def test_another_database_is_no_fold(shop: Recorded, kept: Path) -> None:
    with closing(sqlite3.connect(kept)) as connection:
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY)")

    with pytest.raises(UsageError, match="is no checkpoint"):
        _verify(shop, kept)
