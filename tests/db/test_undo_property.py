"""Whatever history SQLite accepted: undoing it all leads to the start, byte for byte, redoing it to the end."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import StaticPool

import auditcli
from auditcli.apply import apply_plan
from auditcli.log.tables import log_tables
from auditcli.plan import Plan, PlanOptions
from auditcli.undo import plan_redo, plan_undo
from tests.soak import soaking

pytestmark = pytest.mark.thorough

LOG = log_tables()

DDL = """
CREATE TABLE parent (id INTEGER PRIMARY KEY, code UNIQUE, name TEXT COLLATE NOCASE);
CREATE TABLE child (
    id INTEGER PRIMARY KEY,
    parent_id INTEGER REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE,
    label UNIQUE,
    value NUMERIC
);
CREATE TABLE note (
    word TEXT PRIMARY KEY NOT NULL,
    child_id INTEGER REFERENCES child ON DELETE SET NULL ON UPDATE CASCADE,
    up TEXT REFERENCES note ON DELETE SET NULL ON UPDATE CASCADE,
    body
);
"""
metadata = sa.MetaData()
ANY = sa.String().evaluates_none()
PARENT = sa.Table("parent", metadata, *(sa.Column(n, ANY, primary_key=n == "id") for n in ("id", "code", "name")))
CHILD = sa.Table(
    "child", metadata, *(sa.Column(n, ANY, primary_key=n == "id") for n in ("id", "parent_id", "label", "value"))
)
NOTE = sa.Table(
    "note", metadata, *(sa.Column(n, ANY, primary_key=n == "word") for n in ("word", "child_id", "up", "body"))
)
TABLES = (PARENT, CHILD, NOTE)

keys = st.integers(1, 4)
ODD = [None, 0, 1, 1.0, "1", "", "x\0y", "\U0001f3b5", b"", b"\xff", -0.0, 0.1 + 0.2, 2**63 - 1, float("inf")]
CODES = [None, 1, 2, 3, "1", b"1"]
WORDS = ["a", "b", "A", "1", "01"]
odd = st.sampled_from(ODD)
codes = st.sampled_from(CODES)
words = st.sampled_from(WORDS)
parents = st.fixed_dictionaries({}, optional={"id": keys, "code": codes, "name": odd})
children = st.fixed_dictionaries({}, optional={"id": keys, "parent_id": st.none() | keys, "label": codes, "value": odd})
notes = st.fixed_dictionaries(
    {}, optional={"word": words, "child_id": st.none() | keys, "up": st.none() | words, "body": odd}
)
statements = st.one_of(
    *(
        st.tuples(st.sampled_from(["insert", "update", "delete"]), st.just(table), key, values)
        for table, key, values in ((PARENT, keys, parents), (CHILD, keys, children), (NOTE, words, notes))
    )
)
transactions = st.lists(st.lists(statements, min_size=1, max_size=4), max_size=7)


@settings(max_examples=soaking(40), suppress_health_check=[HealthCheck.too_slow])
@given(before=transactions, script=transactions)
def test_undo_redo_and_undo_again_lead_to_start_end_and_start(before: list[Any], script: list[Any]) -> None:
    _undo_and_redo(before, script)


@settings(max_examples=soaking(25), suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
@example(36956)
def test_so_do_they_for_long_histories_of_few_rows(seed: int) -> None:
    random = Random(seed)

    _undo_and_redo(_history(random, 6, (6, 1, 0)), _history(random, random.randint(1, 6), (2, 4, 2)))


@settings(max_examples=soaking(40), suppress_health_check=[HealthCheck.too_slow])
@given(script=transactions, picked=st.sets(st.integers(1, 30), min_size=1))
def test_taking_back_any_selection_twice_is_taking_it_back_once(script: list[Any], picked: set[int]) -> None:
    engine = _database()
    _run(engine, script)
    ids = sorted(picked & set(range(1, _last_id(engine) + 1)))
    if not ids:
        return
    plan = _plan_undo(engine, ids)
    if plan.conflicts or not _apply(engine, plan):
        return
    once = _contents(engine)

    again = _plan_undo(engine, ids)

    assert (again.steps, again.conflicts) == ((), ())
    assert _contents(engine) == once


@settings(max_examples=soaking(40), suppress_health_check=[HealthCheck.too_slow])
@given(script=transactions, picked=st.sets(st.integers(1, 30), min_size=1))
def test_a_plan_without_conflicts_leaves_all_else_as_it_was_and_can_be_taken_back(
    script: list[Any], picked: set[int]
) -> None:
    engine = _database()
    _run(engine, script)
    end = _contents(engine)
    ids = sorted(picked & set(range(1, _last_id(engine) + 1)))
    if not ids:
        return
    plan = _plan_undo(engine, ids)
    if plan.conflicts or not _apply(engine, plan):
        return

    _apply(engine, _plan_redo(engine))

    assert _contents(engine) == end


def _undo_and_redo(before: Sequence[Any], script: Sequence[Any]) -> None:
    engine = _database()
    _run(engine, before)
    start, first_id = _contents(engine), _last_id(engine)
    _run(engine, script)
    end = _contents(engine)
    ids = range(first_id + 1, _last_id(engine) + 1)

    for _ in range(2):
        if not _apply(engine, _plan_undo(engine, ids)):
            assert start == end
            break
        assert _contents(engine) == start
        assert _plan_undo(engine, ids).nothing_but_already
        _apply(engine, _plan_redo(engine))
        assert _contents(engine) == end


def _history(random: Random, length: int, weights: Sequence[int]) -> list[Any]:
    """Transactions over so few rows that they keep meeting each other."""
    return [[_any_statement(random, weights) for _ in range(random.randint(1, 5))] for _ in range(length)]


def _any_statement(random: Random, weights: Sequence[int]) -> tuple[Any, ...]:
    table = random.choice([PARENT, PARENT, CHILD, CHILD, NOTE])
    [kind] = random.choices(["insert", "update", "delete"], weights)
    choices = {
        "id": range(1, 6),
        "word": WORDS,
        "up": [None, *WORDS],
        "code": CODES,
        "label": CODES,
        "parent_id": [None, *range(1, 6)],
        "child_id": [None, *range(1, 6)],
    }
    values = {
        column.name: random.choice(choices.get(column.name, ODD))
        for column in table.c
        if random.random() < (0.25 if column.primary_key else 0.5)
    }
    [key] = table.primary_key
    return (kind, table, random.choice(choices[key.name]), values)


def _database() -> Engine:
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def prepare(driver_connection: Any, _record: object) -> None:
        driver_connection.execute("PRAGMA foreign_keys = ON")
        driver_connection.executescript(DDL)

    auditcli.track(engine, create=True)
    return engine


def _run(engine: Engine, script: Sequence[Sequence[Any]]) -> None:
    """Run transactions as far as the database and the recorder accept them."""
    for transaction in script:
        with engine.connect() as connection, connection.begin():
            for statement in transaction:
                try:
                    with connection.begin_nested():
                        connection.execute(_statement(*statement))
                except (IntegrityError, auditcli.AuditError):
                    continue


def _statement(kind: str, table: sa.Table, key: Any, values: dict[str, Any]) -> Any:
    [key_column] = table.primary_key
    if kind == "insert":
        return sa.insert(table).values({key_column.name: key, **values})
    if kind == "delete":
        return sa.delete(table).where(key_column == key)
    return sa.update(table).where(key_column == key).values(values or {list(table.c)[-1].name: None})


def _contents(engine: Engine) -> list[Any]:
    """Every value with its storage class and its bytes."""
    with engine.connect() as connection:
        return [
            [
                connection.exec_driver_sql(
                    f"SELECT {', '.join(f'typeof({c.name}), hex({c.name}), {c.name}' for c in table.c)} "
                    f"FROM {table.name} ORDER BY 2"
                ).fetchall()
            ]
            for table in TABLES
        ]


def _last_id(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.max(LOG.changelog.c.id))) or 0


def _plan_undo(engine: Engine, ids: Sequence[int]) -> Plan:
    with engine.connect() as connection:
        return plan_undo(connection, LOG, ids=ids) if ids else Plan("undo", "", (), options=PlanOptions())


def _plan_redo(engine: Engine) -> Plan:
    with engine.connect() as connection:
        return plan_redo(connection, LOG, actor="undoer")


def _apply(engine: Engine, plan: Plan) -> bool:
    """Apply a plan that must not be in conflict; whether it wrote anything."""
    assert plan.conflicts == ()
    with auditcli.context(actor="undoer"):
        return apply_plan(engine, plan).transaction_id is not None
