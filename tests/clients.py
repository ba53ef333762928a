"""The databases' own command lines, as a person runs a script with them."""

from __future__ import annotations

import subprocess

from sqlalchemy import URL


def run_script(url: URL, script: str) -> subprocess.CompletedProcess[str]:
    """Feed a script to the client of the URL's database."""
    return subprocess.run(_client(url), input=script, capture_output=True, text=True, check=False, encoding="utf-8")


def _client(url: URL) -> list[str]:
    backend = url.get_backend_name()
    if backend == "sqlite":
        return ["sqlite3", str(url.database)]
    if backend == "postgresql":
        return ["psql", "-X", "-q", url.set(drivername="postgresql").render_as_string(hide_password=False)]
    server = [f"--host={url.host}", f"--port={url.port or 3306}", f"--user={url.username}"]
    return ["mariadb", *server, *([f"--password={url.password}"] if url.password else []), str(url.database)]
