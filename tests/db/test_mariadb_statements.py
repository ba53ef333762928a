"""Every form of statement on MariaDB, by clients that know nothing of auditing: none is missed or recorded twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

import auditcli
from auditcli.errors import AuditError
from tests.db.mariadb import scratch_engine
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

ITEM = "CREATE TABLE item (id INT PRIMARY KEY, code VARCHAR(20) UNIQUE, n INT)"
ROWS = "INSERT INTO item VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)"


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An empty database."""
    with scratch_engine() as engine:
        yield engine


@pytest.fixture
def items(engine: Engine) -> Watched:
    """Three rows in a recorded table."""
    watched = Watched(engine, ITEM)
    watched.write(ROWS)
    return watched


def _after(watched: Watched, *statements: str) -> list[tuple[str, str | None]]:
    """What is recorded of some statements in one transaction, and that nothing is missing."""
    known = len(watched.changes())
    watched.write(*statements)
    watched.check()
    changes = watched.changes()[known:]
    assert len({change.transaction_id for change in changes}) <= 1
    assert None not in {change.transaction_id for change in changes}
    return [(change.event_type.value, change.row_id) for change in changes]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("REPLACE INTO item VALUES (1, 'new', 9)", [("DELETE", "1"), ("INSERT", "1")]),
        ("REPLACE INTO item VALUES (9, 'a', 9)", [("DELETE", "1"), ("INSERT", "9")]),
        ("INSERT INTO item VALUES (1, 'x', 0) ON DUPLICATE KEY UPDATE n = 7", [("UPDATE", "1")]),
        ("INSERT INTO item VALUES (8, 'b', 0) ON DUPLICATE KEY UPDATE n = 7", [("UPDATE", "2")]),
        ("INSERT INTO item VALUES (1, 'x', 0) ON DUPLICATE KEY UPDATE n = n", []),
        ("INSERT INTO item VALUES (9, 'x', 0) ON DUPLICATE KEY UPDATE n = 7", [("INSERT", "9")]),
        ("INSERT IGNORE INTO item VALUES (1, 'x', 0), (9, 'y', 0)", [("INSERT", "9")]),
        (
            "INSERT INTO item SELECT id + 10, CONCAT(code, 'x'), n FROM item WHERE id < 3",
            [("INSERT", "11"), ("INSERT", "12")],
        ),
        ("UPDATE item SET n = n", []),
        ("UPDATE item SET code = 'A' WHERE id = 1", [("UPDATE", "1")]),
        ("UPDATE item SET id = 10 WHERE id = 1", [("UPDATE", "10")]),
        ("UPDATE IGNORE item SET code = 'b' WHERE id IN (1, 3)", []),
        (
            "UPDATE item AS x JOIN item AS y ON y.id = x.id + 1 SET x.n = 50, y.n = 60 WHERE x.id = 1",
            [("UPDATE", "1"), ("UPDATE", "2")],
        ),
        ("DELETE FROM item WHERE id > 1 ORDER BY id DESC LIMIT 1", [("DELETE", "3")]),
        ("DELETE x FROM item AS x JOIN item AS y ON y.id = x.id + 1", [("DELETE", "1"), ("DELETE", "2")]),
        ("WITH x AS (SELECT 1) SELECT 1", []),
    ],
)
def test_a_statement_is_recorded_as_what_it_did(
    items: Watched, statement: str, expected: list[tuple[str, str]]
) -> None:
    assert sorted(_after(items, statement)) == sorted(expected)


def test_a_key_that_changes_is_one_update_that_says_what_it_was(items: Watched) -> None:
    _after(items, "UPDATE item SET id = 10 WHERE id = 1")

    assert (items.changes()[-1].old_row_id, items.changes()[-1].row_id) == ("1", "10")


def test_keys_that_differ_in_case_alone_are_followed(engine: Engine) -> None:
    watched = Watched(engine, "CREATE TABLE word (w VARCHAR(20) PRIMARY KEY, n INT)")
    watched.write("INSERT INTO word VALUES ('a', 1)")

    watched.write("UPDATE word SET w = 'A'")

    watched.check()
    assert (watched.changes()[-1].old_row_id, watched.changes()[-1].row_id) == ("a", "A")


