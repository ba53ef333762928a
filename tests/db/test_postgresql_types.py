"""Every type of PostgreSQL comes back exactly, in both ways of capture, whatever the settings of the writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, insert, text
from sqlalchemy.orm import sessionmaker
from sqlalchemy.types import NullType

import auditcli
from auditcli import codec
from auditcli.apply import apply_plan
from auditcli.dialects import Fragment
from auditcli.driver import ValueReading, run
from auditcli.log.schema import read_shapes
from auditcli.log.tables import log_tables
from auditcli.model import Image, TableName
from auditcli.rows import RowReader
from auditcli.shape import ColumnShape, TableShape
from auditcli.undo import plan_undo
from tests.db.postgres import HOSTILE, POSTGRESQL, be_hostile, scratch_engine, settings_of
from tests.db.watched import Watched

pytestmark = pytest.mark.thorough

DEFINITIONS = (
    "CREATE EXTENSION IF NOT EXISTS hstore",
    "CREATE EXTENSION IF NOT EXISTS citext",
    """CREATE TYPE "Mood %s" AS ENUM ('sad', 'o''k "x" %', 'ünder :x')""",
    'CREATE TYPE pair AS (a int, "B b" text, c timestamptz)',
    "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    "CREATE DOMAIN words AS text[]",
    "CREATE DOMAIN document AS jsonb",
    'CREATE DOMAIN "deep %" AS positive',
    "CREATE DOMAIN stamp AS timestamptz",
)

TYPES: dict[str, tuple[str, ...]] = {
    "int2": ("-32768", "0", "32767"),
    "int4": ("-2147483648", "0", "2147483647"),
    "int8": ("-9223372036854775808", "9007199254740993", "9223372036854775807"),
    "numeric": (
        "1.10",
        "1.1",
        "1",
        "-0.00",
        "'NaN'",
        "'Infinity'",
        "'-Infinity'",
        "12345678901234567890.123456789",
        "0.0000000000000000010",
        "1e300",
        "('1' || repeat('0', 2000) || '.5')::numeric",
    ),
    "numeric(10,2)": ("1.10", "-1", "99999999.99"),
    "numeric(3,-2)": ("12345", "0"),
    "float4": ("0.1", "'-0'", "0", "'NaN'", "'Infinity'", "'-Infinity'", "1e-45", "3.4028235e38", "16777217"),
    "float8": (
        "0.1",
        "0.1::float8 + 0.2::float8",
        "'-0'",
        "0",
        "'NaN'",
        "'Infinity'",
        "'-Infinity'",
        "5e-324",
        "1.7976931348623157e308",
        "1e15",
        "1e16",
        "123456789012345678",
    ),
    "bool": ("true", "false"),
    "text": (
        "''",
        "'1'",
        "'true'",
        "'null'",
        """'it''s "quoted" {a,b} \u2028 % :x'""",
        "'caf\u00e9 \U0001f3b5 ' || chr(1) || chr(31) || chr(127) || chr(9) || chr(10) || chr(13)",
        "'cafe' || chr(769)",
        "chr(92) || 'u0000 ' || chr(92) || chr(92)",
        """'{"$hex": "00"}'""",
        "' padded '",
        "repeat('long', 2000)",
    ),
    "varchar(8)": ("''", "'a'", "'a  '", "'12345678'"),
    "char(4)": ("''", "'a'", "'abcd'", "' b'"),
    "bpchar": ("'a'", "'a  '", "''"),
    '"char"': ("'a'", "''", "'\"'"),
    "name": ("'a'", "repeat('n', 63)", "''"),
    "bytea": ("''", "decode('00ff5c27', 'hex')", "'abc'", "decode(repeat('00', 3000), 'hex')"),
    "date": ("'2026-02-03'", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'5874897-12-31'"),
    "timestamp": (
        "'2026-02-03 04:05:06.789012'",
        "'2026-02-03'",
        "'infinity'",
        "'-infinity'",
        "'0044-03-15 12:00:00 BC'",
        "'294276-12-31 23:59:59.999999'",
    ),
    "timestamptz": (
        "'2026-02-03 04:05:06.789012+05:30'",
        "'2026-02-03 04:05:06.1Z'",
        "'infinity'",
        "'-infinity'",
        "'0044-03-15 12:00:00+00 BC'",
        "'294276-12-31 23:59:59.999999+00'",
    ),
    "timestamptz(0)": ("'2026-02-03 04:05:06.789012+05:30'",),
    "time": ("'00:00'", "'24:00'", "'23:59:59.999999'"),
    "timetz": ("'12:00+05:45'", "'12:00-03'", "'00:00:00.000001+00'", "'24:00+15:59:59'"),
    "interval": (
        "'1 day'",
        "'24 hours'",
        "'-1 mons +2 days -03:04:05.000006'",
        "'1 year -2 mons'",
        "'-1 day +1 hour'",
        "'-3 days -04:05:06'",
        "'0'",
        "'178000000 years'",
        "'1 mon 1 day 00:00:01'",
    ),
    "interval day to second(3)": ("'1 day 02:03:04.5678'",),
    "uuid": ("'0F3A9C52-0000-4000-8000-00000000000A'",),
    '"Mood %s"': ("'sad'", """'o''k "x" %'""", "'\u00fcnder :x'"),
    "json": (
        """'{"a": 1, "a":  2 }'""",
        """'  {"b":[1.0, 1.00 ,null]}'""",
        "'null'",
        "'\"null\"'",
        "'1'",
        "'[]'",
        "'{}'",
        """'{"$same": true}'""",
        "NULL",
    ),
    "jsonb": (
        """'{"a": 1, "a":  2 }'""",
        """'{"b":[1.0, 1.00, null, 1e400]}'""",
        "'null'",
        "'\"null\"'",
        "'1'",
        "'true'",
        """'{"$masked": true}'""",
        "NULL",
    ),
    "int[]": ("'[0:1]={5,6}'", "'{5,6}'", "'{}'", "'{{1,2},{3,4}}'", "ARRAY[NULL, 1]"),
    "text[]": ("""ARRAY[NULL, 'NULL', '', 'a"b', 'c,d', '{}', chr(92)]""", "'{}'", "'[2:2]={x}'"),
    "float8[]": ("ARRAY[0.1::float8 + 0.2::float8, '-0', 'NaN']::float8[]",),
    "numeric[]": ("'{1.10,1.1,NaN}'",),
    "timestamptz[]": ("'{2026-02-03 04:05:06+05:30,infinity}'",),
    "bytea[]": ("ARRAY[decode('00ff5c27', 'hex')]",),
    "interval[]": ("ARRAY['-1 day +1 hour', '1 year -2 mons']::interval[]",),
    "date[]": ("ARRAY['2026-02-03', '0044-03-15 BC']::date[]",),
    "pair": ("ROW(1, 'a\"(b),', '2026-02-03 04:05:06+05:30')", "ROW(NULL, '', NULL)", "ROW(NULL, NULL, NULL)"),
    "pair[]": ("ARRAY[ROW(1, 'a\"(b),', '2026-02-03 04:05:06+05:30'), NULL]::pair[]",),
    "int4range": ("'[1,5)'", "'empty'", "'(,)'", "'[3,]'"),
    "numrange": ("'[1.10,2.0)'", "'(1.1,2]'"),
    "tstzrange": ("'[2026-02-03 04:05:06+05:30,infinity)'", "'[2026-02-03 04:05:06+05:30,)'"),
    "daterange": ("'[2026-02-03,2026-03-04]'",),
    "int4multirange": ("'{[1,3),[5,9)}'", "'{}'"),
    "tstzmultirange": ("'{[2026-02-03 04:05:06+05:30,2026-02-04 04:05:06+05:30)}'",),
    "positive": ("1", "7"),
    '"deep %"': ("1", "7"),
    "words": ("ARRAY[NULL, 'NULL', 'x']::text[]", "'{}'"),
    "document": ("""'{"b": 1, "a": null}'""", "'null'", "NULL"),
    "stamp": ("'2026-02-03 04:05:06.789012+05:30'", "'infinity'"),
    "inet": ("'192.168.0.1'", "'192.168.0.1/24'", "'::1'"),
    "cidr": ("'192.168.0.0/24'", "'::/0'"),
    "macaddr": ("'08:00:2b:01:02:03'",),
    "macaddr8": ("'08:00:2b:01:02:03:04:05'",),
    "bit(3)": ("B'101'", "B'000'"),
    "varbit": ("B'101'", "B''", "B'0101'"),
    "money": ("1234.5", "-0.01", "'92233720368547758.07'"),
    "money[]": ("ARRAY[1234.5::money, '-0.01'::money]",),
    "xml": ("XMLPARSE(CONTENT 'a <b c=\"d\">&amp;</b>')", "XMLPARSE(DOCUMENT '<a/>')"),
    "hstore": ("""'a=>NULL, b=>"NULL", "c \\" d"=>""'""", "''"),
    "citext": ("'Ab'", "'aB'"),
    "point": ("'(0.1,-0)'", "'(1e-300,Infinity)'"),
    "box": ("'(1,2),(0.1,0.30000000000000004)'",),
    "path": ("'[(0,0),(1,0.1)]'", "'((0,0),(1,0.1))'"),
    "circle": ("'<(0.1,2),3>'",),
    "tsvector": ("to_tsvector('english', 'The quick brown foxes')", "'''it''''s'':1A'"),
    "tsquery": ("'fat & (rat | !cat:ab)'",),
    "oid": ("0", "4294967295"),
    "regclass": ("'pg_class'::regclass", "'t'::regclass", "0::oid::regclass"),
    "regtype": ("'int'::regtype", "'pair'::regtype"),
    "pg_lsn": ("'16/B374D848'", "'0/0'"),
    "xid8": ("'18446744073709551615'",),
    "jsonpath": ("'$.a[*] ? (@ > 1)'",),
}
"""Types, and SQL for values that are hard to tell apart or to keep."""


MODES = ("listeners", "triggers", "triggers on 18")
NOT_BUILT_IN = {("triggers on 18", "xml")}
"""What the embedded server has no library for."""

CASES = [(mode, type_) for mode in MODES for type_ in TYPES if (mode, type_) not in NOT_BUILT_IN]


class World:
    """A database with a table for each type, captured in one way."""

    def __init__(self, engine: Engine, mode: str) -> None:
        self.names = {type_: f"t{number}" for number, type_ in enumerate(TYPES)}
        tables = [f"CREATE TABLE {name} (id int PRIMARY KEY, v {type_})" for type_, name in self.names.items()]
        self.watched = Watched(
            engine, "CREATE TABLE t (id int)", *DEFINITIONS, *tables, triggers=True if mode == "triggers" else None
        )
        self.factory = sessionmaker(engine)
        auditcli.track(self.factory)
        with engine.connect() as connection:
            self.shapes = read_shapes(connection, POSTGRESQL).tables

    def write(self, connection: Connection, type_: str) -> None:
        """Write a row for each of the type's values, numbered from 0."""
        table = Table(self.names[type_], MetaData(), Column("id", Integer), Column("v", NullType))
        for number, literal in enumerate(TYPES[type_]):
            value = text(literal.replace("\\", "\\\\").replace(":", "\\:"))
            connection.execute(insert(table).values(id=number, v=value))


