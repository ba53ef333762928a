"""Whatever plan a random history leads to: a file keeps it exactly, notices every edit, and does what the plan does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import StaticPool

import auditcli
from auditcli.apply import PlanConflict, apply_plan
from auditcli.errors import UsageError
from auditcli.log.reader import LogReader
from auditcli.log.tables import log_tables
from auditcli.plan import Plan, PlanOptions
from auditcli.planning.planfile import plan_text, read_plan_text
from auditcli.planning.savedplan import Decision, SavedPlan, decided, plan_to_save
from auditcli.recheck import recheck
from auditcli.saved import origin_of
from auditcli.undo import plan_undo

pytestmark = pytest.mark.thorough

LOG = log_tables()
NOW = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC)

DDL = """
CREATE TABLE parent (id INTEGER PRIMARY KEY, code UNIQUE, "decision" TEXT);
CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id REFERENCES parent ON DELETE CASCADE, value NUMERIC, stamp);
CREATE TABLE keyless (a, b);
"""
COLUMNS = {"parent": ("code", "decision"), "child": ("parent_id", "value", "stamp"), "keyless": ("a", "b")}
ODD = (None, 1, 1.0, "1", "", "a\0\u202e\u2028\U0001f3b5", '"decision": "keep"', b"\xff", -0.5, 0.1 + 0.2, 2**63 - 1)
DECISION = re.compile(r'(?<!\\)"decision": (?:"[a-z_]+"|null)(?=\}|\n)')

few = settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
seeds = st.integers(0, 2**32)


@few
@given(seed=seeds, force=st.booleans())
def test_a_plan_comes_back_from_its_file_as_it_was(seed: int, force: bool) -> None:
    with _history(seed) as (connection, ids):
        saved = _decided_anyhow(_saved(connection, ids, PlanOptions(force=force)), Random(seed))

        assert read_plan_text(plan_text(saved).encode(), "plan.json") == saved


@few
@given(seed=seeds, data=st.data())
def test_any_edit_of_a_byte_beside_the_decisions_is_refused(seed: int, data: st.DataObject) -> None:
    with _history(seed) as (connection, ids):
        content = plan_text(_saved(connection, ids, PlanOptions())).encode()
    at = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[at]).map(lambda byte: bytes([byte])))
    edited = data.draw(
        st.sampled_from(
            [
                content[:at] + byte + content[at + 1 :],
                content[:at] + byte + content[at:],
                content[:at] + content[at + 1 :],
            ]
        )
    )
    assume(_without_decisions(edited) != _without_decisions(content))

    with pytest.raises(UsageError, match=r"^plan\.json"):
        read_plan_text(edited, "plan.json")


@few
@given(seed=seeds, skip_conflicts=st.booleans())
def test_a_plan_from_a_file_does_what_the_plan_does(seed: int, skip_conflicts: bool) -> None:
    options = PlanOptions(skip_conflicts=skip_conflicts)
    with _history(seed) as (connection, ids):
        plan = plan_undo(connection, LOG, ids=ids, options=options)
        connection.rollback()
        at_once = _applied(connection, plan)
    with _history(seed) as (connection, ids):
        saved = read_plan_text(plan_text(_saved(connection, ids, options)).encode(), "plan.json")
        loaded = recheck(LogReader(connection, LOG), _as_planned(saved), saved.origin.position)
        connection.rollback()
        later = _applied(connection, loaded)

    assert later == at_once


@few
@given(seed=seeds)
def test_a_plan_that_was_applied_is_done_already(seed: int) -> None:
    with _history(seed) as (connection, ids):
        saved = _saved(connection, ids, PlanOptions())
        assume(saved.plan.steps and not saved.plan.conflicts)
        connection.rollback()
        before = _applied(connection, saved.plan)
        assume(before != "conflict")

        again = recheck(LogReader(connection, LOG), decided(saved), saved.origin.position)

        assert (again.steps, again.conflicts) == ((), ())


def _without_decisions(content: bytes) -> str:
    return DECISION.sub("", content.decode(errors="backslashreplace"))


def _saved(connection: Connection, ids: Sequence[int], options: PlanOptions) -> SavedPlan:
    plan = plan_undo(connection, LOG, ids=ids, options=options)
    forced = plan_undo(connection, LOG, ids=ids, options=replace(options, force=True, skip_conflicts=False))
    origin = origin_of(LogReader(connection, LOG), "sqlite://", made_by="dora", words="audit undo", now=NOW)
    return plan_to_save(plan, forced, origin)


def _decided_anyhow(saved: SavedPlan, random: Random) -> SavedPlan:
    """The plan with any decisions that its file may have."""
    any_of = list(Decision)
    return replace(
        saved,
        step_decisions=tuple(tuple(random.choice(any_of) for _ in each) for each in saved.step_decisions),
        conflict_decisions=tuple(
            random.choice([None, *any_of] if way is not None else [None, Decision.KEEP, Decision.SKIP])
            for way in saved.ways
        ),
    )


def _as_planned(saved: SavedPlan) -> Plan:
    """What the file says where nobody decided anything, conflicts included."""
    return replace(decided(saved, keep_undecided=True), options=saved.plan.options)


def _applied(connection: Connection, plan: Plan) -> Any:
    """What all tables hold once a plan is applied, and which changes the log says that it took back."""
    try:
        apply_plan(connection, plan)
    except PlanConflict:
        return "conflict"
    found = [
        connection.exec_driver_sql(f"SELECT *, typeof({columns[-1]}) FROM {table} ORDER BY rowid").fetchall()
        for table, columns in COLUMNS.items()
    ]
    links = connection.execute(sa.select(LOG.undo.c.first_id, LOG.undo.c.last_id)).fetchall()
    connection.rollback()
    return found, links


@contextmanager
def _history(seed: int) -> Iterator[tuple[Connection, list[int]]]:
    """A database with a history that the seed alone decides, and some of its changes."""
    random = Random(seed)
    engine = _database()
    for _ in range(random.randint(2, 8)):
        _transaction(engine, random)
    with engine.connect() as connection:
        last_id = LogReader(connection, LOG).last_id()
        ids = [log_id for log_id in range(1, last_id + 1) if random.random() < 0.5]
        if not ids:
            _transaction(engine, random)
        yield connection, ids or [1]
    engine.dispose()


def _database() -> Engine:
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def prepare(driver_connection: Any, _record: object) -> None:
        driver_connection.execute("PRAGMA foreign_keys = ON")
        driver_connection.executescript(DDL)
        driver_connection.executescript("INSERT INTO parent (id) VALUES (1), (2);")

    auditcli.track(engine, create=True, clock=lambda: NOW)
    # One change at least.
    with auditcli.context(actor="first"), engine.begin() as connection:
        connection.execute(sa.insert(_table("keyless")).values(a=1, b=2))
    return engine


def _transaction(engine: Engine, random: Random) -> None:
    with auditcli.context(actor=random.choice(["ann", "bob", None])), engine.begin() as connection:
        for _ in range(random.randint(1, 3)):
            try:
                with connection.begin_nested():
                    connection.execute(_statement(random))
            except (IntegrityError, auditcli.AuditError):
                continue


def _statement(random: Random) -> Any:
    name = random.choice(list(COLUMNS))
    table = _table(name)
    values = {column: random.choice(ODD) for column in COLUMNS[name] if random.random() < 0.6}
    if name == "keyless":
        # Few values, so that there are equal rows.
        few_values = {column: random.choice(ODD[:3]) for column in values or "a"}
        return sa.delete(table).where(table.c.a == 1) if random.random() < 0.4 else sa.insert(table).values(few_values)
    key = random.randint(1, 3)
    kind = random.choice(["insert", "update", "update", "delete"])
    if kind == "insert":
        return sa.insert(table).values(id=key, **values)
    if kind == "delete":
        return sa.delete(table).where(table.c.id == key)
    return sa.update(table).where(table.c.id == key).values(values or {COLUMNS[name][-1]: None})


def _table(name: str) -> sa.Table:
    any_type = sa.String().evaluates_none()
    key = [] if name == "keyless" else [sa.Column("id", any_type, primary_key=True)]
    return sa.Table(name, sa.MetaData(), *key, *(sa.Column(column, any_type) for column in COLUMNS[name]))


def test_every_single_byte_of_a_file_is_guarded() -> None:
    with _history(7) as (connection, ids):
        content = plan_text(_saved(connection, ids[:3], PlanOptions())).encode()
    guarded = _without_decisions(content)
    edits = [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(len(content))]

    accepted = [edited for edited in edits if _without_decisions(edited) != guarded and _is_read(edited)]

    assert accepted == []


def _is_read(content: bytes) -> bool:
    try:
        read_plan_text(content, "plan.json")
    except UsageError:
        return False
    return True


def test_a_decision_of_a_column_by_that_name_is_no_decision() -> None:
    engine = _database()
    with auditcli.context(actor="ann"), engine.begin() as connection:
        connection.execute(sa.update(_table("parent")).values(decision="keep"))
    with engine.connect() as connection:
        content = plan_text(_saved(connection, [2, 3], PlanOptions()))
    engine.dispose()

    edited = content.replace('"expected": "keep"', '"expected": "skip"', 1)

    assert edited != content
    assert json.loads(edited)
    with pytest.raises(UsageError, match="edited beyond its decisions"):
        read_plan_text(edited.encode(), "plan.json")
