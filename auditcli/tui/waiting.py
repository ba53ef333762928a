"""What was committed while nobody looks at the newest end of the list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from auditcli.model import Change
from auditcli.tui.window import MOST


class Waiting:
    """Changes in the order in which they came; of more than a list holds only how many there are.

    Where they are not all here (`is_all`) the list is to be read again.
    """

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.count = 0
        self.is_all = True
        self.stamps: tuple[datetime, datetime] | None = None
        """The oldest and the newest moment at which one of them was recorded."""

    def add(self, changes: Sequence[Change]) -> None:
        """More have come."""
        self.count += len(changes)
        stamps = [*(self.stamps or ()), *(change.timestamp for change in changes)]
        self.stamps = (min(stamps), max(stamps)) if stamps else None
        if self.is_all and len(self.changes) + len(changes) <= MOST:
            self.changes += changes
        elif changes:
            self.changes, self.is_all = [], False
