"""A review of who has access: everybody of a connection counted, searched, sorted, and told why in a phrase each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property

from .connections import SERVING, Connection
from .directory_user import Presence
from .entry import Action, Status, Trigger
from .guard import Member
from .holds import OPEN, Hold, Standing
from .people import InOrder, Line, Person, Roll, in_order, line_of
from .scope import Scope
from .texts import folded
from .unprovisioned import Unprovisioned
from .words import LACKING, LEFT_BECAUSE, NOUNS, OWNED_BY, WAITS_FOR, on_day

SOON = timedelta(days=30)


class InKeeper(StrEnum):
    """The state of an account."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"  # by us: Keeper locks on it
    LOCKED = "locked"  # by somebody else
    NONE = "none"


class Shown(StrEnum):
    """Which people are listed, in the order of the page."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    NONE = "none"
    FAILING = "failing"
    HELD = "held"
    WAITING = "waiting"
    DUE = "due"  # to lose access, or the account, within 30 days
    LOCKED = "locked"
    UNPROVISIONED = "unprovisioned"


BY_STATUS = (Shown.ACTIVE, Shown.SUSPENDED, Shown.NONE, Shown.LOCKED)


class Sort(StrEnum):
    """What people are sorted by."""

    NAME = "name"
    ADDRESS = "address"
    GOOGLE = "google"
    KEEPER = "keeper"
    CHANGE = "change"


class Tone(StrEnum):
    """Whether a reason is news."""

    PLAIN = "plain"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A person as shown: the state on both sides, why in a phrase, and what is due when."""

    person: Person
    google: Presence
    keeper: InKeeper
    why: str
    tone: Tone = Tone.PLAIN
    due: datetime | None = None
    last: datetime | None = None


class Decided:
    """What held plans say about people: whose change waits for a decision, and whose was rejected."""

    def __init__(self, holds: Iterable[Hold] = ()) -> None:
        """Read the plans, newest first; of several the newest counts."""
        self.waiting: dict[str, Member] = {}
        self.rejected: dict[str, Member] = {}
        for hold in holds:
            for member, verdict in hold.each():
                if verdict.standing in OPEN:
                    self.waiting.setdefault(member.resource, member)
                elif verdict.standing is Standing.REJECTED:
                    self.rejected.setdefault(member.resource, member)


