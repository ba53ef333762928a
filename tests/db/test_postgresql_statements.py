"""Whatever statement a client sends to PostgreSQL, its triggers record what became of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from auditcli.driver import define
from auditcli.model import TableName
from tests.db.postgres import POSTGRESQL, scratch_engine
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

Make = Callable[..., Watched]

ITEM = "CREATE TABLE item (id int PRIMARY KEY, name text, price numeric(10,2) DEFAULT 1.50)"
PARENT = "CREATE TABLE parent (id int PRIMARY KEY, name text)"
PARTED = (
    "CREATE TABLE parted (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
    "CREATE TABLE january PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
    "CREATE TABLE later PARTITION OF parted FOR VALUES FROM ('2026-02-01') TO ('2030-01-01') PARTITION BY RANGE (day)",
    "CREATE TABLE february PARTITION OF later FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
    "CREATE TABLE march PARTITION OF later FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')",
)


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes a database; when the test is over its log must be complete."""
    made: list[Watched] = []
    with scratch_engine() as engine:

        def watched(*tables: str, **wishes: Any) -> Watched:
            made.append(Watched(engine, *tables, **wishes))
            return made[-1]

        yield watched
        for each in made:
            each.check()


@pytest.fixture
def make_unlike() -> Iterator[Make]:
    """The same for tables whose rows become other ones by a definition, which is no change that could be folded."""
    with scratch_engine() as engine:
        yield lambda *tables, **wishes: Watched(engine, *tables, **wishes)


@pytest.fixture
def make_on_18() -> Iterator[Make]:
    """The same on the embedded server."""
    with scratch_engine("postgresql 18") as engine:
        yield lambda *tables, **wishes: Watched(engine, *tables, **wishes)


# TRUNCATE.


def test_truncate_records_all_rows_of_several_tables(make: Make) -> None:
    db = make(ITEM, PARENT)
    db.write("INSERT INTO item VALUES (1, 'a'), (2, 'b')", "INSERT INTO parent VALUES (7, 'p')")

    db.write("TRUNCATE item, parent")

    assert db.events()[3:] == [("TRUNCATE", "item", "1"), ("TRUNCATE", "item", "2"), ("TRUNCATE", "parent", "7")]
    assert db.steps()[3][1:] == ({"id": 1, "name": "a", "price": {"$decimal": "1.50"}}, None)


def test_truncate_cascade_records_the_rows_of_the_referencing_tables_too(make: Make) -> None:
    db = make(PARENT, "CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent)")
    db.write("INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (10, 1)")

    db.write("TRUNCATE parent CASCADE")

    assert sorted(db.events()[2:]) == [("TRUNCATE", "child", "10"), ("TRUNCATE", "parent", "1")]


def test_truncate_restart_identity_lets_keys_be_used_again(make: Make) -> None:
    db = make("CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text)")
    db.write("INSERT INTO item (name) VALUES ('a')")

    db.write("TRUNCATE item RESTART IDENTITY", "INSERT INTO item (name) VALUES ('b')")

    assert db.events() == [("INSERT", "item", "1"), ("TRUNCATE", "item", "1"), ("INSERT", "item", "1")]


def test_truncate_of_a_table_that_others_inherit_from_records_each_row_once(make: Make) -> None:
    db = make(PARENT, "CREATE TABLE heir (more text, PRIMARY KEY (id)) INHERITS (parent)")
    db.write("INSERT INTO parent VALUES (1, 'p')", "INSERT INTO heir VALUES (2, 'h', 'm')")

    db.write("TRUNCATE parent")

    assert sorted(db.events()[2:]) == [("TRUNCATE", "heir", "2"), ("TRUNCATE", "parent", "1")]


