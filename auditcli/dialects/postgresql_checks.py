"""What PostgreSQL can be asked about the completeness of a log."""

from __future__ import annotations

from auditcli.dialects.capture import LogNames
from auditcli.dialects.checks import Check
from auditcli.dialects.postgresql_text import literal, schema_sql

_SCHEMA = "NULLIF(n.nspname, current_schema())"
_TABLES = "pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"


def checks(log: LogNames, row_trigger: str, truncate_trigger: str) -> list[Check]:
    """All questions."""
    return [*_of_log(log), *_of_tables(row_trigger, truncate_trigger)]


def _of_log(log: LogNames) -> list[Check]:
    schema, name = schema_sql(log.changelog), literal(log.changelog.name)
    of_log = f"n.nspname = {schema} AND (c.relname = {name} OR starts_with(c.relname, {name} || '_'))"
    return [
        Check(
            "no-right",
            f"""SELECT {_SCHEMA}, c.relname, current_user, r.rolname FROM {_TABLES} JOIN pg_roles AS r
              ON r.oid = c.relowner WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
              AND NOT pg_has_role(c.relowner, 'USAGE') AND n.nspname !~ '^(pg_|information_schema$)'
              AND NOT ({of_log})""",
            "{0} is not its owner and can't install triggers that always fire",
            "run audit init as {1}, or GRANT {1} TO {0}",
        ),
        Check(
            "sequence-cache",
            f"""SELECT NULL, NULL, s.seqrelid::regclass::text, s.seqcache FROM pg_sequence AS s
              JOIN pg_depend AS d ON d.objid = s.seqrelid AND d.deptype IN ('a', 'i') JOIN {_TABLES}
              ON c.oid = d.refobjid WHERE s.seqcache > 1 AND n.nspname = {schema} AND c.relname = {name}""",
            "the sequence {0} hands out {1} ids at a time: they don't follow the order of the writes",
            "ALTER SEQUENCE {0} CACHE 1",
        ),
        Check(
            "published",
            f"""SELECT NULL, NULL, p.pubname, string_agg(c.relname, ', ' ORDER BY c.relname)
              FROM pg_publication_tables AS p JOIN {_TABLES} ON n.nspname = p.schemaname AND c.relname = p.tablename
              WHERE {of_log} GROUP BY p.pubname""",
            "the publication {0} carries the log ({1}): a subscriber with triggers of its own has each change twice",
            "publish the tables by name instead of the log's, or leave the subscriber without triggers",
        ),
    ]


def _of_tables(row_trigger: str, truncate_trigger: str) -> list[Check]:
    return [
        Check(
            "subscribed",
            f"""SELECT {_SCHEMA}, c.relname, s.subname FROM pg_subscription_rel AS e
              JOIN pg_subscription AS s ON s.oid = e.srsubid JOIN {_TABLES} ON c.oid = e.srrelid""",
            "the subscription {0} writes it: its changes are recorded, with the subscription's owner as actor",
            "nothing to do",
            needs_doing=False,
        ),
        Check(
            "partition",
            f"""SELECT {_SCHEMA}, c.relname, l.relid::regclass::text FROM {_TABLES}
              CROSS JOIN pg_partition_tree(c.oid) AS l WHERE c.relkind = 'p' AND NOT c.relispartition AND l.isleaf
              AND EXISTS (SELECT 1 FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgname = {literal(row_trigger)})
              AND NOT EXISTS (
                SELECT 1 FROM pg_trigger AS t WHERE t.tgrelid = l.relid AND t.tgname = {literal(truncate_trigger)})""",
            "a TRUNCATE of its partition {0} would go unseen",
            "audit init",
        ),
        Check(
            "unlogged",
            f"""SELECT {_SCHEMA}, c.relname FROM {_TABLES}
              WHERE c.relpersistence = 'u' AND c.relkind IN ('r', 'p')""",
            "is unlogged: a crash empties it, which no trigger sees",
            "ALTER TABLE {table} SET LOGGED",
            needs_doing=False,
        ),
        Check(
            "foreign-table",
            f"SELECT {_SCHEMA}, c.relname FROM {_TABLES} WHERE c.relkind = 'f'",
            "is a foreign table: what others write there is not seen",
            "record it in its own database",
            needs_doing=False,
        ),
    ]
