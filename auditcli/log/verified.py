"""What the last proof of the log came to: kept in the log, for whoever reads it or an export of it later."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from auditcli.clock import utc_text
from auditcli.log.meta import read_meta, write_meta
from auditcli.log.tables import LogTables

_META_NAME = "verified"


@dataclass(frozen=True, slots=True)
class Verified:
    """A run over all tables: when, up to which log id, and how many differences no recorded gap explains.

    `not_covered` rows could not be judged; `in_gaps` differences are explained.
    """

    at: datetime
    until_id: int
    differences: int
    in_gaps: int
    not_covered: int

    def to_json(self) -> dict[str, Any]:
        """The form in which the log and manifests hold it."""
        return {**asdict(self), "at": utc_text(self.at)}


def read_verified(connection: Connection, tables: LogTables) -> Verified | None:
    """The last proof; None where there was none yet."""
    text = read_meta(connection, tables, _META_NAME)
    if text is None:
        return None
    stored = json.loads(text)
    counts = {name: stored[name] for name in ("until_id", "differences", "in_gaps", "not_covered")}
    return Verified(datetime.fromisoformat(stored["at"]), **counts)


def write_verified(connection: Connection, tables: LogTables, verified: Verified) -> None:
    """Keep the outcome of a proof, in place of the one before it. The caller commits."""
    write_meta(connection, tables, {_META_NAME: json.dumps(verified.to_json(), sort_keys=True)})
