"""Scripts for the program `psql`, and values as they stand in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from auditcli.dialects.postgresql_text import dollars
from auditcli.dialects.script import ScriptStep, comment

_ESCAPED = re.compile(r"[\\\x01-\x1f\x7f]")


def script(
    steps: Iterable[ScriptStep], settings: Mapping[str, str], lock_timeout: int, closing: Iterable[str]
) -> Iterator[str]:
    """Each step raises an error unless it changes one row; `psql` ends there, and so takes everything back."""
    yield r"\set ON_ERROR_STOP on"
    yield "SET client_encoding = 'UTF8';"
    yield "BEGIN;"
    yield f"SET LOCAL lock_timeout = {lock_timeout:d};"
    for name, value in settings.items():
        yield f"SET LOCAL {name} = {literal(value)};"
    yield "SET CONSTRAINTS ALL DEFERRED;"
    for step in steps:
        yield comment(step.word)
        yield f"DO {dollars(_block(step))};"
    yield from (f"{statement};" for statement in closing)
    yield "COMMIT;"


def _block(step: ScriptStep) -> str:
    return "\n".join(
        (
            "",
            "#variable_conflict use_column",
            "DECLARE auditcli_rows bigint;",
            "BEGIN",
            f"  {step.sql};",
            "  GET DIAGNOSTICS auditcli_rows = ROW_COUNT;",
            "  IF auditcli_rows <> 1 THEN",
            f"    RAISE EXCEPTION USING MESSAGE = {literal(step.word)} || ' is not as planned, nothing was written';",
            "  END IF;",
            "END",
            "",
        )
    )


def literal(value: Any) -> str:
    """A value, whatever the session's settings say of backslashes."""
    if value is None:
        return "NULL"
    text = str(value)
    if not _ESCAPED.search(text):
        return "'" + text.replace("'", "''") + "'"
    escaped = _ESCAPED.sub(lambda found: f"\\{ord(found[0]):03o}", text.replace("'", "''"))
    return f"E'{escaped}'"
