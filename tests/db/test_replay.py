"""Replay: where it begins and goes on, what it refuses, what it holds back, and what it leaves to the user."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, select, text

import auditcli
from auditcli.clock import utc_now
from auditcli.connect import Database
from auditcli.dialects import dialect_named
from auditcli.errors import AuditError, LogError, NotFound, ReadOnly, UsageError
from auditcli.init import Wishes, prepare
from auditcli.log.replay_place import ReplayPlaces
from auditcli.log.tables import log_tables
from auditcli.model import TableName
from auditcli.plan import ConflictKind, PlanOptions
from auditcli.replay import Replay, ReplayConflict, ReplayOptions
from auditcli.selection import Alternatives, Selection
from tests.databases import scratch_url
from tests.db.logbook import Logbook
from tests.db.recorded import enforce_foreign_keys
from tests.db.replayed import Killed, empty, exactly, killed_after, opened, replay

pytestmark = pytest.mark.thorough

ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price INTEGER)"
SKIP, FORCE = PlanOptions(skip_conflicts=True), PlanOptions(force=True)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Database]:
    yield from _database(tmp_path / "source.db")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Database]:
    yield from _database(tmp_path / "target.db")


@pytest.fixture
def shop(source: Database) -> Database:
    """Two items, recorded, one of them changed since."""
    _run(source.engine, ITEM)
    _record(source.engine)
    _run(source.engine, "INSERT INTO item VALUES (1, 'tea', 250), (2, 'coffee', 350)")
    _run(source.engine, "UPDATE item SET price = 300 WHERE id = 1")
    return source


# Where it begins, and where it goes on.


def test_a_second_run_goes_on_where_the_first_one_stopped(shop: Database, target: Database) -> None:
    first = replay(shop, target, create_tables=True)
    _run(shop.engine, "DELETE FROM item WHERE id = 2")

    second = replay(shop, target)

    assert (first.transactions, second.transactions) == (2, 1)
    assert exactly(target.engine) == exactly(shop.engine)


def test_rows_from_before_the_log_began_are_there_first(source: Database, target: Database) -> None:
    _run(source.engine, ITEM, "INSERT INTO item VALUES (1, 'old', 1), (2, 'never touched', 2), (3, 'gone', 3)")
    _record(source.engine)
    _run(source.engine, "UPDATE item SET price = 10 WHERE id = 1", "DELETE FROM item WHERE id = 3")

    progress = replay(source, target, create_tables=True)

    assert progress.beginning_rows == 3
    assert exactly(target.engine) == exactly(source.engine)


def test_until_ends_it_with_whole_transactions(shop: Database, target: Database) -> None:
    replay(shop, target, create_tables=True, until=2)

    assert _values(target, "SELECT price FROM item ORDER BY id") == [250, 350]


def test_rebuild_resets_a_target_to_the_rows_as_they_were(shop: Database, target: Database) -> None:
    replay(shop, target, create_tables=True)
    _run(target.engine, "UPDATE item SET price = 0", "INSERT INTO item VALUES (9, 'stray', 9)")

    replay(shop, target, rebuild=True, since=2, until=2)

    assert _values(target, "SELECT price FROM item ORDER BY id") == [250, 350]


def test_only_what_is_selected_is_replayed_and_another_selection_is_refused(shop: Database, target: Database) -> None:
    _run(shop.engine, "CREATE TABLE other (id INTEGER PRIMARY KEY)")
    _record(shop.engine)
    _run(shop.engine, "INSERT INTO other VALUES (1)")
    replay(shop, target, create_tables=True, selection=_only("item"), words="table:item")

    with pytest.raises(UsageError, match="another selection: table:item"):
        replay(shop, target, create_tables=True)

    assert list(exactly(target.engine)) == ["item"]


def test_a_dry_run_leaves_nothing(shop: Database, target: Database) -> None:
    progress = replay(shop, target, create_tables=True, dry_run=True)

    assert (progress.transactions, exactly(target.engine)) == (2, {})
    assert _values(target, "SELECT name FROM sqlite_master") == []


def test_following_keeps_a_copy_live_until_it_is_stopped(shop: Database, target: Database) -> None:
    stop = threading.Event()
    run = Replay(shop, target, ReplayOptions(create_tables=True, follow=True), stop=stop)
    thread = threading.Thread(target=run.run)
    thread.start()

    _run(shop.engine, "UPDATE item SET name = 'live' WHERE id = 1")
    _wait_until(lambda: run.progress.transactions == 3)
    stop.set()
    thread.join()

    assert exactly(target.engine) == exactly(shop.engine)


def test_a_place_that_a_restored_backup_does_not_have_is_refused(
    shop: Database, target: Database, tmp_path: Path
) -> None:
    shutil.copy(tmp_path / "source.db", tmp_path / "backup.db")
    _run(shop.engine, "UPDATE item SET price = 1 WHERE id = 1")
    replay(shop, target, create_tables=True)
    shop.close()
    shutil.copy(tmp_path / "backup.db", tmp_path / "source.db")

    with pytest.raises(LogError, match="place kept in the target does not fit: the log's record 4 is not") as failure:
        replay(shop, target)

    assert "--rebuild" in (failure.value.hint or "")


def test_another_log_is_not_taken_for_the_one_that_was_replayed(
    shop: Database, target: Database, tmp_path: Path
) -> None:
    replay(shop, target, create_tables=True)
    with contextmanager(_database)(tmp_path / "other.db") as other:
        _run(other.engine, ITEM, "CREATE TABLE word (id INTEGER PRIMARY KEY)", "INSERT INTO word VALUES (1)")
        _record(other.engine)
        _run(other.engine, "INSERT INTO item VALUES (3, 'other', 1)", "INSERT INTO word VALUES (2)")

        with pytest.raises(UsageError, match="a replay of another log") as failure:
            replay(other, target, create_tables=True)
        replay(other, target, create_tables=True, rebuild=True, selection=_only("word"), words="table:word")
        replay(shop, target)

    assert "--rebuild" in (failure.value.hint or "")
    assert _values(target, "SELECT id FROM word ORDER BY id") == [1, 2]
    assert _values(target, "SELECT id FROM item ORDER BY id") == [1, 2]


def test_a_read_only_target_is_refused_below_the_command_line(shop: Database, target: Database) -> None:
    _run(target.engine, ITEM)
    locked = replace(target, target=replace(target.target, read_only=True, profile="prod"))

    for dry_run in (False, True):
        with pytest.raises(ReadOnly, match="profile prod is read-only"):
            replay(shop, locked, dry_run=dry_run)

    assert _values(target, "SELECT name FROM sqlite_master") == ["item"]


def test_two_at_once_do_nothing_twice(shop: Database, target: Database) -> None:
    replay(shop, target, create_tables=True, until=2)
    places = ReplayPlaces(target.tables)
    with target.engine.connect() as connection:
        kept = places.read(connection, _log_uuid(shop))
    assert kept is not None
    replay(shop, target)

    with target.engine.begin() as connection, pytest.raises(LogError, match="not the one that this replay left"):
        places.move(connection, kept, replace(kept, log_id=3), utc_now())


def test_a_speed_keeps_the_distance_between_transactions(source: Database, target: Database) -> None:
    _run(source.engine, ITEM)
    _run(target.engine, ITEM)
    book = Logbook.create(source.engine)
    for key in range(3):
        book.insert("item", {"id": key, "name": "a", "price": key})
    began = time.monotonic()

    replay(source, target, since=0, speed=20.0)

    assert 0.1 <= time.monotonic() - began < 2
    assert _values(target, "SELECT id FROM item") == [0, 1, 2]


# Rows that are not as they were.


def test_the_first_conflict_ends_it_with_the_place_kept(shop: Database, target: Database) -> None:
    replay(shop, target, create_tables=True, until=2)
    _run(target.engine, "UPDATE item SET price = 7 WHERE id = 1")

    with pytest.raises(ReplayConflict, match="price is 7, and was 250 before the change") as failure:
        replay(shop, target)

    [conflict] = failure.value.conflicts
    assert (conflict.kind, str(conflict.row), conflict.column) == (ConflictKind.CHANGED, "item/1", "price")
    assert "all up to change 2 is in" in str(failure.value)
    _run(target.engine, "UPDATE item SET price = 250 WHERE id = 1")
    replay(shop, target)
    assert exactly(target.engine) == exactly(shop.engine)


def test_conflicts_can_be_skipped_or_overwritten(shop: Database, target: Database) -> None:
    replay(shop, target, create_tables=True, until=2)
    _run(target.engine, "UPDATE item SET price = 7 WHERE id = 1", "DELETE FROM item WHERE id = 2")
    _run(shop.engine, "UPDATE item SET name = 'x', price = price + 1")

    skipped = replay(shop, target, conflicts=SKIP)
    left = _values(target, "SELECT id, name, price FROM item")
    replay(shop, target, rebuild=True, since=2, until=2)
    _run(target.engine, "UPDATE item SET price = 7 WHERE id = 1", "DELETE FROM item WHERE id = 2")
    replay(shop, target, conflicts=FORCE)

    assert sorted({conflict.kind for conflict in skipped.conflicts}) == [ConflictKind.CHANGED, ConflictKind.MISSING]
    assert left == [1]
    assert exactly(target.engine) == exactly(shop.engine)


def test_what_is_there_already_is_no_conflict(shop: Database, target: Database) -> None:
    _run(target.engine, ITEM, "INSERT INTO item VALUES (1, 'tea', 300), (2, 'coffee', 350)")

    with pytest.raises(ReplayConflict, match="its price is 300, not 250"):
        replay(shop, target)
    _run(target.engine, "UPDATE item SET price = 250 WHERE id = 1")

    assert replay(shop, target).already == 2
    assert exactly(target.engine) == exactly(shop.engine)


def test_a_target_that_is_recorded_has_the_original_actor_and_reason(shop: Database, target: Database) -> None:
    _run(target.engine, ITEM)
    _record(target.engine)
    with auditcli.context(actor="alice", reason="ticket 42"):
        auditcli.track(shop.engine)
        with shop.engine.begin() as connection:
            connection.execute(text("SELECT 1"))
            connection.execute(text("UPDATE item SET price = 1 WHERE id = 2"))

    replay(shop, target)

    log, header = target.tables.changelog.c, target.tables.transaction.c
    with target.engine.connect() as connection:
        last = connection.execute(select(log.actor, log.transaction_id).order_by(log.id.desc())).first()
        assert last is not None
        reason = connection.scalar(select(header.reason).where(header.transaction_id == last[1]))
    assert (last[0], reason) == ("alice", "ticket 42")


def test_what_listeners_would_record_is_recorded_too(shop: Database, target: Database) -> None:
    _run(target.engine, ITEM)
    with target.engine.connect() as connection:
        prepare(connection, log_tables(), target.dialect, Wishes(triggers=False), now=utc_now())

    replay(shop, target)

    with target.log() as reader:
        recorded = [(str(change.event_type), change.row_id, str(change.source)) for change in reader.changes()]
    assert recorded == [("INSERT", "1", "listener"), ("INSERT", "2", "listener"), ("UPDATE", "1", "listener")]


def test_rows_that_move_to_keys_that_others_leave_arrive(shop: Database, target: Database) -> None:
    replay(shop, target, create_tables=True)
    with shop.engine.begin() as connection:
        for statement in (
            "UPDATE item SET id = 9 WHERE id = 1",
            "UPDATE item SET id = 1 WHERE id = 2",
            "UPDATE item SET id = 2 WHERE id = 9",
            "DELETE FROM item WHERE id = 1",
            "INSERT INTO item VALUES (1, 'new', 0)",
        ):
            connection.exec_driver_sql(statement)

    replay(shop, target)

    assert exactly(target.engine) == exactly(shop.engine)


def test_rows_without_a_key_are_replayed_one_of_equals(source: Database, target: Database) -> None:
    _run(source.engine, "CREATE TABLE word (word TEXT, number)", "INSERT INTO word VALUES ('old', 1), ('old', 1)")
    _record(source.engine)
    _run(source.engine, "INSERT INTO word VALUES ('a', 1), ('a', 1), ('a', 1.0)")
    _run(source.engine, "DELETE FROM word WHERE rowid = (SELECT min(rowid) FROM word WHERE word = 'a')")
    _run(source.engine, "UPDATE word SET number = 2 WHERE rowid = (SELECT min(rowid) FROM word WHERE word = 'old')")

    replay(source, target, create_tables=True)

    assert exactly(target.engine) == exactly(source.engine)


# Foreign keys.


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
@pytest.mark.parametrize("is_recorded", [False, True], ids=["plain", "recorded"])
def test_a_transaction_waits_for_the_later_one_that_it_refers_to(
    source: Database, tmp_path: Path, kind: str, is_recorded: bool
) -> None:
    _log_of_a_child_before_its_parent(source, with_parent=True)
    with empty(kind, tmp_path / "target") as engine:
        target = opened(engine)
        _family(target)
        if is_recorded:
            _record(engine)

        progress = replay(source, target, since=0)

        assert (progress.transactions, progress.held) == (4, 0)
        assert _values(target, "SELECT id FROM child") == [1]
        assert _values(target, "SELECT name FROM child") == ["later"]


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_on_a_server_too_what_waits_in_vain_is_a_conflict_that_names_it(
    source: Database, tmp_path: Path, kind: str
) -> None:
    _log_of_a_child_before_its_parent(source, with_parent=False)
    with empty(kind, tmp_path / "target") as engine:
        target = opened(engine)
        _family(target)

        with pytest.raises(ReplayConflict, match="child/1: a foreign key refuses it"):
            replay(source, target, since=0)

        assert _values(target, "SELECT id FROM parent") == [8]
        _run(engine, "INSERT INTO parent VALUES (7)")
        replay(source, target, since=0)
        assert _values(target, "SELECT name FROM child") == ["later"]


def test_what_waits_is_kept_with_the_place(source: Database, target: Database) -> None:
    _log_of_a_child_before_its_parent(source, with_parent=True)
    _family(target)
    seen = 0
    for statements in range(5, 120, 4):
        try:
            with killed_after(target.engine, statements):
                replay(source, target, since=0)
        except Killed:
            seen += 1
        except NotFound:
            break

    replay(source, target, since=0)

    assert seen > 5
    assert _values(target, "SELECT name FROM child") == ["later"]


def test_one_that_waits_in_vain_is_a_conflict_after_all_the_others(source: Database, target: Database) -> None:
    _log_of_a_child_before_its_parent(source, with_parent=False)
    _family(target)

    with pytest.raises(ReplayConflict, match="child/1: a foreign key refuses it"):
        replay(source, target, since=0)

    assert _values(target, "SELECT id FROM parent") == [8]
    _run(target.engine, "INSERT INTO parent VALUES (7)")
    replay(source, target, since=0)
    assert _values(target, "SELECT name FROM child") == ["later"]


def test_one_that_waits_in_vain_can_be_skipped(source: Database, target: Database) -> None:
    _log_of_a_child_before_its_parent(source, with_parent=False)
    _family(target)

    progress = replay(source, target, since=0, conflicts=SKIP)

    assert [str(conflict.row) for conflict in progress.conflicts] == ["child/1", "child/1"]
    assert _values(target, "SELECT id FROM parent") == [8]
    assert replay(source, target, since=0).is_nothing


@pytest.mark.parametrize("is_recorded", [False, True])
def test_a_row_that_refers_to_a_later_one_of_its_transaction_arrives_where_nothing_is_put_off(
    source: Database, tmp_path: Path, is_recorded: bool
) -> None:
    _family(source)
    book = Logbook.create(source.engine)
    old, new = ({"id": 1, "parent_id": parent, "name": "x"} for parent in (None, 7))
    book.insert("child", old)
    with book.transaction("undo"):
        book.update("child", old, new)
        book.insert("parent", {"id": 7})
    with scratch_url("mariadb", tmp_path) as url:
        target = opened(create_engine(url))
        _run(
            target.engine,
            "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
            "CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER, name TEXT, "
            "FOREIGN KEY (parent_id) REFERENCES parent (id))",
        )
        if is_recorded:
            with target.engine.connect() as connection:
                prepare(connection, log_tables(), target.dialect, Wishes(triggers=False), now=utc_now())

        replay(source, target, since=0)

        assert _values(target, "SELECT parent_id FROM child") == [7]
        target.close()


def test_a_rebuild_empties_tables_that_refer_to_themselves(tmp_path: Path) -> None:
    tree = "CREATE TABLE tree (id INTEGER PRIMARY KEY, up INTEGER, FOREIGN KEY (up) REFERENCES tree (id))"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with scratch_url("mariadb", tmp_path / "a") as url, scratch_url("mariadb", tmp_path / "b") as target_url:
        source, target = opened(create_engine(url)), opened(create_engine(target_url))
        _run(source.engine, tree, "INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2)")
        _record(source.engine)
        replay(source, target, create_tables=True)

        replay(source, target, rebuild=True)

        assert _values(target, "SELECT up FROM tree ORDER BY id") == [None, 1, 2]
        source.close()
        target.close()


# Values that do not fit.

UNFIT: dict[str, tuple[str, str, str, str, str]] = {
    "text with NUL": ("sqlite", "TEXT", "'a' || char(0) || 'b'", "postgresql", "text"),
    "long text": ("sqlite", "TEXT", "'abcd'", "postgresql", "varchar(3)"),
    "a large integer": ("sqlite", "INTEGER", "40000", "postgresql", "smallint"),
    "digits": ("sqlite", "NUMERIC", "1.125", "postgresql", "numeric(5,2)"),
    "bytes as text": ("sqlite", "TEXT", "x'00ff'", "postgresql", "text"),
    "an unknown member": ("sqlite", "TEXT", "'mad'", "mariadb", "ENUM('sad', 'glad')"),
    "infinity": ("sqlite", "REAL", "9e999", "mariadb", "DOUBLE"),
    "digits for MariaDB": ("sqlite", "NUMERIC", "1.125", "mariadb", "DECIMAL(5, 2)"),
    "an early moment": ("sqlite", "TEXT", "'1960-01-01 00:00:00+00:00'", "mariadb", "TIMESTAMP(6) NULL"),
    "no number": ("postgresql", "double precision", "'NaN'", "sqlite", "DOUBLE"),
    "many digits": ("postgresql", "numeric", "12345678901234567890.123", "sqlite", "NUMERIC"),
    "a zero date": ("mariadb", "DATE", "'0000-00-00'", "postgresql", "date"),
    "an unsigned integer": ("mariadb", "BIGINT UNSIGNED", "18446744073709551615", "sqlite", "INTEGER"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_value_that_the_target_cannot_hold_names_its_column(what: str, tmp_path: Path) -> None:
    kind, column_type, value, target_kind, target_type = UNFIT[what]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with scratch_url(kind, tmp_path / "a") as url, scratch_url(target_kind, tmp_path / "b") as target_url:
        source, target = opened(create_engine(url)), opened(create_engine(target_url))
        _run(source.engine, f"CREATE TABLE thing (id INTEGER PRIMARY KEY, fit INTEGER, unfit {column_type})")
        _record(source.engine)
        _run(source.engine, "INSERT INTO thing (id, fit) VALUES (1, 1)")
        relaxed = ["SET sql_mode = ''"] if kind == "mariadb" else []
        _run(source.engine, *relaxed, f"INSERT INTO thing VALUES (2, 2, {value})")
        _run(target.engine, f"CREATE TABLE thing (id INTEGER PRIMARY KEY, fit INTEGER, unfit {target_type})")

        with pytest.raises(ReplayConflict) as failure:
            replay(source, target)

        [conflict] = failure.value.conflicts
        assert (str(conflict.table), str(conflict.row), conflict.column) == ("thing", "thing/2", "unfit")
        assert conflict.message.startswith("thing/2 unfit: ")
        assert _values(target, "SELECT id FROM thing") == [1]
        source.close()
        target.close()


# Bad input.


def test_missing_tables_have_a_hint(shop: Database, target: Database) -> None:
    with pytest.raises(NotFound, match="the target has no table item") as failure:
        replay(shop, target)

    assert "--create-tables" in (failure.value.hint or "")


def test_a_column_that_the_target_lacks_is_named(shop: Database, target: Database) -> None:
    _run(target.engine, "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)")

    with pytest.raises(UsageError, match="item in the target has no column price"):
        replay(shop, target)


def test_the_same_database_is_refused(shop: Database) -> None:
    with pytest.raises(UsageError, match="the same database"):
        replay(shop, opened(create_engine(shop.engine.url)))


def test_a_full_target_keeps_its_place(shop: Database, target: Database) -> None:
    replay(shop, target, create_tables=True)
    _run(shop.engine, "INSERT INTO item VALUES (3, 'small', 1)")
    _run(shop.engine, "INSERT INTO item VALUES (4, zeroblob(1000000), 1)")
    event.listen(target.engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 20"))
    target.engine.dispose()

    with pytest.raises(AuditError, match=r"the place is kept: .*full"):
        replay(shop, target)

    assert _values(target, "SELECT id FROM item ORDER BY id") == [1, 2, 3]


def test_a_target_that_takes_no_writes_says_so(shop: Database, target: Database) -> None:
    _run(target.engine, ITEM)
    event.listen(target.engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only = 1"))
    target.engine.dispose()

    with pytest.raises(AuditError, match="attempt to write a readonly database"):
        replay(shop, target)


def test_a_table_that_is_gone_in_the_source_is_replayed_as_the_log_knows_it(shop: Database, target: Database) -> None:
    _run(shop.engine, "CREATE TABLE gone (id INTEGER PRIMARY KEY, word TEXT)")
    _record(shop.engine)
    _run(shop.engine, "INSERT INTO gone VALUES (1, 'a')")
    _run(shop.engine, "DROP TABLE gone")

    replay(shop, target, create_tables=True)

    assert _values(target, "SELECT word FROM gone") == ["a"]


def _only(table: str) -> Selection:
    return Selection(tables=Alternatives((TableName(table),)))


def _database(path: Path) -> Iterator[Database]:
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", enforce_foreign_keys)
    yield opened(engine)
    engine.dispose()


def _record(engine: Engine) -> None:
    with engine.connect() as connection:
        prepare(connection, log_tables(), dialect_named(engine.name), Wishes(triggers=True), now=utc_now())


def _run(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _values(database: Database, sql: str) -> list[Any]:
    with database.engine.connect() as connection:
        return list(connection.execute(text(sql)).scalars())


def _log_uuid(database: Database) -> str:
    with database.log() as reader:
        return reader.log_uuid()


def _family(database: Database) -> None:
    _run(
        database.engine,
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER, name TEXT, "
        "FOREIGN KEY (parent_id) REFERENCES parent (id))",
    )


def _log_of_a_child_before_its_parent(database: Database, *, with_parent: bool) -> None:
    """As a log can be whose foreign keys were checked at the commit."""
    _family(database)
    book = Logbook.create(database.engine)
    first, second = ({"id": 1, "parent_id": 7, "name": name} for name in ("first", "later"))
    book.insert("child", first)
    book.insert("parent", {"id": 8})
    book.update("child", first, second)
    if with_parent:
        book.insert("parent", {"id": 7})


def _wait_until(is_met: Any) -> None:
    deadline = threading.Event()
    for _ in range(500):
        if is_met():
            return
        deadline.wait(0.01)
    raise AssertionError("it did not happen within five seconds")
