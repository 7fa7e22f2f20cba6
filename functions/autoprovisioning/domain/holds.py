"""Held plans: what is decided about changes that the guard holds.

A plan is decided member by member, and an approval authorises one execution: it is used up once the member is done, or
no longer due.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from .entry import Action, Entry, Status, Trigger
from .guard import FIRST, WINDOW, Kind, Member

ASKED_AGAIN = timedelta(days=30)  # a rejection is no answer for ever


class Standing(StrEnum):
    """What became of a member of a held plan."""

    WAITING = "waiting"
    WITHDRAWN = "withdrawn"  # a decision was taken back, or is 30 days old: it waits for another one, whatever the room
    APPROVED = "approved"
    REJECTED = "rejected"
    DONE = "done"
    NOT_DUE = "no longer due"
    EXPIRED = "expired"  # approved, and not done within 24 hours
    RELEASED = "released"  # there is room for it by now, or a later plan holds it


OPEN = frozenset({Standing.WAITING, Standing.WITHDRAWN})  # to be decided
DECIDED = frozenset({Standing.APPROVED, Standing.REJECTED})
STANDS = OPEN | DECIDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The standing of a member, since when, and by whose decision."""

    standing: Standing = Standing.WAITING
    at: datetime | None = None
    by: str = ""

    def authorises(self, entry: Entry | None, now: datetime) -> bool:
        """Say whether it lets the change go: approved within 24 hours, and nothing was done to the user since."""
        if self.standing is not Standing.APPROVED or self.at is None or now - self.at >= WINDOW:
            return False
        return entry is None or entry.last_action_at is None or entry.last_action_at < self.at


UNDECIDED = Verdict()


class HoldState(StrEnum):
    """What a held plan as a whole stands at: what of its members is still to come."""

    WAITING = "waiting"
    APPROVED = "approved"  # being carried out
    REJECTED = "rejected"  # nothing of it is to come but what a rejection keeps
    CLOSED = "closed"
    SUPERSEDED = "superseded"  # it ended by itself, undecided


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A held plan: who is affected, what tripped the guard, and what was decided about each; `digest` names it.

    `verdicts` are those of the members, in their order.
    """

    digest: str
    raised_at: datetime
    members: tuple[Member, ...]
    reason: str = ""
    verdicts: tuple[Verdict, ...] = ()
    decided_by: str = ""  # the administrator who decided last
    decided_at: datetime | None = None

    def __post_init__(self) -> None:
        """Let members wait about whom nobody has decided."""
        if len(self.verdicts) != len(self.members):
            known = self.verdicts[: len(self.members)]
            object.__setattr__(self, "verdicts", (*known, *[UNDECIDED] * (len(self.members) - len(known))))

    @property
    def kind(self) -> Kind:
        """Return which brake holds it."""
        return self.members[0].kind if self.members else Kind.TAKING

    @property
    def state(self) -> HoldState:
        """Return what is still to come."""
        standing = {verdict.standing for verdict in self.verdicts}
        if standing & OPEN:
            return HoldState.WAITING
        if Standing.APPROVED in standing:
            return HoldState.APPROVED
        if Standing.REJECTED in standing:
            return HoldState.REJECTED
        return HoldState.CLOSED if self.decided_by else HoldState.SUPERSEDED

    def counts(self) -> dict[str, int]:
        """Count the members by action."""
        return dict(Counter(member.action for member in self.members))

    def standings(self) -> dict[str, int]:
        """Count the members by what became of them."""
        return dict(Counter(verdict.standing.value for verdict in self.verdicts))

    def those(self, *standing: Standing) -> list[Member]:
        """Return the members that stand at one of these."""
        return [member for member, verdict in self.each() if verdict.standing in standing]

    def each(self) -> Iterable[tuple[Member, Verdict]]:
        """Return the members, each with its verdict."""
        return zip(self.members, self.verdicts, strict=True)

    def moved(self, becomes: Callable[[Member, Verdict], Standing | None], at: datetime, by: str = "") -> Hold:
        """Return the hold with other verdicts, by an administrator or else by the run; None leaves a member's."""
        fresh: dict[Standing, Verdict] = {}
        verdicts: list[Verdict] = []
        for member, verdict in self.each():
            standing = becomes(member, verdict)
            moves = standing is not None and standing is not verdict.standing
            verdicts.append(
                fresh.setdefault(standing, Verdict(standing=standing, at=at, by=by)) if moves and standing else verdict
            )
        if not fresh:
            return self
        moved = replace(self, verdicts=tuple(verdicts))
        return replace(moved, decided_by=by, decided_at=at) if by else moved


def digest_of(members: Iterable[Member], at: datetime) -> str:
    """Name a plan raised at a time."""
    lines = "\n".join("\x1f".join(map(str, member.order)) for member in sorted(members, key=lambda each: each.order))
    return hashlib.sha256(f"{at.isoformat()}\n{lines}".encode()).hexdigest()[:32]


