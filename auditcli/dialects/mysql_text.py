"""Names and texts as MariaDB and MySQL spell them."""

from __future__ import annotations


def quoted(name: str) -> str:
    """A name as SQL spells it, whatever `sql_mode` says of other quotes."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text as SQL spells it, whatever `sql_mode` says of backslashes."""
    if "\\" in text or "'" in text:
        return f"CONVERT(0x{text.encode().hex()} USING utf8mb4)"
    return f"'{text}'"
