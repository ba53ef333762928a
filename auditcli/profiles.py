"""Named databases in the user's own config file, which keeps its comments and its order."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditcli.config import all_profiles, config_files, database_url, did_you_mean, own_config_path
from auditcli.errors import UsageError
from auditcli.wholefile import appearing

_NAME = re.compile(r"[\w@.-]+")
_OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Profile:
    """What is to stand in the file; only what was said."""

    name: str
    url: str
    read_only: bool = False
    protected: bool = False
    password_command: str | None = None

    def settings(self) -> dict[str, Any]:
        """The keys of the file. A SQLite file is named from the root, since others are read from the file's folder."""
        switches = {"read_only": self.read_only, "protected": self.protected}
        command = shlex.split(self.password_command) if self.password_command else []
        return {
            "url": _lasting(self.url),
            **{key: True for key, is_set in switches.items() if is_set},
            **({"password_command": command} if command else {}),
        }


def add_profile(profile: Profile, environ: Mapping[str, str], folder: Path) -> Path:
    """Write a new profile; returns the file. Raises UsageError for a name that is taken or that none can have."""
    path = own_config_path(environ)
    if not _NAME.fullmatch(profile.name):
        raise UsageError(f"{profile.name!r} can't name a profile", hint="letters, digits and - _ . @, like prod")
    if profile.name in _own_profiles(environ, folder):
        raise UsageError(
            f"there is a profile {profile.name} already in {path}",
            hint=f"first remove it with `audit profile remove {profile.name}`",
        )
    settings = profile.settings()
    document = _document(path)
    _insert(document, profile.name, settings)
    _write(path, document, {**_own_profiles(environ, folder), profile.name: settings})
    return path


def remove_profile(name: str, environ: Mapping[str, str], folder: Path) -> Path:
    """Take a profile out of the user's own file; returns the file. Raises UsageError where it is not in there."""
    path = own_config_path(environ)
    own = _own_profiles(environ, folder)
    if name not in own:
        raise _not_there(name, own, all_profiles(environ, folder))
    document = _document(path)
    del document["profiles"][name]
    _write(path, document, {other: settings for other, settings in own.items() if other != name})
    return path


def _own_profiles(environ: Mapping[str, str], folder: Path) -> Mapping[str, Mapping[str, Any]]:
    return next((file.profiles for file in config_files(environ, folder) if file.is_own), {})


def _not_there(name: str, own: Mapping[str, Any], known: Mapping[str, Any]) -> UsageError:
    if name in known:
        return UsageError(f"profile {name} stands in {known[name].origin}", hint="that file is the project's: edit it")
    meant = did_you_mean(name, list(own))
    listed = f"profiles: {', '.join(own)}" if own else "your config file names none"
    return UsageError(f"no profile {name!r} in your config file", hint=f"did you mean {meant}?" if meant else listed)


def _lasting(text: str) -> str:
    """The URL in a form that means the same wherever it is read."""
    url = database_url(text)
    if url.get_backend_name() != "sqlite" or url.database is None or url.database.startswith("file:"):
        return text
    absolute = url.set(database=str(Path(url.database).absolute()))
    return absolute.render_as_string() if url.query else str(absolute.database)


def _document(path: Path) -> Any:
    import tomlkit

    return tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()


def _insert(document: Any, name: str, settings: Mapping[str, Any]) -> None:
    import tomlkit
    from tomlkit.items import InlineTable

    if "profiles" not in document:
        document["profiles"] = tomlkit.table(is_super_table=True)
    profiles = document["profiles"]
    entry = tomlkit.inline_table() if isinstance(profiles, InlineTable) else tomlkit.table()
    entry.update(settings)
    profiles[name] = entry


def _write(path: Path, document: Any, expected: Mapping[str, Any]) -> None:
    """Replace the file, readable by its owner alone; raises UsageError where it would not say what is expected."""
    text = document.as_string()
    if tomllib.loads(text).get("profiles", {}) != expected:
        raise UsageError(f"{path} is written in a way that can't be changed", hint="edit it by hand")
    # A link to a file elsewhere stays one.
    target = path.resolve()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"can't make the folder {target.parent}: {error.strerror}", hint="check its parent") from error
    with appearing(target, mode=_OWNER_ONLY) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
