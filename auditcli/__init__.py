"""Who changed this row, when, from what to what: record it, explore it, put it back.

Nothing is imported here until it is asked for, so that an audited application never pays for a front end.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditcli.capture.context import context, untracked
    from auditcli.capture.listeners import track, untrack
    from auditcli.errors import AuditError
    from auditcli.log.entity import ChangeLog

__version__ = "0.1.0"

_HOMES = {
    "AuditError": "auditcli.errors",
    "ChangeLog": "auditcli.log.entity",
    "context": "auditcli.capture.context",
    "track": "auditcli.capture.listeners",
    "untrack": "auditcli.capture.listeners",
    "untracked": "auditcli.capture.context",
}

__all__ = ["AuditError", "ChangeLog", "__version__", "context", "track", "untrack", "untracked"]


def __getattr__(name: str) -> object:
    """Resolve a public name from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
