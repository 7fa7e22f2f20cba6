"""People: who is on the roster of a connection or entitled to be, as stored and as listed.

A person is what a full run saw in the directory, and what the roster says. Persons are tuples: a connection may have
100,000, which are stored, searched and sorted together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from heapq import nsmallest
from operator import itemgetter
from typing import Any, NamedTuple, overload

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
    administers = user.is_admin or user.is_delegated_admin
    unit = _unit(user.org_unit_path)
    name = _storable(user.name)
    return Listed(user.primary_email, name, user.presence, unit=unit, administers=administers, teams=teams)


def _storable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


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

    @property
    def settled(self) -> bool:
        """Say whether they are in all their teams, and nothing changes: `memberships` has nothing else to tell."""
        return not (self.asked or self.joins or self.leaves or self.unseen or self.ended)

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


_STATUSES = tuple(Status)  # of marks, by number; stored: statuses are only ever appended
_STATUS, _FAILS, _WAITS, _TIMED, _UNUSUAL, _IN_TEAMS = 7, 8, 16, 32, 64, 128
FIRST = 500  # lines: so many are found without sorting the others
_USUAL = _STATUSES.index(Status.ACTIVE)


class Line(NamedTuple):
    """What a person is sorted, found and counted by; the person itself may be packed until it is asked for.

    `text` is name and address, folded, and the key: no two are alike. `marks` (a byte) are the status and which lists
    the person is in; `last` is when something was done last, in seconds, 0 for never.
    """

    text: str
    user_id: str
    marks: int
    last: int
    held: Any

    @property
    def person(self) -> Person:
        """Return the person."""
        person: Person = self.held
        return person

    def opened(self) -> Line:
        """Return the line with the person unpacked, for who asks for it again and again."""
        return Line(self.text, self.user_id, self.marks, self.last, self.person)

    @property
    def usual(self) -> bool:
        """Say whether the account and the user are active, and there is nothing else to be told."""
        return self.marks & ~_IN_TEAMS == _USUAL


in_order: Callable[[Line], str] = itemgetter(0)
_ids: Callable[[Line], str] = itemgetter(1)


def line_of(person: Person) -> Line:
    """Return a person with what they are found by: the key settles who of namesakes comes first."""
    folded = unaccented(f"{person.name} {person.email}".lstrip().casefold())
    text = f"{folded}\t{(person.account or person.user_id).casefold()}"
    return Line(text, person.user_id, _marks(person), person.last or 0, person)


def _marks(person: Person) -> int:
    marks = _STATUSES.index(person.status)
    for mark, told in (
        (_FAILS, person.failure),
        (_WAITS, person.waits),
        (_TIMED, person.timers),
        (_UNUSUAL, person.deleted or person.gone or person.missing),
        (_IN_TEAMS, person.teams or person.asked or person.joins),
    ):
        if told:
            marks |= mark
    return marks


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


class InOrder(Sequence[Line]):
    """Lines in the order of names, sorted when more than the first of them are asked for: 100,000 take long."""

    def __init__(self, lines: Sequence[Line]) -> None:
        """Take lines in any order."""
        self.lines = lines

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, index: int) -> Line: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Line]: ...

    def __getitem__(self, index: int | slice) -> Line | Sequence[Line]:
        if isinstance(index, slice) and index.step is None and index.stop is not None:
            start = index.start or 0
            if 0 <= start <= index.stop <= FIRST:
                return nsmallest(index.stop, self.lines, key=in_order)[start:]
        return self._sorted[index]

    def __iter__(self) -> Iterator[Line]:
        return iter(self._sorted)

    @cached_property
    def _sorted(self) -> Sequence[Line]:
        return sorted(self.lines, key=in_order)


class Lines:
    """Everybody, and those lists of them that neither time nor a decision changes.

    Most have an account and nothing else to be told of: 100,000 are gone through once. They are kept in the order in
    which they were read: in the order of names they are all over the memory, and going through them takes four times
    as long.
    """

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        """Take lines in any order."""
        self._lines = list(lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Line]:
        """Go through everybody, in no order."""
        return iter(self._lines)

    @cached_property
    def all(self) -> Sequence[Line]:
        """Return everybody in the order of names, as every list is."""
        return InOrder(self._lines)

    @cached_property
    def _others(self) -> Sequence[Line]:
        """Return all but those with an active account and nothing else to be told of."""
        return sorted((line for line in self._lines if line[2] & ~_IN_TEAMS != _USUAL), key=in_order)

    @cached_property
    def by_id(self) -> Mapping[str, Line]:
        """Return them by the user's id."""
        return dict(zip(map(_ids, self._lines), self._lines, strict=True))

    def names(self, user_ids: Iterable[str]) -> dict[str, str]:
        """Return the names of those of these users who are listed, by their ids."""
        found = map(self.by_id.get, user_ids)
        return {line.user_id: line.person.name for line in found if line is not None}

    def count(self, status: Status) -> int:
        """Count those whose account has a status."""
        others = Counter(line[2] & _STATUS for line in self._others)
        usual = len(self) - len(self._others) if status is Status.ACTIVE else 0
        return usual + others[_STATUSES.index(status)]

    def of(self, status: Status) -> Sequence[Line]:
        """Return those whose account has a status."""
        wanted = _STATUSES.index(status)
        if status is Status.ACTIVE:
            return InOrder([line for line in self._lines if line[2] & _STATUS == wanted])
        return [line for line in self._others if line[2] & _STATUS == wanted]

    @cached_property
    def failing(self) -> Sequence[Line]:
        """Return those whose last attempt failed."""
        return [line for line in self._others if line.marks & _FAILS]

    @cached_property
    def waiting(self) -> Sequence[Line]:
        """Return those with a change that waits."""
        return [line for line in self._others if line.marks & _WAITS]

    @cached_property
    def timed(self) -> Sequence[Line]:
        """Return those with a timer, unpacked: when it ends is asked of each again and again."""
        return [line.opened() for line in self._others if line.marks & _TIMED]

    @cached_property
    def by_team(self) -> Mapping[str, Mapping[Membership, Sequence[Line]]]:
        """Return whom each team concerns, by its id, in no order."""
        inside: dict[str, list[Line]] = defaultdict(list)
        found: dict[str, dict[Membership, list[Line]]] = {}
        for line in self._lines:
            if line[2] & _IN_TEAMS:
                person = line.person
                if person.settled:
                    for team_id in person.teams:
                        inside[team_id].append(line)
                else:
                    for team_id, membership in person.memberships():
                        found.setdefault(team_id, {}).setdefault(membership, []).append(line)
        for team_id, lines in inside.items():
            found.setdefault(team_id, {}).setdefault(Membership.INSIDE, []).extend(lines)
        return found


NOBODY = Lines()


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """Everybody of a connection, as of `at`; `listed` is when names were read, None if never."""

    at: datetime
    listed: datetime | None = None
    lines: Lines = NOBODY
