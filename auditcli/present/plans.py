"""Plans, their steps and their conflicts, row by row or summed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from auditcli.fold import Value
from auditcli.model import TableName
from auditcli.plan import Also, Bulk, CellStep, Conflict, ConflictKind, Plan, Step, StepKind
from auditcli.present.spans import SIGNS, Line, Span, Style
from auditcli.present.text import counted, row_word, value_text, visible
from auditcli.present.worddiff import added, cell_diff

_STEP_STYLES = {StepKind.INSERT: Style.ADDED, StepKind.UPDATE: Style.CHANGED, StepKind.DELETE: Style.REMOVED}


def plan_lines(plan: Plan, *, most_rows: int = 10) -> list[Line]:
    """What a plan would do, row by row or, of many rows, column by column; then its conflicts, by kind and actor."""
    if plan.rows <= most_rows:
        lines = [line for step in plan.steps for line in step_lines(step)]
    else:
        lines = steps_summary(plan.single_steps, plan.bulks)
    lines += _also_lines(plan.also, most_rows)
    lines += conflict_lines(plan.conflicts, most_rows=most_rows)
    for table, columns in plan.bookkeeping.items():
        names = ", ".join(visible(column) for column in columns)
        lines.append((Span(f"bookkeeping of {visible(str(table))} moves on: {names}", Style.DIM),))
    lines += [(Span(f"note: {visible(note)}", Style.WARNING),) for note in plan.notes]
    return lines


def _also_lines(also: Sequence[Also], most: int) -> list[Line]:
    """What a cascade takes back besides, change by change or, of many, by table and actor."""
    if len(also) <= most:
        return [(Span("also taken back: ", Style.WARNING), Span(_also_word(each))) for each in also]
    counted_by = Counter((str(each.table), each.actor) for each in also)
    return [
        (
            Span("also taken back: ", Style.WARNING),
            Span(f"{counted(count, 'change')} of {visible(table)} by {visible(actor or 'an unknown actor')}"),
        )
        for (table, actor), count in counted_by.most_common()
    ]


def _also_word(also: Also) -> str:
    row = visible(str(also.row or also.table))
    columns = f" ({', '.join(map(visible, also.columns))})" if also.columns else ""
    return f"change {also.log_id}, {also.event_type} {row}{columns} by {visible(also.actor or 'an unknown actor')}"


def plan_summary(plan: Plan) -> Line:
    """How much a plan is: by table and kind, and what stands in the way."""
    parts = []
    for table, kinds in plan.counts.items():
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        parts.append(f"{visible(str(table))}: {counts}")
    return (
        Span(f"{plan.kind}: {visible(plan.summary)}", Style.STRONG),
        Span(f" ({'; '.join(parts)})" if parts else ""),
    )


def steps_summary(steps: Iterable[Step], bulks: Iterable[Bulk] = ()) -> list[Line]:
    """Many steps summed up by table, kind and column, each with an example."""
    rows: Counter[tuple[TableName, StepKind]] = Counter()
    cells: Counter[tuple[TableName, StepKind, str]] = Counter()
    examples: dict[tuple[TableName, StepKind, str], tuple[Step, CellStep]] = {}
    for step, count in (*((step, 1) for step in steps), *((bulk.example, bulk.rows) for bulk in bulks)):
        rows[step.table, step.kind] += count
        for cell in step.cells if step.kind is StepKind.UPDATE else ():
            cells[step.table, step.kind, cell.column] += count
            examples.setdefault((step.table, step.kind, cell.column), (step, cell))
    lines: list[Line] = []
    for (table, kind), count in rows.items():
        style = _STEP_STYLES[kind]
        lines.append((Span(f"{SIGNS[style]} {kind} {visible(str(table))}: {counted(count, 'row')}", style),))
        for key, (step, cell) in examples.items():
            if key[:2] == (table, kind):
                name = f"    {visible(str(table))}.{visible(cell.column)}: {counted(cells[key], 'row')}, e.g. "
                where = row_word(table, None if step.row is None else step.row.row_id)
                lines.append((Span(name), Span(f"{where} ", Style.STRONG), *cell_diff(cell.expected, cell.target)))
    return lines


def step_lines(step: Step) -> list[Line]:
    """One row's way back."""
    style = _STEP_STYLES[step.kind]
    where = row_word(step.table, None if step.row is None else step.row.row_id)
    heading = (Span(f"{SIGNS[style]} {step.kind} ", style), Span(where, Style.STRONG))
    forced = (Span("  (forced)", Style.WARNING),) if step.forced else ()
    if step.kind is StepKind.DELETE:
        return [(*heading, *forced)]
    width = max((len(visible(cell.column)) for cell in step.cells), default=0)
    return [
        (*heading, *forced),
        *(
            (Span(f"  {visible(cell.column).ljust(width)}  "), *_step_cell(step.kind, cell.expected, cell.target))
            for cell in step.cells
        ),
    ]


def _step_cell(kind: StepKind, expected: Value, target: Value) -> Line:
    if kind is StepKind.INSERT:
        return added(value_text(target))
    return cell_diff(expected, target)


def conflict_lines(conflicts: Sequence[Conflict], *, most_rows: int = 20) -> list[Line]:
    """Conflicts, grouped by kind and by who is in the way."""
    groups: dict[tuple[ConflictKind, str | None], list[Conflict]] = {}
    for conflict in conflicts:
        groups.setdefault((conflict.kind, conflict.actor), []).append(conflict)
    lines: list[Line] = []
    for (kind, actor), members in groups.items():
        by = f", by {visible(actor)}" if actor else ""
        lines.append((Span(f"{kind}: {counted(len(members), 'conflict')}{by}", Style.WARNING),))
        lines += [(Span(f"  {visible(member.message)}"),) for member in members[:most_rows]]
        if len(members) > most_rows:
            lines.append((Span(f"  … and {len(members) - most_rows:,} more", Style.DIM),))
    return lines
