"""Which tables a statement in plain text writes to, as far as its words tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

_TOKEN = re.compile(
    r"""
      --[^\n]*                      # comment to the end of the line
    | /\*.*?(?:\*/|\Z)              # comment
    | '(?:[^']|'')*'                # text
    | (?P<quoted>"(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\])
    | (?P<word>[^\W\d][\w$]*)
    | (?P<sign>[.;(),])
    """,
    re.VERBOSE | re.DOTALL,
)
_DATA_VERBS = frozenset(
    {"INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "MERGE", "TRUNCATE", "COPY", "LOAD", "SELECT"}
)
_DEFINING_VERBS = frozenset({"CREATE", "ALTER", "DROP", "RENAME"})
_RUNNING_VERBS = frozenset({"CALL", "DO", "EXECUTE", "EXEC", "LOAD", "COPY"})
_READING_VERBS = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})
_HARMLESS = frozenset(
    {
        *("SELECT", "FROM", "WHERE", "AND", "OR", "NOT", "IN", "ANY", "ALL", "SOME", "EXISTS", "AS", "ON", "USING"),
        *("CASE", "WHEN", "THEN", "ELSE", "BETWEEN", "LIKE", "ILIKE", "IS", "BY", "HAVING", "VALUES", "UNION", "WITH"),
        *("DISTINCT", "OVER", "PARTITION", "FILTER", "JOIN", "LATERAL", "INTERSECT", "EXCEPT", "LIMIT", "OFFSET"),
        *("VARCHAR", "CHAR", "NUMERIC", "DECIMAL", "TIMESTAMP", "TIME", "INTERVAL", "BIT", "ARRAY", "ROW"),
        *("COUNT", "SUM", "MIN", "MAX", "AVG", "ROW_NUMBER", "RANK", "CAST", "COALESCE", "NULLIF", "GREATEST", "LEAST"),
        *("LOWER", "UPPER", "LENGTH", "SUBSTR", "SUBSTRING", "TRIM", "ROUND", "ABS", "CONCAT", "NOW", "EXTRACT"),
        *("DATE_TRUNC", "TO_CHAR", "VERSION", "CURRENT_SCHEMA", "CURRENT_DATABASE", "DATABASE", "CURRENT_SETTING"),
    }
)
"""Words before a bracket in a SELECT that call nothing that writes."""

_CONFLICT_WORDS = frozenset({"ROLLBACK", "ABORT", "REPLACE", "FAIL", "IGNORE"})
_FILLERS = frozenset({"INTO", "FROM", "TABLE", "ONLY", "LOW_PRIORITY", "DELAYED", "QUICK", "IGNORE", "HIGH_PRIORITY"})


@lru_cache(maxsize=2048)
def written_tables(sql: str) -> frozenset[str]:
    """The lower-case names of the tables that a statement inserts into, updates, deletes from or empties.

    Definitions (CREATE, ALTER, PRAGMA …) write no rows in this sense. A name with a schema counts by its last part.
    """
    if _first_word(sql) not in _DATA_VERBS:
        return frozenset()
    words = list(_words(sql))
    names = (_target(words, position) for position in range(len(words)))
    return frozenset(name.lower() for name in names if name is not None)


@lru_cache(maxsize=2048)
def runs_code(sql: str, *, functions: bool) -> bool:
    """Whether a statement runs what is stored in the database and may write anything.

    With `functions` that may be a SELECT which calls one that is not known to be harmless.
    """
    words = list(_words(sql))
    verb = next((word.upper() for word in words if word != ";"), "")
    if verb in _RUNNING_VERBS:
        return True
    if not functions or verb not in _READING_VERBS:
        return False
    called = {name.upper() for name, sign in pairwise(words) if sign == "("}
    return any(name.isidentifier() and name not in _HARMLESS for name in called)


@lru_cache(maxsize=2048)
def defines(sql: str) -> bool:
    """Whether a statement changes the schema."""
    return _first_word(sql) in _DEFINING_VERBS


@lru_cache(maxsize=2048)
def sets(sql: str) -> bool:
    """Whether a statement changes settings of the session."""
    return _first_word(sql) in ("SET", "RESET", "DISCARD")


@lru_cache(maxsize=2048)
def rolls_back(sql: str) -> bool:
    """Whether a statement ends a transaction, or a part of it, without its changes."""
    return _first_word(sql) == "ROLLBACK"


def words_in(sql: str) -> frozenset[str]:
    """The words and quoted names of a text, in lower case."""
    return frozenset(word.removeprefix('"').lower() for word in _words(sql))


def _first_word(sql: str) -> str:
    # Databases take empty statements before the one that counts.
    return next((word.upper() for word in _words(sql) if word != ";"), "")


def _words(sql: str) -> Iterator[str]:
    """Words as they stand, quoted names behind a `"`, and signs."""
    for token in _TOKEN.finditer(sql):
        quoted = token["quoted"]
        if quoted is not None:
            closing = quoted[-1]
            yield '"' + quoted[1:-1].replace(closing * 2, closing)
        elif token["word"] or token["sign"]:
            yield token[0]


def _target(words: Sequence[str], position: int) -> str | None:
    """The table that the verb at this place writes to, if it is such a verb."""
    verb = words[position].upper()
    if verb not in ("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "TRUNCATE", "COPY"):
        return None
    before = words[position - 1].upper() if position else ""
    if verb == "UPDATE" and before in ("FOR", "DO", "KEY", "ON"):
        return None
    return _name_after(words, position + 1)


def _name_after(words: Sequence[str], position: int) -> str | None:
    while position < len(words):
        word = words[position].upper()
        if word == "OR" and position + 1 < len(words) and words[position + 1].upper() in _CONFLICT_WORDS:
            position += 2
        elif word in _FILLERS:
            position += 1
        else:
            break
    parts: list[str] = []
    while position < len(words) and words[position] not in (".", ";", "(", ")", ","):
        parts.append(words[position].removeprefix('"'))
        if position + 1 >= len(words) or words[position + 1] != ".":
            break
        position += 2
    return parts[-1] if parts else None
