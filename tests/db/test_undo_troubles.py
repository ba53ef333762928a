"""What keeps a database from being written: each is said with the way out, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event

from auditcli.apply import apply_plan
from auditcli.cli.app import main
from auditcli.driver import define
from auditcli.errors import AuditError, ExitCode
from auditcli.log.tables import log_tables
from auditcli.undo import plan_undo
from tests.databases import scratch_url
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, name VARCHAR(2000))"

Audit = Callable[..., tuple[int, str]]


@pytest.fixture
def item(any_engine: Engine) -> Watched:
    """An item that was renamed."""
    store = Watched(any_engine, ITEM)
    store.write("INSERT INTO item VALUES (1, 'tea')")
    store.write("UPDATE item SET name = 'mate'")
    return store


@pytest.fixture
def audit(capsys: pytest.CaptureFixture[str]) -> Audit:
    """Run a command line on a database: its exit code, and what it printed on one line."""

    def run_words(url: Any, *words: str) -> tuple[int, str]:
        code = main(["-u", url if isinstance(url, str) else url.render_as_string(hide_password=False), *words])
        printed = capsys.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    return run_words


@contextmanager
def _locked(store: Watched) -> Iterator[None]:
    with store.engine.connect() as holder:
        if store.engine.name == "sqlite":
            define(holder, "BEGIN IMMEDIATE")
        define(holder, "UPDATE item SET name = name")
        yield
        holder.rollback()


def test_a_lock_that_is_held_too_long_ends_it_and_its_holder_is_named(item: Watched, audit: Audit) -> None:
    with _locked(item):
        code, said = audit(item.engine.url, "undo", str(item.changes()[-1].id), "--yes", "--lock-timeout", "1")

    assert code == 8
    assert "nothing was written" in said
    assert "--lock-timeout SECONDS" in said
    if item.engine.name == "postgresql":
        assert "locked by postgres (pid " in said
        assert "UPDATE item SET name = name" in said
    elif item.engine.name == "mysql":
        assert "locked by root@" in said
    assert item.query("SELECT name FROM item") == [("mate",)]
    assert len(item.changes()) == 2


def test_without_a_right_to_see_others_a_lock_is_still_reported(tmp_path: Path, audit: Audit) -> None:
    with scratch_url("mariadb", tmp_path) as url:
        engine = create_engine(url)
        store = Watched(engine, ITEM)
        store.write("INSERT INTO item VALUES (1, 'tea')")
        clerk = str(url.database)[:30]
        store.write(f"CREATE USER '{clerk}'@'%' IDENTIFIED BY 'x'", f"GRANT ALL ON `{url.database}`.* TO '{clerk}'@'%'")
        try:
            own = url.set(username=clerk, password="x")
            with _locked(store):
                code, said = audit(own, "undo", "1", "--yes", "--lock-timeout", "1")
        finally:
            store.write(f"DROP USER '{clerk}'@'%'")
        assert (code, "is locked; nothing was written" in said) == (8, True)
        engine.dispose()


def _without_writes(url: Any, engine: Engine) -> Any:
    """Where the same database is found and takes no writes."""
    if engine.name == "sqlite":
        return f"sqlite:///file:{url.database}?mode=ro&uri=true"
    if engine.name == "mysql":
        return url.update_query_dict({"init_command": "SET SESSION TRANSACTION READ ONLY"})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        define(connection, f'ALTER DATABASE "{url.database}" SET default_transaction_read_only = on')
    return url


def test_a_database_that_takes_no_writes_is_said_to_be_read_only(item: Watched, audit: Audit) -> None:
    reading = _without_writes(item.engine.url, item.engine)

    code, said = audit(reading, "undo", "2", "--yes")

    assert code == 8
    assert "nothing was written" in said or "can't be written" in said
    assert "takes writes" in said or "make it writable" in said or "make the file" in said
    assert item.query("SELECT name FROM item") == [("mate",)]
    assert len(item.changes()) == 2


def test_a_file_without_room_is_said_to_be_full(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    store = Watched(engine, ITEM)
    store.write(
        "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 200) "
        "INSERT INTO item SELECT i, printf('%01000d', i) FROM n"
    )
    store.write("DELETE FROM item")
    ids = [change.id for change in store.changes() if change.event_type == "DELETE"]
    with engine.connect() as connection:
        plan = plan_undo(connection, log_tables(), ids=ids)
    known = len(store.changes())
    engine.dispose()
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 1"))

    with pytest.raises(AuditError, match="is full, nothing was written") as ended:
        apply_plan(engine, plan)

    assert (ended.value.exit_code, "free some space" in str(ended.value.hint)) == (ExitCode.FAILURE, True)
    assert store.query("SELECT COUNT(*) FROM item") == [(0,)]
    assert len(store.changes()) == known
    engine.dispose()


def test_an_undo_of_all_that_the_log_has_asks_for_a_word(item: Watched, audit: Audit) -> None:
    url = item.engine.url

    code, said = audit(url, "undo", "table:item", "--yes")
    assert (code, "--confirm 1 answers it" in said) == (6, True)
    assert "--confirm 1" in audit(url, "undo", "table:item", "--dry-run")[1]
    assert item.query("SELECT name FROM item") == [("mate",)]

    assert audit(url, "undo", "table:item", "event:update", "--yes")[0] == 0
    assert audit(url, "undo", "table:item", "--confirm", "1")[0] == 0
    assert item.query("SELECT name FROM item") == []


# Tables that are not as the log remembers them.

CHANGED = {
    "table dropped": ("DROP TABLE {t}", 5, "no longer exists"),
    "table renamed": ("ALTER TABLE {t} RENAME TO {t}_new", 5, "no longer exists"),
    "column dropped": ("ALTER TABLE {t} DROP COLUMN price", 5, "column no longer exists"),
    "column renamed": ("ALTER TABLE {t} RENAME COLUMN price TO cost", 5, "column no longer exists"),
    "column added": ("ALTER TABLE {t} ADD COLUMN note VARCHAR(9) NOT NULL", 5, "note"),
    "key gone": ("ALTER TABLE {t} RENAME COLUMN id TO number", 5, "column no longer exists"),
}
RETYPED = {
    "postgresql": "ALTER TABLE {t} ALTER price TYPE date USING NULL",
    "mysql": "ALTER TABLE {t} MODIFY price DATE",
}
NARROWED = {
    "postgresql": "ALTER TABLE {t} ALTER name TYPE varchar(2)",
    "mysql": "ALTER TABLE {t} MODIFY name VARCHAR(2)",
}


def test_changes_of_a_table_that_is_another_one_by_now_are_conflicts_with_names(
    any_engine: Engine, audit: Audit
) -> None:
    cases = dict(CHANGED)
    if any_engine.name == "sqlite":
        # A column without a default can only come with a table made anew.
        cases["column added"] = (
            "DROP TABLE {t}; CREATE TABLE {t} (id INTEGER PRIMARY KEY, name TEXT, price INTEGER, note TEXT NOT NULL)",
            5,
            "note",
        )
    else:
        cases["column retyped"] = (RETYPED[any_engine.name], 5, "item_6/1 price: 250")
        cases["column narrowed"] = (NARROWED[any_engine.name], 5, "name")
    names = {f"item_{number}": case for number, case in enumerate(cases.values())}
    columns = "(id INTEGER PRIMARY KEY, name VARCHAR(9), price INTEGER)"
    store = Watched(any_engine, *(f"CREATE TABLE {name} {columns}" for name in names))
    for name in names:
        store.write(f"INSERT INTO {name} VALUES (1, 'tea', 250)")
        store.write(f"DELETE FROM {name}")
    deletes = {change.table.name: change.id for change in store.changes()}
    store.init(triggers=False)
    for name, (statements, _, _) in names.items():
        store.write(*statements.format(t=name).split("; "))
    known = len(store.changes())

    found = {}
    for name, (statement, _, word) in names.items():
        code, said = audit(any_engine.url, "undo", str(deletes[name]), "--yes")
        found[statement] = code if word in said and "unexpected" not in said else said

    assert found == {statement: code for statement, code, _ in names.values()}
    assert len(store.changes()) == known