def test_composite_long_and_missing_keys_are_recorded(engine: Engine) -> None:
    watched = Watched(
        engine,
        "CREATE TABLE pair (a INT, b VARCHAR(300), PRIMARY KEY (a, b))",
        "CREATE TABLE wide (k VARCHAR(400) PRIMARY KEY)",
        "CREATE TABLE loose (a INT, b TEXT)",
    )

    watched.write("INSERT INTO pair VALUES (1, 'x\"y'), (2, REPEAT('é', 200))")
    watched.write("INSERT INTO wide VALUES (CONCAT(REPEAT('a', 300), '1')), (CONCAT(REPEAT('a', 300), '2'))")
    watched.write("INSERT INTO loose VALUES (1, 'x'), (1, 'x'), (NULL, NULL)", "DELETE FROM loose WHERE a = 1 LIMIT 1")
    watched.write("UPDATE wide SET k = CONCAT('b', k)")

    watched.check()
    assert watched.changes()[0].row_id == '[1,"x\\"y"]'


@pytest.mark.parametrize(
    "name", ["a`b", "per%cent", "colon:x", 'quote"s', "it's", "new\nline", "ünïcödé", "x" * 64, "back\\slash"]
)
def test_hostile_names_of_tables_and_columns_work(engine: Engine, name: str) -> None:
    quoted = "`" + name.replace("`", "``") + "`"
    watched = Watched(engine, f"CREATE TABLE {quoted} (id INT PRIMARY KEY, {quoted} TEXT)")

    watched.write(
        f"INSERT INTO {quoted} VALUES (1, 'x')", f"UPDATE {quoted} SET {quoted} = 'y'", f"DELETE FROM {quoted}"
    )

    watched.check()
    assert [change.event_type.value for change in watched.changes()] == ["INSERT", "UPDATE", "DELETE"]
    assert watched.changes()[1].after == {"id": 1, name: "y"}


def test_a_long_value_that_an_update_left_alone_is_not_written_twice(engine: Engine) -> None:
    watched = Watched(engine, "CREATE TABLE doc (id INT PRIMARY KEY, body LONGTEXT, photo LONGBLOB, n INT)")
    watched.write("INSERT INTO doc VALUES (1, REPEAT('x', 5000), REPEAT(x'ff', 5000), 1)")

    watched.write("UPDATE doc SET n = 2")

    watched.check()
    [(after,)] = watched.query("SELECT `after` FROM changelog WHERE event_type = 'UPDATE'")
    assert after == '{"id":1,"body":{"$same":true},"photo":{"$same":true},"n":2}'


def test_a_row_that_is_too_long_for_its_record_fails_instead_of_being_recorded_as_nothing(engine: Engine) -> None:
    watched = Watched(engine, "CREATE TABLE doc (id INT PRIMARY KEY, photo LONGBLOB)")

    with pytest.raises(OperationalError, match="max_allowed_packet"):
        watched.write("INSERT INTO doc VALUES (1, REPEAT('x', @@max_allowed_packet DIV 2 + 10))")

    assert watched.query("SELECT COUNT(*) FROM doc") == [(0,)]
    watched.check()


def test_masked_and_excluded_columns_stay_out_of_the_log_and_their_changes_do_not(engine: Engine) -> None:
    watched = Watched(
        engine,
        "CREATE TABLE user (id INT PRIMARY KEY, name TEXT, password TEXT, seen INT)",
        mask_columns={"user": ("password",)},
        exclude_columns={"user": ("seen",)},
    )

    watched.write("INSERT INTO user VALUES (1, 'ann', 'geheim', 1)")
    watched.write("UPDATE user SET seen = 2", "UPDATE user SET password = 'anders'")

    assert [change.event_type.value for change in watched.changes()] == ["INSERT", "UPDATE"]
    assert watched.changes()[-1].after == {"id": 1, "name": "ann", "password": {"$masked": True}}
    assert watched.query(
        "SELECT COUNT(*) FROM changelog WHERE CONCAT(COALESCE(`before`, ''), `after`) LIKE '%geheim%'"
    ) == [(0,)]


def test_what_triggers_of_the_applications_own_write_is_recorded(items: Watched) -> None:
    items.write(
        "CREATE TRIGGER app_before BEFORE UPDATE ON item FOR EACH ROW SET NEW.n = NEW.n + 100",
        "CREATE TABLE audit_copy (id INT PRIMARY KEY AUTO_INCREMENT, item INT)",
        "CREATE TRIGGER app_after AFTER UPDATE ON item FOR EACH ROW INSERT INTO audit_copy (item) VALUES (NEW.id)",
    )
    items.init()

    recorded = _after(items, "UPDATE item SET n = 5 WHERE id = 1")

    assert sorted(recorded) == [("INSERT", "1"), ("UPDATE", "1")]
    assert items.query("SELECT n FROM item WHERE id = 1") == [(105,)]


# Transactions of clients that know nothing of auditing.


