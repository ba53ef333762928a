"""What keeps a plan from being applied, as errors that carry conflicts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.exc import IntegrityError

from auditcli.errors import ConflictError
from auditcli.plan import Conflict, ConflictKind, Step


class PlanConflict(ConflictError):
    """A plan that could not be applied, with what was in its way; nothing was written."""

    def __init__(self, conflicts: Sequence[Conflict], reason: str) -> None:
        first = f": {conflicts[0].message}" if conflicts else ""
        more = f" (and {len(conflicts) - 1:,} more)" if len(conflicts) > 1 else ""
        super().__init__(f"nothing was written, {reason}{first}{more}", hint="plan it again, --dry-run shows all of it")
        self.conflicts = tuple(conflicts)
        self.reason = reason


class Refused(Exception):
    """Steps that a constraint refused to the end."""

    def __init__(self, refused: Sequence[tuple[Step, IntegrityError]]) -> None:
        super().__init__(f"{len(refused)} steps refused")
        self.errors = tuple(error for _, error in refused)
        self.conflicts = tuple(
            Conflict(ConflictKind.CONSTRAINT, step.table, step.row, None, f"{step_word(step)}: {error.orig}")
            for step, error in refused
        )


def step_word(step: Step) -> str:
    """The step's row in a message."""
    return str(step.row) if step.row is not None else f"a row of {step.table}"
