"""`audit doctor`: what keeps the log from being complete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditcli.cli.context import AppContext
from auditcli.cli.options import FormatOptions
from auditcli.errors import ExitCode

if TYPE_CHECKING:
    from auditcli.doctor import Finding

_COLUMNS = ("level", "code", "table", "message", "fix")


def doctor(app: AppContext, form: FormatOptions) -> int:
    """Say what this log does not or can't hold, each with its fix; exit 1 if anything needs doing.

    Examples:
      audit doctor
      audit doctor -u shop.db -o json
    """
    from auditcli.cli.formats import Format
    from auditcli.clock import utc_now
    from auditcli.doctor import Level, examine

    with app.log() as reader:
        findings = examine(reader, now=utc_now())
    if app.out.format(form.format) is Format.TABLE:
        for each in findings:
            place = "" if each.table is None else f"{each.table}: "
            app.out.text(f"{each.level:<8} {place}{each.message}\n{'':9}-> {each.fix}\n")
    else:
        app.out.records(form.format, _COLUMNS, map(_record, findings))
    problems = sum(each.level is Level.PROBLEM for each in findings)
    app.out.note(f"{problems} to do" if problems else "nothing needs doing")
    return ExitCode.DIFFERENCES if problems else ExitCode.DONE


def _record(each: Finding) -> dict[str, Any]:
    return {
        "level": str(each.level),
        "code": each.code,
        "table": None if each.table is None else str(each.table),
        "message": each.message,
        "fix": each.fix,
    }