def test_a_rolled_back_truncate_leaves_nothing(make: Make) -> None:
    db = make(ITEM)
    db.write("INSERT INTO item VALUES (1)")

    db.write("SAVEPOINT s", "TRUNCATE item", "ROLLBACK TO s", "INSERT INTO item VALUES (2)")

    assert [event[0] for event in db.events()] == ["INSERT", "INSERT"]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_truncate_outside_read_committed_is_refused_since_rows_would_go_unseen(make: Make, level: str) -> None:
    db = make(ITEM)
    db.write("INSERT INTO item VALUES (1)")

    with pytest.raises(DBAPIError, match=f"removes can't be recorded in a {level} transaction"):
        db.write(f"SET TRANSACTION ISOLATION LEVEL {level}", "TRUNCATE item")

    assert db.query("SELECT id FROM item") == [(1,)]


# Partitions.


def test_a_partitioned_table_is_recorded_under_its_root_whichever_way_it_is_written(make: Make) -> None:
    db = make(*PARTED)

    db.write(
        "INSERT INTO parted VALUES (1, '2026-01-02', 'root')",
        "INSERT INTO january VALUES (2, '2026-01-03', 'leaf')",
        "INSERT INTO later VALUES (3, '2026-02-03', 'middle')",
        "UPDATE january SET v = 'x' WHERE id = 1",
        "UPDATE parted SET v = 'y' WHERE id = 2",
        "DELETE FROM february",
    )

    assert [event[:2] for event in db.events()] == [
        *[("INSERT", "parted")] * 3,
        *[("UPDATE", "parted")] * 2,
        ("DELETE", "parted"),
    ]


def test_a_row_that_moves_to_another_partition_is_deleted_and_inserted(make: Make) -> None:
    db = make(*PARTED)
    db.write("INSERT INTO parted VALUES (1, '2026-01-02', 'a')")

    db.write("UPDATE parted SET day = '2026-03-05'")

    assert [event[0] for event in db.events()] == ["INSERT", "DELETE", "INSERT"]
    assert db.changes()[-1].row_id == '[1,"2026-03-05"]'


@pytest.mark.parametrize("table", ["parted", "later", "february"])
def test_truncate_of_a_partitioned_table_or_a_part_of_it_records_the_rows_of_each_leaf(make: Make, table: str) -> None:
    db = make(*PARTED)
    db.write("INSERT INTO parted VALUES (1, '2026-01-02'), (2, '2026-02-02'), (3, '2026-02-03')")

    db.write(f"TRUNCATE {table}")

    gone = [change.before for change in db.changes() if change.event_type.value == "TRUNCATE"]
    assert len(gone) == (3 if table == "parted" else 2)
    assert {str(change.table) for change in db.changes()} == {"parted"}


def test_a_partition_made_after_init_is_recorded(make: Make) -> None:
    db = make(*PARTED)

    db.write(
        "CREATE TABLE april PARTITION OF later FOR VALUES FROM ('2026-04-01') TO ('2026-05-01')",
        "INSERT INTO parted VALUES (1, '2026-04-02', 'a')",
        "INSERT INTO april VALUES (2, '2026-04-03', 'b')",
        "UPDATE april SET v = 'c'",
    )

    assert [event[:2] for event in db.events()] == [*[("INSERT", "parted")] * 2, *[("UPDATE", "parted")] * 2]


def test_a_partition_that_was_attached_with_other_column_places_is_recorded(make: Make) -> None:
    db = make(*PARTED, "CREATE TABLE apart (gone int, v text, day date NOT NULL, id int NOT NULL)", tables=("parted",))
    db.write(
        "ALTER TABLE apart DROP COLUMN gone",
        "ALTER TABLE later ATTACH PARTITION apart FOR VALUES FROM ('2026-06-01') TO ('2026-07-01')",
    )

    db.write("INSERT INTO parted VALUES (1, '2026-06-02', 'a')", "UPDATE apart SET id = 2", "DELETE FROM apart")

    assert [(event, row) for event, _, row in db.events()] == [
        ("INSERT", '[1,"2026-06-02"]'),
        ("UPDATE", '[2,"2026-06-02"]'),
        ("DELETE", '[2,"2026-06-02"]'),
    ]


def test_a_new_partition_is_emptied_as_recorded_after_init_ran_again(make: Make) -> None:
    db = make(*PARTED)
    db.write("CREATE TABLE april PARTITION OF parted FOR VALUES FROM ('2030-04-01') TO ('2030-05-01')")

    db.init()
    db.write("INSERT INTO parted VALUES (1, '2030-04-02')", "TRUNCATE april")

    assert [event[0] for event in db.events()] == ["INSERT", "TRUNCATE"]


