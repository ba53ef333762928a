"""Random schemas: a few tables whose columns, keys and references are of every sort that a database has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

Literals = tuple[str, ...]
NAMES = "abcd"
"""What tables are called."""

NUMBERS = ("1", "2", "3", "4")
WORDS = ("'x'", "'y'", "'X'", "'x '", "'z'")


@dataclass(frozen=True)
class Kind:
    """What a column may hold: its type, and so few values, as SQL, that rows keep meeting each other."""

    type: str
    literals: Literals
    is_key: bool = False


@dataclass(frozen=True)
class Flavour:
    """What a database has to offer: `identities` and `generated` are all of a column's definition but its name.

    `generated` is made of a word, `{}`; `timings` are of references and `unique_timings` of unique keys. `dropping` is
    what stands before, for and after the drop of tables, `{}`; `examples` are as many as take a few seconds.
    """

    name: str
    examples: int
    dropping: tuple[str, str, str]
    kinds: Mapping[str, Kind]
    identities: Literals
    generated: Literals
    on_delete: Literals
    on_update: Literals
    timings: Literals = ("",)
    unique_timings: Literals = ("",)
    suffixes: Literals = ("",)
    beforehand: Literals = ()
    alters: bool = True
    """Whether a reference can be added to a table, so that tables may refer to each other in circles."""

    @property
    def key_kinds(self) -> list[str]:
        """The kinds that keys are made of."""
        return [name for name, kind in self.kinds.items() if kind.is_key]


@dataclass(frozen=True)
class Column:
    """A column of a kind; `definition` stands for its type where the kind's does not do."""

    name: str
    kind: str
    nullable: bool = True
    default: str | None = None
    definition: str | None = None
    is_written: bool = True
    is_given: bool = False
    """Whether the database can give it a value where a statement has none."""


@dataclass(frozen=True)
class Reference:
    """A foreign key; `actions` are its clauses."""

    columns: tuple[str, ...]
    referred: str
    referred_columns: tuple[str, ...]
    actions: str


@dataclass(frozen=True)
class Table:
    """A table of a random schema."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    uniques: tuple[tuple[tuple[str, ...], str], ...] = ()
    checks: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    suffix: str = ""

    @property
    def written(self) -> list[Column]:
        """The columns that statements may set."""
        return [column for column in self.columns if column.is_written]

    @property
    def keys(self) -> list[tuple[str, ...]]:
        """What another table may refer to."""
        return [key for key in (self.primary_key, *(unique for unique, _ in self.uniques)) if key]

    def column(self, name: str) -> Column:
        """The column of this name."""
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True)
class Schema:
    """Some tables on a database of some flavour."""

    flavour: Flavour = field(repr=False)
    tables: tuple[Table, ...]

    @property
    def names(self) -> list[str]:
        """The tables' names."""
        return [table.name for table in self.tables]

    def definitions(self) -> list[str]:
        """What makes the tables, with their references where they can't be added."""
        return [_table_sql(table, self.flavour) for table in self.tables]

    def additions(self) -> list[str]:
        """What adds the references; one that the database refuses is not part of the schema."""
        if not self.flavour.alters:
            return []
        return [
            f"ALTER TABLE {table.name} ADD {_reference_sql(reference)}"
            for table in self.tables
            for reference in table.references
        ]


def _table_sql(table: Table, flavour: Flavour) -> str:
    parts = [_column_sql(column, flavour) for column in table.columns]
    if table.primary_key and not any("PRIMARY KEY" in part for part in parts):
        parts.append(f"PRIMARY KEY ({', '.join(table.primary_key)})")
    parts += [f"UNIQUE ({', '.join(columns)}) {timing}".rstrip() for columns, timing in table.uniques]
    parts += [f"CHECK ({check})" for check in table.checks]
    if not flavour.alters:
        parts += map(_reference_sql, table.references)
    return f"CREATE TABLE {table.name} ({', '.join(parts)}) {table.suffix}".rstrip()


