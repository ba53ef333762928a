"""Where the database comes from: options, environment, the project's file, the user's own file; and what it allows."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from auditcli.errors import CannotConnect, NoDatabase, UsageError

URL_VARIABLE = "AUDIT_DATABASE_URL"
PROFILE_VARIABLE = "AUDIT_PROFILE"

_DRIVERS = {
    "sqlite": ("pysqlite",),
    "postgresql": ("psycopg", "psycopg2", "pg8000"),
    "mysql": ("pymysql", "mysqldb", "mariadbconnector", "mysqlconnector"),
    "mariadb": ("pymysql", "mysqldb", "mariadbconnector", "mysqlconnector"),
}
"""The sync drivers of each database, the best one first."""

_MODULES = {
    "pysqlite": "sqlite3",
    "mysqldb": "MySQLdb",
    "mariadbconnector": "mariadb",
    "mysqlconnector": "mysql.connector",
}
_OTHER_SPELLINGS = {"postgres": "postgresql", "pgsql": "postgresql", "sqlite3": "sqlite"}
_EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
_SECRET_PARAMETER = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)

_TEXT_KEYS = ("url", "log_table", "log_schema")
_SWITCH_KEYS = ("read_only", "protected")
_PROFILE_KEYS = (*_TEXT_KEYS, *_SWITCH_KEYS, "password_command")
_FILE_KEYS = (*_PROFILE_KEYS, "profile", "profiles")


@dataclass(frozen=True)
class Target:
    """A database, why it was chosen, and what may be done to it."""

    # Not in the repr, which shows passwords that stand among the parameters.
    url: URL = field(repr=False)
    origin: str
    profile: str | None = None
    read_only: bool = False
    protected: bool = False
    log_table: str | None = None
    log_schema: str | None = None
    password_command: tuple[str, ...] = ()

    @property
    def masked_url(self) -> str:
        """The URL as it may be shown: without anything that looks like a password."""
        secret = {name: "***" for name in self.url.query if _SECRET_PARAMETER.search(name)}
        return self.url.update_query_dict(secret).render_as_string(hide_password=True)


@dataclass(frozen=True)
class ConfigFile:
    """One file of settings; `is_own` is true for the user's own, which may name programs to run."""

    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_own: bool = False

    @property
    def profiles(self) -> Mapping[str, Mapping[str, Any]]:
        """The named databases of this file."""
        found: Mapping[str, Mapping[str, Any]] = self.settings.get("profiles", {})
        return found


def find_target(url: str | None, profile: str | None, environ: Mapping[str, str], folder: Path) -> Target:
    """The database to work on; raises NoDatabase where nothing names one."""
    # An empty option is no absent one: `--url "$UNSET"` must not end up at another database.
    if url is not None:
        named = None if profile is None else _profile_target(profile, "--profile", environ, folder)
        chosen = Target(database_url(url), "--url")
        # Whoever names a profile beside a URL keeps what the profile forbids.
        return replace(named, url=chosen.url, origin="--url", password_command=()) if named else chosen
    if profile is not None:
        return _profile_target(profile, "--profile", environ, folder)
    if environ.get(URL_VARIABLE):
        return Target(database_url(environ[URL_VARIABLE]), f"${URL_VARIABLE}")
    if environ.get(PROFILE_VARIABLE):
        return _profile_target(environ[PROFILE_VARIABLE], f"${PROFILE_VARIABLE}", environ, folder)
    for file in config_files(environ, folder):
        if "url" in file.settings:
            return _target(file.settings, file, str(file.path))
        if "profile" in file.settings:
            return _profile_target(str(file.settings["profile"]), str(file.path), environ, folder)
    raise NoDatabase(
        "no database was named",
        hint=f'give --url URL, set ${URL_VARIABLE}, or put url = "…" into audit.toml; `audit demo` makes a sample',
    )


