"""The tests of SQLAlchemy that can't pass while something records, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """Tests, by a pattern of what they fail with, and why that is right."""

    failure: str
    reason: str

    def explains(self, why: str) -> bool:
        """Whether a test that failed with this is one of these."""
        return re.search(self.failure, why, re.DOTALL) is not None


DIFFERENCES = (
    Difference(
        r"Testing for compiled statement.* received\n.*RETURNING .* AS auditcli_own_",
        "compare the SQL of an INSERT, which returns what tells its new rows apart",
    ),
    Difference(
        r"Testing for compiled statement.* received\n.* IN \(__\[POSTCOMPILE_",
        "compare the SQL of a write to joined tables, which is held to the rows that were read",
    ),
    Difference(
        r"UnrecordableWrite: a write to .*, which is no Table, can't be recorded",
        "write to an alias of a table or to a join, which listeners refuse",
    ),
    Difference(
        r"UnrecordableWrite: an UPDATE of \w+ and of other tables at once can't be recorded",
        "update several tables at once, which listeners refuse",
    ),
    Difference(
        r"UnrecordableWrite: the database would change the primary key of \w+ along with its reference",
        "change a key that is a reference of others' keys too, which listeners refuse",
    ),
    Difference(
        r"UnrecordableWrite: \w+ has no key, and an UPDATE gives its rows another place",
        "update a table without a key where rows have no lasting address, which listeners refuse",
    ),
    Difference(
        r"UnrecordableWrite: \w+ has no primary key, and here nothing else addresses a row",
        "write to a table without a key where rows have no address, which listeners refuse",
    ),
    Difference(
        r"UnrecordableWrite: .* can't be recorded by listeners: its engine has no transactions",
        "write to a table without transactions, which listeners refuse",
    ),
)
