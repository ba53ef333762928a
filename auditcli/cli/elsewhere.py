"""Another database than the one that is looked at, to be written: which, whether it may be, and the question before."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from auditcli.cli.context import AppContext
from auditcli.cli.options import WhoOptions
from auditcli.cli.who import check_reason
from auditcli.errors import CannotConnect, Declined, UsageError

if TYPE_CHECKING:
    from auditcli.config import Target
    from auditcli.connect import Database


def find_other(word: str, who: WhoOptions, *, dry_run: bool) -> Target:
    """The database of a URL, a file or a profile; raises ReadOnly or UsageError where it may not be written."""
    from auditcli.config import find_other
    from auditcli.connect import refuse_read_only

    target = find_other(word, "--to", os.environ, Path.cwd())
    refuse_read_only(target)
    if not dry_run:
        check_reason(target, who)
    return target


def refuse_same(source: Target, target: Target) -> None:
    """Raise UsageError where a database would be written into itself."""
    from auditcli.connect import same_database

    if same_database(source.url, target.url):
        raise UsageError(f"source and target are the same database: {target.masked_url}", hint="--to names another one")


def is_missing(target: Target) -> bool:
    """Whether it is a file that is not there yet."""
    from auditcli.connect import sqlite_path

    path = sqlite_path(target.url)
    return path is not None and not path.exists()


@contextmanager
def other_database(target: Target, *, create: bool, hint: str, lock_timeout: float) -> Iterator[Database]:
    """The database, open for writing; a file that is not there is made (`create`), and gone if nothing came into it."""
    from auditcli.connect import create_sqlite_file, open_database, sqlite_path

    path = sqlite_path(target.url)
    is_new = path is not None and is_missing(target)
    if is_new and not create:
        raise CannotConnect(f"no such file: {path}", hint=hint)
    create_sqlite_file(target.url)
    database = open_database(target, writing=True, lock_timeout=lock_timeout)
    try:
        yield database
    finally:
        database.close()
        if is_new and path is not None and path.stat().st_size == 0:
            path.unlink()


def ask_before(app: AppContext, target: Target, question: str, *, yes: bool, confirm: str | None) -> None:
    """Raise Declined unless the question is answered; a protected database asks for a word."""
    word = (target.profile or "protected") if target.protected else None
    if (yes and word is None) or (word is not None and confirm == word):
        return
    way_out = "--yes answers it" if word is None else f"--confirm {word} answers it"
    if sys.stdin is None or not sys.stdin.isatty():
        raise Declined(f"would have to ask: {question}", hint=f"{way_out}; --dry-run only tries")
    answer = app.out.ask(f"{question} {'[y/N]' if word is None else f'type {word}:'} ").strip()
    if answer != word if word is not None else answer.lower() not in ("y", "yes"):
        raise Declined("declined; nothing was written")
