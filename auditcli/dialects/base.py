"""The interface of a database: what the general code asks instead of asking for its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from auditcli import codec
from auditcli.dialects.capture import CaptureContext, CaptureObject, CaptureTable, LogNames
from auditcli.dialects.checks import Check
from auditcli.dialects.lexis import Lexis
from auditcli.dialects.netting import Netting
from auditcli.dialects.script import ScriptStep
from auditcli.imagetext import SpellImages, all_spelled
from auditcli.model import Image, JsonValue, TableName
from auditcli.portable import Portable
from auditcli.shape import ColumnShape, ForeignKeyShape, TableShape

Images = tuple[Image | None, Image | None]
"""A record's `before` and `after`."""

MARK = "\0"
"""Stands for a value in a dialect's SQL, which no text in SQL can hold: each driver has a mark of its own."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL and the driver's values for its marks, in order; the marks are `MARK`.

    `before` is what has to stand before a statement that writes the piece's value.
    """

    sql: str
    values: tuple[Any, ...] = ()
    before: str = ""


class Dialect(ABC):
    """Facts and SQL text of one database; executes nothing.

    SQL made here is run by `auditcli.driver`, which puts the driver's own marks in the place of `MARK`.
    """

    name: ClassVar[str]
    """SQLAlchemy's name of the database."""

    log_ids_follow_commits: ClassVar[bool] = False
    """Whether the order of log ids is the order of commits (one writer at a time)."""

    locks_whole_database: ClassVar[bool] = False
    """Whether a writer excludes every other writer, so that rows need no lock of their own."""

    savepoint_needs_begin: ClassVar[bool] = False
    """Whether the driver would commit at the release of a savepoint that no BEGIN precedes."""

    most_marks: ClassVar[int] = 500
    """How many values one statement takes at the most, for lists of keys."""

    row_list_word: ClassVar[str] = ""
    """Begins a list of rows behind IN, where the database wants a word there."""

    ordered_join: ClassVar[str] = "JOIN"
    """Joins two tables so that the first one is read first, where that has to be said."""

    change_counter_sql: ClassVar[str | None] = None
    """A cheap query whose one value changes when another connection has committed, where the database has one."""

    begin_snapshot_sql: ClassVar[str | None] = None
    """Begins a transaction that goes on seeing what is committed now."""

    begin_write_sql: ClassVar[str | None] = None
    """Takes the right to write at the start of a transaction, where that needs a statement of its own."""

    creation_lock_sql: ClassVar[str | None] = None
    """Keeps two programs from creating the log at once, where defining tables does not exclude each other."""

    creation_unlock_sql: ClassVar[str | None] = None
    """Gives back what `creation_lock_sql` took, where it does not go with the transaction."""

    defer_constraints_sql: ClassVar[str | None] = None
    """Puts foreign keys off to the end of the running transaction."""

    enforce_foreign_keys_sql: ClassVar[str | None] = None
    """Makes a new connection enforce foreign keys, where the database does not by itself."""

    lock_timeout_sql: ClassVar[str | None] = None
    """Reads how many milliseconds the connection waits for a lock; `set_lock_timeout_sql` sets it."""

    tell_driver_sql: ClassVar[str | None] = None
    """Does nothing, but its answer tells the driver whether a transaction is open, where a query's does not."""

    functions_may_write: ClassVar[bool] = False
    """Whether a SELECT may call a function that changes rows."""

    context_outlives_transactions: ClassVar[bool] = False
    """Whether the context that triggers are handed belongs to the session, so that a rollback does not take it back."""

    triggered_age: ClassVar[float] = 0
    """For how many seconds an answer to `triggered_sql` is good, if nothing else changed."""

    cascades_fire_triggers: ClassVar[bool] = True
    """Whether rows that the database changes along a foreign key fire the triggers of their table."""

    upserts_race: ClassVar[bool] = False
    """Whether an INSERT may meet a row that was not there when its key was looked up under a lock a moment before.

    Such a database tells by `inserted_sql` in a RETURNING clause which rows an upsert made.
    """

    inserted_sql: ClassVar[str] = ""
    """Whether a row that an upsert returns is new."""

    updates_joined_tables: ClassVar[bool] = False
    """Whether an UPDATE may change rows of several tables."""

    writes_see_latest: ClassVar[bool] = False
    """Whether a write, and a read that locks, finds rows that the transaction's snapshot does not show.

    Such a database notes the keys of rows that an upsert meets by `note_met_sql`.
    """

    forget_met_sql: ClassVar[str] = ""
    """Forgets what `note_met_sql` noted."""

    met_sql: ClassVar[str] = ""
    """Reads what `note_met_sql` noted, a line each, or NULL."""

    limits_text: ClassVar[bool] = True
    """Whether a text column refuses what is longer than its type says."""

    capture_limits: ClassVar[tuple[str, ...]] = ()
    """What triggers can't do on this database, a sentence each."""

    gathering_words: ClassVar[str | None] = None
    """Stands behind SELECT where many rows are joined to one text, if that is how to read many of them fast."""

    joins_as_written: ClassVar[str] = ""
    """Stands behind SELECT where tables are to be joined in the order of the text, whatever the statistics say."""

    images_need_types: ClassVar[bool] = False
    """Whether images are read by the types of their columns."""

    values_are_json: ClassVar[bool] = False
    """Whether `value_sql` gives the text that an image holds for a value, instead of the value as the driver has it."""

    writing_settings: ClassVar[Mapping[str, str]] = {}
    """The settings of a session, by name, without which values that are `bind` would not be read as they are meant."""

    any_value_sql: ClassVar[str | None] = None
    """Has the session take each value that a column can hold, where it might refuse some that are stored."""

    usual_values_sql: ClassVar[str | None] = None
    """Gives back what `any_value_sql` changed."""

    row_lock_sql: ClassVar[str] = ""
    """Ends a query whose rows are to be locked, where rows are locked one by one."""

    row_share_sql: ClassVar[str] = ""
    """Ends a query whose rows are to stay as they are for the time being, where rows are locked one by one."""

    read_only_sql: ClassVar[str | None] = None
    """Keeps a new connection from writing, and each of its transactions to what is committed when it begins."""

    check_deferred_sql: ClassVar[str | None] = None
    """Checks at once, before the commit, what was put off."""

    foreign_key_check_sql: ClassVar[str | None] = None
    """Lists rows whose references are broken, as table, row and referred table, where the database can."""

    netting: ClassVar[Netting | None] = None
    """How the database reads images by itself, where it can."""

    def quote(self, name: str) -> str:
        """A name as SQL spells it."""
        return '"' + name.replace('"', '""') + '"'

    def marks(self, count: int) -> str:
        """Marks for a list of values."""
        return ", ".join([MARK] * count)

    def table_sql(self, table: TableName) -> str:
        """A table's full name in SQL."""
        return ".".join(self.quote(part) for part in (table.schema, table.name) if part is not None)

    @abstractmethod
    def lock_sql(self, log_table: TableName) -> str | None:
        """A write that changes nothing but takes the write lock; None where rows are locked one by one."""

    @abstractmethod
    def in_transaction(self, driver_connection: Any) -> bool:
        """Whether the driver really has a transaction open: without one, a log could not be atomic."""

    @abstractmethod
    def end_statement(self, driver_connection: Any) -> str | None:
        """End the statement that another thread runs over a driver's connection, or the SQL that ends it elsewhere."""

    def lexis(self, driver_connection: Any) -> Lexis:
        """How the database reads the text of statements, under the session's settings."""
        return Lexis()

    @abstractmethod
    def scene_sql(self, meta_table: TableName) -> str:
        """What a writing transaction has to know, in one round trip, as rows of kind, schema and text.

        `shapes` gives a text that changes with the schema; `setting` a setting by that name, with `schema` as its name;
        `triggered` a table that has an enabled capture trigger, unless `triggered_sql` asks for those.
        """

    def triggered_sql(self, meta_table: TableName) -> str | None:
        """Asks for the `triggered` rows, where that is too dear for each transaction.

        It is asked when `shapes` or a setting changed, and when the last answer is `triggered_age` seconds old.
        """
        return None

    @abstractmethod
    def relation_kind_sql(self) -> str:
        """Whether a name (bound) is a `table`, a `view`, `temporary` or something else; no row where it is nothing.

        A name is found however it is spelled.
        """

    @abstractmethod
    def shape_queries(self) -> tuple[str, ...]:
        """The queries whose rows describe every table; `shapes` reads them."""

    @abstractmethod
    def shapes(self, answers: Sequence[Sequence[Sequence[Any]]]) -> list[TableShape]:
        """The tables that the answers to `shape_queries` describe."""

    @abstractmethod
    def locator_sql(self, shape: TableShape) -> list[str]:
        """Expressions that give a row's locator."""

    @abstractmethod
    def value_sql(self, shape: TableShape, *, as_bytes: bool = False) -> list[str]:
        """Expressions that give a row's stored values, one or (`as_bytes`, for text that is broken) two a column."""

    @abstractmethod
    def values_from_bytes(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """The stored values from what `value_sql(as_bytes=True)` returned."""

    @abstractmethod
    def is_broken_text(self, error: BaseException) -> bool:
        """Whether a read failed on text that is not valid; it is read `as_bytes` then."""

    def image_value(self, column: ColumnShape, stored: Any) -> JsonValue:
        """What an image holds for a value that `value_sql` gave."""
        return codec.encode(stored)

    def reading_settings(self, shape: TableShape) -> Mapping[str, str]:
        """The settings of a session, by name, under which `value_sql` gives what capture writes of the table."""
        return {}

    def change_settings_sql(self, settings: Mapping[str, str]) -> Fragment:
        """Changes settings until the end of the transaction; returns a row that begins with what they were before."""
        raise NotImplementedError

    def note_met_sql(self, shape: TableShape) -> str:
        """An expression, never NULL, that notes the key of the row, its values as in images, with commas between."""
        raise NotImplementedError

    def hidden_reads(self, names: Sequence[str]) -> Fragment:
        """Lists which of these names, in lower case, are views or stored functions; needed if `writes_see_latest`."""
        raise NotImplementedError

    def storable(self, text: str) -> str:
        """A text as the log can hold it, where the database minds its characters."""
        return text

    @abstractmethod
    def bind(self, value: JsonValue, column: ColumnShape) -> Fragment:
        """An expression that is exactly the stored value of the column."""

    @abstractmethod
    def guard(self, column: ColumnShape, value: JsonValue) -> Fragment:
        """A condition that holds where the column has exactly that stored value, and nowhere else."""

    def insert_words(self, shape: TableShape) -> str:
        """How an INSERT begins that fails where another row is in its way."""
        return "INSERT INTO"

    def values_words(self, shape: TableShape) -> str:
        """Stands between an INSERT's columns and its values, so that it may give each column its value."""
        return "VALUES"

    def advance_counter(self, counter: str, lowest: int, highest: int) -> Fragment:
        """Moves a column's counter past numbers that rows brought with them, never back; it stays so for good.

        Returns a row with whether the counter is past them; no row where there is none of that name.
        """
        raise NotImplementedError

    def update_words(self, shape: TableShape) -> str:
        """How an UPDATE begins that fails where another row is in its way."""
        return "UPDATE"

    def set_lock_timeout_sql(self, milliseconds: int) -> str | None:
        """Makes the connection wait so long for a lock, where that is set by a statement."""
        return None

    @abstractmethod
    def is_lock_timeout(self, error: BaseException) -> bool:
        """Whether a statement failed because somebody else held a lock for too long."""

    def is_read_only(self, error: BaseException) -> bool:
        """Whether a statement failed because the database, or the session, takes no writes."""
        return False

    def is_full(self, error: BaseException) -> bool:
        """Whether a statement failed because there is no room left."""
        return False

    def lock_holders_sql(self, tables: Sequence[TableName]) -> Fragment | None:
        """Lists the other sessions that hold locks on the tables, or might, in words; None where nothing tells.

        It may take a right that the user does not have.
        """
        return None

    def lost_race(self, error: BaseException) -> bool:
        """Whether the transaction was ended in favour of another one, so that it may be done again as a whole."""
        return False

    @abstractmethod
    def trigger_names_sql(self) -> str:
        """Lists the triggers of a table (its name is bound) that are not ours."""

    def checks(self, log: LogNames, shapes: Sequence[TableShape]) -> list[Check]:
        """What the database can be asked about the completeness of a log of these tables."""
        return []

    @abstractmethod
    def lock_holder_hint(self) -> str:
        """How to find out who holds a lock."""

    def image_writer(self, shape: TableShape) -> Callable[[Sequence[Any]], str]:
        """A function that gives the image, as text, of stored values in the table's column order."""
        return (codec.json_joiner if self.values_are_json else codec.image_writer)(shape.column_names)

    def image_reader(self, shapes: Sequence[TableShape]) -> Callable[[str | None, str | None], Images]:
        """A function that gives a record's images from their texts.

        The first of the shapes is the table's at the time of the record, the others are earlier and later ones.
        """
        return codec.load_images

    def image_spelling(self, shapes: Sequence[TableShape]) -> SpellImages:
        """A function that gives the texts which `codec.dump` makes of the images that `image_reader` reads of texts."""
        return all_spelled

    def capture_objects(self, log: LogNames, tables: Sequence[CaptureTable]) -> list[CaptureObject]:
        """All that capture by triggers consists of, in the order of creation."""
        raise NotImplementedError

    def script_sql(self, statement: str) -> str:
        """A statement as the database's own command line takes it."""
        return f"{statement};"

    client: ClassVar[str] = ""
    """The database's own command line, as one types it to run a script."""

    @abstractmethod
    def literal(self, value: Any) -> str:
        """A value that `bind` or `guard` gave, as the database's own client reads it, exact and on one line."""

    @abstractmethod
    def script(
        self,
        steps: Iterable[ScriptStep],
        settings: Mapping[str, str],
        lock_timeout: int,
        closing: Iterable[str] = (),
        *,
        checked: bool = True,
    ) -> Iterator[str]:
        """The lines of a script that does all steps in one transaction, or none of them.

        Where it is `checked` each step has to change exactly one row. `settings` are those under which values are read
        and compared; `lock_timeout` is in milliseconds; `closing` are statements after the last step.
        """

    def inlined(self, fragment: Fragment) -> str:
        """A piece of SQL with its values written out."""
        first, *rest = fragment.sql.split(MARK)
        pairs = zip(fragment.values, rest, strict=True)
        return first + "".join(self.literal(value) + part for value, part in pairs)

    def drop_capture_sql(self, log: LogNames, kind: str, name: str, table: TableName | None) -> str:
        """Drops one of the objects that `installed_capture_sql` lists."""
        return f"DROP {kind.upper()} IF EXISTS {self.quote(name)}"

    trigger_right: ClassVar[str] = "it takes the right to create triggers"
    """What a user has to have who installs triggers."""

    without_locator: ClassVar[str] = "here nothing else addresses a row"
    """Why a table may have no `locator`."""

    one_row_sql: ClassVar[str] = ""
    """Ends an UPDATE or a DELETE that may find equal rows and is to take one of them, where that can be said."""

    make_transactional_sql: ClassVar[str] = ""
    """Has rollbacks take back what is written to a `{table}` that has no transactions, where there are such tables."""

    transactional_ddl: ClassVar[bool] = True
    """Whether definitions are undone by a rollback."""

    def installed_capture_sql(self, log: LogNames) -> str:
        """Lists the capture objects: kind, schema and name of the table, own name, whether enabled, text.

        The text is the database's own of what was defined, so that a change of it shows.
        """
        raise NotImplementedError

    def send_context(self, log: LogNames, context: CaptureContext) -> list[Fragment]:
        """Hands a context to the triggers that fire in this transaction."""
        raise NotImplementedError

    def clear_context(self) -> list[Fragment]:
        """Takes the context back, so that nobody else is accused."""
        raise NotImplementedError

    def adopted_transaction_sql(self) -> str | None:
        """Reads the transaction id that a trigger chose before any context was sent, where that can happen."""
        return None

    @abstractmethod
    def portable(self, column: ColumnShape) -> Portable:
        """What the column's type means on any database."""

    @abstractmethod
    def portable_sql(self, type_: Portable, *, is_key: bool) -> str:
        """A type of this database for such values, which are exact in it if there is any in which they are."""

    def own_type(self, column: ColumnShape) -> str:
        """The column's own type, as another database of the kind has it."""
        return column.type

    @abstractmethod
    def carried(self, value: JsonValue, column: ColumnShape) -> JsonValue:
        """A value of another kind of database, as an image of this one has it for the column.

        What the column can't hold comes out as something that does not mean the same once it was stored.
        """

    adds_foreign_keys: ClassVar[bool] = True
    """Whether a table that exists can be given a foreign key; else it is part of the table's definition."""

    counting_words: ClassVar[str] = ""
    """Have an integer primary key number the rows that bring no number, where that has to be said."""

    own_numbers_sql: ClassVar[str | None] = None
    """Has the session take each number that a row brings, zero too, until `usual_values_sql`."""

    foreign_key_words: ClassVar[str] = ""
    """Ends a foreign key, so that `defer_constraints_sql` is for it as well."""

    @abstractmethod
    def is_broken_reference(self, error: BaseException) -> bool:
        """Whether a foreign key refused a statement or the commit."""

    cascades_spellings: ClassVar[bool] = True
    """Whether references follow a key that becomes another one which its collation takes for the same."""

    def is_hidden_refusal(self, error: BaseException) -> bool:
        """Whether a constraint refused a statement though the driver gives its error another class."""
        return False

    @abstractmethod
    def is_refused_value(self, error: BaseException) -> bool:
        """Whether a statement failed because a column can't hold a value."""

    running_writers_sql: ClassVar[str | None] = None
    """Lists what stands for each transaction that writes now, where ids of the log may be committed in any order.

    Where the database may answer with what it told somebody shortly before, the statement has a `{stamp}`: only an
    answer that repeats it is of now. Where it takes a right, `is_denied` tells, and gaps are waited for.
    """

    def is_denied(self, error: BaseException) -> bool:
        """Whether a statement failed because the user lacks a right."""
        return False

    def order_obstacles_sql(self, log_table: TableName) -> str | None:
        """Lists why ids don't tell the order of the log's records, each with the way out."""
        return None

    dirty_read_sql: ClassVar[str | None] = None
    """Lets the next transaction see what others have not committed yet."""

    gap_grace: ClassVar[float] = 0
    """How many seconds an id may have been given out before its record can be seen by `dirty_read_sql`."""

    open_writers_sql: ClassVar[str | None] = None
    """Lists the transactions that have written and are open, where several can be, each by

    what stands for it in `running_writers_sql`, what to call its session, for how many seconds it has been open, when
    it began (UTC; NULL where that can't be told), user, client, state and query; NULL where it may not be seen.
    """

    sees_writers_sql: ClassVar[str | None] = None
    """Whether this user may run `open_writers_sql`, where that takes a right; `see_writers_right` is how to get it."""

    see_writers_right: ClassVar[str] = ""

    quarters_sql: ClassVar[str] = "floor(extract(epoch FROM {}) / 900)"
    """How many quarters of an hour a time is after 1970, in whole numbers."""

    def rows_sql(self, shape: TableShape, condition: str, *, as_bytes: bool = False, locking: bool = False) -> str:
        """Reads locator and stored values of the rows that meet a condition, and may lock them."""
        expressions = [*self.locator_sql(shape), *self.value_sql(shape, as_bytes=as_bytes)]
        found = f"SELECT {', '.join(expressions)} FROM {self.table_sql(shape.table)} WHERE {condition}"
        if not (locking and self.row_lock_sql):
            return found
        # In one order by all, or two that lock the same rows might wait for each other.
        order = f" ORDER BY {', '.join(self.locator_sql(shape))}" if shape.locator else ""
        return f"{found}{order} {self.row_lock_sql}"

    def page_sql(self, shape: TableShape, size: int, *, after: bool, as_bytes: bool = False, lock: str = "") -> str:
        """Reads so many rows in the order of their locators, from the first one or from `after` a bound one on."""
        places = self.locator_sql(shape)
        place = places[0] if len(places) == 1 else f"({', '.join(places)})"
        marks = self.marks(len(places))
        condition = f"{place} > {marks if len(places) == 1 else f'({marks})'}" if after else "1 = 1"
        found = self.rows_sql(shape, condition, as_bytes=as_bytes)
        ordered = f"{found} ORDER BY {', '.join(places)}" if places else found
        return f"{ordered} LIMIT {size:d} {lock}".rstrip()

    def referencing_sql(self, child: TableShape, key: ForeignKeyShape, parent: TableShape, parents: int) -> str:
        """A condition: the row references one of so many rows, given by their locators.

        The columns are compared as the foreign key compares them, by the collation and type of the parent's.
        """
        pairs = zip(key.referred_columns, key.columns, strict=True)
        joined = " AND ".join(f"r.{self.quote(referred)} = c.{self.quote(column)}" for referred, column in pairs)
        place = ", ".join(self._aliased(child, "c"))
        tables = f"{self.table_sql(parent.table)} AS r {self.ordered_join} {self.table_sql(child.table)} AS c"
        found = f"SELECT {place} FROM {tables} ON {joined} WHERE {self.in_list(self._aliased(parent, 'r'), parents)}"
        if self.writes_see_latest:
            found = f"{found} {self.row_lock_sql}"
        located = self.locator_sql(child)
        return f"{located[0] if len(located) == 1 else '(' + ', '.join(located) + ')'} IN ({found})"

    def _aliased(self, shape: TableShape, alias: str) -> list[str]:
        return [f"{alias}.{self.quote(name) if shape.column(name) else name}" for name in shape.locator]

    def in_list(self, names: Sequence[str], rows: int) -> str:
        """A condition: the columns are one of so many rows of values."""
        if len(names) == 1:
            return f"{names[0]} IN ({self.marks(rows)})"
        values = ", ".join([f"({self.marks(len(names))})"] * rows)
        return f"({', '.join(names)}) IN ({self.row_list_word}{values})"
