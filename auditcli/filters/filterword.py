"""What the words of a selection's keys are: alternatives, events, actors, texts."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

from auditcli.errors import UsageError
from auditcli.filters.celltest import glob_matches, value_texts
from auditcli.filters.rowword import did_you_mean
from auditcli.model import Change, EventType
from auditcli.position import shown

T = TypeVar("T")

_EVENTS = {spelling: event for event in EventType for spelling in (event.lower(), event.letter.lower())}
_EVENT_ORDER = {event: number for number, event in enumerate(EventType)}


@dataclass(frozen=True)
class Alternatives(Generic[T]):
    """The words of one key: a change passes with one of `any_of`, where there are any, and none of `none_of`."""

    any_of: tuple[T, ...] = ()
    none_of: tuple[T, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.any_of or self.none_of)

    def passes(self, test: Callable[[T], bool]) -> bool:
        """Whether what the test says of each word lets a change through."""
        return (not self.any_of or any(map(test, self.any_of))) and not any(map(test, self.none_of))


class Gathered(Generic[T]):
    """The words of one key while they are read; a repeated one counts once."""

    def __init__(self) -> None:
        self._any_of: dict[T, None] = {}
        self._none_of: dict[T, None] = {}

    def add(self, word: T, wanted: bool) -> None:
        """Take in a word, or its negation where it is not wanted."""
        (self._any_of if wanted else self._none_of)[word] = None

    def alternatives(self) -> Alternatives[T]:
        """All words so far, in the order in which they came."""
        return Alternatives(tuple(self._any_of), tuple(self._none_of))


@dataclass(frozen=True, slots=True)
class TextTest:
    """A text to find in values, or a regular expression; neither minds case."""

    text: str
    is_regex: bool = False

    def __str__(self) -> str:
        return f"/{self.text}/" if self.is_regex else self.text

    def found_in(self, text: str) -> bool:
        """Whether it occurs there."""
        if self.is_regex:
            return _pattern(self.text).search(text) is not None
        return self.text.casefold() in text.casefold()


def parse_text_test(word: str) -> TextTest:
    """The text to find; `/…/` is a regular expression."""
    if len(word) < 3 or not (word.startswith("/") and word.endswith("/")):
        return TextTest(word)
    try:
        _pattern(word[1:-1])
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"{shown(word)} is no regular expression: {error}",
            hint="without the slashes it is searched for as it stands",
        ) from error
    return TextTest(word[1:-1], is_regex=True)


def texts_of(change: Change) -> list[str]:
    """What can be read in the values of both images."""
    images = (image for image in (change.before, change.after) if image is not None)
    return [text for image in images for value in image.values() for text in value_texts(value)]


def parse_events(word: str) -> list[EventType]:
    """The events in a comma list of names or letters; `delete` includes TRUNCATE."""
    events: list[EventType] = []
    for spelling in word.split(","):
        event = _EVENTS.get(spelling.strip().lower())
        if event is None:
            names = [name for name in _EVENTS if len(name) > 1]
            raise UsageError(
                f"{shown(spelling)} is no event",
                hint=f"{did_you_mean(spelling, {name: name for name in names})}events: {', '.join(names)}",
            )
        events.extend([event, EventType.TRUNCATE] if event is EventType.DELETE else [event])
    return events


def event_words(events: tuple[EventType, ...]) -> list[str]:
    """The events as words, without the TRUNCATE that every DELETE brings along."""
    implied = {EventType.TRUNCATE} if EventType.DELETE in events else set()
    return [event.lower() for event in events if event not in implied]


def in_order(events: Alternatives[EventType]) -> Alternatives[EventType]:
    """The same events in the order in which they are always listed."""
    any_of, none_of = (tuple(sorted(given, key=_EVENT_ORDER.__getitem__)) for given in (events.any_of, events.none_of))
    return Alternatives(any_of, none_of)


def actor_matches(pattern: str, actor: str | None) -> bool:
    """Whether a pattern, in which `*` stands for anything, names the actor; the empty pattern means nobody."""
    if not actor or not pattern:
        return not actor and not pattern
    return glob_matches(pattern, actor)


@lru_cache(maxsize=64)
def _pattern(text: str) -> re.Pattern[str]:
    with warnings.catch_warnings():
        # Python warns of sets that it may read differently some day; that is no news for who searches a log.
        warnings.simplefilter("ignore")
        return re.compile(text, re.IGNORECASE)
