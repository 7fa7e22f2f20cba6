"""The brakes at work: reservations made before a change, by compare-and-set on the guard of a connection."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from autoprovisioning.app.services import Services
from autoprovisioning.domain.changes import PlannedChange
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.decision import Decision, Do
from autoprovisioning.domain.entry import Action, Entry, Status
from autoprovisioning.domain.guard import (
    APPROVED,
    CONFIRMED,
    GuardState,
    Kind,
    Member,
    attempt,
    braked,
    member_of,
    record,
    reserve,
    seen_active,
)
from autoprovisioning.domain.holds import (
    OPEN,
    Book,
    Hold,
    Standing,
    Verdict,
)

log = logging.getLogger(__name__)


def _limit(
    state: GuardState, connection: Connection, kind: Kind, confirmed: int | None, now: datetime, let_in: int = 0
) -> tuple[str, int]:
    """Return the budget that a change goes into, and how many may be in it: so many as were confirmed in advance."""
    if confirmed is not None:
        return CONFIRMED, confirmed
    return kind.budget, state.allowed(kind, connection.settings.limit, now, let_in)


def reserve_all(
    services: Services, connection: Connection, kind: Kind, names: Collection[str], confirmed: int | None = None
) -> bool:
    """Reserve all of the names or none.

    Until a run has counted anybody, the roster tells how many are active: who was to be let in need not have been.
    """
    if not names:
        return True
    now, let_in, uncounted = services.clock(), 0, False

    def edit(state: GuardState) -> GuardState | None:
        budget, allowed = _limit(state, connection, kind, confirmed=confirmed, now=now, let_in=let_in)
        return reserve(state, budget, names, allowed, now)

    def edit_counted(state: GuardState) -> GuardState | None:
        nonlocal uncounted
        uncounted = kind is Kind.TAKING and not state.base(now)
        return None if uncounted else edit(state)

    reserved = services.guard.change(connection.id, edit_counted)
    if uncounted:
        let_in = sum(entry.status is Status.ACTIVE for entry in services.roster.load(connection).values())
        reserved = services.guard.change(connection.id, edit)
    return reserved is not None


def note(services: Services, connection: Connection, budget: str, names: Collection[str]) -> None:
    """Note what goes out without being counted, because an administrator approved it."""
    if names:
        now = services.clock()
        services.guard.change(connection.id, lambda state: record(state, budget, names, now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many changes of a budget the last 24 hours have reserved and may, and how many people were active then."""

    reserved: int
    allowed: int
    active: int


def room(services: Services, connection: Connection, kind: Kind, confirmed: int | None = None) -> Room:
    """Return the room that is left; nothing is reserved."""
    state, now = _standing(services, connection), services.clock()
    budget, allowed = _limit(state, connection, kind, confirmed, now)
    return Room(reserved=len(state.current(budget, now)), allowed=allowed, active=state.base(now))


def spent(services: Services, connection: Connection) -> bool:
    """Say whether one of the limits lets no more changes go for now."""
    state, now = _standing(services, connection), services.clock()
    limits = (
        (len(state.current(kind, now)), state.allowed(kind, connection.settings.limit, now))
        for kind in Kind
        if kind.budget is kind
    )
    return any(reserved >= max(1, allowed) for reserved, allowed in limits)


def fits(
    services: Services,
    connection: Connection,
    kind: Kind,
    names: Collection[str],
    active: int,
    confirmed: int | None = None,
) -> bool:
    """Say whether `reserve_all` would reserve the names once a run counted so many active people."""
    now = services.clock()
    state = seen_active(_standing(services, connection), active, now)
    budget, allowed = _limit(state, connection, kind, confirmed, now)
    return reserve(state, budget, names, allowed, now) is not None


def remember_active(services: Services, connection: Connection, count: int, *, whole: bool = True) -> bool:
    """Record how many are active, for the limits of the day to come; True until a first whole run has counted.

    No run of a pilot is the first: the first one looks at everybody.
    """
    now, first = services.clock(), False
    whole = whole and connection.pilot is None

    def edit(state: GuardState) -> GuardState | None:
        nonlocal first
        first = not state.active
        return seen_active(state, count, now) if whole or not first else None

    services.guard.change(connection.id, edit)
    return first


def is_first(services: Services, connection: Connection) -> bool:
    """Say whether no full run has counted the people of this connection yet."""
    return not _standing(services, connection).active


def _standing(services: Services, connection: Connection) -> GuardState:
    """Read the guard: an edit that returns nothing writes nothing."""
    seen: list[GuardState] = []
    services.guard.change(connection.id, seen.append)
    return seen[-1]


