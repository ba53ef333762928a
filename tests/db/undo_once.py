"""A process that takes a transaction back when it is told to: its arguments are a URL and a change id."""

from __future__ import annotations

import sys

from sqlalchemy import create_engine

import auditcli
from auditcli.apply import apply_plan
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.undo import plan_undo


def main(url: str, change_id: str) -> None:
    """Say when everything is loaded, wait for a line, undo the whole transaction of the change."""
    engine = create_engine(url)
    tables = log_tables()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with engine.connect() as connection:
        reader = LogReader(connection, tables)
        ids = range(int(change_id), reader.last_id() + 1)
        plan = plan_undo(connection, tables, ids=ids)
    with auditcli.context(actor="undoer"):
        apply_plan(engine, plan)


if __name__ == "__main__":
    main(*sys.argv[1:])