@pytest.fixture(scope="module")
def worlds() -> Iterator[Callable[[str], World]]:
    with ExitStack() as stack:

        def world(case: str) -> World:
            mode, _, version = case.partition(" on ")
            return World(stack.enter_context(scratch_engine(f"postgresql {version}".strip())), mode)

        yield cache(world)


def _same_bytes(connection: Connection, table: str, number: int) -> list[int]:
    sql = f"SELECT o.id FROM {table} AS r, {table} AS o WHERE r.id = {number} AND record_send(ROW(o.v)) = "
    rows = connection.exec_driver_sql(f"{sql}record_send(ROW(r.v)) ORDER BY o.id", execution_options=_AS_IT_STANDS)
    return [row[0] for row in rows]


_AS_IT_STANDS = {"no_parameters": True}


def _images(connection: Connection, shape: TableShape) -> list[Image]:
    rows = RowReader(connection, POSTGRESQL).page(shape, None, 1000)
    return [row.image for row in rows]


@pytest.mark.parametrize(("mode", "type_"), CASES)
def test_a_value_comes_back_bit_for_bit(worlds: Callable[[str], World], mode: str, type_: str) -> None:
    world = worlds(mode)
    name = world.names[type_]
    shape = world.shapes[TableName(name)]
    column = shape.known_column("v")
    with world.factory() as session:
        connection = session.connection()
        be_hostile(connection)
        settings = settings_of(connection)
        world.write(connection, type_)
        assert settings_of(connection) == settings
        read_by_a_hostile_session = _images(connection, shape)
        assert settings_of(connection) == settings
        session.commit()

    logged = [change.after for change in world.watched.changes() if change.table == TableName(name)]
    with world.watched.engine.connect() as connection:
        read = _images(connection, shape)
        assert logged == read == read_by_a_hostile_session
        assert all(map(codec.same_image, logged, read))
        be_hostile(connection)
        _write_back(connection, shape, column, read)
        for number, image in enumerate(read):
            alike = _same_bytes(connection, name, number)
            assert 100 + number in alike, image
            assert _guarded(connection, shape, column, image) == alike
        assert settings_of(connection) == settings


