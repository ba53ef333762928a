"""The change log's public face for SQLAlchemy users; apart from the tables, since the ORM takes long to import."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import DeclarativeBase, Mapped

from auditcli.log.tables import log_tables


class _LogBase(DeclarativeBase):
    metadata = log_tables().metadata


class ChangeLog(_LogBase):
    """One change of one row, as recorded in the log under its default name.

    Read it with plain SQLAlchemy: `select(ChangeLog).where(ChangeLog.table_name == "Track")`. `timestamp` is an aware
    UTC datetime on every database; `before` and `after` are dicts in the form that `auditcli.codec` describes.
    """

    __table__ = log_tables().changelog

    id: Mapped[int]
    transaction_id: Mapped[str | None]
    timestamp: Mapped[datetime]
    actor: Mapped[str | None]
    table_schema: Mapped[str | None]
    table_name: Mapped[str]
    row_id: Mapped[str | None]
    old_row_id: Mapped[str | None]
    event_type: Mapped[str]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    source: Mapped[str]

    def __repr__(self) -> str:
        return f"ChangeLog(id={self.id}, {self.event_type} {self.table_name}/{self.row_id} by {self.actor})"