def test_each_transaction_of_a_plain_client_has_a_number_of_its_own(items: Watched) -> None:
    with items.engine.connect() as connection:
        for _ in range(3):
            connection.exec_driver_sql("UPDATE item SET n = n + 1 WHERE id = 1")
            connection.exec_driver_sql("UPDATE item SET n = n + 1 WHERE id = 2")
            connection.commit()
    autocommit = items.engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        for _ in range(2):
            connection.exec_driver_sql("UPDATE item SET n = n + 1 WHERE id < 3")

    numbers = [change.transaction_id for change in items.changes()[3:]]
    assert [numbers.count(number) for number in dict.fromkeys(numbers)] == [2, 2, 2, 2, 2]


def test_a_transaction_keeps_its_number_over_a_savepoint_that_is_rolled_back(items: Watched) -> None:
    recorded = _after(
        items,
        "SAVEPOINT one",
        "UPDATE item SET n = 50 WHERE id = 1",
        "ROLLBACK TO SAVEPOINT one",
        "UPDATE item SET n = 60 WHERE id = 2",
        "UPDATE item SET n = 70 WHERE id = 3",
    )

    assert recorded == [("UPDATE", "2"), ("UPDATE", "3")]
    number = items.changes()[-1].transaction_id
    headers = items.query(f"SELECT COUNT(*) FROM changelog_transaction WHERE transaction_id = '{number}'")
    assert headers == [(1,)]


