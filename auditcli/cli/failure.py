"""What an error of the database or of the program means to the person who typed the command."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from auditcli.dialects import dialect_named
from auditcli.errors import AuditError, CannotConnect, LockTimeout, ReadOnly

_DEBUG_HINT = "add --debug to see where"


def explained(error: Exception) -> AuditError:
    """The error in our own words, as far as its meaning is known."""
    if isinstance(error, AuditError):
        return error
    if isinstance(error, DBAPIError):
        return _of_database(error)
    if isinstance(error, NoSuchModuleError):
        return CannotConnect(f"no driver for this database is installed: {_line(error)}", hint="install its driver")
    if isinstance(error, OSError) and error.strerror:
        name = f" {error.filename!r}" if error.filename else ""
        return AuditError(f"{error.strerror}:{name}", hint="check the name and its permissions")
    if isinstance(error, SQLAlchemyError):
        return AuditError(f"the database could not be read: {_line(error)}", hint=_DEBUG_HINT)
    return AuditError(f"unexpected {type(error).__name__}: {_line(error)}", hint=f"{_DEBUG_HINT}, and report it")


def _of_database(error: DBAPIError) -> AuditError:
    text = _line(error.orig or error)
    meaning = text.lower()
    if "locked" in meaning or "busy" in meaning:
        return LockTimeout(f"the database is locked ({text})", hint=dialect_named("sqlite").lock_holder_hint())
    if "readonly" in meaning or "read-only" in meaning:
        return ReadOnly(f"the database can't be written ({text})", hint="make the file and its folder writable")
    if "not a database" in meaning or "malformed" in meaning:
        return CannotConnect(f"the file is not a sound SQLite database ({text})", hint="name another file, or a backup")
    if "unable to open" in meaning:
        return CannotConnect(f"the database can't be opened ({text})", hint="check the file and its permissions")
    if "disk i/o" in meaning or "full" in meaning:
        return AuditError(f"the disk failed ({text})", hint="free some space, or check the disk")
    return AuditError(f"the database refused: {text}", hint=_DEBUG_HINT)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
