"""One error family: the message names the thing, the hint names the way out.

AuditError                  8
├── UsageError              2
│   └── NoDatabase          2   (none was named)
├── NotFound                3
├── CannotConnect           4
│   └── ConnectionLost      4   (what was done until then is kept)
├── ConflictError           5
├── Declined                6
├── LogError                8   (no log, foreign or newer log)
├── LockTimeout             8
├── ReadOnly                8
└── CaptureError            8   (a write that could not be recorded, so it was refused)
    └── UnrecordableWrite   8
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command line returns."""

    DONE = 0
    DIFFERENCES = 1
    USAGE = 2
    NOT_FOUND = 3
    CANNOT_CONNECT = 4
    CONFLICT = 5
    DECLINED = 6
    PARTLY_APPLIED = 7
    FAILURE = 8
    INTERRUPTED = 130


class AuditError(Exception):
    """Anything that went wrong and that a person can do something about."""

    exit_code = ExitCode.FAILURE

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AuditError):
    """A word, option or setting that means nothing here."""

    exit_code = ExitCode.USAGE


class NoDatabase(UsageError):
    """Neither an option, nor the environment, nor a file names a database."""


class NotFound(AuditError):
    """An id, row, table, transaction or mark that was asked for and is not there."""

    exit_code = ExitCode.NOT_FOUND


class CannotConnect(AuditError):
    """The database can't be reached or is no database."""

    exit_code = ExitCode.CANNOT_CONNECT


class ConnectionLost(CannotConnect):
    """A database that could be reached has gone away."""


class ConflictError(AuditError):
    """A plan that could not be applied; nothing was written."""

    exit_code = ExitCode.CONFLICT


class Declined(AuditError):
    """The answer was no, or nobody was there to answer."""

    exit_code = ExitCode.DECLINED


class LogError(AuditError):
    """There is no change log, it is another program's, or it is newer than this program."""


class LockTimeout(AuditError):
    """Somebody else holds a lock for longer than we were told to wait."""


class ReadOnly(AuditError):
    """The database or its profile does not take writes."""


class CaptureError(AuditError):
    """A write that could not be recorded, so it was not done."""


class UnrecordableWrite(CaptureError):
    """A statement whose changes listeners can't see exactly."""
