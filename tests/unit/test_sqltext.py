"""What is found in plain text: every write, wherever quotes and comments hide it, and nothing that is none."""

from __future__ import annotations

import pytest

from auditcli.capture.sqltext import defines, rolls_back, runs_code, sets, written_tables
from auditcli.dialects import dialect_named, mysql_text, postgresql_text
from auditcli.dialects.lexis import Lexis

LEXES: dict[str, Lexis] = {
    "sqlite": dialect_named("sqlite").lexis(None),
    "postgresql": postgresql_text.LEXIS,
    "postgresql without standard strings": postgresql_text.LEXIS_WITH_ESCAPES,
    "mariadb": mysql_text.LEXIS,
    "mariadb without escapes": mysql_text.LEXIS_WITHOUT_ESCAPES,
}
POSTGRESQL = ("postgresql", "postgresql without standard strings")
MARIADB = ("mariadb", "mariadb without escapes")
ALL = tuple(LEXES)

WRITES: list[tuple[tuple[str, ...], str]] = [
    (ALL, "UPDATE item SET n = 1"),
    (ALL, "insert into Item (n) values (1)"),
    (ALL, "DELETE FROM item"),
    (ALL, 'DELETE FROM "item"'),
    (ALL, "DELETE\nFROM\tmain.item WHERE n = '\n'"),
    (ALL, "SELECT 1; UPDATE item SET n = 1"),
    (ALL, "CREATE TABLE more (n int); UPDATE item SET n = 1"),
    (ALL, "SET x = 1; ; DELETE FROM item"),
    (ALL, "BEGIN; DELETE FROM item; COMMIT"),
    (ALL, "SELECT ';'; DELETE FROM item"),
    (ALL, "SELECT 'it''s'; DELETE FROM item WHERE name = 'x'"),
    (ALL, "SELECT ''';'; DELETE FROM item WHERE name = ''''"),
    (ALL, "-- it's\nDELETE FROM item WHERE name = 'x'"),
    (ALL, "/* it's */ DELETE FROM item WHERE name = 'x'"),
    (ALL, "/* -- */ DELETE FROM item"),
    (ALL, "SELECT '/*'; DELETE FROM item WHERE name = '*/'"),
    (ALL, "SELECT '--'; DELETE FROM item"),
    (ALL, "DELETE/**/FROM/**/item"),
    (ALL, "WITH a AS (SELECT 'x'), b AS (DELETE FROM item RETURNING *) SELECT * FROM b"),
    (ALL, "SELECT * FROM x WHERE n = %(n)s; DELETE FROM item WHERE n = %(m)s"),
    (ALL, "UPDATE 2024_item SET n = 1"),
    (ALL, "DELETE FROM tee_\u00a0\N{TEACUP WITHOUT HANDLE}"),
    (("sqlite",), "DELETE FROM [item]"),
    (("sqlite",), "DELETE FROM `item`"),
    (("sqlite",), "DELETE FROM 'item'"),
    (("sqlite",), "SELECT '\\'; DELETE FROM item WHERE name = '\\'"),
    (("sqlite",), "INSERT OR REPLACE INTO item VALUES (1)"),
    (("sqlite",), "UPDATE OR IGNORE item SET n = 1"),
    (("sqlite",), "SELECT 1 AS [it's]; DELETE FROM item WHERE name = 'x'"),
    (POSTGRESQL, "SELECT E'\\''; DELETE FROM item WHERE name = 'x'"),
    (POSTGRESQL, "SELECT e'a'\n  '\\''; DELETE FROM item WHERE name = 'x'"),
    (POSTGRESQL, "SELECT $$it's$$; DELETE FROM item WHERE name = 'x'"),
    (POSTGRESQL, "SELECT $a$ $$ ' $a$; DELETE FROM item WHERE name = 'x'"),
    (POSTGRESQL, "SELECT a$b$c FROM x; DELETE FROM item WHERE name = '$b$'"),
    (POSTGRESQL, "SELECT $1; DELETE FROM item WHERE n = $2"),
    (POSTGRESQL, "/* a /* b */ ' */ DELETE FROM item WHERE name = 'x'"),
    (POSTGRESQL, "/*/* */*/ DELETE FROM item"),
    (POSTGRESQL, "-- it's\rDELETE FROM item WHERE name = 'x'"),
    (POSTGRESQL, "SELECT ARRAY[']']; DELETE FROM item WHERE name = '['"),
    (POSTGRESQL, "SELECT 1 # 2; DELETE FROM item"),
    (POSTGRESQL, "SELECT 1 AS \"it's\"; DELETE FROM item WHERE name = 'x'"),
    (POSTGRESQL, 'DELETE FROM ONLY public . "item"'),
    (POSTGRESQL, 'DELETE FROM U&"\\0069te\\+00006d"'),
    (POSTGRESQL, "TRUNCATE other, ONLY public.item * RESTART IDENTITY"),
    (POSTGRESQL, "COPY item (n) FROM STDIN"),
    (POSTGRESQL, "COPY (DELETE FROM item RETURNING *) TO STDOUT"),
    (POSTGRESQL, "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM item"),
    (POSTGRESQL, "CREATE TABLE gone AS WITH d AS (DELETE FROM item RETURNING *) SELECT * FROM d"),
    (POSTGRESQL, "PREPARE p AS DELETE FROM item"),
    (POSTGRESQL, "DO $$ BEGIN UPDATE item SET n = 1; END $$"),
    (POSTGRESQL, "DO LANGUAGE plpgsql 'BEGIN EXECUTE ''DELETE FROM item''; END'"),
    (POSTGRESQL, "DO $$ BEGIN IF true THEN DELETE FROM item; END IF; END $$"),
    (POSTGRESQL, "MERGE INTO item USING x ON true WHEN MATCHED THEN UPDATE SET n = 1"),
    (POSTGRESQL, "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$; DELETE FROM item"),
    (POSTGRESQL, "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC DELETE FROM x; DELETE FROM x; END; DELETE FROM item"),
    (POSTGRESQL, "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE 1 WHEN 1 THEN 2 END; END; DELETE FROM item"),
    (POSTGRESQL[:1], "SELECT '\\'; DELETE FROM item WHERE name = '\\'"),
    (POSTGRESQL[1:], "SELECT '\\''; DELETE FROM item WHERE name = 'x'"),
    (MARIADB, "DELETE FROM `item`"),
    (MARIADB, "SELECT 1 AS `it's \"`; DELETE FROM item WHERE name = 'x' OR name = \"y\""),
    (MARIADB, "# it's\nDELETE FROM item WHERE name = 'x'"),
    (MARIADB, "SELECT 2--1; DELETE FROM item"),
    (MARIADB, "SELECT 1 --\nFROM x; DELETE FROM item"),
    (MARIADB, "/*! DELETE FROM item */"),
    (MARIADB, "/*!50000 DELETE */ FROM item"),
    (MARIADB, "/*M!100100 DELETE FROM /* it's */ item */ WHERE name = 'x'"),
    (MARIADB, "SELECT 2*/* it's */3; DELETE FROM item WHERE name = 'x'"),
    (MARIADB, "SELECT \"it's\"; DELETE FROM item WHERE name = 'x'"),
    (MARIADB, "SELECT 'say \"'; DELETE FROM item WHERE name = '\"'"),
    (MARIADB, "EXECUTE IMMEDIATE 'DELETE FROM item'"),
    (MARIADB, "PREPARE p FROM 'DELETE FROM item'"),
    (MARIADB, "BEGIN NOT ATOMIC DELETE FROM x; DELETE FROM item; END"),
    (MARIADB, "ANALYZE FORMAT=JSON DELETE FROM item"),
    (MARIADB, "LOAD DATA LOCAL INFILE 'x' INTO TABLE item"),
    (MARIADB, "LOAD DATA INFILE 'x' REPLACE INTO TABLE item FIELDS TERMINATED BY ','"),
    (MARIADB, "UPDATE x JOIN item ON x.n = item.n SET item.n = 1"),
    (MARIADB, "UPDATE x AS a, item AS b SET b.n = 1"),
    (MARIADB, "DELETE x, item.* FROM x JOIN item"),
    (MARIADB, "DELETE b FROM x AS a JOIN item AS b ON a.n = b.n"),
    (MARIADB, "DELETE FROM b USING x a JOIN item b ON a.n = b.n"),
    (
        MARIADB,
        "CREATE TRIGGER t AFTER INSERT ON x FOR EACH ROW BEGIN IF 1 THEN SET @a = 1; END IF; END; DELETE FROM item",
    ),
    (MARIADB[:1], "SELECT '\\''; DELETE FROM item WHERE name = 'x'"),
    (MARIADB[:1], 'SELECT "\\""; DELETE FROM item WHERE name = "x"'),
    (MARIADB[1:], "SELECT '\\'; DELETE FROM item WHERE name = '\\'"),
]

