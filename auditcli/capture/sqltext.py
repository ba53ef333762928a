"""What statements in plain text do, as far as their words tell: which tables they write to, and what else they run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from auditcli.dialects.lexis import Lexis

_ROW_VERBS = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "TRUNCATE", "COPY"})
_NO_VERB_BEHIND = frozenset({".", "@", ":", ",", "AS", "ON", "OR", "FOR", "KEY", "SELECT"})
"""Behind these a verb is a name, or part of a clause such as FOR UPDATE."""

_DEFINING_VERBS = frozenset({"CREATE", "ALTER", "DROP", "RENAME"})
_EXPLAINING_VERBS = frozenset({"EXPLAIN", "DESCRIBE", "DESC"})
_RUNNING_VERBS = frozenset({"CALL", "DO", "EXECUTE", "EXEC", "LOAD", "COPY"})
_READING_VERBS = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})
_ROUTINES = frozenset({"TRIGGER", "FUNCTION", "PROCEDURE", "EVENT"})
_BLOCKS = frozenset({"BEGIN", "CASE"})
_OTHER_BLOCKS = frozenset({"IF", "LOOP", "WHILE", "REPEAT", "FOR"})
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
_NO_NAMES = frozenset({"SET", "ON", "OF", "FROM", "JOIN"})
_CODE = re.compile(r"\\(?:\+((?:0[0-9a-f]|10)[0-9a-f]{4})|([0-9a-f]{4}))", re.IGNORECASE)
"""A letter in a name behind `U&`."""


@lru_cache(maxsize=2048)
def written_tables(sql: str, lexis: Lexis) -> frozenset[str]:
    """The lower-case names of the tables that a text inserts into, updates, deletes from or empties.

    Definitions (CREATE, ALTER, PRAGMA …) write no rows in this sense. A name with a schema counts by its last part.
    """
    found: set[str] = set()
    for statement in _statements(sql, lexis):
        if _writes_rows(statement):
            found.update(name.lower() for place in range(len(statement)) for name in _targets(statement, place))
        for code in _executed_texts(statement):
            found |= written_tables(code, lexis)
    return frozenset(found)


@lru_cache(maxsize=2048)
def runs_code(sql: str, lexis: Lexis, *, functions: bool) -> bool:
    """Whether a text runs what is stored in the database and may write anything.

    With `functions` that may be a SELECT which calls one that is not known to be harmless.
    """
    return any(
        _verb(statement) in _RUNNING_VERBS or (functions and _calls_function(statement))
        for statement in _statements(sql, lexis)
    )


def defines(sql: str, lexis: Lexis) -> bool:
    """Whether a text changes the schema."""
    return not _DEFINING_VERBS.isdisjoint(_verbs(sql, lexis))


def sets(sql: str, lexis: Lexis) -> bool:
    """Whether a text changes settings of the session."""
    return not {"SET", "RESET", "DISCARD"}.isdisjoint(_verbs(sql, lexis))


def rolls_back(sql: str, lexis: Lexis) -> bool:
    """Whether a text ends a transaction, or a part of it, without its changes."""
    return not {"ROLLBACK", "ABORT"}.isdisjoint(_verbs(sql, lexis))


@lru_cache(maxsize=2048)
def _verbs(sql: str, lexis: Lexis) -> frozenset[str]:
    return frozenset(map(_verb, _statements(sql, lexis)))


def _verb(statement: Sequence[str]) -> str:
    return next((word.upper() for word in statement if word != "("), "")


@lru_cache(maxsize=64)
def _statements(sql: str, lexis: Lexis) -> tuple[tuple[str, ...], ...]:
    """The words of each statement; what stands in brackets or in the body of a routine is no statement of its own."""
    found: list[list[str]] = [[]]
    depth = 0
    for word in _words(sql, lexis):
        if word == ";" and depth == 0:
            found.append([])
            continue
        found[-1].append(word)
        depth = max(0, depth + _deepening(found[-1]))
    return tuple(tuple(statement) for statement in found if statement)


def _deepening(statement: Sequence[str]) -> int:
    """How many levels the last word leads into a body, or out of it."""
    word = statement[-1].upper()
    if word in ("(", ")"):
        return 1 if word == "(" else -1
    if not _defines_routine(statement):
        return 0
    if len(statement) > 1 and statement[-2].upper() == "END":
        return int(word in _OTHER_BLOCKS)
    return 1 if word in _BLOCKS else -int(word == "END")


def _defines_routine(statement: Sequence[str]) -> bool:
    return _verb(statement) == "CREATE" and any(word.upper() in _ROUTINES for word in statement[:10])


def _writes_rows(statement: Sequence[str]) -> bool:
    """Whether verbs inside the statement are obeyed when it runs."""
    verb = _verb(statement)
    words = [word.upper() for word in statement]
    if verb in _EXPLAINING_VERBS:
        return "ANALYZE" in words
    # A table may be made of the rows that a DELETE returns; other definitions only say what will run some day.
    makes_table = verb == "CREATE" and "TABLE" in words[:6] and not _defines_routine(statement)
    return makes_table or verb not in _DEFINING_VERBS


def _executed_texts(statement: Sequence[str]) -> Iterator[str]:
    """The quoted texts that the statement runs."""
    all_are = _verb(statement) in ("DO", "PREPARE")
    for before, word in pairwise(statement):
        if word[0] == "'" and (all_are or before.upper() in ("EXECUTE", "IMMEDIATE")):
            yield word[1:]


def _calls_function(statement: Sequence[str]) -> bool:
    if _verb(statement) not in _READING_VERBS:
        return False
    called = {name.upper() for name, sign in pairwise(statement) if sign == "("}
    return any(name[0] == '"' or (name.isidentifier() and name not in _HARMLESS) for name in called)


def _targets(words: Sequence[str], place: int) -> Iterator[str]:
    """The tables that the verb at this place writes to, if it is such a verb."""
    verb = words[place].upper()
    before = words[place - 1].upper() if place else ""
    if verb == "TABLE" and before == "INTO" and _verb(words) == "LOAD":
        yield from _names(words, place + 1)
    if verb not in _ROW_VERBS or (before in _NO_VERB_BEHIND and (before, _verb(words)) != ("AS", "PREPARE")):
        return
    if verb == "COPY" and "FROM" not in (word.upper() for word in words[place:]):
        return
    names = list(_names(words, place + 1))
    yield from names
    if verb == "UPDATE":
        yield from _joined(words, place + 1)
    elif verb == "DELETE":
        plain = [word for word in words if word.upper() != "AS"]
        yield from (table for table, alias in pairwise(plain) if alias in names and _is_name(table))


def _joined(words: Sequence[str], place: int) -> Iterator[str]:
    """The other tables of an UPDATE of many, any of which it may write to."""
    for at, word in enumerate(words[place:], place + 1):
        if word.upper() == "SET":
            return
        if word.upper() in (",", "JOIN"):
            yield from _names(words, at)


def _names(words: Sequence[str], place: int) -> Iterator[str]:
    """The table names at this place: one, or many with commas between them."""
    place = _past_fillers(words, place)
    path: list[str] = []
    while place < len(words) and _is_name(words[place]):
        path.append(words[place][1:] if words[place][0] in "\"'" else words[place])
        place += 1
        if words[place : place + 1] != (".",):
            break
        place += 1
    if path:
        yield path[-1]
        place += words[place : place + 1] == ("*",)
        if words[place : place + 1] == (",",):
            yield from _names(words, place + 1)


def words_in(sql: str, lexis: Lexis) -> frozenset[str]:
    """The words and quoted names of a text, in lower case."""
    return frozenset(word.removeprefix('"').lower() for word in _words(sql, lexis) if word[0] != "'")


def _past_fillers(words: Sequence[str], place: int) -> int:
    while place < len(words):
        word = words[place].upper()
        if word == "OR" and place + 1 < len(words) and words[place + 1].upper() in _CONFLICT_WORDS:
            place += 2
        elif word in _FILLERS:
            place += 1
        else:
            break
    return place


def _is_name(word: str) -> bool:
    return word.upper() not in _NO_NAMES and (word[0] in "\"'$_" or word[0].isalnum() or word[0] > "\x7f")


def _words(sql: str, lexis: Lexis) -> Iterator[str]:
    """Words as they stand, quoted names behind a `"`, quoted texts behind a `'`, and signs."""
    token, place, is_executed = _token(lexis), 0, False
    while found := token.search(sql, place):
        place = found.end()
        if found["executed"] or (is_executed and sql.startswith("*/", found.start())):
            is_executed = bool(found["executed"])
            place = found.end() if is_executed else found.start() + 2
        elif found["block"]:
            place = _comment_end(sql, place, nests=lexis.nests)
        elif found["name"]:
            yield '"' + _unquoted_name(found[0])
        elif found["text"]:
            yield "'" + _unquoted_text(found[0])
        elif not found["comment"]:
            yield found["word"] or found[0][0]


@lru_cache(maxsize=16)
def _token(lexis: Lexis) -> re.Pattern[str]:
    kinds = {
        "comment": lexis.comment,
        "executed": lexis.executed,
        "block": r"/\*",
        "text": lexis.text,
        "name": lexis.name,
        "parameter": r"%\(\w+\)s",
        # Whatever is not ASCII is part of a word, on every database.
        "word": r"[\w$\x80-\U0010ffff]+",
        "sign": r"\S",
    }
    return re.compile("|".join(f"(?P<{kind}>{expression})" for kind, expression in kinds.items()), re.DOTALL)


def _comment_end(sql: str, place: int, *, nests: bool) -> int:
    depth = 1
    for mark in re.compile(r"/\*|\*/").finditer(sql, place):
        depth += (1 if nests else 0) if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(sql)


def _unquoted_name(quoted: str) -> str:
    opening = 2 if quoted[1:2] == "&" else 0
    name = quoted[opening + 1 : -1].replace(quoted[-1] * 2, quoted[-1])
    return _CODE.sub(lambda code: chr(int(code[1] or code[2], 16)), name) if opening else name


def _unquoted_text(quoted: str) -> str:
    """What is inside, well enough to find the words in it."""
    if quoted[0] == "$":
        return quoted[quoted.index("$", 1) + 1 :]
    text = quoted[quoted.index(quoted[-1]) + 1 : -1] if quoted[-1] in "'\"" else quoted
    return re.sub(r"\\(.)", lambda escaped: " " if escaped[1] in "nrt" else escaped[1], text.replace("''", "'"))
