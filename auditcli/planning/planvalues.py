"""The parts of a saved plan as JSON objects, each with its way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from auditcli.fold import ABSENT, Absent
from auditcli.model import Change, EventType, RowKey, Source, TableName
from auditcli.plan import Also, Cascade, CellStep, Conflict, ConflictKind, Plan, PlanOptions, Step, StepKind
from auditcli.planning.savedplan import Origin


def origin_to_json(origin: Origin) -> dict[str, Any]:
    """Where a plan comes from."""
    return {**asdict(origin), "made_at": origin.made_at.isoformat()}


def origin_from_json(stored: Mapping[str, Any]) -> Origin:
    """What `origin_to_json` wrote."""
    return Origin(**{**stored, "made_at": datetime.fromisoformat(stored["made_at"])})


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A plan without its steps and conflicts."""
    return {
        "kind": plan.kind,
        "target": plan.target,
        "summary": plan.summary,
        "selected": plan.selected,
        "already": plan.already,
        "options": asdict(plan.options),
        "undone_ids": plan.undone_ids,
        "cascades": [{**_table(each.table), "row": each.row, "action": each.action} for each in plan.cascades],
        "also": [
            {
                **_row(each.table, each.row),
                "id": each.log_id,
                "event_type": each.event_type.value,
                "columns": list(each.columns),
                "actor": each.actor,
            }
            for each in plan.also
        ],
        "notes": plan.notes,
    }


def plan_from_json(stored: Mapping[str, Any], steps: Sequence[Step], conflicts: tuple[Conflict, ...]) -> Plan:
    """What `plan_to_json` wrote, with steps and conflicts."""
    return Plan(
        kind=stored["kind"],
        target=stored["target"],
        steps=steps,
        conflicts=conflicts,
        already=stored["already"],
        notes=tuple(stored["notes"]),
        options=PlanOptions(**{name: _frozen(value) for name, value in stored["options"].items()}),
        undone_ids=tuple((first, last) for first, last in stored["undone_ids"]),
        selected=stored["selected"],
        cascades=tuple(Cascade(_table_of(each), each["row"], each["action"]) for each in stored["cascades"]),
        also=tuple(
            Also(
                each["id"],
                _table_of(each),
                _row_of(each),
                EventType(each["event_type"]),
                tuple(each["columns"]),
                each["actor"],
            )
            for each in stored["also"]
        ),
    )


def step_to_json(step: Step) -> dict[str, Any]:
    """One row's way back; a cell has no `expected` or no `target` where there is no row."""
    return {
        "do": step.kind.value,
        **_row(step.table, step.row),
        "key": dict(step.key),
        "takes_back": list(step.takes_back),
        "moves_on": list(step.bumps),
        "forced": step.forced,
        "cells": [_cell(cell) for cell in step.cells],
    }


def step_from_json(stored: Mapping[str, Any]) -> Step:
    """What `step_to_json` wrote."""
    return Step(
        kind=StepKind(stored["do"]),
        table=_table_of(stored),
        row=_row_of(stored),
        key=stored["key"],
        cells=tuple(
            CellStep(cell["column"], cell.get("expected", ABSENT), cell.get("target", ABSENT))
            for cell in stored["cells"]
        ),
        bumps=tuple(stored["moves_on"]),
        takes_back=tuple(stored["takes_back"]),
        forced=stored["forced"],
    )


def conflict_to_json(conflict: Conflict) -> dict[str, Any]:
    """A conflict, with the whole change that is in the way."""
    return {
        "conflict": conflict.kind.value,
        **_row(conflict.table, conflict.row),
        "column": conflict.column,
        "reason": conflict.message,
        "by": None if conflict.by is None else _change(conflict.by),
    }


def conflict_from_json(stored: Mapping[str, Any]) -> Conflict:
    """What `conflict_to_json` wrote."""
    return Conflict(
        kind=ConflictKind(stored["conflict"]),
        table=_table_of(stored),
        row=_row_of(stored),
        column=stored["column"],
        message=stored["reason"],
        by=None if stored["by"] is None else _change_of(stored["by"]),
    )


def _cell(cell: CellStep) -> dict[str, Any]:
    sides = {"expected": cell.expected, "target": cell.target}
    return {"column": cell.column, **{name: side for name, side in sides.items() if not isinstance(side, Absent)}}


def _change(change: Change) -> dict[str, Any]:
    stored = {field.name: getattr(change, field.name) for field in fields(change)}
    del stored["table"]
    return {
        **_table(change.table),
        **stored,
        "timestamp": change.timestamp.isoformat(),
        "context": dict(change.context),
    }


def _change_of(stored: Mapping[str, Any]) -> Change:
    own = {name: value for name, value in stored.items() if name != "schema"}
    return Change(
        **{
            **own,
            "table": _table_of(stored),
            "timestamp": datetime.fromisoformat(stored["timestamp"]),
            "event_type": EventType(stored["event_type"]),
            "source": Source(stored["source"]),
        }
    )


def _row(table: TableName, row: RowKey | None) -> dict[str, Any]:
    """A row by the name that people type, and by its parts."""
    return {
        "row": None if row is None else str(row),
        **_table(table),
        "row_id": None if row is None else row.row_id,
    }


def _row_of(stored: Mapping[str, Any]) -> RowKey | None:
    return None if stored["row_id"] is None else RowKey(_table_of(stored), stored["row_id"])


def _table(table: TableName) -> dict[str, Any]:
    return {"table": table.name, "schema": table.schema}


def _table_of(stored: Mapping[str, Any]) -> TableName:
    return TableName(stored["table"], stored["schema"])


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