def find_other(word: str, option: str, environ: Mapping[str, str], folder: Path) -> Target:
    """A second database, which an option names: by a profile, a URL or a SQLite file.

    A profile wins over a file of its name, which `./NAME` names: what the profile forbids can't be overlooked.
    """
    if "://" not in word and word in all_profiles(environ, folder):
        return _profile_target(word, option, environ, folder)
    return Target(database_url(word), option)


def all_profiles(environ: Mapping[str, str], folder: Path) -> dict[str, Target]:
    """Every named database by its name; the user's own file wins, so that a cloned project can't redirect a name."""
    found: dict[str, Target] = {}
    for file in config_files(environ, folder):
        for name, settings in file.profiles.items():
            found[name] = replace(_target(settings, file, str(file.path)), profile=name)
    return dict(sorted(found.items()))


def config_files(environ: Mapping[str, str], folder: Path) -> list[ConfigFile]:
    """The project's file, if there is one, and then the user's."""
    files = [file for file in (_project_file(folder), _own_file(environ)) if file is not None]
    for file in files:
        _check_settings(file)
    return files


def own_config_path(environ: Mapping[str, str]) -> Path:
    """Where the user's own file is, or would be."""
    home = environ.get("XDG_CONFIG_HOME")
    folder = Path(home) if home else Path(environ.get("HOME") or Path.home()) / ".config"
    return folder / "auditcli" / "config.toml"


def database_url(text: str, folder: Path | None = None) -> URL:
    """A URL with a driver that is installed, from a URL or a SQLite file name (relative to `folder`)."""
    if "://" not in text:
        return _file_url(text, folder)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        # The text may hold a password, so it is not repeated.
        raise UsageError(
            "the database URL can't be read", hint="write it like sqlite:///shop.db or postgresql://user@host/shop"
        ) from error
    backend = _OTHER_SPELLINGS.get(url.get_backend_name(), url.get_backend_name())
    if backend not in _DRIVERS:
        raise UsageError(
            f"no database is called {backend!r}", hint=_suggestion(backend, list(_DRIVERS)) or _listed(_DRIVERS)
        )
    if backend == "sqlite":
        return _sqlite_url(url, folder)
    return url.set(drivername=f"{backend}+{_installed_driver(url, backend)}")


def did_you_mean(word: str, known: Sequence[str]) -> str | None:
    """The known word that was probably meant."""
    by_lower_case = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), by_lower_case, n=1)
    return by_lower_case[close[0]] if close else None


def _profile_target(name: str, origin: str, environ: Mapping[str, str], folder: Path) -> Target:
    profiles = all_profiles(environ, folder)
    if name not in profiles:
        raise UsageError(f"no profile {name!r}", hint=_suggestion(name, list(profiles)) or _known_profiles(profiles))
    found = profiles[name]
    return replace(found, origin=f"{origin}, profile {name} of {found.origin}")


def _known_profiles(profiles: Mapping[str, Target]) -> str:
    if not profiles:
        return "no file names a profile; write [profiles.NAME] with a url into audit.toml"
    return f"profiles: {', '.join(profiles)}"


def _target(settings: Mapping[str, Any], file: ConfigFile, origin: str) -> Target:
    if "url" not in settings:
        raise UsageError(f"a profile in {file.path} has no url", hint='add url = "…" to it')
    command = settings.get("password_command", ())
    return Target(
        url=database_url(settings["url"], file.path.parent),
        origin=origin,
        read_only=settings.get("read_only", False),
        protected=settings.get("protected", False),
        log_table=settings.get("log_table"),
        log_schema=settings.get("log_schema"),
        password_command=tuple(shlex.split(command) if isinstance(command, str) else command),
    )


def _project_file(folder: Path) -> ConfigFile | None:
    for candidate in (folder, *folder.parents):
        own = candidate / "audit.toml"
        if own.is_file():
            return ConfigFile(own, _read_toml(own))
        shared = candidate / "pyproject.toml"
        if shared.is_file():
            settings = _read_toml(shared).get("tool", {}).get("auditcli")
            if settings is not None:
                return ConfigFile(shared, settings)
    return None


