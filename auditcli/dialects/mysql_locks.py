"""Who holds locks on MariaDB and MySQL."""

from __future__ import annotations

HOLDERS = """
SELECT CONCAT(p.user, '@', p.host, ' (connection ', p.id, '), in a transaction for ',
  TIMESTAMPDIFF(SECOND, t.trx_started, NOW()), ' s', COALESCE(CONCAT(': ', LEFT(t.trx_query, 80)), ''))
FROM information_schema.innodb_trx AS t JOIN information_schema.processlist AS p ON p.id = t.trx_mysql_thread_id
WHERE p.id <> CONNECTION_ID() AND p.db = DATABASE() AND t.trx_rows_locked > 0 ORDER BY t.trx_started"""
"""Other sessions of the database that have locked rows, the oldest transaction first; which rows is not told."""
