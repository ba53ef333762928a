"""Which transactions of a MariaDB or MySQL server have written and are open, and whose they are."""

from __future__ import annotations

# InnoDB tells when a transaction began on the clock of the server's zone, which may not be the session's.
_SECONDS = (
    "TIMESTAMPDIFF(MICROSECOND, t.trx_started, CONVERT_TZ(SYSDATE(6), @@session.time_zone, 'SYSTEM')) / 1000000e0"
)

OPEN = f"""
SELECT CAST(t.trx_started AS CHAR), CONCAT('connection ', t.trx_mysql_thread_id), {_SECONDS},
  UTC_TIMESTAMP(6) - INTERVAL CEILING({_SECONDS}) SECOND, p.user, p.host,
  CASE p.command WHEN 'Sleep' THEN 'idle in transaction' ELSE LOWER(p.command) END, t.trx_query
FROM information_schema.innodb_trx AS t LEFT JOIN information_schema.processlist AS p ON p.id = t.trx_mysql_thread_id
WHERE t.trx_rows_modified > 0 AND t.trx_mysql_thread_id <> CONNECTION_ID()"""

_QUOTED = "CONCAT(CHAR(39), REPLACE({}, '@', CONCAT(CHAR(39), '@', CHAR(39))), CHAR(39))"

SEES_OPEN = f"""
SELECT COUNT(*) FROM information_schema.user_privileges WHERE privilege_type = 'PROCESS'
AND grantee IN ({_QUOTED.format("CURRENT_USER()")}, {_QUOTED.format("CONCAT(CURRENT_ROLE(), '@')")})"""
