"""What means the same in two databases, and how types are translated."""

from __future__ import annotations

import pytest

from auditcli.dialects import dialect_named
from auditcli.model import TableName
from auditcli.portable import VECTORS, Kind, Portable, meaning_word, means_same
from auditcli.shape import ColumnShape, ForeignKeyShape, TableShape
from auditcli.transfer import Transfer, define_tables

SQLITE, POSTGRESQL, MARIADB = (dialect_named(name) for name in ("sqlite", "postgresql", "mysql"))


@pytest.mark.parametrize("what", VECTORS)
def test_what_means_the_same_does_so_from_both_sides(what: str) -> None:
    left, right, expected = VECTORS[what]

    assert (means_same(left, right), means_same(right, left)) == (expected, expected)
    assert (meaning_word(left) == meaning_word(right)) == expected


@pytest.mark.parametrize("what", VECTORS)
def test_every_value_means_the_same_as_itself(what: str) -> None:
    left, right, _ = VECTORS[what]

    assert means_same(left, left)
    assert means_same(right, right)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (ColumnShape("x", "BIGINT"), Portable(Kind.INTEGER, 64)),
        (ColumnShape("x", "VARCHAR(20)"), Portable(Kind.TEXT, 20)),
        (ColumnShape("x", "NUMERIC(10, 2)"), Portable(Kind.DECIMAL)),
        (ColumnShape("x", "DATETIME"), Portable(Kind.DATETIME)),
        (ColumnShape("x", ""), Portable(Kind.OTHER)),
    ],
)
def test_a_declared_type_of_sqlite_says_what_it_usually_holds(column: ColumnShape, expected: Portable) -> None:
    assert SQLITE.portable(column) == expected


def test_tables_go_over_with_keys_and_references() -> None:
    parent = TableShape(TableName("parent"), (ColumnShape("id", "bigint", False, kind="integer"),), ("id",))
    child = TableShape(
        TableName("child"),
        (
            ColumnShape("code", "character varying(20)", False, kind="text"),
            ColumnShape("parent_id", "bigint", kind="integer"),
            ColumnShape("note", "text", kind="text"),
        ),
        ("code",),
        (ForeignKeyShape(TableName("child"), ("parent_id",), TableName("parent"), ("id",), "CASCADE"),),
    )

    for_sqlite = define_tables([child, parent], Transfer(POSTGRESQL, SQLITE))
    for_mariadb = define_tables([child, parent], Transfer(POSTGRESQL, MARIADB))

    assert for_sqlite.tables[0] == (
        'CREATE TABLE "child" (\n  "code" TEXT NOT NULL,\n  "parent_id" INTEGER,\n  "note" TEXT,\n'
        '  PRIMARY KEY ("code"),\n  FOREIGN KEY ("parent_id") REFERENCES "parent" ("id") ON DELETE CASCADE\n)'
    )
    assert for_sqlite.foreign_keys == ()
    assert "`code` VARCHAR(20) " in for_mariadb.tables[0]
    assert "`note` LONGTEXT " in for_mariadb.tables[0]
    assert for_mariadb.foreign_keys == (
        "ALTER TABLE `child` ADD FOREIGN KEY (`parent_id`) REFERENCES `parent` (`id`) ON DELETE CASCADE",
    )


def test_a_type_that_somebody_defined_becomes_text_on_its_own_kind_of_database() -> None:
    assert POSTGRESQL.own_type(ColumnShape("x", "mood", kind="text")) == "text"
    assert POSTGRESQL.own_type(ColumnShape("x", "timestamp(3) without time zone", kind="text")).startswith("timestamp")
    assert POSTGRESQL.own_type(ColumnShape("x", "integer[]", kind="nested")) == "integer[]"
