"""Which events of the audit are wanted: what an index answers, and what has to be looked for event by event."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from .events import NAME_OF, Event, EventName
from .texts import folded
from .words import reported


class Outcome(StrEnum):
    """How a change ended."""

    DONE = "done"
    FAILED = "failed"


class EventOrder(StrEnum):
    """Which of two events comes first."""

    NEWEST = "desc"
    OLDEST = "asc"


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which events are wanted; empty fields do not restrict.

    An index answers `names`, `outcome`, `user` (a directory id, or the address that the user had then), `actor` (an
    administrator's address, "run <id>" or "notification <id>"), `since` (included) and `until` (not included), or
    `team` (an id) with these two. Events are compared one by one with `person` (part of the address, or the id of
    somebody of `people`, whose names have it), `by` (part of the actor) and `text` (every word of it is in what was
    changed or said), and those of a team with everything.
    """

    names: Collection[EventName] = ()
    outcome: Outcome | None = None
    user: str = ""
    actor: str = ""
    since: datetime | None = None
    until: datetime | None = None
    person: str = ""
    people: frozenset[str] = frozenset()
    by: str = ""
    text: str = ""
    team: str = ""

    @cached_property
    def indexed(self) -> frozenset[EventName]:
        """Return the names that events are stored under: a failure is one, whatever was attempted; empty for all."""
        names = frozenset(self.names)
        if self.outcome is Outcome.FAILED:
            return frozenset({EventName.FAILED})
        if self.outcome is Outcome.DONE:
            return (names or frozenset(EventName)) - {EventName.FAILED} or names
        return names

    @cached_property
    def sought(self) -> bool:
        """Say whether events have to be compared one by one."""
        beside = self.team and (self.indexed or self.user or self.actor)
        return bool(self.person or self.by or self.text or self._attempts or self._nothing or beside)

    @cached_property
    def _attempts(self) -> frozenset[EventName]:
        """Return what was attempted, of failures; empty for everything."""
        failed = self.outcome is Outcome.FAILED and EventName.FAILED not in self.names
        return frozenset(self.names) if failed else frozenset()

    @property
    def _nothing(self) -> bool:
        return self.outcome is Outcome.DONE and {*self.names} == {EventName.FAILED}

    def meets(self, event: Event) -> bool:
        """Say whether an event is wanted, whatever a query has answered of it."""
        return all(test(event) for test in self._tests)

    @cached_property
    def _tests(self) -> list[Callable[[Event], bool]]:
        person, by, words = folded(self.person), folded(self.by), folded(self.text).split()
        tests: list[tuple[object, Callable[[Event], bool]]] = [
            (self.indexed, lambda event: event.name in self.indexed),
            (self.outcome is Outcome.DONE, lambda event: event.name is not EventName.FAILED),
            (self._attempts, lambda event: event.attempted is not None and NAME_OF[event.attempted] in self._attempts),
            (self.user, lambda event: (event.email if "@" in self.user else event.user_id) == self.user),
            (self.actor, lambda event: event.actor == self.actor),
            (self.since, lambda event: self.since is None or event.at >= self.since),
            (self.until, lambda event: self.until is None or event.at < self.until),
            (person, lambda event: event.user_id in self.people or person in _whom(event)),
            (by, lambda event: by in event.actor.casefold()),
            (words, lambda event: _has(event, words)),
            (self.team, lambda event: self.team in event.teams),
        ]
        return [test for needed, test in tests if needed]


def _whom(event: Event) -> str:
    return f"{event.email} {event.user_id}".casefold()


def _has(event: Event, words: Collection[str]) -> bool:
    values = [*event.changed.items(), *(event.before or {}).items()]
    parts = [f"{name} {value}" for name, value in values]
    parts += [event.name.value, event.reason, event.code, reported(event.cause) if event.cause is not None else ""]
    text = folded(" ".join(parts))
    return all(word in text for word in words)
