"""`audit profile`: the databases that have a name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from auditcli.cli.context import AppContext
from auditcli.cli.options import FormatOptions
from auditcli.errors import UsageError

_COLUMNS = ("profile", "url", "read_only", "protected", "file")
_ACTIONS = ("add", "list", "remove")


def profile(
    app: AppContext,
    form: FormatOptions,
    action: Annotated[str, typer.Argument(metavar="add|list|remove", help="What to do.")] = "list",
    name: Annotated[str | None, typer.Argument(metavar="PROFILE", help="The name, to add or remove.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Refuse every write.")] = False,
    protected: Annotated[
        bool, typer.Option("--protected", help="Ask for a reason, and for a word to be typed.")
    ] = False,
    password_command: Annotated[
        str | None, typer.Option("--password-command", metavar="COMMAND", help="A program that prints the password.")
    ] = None,
) -> None:
    """List the databases that config files name, add one to your own config file, or remove it from there.

    Examples:
      audit profile list
      audit profile add prod -u postgresql://app@db/shop --protected --password-command 'pass show db/prod'
      audit profile remove prod
    """
    settings = read_only or protected or password_command is not None
    if action not in _ACTIONS:
        raise UsageError(f"no such action: profile {action}", hint=f"one of {', '.join(_ACTIONS)}")
    if action != "add" and settings:
        raise UsageError(f"profile {action} takes no settings", hint="to change a profile, remove it and add it again")
    if action == "list":
        if name is not None:
            raise UsageError("profile list takes no name", hint=f"use it with `audit -P {name} status`")
        _list(app, form)
    elif name is None:
        raise UsageError(f"profile {action} needs a name", hint=f"write `audit profile {action} NAME`")
    elif action == "remove":
        _remove(app, name)
    else:
        _add(app, name, read_only=read_only, protected=protected, password_command=password_command)


def _list(app: AppContext, form: FormatOptions) -> None:
    from auditcli.config import all_profiles

    records = [
        {
            "profile": name,
            "url": target.masked_url,
            "read_only": target.read_only,
            "protected": target.protected,
            "file": target.origin,
        }
        for name, target in all_profiles(os.environ, Path.cwd()).items()
    ]
    app.out.records(form.format, _COLUMNS, records)


def _add(app: AppContext, name: str, *, read_only: bool, protected: bool, password_command: str | None) -> None:
    from auditcli.config import database_url
    from auditcli.profiles import Profile, add_profile

    url = app.options.url
    if url is None:
        raise UsageError("a profile needs a database", hint=f"write `audit profile add {name} --url URL`")
    added = Profile(name, url, read_only=read_only, protected=protected, password_command=password_command)
    path = add_profile(added, os.environ, Path.cwd())
    app.out.note(f"profile {name} is in {path}; try `audit -P {name} status`")
    if database_url(url).password and password_command is None:
        app.out.note("its password stands there too, and only you can read the file; --password-command keeps it out")


def _remove(app: AppContext, name: str) -> None:
    from auditcli.profiles import remove_profile

    path = remove_profile(name, os.environ, Path.cwd())
    app.out.note(f"profile {name} is gone from {path}")
