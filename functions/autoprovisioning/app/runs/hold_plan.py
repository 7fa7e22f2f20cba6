"""Held plans: runs raise, keep and end them; everything else asks here what has been decided."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from autoprovisioning.app.provisioning.volume_guard import fits, note, reserve_all, room
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.events import RUN, Event, held
from autoprovisioning.domain.guard import APPROVED, Kind, Member, attempt
from autoprovisioning.domain.holds import (
    OPEN,
    Book,
    Hold,
    HoldState,
    Standing,
    digest_of,
    settled,
)
from autoprovisioning.domain.words import NOUNS, carried_out

log = logging.getLogger(__name__)

BY_LISTINGS = "of users missing from complete listings, about whom the directory gives no individual answer"
UNPROVEN = "on a node that was reauthorized although no known account was found there"
LOCKED_BY_OTHERS = "of accounts that somebody else seems to have locked in Keeper"


@dataclass(frozen=True, slots=True, kw_only=True)
class DueChange:
    """A change that a plan asks for; `unproven` says what lacks proof: such changes are held however few they are.

    `overtaken`: the roster does not have the trigger that it names, since the entry changed while the run was listing.
    It is held back, but nobody is asked about it: the next run judges the user anew.
    """

    member: Member
    entry: Entry | None
    unproven: str = ""
    overtaken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sifted:
    """Planned changes of one kind, sorted by what an administrator decided about them."""

    approved: list[DueChange]
    kept: list[DueChange]  # rejected, to be decided again, or part of a plan that this one does not see all of
    unproven: list[DueChange]
    fresh: list[DueChange]


def _sift(holds: Iterable[Hold], wanted: Sequence[DueChange], now: datetime, *, whole: bool = True) -> _Sifted:
    book, sifted = Book(holds), _Sifted(approved=[], kept=[], unproven=[], fresh=[])
    keeps = {Standing.REJECTED, Standing.WITHDRAWN} | ({Standing.WAITING} if not whole else set())
    for each in wanted:
        verdict = book.verdict(each.member)
        if verdict is not None and verdict.authorises(each.entry, now):
            sifted.approved.append(each)
        elif verdict is not None and verdict.standing in keeps:
            sifted.kept.append(each)
        else:
            (sifted.unproven if each.unproven else sifted.fresh).append(each)
    return sifted


def _names(wanted: Iterable[DueChange]) -> list[str]:
    return [attempt(each.member, each.entry) for each in wanted]


Keep = Callable[[Sequence[DueChange]], list[DueChange]]


def admit(
    services: Services,
    connection: Connection,
    kind: Kind,
    wanted: Sequence[DueChange],
    holds: Sequence[Hold],
    *,
    whole: bool = True,
    confirmed: int | None = None,
    keep: Keep = list,
) -> tuple[list[DueChange], Hold | None]:
    """Pass what a run plans of one kind through the brake: return what is held, and the plan raised for it, if any.

    `holds` are the connection's. What is over the limit is held as a whole. A waiting plan ends if it is empty, fits,
    or differs from what is held now; but a plan that is not `whole` (listings broke off, for instance) ends none: the
    part of a waiting plan that it contains is no safer than the rest, and waits with it. A number `confirmed` in
    advance is the limit. `keep` records what is held, and returns it as recorded, which is how the plan names it.
    """
    sifted = _sift(holds, wanted, services.clock(), whole=whole)
    if sifted.approved:
        _let_go(services, connection, kind, sifted.approved)
    fit = reserve_all(services, connection, kind, _names(sifted.fresh), confirmed)
    recorded = keep(sifted.kept + sifted.unproven + ([] if fit else sifted.fresh))
    held = recorded[len(sifted.kept) :]
    mine = [hold for hold in holds if hold.kind is kind]
    beside = () if whole else (member for hold in mine for member in hold.those(Standing.WAITING))
    planned = frozenset((*(each.member for each in held), *beside))
    members = planned - {each.member for each in held if each.overtaken}
    reasons = [] if fit else [_over_the_limit(services, connection, kind, planned, confirmed)]
    if sifted.unproven:
        those = f"{len(sifted.unproven)} of them" if reasons else _counted(each.member for each in sifted.unproven)
        reasons.append(f"{those} {sifted.unproven[0].unproven}")
    return recorded, _stand(services, connection, mine, members, "; ".join(reasons))


def _let_go(services: Services, connection: Connection, kind: Kind, approved: Sequence[DueChange]) -> None:
    """Warn of many changes at once, even approved ones: somebody may have approved them unread."""
    note(services, connection, APPROVED, [each.member.name for each in approved])
    if len(approved) > room(services, connection, kind).allowed:
        fields = {"alert": "many_at_once", "connection": connection.id, "kind": kind.value, "count": len(approved)}
        log.warning("An approved plan beyond the volume limit is carried out", extra={"json_fields": fields})


def would_hold(
    services: Services,
    connection: Connection,
    kind: Kind,
    wanted: Sequence[DueChange],
    active: int,
    confirmed: int | None,
) -> frozenset[str]:
    """Return whom `admit` would hold back in a run that counts so many active people; nothing is reserved or raised."""
    sifted = _sift(services.holds.standing(connection.id), wanted, services.clock())
    held = sifted.kept + sifted.unproven
    if sifted.fresh and not fits(
        services, connection, kind, names=_names(sifted.fresh), active=active, confirmed=confirmed
    ):
        held = held + sifted.fresh
    return frozenset(each.member.resource for each in held)


def _stand(
    services: Services, connection: Connection, holds: Sequence[Hold], members: frozenset[Member], reason: str
) -> Hold | None:
    """Keep the plan that holds exactly these; otherwise end what waits, and raise one for them, if there are any."""
    now = services.clock()
    for hold in holds:
        waiting = hold.those(Standing.WAITING)
        if waiting and members == {*waiting}:
            return hold
        if waiting:
            services.holds.change(connection.id, hold.digest, lambda current: _released(current, now))
    if not members:
        return None
    ordered = tuple(sorted(members, key=lambda member: member.order))
    hold = Hold(digest=digest_of(ordered, now), raised_at=now, members=ordered, reason=reason)
    services.holds.put(connection.id, hold, held(services.stamp(RUN), f"{reason}. Plan {hold.digest}"))
    _alert(connection, hold, len(ordered))
    return hold


def _alert(connection: Connection, hold: Hold, held: int) -> None:
    fields = {"alert": "plan_held", "connection": connection.id, "digest": hold.digest, "held": held}
    log.error("Plan held by the volume guard", extra={"json_fields": fields})


def _released(hold: Hold, now: datetime) -> Hold | None:
    """End what still waits in a plan; a decision made at this very moment stands."""
    moved = hold.moved(lambda _, verdict: Standing.RELEASED if verdict.standing is Standing.WAITING else None, now)
    return moved if moved is not hold else None


def _over_the_limit(
    services: Services, connection: Connection, kind: Kind, members: Collection[Member], confirmed: int | None
) -> str:
    left = room(services, connection, kind, confirmed)
    earlier = f", after {left.reserved} of the last 24 hours," if left.reserved else ""
    if confirmed is not None:
        by = "by the preview that this first run was turned on with"
        return f"{_counted(members)}{earlier} are more than {confirmed}, {by}"
    over = f"{_counted(members)}{earlier} would exceed the limit of {left.allowed} within 24 hours"
    if kind is Kind.TAKING and left.allowed < connection.settings.limit.allowed(left.active):
        over += ", since access is never taken from half of the active people at once"
    return over


def _counted(members: Iterable[Member]) -> str:
    counts = sorted(Counter(member.action for member in members).items())
    return " and ".join(f"{count} {NOUNS[action][count > 1]}" for action, count in counts)


def settle_holds(
    services: Services,
    connection: Connection,
    due: Collection[Member] | None,
    entries: Mapping[str, Entry] | None = None,
    *,
    whole: bool = True,
    began: datetime | None = None,
    tells_of: Callable[[str], bool] = lambda _: True,
    in_parts: bool = False,
    locks: bool = False,
) -> list[Hold]:
    """Remove members of held plans that are done, no longer due or too old, and record the plans that this ends.

    `due` is what a run plans, before any brake, and `entries` the roster at that time. Without them, when a run
    closes, the entries that approvals name are read. A run that `began` before a plan was raised read nothing of what
    that is about: for it nobody of the plan is no longer due; nor is anybody of whom its listings did not tell
    (`tells_of`), if they were made `in_parts` or a decision stands. Plans of `locks` are apart: no run plans them.
    Returns the plans as they are afterwards.
    """
    now, kept = services.clock(), []
    for hold in services.holds.standing(connection.id):
        if (hold.kind is Kind.LOCKING) is not locks:
            continue
        stands = whole and (began is None or hold.raised_at <= began)
        approved = [member.resource for member in hold.those(Standing.APPROVED)]
        known = entries if entries is not None else services.roster.entries(connection, approved) if approved else {}

        def strike(current: Hold, known: Mapping[str, Entry] = known, stands: bool = stands) -> Hold | None:
            struck = settled(
                current,
                known,
                due,
                now,
                stands=stands,
                tells_of=tells_of,
                in_parts=in_parts,
                operates_on=connection.operates_on,
            )
            return struck if struck is not current else None

        struck = hold
        if strike(hold) is not None:
            struck = services.holds.change(connection.id, hold.digest, strike, _telling(services)) or hold
        if struck.state is HoldState.WAITING and hold.state is not HoldState.WAITING:
            _alert(connection, struck, len(struck.those(*OPEN)))
        kept.append(struck)
    return kept


def _telling(services: Services) -> Callable[[Hold, Hold], Event | None]:
    """Record that a plan is over, or asked about again; nothing for one that goes on."""
    stamp = services.stamp(RUN)

    def tell(was: Hold, becomes: Hold) -> Event | None:
        if becomes.state is HoldState.CLOSED:
            return held(stamp, f"Plan {was.digest} {carried_out(becomes)}")
        if becomes.state is HoldState.WAITING and was.state is not HoldState.WAITING:
            asked = len(becomes.those(*OPEN))
            return held(stamp, f"Rejected 30 days ago, to be decided again: {asked} of plan {was.digest}")
        return None

    return tell