def test_a_detached_partition_is_a_table_of_its_own_and_does_not_fail_its_writers(make: Make) -> None:
    db = make(*PARTED)

    db.write("ALTER TABLE parted DETACH PARTITION january", "INSERT INTO january VALUES (1, '2026-01-02')")
    db.init()
    db.write("INSERT INTO january VALUES (2, '2026-01-02')", "DELETE FROM january WHERE id = 1")

    assert db.query("SELECT id FROM january") == [(2,)]
    assert {str(change.table) for change in db.changes()} <= {"january"}


# Ways to write.


def test_a_session_that_replays_a_replication_is_recorded(make: Make) -> None:
    db = make(ITEM)

    db.write("SET LOCAL session_replication_role = replica", "INSERT INTO item VALUES (1)", "TRUNCATE item")

    assert [event[0] for event in db.events()] == ["INSERT", "TRUNCATE"]


def test_copy_is_recorded_row_by_row(make: Make) -> None:
    db = make(ITEM)

    with db.engine.begin() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        with raw.cursor().copy("COPY item (id, name) FROM STDIN") as copy:
            for number in range(100):
                copy.write_row((number, f"n {number}\t"))

    assert len(db.changes()) == 100
    assert db.steps()[9][2] == {"id": 9, "name": "n 9\t", "price": {"$decimal": "1.50"}}


def test_on_conflict_do_update_is_an_update_and_do_nothing_nothing(make: Make) -> None:
    db = make(ITEM)
    db.write("INSERT INTO item VALUES (1, 'a')")

    db.write(
        "INSERT INTO item VALUES (1, 'b'), (2, 'c') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        "INSERT INTO item VALUES (1, 'd'), (3, 'e') ON CONFLICT DO NOTHING",
    )

    assert [(event, row) for event, _, row in db.events()] == [
        ("INSERT", "1"),
        ("UPDATE", "1"),
        ("INSERT", "2"),
        ("INSERT", "3"),
    ]


def test_merge_is_recorded(make: Make) -> None:
    db = make(ITEM)
    db.write("INSERT INTO item VALUES (1, 'a'), (2, 'b')")

    db.write(
        "MERGE INTO item USING (VALUES (1, 'x'), (2, NULL), (3, 'z')) AS new (id, name) ON new.id = item.id "
        "WHEN MATCHED AND new.name IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET name = new.name "
        "WHEN NOT MATCHED THEN INSERT (id, name) VALUES (new.id, new.name)"
    )

    assert sorted(db.events()[2:]) == [("DELETE", "item", "2"), ("INSERT", "item", "3"), ("UPDATE", "item", "1")]


def test_writing_ctes_are_recorded(make: Make) -> None:
    db = make(ITEM, "CREATE TABLE old_item (LIKE item INCLUDING ALL)")
    db.write("INSERT INTO item VALUES (1, 'a'), (2, 'b')")

    db.write(
        "WITH gone AS (DELETE FROM item WHERE id = 1 RETURNING *), "
        "changed AS (UPDATE item SET name = 'z' WHERE id = 2 RETURNING *) INSERT INTO old_item SELECT * FROM gone"
    )

    assert sorted(db.events()[2:]) == [("DELETE", "item", "1"), ("INSERT", "old_item", "1"), ("UPDATE", "item", "2")]


def test_update_from_and_delete_using_are_recorded(make: Make) -> None:
    db = make(ITEM, PARENT)
    db.write("INSERT INTO item VALUES (1, 'a'), (2, 'b')", "INSERT INTO parent VALUES (1, 'x'), (2, 'y')")

    db.write(
        "UPDATE item SET name = p.name FROM parent AS p WHERE p.id = item.id AND p.id = 1",
        "DELETE FROM item USING parent AS p WHERE p.id = item.id AND p.name = 'y'",
    )

    assert db.events()[4:] == [("UPDATE", "item", "1"), ("DELETE", "item", "2")]