class Review:
    """Who has access through a connection, as of the roll: counted, searched, sorted, and told why."""

    def __init__(
        self,
        roll: Roll,
        connection: Connection,
        now: datetime,
        decided: Decided | None = None,
        accounts: Iterable[Unprovisioned] = (),
    ) -> None:
        """Join the roll with what was decided, and with the active accounts of the node that nobody provisions."""
        self.roll = roll
        self._connection = connection
        self._now = now
        self._decided = decided or Decided()
        self._accounts = sorted((line_of(account_of(account)) for account in accounts), key=in_order)

    @cached_property
    def lines(self) -> Sequence[Line]:
        """Return everybody in the order of names, those accounts included."""
        everybody = self.roll.lines
        return InOrder([*everybody, *self._accounts]) if self._accounts else everybody.all

    @cached_property
    def _due(self) -> Mapping[str, datetime]:
        """When those lose access, or their account, for whom a timer runs; off, none does."""
        if self._connection.state not in SERVING:
            return {}
        found = ((line.user_id, self._when(line.person)) for line in self.roll.lines.timed)
        return {user_id: _at(at) for user_id, at in found if at is not None}

    @cached_property
    def _clock(self) -> int:
        """How far the connection's clock is behind."""
        return int((self._now - self._connection.clock.at(self._now)).total_seconds())

    @cached_property
    def _delays(self) -> Mapping[Trigger, tuple[int | None, int | None]]:
        policy = self._connection.settings.deprovisioning
        return {trigger: (policy.of(trigger).suspend_after, policy.of(trigger).delete_after) for trigger in Trigger}

    def _when(self, person: Person) -> int | None:
        """Return the earlier date of `deprovisioning.due` that concerns the account, in seconds: many are asked for."""
        if person.deleted or person.status not in (Status.ACTIVE, Status.SUSPENDED):
            return None
        dates: list[int] = []
        for trigger, _, accrued, running_since in person.timers:
            if running_since is not None:
                began = min(running_since + self._clock, int(self._now.timestamp())) - accrued
                suspend, delete = self._delays[trigger]
                days = (suspend, delete) if person.status is Status.ACTIVE else (delete,)
                dates += [began + 86_400 * after for after in days if after is not None]
        return min(dates, default=None)

    def due_within(self, span: timedelta) -> dict[str, int]:
        """Count the suspensions and deletions that are due within a time from now."""
        found = Counter(
            Action.SUSPEND.value if line.person.status is Status.ACTIVE else Action.DELETE.value
            for line in self.roll.lines.timed
            if (at := self._due.get(line.user_id)) is not None and at < self._now + span
        )
        return {action.value: found[action.value] for action in (Action.SUSPEND, Action.DELETE) if found[action.value]}

    def counts(self) -> dict[Shown, int]:
        """Count each kind."""
        return {
            shown: self.roll.lines.count(Status(shown.value)) if shown in BY_STATUS else len(self.those(shown))
            for shown in Shown
        }

    def those(self, shown: Shown | None) -> Sequence[Line]:
        """Return one kind of people, everybody for None, in the order of names."""
        if shown is None:
            return self.lines
        lines, held = self.roll.lines, self._decided.waiting
        match shown:
            case Shown.ACTIVE | Shown.SUSPENDED | Shown.NONE | Shown.LOCKED:
                return lines.of(Status(shown.value))
            case Shown.FAILING:
                return lines.failing
            case Shown.WAITING:
                return lines.waiting
            case Shown.HELD:
                found = (lines.by_id.get(user_id) for user_id in held)
                return sorted((line for line in found if line is not None), key=in_order)
            case Shown.DUE:
                soon = {user_id for user_id, at in self._due.items() if at < self._now + SOON}
                return [line for line in lines.timed if line.user_id in soon]
            case Shown.UNPROVISIONED:
                return self._accounts

    def found(self, shown: Shown | None = None, search: str = "") -> Sequence[Line]:
        """Return those of a kind whose name or address contains all words of the search, or whose id it is."""
        those, words = self.those(shown), words_of(search)
        lines = those.lines if words and isinstance(those, InOrder) else those
        for word in words:
            lines = [line for line in lines if word in line[0] and _has(line, word)]
        return sorted(lines, key=in_order) if words else those

    def best(self, search: str) -> Sequence[Line]:
        """Return everybody found, first those in whose name or address a word begins with each word of the search."""
        words = [f" {word}" for word in words_of(search)]
        found = self.found(None, search)
        return sorted(found, key=lambda line: not all(word in f" {line[0]}" for word in words))

    def sorted(self, lines: Sequence[Line], by: Sort, *, descending: bool = False) -> Sequence[Line]:
        """Return lines, which are in the order of names, in another order."""
        keys: Mapping[Sort, Callable[[Line], str | int]] = {
            Sort.ADDRESS: _address,
            Sort.GOOGLE: lambda line: Presence.ACTIVE.value if line.usual else google(line.person).value,
            Sort.KEEPER: lambda line: InKeeper.ACTIVE.value if line.usual else in_keeper(line.person).value,
            Sort.CHANGE: lambda line: line.last,
        }
        if by in keys:
            return sorted(lines, key=keys[by], reverse=descending)
        return lines[::-1] if descending else lines

    def row(self, person: Person) -> Row:
        """Say of a person what the page shows."""
        why, tone = self._why(person)
        return Row(
            person=person,
            google=google(person),
            keeper=in_keeper(person),
            why=why,
            tone=tone,
            due=None if person.account else self._due.get(person.user_id),
            last=_at(person.last) if person.last is not None else None,
        )

    def _why(self, person: Person) -> tuple[str, Tone]:
        if person.account:
            return f"Nobody provisions it: {OWNED_BY[person.by]}", Tone.BAD
        held = self._decided.waiting.get(person.user_id)
        if held is not None:
            return f"{NOUNS[held.action][0].capitalize()} waits for approval", Tone.WARN
        if person.failure:
            return person.failure, Tone.BAD
        if person.waits:
            return WAITS_FOR.get(self._connection.state, "A change is being retried"), Tone.WARN
        kept = self._decided.rejected.get(person.user_id)
        if kept is not None and any(running.trigger == kept.trigger for running in person.timers):
            return f"An administrator rejected the {NOUNS[kept.action][0]}", Tone.WARN
        if person.status is Status.LOCKED:
            return "Locked in Keeper by somebody else", Tone.WARN
        if person.missing:
            return LACKING, Tone.WARN
        return self._settled(person), Tone.PLAIN

    def _settled(self, person: Person) -> str:
        if person.timers:
            reason = LEFT_BECAUSE[min(person.timers, key=lambda running: running.since).trigger]
            at = self._due.get(person.user_id)
            if at is None:
                return reason
            what = "suspension" if person.status is Status.ACTIVE else "deletion"
            return f"{reason}; {what} due {'now' if at <= self._now else f'on {on_day(at)}'}"
        if not person.in_scope:
            return "Not in the provisioning scope"
        if person.status is Status.NONE and google(person) is not Presence.ACTIVE:
            return "No account before the return"
        return _through(self._connection.settings.scope)