class Book:
    """The decisions in force on a connection, by member."""

    def __init__(self, holds: Iterable[Hold], users: Collection[str] = ()) -> None:
        """Read the held plans, for everybody or some users; for a member of several, the latest decision counts."""
        self._verdicts: dict[Member, Verdict] = {}
        self._users: set[str] = set()
        for hold in holds:
            for member, verdict in hold.each():
                if users and member.resource not in users:
                    continue
                known = self._verdicts.get(member)
                if verdict.standing in STANDS and (known is None or (verdict.at or FIRST) > (known.at or FIRST)):
                    self._verdicts[member] = verdict
                    self._users.add(member.resource)

    def verdict(self, member: Member) -> Verdict | None:
        """Return the verdict on a member, None if no plan holds it.

        Whoever is not to be suspended is not to be deleted either, for the same reason: Keeper locks on both. A member
        stored by schema 1 stands for every trigger that had begun by then.
        """
        known = self._verdicts.get(member)
        if known is None and member.action == Action.DELETE.value:
            suspension = self._verdicts.get(replace(member, action=Action.SUSPEND.value))
            if suspension is not None and suspension.standing is not Standing.APPROVED:
                return suspension
        if known is None and member.resource in self._users:
            older = self._verdicts.get(Member(resource=member.resource, action=member.action))
            if older is not None and older.at is not None and (member.since is None or member.since <= older.at):
                return older
        return known


def decided_since(holds: Iterable[Hold]) -> dict[str, dict[Trigger, datetime]]:
    """Return since when triggers last about which a decision is kept, where it names a time, by user."""
    begun: dict[str, dict[Trigger, datetime]] = {}
    for hold in sorted(holds, key=lambda hold: hold.raised_at):
        for member in hold.those(Standing.REJECTED, Standing.WITHDRAWN):
            if member.kind is Kind.TAKING and member.dated and member.since is not None:
                begun.setdefault(member.resource, {})[Trigger(member.trigger)] = member.since
    return begun


def settled(
    hold: Hold,
    entries: Mapping[str, Entry],
    due: Collection[Member] | None,
    now: datetime,
    *,
    stands: bool = True,
    tells_of: Callable[[str], bool] = lambda _: True,
    in_parts: bool = False,
    operates_on: Callable[[str], bool] = lambda _: True,
) -> Hold:
    """Strike what is done, no longer due, or has been approved or rejected for too long.

    A rejection is kept for as long as its trigger lasts, due now or not (the user may be archived), and for 30 days if
    the roster has no account of the user. `due` is what a whole plan would do now; None where there is none: then what
    the entries show counts. Without `stands` nobody is struck as no longer due; nor, for 30 days, is a decision about
    somebody of whom the run's listings do not tell (`tells_of`). `in_parts`: those prove nobody missing, so that what
    is due of such people is not planned. Of whom nothing is planned (`operates_on`) nothing is struck as no longer due.
    """

    def becomes(member: Member, verdict: Verdict) -> Standing | None:
        entry = entries.get(member.resource)
        judged = stands and operates_on(member.resource) and (not in_parts or tells_of(member.resource))
        if verdict.standing is Standing.APPROVED:
            if _done(member, verdict, entry):
                return Standing.DONE
            if judged and not _stands(member, entry, due):
                return Standing.NOT_DUE
            return Standing.EXPIRED if verdict.at is None or now - verdict.at >= WINDOW else None
        decided = verdict.standing in (Standing.REJECTED, Standing.WITHDRAWN)
        untold = not tells_of(member.resource) and not _old(verdict, now)
        rests = decided and (untold or (member.kind is Kind.TAKING and _lasts(member, verdict, entry, now)))
        if verdict.standing in STANDS and judged and due is not None and not rests and not _stands(member, entry, due):
            return Standing.NOT_DUE
        return Standing.WITHDRAWN if verdict.standing is Standing.REJECTED and _old(verdict, now) else None

    return hold.moved(becomes, now)


def _lasts(member: Member, verdict: Verdict, entry: Entry | None, now: datetime) -> bool:
    if entry is not None and entry.scim_id:
        return _goes_on(member, entry)
    return not _old(verdict, now)  # the roster may have been lost: the account is then taken over later


def _old(verdict: Verdict, now: datetime) -> bool:
    return verdict.at is not None and now - verdict.at >= ASKED_AGAIN


def _done(member: Member, verdict: Verdict, entry: Entry | None) -> bool:
    if entry is None or entry.last_action_at is None or verdict.at is None or entry.last_action_at < verdict.at:
        return False
    return member.kind is not Kind.TAKING or entry.status is not Status.ACTIVE


def _stands(member: Member, entry: Entry | None, due: Collection[Member] | None) -> bool:
    """Say whether a member may still come: it is planned, or its trigger goes on while something is in its way."""
    if due is not None and member in due:
        return True
    if entry is not None and (entry.mark is not None or entry.pending or entry.failure is not None):
        return member.kind is not Kind.TAKING or _goes_on(member, entry)
    return due is None and (member.kind is not Kind.TAKING or (entry is not None and _goes_on(member, entry)))


def _goes_on(member: Member, entry: Entry) -> bool:
    if member.since is None:
        return True
    timers = ((trigger.value, timer.since.replace(microsecond=0)) for trigger, timer in entry.timers.items())
    return any(replace(member, trigger=trigger, since=since) == member for trigger, since in timers)
