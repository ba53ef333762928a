"""`audit profile list`: the databases that have a name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.options import FormatOptions
from auditcli.errors import UsageError

_COLUMNS = ("profile", "url", "read_only", "protected", "file")


def profile(
    app: AppContext,
    form: FormatOptions,
    action: Annotated[str, typer.Argument(metavar="list")] = "list",
) -> None:
    """List the databases that your config files name.

    Examples:
      audit profile list
      audit -P prod status
    """
    from auditcli.config import all_profiles

    if action != "list":
        raise UsageError(f"no such action: profile {action}", hint="did you mean `audit profile list`?")
    found = all_profiles(os.environ, Path.cwd())
    records = [
        {
            "profile": name,
            "url": target.masked_url,
            "read_only": target.read_only,
            "protected": target.protected,
            "file": target.origin,
        }
        for name, target in found.items()
    ]
    app.out.records(form.format, _COLUMNS, records)
