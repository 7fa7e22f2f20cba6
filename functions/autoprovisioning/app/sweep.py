"""The scope sweep: the scope groups' members only, every few minutes, because Google sends no notification for them.

Differences are published as "look again". A sweep that finds more leavers than the volume limit allows leaves them to
the next full run, which holds them as one plan.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from autoprovisioning.app.services import Services
from autoprovisioning.app.survey import Members, read_groups
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.roster import Entry
from autoprovisioning.domain.runs import Evidence, Look

log = logging.getLogger(__name__)

ACTOR = "scope sweep"


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
    looks: dict[str, Look] = {}
    for connection in scoped:
        for look in _differences(services, connection, rosters[connection.id], members):
            looks[look.user_id] = look
    services.queue.look_again(list(looks.values()))
    return len(looks)


def _differences(
    services: Services, connection: Connection, roster: Mapping[str, Entry], members: Members
) -> Sequence[Look]:
    known = [members.get(group.id) for group in connection.scope.groups]
    inside = frozenset[str]().union(*(ids for ids in known if ids is not None))
    now = services.clock()
    joined = [user_id for user_id in inside if not (user_id in roster and roster[user_id].in_scope)]
    looks = [Look(user_id, asked_at=now, actor=ACTOR) for user_id in sorted(joined)]
    if None in known:
        return looks
    left = [user_id for user_id, entry in roster.items() if entry.in_scope and user_id not in inside]
    if len(left) > connection.limit.allowed(len(roster)):
        log.warning("Many users left the scope at once: left to the next full run, which holds them as one plan")
        return looks
    evidence = Evidence(left_scope=True)
    return looks + [Look(user_id, "", evidence, asked_at=now, actor=ACTOR) for user_id in sorted(left)]