def may_go(services: Services, connection: Connection, member: Member, entry: Entry | None) -> bool:
    """Say whether a worker may do this now: approved, or undecided and within the limit, for which it is reserved.

    What waits in a held plan waits for it: part of a plan that trips the guard is no safer than the rest.
    """
    return bool(those_that_may_go(services, connection, {member: entry}))


def lets_go(services: Services, connection: Connection, wanted: Do, entry: Entry | None, now: datetime) -> bool:
    """Say whether the brake for this kind of change lets it go; what does not count always goes."""
    counts = braked(wanted.action, entry, wanted.attributes, now)
    # A creation that failed needs no room, but what was decided about it stands.
    if counts or (wanted.action is Action.CREATE and standing_of(services, connection, wanted) is not None):
        return may_go(services, connection, _member(wanted), entry)
    return True


def _member(wanted: Do) -> Member:
    return member_of(wanted.action, wanted.noted, wanted.trigger, wanted.attributes)


def those_that_may_go(
    services: Services, connection: Connection, members: Mapping[Member, Entry | None]
) -> frozenset[Member]:
    """Return which of these changes of one kind a worker may do now, as `may_go` says; those not approved go together.

    Each has the entry that it was decided on. One reading of the plans and one reservation do for all of them.
    """
    holds, now = services.holds.standing(connection.id), services.clock()
    book = Book(holds, {member.resource for member in members})
    verdicts = {member: book.verdict(member) for member in members}
    granted = {
        member for member, told in verdicts.items() if told is not None and told.authorises(members[member], now)
    }
    note(services, connection, APPROVED, [member.name for member in granted])
    free = [
        member
        for member, verdict in verdicts.items()
        if member not in granted
        and not _keeps_back(verdict)
        and not _waits(holds, member)
        # What it takes an approval for, however few they are:
        and member.kind is not Kind.UNLOCKING
        and not (connection.unproven is not None and member.action in (Action.CREATE, Action.RECREATE))
    ]
    names = [attempt(member, members[member]) for member in free]
    if free and reserve_all(services, connection, free[0].kind, names):
        granted.update(free)
    return frozenset(granted)


def _waits(holds: Iterable[Hold], member: Member) -> bool:
    """Say whether a plan waits for the same with another time: a timer that a run could not record began anew.

    Who came back and left again waits with it until the next run, which ends what is no longer due.
    """
    waiting = (each for hold in holds for each in hold.those(Standing.WAITING) if each.resource == member.resource)
    return any((each.action, each.trigger) == (member.action, member.trigger) for each in waiting)


def _keeps_back(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.standing is not Standing.APPROVED


def taken_back(services: Services, connection: Connection, changes: Sequence[PlannedChange]) -> frozenset[str]:
    """Return whose planned writes must no longer be sent, because of an administrator's decision since.

    Either an approval was withdrawn, or the node was accepted without proof: what a run had planned to create there is
    planned again, as something that needs an approval.
    """
    on_trust = connection.unproven is not None
    untrusted = frozenset(change.user_id for change in changes if on_trust and change.action is Action.CREATE)
    holds = services.holds.standing(connection.id)
    if not holds:
        return untrusted
    book, known = Book(holds), services.roster.entries(connection, [change.user_id for change in changes])
    members = {
        change.user_id: member_of(
            change.action, known.get(change.user_id) or Entry(user_id=change.user_id), None, change.attributes
        )
        for change in changes
        if not (change.action is Action.CREATE and change.scim_id)  # adoptions are not braked
    }
    return untrusted | {user_id for user_id, member in members.items() if _keeps_back(book.verdict(member))}


def approved(services: Services, connection: Connection, user_id: str) -> bool:
    """Say whether an administrator approved taking this user's access, within the last 24 hours."""
    now = services.clock()
    return any(
        member.resource == user_id and member.kind is Kind.TAKING and verdict.authorises(None, now)
        for hold in services.holds.standing(connection.id)
        for member, verdict in hold.each()
    )


def kept_out(services: Services, connection: Connection) -> frozenset[str]:
    """Return who is not let in, since a held plan of this connection waits for a decision about them or rejects it."""
    return frozenset(
        member.resource
        for hold in services.holds.standing(connection.id)
        for member in hold.those(*OPEN, Standing.REJECTED)
        if member.kind in (Kind.GIVING, Kind.RECREATING)
    )


def standing_of(services: Services, connection: Connection, decision: Decision) -> Standing | None:
    """Return what a change stands at in the held plans, None where there is none to be made or no plan holds it."""
    if not isinstance(decision, Do):
        return None
    member = _member(decision)
    verdict = Book(services.holds.standing(connection.id), {member.resource}).verdict(member)
    return verdict.standing if verdict is not None else None