def _column_sql(column: Column, flavour: Flavour) -> str:
    if column.definition is not None:
        return f"{column.name} {column.definition}"
    default = "" if column.default is None else f" DEFAULT {column.default}"
    return f"{column.name} {flavour.kinds[column.kind].type}{default}{'' if column.nullable else ' NOT NULL'}"


def _reference_sql(reference: Reference) -> str:
    columns, referred = ", ".join(reference.columns), ", ".join(reference.referred_columns)
    return f"FOREIGN KEY ({columns}) REFERENCES {reference.referred} ({referred}) {reference.actions}".rstrip()


# Strategies, from columns to schemas.


def schemas(flavour: Flavour, least: int = 2, most: int = 4) -> st.SearchStrategy[Schema]:
    """Tables that may refer to each other and to themselves."""
    bodies = st.integers(least, most).flatmap(
        lambda count: st.tuples(*(_bodies(NAMES[at], flavour) for at in range(count)))
    )
    return bodies.flatmap(lambda tables: _connected(tables, flavour)).map(lambda tables: Schema(flavour, tables))


@st.composite
def _bodies(draw: st.DrawFn, name: str, flavour: Flavour) -> Table:
    """A table without references."""
    key = draw(_keys(flavour))
    plain = draw(st.lists(_plain_columns(flavour), min_size=1, max_size=3))
    columns = [replace(column, name=f"v{at}") for at, column in enumerate(plain)]
    keyed = [column for column in columns if flavour.kinds[column.kind].is_key]
    words = [column for column in columns if column.kind == "word"]
    is_made = draw(_rarely())
    if words and is_made:
        definition = draw(st.sampled_from(flavour.generated)).format(words[0].name)
        columns.append(Column("made", "word", definition=definition, is_written=False, is_given=True))
    return Table(
        name,
        (*key, *columns),
        primary_key=tuple(column.name for column in key),
        uniques=draw(_uniques(keyed, flavour)),
        checks=tuple(f"{column.name} <> 3" for column in keyed if column.kind == "number" and draw(_rarely())),
        suffix=draw(st.sampled_from(flavour.suffixes)) if key and key[0].definition is None else "",
    )


def _keys(flavour: Flavour) -> st.SearchStrategy[tuple[Column, ...]]:
    """The columns of a primary key: one, two, one that the database counts, or none."""
    number = Column("id", "number", nullable=False)
    word = st.sampled_from(flavour.key_kinds).map(lambda kind: Column("id", kind, nullable=False))
    counted = st.sampled_from(flavour.identities).map(
        lambda definition: replace(number, definition=definition, is_given=True)
    )
    pair = st.permutations([replace(number, name="k"), Column("j", "word", nullable=False)])
    return st.one_of(
        st.just((number,)),
        word.map(lambda column: (column,)),
        counted.map(lambda column: (column,)),
        pair.map(tuple),
        st.just(()),
    )


@st.composite
def _plain_columns(draw: st.DrawFn, flavour: Flavour) -> Column:
    kind = draw(st.one_of(st.sampled_from(flavour.key_kinds), st.sampled_from(sorted(flavour.kinds))))
    literals = flavour.kinds[kind].literals
    default = draw(st.one_of(st.none(), st.none(), st.sampled_from(literals)))
    nullable = not draw(_rarely())
    return Column("", kind, nullable, default, is_given=nullable or default is not None)


@st.composite
def _uniques(draw: st.DrawFn, columns: Sequence[Column], flavour: Flavour) -> tuple[tuple[tuple[str, ...], str], ...]:
    names: list[tuple[str, ...]] = [(column.name,) for column in columns if draw(st.booleans())]
    is_double = draw(_rarely())
    if len(columns) > 1 and is_double:
        names.append((columns[0].name, columns[1].name))
    return tuple((columns, draw(st.sampled_from(flavour.unique_timings))) for columns in names)


