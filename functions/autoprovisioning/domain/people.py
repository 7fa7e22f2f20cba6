"""People: who is on the roster of a connection or entitled to be, as stored and as listed.

A person is what a full run saw in the directory, and what the roster says. Persons are tuples: a connection may have
100,000, which are stored, searched and sorted together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import NamedTuple

from .directory_user import DirectoryUser, Presence
from .entry import Entry, Status, Timer, Trigger
from .memberships import Membership
from .texts import unaccented
from .unprovisioned import By


class Listed(NamedTuple):
    """What a full run's listing of the directory said of somebody."""

    email: str
    name: str
    presence: Presence
    unit: str = ""  # path of the organizational unit, empty where the directory does not show it
    administers: bool = False  # Workspace, as super or delegated administrator
    teams: tuple[str, ...] | None = None  # ids of those whose group has them, and of those not read; None: not known


def listed_of(user: DirectoryUser, teams: tuple[str, ...] | None = None) -> Listed:
    """Return what is kept of a listed user; what of a text is none is replaced, as it could not be stored."""
    unit, administers = _unit(user.org_unit_path), user.is_admin or user.is_delegated_admin
    return Listed(
        user.primary_email, _storable(user.name), user.presence, unit=unit, administers=administers, teams=teams
    )


def _storable(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()


@lru_cache(maxsize=10_000)
def _unit(path: str) -> str:
    """Return the same text for everybody in a unit: 100,000 of them take as much memory as the names do."""
    return _storable(path)


class Running(NamedTuple):
    """A timer of an entry, as `entry.Timer`, in whole seconds."""

    trigger: Trigger
    since: int
    accrued: int
    running_since: int | None


class Person(NamedTuple):
    """Somebody on the roster, or entitled to be; stored: fields are only ever appended, with a default.

    `presence` is as listed, UNKNOWN where no full run has seen them. `by` and `account` are those of an account that
    nobody provisions, whose owner this may be. Teams are ids: `teams` and `asked` are the entry's. Of the others whose
    group has them are `joins`, of these those whose group has them no more `leaves`, as a full run saw it. Of `teams`
    Keeper has not shown `unseen` yet, and somebody took them out of `ended` there.
    """

    user_id: str
    email: str
    name: str = ""
    presence: Presence = Presence.UNKNOWN
    on_roster: bool = False
    status: Status = Status.NONE
    in_scope: bool = True
    deleted: bool = False  # by a DELETE of ours
    gone: bool = False
    missing: bool = False
    waits: bool = False
    last: int | None = None  # when something was done last, in seconds
    failure: str = ""
    timers: tuple[Running, ...] = ()
    account: str = ""
    by: By = By.NOTHING
    unit: str = ""
    administers: bool = False
    teams: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Name the line: somebody may be listed again with an account that nobody provisions."""
        return self.account or self.user_id

    @property
    def administrator(self) -> bool | None:
        """Say whether they administer Workspace; None where no full run told, as it would have told the unit then."""
        return self.administers or (False if self.unit else None)

    def memberships(self) -> Iterator[tuple[str, Membership]]:
        """Return how the person relates to each team that concerns them, by its id."""
        for team_id in self.teams:
            yield team_id, Membership.LEAVES if team_id in self.leaves else self._sent(team_id)
        for team_id in self.asked:
            yield team_id, Membership.LEAVES if team_id in self.leaves else Membership.ASKED
        able = self.status is Status.ACTIVE and self.in_scope and not (self.timers or self.gone or self.missing)
        for team_id in self.joins:
            yield team_id, Membership.JOINS if able else Membership.WAITS

    def _sent(self, team_id: str) -> Membership:
        """Say what Keeper shows of a membership; of who is locked it may show none."""
        if team_id in self.ended:
            return Membership.ENDED
        waits = team_id in self.unseen and self.status is Status.ACTIVE
        return Membership.UNSEEN if waits else Membership.INSIDE


Line = tuple[str, Person]  # what a person is sorted and found by, no two alike, then the person
in_order: Callable[[Line], str] = itemgetter(0)


def line_of(person: Person, folded: str = "") -> Line:
    """Return a person with name and address, folded, and the key, which settles who of namesakes comes first.

    `folded` is what `folding` said of the person: finding out again takes long for 100,000.
    """
    return f"{folded or _folded(person)}\t{(person.account or person.user_id).casefold()}", person


def folding(person: Person) -> str:
    """Return name and address, folded, if that takes long, else ""."""
    return "" if person.name.isascii() and person.email.isascii() else _folded(person)


def _folded(person: Person) -> str:
    return unaccented(f"{person.name} {person.email}".lstrip().casefold())


def person_of(entry: Entry, listed: Listed | None) -> Person:
    """Join an entry with what was listed."""
    failure, sent = entry.failure, entry.sent_teams
    inside = listed.teams if listed is not None and listed.teams is not None else sent
    return Person(
        user_id=entry.user_id,
        email=entry.email or (listed.email if listed is not None else ""),
        name=listed.name if listed is not None else "",
        presence=listed.presence if listed is not None else Presence.UNKNOWN,
        on_roster=True,
        status=entry.status,
        in_scope=entry.in_scope,
        deleted=entry.deleted,
        gone=entry.gone,
        missing=entry.missing_since is not None,
        waits=entry.pending,
        last=int(entry.last_action_at.timestamp()) if entry.last_action_at is not None else None,
        failure=failure.text if failure is not None and not failure.trying else "",
        timers=tuple(_running(*timer) for timer in sorted(entry.timers.items())) if entry.timers else (),
        unit=listed.unit if listed is not None else "",
        administers=listed is not None and listed.administers,
        teams=entry.teams,
        asked=entry.asked,
        joins=tuple(team_id for team_id in inside if team_id not in sent),
        leaves=tuple(team_id for team_id in sent if team_id not in inside),
        unseen=tuple(each.team_id for each in entry.unseen if not each.seen) if entry.unseen else (),
        ended=tuple(each.team_id for each in entry.unseen if each.seen) if entry.unseen else (),
    )


def entitled(user_id: str, listed: Listed) -> Person:
    """Return somebody who is in scope and on no roster yet."""
    email, name, presence, unit, administers, teams = listed
    return Person(user_id, email, name, presence, unit=unit, administers=administers, joins=teams or ())


def again(person: Person, entry: Entry | None) -> Person | None:
    """Return a person as the roster has them by now; None where that makes them nobody's."""
    if entry is not None:
        # Whom a look or an event has put into a team since the full run, or taken out, is not told as about to change.
        inside = {*entry.sent_teams, *person.joins} - {*person.leaves}
        listed = Listed(
            person.email,
            person.name,
            person.presence,
            unit=person.unit,
            administers=person.administers,
            teams=tuple(sorted(inside)),
        )
        return person_of(entry, listed)
    return None if person.on_roster else person


def _running(trigger: Trigger, timer: Timer) -> Running:
    running = int(timer.running_since.timestamp()) if timer.running_since is not None else None
    return Running(trigger, int(timer.since.timestamp()), int(timer.accrued.total_seconds()), running)


class Lines:
    """Everybody in the order of names, and those lists of them that neither time nor a decision changes.

    Most have an account and nothing else to be told of: going through 100,000 costs some 20 ms, so that is done once.
    """

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        """Take lines in any order."""
        self._lines = list(lines)

    def __len__(self) -> int:
        return len(self._lines)

    @cached_property
    def all(self) -> Sequence[Line]:
        """Return everybody."""
        return sorted(self._lines, key=in_order)

    @cached_property
    def _others(self) -> Sequence[Line]:
        """Return all but those with an active account and nothing else to be told of."""
        found = [
            line
            for line in self._lines
            if (person := line[1]).status is not Status.ACTIVE or person.timers or person.failure or person.waits
        ]
        return sorted(found, key=in_order)

    @cached_property
    def by_id(self) -> Mapping[str, Line]:
        """Return them by the user's id."""
        return {line[1].user_id: line for line in self._lines}

    def count(self, status: Status) -> int:
        """Count those whose account has a status."""
        if status is Status.ACTIVE:
            return len(self) - sum(line[1].status is not status for line in self._others)
        return len(self.of(status))

    def of(self, status: Status) -> Sequence[Line]:
        """Return those whose account has a status."""
        lines = self.all if status is Status.ACTIVE else self._others
        return [line for line in lines if line[1].status is status]

    @cached_property
    def failing(self) -> Sequence[Line]:
        """Return those whose last attempt failed."""
        return [line for line in self._others if line[1].failure]

    @cached_property
    def waiting(self) -> Sequence[Line]:
        """Return those with a change that waits."""
        return [line for line in self._others if line[1].waits]

    @cached_property
    def timed(self) -> Sequence[Line]:
        """Return those with a timer."""
        return [line for line in self._others if line[1].timers]

    @cached_property
    def by_team(self) -> Mapping[str, Mapping[Membership, Sequence[Line]]]:
        """Return whom each team concerns, by its id, in no order."""
        found: dict[str, dict[Membership, list[Line]]] = {}
        for line in self._lines:
            for team_id, membership in line[1].memberships():
                found.setdefault(team_id, {}).setdefault(membership, []).append(line)
        return found


NOBODY = Lines()


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """Everybody of a connection, as of `at`; `listed` is when names were read, None if never."""

    at: datetime
    listed: datetime | None = None
    lines: Lines = NOBODY
