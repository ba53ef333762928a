"""A logged rollback in the way of E-Maj, which need not be installed: its log table, its trigger, its statements."""

from __future__ import annotations

from sqlalchemy import Engine

from benchmarks.places import CREATE
from benchmarks.rounds import seconds

_LOG = """
CREATE TABLE emaj_item_log (LIKE emaj_item, emaj_verb varchar(3), emaj_tuple varchar(3), emaj_gid bigserial,
  emaj_changed timestamptz DEFAULT clock_timestamp(), emaj_txid bigint DEFAULT txid_current(),
  emaj_user varchar(32) DEFAULT session_user, PRIMARY KEY (emaj_gid, emaj_tuple));
CREATE FUNCTION emaj_item_log() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE gid bigint := nextval('emaj_item_log_emaj_gid_seq');
BEGIN
  IF TG_OP = 'UPDATE' THEN
    INSERT INTO emaj_item_log SELECT OLD.*, 'UPD', 'OLD', gid;
    INSERT INTO emaj_item_log SELECT NEW.*, 'UPD', 'NEW', gid;
    RETURN NEW;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO emaj_item_log SELECT OLD.*, 'DEL', 'OLD', gid;
    RETURN OLD;
  END IF;
  INSERT INTO emaj_item_log SELECT NEW.*, 'INS', 'NEW', gid;
  RETURN NEW;
END $$;
CREATE TRIGGER emaj_log AFTER INSERT OR UPDATE OR DELETE ON emaj_item FOR EACH ROW EXECUTE FUNCTION emaj_item_log();
"""
_COLUMNS = "id, name, album_id, genre_id, composer, milliseconds, size, price"
_LEAVE = """
CREATE TEMP TABLE emaj_keys ON COMMIT DROP AS
  SELECT id, min(emaj_gid) AS emaj_gid FROM emaj_item_log WHERE emaj_gid > {since} GROUP BY id;
ANALYZE emaj_keys;
DELETE FROM emaj_item USING emaj_keys AS k WHERE emaj_item.id = k.id;
"""
_COME_BACK = """
INSERT INTO emaj_item SELECT {columns} FROM emaj_item_log AS l JOIN emaj_keys USING (id, emaj_gid)
  WHERE l.emaj_tuple = 'OLD'
"""


class EMajWay:
    """One table that is logged so."""

    def __init__(self, engine: Engine, rows: int) -> None:
        self._engine = engine
        with engine.begin() as connection:
            connection.exec_driver_sql(CREATE.replace("item", "emaj_item"))
            connection.exec_driver_sql(f"INSERT INTO emaj_item SELECT {_COLUMNS} FROM item")
            connection.exec_driver_sql(_LOG)
        self._rows = rows

    def rolled_back_seconds(self) -> float:
        """Change all rows, and take that back; only the latter is counted."""
        with self._engine.begin() as connection:
            since = connection.exec_driver_sql("SELECT COALESCE(max(emaj_gid), 0) FROM emaj_item_log").scalar_one()
            connection.exec_driver_sql("UPDATE emaj_item SET price = price + 1")
        return seconds(lambda: self._roll_back(since))

    def _roll_back(self, since: int) -> None:
        with self._engine.begin() as connection:
            connection.exec_driver_sql(_LEAVE.format(since=since))
            done = connection.exec_driver_sql(_COME_BACK.format(columns=_COLUMNS)).rowcount
        if done != self._rows:
            raise AssertionError(f"{done} of {self._rows} rows")
