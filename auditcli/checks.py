"""What live rows outside a plan say to its steps: keys that are taken, rows that refer, parents that are gone.

Plans are checked when they are made and once more under the lock, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from auditcli import codec
from auditcli.fold import Absent
from auditcli.model import Image, JsonValue, RowKey, TableName
from auditcli.plan import Cascade, Conflict, ConflictKind, Dependant, PlanOptions, Step, StepKind
from auditcli.rows import KeyValues, LiveRow, RowReader, Word, image_word, key_word, value_word
from auditcli.shape import CHANGES_CHILD, DatabaseShape, ForeignKeyShape, TableShape

_MOST_NAMED = 3


@dataclass(frozen=True)
class Checked:
    """The steps that may be done, what is in the way of the others, and what the database will do along with them."""

    steps: tuple[Step, ...]
    conflicts: tuple[Conflict, ...]
    cascades: tuple[Cascade, ...]
    dependants: tuple[Dependant, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """Where steps are checked: a database, and how to leave out of a table the columns that the log leaves out.

    `spoken_for` are rows that steps are about which come later.
    """

    rows: RowReader
    shapes: DatabaseShape
    recorded: Callable[[TableShape], TableShape]
    spoken_for: frozenset[RowKey] = frozenset()

    def shape(self, table: TableName) -> TableShape | None:
        """The table, if it still exists."""
        return self.shapes.tables.get(table)

    def row_word(self, shape: TableShape, image: Image) -> Word:
        """How steps and live rows of one table are matched."""
        if shape.primary_key:
            return key_word(image, shape.primary_key)
        return image_word({column: image[column] for column in self.recorded(shape).column_names if column in image})


def check_steps(steps: Sequence[Step], around: Surroundings, options: PlanOptions) -> Checked:
    """Take out the steps that live rows outside the plan forbid, until the rest stands by itself."""
    kept = tuple(steps)
    conflicts: list[Conflict] = []
    dependants: set[Dependant] = set()
    while True:
        check = _Check(kept, around, options)
        refused = check.run()
        if not refused:
            return Checked(kept, tuple(conflicts), tuple(sorted(check.cascades)), tuple(dependants))
        conflicts += refused.values()
        dependants |= check.dependants
        kept = tuple(step for at, step in enumerate(kept) if at not in refused)


def check_cascades(steps: Sequence[Step], around: Surroundings, options: PlanOptions) -> tuple[Conflict, ...]:
    """Conflicts of the steps along with which the database would change or delete rows that no step is about."""
    check = _Check(steps, around, options)
    check.run_cascades()
    return tuple(check.refused.values())


class _Check:
    """One pass over the steps."""

    def __init__(self, steps: Sequence[Step], around: Surroundings, options: PlanOptions) -> None:
        self.cascades: set[Cascade] = set()
        self.dependants: set[Dependant] = set()
        self._steps = steps
        self._around = around
        self._options = options
        self._by_table: dict[TableName, list[int]] = {}
        self._at_row: dict[tuple[TableName, Word], Step] = {}
        self.refused: dict[int, Conflict] = {}
        for at, step in enumerate(steps):
            self._by_table.setdefault(step.table, []).append(at)
            shape = around.shape(step.table)
            if step.kind is not StepKind.INSERT and shape is not None:
                self._at_row[step.table, around.row_word(shape, step.key)] = step

    def run(self) -> dict[int, Conflict]:
        for table in self._by_table:
            shape = self._around.shape(table)
            if shape is None:
                continue
            if not shape.is_transactional:
                self._refuse_half_done(shape)
            self._check_assigned(shape)
            for key in filter(None, (shape.primary_key, *shape.unique_keys)):
                self._check_taken(shape, key)
            # A reference to a table without a key names no columns; the database can't enforce it.
            for reference in self._around.shapes.references_to.get(table, ()):
                if reference.referred_columns:
                    self._check_dependent(shape, reference)
            for reference in shape.foreign_keys:
                if reference.referred_columns:
                    self._check_orphaned(shape, reference)
        return self.refused

    def run_cascades(self) -> None:
        """Look only at what the database would do by itself, not at what it would refuse."""
        for table in self._by_table:
            shape = self._around.shape(table)
            for reference in self._around.shapes.references_to.get(table, ()) if shape is not None else ():
                if shape is not None and CHANGES_CHILD & {reference.on_delete, reference.on_update}:
                    self._check_dependent(shape, reference, only_cascades=True)

    def _refuse_half_done(self, shape: TableShape) -> None:
        mend = self._around.rows.dialect.make_transactional_sql.format(table=shape.table)
        for at in self._by_table[shape.table]:
            reason = f"its engine has no transactions, so half of an undo could stay: {mend}"
            self._refuse(at, ConflictKind.CONSTRAINT, reason)

    def _check_assigned(self, shape: TableShape) -> None:
        assigned = [column.name for column in shape.columns if column.assigned]
        for at in self._by_table[shape.table] if assigned else ():
            step = self._steps[at]
            for column in assigned if step.kind is StepKind.UPDATE else ():
                if column in step.set_columns:
                    reason = f"no UPDATE may set {column}, which the database assigns (GENERATED ALWAYS AS IDENTITY)"
                    self._refuse(at, ConflictKind.CONSTRAINT, reason, column)

    # Keys that steps bring rows to.

    def _check_taken(self, shape: TableShape, key: Sequence[str]) -> None:
        arriving: dict[Word, tuple[int, KeyValues]] = {}
        for word, arrival in self._values(shape.table, key, after=True):
            first, _ = arriving.setdefault(word, arrival)
            if first != arrival[0]:
                also = f"the plan takes {_step_word(self._steps[first])} there as well ({', '.join(key)})"
                self._refuse(arrival[0], ConflictKind.CONSTRAINT, also)
        for row in self._live(shape, key, arriving):
            if self._lets_go(shape, row, key):
                continue
            at = arriving.get(key_word(row.image, key))
            if at is not None:
                self._refuse_taken(at[0], shape, key, row)

    def _refuse_taken(self, at: int, shape: TableShape, key: Sequence[str], row: LiveRow) -> None:
        is_key = tuple(key) == shape.primary_key
        kind = ConflictKind.EXISTS if is_key else ConflictKind.CONSTRAINT
        what = "its key is" if is_key else f"its unique {', '.join(key)} is"
        self._refuse(at, kind, f"{what} taken by {_name(shape, row.image)}")

    # Rows that refer to what steps take away.

    def _check_dependent(self, shape: TableShape, reference: ForeignKeyShape, *, only_cascades: bool = False) -> None:
        child = self._around.shape(reference.table)
        leaving = dict(self._values(shape.table, reference.referred_columns, after=False))
        if only_cascades:
            leaving = {
                word: each for word, each in leaving.items() if self._action(each[0], reference) in CHANGES_CHILD
            }
        if child is None or not leaving:
            return
        coming = dict(self._values(shape.table, reference.referred_columns, after=True))
        respelt = {at: values for at, values in coming.values() if self._steps[at].kind is StepKind.UPDATE}
        dependants: dict[int, list[LiveRow]] = {}
        for row in self._live(child, reference.columns, leaving):
            if not self._lets_go(child, row, reference.columns):
                word = key_word(row.image, reference.columns)
                at, _ = leaving.get(word) or self._loosely(child, reference, row, leaving)
                if self._still_refers(shape, reference, row, respelt.get(at)):
                    continue
                # Another row comes to the key that it refers to.
                if word not in coming or self._action(at, reference) in CHANGES_CHILD:
                    dependants.setdefault(at, []).append(row)
        for position, rows in dependants.items():
            self._judge_dependants(position, reference, child, rows)

    def _still_refers(
        self, parent: TableShape, reference: ForeignKeyShape, row: LiveRow, new: KeyValues | None
    ) -> bool:
        """Whether the database takes the parent's new key for the one that the row refers to, and leaves the row so."""
        if new is None or (reference.on_update in CHANGES_CHILD and self._around.rows.dialect.cascades_spellings):
            return False
        values = tuple(row.image[column] for column in reference.columns)
        return self._around.rows.are_equal_to(parent, reference.referred_columns, values, [new])

    def _loosely(
        self, child: TableShape, reference: ForeignKeyShape, row: LiveRow, leaving: dict[Word, tuple[int, KeyValues]]
    ) -> tuple[int, KeyValues]:
        """The step whose row the database takes for the one referred to, though the values are not the same."""
        for at, values in leaving.values():
            found = self._around.rows.with_values(child, reference.columns, [values])
            if any(other.locator == row.locator for other in found):
                return at, values
        raise AssertionError("a row that was found by one of these values is found by none of them")

    def _judge_dependants(
        self, at: int, reference: ForeignKeyShape, child: TableShape, rows: Sequence[LiveRow]
    ) -> None:
        goes_away = self._steps[at].kind is StepKind.DELETE
        action = self._action(at, reference)
        if self._options.force and action in CHANGES_CHILD:
            self._follow(child, [row.image for row in rows], action, goes_away=goes_away)
            return
        row_ids = (codec.row_id_of(row.image, child.primary_key) for row in rows)
        self.dependants |= {Dependant(child.table, word, reference.columns) for word in row_ids if word is not None}
        named = ", ".join(_name(child, row.image) for row in rows[:_MOST_NAMED])
        more = f" and {len(rows) - _MOST_NAMED:,} more" if len(rows) > _MOST_NAMED else ""
        verb = "refers" if len(rows) == 1 else "refer"
        what = "it" if goes_away else "its key"
        self._refuse(at, ConflictKind.DEPENDENT, f"{named}{more} {verb} to {what} and would be left behind")

    def _action(self, at: int, reference: ForeignKeyShape) -> str:
        """What the database does about a reference to the row of a step."""
        return reference.on_delete if self._steps[at].kind is StepKind.DELETE else reference.on_update

    def _follow(self, shape: TableShape, images: Sequence[Image], action: str, *, goes_away: bool) -> None:
        """Note rows that the database will delete or change, and those that refer to deleted ones in turn."""
        fresh = [image for image in images if self._note_cascade(shape, image, action)]
        if not fresh or not (goes_away and action == "CASCADE"):
            return
        for reference in self._around.shapes.references_to.get(shape.table, ()):
            child = self._around.shape(reference.table)
            if child is None or reference.on_delete not in CHANGES_CHILD:
                continue
            wanted = [tuple(image[column] for column in reference.referred_columns) for image in fresh]
            rows = self._around.rows.with_values(child, reference.columns, wanted)
            left = [row.image for row in rows if not self._lets_go(child, row, reference.columns)]
            self._follow(child, left, reference.on_delete, goes_away=True)

    def _note_cascade(self, shape: TableShape, image: Image, action: str) -> bool:
        cascade = Cascade(shape.table, _name(shape, image), action)
        is_new = cascade not in self.cascades
        self.cascades.add(cascade)
        return is_new

    # Parents that rows will refer to.

    def _check_orphaned(self, shape: TableShape, reference: ForeignKeyShape) -> None:
        parent = self._around.shape(reference.referred)
        referring = list(self._all_values(shape.table, reference.columns))
        if parent is None or not referring:
            return
        arriving = {
            word: known for word, (_, known) in self._values(parent.table, reference.referred_columns, after=True)
        }
        live = self._standing(parent, reference.referred_columns, [values for _, values in referring])
        for at, values in referring:
            word = value_word(values)
            if word in arriving or word in live or self._standing(parent, reference.referred_columns, [values]):
                continue
            if self._around.rows.are_equal_to(parent, reference.referred_columns, values, arriving.values()):
                continue
            shown = ", ".join(str(codec.decode(value)) for value in values)
            name = f"{parent.table} {shown} ({', '.join(reference.columns)})"
            self._refuse(at, ConflictKind.CONSTRAINT, f"it refers to {name}, which is gone")

    def _standing(self, shape: TableShape, columns: Sequence[str], wanted: Iterable[KeyValues]) -> set[Word]:
        """Those of the values that live rows have and keep."""
        rows = self._around.rows.with_values(shape, columns, wanted)
        return {key_word(row.image, columns) for row in rows if not self._lets_go(shape, row, columns)}

    # Shared.

    def _values(
        self, table: TableName, columns: Sequence[str], *, after: bool
    ) -> Iterator[tuple[Word, tuple[int, KeyValues]]]:
        """The values that steps take rows to (`after`) or away from, with the step's position."""
        without = StepKind.DELETE if after else StepKind.INSERT
        for at in self._by_table.get(table, ()):
            step = self._steps[at]
            if step.kind is without or (step.kind is StepKind.UPDATE and not set(columns) & set(step.set_columns)):
                continue
            known = _known(step, columns, after=after)
            if known is not None:
                yield value_word(known), (at, known)

    def _all_values(self, table: TableName, columns: Sequence[str]) -> Iterator[tuple[int, KeyValues]]:
        return ((at, values) for _, (at, values) in self._values(table, columns, after=True))

    def _live(
        self, shape: TableShape, columns: Sequence[str], wanted: dict[Word, tuple[int, KeyValues]]
    ) -> Iterator[LiveRow]:
        return self._around.rows.with_values(shape, columns, [values for _, values in wanted.values()])

    def _lets_go(self, shape: TableShape, row: LiveRow, columns: Sequence[str]) -> bool:
        """Whether a step takes the row away or sets one of these columns anew."""
        if self._around.spoken_for:
            row_id = codec.row_id_of(row.image, shape.primary_key)
            if row_id is not None and RowKey(shape.table, row_id) in self._around.spoken_for:
                return True
        step = self._at_row.get((shape.table, self._around.row_word(shape, row.image)))
        return step is not None and (step.kind is StepKind.DELETE or bool(set(columns) & set(step.set_columns)))

    def _refuse(self, at: int, kind: ConflictKind, message: str, column: str | None = None) -> None:
        step = self._steps[at]
        self.refused.setdefault(at, Conflict(kind, step.table, step.row, column, f"{_step_word(step)}: {message}"))


def _known(step: Step, columns: Sequence[str], *, after: bool) -> KeyValues | None:
    """The step's values in these columns, where it knows all of them and none is NULL."""
    values: list[JsonValue] = []
    for column in columns:
        value = step.target_value(column) if after else step.expected_value(column)
        if value is None or isinstance(value, Absent):
            return None
        values.append(value)
    return tuple(values)


def _step_word(step: Step) -> str:
    return str(step.row) if step.row is not None else f"a row of {step.table}"


def _name(shape: TableShape, image: Image) -> str:
    row_id = codec.row_id_of(image, shape.primary_key)
    return str(RowKey(shape.table, row_id)) if row_id is not None else f"a row of {shape.table}"
