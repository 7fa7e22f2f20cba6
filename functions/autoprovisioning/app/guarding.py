"""The volume guard at work: reservations made before a change, by compare-and-set on one document a connection."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.guard import RECREATE, GuardState, reservation, reserve
from autoprovisioning.domain.roster import Action
from autoprovisioning.domain.runs import Look


def reserve_all(services: Services, connection: Connection, names: Iterable[str], besides: Iterable[str] = ()) -> bool:
    """Reserve all of the names or none; True when they, and what stands `besides` unreserved, are within the limit."""
    wanted, others = tuple(names), tuple(besides)
    if not wanted:
        return True
    now = services.clock()

    def edit(state: GuardState) -> GuardState | None:
        allowed = connection.limit.allowed(state.roster_size)
        if reserve(state, (*wanted, *others), allowed, now) is None:
            return None
        return reserve(state, wanted, allowed, now)

    return services.records.change_guard(connection.id, edit) is not None


def within_limit(services: Services, connection: Connection, names: Collection[str], size: int) -> bool:
    """Say whether `reserve_all` would reserve the names for a roster of that size; nothing is reserved."""
    standing = _standing(services, connection)
    return reserve(standing, names, connection.limit.allowed(size), services.clock()) is not None


def spent(services: Services, connection: Connection) -> tuple[int, int]:
    """Return how many changes the last 24 hours have reserved, and how many they may."""
    standing = _standing(services, connection)
    return len(standing.current(services.clock())), connection.limit.allowed(standing.roster_size)


def _standing(services: Services, connection: Connection) -> GuardState:
    """Read the guard document: an edit that returns nothing writes nothing."""
    seen: list[GuardState] = []
    services.records.change_guard(connection.id, seen.append)
    return seen[-1]


def reserve_one(services: Services, connection: Connection, look: Look, action: Action) -> bool:
    """Reserve one suspension or deletion; what an administrator approved is not counted again."""
    if action.value in approved_actions(services, connection, look):
        return True
    if action is Action.RECREATE:
        return may_recreate(services, connection, look.user_id)
    return reserve_all(services, connection, [reservation(look.user_id, action.value)])


def may_recreate(services: Services, connection: Connection, user_id: str) -> bool:
    """Reserve the creation of an account that vanished from Keeper; on an unproven node it takes an approval."""
    if connection.unproven:
        return False
    return reserve_all(services, connection, [reservation(user_id, RECREATE)])


def approved_actions(services: Services, connection: Connection, look: Look) -> frozenset[str]:
    """Return what an administrator approved to be done with this user, by the hold that the look names."""
    hold = services.records.hold(connection.id, look.hold) if look.hold else None
    if hold is None or not hold.authorises(services.clock()):
        return frozenset()
    return frozenset(action for user_id, action in hold.members if user_id == look.user_id)
