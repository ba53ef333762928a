"""Who holds locks on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from auditcli.dialects.base import MARK, Fragment


def holders(tables: Sequence[str]) -> Fragment:
    """Other sessions with locks on these tables that are more than a reader's, the oldest transaction first."""
    return Fragment(
        f"""
SELECT format('%s (%s), in a transaction for %s s: %s', a.usename,
  concat_ws(', ', 'pid ' || a.pid, nullif(a.application_name, ''), host(a.client_addr)),
  round(extract(epoch FROM clock_timestamp() - a.xact_start)), left(regexp_replace(a.query, '\\s+', ' ', 'g'), 80))
FROM pg_stat_activity AS a WHERE a.pid <> pg_backend_pid() AND a.pid IN (
  SELECT l.pid FROM pg_locks AS l WHERE l.granted AND l.locktype = 'relation' AND l.mode <> 'AccessShareLock'
  AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
  AND l.relation IN ({", ".join([f"to_regclass({MARK})"] * len(tables))}))
ORDER BY a.xact_start""",
        tuple(tables),
    )
