"""In which order MariaDB and MySQL commit the records of a log, as far as it can be asked."""

from __future__ import annotations

from auditcli.dialects.mysql_checks import MAKE_TRANSACTIONAL
from auditcli.dialects.mysql_shapes import IS_TRANSACTIONAL
from auditcli.dialects.mysql_text import literal
from auditcli.model import TableName

RUNNING_WRITERS_SQL = """SELECT /* {stamp} */ DISTINCT
CASE WHEN LOCATE('{stamp}', t.trx_query) > 0 THEN '{stamp}' ELSE CAST(t.trx_started AS CHAR) END
FROM information_schema.innodb_trx AS t
LEFT JOIN information_schema.processlist AS p ON p.id = t.trx_mysql_thread_id
WHERE LOCATE('{stamp}', t.trx_query) > 0
OR (t.trx_lock_structs > 0 OR t.trx_rows_modified > 0) AND COALESCE(p.db, DATABASE()) = DATABASE()"""
"""Who has a log id has changed or locked a row before. A transaction goes by its start: that alone never changes.

Those of connections to other databases are left out: they may take hours, and hardly ever write here.
InnoDB answers with what it told before where somebody asked within the last 100 ms; a new answer has this query in it.
"""


def obstacles_sql(log_table: TableName) -> str:
    """Lists what gives out ids in another order than that of the writes, or keeps what was rolled back."""
    table = log_table.name
    return f"""SELECT CONCAT('auto_increment_increment is ', n.step, ': several servers write'),
  'read where one server writes, with auto_increment_increment = 1'
FROM (SELECT GREATEST(@@SESSION.auto_increment_increment, @@GLOBAL.auto_increment_increment) AS step) AS n
WHERE n.step > 1
UNION ALL SELECT CONCAT('the engine of {table} is ', t.engine, ', which has no transactions'),
  {literal(MAKE_TRANSACTIONAL.format(table=table))}
FROM information_schema.tables AS t
WHERE t.table_schema = DATABASE() AND t.table_name = {literal(table)} AND NOT {IS_TRANSACTIONAL}"""