def test_a_cursor_a_function_and_a_prepared_statement_are_recorded(make: Make) -> None:
    db = make(
        ITEM,
        "CREATE FUNCTION rename(int) RETURNS void LANGUAGE sql AS 'UPDATE item SET name = ''f'' WHERE id = $1'",
    )
    db.write("INSERT INTO item VALUES (1), (2), (3)")

    db.write(
        "DECLARE c CURSOR FOR SELECT * FROM item WHERE id = 1 FOR UPDATE",
        "FETCH c",
        "UPDATE item SET name = 'cursor' WHERE CURRENT OF c",
        "SELECT rename(2)",
        "PREPARE p AS DELETE FROM item WHERE id = $1",
        "EXECUTE p(3)",
        "DO $$ BEGIN INSERT INTO item VALUES (4); END $$",
    )

    assert [event[0] for event in db.events()[3:]] == ["UPDATE", "UPDATE", "DELETE", "INSERT"]


def test_a_view_with_a_trigger_of_its_own_is_recorded_where_the_rows_are(make: Make) -> None:
    db = make(
        ITEM,
        "CREATE VIEW names AS SELECT id, upper(name) AS name FROM item",
        "CREATE FUNCTION put() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO item VALUES (NEW.id, NEW.name); RETURN NEW; END $$",
        "CREATE TRIGGER put INSTEAD OF INSERT ON names FOR EACH ROW EXECUTE FUNCTION put()",
        "CREATE VIEW simple AS SELECT * FROM item",
    )

    db.write("INSERT INTO names VALUES (1, 'a')", "UPDATE simple SET name = 'b'")

    assert db.events() == [("INSERT", "item", "1"), ("UPDATE", "item", "1")]


# Columns.


def test_an_identity_and_a_stored_generated_column_are_in_the_images(make: Make) -> None:
    db = make(
        "CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, "
        "doubled int GENERATED ALWAYS AS (n * 2) STORED)"
    )

    db.write("INSERT INTO item (n) VALUES (4)", "UPDATE item SET n = 5")

    assert db.steps()[1] == ("UPDATE", {"id": 1, "n": 4, "doubled": 8}, {"id": 1, "n": 5, "doubled": 10})


def test_a_virtual_generated_column_has_no_value_of_its_own(make_on_18: Make) -> None:
    db = make_on_18(
        "CREATE TABLE item (id int PRIMARY KEY, n int, doubled int GENERATED ALWAYS AS (n * 2), "
        "tripled int GENERATED ALWAYS AS (n * 3) STORED)"
    )

    db.write("INSERT INTO item (id, n) VALUES (1, 4)", "UPDATE item SET n = 5", "TRUNCATE item")

    assert db.steps()[1] == ("UPDATE", {"id": 1, "n": 4, "tripled": 12}, {"id": 1, "n": 5, "tripled": 15})
    db.check()


def test_all_of_this_works_on_the_newest_version_too(make_on_18: Make) -> None:
    db = make_on_18(*PARTED, ITEM)

    db.write(
        "INSERT INTO parted VALUES (1, '2026-01-02', 'a'), (2, '2026-02-02', 'b')",
        "UPDATE parted SET day = '2026-03-05' WHERE id = 1",
        "TRUNCATE later",
        "INSERT INTO item VALUES (1, 'a')",
        "MERGE INTO item USING (VALUES (2)) AS new (id) ON new.id = item.id WHEN NOT MATCHED THEN INSERT VALUES (2) "
        "WHEN NOT MATCHED BY SOURCE THEN DELETE",
        "UPDATE item SET name = 'x' RETURNING old.name, new.name",
    )

    assert len(db.changes()) == 2 + 2 + 2 + 1 + 2 + 1
    db.check()


def test_a_prepared_transaction_is_recorded_when_it_is_committed_and_not_when_it_is_rolled_back(
    make_on_18: Make,
) -> None:
    db = make_on_18(ITEM)

    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for number, (name, end) in enumerate([("kept", "COMMIT"), ("gone", "ROLLBACK")]):
            prepared = f"PREPARED '{db.engine.url.database} {name}'"
            define(connection, "BEGIN")
            define(connection, f"INSERT INTO item VALUES ({number}, '{name}')")
            define(connection, prepared.replace("PREPARED", "PREPARE TRANSACTION"))
            define(connection, f"{end} {prepared}")

    assert [step[2]["name"] for step in db.steps()] == ["kept"]
    db.check()


