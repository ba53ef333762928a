"""Moving PostgreSQL's sequences past numbers that rows brought with them."""

from __future__ import annotations

from auditcli.dialects.base import MARK, Fragment

_FEW = 1000
"""So many numbers are drawn one by one: others may draw meanwhile, and to set a sequence could take it back."""

_ADVANCE = f"""
SELECT CASE
  WHEN NOT can_read THEN false
  WHEN ceil((past::numeric - pg_sequence_last_value(seqrelid)) / seqincrement) <= 0 THEN true
  WHEN NOT has_sequence_privilege(seqrelid, 'USAGE, UPDATE') THEN false
  ELSE (SELECT CASE
    WHEN left_over <= 0 THEN true
    WHEN left_over <= {_FEW} THEN (SELECT max(number) IS NOT NULL FROM (
      SELECT nextval(seqrelid) AS number FROM generate_series(1, left_over::bigint)) AS drawn)
    WHEN has_sequence_privilege(seqrelid, 'UPDATE') THEN setval(seqrelid, past) = past
    ELSE false END
    FROM (SELECT ceil((past::numeric - nextval(seqrelid)) / seqincrement) AS left_over OFFSET 0) AS first) END
FROM (
  SELECT seqrelid, seqincrement, past, has_sequence_privilege(seqrelid, 'USAGE, SELECT') AS can_read
  FROM pg_sequence CROSS JOIN LATERAL (
    SELECT CASE WHEN seqincrement > 0 THEN CAST({MARK} AS bigint) ELSE CAST({MARK} AS bigint) END AS past OFFSET 0
  ) AS brought
  WHERE seqrelid = to_regclass({MARK}) AND NOT seqcycle AND past BETWEEN seqmin AND seqmax OFFSET 0
) AS sequence"""


def advance(counter: str, lowest: int, highest: int) -> Fragment:
    """Moves a sequence past the highest number, or past the lowest one where it counts down; never back."""
    return Fragment(_ADVANCE, (highest, lowest, counter))
