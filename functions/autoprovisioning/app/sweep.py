"""The scope sweep: the scope groups' members only, every few minutes, because Google sends no notification for them.

Differences are published as "look again". A sweep that finds more leavers than the volume limit allows leaves them to
the next full run, which holds them as one plan.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprovisioning.app.services import Services
from autoprovisioning.app.survey import Members, read_groups
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.roster import Entry
from autoprovisioning.domain.runs import Evidence, Look

log = logging.getLogger(__name__)

ACTOR = "scope sweep"


@dataclass(frozen=True, slots=True)
class _Side:
    """One connection's part of the sweep: roster, members, and whether all groups could be read."""

    connection: Connection
    roster: Mapping[str, Entry]
    inside: frozenset[str]
    complete: bool

    def has(self, user_id: str) -> bool:
        """Say whether the user was in scope when last looked at."""
        return user_id in self.roster and self.roster[user_id].in_scope

    def joined(self) -> set[str]:
        """Return who is a member now and was not in scope."""
        return {user_id for user_id in self.inside if not self.has(user_id)}

    def missing(self) -> set[str]:
        """Return who was in scope and is in none of the groups that could be read."""
        return {user_id for user_id, entry in self.roster.items() if entry.in_scope and user_id not in self.inside}

    def left(self) -> set[str]:
        """Return who left by complete listings; nobody where they are too many to be looked at one by one."""
        gone = self.missing() if self.complete else set()
        if len(gone) > self.connection.limit.allowed(len(self.roster)):
            log.warning("Many users left the scope at once: left to the next full run, which holds them as one plan")
            return set()
        return gone


def sweep(services: Services) -> int:
    """Compare membership with the rosters and publish the differences; returns how many.

    Raises:
        Transient: nothing could be published.
    """
    scoped = [
        connection
        for connection in services.connections.all()
        if connection.state is State.ON and connection.scope.groups and connection.shards
    ]
    if not scoped:
        return 0
    rosters = {connection.id: services.roster.load(connection) for connection in scoped}
    members, _notes = read_groups(services.directory, scoped)
    sides = [_side(connection, rosters[connection.id], members) for connection in scoped]
    now = services.clock()
    looks = [
        Look(user_id, "", Evidence(left_scope=left), asked_at=now, actor=ACTOR)
        for user_id, left in sorted(_differences(sides).items())
    ]
    services.queue.look_again(looks)
    return len(looks)


def _side(connection: Connection, roster: Mapping[str, Entry], members: Members) -> _Side:
    known = [members.get(group.id) for group in connection.scope.groups]
    inside = frozenset[str]().union(*(ids for ids in known if ids is not None))
    return _Side(connection, roster, inside, None not in known)


def _differences(sides: Sequence[_Side]) -> dict[str, bool]:
    """Return whom to look at, and whether complete listings prove that they left every scope they were in.

    One look is about every connection, so the proof must hold for all of them. A user who belongs to an earlier
    connection has not joined a later one.
    """
    gone = [side.left() for side in sides]
    left = set[str]().union(*gone)
    unproven = set[str]().union(*(side.missing() - proven for side, proven in zip(sides, gone, strict=True)))
    joined = {
        user_id
        for position, side in enumerate(sides)
        for user_id in side.joined()
        if not any(earlier.has(user_id) and user_id in earlier.inside for earlier in sides[:position])
    }
    return {user_id: user_id in left and user_id not in unproven for user_id in joined | left}
