"""Saved plans and the database that they are about: written whole or not at all, read only for the log they saw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from auditcli.errors import LogError, NotFound, UsageError
from auditcli.log.reader import LogReader
from auditcli.log.upgrade import check_log
from auditcli.planning.planfile import plan_pieces, read_plan_text
from auditcli.planning.savedplan import Origin, SavedPlan
from auditcli.wholefile import appearing


def origin_of(reader: LogReader, target: str, *, made_by: str, words: str, now: datetime) -> Origin:
    """What a plan that is made now says of itself; `target` is the database's name without its password."""
    position = reader.last_id()
    return Origin(
        log_uuid=reader.log_uuid(),
        log_version=check_log(reader.connection, reader.tables).version,
        target=target,
        dialect=reader.dialect.name,
        position=position,
        position_transaction=reader.transaction_at(position)[1],
        made_at=now,
        made_by=made_by,
        words=words,
    )


def check_free(path: Path) -> None:
    """Raise UsageError where a file of that name might hold somebody's decisions."""
    if path.exists():
        raise UsageError(f"{path} is there already", hint="name another file, or remove that one")


@contextmanager
def saving(path: Path, saved: SavedPlan) -> Iterator[None]:
    """Write a plan's file, which takes its name when the block ends, and is not there when it fails."""
    check_free(path)
    with appearing(path) as unfinished:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            file.writelines(plan_pieces(saved))
        yield


def read_plan(path: Path) -> SavedPlan:
    """The plan in a file; raises NotFound where there is none, UsageError where it is not as it was saved."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"no such file: {path}", hint="`audit undo … --save FILE` writes a plan") from error
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror or error}", hint="name the file of a plan") from error
    return read_plan_text(data, str(path))


def check_origin(reader: LogReader, origin: Origin, name: str, target: str) -> None:
    """Raise LogError unless the plan of that name was made from this very log."""
    again = "plan it again here"
    uuid = reader.log_uuid()
    if uuid != origin.log_uuid:
        raise LogError(
            f"{name} is a plan for {origin.target} (log {origin.log_uuid}), and {target} is another database "
            f"(log {uuid}); nothing was written",
            hint=f"name the database that it was made for, or {again}",
        )
    version = check_log(reader.connection, reader.tables).version
    if version != origin.log_version:
        raise LogError(
            f"{name} was made from version {origin.log_version} of the log, which has version {version} now", hint=again
        )
    if origin.position and reader.transaction_at(origin.position) != (True, origin.position_transaction):
        raise LogError(
            f"{name} was made when the log of {target} had a change {origin.position} that is not there now",
            hint=f"the database was restored from a backup, perhaps: {again}",
        )
