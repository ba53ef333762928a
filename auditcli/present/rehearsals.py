"""What a rehearsed plan did besides what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditcli.model import Change
from auditcli.plan import Step, shown
from auditcli.present.spans import Line, Span, Style
from auditcli.present.text import counted, visible

if TYPE_CHECKING:
    from auditcli.apply import Rehearsal

_MOST = 20


def rehearsal_lines(rehearsal: Rehearsal) -> list[Line]:
    """What was written, what triggers moved, which rows outside the plan changed, and what can't be known."""
    lines: list[Line] = [(Span(f"rehearsed: {counted(rehearsal.rows, 'row')} written and read back", Style.STRONG),)]
    lines += [(Span(f"a trigger moved {_cells(step)}; set again", Style.WARNING),) for step in rehearsal.moved[:_MOST]]
    lines += [(Span(f"changed as well: {_change(change)}", Style.WARNING),) for change in rehearsal.outside[:_MOST]]
    more = max(0, len(rehearsal.moved) - _MOST) + max(0, len(rehearsal.outside) - _MOST)
    if more:
        lines.append((Span(f"and {counted(more, 'row')} more", Style.WARNING),))
    if rehearsal.unseen:
        names = ", ".join(visible(str(table)) for table in rehearsal.unseen)
        lines.append((Span(f"not seen: what triggers of {names} write, since listeners record it", Style.WARNING),))
    elif not (rehearsal.moved or rehearsal.outside):
        lines.append((Span("nothing else changed"),))
    return lines


def _cells(step: Step) -> str:
    row = visible(str(step.row or step.table))
    cells = (f"{cell.column} from {shown(cell.target)} to {shown(cell.expected)}" for cell in step.cells)
    return f"{row} {visible(', '.join(cells))}"


def _change(change: Change) -> str:
    return f"{change.event_type} {visible(str(change.row or change.table))}"