def _own_file(environ: Mapping[str, str]) -> ConfigFile | None:
    path = own_config_path(environ)
    return ConfigFile(path, _read_toml(path), is_own=True) if path.is_file() else None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}", hint="correct that line") from error
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", hint="make it readable, or remove it") from error


def _check_settings(file: ConfigFile) -> None:
    _check_keys(file, file.settings, _FILE_KEYS, "")
    profiles = file.settings.get("profiles", {})
    if not isinstance(profiles, dict):
        raise UsageError(f"profiles in {file.path} is no table", hint="write [profiles.NAME] with a url")
    for name, settings in profiles.items():
        if not isinstance(settings, dict):
            raise UsageError(f"profiles.{name} in {file.path} is no table", hint=f"write [profiles.{name}] with a url")
        _check_keys(file, settings, _PROFILE_KEYS, f"profiles.{name}.")


def _check_keys(file: ConfigFile, settings: Mapping[str, Any], known: Sequence[str], prefix: str) -> None:
    for key, value in settings.items():
        if key not in known:
            raise UsageError(
                f"unknown key {prefix}{key} in {file.path}", hint=_suggestion(key, known) or _listed(known)
            )
        for problem in _problems(key, value, is_own=file.is_own):
            raise UsageError(f"{prefix}{key} in {file.path} {problem[0]}", hint=problem[1])


def _problems(key: str, value: object, *, is_own: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with a setting, and what to do about it."""
    if key in (*_TEXT_KEYS, "profile") and not isinstance(value, str):
        yield "is not text", f'write {key} = "…"'
    if key in _SWITCH_KEYS and not isinstance(value, bool):
        yield "is neither true nor false", f"write {key} = true"
    if key == "password_command":
        if not is_own:
            yield "is not honoured: a project must not run programs", "put the profile into your own config file"
        is_list = isinstance(value, list) and all(isinstance(part, str) for part in value)
        if not value or not (is_list or isinstance(value, str)):
            yield "is no command", 'write password_command = ["program", "argument"]'


def _file_url(text: str, folder: Path | None) -> URL:
    if text == ":memory:":
        raise _in_memory()
    if not text.strip():
        raise UsageError("the database URL is empty", hint="name a file, or write a URL like sqlite:///shop.db")
    return URL.create("sqlite", database=str(_in_folder(Path(text).expanduser(), folder)))


def _sqlite_url(url: URL, folder: Path | None) -> URL:
    if url.host:
        raise UsageError(
            f"{url.host!r} stands where SQLite has no host", hint="three slashes, then the file: sqlite:///shop.db"
        )
    if not url.database or url.database == ":memory:":
        raise _in_memory()
    plain = url.set(drivername="sqlite")
    if url.database.startswith("file:"):
        return plain
    return plain.set(database=str(_in_folder(Path(url.database), folder)))


def _in_folder(path: Path, folder: Path | None) -> Path:
    return path if folder is None else folder / path


def _in_memory() -> UsageError:
    return UsageError("a database in memory has no log to read", hint="name a file: sqlite:///shop.db")


def _installed_driver(url: URL, backend: str) -> str:
    asked = url.drivername.partition("+")[2]
    if asked in _DRIVERS[backend] and _is_installed(asked):
        return asked
    driver = next((driver for driver in _DRIVERS[backend] if _is_installed(driver)), None)
    if driver is None:
        raise CannotConnect(f"no driver for {backend} is installed", hint=f"pip install 'auditcli[{_EXTRAS[backend]}]'")
    return driver


def _is_installed(driver: str) -> bool:
    module = _MODULES.get(driver, driver)
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _suggestion(word: str, known: Sequence[str]) -> str | None:
    meant = did_you_mean(word, known)
    return f"did you mean {meant}?" if meant else None


def _listed(known: Sequence[str] | Mapping[str, Any]) -> str:
    return f"known: {', '.join(known)}"
