"""`python -m auditcli` is `audit`."""

from __future__ import annotations

from auditcli.cli.app import run

if __name__ == "__main__":
    run()
