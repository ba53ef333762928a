"""What an error of the database or of the program means to the person who typed the command."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError

from auditcli.dialects import dialect_named
from auditcli.errors import AuditError, CannotConnect, ConnectionLost, LockTimeout, ReadOnly

_DEBUG_HINT = "add --debug to see where"


@dataclass(frozen=True)
class _Meaning:
    """What is meant by an error of the database that has one of these words in it."""

    words: tuple[str, ...]
    kind: type[AuditError]
    message: str
    hint: str | None


_REFUSED = _Meaning((), AuditError, "the database refused: {}", _DEBUG_HINT)
_UNREACHABLE = _Meaning(
    ("can't connect", "connection failed"),
    CannotConnect,
    "can't connect: {}",
    "check the URL, whether the server runs, and the user's rights",
)

_FULL = _Meaning(
    ("disk i/o", "is full", "disk full", "no space left"),
    AuditError,
    "the disk failed ({})",
    "free some space, or check the disk",
)


def explained(error: Exception) -> AuditError:
    """The error in our own words, as far as its meaning is known."""
    if isinstance(error, AuditError):
        return error
    if isinstance(error, DBAPIError):
        return _of_database(error)
    if isinstance(error, NoSuchModuleError):
        return CannotConnect(f"no driver for this database is installed: {_line(error)}", hint="install its driver")
    if isinstance(error, OSError) and error.strerror:
        return _of_system(error)
    if isinstance(error, SQLAlchemyError):
        return AuditError(f"the database could not be read: {_line(error)}", hint=_DEBUG_HINT)
    return AuditError(f"unexpected {type(error).__name__}: {_line(error)}", hint=f"{_DEBUG_HINT}, and report it")


def _of_system(error: OSError) -> AuditError:
    if error.filename:
        return AuditError(f"{error.strerror}: {error.filename!r}", hint="check the name and its permissions")
    return AuditError(f"can't go on: {error.strerror}", hint="free some space, or write somewhere else")


def _of_database(error: DBAPIError) -> AuditError:
    text = _line(error.orig or error)
    if error.connection_invalidated:
        hint = "run it again when the database answers"
        return ConnectionLost(f"the connection to the database was lost: {text}", hint=hint)
    known = (each for each in _meanings() if any(word in text.lower() for word in each.words))
    # Without a statement it was the connection that failed.
    is_connecting = isinstance(error, OperationalError) and error.statement is None
    meaning = next(known, _REFUSED)
    if is_connecting and meaning.kind is AuditError and meaning is not _FULL:
        meaning = _UNREACHABLE
    return meaning.kind(meaning.message.format(text), hint=meaning.hint)


def _meanings() -> tuple[_Meaning, ...]:
    lock_hint = dialect_named("sqlite").lock_holder_hint()
    lacking = "`audit init` makes the log's own tables again; others come back from a backup"
    return (
        _Meaning(("no such table",), AuditError, "the database lacks a table ({})", lacking),
        _Meaning(("locked", "busy"), LockTimeout, "the database is locked ({})", lock_hint),
        _Meaning(
            ("lock timeout", "lock wait timeout"),
            LockTimeout,
            "somebody else holds a lock ({})",
            "try again, or wait longer with --lock-timeout SECONDS",
        ),
        _Meaning(
            ("permission denied", "command denied", "must be owner", "access denied"),
            AuditError,
            "the database user lacks a right ({})",
            "have it granted, or connect as a user who has it",
        ),
        _Meaning(
            ("readonly", "read-only"),
            ReadOnly,
            "the database can't be written ({})",
            "make the file and its folder writable, or connect to the server that takes writes",
        ),
        _Meaning(
            ("not a database", "malformed"),
            CannotConnect,
            "the file is not a sound SQLite database ({})",
            "name another file, or a backup",
        ),
        _Meaning(
            ("unable to open",),
            CannotConnect,
            "the database can't be opened ({})",
            "check the file and its permissions",
        ),
        _UNREACHABLE,
        _FULL,
    )


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