def test_an_update_that_changes_nothing_is_not_recorded(make: Make) -> None:
    db = make("CREATE TABLE item (id int PRIMARY KEY, name text, doc json, n numeric)")
    db.write("""INSERT INTO item VALUES (1, 'a', '{"a": 1, "a": 2}', 1.0)""")

    db.write(
        "UPDATE item SET name = name, doc = doc", "UPDATE item SET n = 1.00", """UPDATE item SET doc = '{"a":2}'"""
    )

    assert [step[2]["n"] for step in db.steps()] == [{"$decimal": "1.0"}, {"$decimal": "1.00"}, {"$decimal": "1.00"}]
    assert [step[2]["doc"] for step in db.steps()] == ['{"a": 1, "a": 2}', '{"a": 1, "a": 2}', '{"a":2}']


def test_a_long_value_that_was_left_alone_is_not_written_again(make: Make) -> None:
    db = make("CREATE TABLE item (id int PRIMARY KEY, body text, doc jsonb, n int)")
    db.write("INSERT INTO item VALUES (1, repeat('x', 5000), jsonb_build_array(repeat('y', 5000)), 1)")

    db.write("UPDATE item SET n = 2", "UPDATE item SET body = repeat('z', 5000)")

    raw = [after for (after,) in db.query("SELECT after FROM changelog ORDER BY id")]
    assert raw[1] == '{"id":1,"body":{"$same":true},"doc":{"$same":true},"n":2}'
    assert '"doc":{"$same":true}' in raw[2]
    assert "zzz" in raw[2]
    assert db.steps()[1][2]["body"] == "x" * 5000


@pytest.mark.parametrize(
    ("change", "write", "column", "value"),
    [
        ("ALTER TABLE item ADD more text", "UPDATE item SET more = 'x'", "more", "x"),
        ("ALTER TABLE item ADD more int DEFAULT 7", "UPDATE item SET name = 'x'", "more", 7),
        ("ALTER TABLE item ADD more jsonb", """UPDATE item SET more = '{"a": null}'""", "more", '{"a": null}'),
        ("ALTER TABLE item ADD more int[]", "UPDATE item SET more = '[0:1]={5,6}'", "more", "[0:1]={5,6}"),
        ("ALTER TABLE item RENAME name TO title", "UPDATE item SET title = 'x'", "title", "x"),
    ],
)
def test_a_changed_column_is_right_in_the_very_next_record(
    make: Make, change: str, write: str, column: str, value: object
) -> None:
    db = make(ITEM)
    db.write("INSERT INTO item VALUES (1, 'a')")

    db.write(change)
    db.write(write)

    assert db.steps()[-1][2][column] == value
    assert db.changes()[-1].row_id == "1"


@pytest.mark.parametrize(
    ("change", "column", "value"),
    [
        ("ALTER price TYPE text", "price", "1.50"),
        ("ALTER price DROP DEFAULT, ALTER price TYPE jsonb USING 'null'", "price", "null"),
        ("ALTER name TYPE jsonb USING '1'", "name", "1"),
        ("ALTER name TYPE int USING 1", "name", 1),
        ("ALTER name TYPE timestamptz USING '2026-01-02'", "name", "2026-01-02T00:00:00+00:00"),
    ],
)
def test_a_column_of_another_type_is_right_in_the_very_next_record(
    make_unlike: Make, change: str, column: str, value: object
) -> None:
    db = make_unlike("SET TIMEZONE TO 'UTC'", f"{ITEM[:-1]}, more int)")
    db.write("INSERT INTO item VALUES (1, 'x')")

    db.write(f"ALTER TABLE item {change}")
    db.write("SET TIMEZONE TO 'Asia/Kathmandu'", "UPDATE item SET more = 2")

    assert db.steps()[-1][2] == {**db.steps()[-1][2], column: value, "more": 2}
    assert db.changes()[-1].row_id == "1"


