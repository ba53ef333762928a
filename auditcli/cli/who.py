"""In whose name a command writes, and why."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

from auditcli.cli.options import WhoOptions
from auditcli.errors import UsageError

if TYPE_CHECKING:
    from auditcli.config import Target

ACTOR_VARIABLE = "AUDIT_ACTOR"


def actor_of(who: WhoOptions) -> str:
    """`--as`, else `$AUDIT_ACTOR`, else the user of the operating system."""
    named = who.acting_as or os.environ.get(ACTOR_VARIABLE)
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise UsageError("nobody knows who you are", hint=f"say it with --as NAME or ${ACTOR_VARIABLE}") from error


def check_reason(target: Target, who: WhoOptions) -> None:
    """Raise UsageError where a protected profile is to be written without saying why."""
    if target.protected and not who.reason:
        name = f"profile {target.profile}" if target.profile else target.origin
        raise UsageError(f"{name} is protected: it wants to know why", hint='say it with -m "the reason"')