@st.composite
def _connected(draw: st.DrawFn, tables: Sequence[Table], flavour: Flavour) -> tuple[Table, ...]:
    """The tables with references from some to some."""
    found = {table.name: table for table in tables}
    pairs = st.tuples(st.sampled_from(tables), st.sampled_from([table for table in tables if table.keys] or tables))
    for at, (child, parent) in enumerate(draw(st.lists(pairs, min_size=1, max_size=5))):
        if parent.keys:
            key = draw(st.sampled_from(parent.keys))
            found[child.name] = draw(_referring(found[child.name], parent, key, at, flavour))
    return tuple(found.values())


@st.composite
def _referring(draw: st.DrawFn, child: Table, parent: Table, key: tuple[str, ...], at: int, flavour: Flavour) -> Table:
    """The child with one more reference, over columns that it has or over new ones."""
    columns: list[str] = []
    new: list[Column] = []
    for place, name in enumerate(key):
        kind = parent.column(name).kind
        alike = [column.name for column in child.written if column.kind == kind and column.name not in columns]
        is_shared = draw(_rarely())
        if alike and is_shared:
            columns.append(draw(st.sampled_from(alike)))
            continue
        default = draw(st.sampled_from([None, None, flavour.kinds[kind].literals[0]]))
        nullable = not draw(_rarely())
        new.append(Column(f"r{at}{place}", kind, nullable, default, is_given=nullable or default is not None))
        columns.append(new[-1].name)
    may_be_null = all(column.nullable for column in (*child.columns, *new) if column.name in columns)
    reference = Reference(tuple(columns), parent.name, key, draw(_actions(flavour, may_be_null=may_be_null)))
    is_single = draw(_rarely())
    uniques = (((new[0].name,), ""),) if new and is_single else ()
    return replace(
        child,
        columns=(*child.columns, *new),
        references=(*child.references, reference),
        uniques=(*child.uniques, *uniques),
    )


def _actions(flavour: Flavour, *, may_be_null: bool) -> st.SearchStrategy[str]:
    """What happens to a reference.

    A column that is neither null nor put off, and gets its default with the parent's key, has no way back: the default
    has to be there until the column has changed, and what it changes to until the default is gone.
    """
    on_update = [word for word in flavour.on_update if may_be_null or word != "SET DEFAULT"]
    clauses = (("ON DELETE {}", flavour.on_delete), ("ON UPDATE {}", on_update), ("{}", flavour.timings))
    drawn = (st.sampled_from([clause.format(word) if word else "" for word in words]) for clause, words in clauses)
    return st.tuples(*drawn).map(lambda parts: " ".join(filter(None, parts)))


def _rarely() -> st.SearchStrategy[bool]:
    return st.sampled_from([False, False, False, True])


def _odd(**kinds: tuple[str, str]) -> dict[str, Kind]:
    """Kinds by name, each a type and values with `|` between them."""
    return {name: Kind(type_, tuple(values.split("|"))) for name, (type_, values) in kinds.items()}


_REFERENTIAL = ("", "CASCADE", "CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT")

