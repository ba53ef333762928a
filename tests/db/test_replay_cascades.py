"""What foreign keys did along in the source is in its log, and the target has such keys too: done once, no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from auditcli.model import Image
from auditcli.plan import ConflictKind, PlanOptions
from auditcli.replay import ReplayConflict
from tests.db.replayed import empty, opened, record, replay, rows_of, run

pytestmark = pytest.mark.thorough

KINDS = ("sqlite", "postgresql", "mariadb")
PARENT = "CREATE TABLE parent (id INTEGER PRIMARY KEY, name VARCHAR(20))"
CHILD = (
    "CREATE TABLE {name} (id INTEGER PRIMARY KEY, parent_id INTEGER, word VARCHAR(20), "
    "FOREIGN KEY (parent_id) REFERENCES {parent} (id) ON DELETE {delete} ON UPDATE {update})"
)
FAMILY = (
    PARENT,
    CHILD.format(name="owned", parent="parent", delete="CASCADE", update="CASCADE"),
    CHILD.format(name="leaf", parent="owned", delete="CASCADE", update="CASCADE"),
    CHILD.format(name="loose", parent="parent", delete="SET NULL", update="CASCADE"),
    CHILD.format(name="tree", parent="tree", delete="CASCADE", update="NO ACTION"),
)
ROWS = (
    "INSERT INTO parent VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    "INSERT INTO owned VALUES (1, 1, 'x'), (2, 1, 'y'), (3, 2, 'z'), (4, 3, 'w')",
    "INSERT INTO leaf VALUES (1, 1, 'x'), (2, 2, 'y'), (3, 3, 'z')",
    "INSERT INTO loose VALUES (1, 1, 'x'), (2, 2, 'y'), (3, NULL, 'z')",
    "INSERT INTO tree VALUES (1, NULL, 'root')",
    "INSERT INTO tree VALUES (2, 1, 'branch')",
    "INSERT INTO tree VALUES (3, 2, 'leaf'), (4, NULL, 'other')",
)
DELETIONS = (
    ("UPDATE owned SET word = 'changed' WHERE id = 1", "DELETE FROM parent WHERE id = 1"),
    ("DELETE FROM tree WHERE id = 1", "INSERT INTO tree VALUES (1, 4, 'again')"),
    ("DELETE FROM parent WHERE id = 2", "INSERT INTO parent VALUES (2, 'new')", "INSERT INTO owned VALUES (3, 2, 'n')"),
)
MOVES = (
    ("UPDATE parent SET id = 30 WHERE id = 3",),
    ("UPDATE owned SET id = 11 WHERE id = 1", "UPDATE parent SET id = 10, name = 'moved' WHERE id = 1"),
    ("UPDATE loose SET word = 'q' WHERE id = 2", "UPDATE parent SET id = 1 WHERE id = 2"),
)


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with empty(request.param, tmp_path / "source") as engine:
        yield engine


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with empty(request.param, tmp_path / "target") as engine:
        yield engine


@pytest.mark.parametrize("is_recorded", [False, True], ids=["plain", "recorded"])
@pytest.mark.parametrize("history", [DELETIONS, MOVES], ids=["deletions", "moves"])
def test_what_cascades_did_in_the_source_is_done_once(
    source: Engine, target: Engine, history: tuple[tuple[str, ...], ...], is_recorded: bool
) -> None:
    run(source, *FAMILY, *ROWS)
    record(source)
    replay(opened(source), opened(target), create_tables=True)
    if is_recorded:
        record(target)
    for statements in history:
        run(source, *statements)

    progress = replay(opened(source), opened(target))

    assert (progress.conflicts, progress.held) == ([], 0)
    assert _sorted(target) == _sorted(source)


@pytest.mark.parametrize("is_recorded", [False, True], ids=["plain", "recorded"])
@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
@pytest.mark.parametrize("statement", ["DELETE FROM parent WHERE id = 1", "UPDATE parent SET id = 9 WHERE id = 1"])
def test_what_only_the_target_would_cascade_is_a_conflict(
    target: Engine, tmp_path: Path, statement: str, action: str, is_recorded: bool
) -> None:
    with empty("sqlite", tmp_path / "loose") as source:
        run(source, PARENT, "CREATE TABLE owned (id INTEGER PRIMARY KEY, parent_id INTEGER, word VARCHAR(20))")
        run(source, ROWS[0], ROWS[1])
        record(source)
        run(target, PARENT, CHILD.format(name="owned", parent="parent", delete=action, update=action))
        replay(opened(source), opened(target))
        if is_recorded:
            record(target)
        run(source, statement)

        with pytest.raises(ReplayConflict) as failure:
            replay(opened(source), opened(target))
        skipped = replay(opened(source), opened(target), conflicts=PlanOptions(skip_conflicts=True))

    assert {conflict.kind for conflict in failure.value.conflicts} == {ConflictKind.DEPENDENT}
    assert "owned/1" in failure.value.conflicts[0].message
    assert [conflict.kind for conflict in skipped.conflicts] == [ConflictKind.DEPENDENT]
    assert [row["parent_id"] for row in _sorted(target)["owned"]] == [1, 1, 2, 3]


def _sorted(engine: Engine) -> dict[str, list[Image]]:
    return {table: sorted(rows, key=lambda row: int(str(row["id"]))) for table, rows in rows_of(engine).items()}
