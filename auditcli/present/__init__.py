"""Values, changes, transactions and plans as lines of styled text, for people; both front ends draw these."""

from auditcli.present.bars import bar
from auditcli.present.caveats import caveat_texts
from auditcli.present.changes import (
    GroupKey,
    cells_summary,
    change_heading,
    change_lines,
    change_summary,
    changes_summary,
    full_lines,
    group_key,
    grouped_lines,
    interruption_lines,
    net_heading,
)
from auditcli.present.plans import conflict_lines, plan_lines, plan_summary, steps_summary
from auditcli.present.rehearsals import rehearsal_lines
from auditcli.present.spans import Line, Span, Style, hint_line, plain
from auditcli.present.text import (
    SHORT_ID,
    ago,
    column_counts,
    counted,
    row_word,
    rows_by_event,
    shortened,
    text_width,
    time_text,
    value_text,
    visible,
    wrapped_names,
)
from auditcli.present.transactions import (
    heading_of,
    origin_lines,
    taken_back_line,
    took_back_line,
    transaction_heading,
)
from auditcli.present.worddiff import cell_diff, word_diff

__all__ = [
    "SHORT_ID",
    "GroupKey",
    "Line",
    "Span",
    "Style",
    "ago",
    "bar",
    "caveat_texts",
    "cell_diff",
    "cells_summary",
    "change_heading",
    "change_lines",
    "change_summary",
    "changes_summary",
    "column_counts",
    "conflict_lines",
    "counted",
    "full_lines",
    "group_key",
    "grouped_lines",
    "heading_of",
    "hint_line",
    "interruption_lines",
    "net_heading",
    "origin_lines",
    "plain",
    "plan_lines",
    "plan_summary",
    "rehearsal_lines",
    "row_word",
    "rows_by_event",
    "shortened",
    "steps_summary",
    "taken_back_line",
    "text_width",
    "time_text",
    "took_back_line",
    "transaction_heading",
    "value_text",
    "visible",
    "word_diff",
    "wrapped_names",
]
