"""Names and texts as PostgreSQL spells them."""

from __future__ import annotations

from auditcli.dialects.lexis import Lexis, quoted_by
from auditcli.model import TableName


def table_sql(table: TableName) -> str:
    """A table's full name."""
    return ".".join(quoted(part) for part in (table.schema, table.name) if part is not None)


def schema_sql(table: TableName) -> str:
    """The name of a table's schema, as an expression."""
    return "current_schema()" if table.schema is None else literal(table.schema)


def quoted(name: str) -> str:
    """A name."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text, whatever `standard_conforming_strings` says."""
    doubled = text.replace("'", "''")
    return "E'" + doubled.replace("\\", "\\\\") + "'" if "\\" in text else f"'{doubled}'"


def dollars(text: str) -> str:
    """A text between dollar signs that do not occur in it."""
    number = 0
    while (sign := f"$auditcli{number or ''}$") in text:
        number += 1
    return f"{sign}{text}{sign}"


def lexis(*, escaping: bool) -> Lexis:
    """How statements are read; `escaping` says whether backslashes mean something in texts without an E."""
    text = quoted_by("'", escaping=True)
    # A text goes on behind a line break, as it began.
    escaped = rf"(?:{text}\s*\n\s*(?='))*{text}"
    plain = escaped if escaping else quoted_by("'")
    between_dollars = r"(?P<dollars>\$(?:[^\W\d]\w*)?\$).*?(?:(?P=dollars)|\Z)"
    return Lexis(
        text=f"[eE]{escaped}|{plain}|{between_dollars}",
        name="(?:[uU]&)?" + quoted_by('"'),
        comment=r"--[^\r\n]*",
        nests=True,
    )


LEXIS = lexis(escaping=False)
LEXIS_WITH_ESCAPES = lexis(escaping=True)