def _write_back(connection: Connection, shape: TableShape, column: ColumnShape, images: list[Image]) -> None:
    settings = POSTGRESQL.change_settings_sql(POSTGRESQL.writing_settings)
    run(connection, settings.sql, settings.values)
    for number, image in enumerate(images):
        bound = POSTGRESQL.bind(image["v"], column)
        table = POSTGRESQL.table_sql(shape.table)
        run(connection, f"INSERT INTO {table} VALUES ({100 + number}, {bound.sql})", bound.values)
    connection.commit()


def _guarded(connection: Connection, shape: TableShape, column: ColumnShape, image: Image) -> list[int]:
    guard: Fragment = POSTGRESQL.guard(column, image["v"])
    with ValueReading(connection, POSTGRESQL).of(shape):
        sql = f"SELECT id FROM {POSTGRESQL.table_sql(shape.table)} WHERE {guard.sql} ORDER BY id"
        return [row[0] for row in run(connection, sql, guard.values)]


def test_an_undo_writes_values_back_as_they_were_in_a_database_with_settings_of_its_own() -> None:
    with scratch_engine() as engine:
        db = Watched(
            engine,
            "CREATE TABLE item (id int PRIMARY KEY, t text[], x xml, i interval, r regclass, b box, n numeric)",
            "CREATE TABLE plain (t text[], x xml, j json)",
        )
        db.write(
            """INSERT INTO item VALUES (1, ARRAY[NULL, 'NULL'], 'a <b/>', '-1 day +1 hour', 'pg_class',
            '(1,2),(0.1,0.30000000000000004)', 0.00000000010)""",
            "INSERT INTO plain VALUES (ARRAY[NULL, 'NULL'], 'a', '1'), (ARRAY[NULL, 'NULL'], 'a', '1')",
        )
        before = _all_bytes(db)
        db.write("DELETE FROM item", "UPDATE plain SET j = '2'", "TRUNCATE plain")
        for name, value in HOSTILE.items():
            if name != "search_path":
                db.write(f"ALTER DATABASE {engine.url.database} SET {name} = '{value}'")
        engine.dispose()

        with engine.connect() as connection:
            last = db.changes()[-1].transaction_id
            plan = plan_undo(connection, log_tables(), transaction=last)
        apply_plan(engine, plan)

        assert _all_bytes(db) == before
        db.check()


def _all_bytes(db: Watched) -> list[Any]:
    parts = [f"SELECT encode(record_send(t.*), 'hex') FROM {table} AS t" for table in ("item", "plain")]
    return [row[0] for row in db.query(" UNION ALL ".join(parts) + " ORDER BY 1")]
