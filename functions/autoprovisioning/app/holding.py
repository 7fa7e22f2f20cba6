"""Held plans: only a run raises one; an administrator approves or rejects exactly the set it names."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from autoprovisioning.app.guarding import reserve_all, spent, within_limit
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import NotFound, Stale
from autoprovisioning.domain.events import Actor, Event, EventName
from autoprovisioning.domain.guard import Hold, HoldState, Member, digest_of, reservation
from autoprovisioning.domain.roster import Action

log = logging.getLogger(__name__)

NOUNS = {Action.SUSPEND.value: "suspension", Action.DELETE.value: "deletion", Action.UNLOCK.value: "unlocking"}
BY_LISTINGS = "of users whom complete listings lack, but of whom the directory does not tell one by one"
LOCKED_BY_OTHERS = "of accounts that somebody else seems to have locked in Keeper"
DECISION_SETTLES = timedelta(hours=1)  # some runs
HONOURED_ANEW = timedelta(days=30)  # far more often than what is remembered expires, far more rarely than runs come


def admit(
    services: Services,
    connection: Connection,
    actions: Mapping[str, Action],
    standing: Collection[str] = (),
    listed_only: Collection[str] = (),
) -> tuple[dict[str, str], Hold | None]:
    """Pass a run's suspensions and deletions through the guard.

    `standing` are those who have been held for the same reason ever since: whom an administrator rejected stays held,
    however much room there is. `listed_only` are those of whom nothing but listings tells: they are held, however few
    they are. Returns the admitted directory ids, each with the digest of the approved hold that covers it (or ""), and
    the hold that stands for the rest, if any: the whole rest, since part of a plan that trips the guard is no safer.
    """
    if not actions:
        return {}, None
    known = services.records.holds(connection.id)
    now = services.clock()
    sifted = _sift(known, actions, standing, listed_only, now)
    _honour(services, connection, sifted.rejected.values(), now)
    fresh, rejected = sifted.names(sifted.fresh), sifted.names(sifted.rejected)
    if not reserve_all(services, connection, fresh, rejected):
        over = _over_the_limit(services, connection, sifted.rest)
        return sifted.approved, _raise(services, connection, sifted.rest, known, now, over + _by_listings(sifted))
    admitted = sifted.approved | dict.fromkeys(sifted.fresh, "")
    if sifted.listed_only:
        return admitted, _raise(services, connection, sifted.listed_only, known, now, _asking(sifted.listed_only))
    return admitted, next(iter(sifted.rejected.values()), None)


def _honour(services: Services, connection: Connection, rejected: Iterable[Hold], now: datetime) -> None:
    """Note of rejected plans that they keep somebody back still: what is noted anew is not forgotten meanwhile."""
    for hold in {hold.digest: hold for hold in rejected}.values():
        since = hold.honoured or hold.decided_at
        if since is None or now - since >= HONOURED_ANEW:
            services.records.change_hold(connection.id, hold.digest, lambda current: replace(current, honoured=now))


def would_hold(
    services: Services,
    connection: Connection,
    actions: Mapping[str, Action],
    standing: Collection[str],
    listed_only: Collection[str],
    size: int,
) -> frozenset[str]:
    """Return whom `admit` would hold back on a roster of that size; nothing is reserved or raised."""
    if not actions:
        return frozenset()
    sifted = _sift(services.records.holds(connection.id), actions, standing, listed_only, services.clock())
    fresh, rejected = sifted.names(sifted.fresh), sifted.names(sifted.rejected)
    within = not fresh or within_limit(services, connection, (*fresh, *rejected), size)
    return frozenset((*sifted.rejected, *sifted.listed_only) if within else sifted.rest)


@dataclass(frozen=True, slots=True)
class _Sifted:
    """Planned suspensions and deletions, sorted by what an administrator decided about them."""

    actions: Mapping[str, Action]
    approved: dict[str, str]  # by the digest of which hold
    rejected: dict[str, Hold]
    listed_only: dict[str, Action]
    fresh: list[str]

    @property
    def rest(self) -> dict[str, Action]:
        """Return what was not approved."""
        return {user_id: action for user_id, action in self.actions.items() if user_id not in self.approved}

    def names(self, user_ids: Iterable[str]) -> list[str]:
        """Name their reservations."""
        return [reservation(user_id, self.actions[user_id].value) for user_id in user_ids]


def _sift(
    known: Sequence[Hold],
    actions: Mapping[str, Action],
    standing: Collection[str],
    listed_only: Collection[str],
    now: datetime,
) -> _Sifted:
    by_member = {member: hold.digest for hold in known if hold.authorises(now) for member in hold.members}
    approved = {
        user_id: by_member[user_id, action.value]
        for user_id, action in actions.items()
        if (user_id, action.value) in by_member
    }
    rejected = {
        user_id: hold
        for user_id, action in actions.items()
        if user_id in standing and user_id not in approved and (hold := _rejecting(known, user_id, action)) is not None
    }
    open_ones = [user_id for user_id in actions if user_id not in approved and user_id not in rejected]
    untold = {user_id: actions[user_id] for user_id in open_ones if user_id in listed_only or actions[user_id].asks}
    fresh = [user_id for user_id in open_ones if user_id not in untold]
    return _Sifted(actions, approved, rejected, untold, fresh)


def _rejecting(known: Iterable[Hold], user_id: str, action: Action) -> Hold | None:
    held = (hold for hold in known if hold.state is HoldState.REJECTED and (user_id, action.value) in hold.members)
    return next(held, None)


def is_rejected(services: Services, connection: Connection, user_id: str, action: Action) -> bool:
    """Say whether an administrator rejected a plan with this in it."""
    return _rejecting(services.records.holds(connection.id), user_id, action) is not None


def _raise(
    services: Services,
    connection: Connection,
    rest: Mapping[str, Action],
    known: Sequence[Hold],
    now: datetime,
    reason: str,
) -> Hold:
    members = tuple(sorted((user_id, action.value) for user_id, action in rest.items()))
    digest = digest_of(members)
    for hold in known:
        if hold.digest == digest and hold.state is HoldState.WAITING:
            return hold
        decided_now = hold.decided_at is not None and now - hold.decided_at < DECISION_SETTLES
        if hold.state is HoldState.REJECTED and decided_now and set(members) <= set(hold.members):
            return hold  # somebody's flag is still to come: a worker was at them when the others' were set
    for hold in known:
        if hold.state is HoldState.WAITING:
            services.records.change_hold(connection.id, hold.digest, lambda current: _superseded(current, now))
    hold = Hold(digest, now, members, HoldState.WAITING, reason)
    event = Event(services.new_id(), now, EventName.HELD, "run", reason=f"{reason}. Digest {digest}")
    services.records.put_hold(connection.id, hold, event)
    log.error(
        "Plan held by the volume guard",
        extra={
            "json_fields": {"alert": "plan_held", "connection": connection.id, "digest": digest, "held": len(members)}
        },
    )
    return hold


def _over_the_limit(services: Services, connection: Connection, rest: Mapping[str, Action]) -> str:
    reserved, allowed = spent(services, connection)
    earlier = f", after {reserved} of the last 24 hours," if reserved else ""
    return f"{_counted(rest)}{earlier} would exceed the limit of {allowed} within 24 hours"


def _by_listings(sifted: _Sifted) -> str:
    """Say of whom nothing but listings tells; nothing where there are none."""
    number = sum(not action.asks for action in sifted.listed_only.values())
    return f"; {number} of them {BY_LISTINGS}" if number else ""


def _asking(untold: Mapping[str, Action]) -> str:
    """Say what is done only as an administrator approves it."""
    listed = {user_id: action for user_id, action in untold.items() if not action.asks}
    locked = {user_id: action for user_id, action in untold.items() if action.asks}
    parts = ((listed, BY_LISTINGS), (locked, LOCKED_BY_OTHERS))
    return "; ".join(f"{_counted(members)} {why}" for members, why in parts if members)


def _counted(rest: Mapping[str, Action]) -> str:
    counts = Counter(action.value for action in rest.values())
    return " and ".join(
        f"{count} {NOUNS[action]}{'s' if count > 1 else ''}" for action, count in sorted(counts.items())
    )


def _superseded(hold: Hold, now: datetime) -> Hold | None:
    """Give way to a newer plan, unless somebody has decided in this very moment."""
    return replace(hold, state=HoldState.SUPERSEDED, decided_at=now) if hold.state is HoldState.WAITING else None


def with_addresses(services: Services, connection: Connection, members: Sequence[Member]) -> list[tuple[Member, str]]:
    """Return members of a held plan, each with the address that the roster has, or ""."""
    user_ids = [user_id for user_id, _ in members]
    known = services.roster.entries(connection, user_ids) if connection.shards else {}
    return [(member, known[member[0]].email if member[0] in known else "") for member in members]


def decide_hold(services: Services, connection_id: str, digest: str, *, approve: bool, actor: Actor) -> Hold:
    """Approve or reject a waiting plan by its digest; the next run carries it out, reading each user again.

    Raises:
        NotFound: no plan has this digest.
        Stale: the plan changed since, or was decided already.
    """
    now = services.clock()
    state = HoldState.APPROVED if approve else HoldState.REJECTED

    def decide(hold: Hold) -> Hold:
        if hold.state is not HoldState.WAITING:
            raise Stale(f"The held plan {digest} is {hold.state.value} already. Reload the held plans.")
        return replace(hold, state=state, decided_by=actor.address, decided_at=now)

    event = Event(
        services.new_id(),
        now,
        EventName.CONFIGURED,
        actor.address,
        changed={"held plan": state.value},
        before={"held plan": HoldState.WAITING.value},
        reason=f"{'Approved' if approve else 'Rejected'} held plan {digest}",
        actor_id=actor.directory_id,
    )
    decided = services.records.change_hold(connection_id, digest, decide, lambda _was, _becomes: event)
    if decided is None:
        raise NotFound(f"No held plan has the digest {digest!r}. Reload the held plans and use one shown there.")
    return decided
