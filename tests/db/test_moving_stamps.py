"""Stamps and counters that SQL moves on: as they are moved on in Python."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any

import pytest

from auditcli.dialects.sqlite_netting import SQLiteNetting
from auditcli.planning.stamps import moved_on
from auditcli.shape import ColumnShape

NOW = datetime(2030, 1, 2, 3, 4, 5, 678999, tzinfo=UTC)
COLUMN = ColumnShape("stamp", "TIMESTAMP")


def _ask(sql: str, value: Any) -> Any:
    with sqlite3.connect(":memory:") as connection:
        return connection.execute(f"SELECT {sql} FROM (SELECT ? AS stamp)", (value,)).fetchone()[0]


@pytest.mark.parametrize(
    "value",
    [
        "2001-02-03",
        "2001-02-03 04:05",
        "2001-02-03T04:05:06",
        "2001-02-03 04:05:06.789",
        "2001-02-03T04:05:06.123456Z",
        "2001-02-03T04:05:06.123456+00:00",
        "no stamp",
        "",
        None,
        7,
        -7,
        1_000_000_000,
        1_000_000_000_123,
        1_000_000_000_123_456_789,
        1_000_000_000.5,
        2.5,
    ],
)
def test_sqlite_moves_on_what_it_knows(value: Any) -> None:
    netting = SQLiteNetting()

    assert _ask(netting.can_move(COLUMN, "stamp"), value) == 1
    assert _ask(netting.moved_on(COLUMN, "stamp", NOW), value) == moved_on(value, NOW)


@pytest.mark.parametrize("value", ["2001-02-03T04:05:06+02:00", "2001-02-03 04:05:06,1", "20010203"])
def test_other_forms_are_left_to_python(value: str) -> None:
    assert not _ask(SQLiteNetting().can_move(COLUMN, "stamp"), value)
