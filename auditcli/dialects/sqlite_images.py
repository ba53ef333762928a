"""Stored values of SQLite as the text that images and look-up keys hold for them, in SQL.

Each row of every captured write goes through these expressions, so they are as cheap as exactness allows: one `printf`
for an image costs less than joining its parts, and what a column most likely holds is tried first.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from auditcli import codec
from auditcli.shape import ColumnShape, TableShape

_MASK = '{"$masked":true}'
_SAME = '{"$same":true}'
_MOST_ARGUMENTS = 90
"""No function takes more than a hundred arguments, or 127."""

_STEP = 1 << 60
_PRINTABLE = "BETWEEN 1e-40 AND 1e40"

_SHORT_INTEGERS = 10
"""So many integers always fit into a look-up key."""

_LIKELY = (
    (("INT",), ("integer", "null", "text", "real")),
    (("CHAR", "CLOB", "TEXT"), ("text", "null", "integer", "real")),
    (("REAL", "FLOA", "DOUB"), ("real", "null", "integer", "text")),
)
"""Parts of a declared type, and what the column most likely holds: what is tried first, no more."""


class RowTexts:
    """Expressions over a row of one table, which is called `t`, `NEW` or `OLD`."""

    def __init__(self, shape: TableShape, recorded: Sequence[str], masked: Collection[str] = ()) -> None:
        self._shape = shape
        self._recorded = recorded
        self._masked = masked

    @property
    def row_id_alias(self) -> str | None:
        """The key column that is the row id itself, and so always an integer."""
        shape = self._shape
        hidden = len(shape.locator) == 1 and shape.column(shape.locator[0]) is None
        return shape.primary_key[0] if hidden and len(shape.moved_by) == 1 else None

    def place(self, row: str) -> str:
        """What tells the row from all others: its row id, or its key where it has none."""
        locator = self._shape.locator
        if len(locator) == 1:
            known = self._shape.column(locator[0]) is not None
            return f"{row}.{quoted(locator[0]) if known else locator[0]}"
        return _array([self._encoded(row, column) for column in locator])

    def key(self, row: str) -> str:
        """The canonical text of the row's key, however long it is; an integer may stand for its text."""
        columns = self._shape.primary_key
        if not columns:
            return "NULL"
        if len(columns) > 1:
            return _array([self._key_part(row, column) for column in columns])
        column = f"{row}.{quoted(columns[0])}"
        if self.row_id_alias:
            return column
        return f"CASE typeof({column}) WHEN 'text' THEN {column} ELSE {self._key_part(row, columns[0])} END"

    def row_id(self, row: str) -> str:
        """The row's look-up key."""
        columns = self._shape.primary_key
        key = self.key(row)
        if not columns or self.row_id_alias:
            return key
        if len(columns) > _SHORT_INTEGERS:
            return _shortened(key)
        are_integers = " AND ".join(f"typeof({row}.{quoted(column)}) = 'integer'" for column in columns)
        return f"CASE WHEN {are_integers} THEN {key} ELSE {_shortened(key)} END"

    def image(self, row: str, since: str | None = None) -> str:
        """The row's image; long values that `since` has as well are not repeated."""
        names = self._recorded
        starts = range(0, len(names), _MOST_ARGUMENTS)
        parts = [self._part(row, names[start : start + _MOST_ARGUMENTS], since, start) for start in starts]
        return " || ".join(parts)

    def same(self, old: str, new: str, columns: Iterable[str]) -> str:
        """Whether two rows have the same stored values in these columns."""
        return " AND ".join(
            self._same_value(f"{old}.{quoted(name)}", f"{new}.{quoted(name)}", name) for name in columns
        )

    def _same_value(self, old: str, new: str, name: str) -> str:
        return f"{old} IS {new}" if name == self.row_id_alias else _same(old, new)

    def _part(self, row: str, names: Sequence[str], since: str | None, start: int) -> str:
        words = (codec.dump(name).replace("%", "%%") for name in names)
        opening = "," if start else "{"
        closing = "}" if start + len(names) == len(self._recorded) else ""
        form = opening + ",".join(f"{word}:%s" for word in words) + closing
        return f"printf({literal(form)}, {', '.join(self._value(row, name, since) for name in names)})"

    def _value(self, row: str, name: str, since: str | None) -> str:
        return literal(_MASK) if name in self._masked else self._encoded(row, name, since)

    def _encoded(self, row: str, name: str, since: str | None = None) -> str:
        column = f"{row}.{quoted(name)}"
        if name == self.row_id_alias:
            return column
        before = None if since is None else f"{since}.{quoted(name)}"
        return encoded(column, self._shape.known_column(name), before, is_stored=row != "NEW")

    def _key_part(self, row: str, name: str) -> str:
        """A value of the key; a double of few digits as Python spells it, so that it is found by what one types."""
        column = f"{row}.{quoted(name)}"
        few_digits = (
            f"abs({column}) BETWEEN 1e-4 AND 999999999999999 AND CAST(CAST({column} AS TEXT) AS REAL) = {column}"
        )
        spelled = f"typeof({column}) = 'real' AND {few_digits}"
        return f"CASE WHEN {spelled} THEN CAST({column} AS TEXT) ELSE {self._encoded(row, name)} END"