HARMLESS: list[tuple[tuple[str, ...], str]] = [
    (ALL, "SELECT 'DELETE FROM item'"),
    (ALL, "SELECT 'it''s; DELETE FROM item'"),
    (ALL, "SELECT 1 -- ; DELETE FROM item"),
    (ALL, "SELECT 1 /* ; DELETE FROM item */"),
    (ALL, "SELECT 1 /* ' */; SELECT '; DELETE FROM item'"),
    (ALL, "EXPLAIN DELETE FROM item"),
    (ALL, "SELECT delete FROM item"),
    (ALL, "SELECT n AS update, x.delete, delete FROM item"),
    (ALL, "SELECT replace(n, 'a', 'b'), insert(n, 1, 2, 'x'), truncate(n, 0) FROM item"),
    (ALL, "SELECT * FROM item FOR UPDATE"),
    (ALL, "SELECT * FROM item FOR NO KEY UPDATE OF item"),
    (ALL, "INSERT INTO x SELECT * FROM item ON CONFLICT DO UPDATE SET n = 1"),
    (ALL, "INSERT INTO x SELECT * FROM item ON DUPLICATE KEY UPDATE n = 1"),
    (ALL, "CREATE TABLE x (item_id int REFERENCES item (id) ON DELETE CASCADE ON UPDATE SET NULL, n int AS (1))"),
    (ALL, "CREATE TRIGGER t AFTER UPDATE ON item BEGIN DELETE FROM x; DELETE FROM item; END"),
    (ALL, "GRANT SELECT, INSERT, UPDATE, DELETE ON item TO app"),
    (ALL, "SAVEPOINT update"),
    (ALL, "SELECT ':delete', %(delete)s FROM item"),
    (("sqlite",), "SELECT 1 AS [; DELETE FROM item]"),
    (("sqlite",), "SELECT :update, @delete FROM item"),
    (("sqlite",), "CREATE TABLE x AS SELECT * FROM item"),
    (POSTGRESQL, "SELECT $$; DELETE FROM item$$"),
    (POSTGRESQL, "SELECT $a$; DELETE FROM item $$ $a$"),
    (POSTGRESQL, "SELECT E'\\'; DELETE FROM item'"),
    (POSTGRESQL, "SELECT 1 /* a /* b */ ; DELETE FROM item */"),
    (POSTGRESQL, 'SELECT 1 AS "; DELETE FROM item"'),
    (POSTGRESQL, "COPY item TO STDOUT"),
    (POSTGRESQL, "COPY (SELECT * FROM item) TO STDOUT"),
    (POSTGRESQL, "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DELETE FROM item; DELETE FROM item $$"),
    (POSTGRESQL, "CREATE FUNCTION f() RETURNS void BEGIN ATOMIC DELETE FROM x; DELETE FROM item; END"),
    (POSTGRESQL, "CREATE RULE r AS ON INSERT TO x DO (DELETE FROM x; DELETE FROM item)"),
    (POSTGRESQL, "DO $$ BEGIN PERFORM count(*) FROM item; RAISE NOTICE 'DELETE FROM item'; END $$"),
    (POSTGRESQL, "DELETE FROM x USING item WHERE x.id = item.id"),
    (POSTGRESQL, "UPDATE x SET n = item.n FROM item, y WHERE x.id = item.id"),
    (POSTGRESQL[:1], "SELECT '\\', '; DELETE FROM item'"),
    (POSTGRESQL[1:], "SELECT '\\'; DELETE FROM item'"),
    (MARIADB, 'SELECT "; DELETE FROM item"'),
    (MARIADB, "SELECT 1 # ; DELETE FROM item"),
    (MARIADB, "SELECT 2*/* ; DELETE FROM item */3"),
    (MARIADB, "SELECT /*+ x */ 1 AS `; DELETE FROM item`"),
    (MARIADB, "DELETE a FROM x AS a JOIN item AS b ON a.n = b.n"),
    (MARIADB, "CREATE PROCEDURE p() BEGIN WHILE 1 DO DELETE FROM x; END WHILE; DELETE FROM item; END"),
    (MARIADB[:1], "SELECT '\\'; DELETE FROM item'"),
    (MARIADB[1:], "SELECT '\\', '; DELETE FROM item'"),
]


