"""Scripts for the program `mariadb`, and values as they stand in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from auditcli.dialects.script import ScriptStep, comment

_ODD = re.compile(r"[\\\x00-\x1f\x7f]")
_UNSAYABLE = re.compile(r"[^\x20-\x5b\x5d-\x7e]")
_LONGEST_WORD = 80
"""A message has 128 characters at the most."""

_SETTINGS = (
    "SET NAMES utf8mb4;",
    # Zero in a counter's column is a value as any other, and dates come back as they were.
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';",
    "SET SESSION time_zone = '+00:00', foreign_key_checks = 1, unique_checks = 1, div_precision_increment = 6;",
)


def script(steps: Iterable[ScriptStep], lock_timeout: int, closing: Iterable[str]) -> Iterator[str]:
    """Each step raises an error unless it changes one row; the program ends there, and so takes everything back."""
    yield from _SETTINGS
    yield f"SET SESSION innodb_lock_wait_timeout = {max(1, round(lock_timeout / 1000)):d};"
    yield "START TRANSACTION;"
    yield "DELIMITER $$"
    for step in steps:
        yield comment(step.word)
        yield "BEGIN NOT ATOMIC"
        yield f"  {step.sql};"
        yield "  IF ROW_COUNT() <> 1 THEN"
        yield f"    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = {literal(_message(step.word))};"
        yield "  END IF;"
        yield "END$$"
    yield "DELIMITER ;"
    yield from (f"{statement};" for statement in closing)
    yield "COMMIT;"


def literal(value: Any) -> str:
    """A value, whatever the session's settings say of backslashes."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, bytes):
        return f"_binary x'{value.hex()}'"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    if _ODD.search(text):
        return f"_utf8mb4 x'{text.encode().hex()}'"
    return "'" + text.replace("'", "''") + "'"


def _message(word: str) -> str:
    return f"{_UNSAYABLE.sub('?', word)[:_LONGEST_WORD]} is not as planned, nothing was written"
