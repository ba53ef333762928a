"""What one database can be asked about the completeness of a log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """A question whose every row is something to tell: schema and name of a table (or NULLs), then further values.

    `message` and `fix` are `str.format` templates for these values; `{table}` stands for the table. Where `needs_doing`
    is false the rows are limits that nobody can mend, or good to know.
    """

    code: str
    sql: str
    message: str
    fix: str
    needs_doing: bool = True
