"""What an error of the database means to somebody whose plan was not applied; nothing was written then.

Part of `apply.py`, which has ended the transaction by then.
"""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from auditcli.applying.retrying import TRIES
from auditcli.dialects import Dialect
from auditcli.driver import run
from auditcli.errors import AuditError, ConnectionLost, LockTimeout, ReadOnly
from auditcli.plan import Plan

_MOST_NAMED = 3


def explained(connection: Connection, dialect: Dialect, plan: Plan, error: DBAPIError) -> AuditError:
    """The error in our own words: what, of which target, and the way out."""
    if dialect.is_lock_timeout(error):
        held = _held_by(connection, dialect, plan)
        hint = f"try again, or wait longer with --lock-timeout SECONDS; {dialect.lock_holder_hint()}"
        return LockTimeout(f"{plan.target} is locked{held}; nothing was written", hint=hint)
    if dialect.lost_race(error):
        message = f"nothing was written: {plan.target} ended it {TRIES} times in favour of other writers: {error.orig}"
        return LockTimeout(message, hint=f"run it again when they are done; {dialect.lock_holder_hint()}")
    if dialect.is_read_only(error):
        hint = "make it writable, or connect to a server, or as a user, that takes writes"
        return ReadOnly(f"{plan.target} takes no writes, nothing was written: {error.orig}", hint=hint)
    if dialect.is_full(error):
        return AuditError(
            f"{plan.target} is full, nothing was written: {error.orig}", hint="free some space, try again"
        )
    if error.connection_invalidated:
        return _lost(plan, error)
    said_of = f"it says so of: {error.statement}" if error.statement else "it says so of the commit"
    return AuditError(f"nothing was written, the database says: {error.orig}", hint=said_of)


def _lost(plan: Plan, error: DBAPIError) -> ConnectionLost:
    """What is known of a transaction whose connection went away: where that was its commit, nothing."""
    gone = f"the connection to {plan.target} was lost"
    if error.statement is not None:
        hint = "run it again when the database answers"
        return ConnectionLost(f"{gone}, nothing was written: {error.orig}", hint=hint)
    hint = "`audit log --transactions -n 3` says which; run again, it leaves alone what is there already"
    return ConnectionLost(f"{gone} in the commit, all of it was written or nothing: {error.orig}", hint=hint)


def _held_by(connection: Connection, dialect: Dialect, plan: Plan) -> str:
    """Who holds locks now, as far as the database tells this user."""
    asked = dialect.lock_holders_sql(list(dict.fromkeys(step.table for step in plan.steps)))
    if asked is None:
        return ""
    try:
        with connection.begin():
            holders = [row[0] for row in run(connection, asked.sql, asked.values).fetchmany(_MOST_NAMED + 1)]
    except DBAPIError:
        # Others' transactions are not everybody's to see.
        return ""
    named = "; ".join(holders[:_MOST_NAMED]) + ("; and more" if len(holders) > _MOST_NAMED else "")
    return f" by {named}" if holders else ""
