"""What happens while a log is followed, as sentences."""

from __future__ import annotations

import pytest

from auditcli.following.news import Back, Behind, CameLate, Lost, News, Skipped, Stalled, WentOn
from auditcli.holders import Holder
from auditcli.present.news import news_text

HOLDER = Holder("7", "pid 12", 75.0, None, "app", None, "idle in transaction", "SET  n\n= 1")
UNSEEN = Holder("8", "pid 13", None, None)


@pytest.mark.parametrize(
    ("news", "text"),
    [
        (
            Stalled(2.04, 1, [HOLDER]),
            "1 change waits, for 2.0 s: held by pid 12 (app; open for 75 s; idle in transaction; its query: SET n = 1)",
        ),
        (
            Stalled(600, 1200, [UNSEEN] * 5),
            "1,200 changes wait, for 10 min: held by pid 13, by pid 13, by pid 13, and 2 more",
        ),
        (Stalled(3, 2, None, "GRANT it"), "2 changes wait, for 3.0 s: a transaction is open; to see whose: GRANT it"),
        (
            Skipped((range(4, 5), range(7, 10)), []),
            "went on past changes 4, 7 to 9, which may still be committed: whoever held them has just ended",
        ),
        (CameLate("1f3a9c00", (4,)), "change 4 came late and is not shown: `audit show tx:1f3a9c00`"),
        (CameLate(None, (4, 5, 7)), "changes 4 to 5, 7 came late and are not shown: `audit show 4`"),
        (WentOn(8), "going on after 8.0 s"),
        (Lost(OSError("gone\nfor good"), 0.2), "the database does not answer (gone); trying again in 0.2 s"),
        (Back(7300), "the database answers again, after 2.0 h; nothing is lost"),
        (Behind(12_000, 15), "behind: 12,000 changes to go, the last one printed is 15 s old"),
    ],
)
def test_each_is_one_sentence(news: News, text: str) -> None:
    assert news_text(news) == text
