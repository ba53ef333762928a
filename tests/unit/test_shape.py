"""Table shapes survive the log, and know who stands before whom."""

from __future__ import annotations

import json
import sqlite3

from auditcli.dialects import dialect_named
from auditcli.model import TableName
from auditcli.shape import DatabaseShape, TableShape


def shapes_of(ddl: str) -> dict[str, TableShape]:
    dialect = dialect_named("sqlite")
    connection = sqlite3.connect(":memory:")
    connection.executescript(ddl)
    shapes = dialect.shapes([connection.execute(query).fetchall() for query in dialect.shape_queries()])
    connection.close()
    return {shape.table.name: shape for shape in shapes}


def test_a_shape_comes_back_from_its_json() -> None:
    shapes = shapes_of(
        "CREATE TABLE a (x INTEGER PRIMARY KEY, y TEXT UNIQUE DEFAULT 'q', z AS (y || y));"
        "CREATE TABLE b (p, q REFERENCES a (y) ON DELETE SET NULL ON UPDATE CASCADE, PRIMARY KEY (p, q)) WITHOUT ROWID"
    )

    for shape in shapes.values():
        assert TableShape.from_json(json.loads(json.dumps(shape.to_json()))) == shape


def test_only_an_integer_primary_key_is_the_row_id() -> None:
    shapes = shapes_of(
        "CREATE TABLE alias (id INTEGER PRIMARY KEY); CREATE TABLE other (id INT PRIMARY KEY);"
        "CREATE TABLE descending (id INTEGER PRIMARY KEY DESC);"
        "CREATE TABLE bare (id INTEGER PRIMARY KEY) WITHOUT ROWID; CREATE TABLE keyless (a)"
    )

    assert {name: shape.moved_by for name, shape in shapes.items()} == {
        "alias": ("id",),
        "other": (),
        "descending": (),
        "bare": ("id",),
        "keyless": (),
    }


def test_a_column_called_rowid_does_not_hide_the_row() -> None:
    shapes = shapes_of("CREATE TABLE t (rowid TEXT, oid TEXT, id INTEGER PRIMARY KEY)")

    assert shapes["t"].locator == ("_rowid_",)


def test_partial_and_expression_indexes_are_known_to_be_opaque() -> None:
    shapes = shapes_of(
        "CREATE TABLE t (a, b, UNIQUE (a, b)); CREATE UNIQUE INDEX i ON t (lower(a));"
        "CREATE TABLE u (a); CREATE UNIQUE INDEX j ON u (a) WHERE a > 0; CREATE TABLE v (a UNIQUE)"
    )

    assert shapes["t"].has_opaque_unique_index
    assert shapes["t"].unique_keys == (("a", "b"),)
    assert shapes["u"].has_opaque_unique_index
    assert not shapes["v"].has_opaque_unique_index


def test_references_find_tables_however_their_names_are_cased() -> None:
    shapes = shapes_of("CREATE TABLE Parent (Id INTEGER PRIMARY KEY); CREATE TABLE child (p REFERENCES PARENT)")
    database = DatabaseShape({shape.table: shape for shape in shapes.values()})

    [key] = database.references_to[TableName("Parent")]

    assert (key.table, key.referred_columns) == (TableName("child"), ("Id",))
