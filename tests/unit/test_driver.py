"""A dialect's SQL in the words of each kind of driver."""

from __future__ import annotations

import pytest

from auditcli.dialects import MARK
from auditcli.driver import driver_sql

STATEMENT = f"""SELECT "100%", "a?", "$1" FROM t WHERE a = {MARK} AND b IN ({MARK}, {MARK})"""


@pytest.mark.parametrize(
    ("paramstyle", "expected"),
    [
        ("qmark", 'SELECT "100%", "a?", "$1" FROM t WHERE a = ? AND b IN (?, ?)'),
        ("format", 'SELECT "100%%", "a?", "$1" FROM t WHERE a = %s AND b IN (%s, %s)'),
        ("pyformat", 'SELECT "100%%", "a?", "$1" FROM t WHERE a = %s AND b IN (%s, %s)'),
        ("numeric_dollar", 'SELECT "100%", "a?", "$1" FROM t WHERE a = $1 AND b IN ($2, $3)'),
        ("numeric", 'SELECT "100%", "a?", "$1" FROM t WHERE a = :1 AND b IN (:2, :3)'),
    ],
)
def test_marks_are_put_in_the_drivers_own_words(paramstyle: str, expected: str) -> None:
    assert driver_sql(STATEMENT, paramstyle) == expected