def _cases(listed: list[tuple[tuple[str, ...], str]]) -> list[tuple[str, str]]:
    return [(database, sql) for databases, sql in listed for database in databases]


@pytest.mark.parametrize(("database", "sql"), _cases(WRITES))
def test_a_write_is_found(database: str, sql: str) -> None:
    names = {"item", "2024_item", "tee_\u00a0\N{TEACUP WITHOUT HANDLE}"}

    assert written_tables(sql, LEXES[database]) & names


@pytest.mark.parametrize(("database", "sql"), _cases(HARMLESS))
def test_what_does_not_write_is_not_taken_for_a_write(database: str, sql: str) -> None:
    assert "item" not in written_tables(sql, LEXES[database])


@pytest.mark.parametrize(
    ("sql", "calls"),
    [
        ("SELECT write_it()", True),
        ('SELECT "Write It"()', True),
        ("(SELECT write_it())", True),
        ("SELECT ARRAY[write_it()]", True),
        ("SELECT 1; CALL write_it()", True),
        ("SELECT count(*), (SELECT max(n) FROM item) FROM item WHERE n IN (1, 2)", False),
        ("SELECT n FROM item WHERE id = %(id)s::INTEGER", False),
        ("SELECT 'write_it()', $$write_it()$$", False),
    ],
)
def test_a_call_of_what_may_write_is_found(sql: str, calls: bool) -> None:
    assert runs_code(sql, postgresql_text.LEXIS, functions=True) is calls


def test_every_statement_of_a_text_counts() -> None:
    text = "SELECT 'it''s'; CREATE TABLE x (n int); SET x = 1; ROLLBACK"

    assert defines(text, LEXES["postgresql"])
    assert sets(text, LEXES["postgresql"])
    assert rolls_back(text, LEXES["postgresql"])


@pytest.mark.parametrize(
    "sql", ["", ";", "'", '"', "$a$", "/*", "E'\\", 'U&"\\zzzz"', "DELETE", "UPDATE a.", ")))", "END"]
)
@pytest.mark.parametrize("database", ALL)
def test_broken_text_is_left_to_the_database(database: str, sql: str) -> None:
    assert written_tables(sql, LEXES[database]) <= {"a"}
