"""Which transactions of a PostgreSQL database write now, and whose they are."""

from __future__ import annotations

_WRITERS = """
FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
LEFT JOIN pg_prepared_xacts AS p ON p.transaction = l.transactionid
WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
AND COALESCE(a.datname, p.database, current_database()) = current_database()"""
# A transaction takes a lock on its own id; taking one to compare with at each look would burn millions a day.

RUNNING = f"SELECT CAST(l.transactionid AS text){_WRITERS}"

OPEN = f"""
SELECT CAST(l.transactionid AS text),
  COALESCE('pid ' || a.pid, 'the prepared transaction ' || quote_literal(p.gid), 'a session'),
  CAST(EXTRACT(EPOCH FROM clock_timestamp() - COALESCE(a.xact_start, p.prepared)) AS double precision),
  a.xact_start AT TIME ZONE 'UTC', COALESCE(a.usename, p.owner),
  NULLIF(concat_ws(' ', NULLIF(a.application_name, ''), host(a.client_addr)), ''), a.state,
  NULLIF(a.query, '<insufficient privilege>'){_WRITERS}"""

OBSTACLES = """
SELECT 'this server is a standby, which does not tell whose transactions are open', 'connect to the primary server'
WHERE pg_is_in_recovery()"""