SQLITE = Flavour(
    "sqlite",
    20,
    ("PRAGMA foreign_keys = 0", "DROP TABLE {}", "PRAGMA foreign_keys = 1"),
    {
        "number": Kind("INTEGER", NUMBERS, is_key=True),
        "word": Kind("TEXT", WORDS, is_key=True),
        "loose": Kind("TEXT COLLATE NOCASE", WORDS, is_key=True),
        **_odd(
            any=("", "1|1.0|'1'|x'31'|'x' || char(0) || 'y'|9e999"),
            numeric=("NUMERIC", "1|0.10|'1e3'|'x'|9223372036854775807"),
            real=("REAL", "1|0.1|'x'|1e300"),
            blob=("BLOB", "x''|x'ff00'|'x'|1"),
            padded=("TEXT COLLATE RTRIM", "'x'|'x '|'x  '|''"),
            json=("JSON", "'{\"a\": 1}'|'{\"a\":1}'|'null'"),
            moment=("TIMESTAMP", "'2024-05-01 12:00:00'|'2024-05-01T12:00:00Z'|1714564800"),
        ),
    },
    identities=("INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER PRIMARY KEY"),
    generated=("TEXT AS (upper({})) STORED", "TEXT AS ({} || '!')"),
    on_delete=_REFERENTIAL,
    on_update=_REFERENTIAL,
    timings=("", "DEFERRABLE INITIALLY DEFERRED"),
    suffixes=("", "", "WITHOUT ROWID"),
    alters=False,
)
POSTGRESQL = Flavour(
    "postgresql",
    8,
    ("SET lock_timeout = 5000", "DROP TABLE {} CASCADE", "RESET lock_timeout"),
    {
        "number": Kind("int", NUMBERS, is_key=True),
        "word": Kind("text", WORDS, is_key=True),
        "loose": Kind("text COLLATE loose", WORDS, is_key=True),
        **_odd(
            numeric=("numeric", "1|1.0|1.00|'NaN'|0.10"),
            double=("float8", "0.1|'-0'|'NaN'|'Infinity'|1e300"),
            single=("real", "0.1|16777217|'-0'"),
            bytes=("bytea", r"''|'\x00'|'\xff'"),
            moment=("timestamptz", "'2024-05-01 12:00:00.000001+02'|'infinity'|'0044-03-15 00:00:00+00 BC'"),
            json=("json", "'{\"a\": 1}'|'{\"a\":1}'|'null'"),
            jsonb=("jsonb", "'{\"a\": 1.0}'|'[1]'|'null'"),
            padded=("char(3)", "'x'|'x '|''"),
            numbers=("int[]", "'{}'|'{1,NULL}'|'[0:1]={1,2}'"),
            span=("interval", "'1 month'|'30 days'|'720 hours'"),
            range=("int4range", "'[1,3)'|'empty'|'(,5]'"),
        ),
    },
    identities=("int GENERATED BY DEFAULT AS IDENTITY", "serial"),
    generated=("text GENERATED ALWAYS AS (upper({})) STORED",),
    on_delete=_REFERENTIAL,
    on_update=_REFERENTIAL,
    timings=("", "DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"),
    unique_timings=("", "", "DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"),
    beforehand=("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",),
)
MARIADB = Flavour(
    "mariadb",
    3,
    ("SET foreign_key_checks = 0", "DROP TABLE {}", "SET foreign_key_checks = 1"),
    {
        "number": Kind("INT", NUMBERS, is_key=True),
        "word": Kind("VARCHAR(20)", WORDS, is_key=True),
        "loose": Kind("VARCHAR(20) COLLATE utf8mb4_nopad_bin", WORDS, is_key=True),
        **_odd(
            numeric=("DECIMAL(10,2)", "1|0.10|-99999999.99"),
            double=("DOUBLE", "0.1|1e300"),
            single=("FLOAT", "0.1|16777217|1e30"),
            bytes=("VARBINARY(9)", "''|x'00'|x'ff'"),
            moment=("DATETIME(6)", "'2024-05-01 12:00:00.000001'|'1000-01-01'|'9999-12-31 23:59:59.999999'"),
            json=("JSON", "'{\"a\": 1}'|'{\"a\":1}'|'null'"),
            padded=("CHAR(3)", "'x'|'X'|''"),
            choice=("ENUM('x','X ','y') COLLATE utf8mb4_bin", "'x'|'y'|'X '"),
            bits=("BIT(3)", "b'101'|b'0'|7"),
            large=("BIGINT UNSIGNED", "18446744073709551615|0|1"),
            time=("TIME(3)", "'-838:59:59.000'|'00:00:00.001'|'12:00'"),
        ),
    },
    identities=("INT AUTO_INCREMENT PRIMARY KEY",),
    generated=("VARCHAR(20) AS (UPPER({})) STORED", "VARCHAR(20) AS (CONCAT({}, '!')) VIRTUAL"),
    on_delete=("", "CASCADE", "CASCADE", "SET NULL", "RESTRICT"),
    on_update=("", "CASCADE", "CASCADE", "SET NULL", "RESTRICT"),
)
FLAVOURS = {flavour.name: flavour for flavour in (SQLITE, POSTGRESQL, MARIADB)}