def test_a_distributed_transaction_is_one(items: Watched) -> None:
    engine = create_engine(items.engine.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in (
            "XA START 'x'",
            "UPDATE item SET n = 50 WHERE id = 1",
            "UPDATE item SET n = 60 WHERE id = 2",
            "XA END 'x'",
            "XA PREPARE 'x'",
            "XA COMMIT 'x'",
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()

    items.check()
    assert len({change.transaction_id for change in items.changes()[-2:]}) == 1


def test_a_context_that_a_crashed_program_left_behind_accuses_nobody(items: Watched) -> None:
    with items.engine.connect() as connection:
        connection.exec_driver_sql(
            "SET @auditcli_transaction_id = '11111111-1111-1111-1111-111111111111', @auditcli_actor = 'alice'"
        )
        connection.exec_driver_sql("UPDATE item SET n = 50 WHERE id = 1")
        connection.commit()
        connection.exec_driver_sql("UPDATE item SET n = 60 WHERE id = 1")
        connection.commit()

    hers, nobodys = items.changes()[-2:]
    assert (hers.actor, hers.transaction_id) == ("alice", "11111111-1111-1111-1111-111111111111")
    assert nobodys.actor != "alice"
    assert nobodys.transaction_id not in (hers.transaction_id, None)


def test_an_empty_actor_counts_as_absent(items: Watched) -> None:
    items.write("SET @auditcli_transaction_id = UUID(), @auditcli_actor = ''", "UPDATE item SET n = 50 WHERE id = 1")

    assert str(items.changes()[-1].actor).startswith("root@")


@pytest.mark.parametrize(
    "hostile", ["'; DROP TABLE item; --", '*/ "', "%s :x {0}", "a\0b", "😀" * 100, "x" * 1_000_000]
)
@pytest.mark.parametrize("triggers", [True, False])
def test_hostile_context_is_data(engine: Engine, hostile: str, *, triggers: bool) -> None:
    watched = Watched(engine, ITEM, triggers=triggers)
    auditcli.track(engine)

    with auditcli.context(actor=hostile, reason=hostile, key=hostile), engine.begin() as connection:
        connection.execute(watched.table("item").insert(), [{"id": 1}])

    [change] = watched.changes()
    assert (change.actor, change.reason, change.context) == (hostile[:255], hostile, {"key": hostile})


def test_the_clock_is_the_moment_of_the_record_whatever_the_session_says(items: Watched) -> None:
    items.write("SET timestamp = 1000000000, time_zone = '-05:00'", "UPDATE item SET n = 50", "SET timestamp = DEFAULT")

    [(seconds,)] = items.query("SELECT MAX(TIMESTAMPDIFF(SECOND, `timestamp`, UTC_TIMESTAMP(6))) FROM changelog")
    assert abs(int(seconds)) < 60


# Rights and interruptions.


@pytest.fixture
def clerk(engine: Engine) -> Iterator[Engine]:
    """A user who may write to tables and knows nothing of the log."""
    name = f"clerk{engine.url.database[-10:]}"  # type: ignore[index]  # the fixture named it
    with engine.begin() as connection:
        connection.execute(text(f"CREATE USER {name}@'127.0.0.1'"))
    other = create_engine(engine.url.set(username=name))
    yield other
    other.dispose()
    with engine.begin() as connection:
        connection.execute(text(f"DROP USER {name}@'127.0.0.1'"))


def test_a_writer_without_rights_on_the_log_is_recorded(items: Watched, clerk: Engine) -> None:
    items.write(f"GRANT SELECT, INSERT, UPDATE, DELETE ON item TO {clerk.url.username}@'127.0.0.1'")

    with clerk.begin() as connection:
        connection.exec_driver_sql("UPDATE item SET n = 50 WHERE id = 1")

    items.check()
    assert items.changes()[-1].actor == f"{clerk.url.username}@127.0.0.1"


def test_init_without_the_right_to_make_triggers_says_which_grant_is_missing(items: Watched, clerk: Engine) -> None:
    database = items.engine.url.database
    items.write(
        f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, ALTER ON `{database}`.* "
        f"TO {clerk.url.username}@'127.0.0.1'"
    )
    items.write("CREATE TABLE later (id INT PRIMARY KEY)")

    with pytest.raises(AuditError) as refused:
        Watched(clerk)

    assert "TRIGGER" in f"{refused.value} {refused.value.hint}"


def test_init_that_was_broken_off_goes_on_where_it_stopped(engine: Engine) -> None:
    watched = Watched(engine, ITEM, "CREATE TABLE other (id INT PRIMARY KEY)")
    [(name,)] = watched.query(
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE() "
        "AND event_object_table = 'other' AND event_manipulation = 'UPDATE'"
    )
    watched.write(f"DROP TRIGGER {name}", "DELETE FROM changelog_meta WHERE name = 'capture'")

    watched.init()

    watched.write(ROWS, "INSERT INTO other VALUES (1)", "UPDATE other SET id = 2")
    watched.check()
    assert watched.init().capture.is_needed is False


def test_writers_that_contend_for_rows_leave_an_unbroken_chain(items: Watched) -> None:
    failures: list[BaseException] = []

    def write(number: int) -> None:
        with items.engine.connect() as connection:
            for _ in range(40):
                try:
                    connection.exec_driver_sql(f"UPDATE item SET n = n + {number} WHERE id = 1")
                    connection.exec_driver_sql(f"UPDATE item SET n = n + {number} WHERE id = 2")
                    connection.commit()
                except OperationalError as error:
                    connection.rollback()
                    failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    items.check()
    assert failures == []
    numbers = [change.transaction_id for change in items.changes()[3:]]
    assert {numbers.count(number) for number in set(numbers)} == {2}


@pytest.mark.parametrize(
    ("duplicates", "expected"),
    [
        ("IGNORE", [("INSERT", "8"), ("INSERT", "9")]),
        ("REPLACE", [("DELETE", "1"), ("INSERT", "1"), ("INSERT", "8"), ("INSERT", "9")]),
    ],
)
def test_a_file_loaded_by_a_client_is_recorded_row_by_row(
    items: Watched, tmp_path: Path, duplicates: str, expected: list[tuple[str, str]]
) -> None:
    file = tmp_path / "items.tsv"
    file.write_text("1\tx\t0\n8\tp\t8\n9\tq\t9\n")
    known = len(items.changes())
    client = create_engine(items.engine.url, connect_args={"local_infile": True})

    with client.begin() as connection:
        connection.exec_driver_sql(f"LOAD DATA LOCAL INFILE '{file}' {duplicates} INTO TABLE item")
    client.dispose()

    changes = items.changes()[known:]
    assert [(change.event_type.value, change.row_id) for change in changes] == expected
    assert len({change.transaction_id for change in changes}) == 1
    items.check()


def test_a_key_that_is_only_spelt_otherwise_now_is_recorded_with_its_former_spelling(engine: Engine) -> None:
    watched = Watched(
        engine,
        "CREATE TABLE one (k VARCHAR(5) PRIMARY KEY)",
        """CREATE TABLE two (k VARCHAR(5), n INT, PRIMARY KEY (k, n),
        FOREIGN KEY (k) REFERENCES one (k) ON UPDATE CASCADE)""",
    )
    watched.write("INSERT INTO one VALUES ('x')", "INSERT INTO two VALUES ('x', 1)")

    watched.write("UPDATE one SET k = 'X'")
    watched.write("UPDATE two SET k = 'x'")

    assert [(change.old_row_id, change.row_id) for change in watched.changes()[2:]] == [
        ('["x",1]', '["X",1]'),
        ("x", "X"),
        ('["X",1]', '["x",1]'),
    ]