def test_a_dropped_column_is_not_in_the_next_record(make: Make) -> None:
    db = make(ITEM)
    db.write("INSERT INTO item VALUES (1, 'a')")

    db.write("ALTER TABLE item DROP name", "UPDATE item SET price = 2")

    assert db.steps()[-1][2] == {"id": 1, "price": {"$decimal": "2.00"}}


def test_a_renamed_key_column_is_found_by_its_new_name(make_unlike: Make) -> None:
    db = make_unlike(ITEM)
    db.write("INSERT INTO item VALUES (1, 'a')")

    db.write("ALTER TABLE item RENAME id TO number", "UPDATE item SET number = 2", "DELETE FROM item")

    assert db.events() == [("INSERT", "item", "1"), ("UPDATE", "item", "2"), ("DELETE", "item", "2")]
    assert db.changes()[1].old_row_id == "1"


def test_a_renamed_table_is_recorded_under_its_new_name(make: Make) -> None:
    db = make(ITEM)

    db.write("ALTER TABLE item RENAME TO thing", "INSERT INTO thing VALUES (1, 'a')")

    assert db.events() == [("INSERT", "thing", "1")]


# Names.


@pytest.mark.parametrize(
    "name",
    ["Mixed", "select", 'o\'d "q" %s %(x)s :x', "new\nline", "back\\slash", "$auditcli$ @log@ {x}", "ü" * 31, "n" * 63],
)
def test_a_table_and_its_columns_may_have_any_name(make: Make, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    db = make(
        f"CREATE SCHEMA {quoted}",
        "CREATE SCHEMA kinds",
        f"CREATE TYPE kinds.{quoted} AS ENUM ('x')",
        f"CREATE TABLE {quoted} ({quoted} int PRIMARY KEY, v text, doc json)",
        f"CREATE TABLE {quoted}.{quoted} (id int, {quoted} kinds.{quoted}, doc jsonb, PRIMARY KEY (id, {quoted}))",
    )

    db.write(
        f"INSERT INTO {quoted} VALUES (1, 'a', '1')",
        f"UPDATE {quoted} SET v = 'b'",
        f"INSERT INTO {quoted}.{quoted} VALUES (1, 'x', '1')",
        f"TRUNCATE {quoted}",
    )

    assert {change.table for change in db.changes()} == {TableName(name), TableName(name, name)}
    assert db.steps()[1][2] == {name: 1, "v": "b", "doc": "1"}
    assert db.changes()[2].row_id == '[1,"x"]'


def test_columns_may_have_the_names_that_the_triggers_use_themselves(make: Make) -> None:
    names = ("x", "r", "n", "o", "a", "key", "value", "old", "new", "tg_op", "_before", "_after", "image", "u")
    listed = ", ".join(f"{name} text DEFAULT '{name}'" for name in names)
    db = make(
        "CREATE TYPE pair AS (one int, two int)",
        f"CREATE TABLE x (id int PRIMARY KEY, doc jsonb, {listed})",
        "CREATE TABLE r (id int PRIMARY KEY, x pair, r pair, secret text)",
        mask_columns={"r": ("secret",)},
    )

    db.write("INSERT INTO x VALUES (1, '1')", "INSERT INTO r VALUES (1, (1, 2), (3, 4), 's')")
    db.write("UPDATE x SET x = 'y', r = doc::text", "UPDATE r SET x = (5, 6)", "TRUNCATE x, r")

    assert db.steps()[1][2] == {"id": 1, "x": "(1,2)", "r": "(3,4)", "secret": {"$masked": True}}
    assert [event[0] for event in db.events()] == ["INSERT"] * 2 + ["UPDATE"] * 2 + ["TRUNCATE"] * 2


def test_two_tables_of_one_name_in_two_schemas_are_not_confused(make: Make) -> None:
    db = make(ITEM, "CREATE SCHEMA other", "CREATE TABLE other.item (id int PRIMARY KEY, kind text)")

    db.write("INSERT INTO item VALUES (1)", "INSERT INTO other.item VALUES (1)", "SET LOCAL search_path = other")
    db.write("SET LOCAL search_path = other", "INSERT INTO item VALUES (2)")

    assert db.events() == [("INSERT", "item", "1"), ("INSERT", "other.item", "1"), ("INSERT", "other.item", "2")]


def test_a_writer_needs_no_rights_on_the_log(make: Make) -> None:
    db = make(ITEM)
    role = f"writer_{db.engine.url.database}"
    db.write(f"CREATE ROLE {role}", f"GRANT SELECT, INSERT, UPDATE, TRUNCATE ON item TO {role}")

    try:
        db.write(f"SET LOCAL ROLE {role}", "INSERT INTO item VALUES (1)", "TRUNCATE item")
        with pytest.raises(DBAPIError, match="permission denied"):
            db.write(f"SET LOCAL ROLE {role}", "DELETE FROM changelog")
    finally:
        db.write(f"DROP OWNED BY {role}", f"DROP ROLE {role}")

    assert [event[0] for event in db.events()] == ["INSERT", "TRUNCATE"]


# Keys and references.


def test_a_composite_key_is_a_json_array_in_the_order_of_the_key(make: Make) -> None:
    db = make("CREATE TABLE item (a text, b int, c numeric, PRIMARY KEY (b, a, c))")

    db.write("INSERT INTO item VALUES ('x\"y', 1, 2.50)", "UPDATE item SET a = 'z'")

    assert db.changes()[1].row_id == '[1,"z",{"$decimal":"2.50"}]'
    assert db.changes()[1].old_row_id == '[1,"x\\"y",{"$decimal":"2.50"}]'


def test_a_table_without_a_key_is_recorded_by_whole_rows_also_equal_ones(make: Make) -> None:
    db = make("CREATE TABLE item (a text, b int)")

    db.write(
        "INSERT INTO item VALUES ('x', 1), ('x', 1), ('y', 2)",
        "DELETE FROM item WHERE ctid = (SELECT min(ctid) FROM item)",
        "UPDATE item SET b = 3 WHERE a = 'x'",
    )

    assert db.events()[3:] == [("DELETE", "item", None), ("UPDATE", "item", None)]


@pytest.mark.parametrize("length", [63, 64, 255, 256, 2000])
@pytest.mark.parametrize("letter", ["k", "ü", "\N{MUSICAL NOTE}"])
def test_a_long_key_never_fails_a_write(make: Make, length: int, letter: str) -> None:
    db = make("CREATE TABLE item (id text PRIMARY KEY, v int)")

    db.write(
        f"INSERT INTO item VALUES (repeat('{letter}', {length}), 1)",
        f"UPDATE item SET id = id || '{letter}'",
        "DELETE FROM item",
    )

    assert [event[0] for event in db.events()] == ["INSERT", "UPDATE", "DELETE"]
    assert db.query("SELECT count(*) FROM changelog WHERE octet_length(row_id) > 1020") == [(0,)]


def test_cascades_over_levels_are_recorded_level_by_level(make: Make) -> None:
    db = make(
        PARENT,
        "CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE)",
        "CREATE TABLE leaf (id int PRIMARY KEY, child_id int REFERENCES child ON DELETE CASCADE)",
        "CREATE TABLE note (id int PRIMARY KEY, child_id int REFERENCES child ON DELETE SET NULL)",
        "CREATE TABLE mark (id int PRIMARY KEY, child_id int DEFAULT 1 REFERENCES child ON DELETE SET DEFAULT)",
    )
    db.write(
        "INSERT INTO parent VALUES (1), (2)",
        "INSERT INTO child VALUES (1, 1), (2, 2)",
        "INSERT INTO leaf VALUES (1, 2)",
        "INSERT INTO note VALUES (1, 2)",
        "INSERT INTO mark VALUES (1, 2)",
    )

    db.write("UPDATE parent SET id = 9 WHERE id = 1", "DELETE FROM parent WHERE id = 2")

    assert db.events()[7:9] == [("UPDATE", "parent", "9"), ("UPDATE", "child", "1")]
    assert db.events()[9] == ("DELETE", "parent", "2")
    assert sorted(event[:2] for event in db.events()[10:]) == [
        ("DELETE", "child"),
        ("DELETE", "leaf"),
        ("UPDATE", "mark"),
        ("UPDATE", "note"),
    ]


def test_a_table_that_refers_to_itself_is_recorded_all_the_way_down(make: Make) -> None:
    db = make("CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree ON DELETE CASCADE ON UPDATE CASCADE)")
    db.write("INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 4)")

    db.write("UPDATE tree SET id = 7 WHERE id = 1", "UPDATE tree SET id = 8 WHERE id = 4", "DELETE FROM tree")

    assert sorted(row or "" for event, _, row in db.events() if event == "DELETE") == ["2", "3", "7", "8"]


# Triggers of the application's own.


def test_a_before_trigger_that_changes_the_row_is_in_the_image(make: Make) -> None:
    db = make(
        ITEM,
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW.name := upper(NEW.name); RETURN NEW; END $$",
        "CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION shout()",
    )

    db.write("INSERT INTO item VALUES (1, 'a')", "UPDATE item SET name = 'b'", "UPDATE item SET name = 'B'")

    assert [step[2]["name"] for step in db.steps()] == ["A", "B"]


AGAIN = """CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
UPDATE item SET price = price + 1 WHERE id = NEW.id; RETURN NULL; END $$"""


@pytest.mark.parametrize("name", ["Sync", "again", "zzz"])
def test_an_after_trigger_that_changes_the_row_again_leaves_an_unbroken_chain(make: Make, name: str) -> None:
    db = make(
        ITEM,
        AGAIN,
        f'CREATE TRIGGER "{name}" AFTER INSERT OR UPDATE OF name ON item FOR EACH ROW EXECUTE FUNCTION again()',
    )

    db.write("INSERT INTO item VALUES (1, 'a', 1)", "UPDATE item SET name = 'b'")

    assert [event[0] for event in db.events()] == ["INSERT", "UPDATE", "UPDATE", "UPDATE"]


def test_a_trigger_with_a_name_before_ours_has_its_change_recorded_first_as_the_limits_say(make_unlike: Make) -> None:
    db = make_unlike(ITEM, AGAIN, 'CREATE TRIGGER "Again" AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION again()')

    db.write("INSERT INTO item VALUES (1, 'a', 1)")

    assert [event[0] for event in db.events()] == ["UPDATE", "INSERT"]
    assert any("sorts before" in limit for limit in POSTGRESQL.capture_limits)


# What is kept out.


def test_a_masked_and_an_excluded_column_stay_out_of_the_log_under_a_new_name_too(make: Make) -> None:
    db = make(
        "CREATE TABLE person (id int PRIMARY KEY, name text, secret text, doc jsonb, token text)",
        exclude_columns={"person": ("token", "doc")},
        mask_columns={"person": ("secret",)},
    )
    db.write("""INSERT INTO person VALUES (1, 'a', 'hidden', '"hidden"', 'hidden')""")

    db.write(
        "UPDATE person SET token = 'hidden too'",
        "ALTER TABLE person RENAME secret TO quiet",
        "ALTER TABLE person RENAME token TO ticket",
        "UPDATE person SET quiet = 'hidden again', ticket = 'hidden'",
        "UPDATE person SET name = 'b', ticket = 'hidden'",
        "TRUNCATE person",
    )

    [logged] = db.query("SELECT string_agg(concat(before, after), ' ') FROM changelog")
    assert "hidden" not in logged[0]
    assert [event[0] for event in db.events()] == ["INSERT", "UPDATE", "UPDATE", "TRUNCATE"]
    assert db.steps()[1][2] == {"id": 1, "name": "a", "quiet": {"$masked": True}}


def test_a_change_of_only_excluded_columns_is_no_change(make: Make) -> None:
    db = make("CREATE TABLE item (id int PRIMARY KEY, seen int)", exclude_columns={"item": ("seen",)})
    db.write("INSERT INTO item VALUES (1, 1)")

    db.write("UPDATE item SET seen = 2")

    assert [event[0] for event in db.events()] == ["INSERT"]
