"""Rows that were there before capture began are stated in the log, in chunks, resumably, exactly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine, text

from auditcli import codec
from auditcli.baseline import BaselineProgress, record_baseline
from auditcli.clock import utc_now
from auditcli.dialects import dialect_named
from auditcli.errors import LogError
from auditcli.init import Wishes, prepare
from auditcli.log.tables import log_tables

pytestmark = pytest.mark.thorough

NAMES = ["a", "b", "c", "d", "e", "f", "g"]


def _prepared(engine: Engine, **wishes: Any) -> Engine:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, secret TEXT)"))
        connection.execute(text("CREATE TABLE pair (a INT, b TEXT, v BLOB, PRIMARY KEY (a, b)) WITHOUT ROWID"))
        connection.execute(text("CREATE TABLE loose (v)"))
        for key, name in enumerate(NAMES, 1):
            connection.execute(text("INSERT INTO item VALUES (:id, :name, 's')"), {"id": key, "name": name})
            connection.execute(text("INSERT INTO pair VALUES (1, :name, x'00ff')"), {"name": name})
        connection.execute(text("INSERT INTO loose VALUES (1), (1), (1.5)"))
    with engine.connect() as connection:
        prepare(connection, log_tables(), dialect_named("sqlite"), Wishes(**wishes), now=utc_now())
    return engine


def _snapshots(engine: Engine) -> list[tuple[str, str | None, dict[str, Any]]]:
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT table_name, row_id, before, after FROM changelog WHERE event_type = 'SNAPSHOT' ORDER BY id"
        ).fetchall()
    assert all(before == after for _, _, before, after in rows)
    return [(table, row_id, json.loads(after)) for table, row_id, _, after in rows]


def test_every_row_is_stated_once_in_chunks(engine: Engine) -> None:
    _prepared(engine)

    done = record_baseline(engine, chunk=3)

    found = _snapshots(engine)
    assert {str(table): count for table, count in done.rows.items()} == {"item": 7, "loose": 3, "pair": 7}
    assert [image["name"] for table, _, image in found if table == "item"] == NAMES
    assert [row_id for table, row_id, _ in found if table == "pair"] == [f'[1,"{name}"]' for name in NAMES]
    assert [(row_id, image["v"]) for table, row_id, image in found if table == "loose"] == [
        (None, 1),
        (None, 1),
        (None, 1.5),
    ]


def test_a_run_that_was_broken_off_goes_on_where_it_stopped(engine: Engine) -> None:
    _prepared(engine)

    def stop(progress: BaselineProgress) -> None:
        if str(progress.table) == "pair" and progress.rows >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_baseline(engine, chunk=3, on_progress=stop)
    done = record_baseline(engine, chunk=3)

    assert done.resumed
    assert {str(table): count for table, count in done.rows.items()} == {"item": 0, "loose": 0, "pair": 4}
    assert sorted(image["name"] for table, _, image in _snapshots(engine) if table == "item") == NAMES
    assert [image["b"] for table, _, image in _snapshots(engine) if table == "pair"] == NAMES


def test_a_finished_baseline_can_be_recorded_anew(engine: Engine) -> None:
    _prepared(engine)
    record_baseline(engine)

    again = record_baseline(engine)

    assert not again.resumed
    assert len(_snapshots(engine)) == 2 * 17


def test_excluded_columns_do_not_reach_the_log_with_a_baseline(engine: Engine) -> None:
    _prepared(engine, exclude_columns={"item": ("secret",)}, tables=("item",))

    record_baseline(engine)

    assert all("secret" not in image for _, _, image in _snapshots(engine))


def test_a_database_without_a_log_has_no_baseline(engine: Engine) -> None:
    with pytest.raises(LogError, match="no change log"):
        record_baseline(engine)


def test_masked_columns_are_stated_without_their_values(engine: Engine) -> None:
    _prepared(engine)
    with engine.begin() as connection:
        settings = json.loads(
            str(connection.exec_driver_sql("SELECT value FROM changelog_meta WHERE name = 'tracking'").scalar())
        )
        settings["mask_columns"] = {"item": ["secret"]}
        connection.execute(
            text("UPDATE changelog_meta SET value = :value WHERE name = 'tracking'"), {"value": json.dumps(settings)}
        )

    record_baseline(engine)

    assert {codec.dump(image["secret"]) for table, _, image in _snapshots(engine) if table == "item"} == {
        '{"$masked":true}'
    }