def encoded(column: str, shape: ColumnShape, before: str | None = None, *, is_stored: bool) -> str:
    """A value as the text that an image holds for it; text that is not valid UTF-8 stays as it is.

    A long one that is what it was `before` stands as the mark that says so. `is_stored` tells that the value was read,
    not just given by a statement.
    """
    # What a JSON function gave would be taken for JSON instead of for text: joining takes the mark off it.
    text = f"json_quote({column})" if is_stored else f"json_quote({column} || '')"
    blob = f"'{{\"$hex\":\"' || lower(hex({column})) || '\"}}'"
    if before is not None:
        stayed = f"length({column}) > {codec.SAME_OVER} AND {_same(before, column)}"
        text, blob = (f"CASE WHEN {stayed} THEN {literal(_SAME)} ELSE {value} END" for value in (text, blob))
    forms = {"text": text, "integer": column, "null": "'null'", "real": _real(column)}
    kinds = " ".join(f"WHEN '{kind}' THEN {forms[kind]}" for kind in _likely(shape.type))
    return f"CASE typeof({column}) {kinds} ELSE {blob} END"


def _array(values: Sequence[str]) -> str:
    return f"printf('[{','.join(['%s'] * len(values))}]', {', '.join(values)})"


def quoted(name: str) -> str:
    """A name as SQL spells it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL spells it."""
    return "'" + text.replace("'", "''") + "'"


def _likely(declared: str) -> Sequence[str]:
    upper = declared.upper()
    fitting = (kinds for words, kinds in _LIKELY if any(word in upper for word in words))
    return next(fitting, _LIKELY[1][1])


def _real(column: str) -> str:
    """A double as decimal digits that give it back; one that is very large or small as such a one times a power of two.

    Seventeen digits are not enough in SQLite's own printing of doubles, and from 3.43 on no digits are where the
    exponent is large. Powers of two it multiplies and divides by without loss.
    """
    form = f'\'{{"$float":"%!.20e{codec.SCALE}%d"}}\''
    scaled = (
        f"WITH RECURSIVE scaled(y, k) AS (SELECT {column}, 0 UNION ALL SELECT "
        f"CASE WHEN abs(y) > 1 THEN y / {_STEP} ELSE y * {_STEP} END, CASE WHEN abs(y) > 1 THEN k + 60 ELSE k - 60 END "
        f"FROM scaled WHERE abs(y) NOT {_PRINTABLE}) SELECT printf({form}, y, k) FROM scaled WHERE abs(y) {_PRINTABLE}"
    )
    return (
        f"CASE WHEN abs({column}) {_PRINTABLE} THEN printf('%!.20e', {column}) WHEN {column} = 0 THEN '0.0' "
        f"WHEN {column} = 9e999 THEN {literal(codec.dump(codec.encode(math.inf)))} "
        f"WHEN {column} = -9e999 THEN {literal(codec.dump(codec.encode(-math.inf)))} ELSE ({scaled}) END"
    )


def _same(old: str, new: str) -> str:
    """Whether two values are the same stored value, whatever the column's collation calls equal."""
    return f"{old} IS {new} COLLATE BINARY AND typeof({old}) = typeof({new})"


def _shortened(key: str) -> str:
    """What `codec.look_up_key` makes of a key; the subquery with its limit has it worked out once."""
    is_short = f"length(CAST(k AS BLOB)) <= {codec.ROW_ID_LIMIT}"
    start = f"'{codec.LONG_KEY}' || substr(k, 1, {codec.LONG_KEY_START})"
    return f"(SELECT CASE WHEN {is_short} THEN k ELSE {start} END FROM (SELECT {key} AS k LIMIT 1))"
