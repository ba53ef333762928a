"""Tables that a replay creates: what goes over besides the values, in the nine pairs, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.db.replayed import empty, opened, record, replay, run

pytestmark = pytest.mark.thorough

KINDS = ("sqlite", "postgresql", "mariadb")
COUNTING = {
    "sqlite": "id INTEGER PRIMARY KEY",
    "postgresql": "id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "mariadb": "id BIGINT AUTO_INCREMENT PRIMARY KEY",
}
ITEM = (
    "CREATE TABLE item ({counting}, name VARCHAR(20) NOT NULL DEFAULT 'it''s new', price NUMERIC(8, 2) DEFAULT 1.50, "
    "number INTEGER DEFAULT -3, active BOOLEAN DEFAULT {yes}, made_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, "
    "code VARCHAR(10), UNIQUE (code))"
)


@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_numbering_defaults_and_keys_go_over(kind: str, other: str, tmp_path: Path) -> None:
    with empty(kind, tmp_path / "a") as source, empty(other, tmp_path / "b") as target:
        run(source, ITEM.format(counting=COUNTING[kind], yes="TRUE" if kind == "postgresql" else "1"))
        record(source)
        run(source, "INSERT INTO item (name, code) VALUES ('first', 'a'), ('second', 'b')")

        progress = replay(opened(source), opened(target), create_tables=True)
        run(target, "INSERT INTO item (code) VALUES ('c')")

        assert _rows(target, "SELECT id, name, price, number, active FROM item WHERE code = 'c'") == [
            (3, "it's new", 1.5, -3, 1)
        ]
        assert any("CURRENT_TIMESTAMP" in note.upper() or "now()" in note for note in progress.notes) == (kind != other)
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
            run(target, "INSERT INTO item (code) VALUES ('a')")
        with pytest.raises(Exception, match=r"(?i)null"):
            run(target, "INSERT INTO item (name, code) VALUES (NULL, 'd')")


@pytest.mark.parametrize("kind", KINDS)
def test_a_zero_stays_a_zero_in_a_key_that_counts(kind: str, tmp_path: Path) -> None:
    with empty("sqlite", tmp_path / "a") as source, empty(kind, tmp_path / "b") as target:
        run(source, "CREATE TABLE item (id INTEGER PRIMARY KEY)")
        record(source)
        run(source, "INSERT INTO item VALUES (0), (5)")

        replay(opened(source), opened(target), create_tables=True)

        assert _rows(target, "SELECT id FROM item ORDER BY id") == [(0,), (5,)]


def test_what_stays_behind_is_said(tmp_path: Path) -> None:
    with empty("sqlite", tmp_path / "a") as source, empty("postgresql", tmp_path / "b") as target:
        run(
            source,
            "CREATE TABLE item (id INTEGER PRIMARY KEY, word TEXT DEFAULT (lower('X')), long TEXT AS (word || word), "
            "up INTEGER REFERENCES item (id) ON DELETE SET DEFAULT)",
            "CREATE UNIQUE INDEX short ON item (word) WHERE id > 5",
        )
        record(source)

        progress = replay(opened(source), opened(target), create_tables=True)

    assert progress.notes == [
        "left out: the default of item.word (lower('X'))",
        "left out: the expression that generates item.long; its values come from the source where the log has them",
        "left out: the unique index of item on an expression or on some rows",
        "left out: ON DELETE SET DEFAULT of the foreign key of item (up) to item",
    ]


def _rows(engine: Engine, sql: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]