def google(person: Person) -> Presence:
    """Return the state in Google: the roster learns at once of suspensions and deletions, a listing of the rest."""
    if person.account or person.gone or person.missing:
        return Presence.DELETED if person.gone else Presence.UNKNOWN if person.missing else person.presence
    if any(running.trigger is Trigger.SUSPENDED for running in person.timers):
        return Presence.ARCHIVED if person.presence is Presence.ARCHIVED else Presence.SUSPENDED
    return person.presence if person.status is Status.NONE else Presence.ACTIVE


def in_keeper(person: Person) -> InKeeper:
    """Return the state in Keeper."""
    return InKeeper.DELETED if person.deleted else InKeeper(person.status.value)


def account_of(account: Unprovisioned, *, administers: bool | None = None) -> Person:
    """Return an account that nobody provisions as its owner's line."""
    return Person(
        user_id=account.user_id,
        email=account.user_name,
        presence=account.presence,
        status=Status.ACTIVE,
        account=account.scim_id,
        by=account.by,
        administers=bool(administers),
    )


def _through(scope: Scope) -> str:
    """Say what entitles people who are in scope."""
    if not scope.groups and not scope.org_units:
        return "Everybody is in scope"
    if len(scope.groups) == 1 and not scope.org_units:
        return f"In {scope.groups[0].email or scope.groups[0].id}"
    if len(scope.org_units) == 1 and not scope.groups:
        return f"In {scope.org_units[0].path}"
    return "In the provisioning scope"


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def called(lines: Iterable[Line], search: str) -> list[Line]:
    """Return those in whose line every word of a search is; nobody where it has none."""
    words = words_of(search)
    return [line for line in lines if all(word in line[0] for word in words)] if words else []


def words_of(search: str) -> list[str]:
    """Return the words of a search without those that are part of another one: each goes through everybody."""
    words = dict.fromkeys(folded(search).split())
    return [word for word in words if not any(word in other for other in words if other != word)]


def _address(line: Line) -> str:
    """Return the address that a person is found by: what follows the last blank."""
    return line.text.rpartition("\t")[0].rpartition(" ")[2]


def _has(line: Line, word: str) -> bool:
    """Say whether a word is in the name or the address, or is the id."""
    text, _, key = line[0].rpartition("\t")
    return word in text or word == key
