"""Plans, rehearses and applies undos in workers; the library's rules hold whatever the screen lets pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from auditcli.tui.queries import Queries

if TYPE_CHECKING:
    from auditcli.apply import Outcome
    from auditcli.applying.rehearsal import Rehearsal
    from auditcli.chosen import Chosen
    from auditcli.config import Target
    from auditcli.connect import Database
    from auditcli.log.reader import LogReader
    from auditcli.plan import Plan, PlanOptions
    from auditcli.planning.savedplan import SavedPlan

UNDO = "undo"
"""The kind of question that an undo asks."""


@dataclass(frozen=True, slots=True)
class Author:
    """In whose name is written, and why."""

    actor: str
    reason: str | None = None


@dataclass(frozen=True)
class ToUndo:
    """What is to be taken back: changes by id, a transaction, what a filter selects, or one's own last undo."""

    words: str
    plan: Callable[[LogReader, PlanOptions], Plan]


Planned: TypeAlias = "Callable[[SavedPlan], None]"


def undo_of_changes(ids: Sequence[int]) -> ToUndo:
    """Take back changes."""

    def plan(reader: LogReader, options: PlanOptions) -> Plan:
        from auditcli.undo import plan_undo

        return plan_undo(reader.connection, reader.tables, ids=ids, options=options)

    return ToUndo(f"audit undo {' '.join(map(str, ids))}", plan)


def undo_of_transaction(transaction_id: str) -> ToUndo:
    """Take back a transaction."""

    def plan(reader: LogReader, options: PlanOptions) -> Plan:
        from auditcli.undo import plan_undo

        return plan_undo(reader.connection, reader.tables, transaction=transaction_id, options=options)

    return ToUndo(f"audit undo tx:{transaction_id}", plan)


def undo_of_selection(chosen: Chosen) -> ToUndo:
    """Take back all that a filter selects."""

    def plan(reader: LogReader, options: PlanOptions) -> Plan:
        from auditcli.undo import plan_undo

        return plan_undo(
            reader.connection, reader.tables, selection=chosen.selection, window=chosen.window, options=options
        )

    return ToUndo(f"audit undo {chosen.words}", plan)


def redo_of_last(actor: str) -> ToUndo:
    """Take back the actor's own last undo."""

    def plan(reader: LogReader, options: PlanOptions) -> Plan:
        from auditcli.undo import plan_redo

        return plan_redo(reader.connection, reader.tables, actor=actor, options=options)

    return ToUndo("audit redo", plan)


def confirming_word(plan: Plan, target: Target) -> str | None:
    """What has to be typed before a plan is applied; None where one key is enough."""
    if target.protected:
        return target.profile or "protected"
    return f"{plan.kind} {plan.rows}" if plan.rows > 1 else None


class Undoing:
    """What the dialog of an undo has done for it."""

    def __init__(self, queries: Queries, target: Target) -> None:
        self._queries = queries
        self._target = target

    def plan(self, wanted: ToUndo, author: Author, planned: Planned) -> None:
        """Work the plan out, with a way past each conflict where there is one."""

        def work(reader: LogReader) -> SavedPlan:
            from auditcli.clock import utc_now
            from auditcli.plan import PlanOptions
            from auditcli.planning.savedplan import plan_to_save
            from auditcli.saved import origin_of

            plan = replace(wanted.plan(reader, PlanOptions()), target=self._target.masked_url)
            forced = wanted.plan(reader, PlanOptions(force=True)) if plan.conflicts else None
            origin = origin_of(reader, self._target.masked_url, made_by=author.actor, words=wanted.words, now=utc_now())
            return plan_to_save(plan, forced, origin)

        self._queries.ask(UNDO, work, planned)

    def rehearse(self, saved: SavedPlan, author: Author, rehearsed: Callable[[Rehearsal], None]) -> None:
        """Do what was decided, look, and roll it back."""

        def work(database: Database, plan: Plan) -> Rehearsal:
            from auditcli.apply import rehearse_plan

            return rehearse_plan(database.engine, plan, tables=database.tables, read_only=self._target.read_only)

        self._write(saved, author, work, rehearsed)

    def apply(self, saved: SavedPlan, author: Author, applied: Callable[[Outcome], None]) -> None:
        """Do what was decided."""

        def work(database: Database, plan: Plan) -> Outcome:
            from auditcli.apply import apply_plan

            return apply_plan(database.engine, plan, tables=database.tables, read_only=self._target.read_only)

        self._write(saved, author, work, applied)

    def give_up(self) -> None:
        """End a planning that nobody waits for."""
        self._queries.give_up(UNDO)

    def _write(
        self,
        saved: SavedPlan,
        author: Author,
        work: Callable[[Database, Plan], object],
        done: Callable[..., None],
    ) -> None:
        def write(_database: Database, _is_wanted: Callable[[], bool]) -> object:
            from auditcli.capture.context import context
            from auditcli.connect import open_database
            from auditcli.planning.savedplan import decided

            plan = decided(saved)
            writing = open_database(self._target, writing=True)
            try:
                with context(actor=author.actor, reason=author.reason):
                    return work(writing, plan)
            finally:
                writing.close()

        self._queries.ask_database(UNDO, write, done)
