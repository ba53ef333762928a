"""Names and texts as MariaDB and MySQL spell them."""

from __future__ import annotations

from auditcli.dialects.lexis import Lexis, quoted_by


def quoted(name: str) -> str:
    """A name as SQL spells it, whatever `sql_mode` says of other quotes."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text as SQL spells it, whatever `sql_mode` says of backslashes."""
    if "\\" in text or "'" in text:
        return f"CONVERT(0x{text.encode().hex()} USING utf8mb4)"
    return f"'{text}'"


def lexis(*, escaping: bool) -> Lexis:
    """How statements are read; `escaping` says whether backslashes mean something in texts."""
    return Lexis(
        # Under ANSI_QUOTES the second one is a name; a word behind UPDATE and its like is taken for one in any case.
        text="|".join(quoted_by(quote, escaping=escaping) for quote in "'\""),
        name=quoted_by("`"),
        comment=r"#[^\n]*|--(?![^\s\x00-\x1f])[^\n]*",
        executed=r"/\*M?!\d*",
    )


LEXIS = lexis(escaping=True)
LEXIS_WITHOUT_ESCAPES = lexis(escaping=False)
