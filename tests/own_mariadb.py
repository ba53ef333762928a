"""A MariaDB of the tests' own, where the programs of a server are installed: one that they may kill."""

from __future__ import annotations

import atexit
import shutil
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

from tests.embedded import Embedded, free_port

_PROGRAMS = ("mariadbd", "mariadb-install-db")
_INSTALL = ("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
_OPTIONS = (
    "--bind-address=127.0.0.1",
    "--character-set-server=utf8mb4",
    "--innodb-buffer-pool-size=32M",
    # What was committed outlives the server, if not the machine.
    "--innodb-flush-log-at-trx-commit=2",
    "--skip-name-resolve",
)
_PATIENCE = 30


@cache
def own_mariadb() -> Embedded:
    """Start the server once a process; it stops with the process, and leaves nothing behind."""
    programs = [shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin") for name in _PROGRAMS]
    if not all(programs):
        return Embedded(problem="mariadbd and mariadb-install-db are not installed")
    folder = Path(tempfile.mkdtemp(prefix="auditcli-mariadb-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = _Server(str(programs[0]), folder)
    try:
        subprocess.run([str(programs[1]), *server.place, *_INSTALL], check=True, capture_output=True, text=True)
        server.start()
    except (subprocess.CalledProcessError, TimeoutError) as error:
        return Embedded(problem=f"no MariaDB of the tests' own starts: {getattr(error, 'stderr', None) or error}")
    atexit.register(server.kill)
    url = f"mysql+pymysql://root@127.0.0.1:{server.port}/mysql?ssl_disabled=true"
    return Embedded(url=url, restart=server.restart)


class _Server:
    def __init__(self, program: str, folder: Path) -> None:
        # Of its own: as it starts it removes the temporary tables that it finds, other servers' too.
        scratch = folder / "tmp"
        scratch.mkdir()
        self.place = ("--no-defaults", f"--datadir={folder / 'data'}", f"--tmpdir={scratch}", "--user=root")
        self.port = free_port()
        self._command = [program, *self.place, f"--port={self.port}", f"--socket={folder / 'socket'}", *_OPTIONS]
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until = time.monotonic() + _PATIENCE
        while not self._answers():
            if time.monotonic() > until or self._process.poll() is not None:
                raise TimeoutError(self._log.read_text(errors="replace")[-2000:])
            time.sleep(0.05)

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return bool(connection.recv(1))
        except OSError:
            return False
