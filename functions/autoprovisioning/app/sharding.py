"""How many shards a connection's roster has: fixed in its first run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoprovisioning.app.opening import Side
from autoprovisioning.app.planning import Plan
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection

SMALLEST_SHARDS = 64
USERS_A_SHARD = 300


def fix_shards(services: Services, side: Side, plan: Plan) -> None:
    """Fix the number of roster shards in the first run: a power of two, at least 64, at most 300 users in any."""
    if side.connection.shards:
        return
    user_ids = [change.user_id for change in plan.writes] + list(plan.notes)
    shards = SMALLEST_SHARDS
    while _fullest(services, replace(side.connection, shards=shards), user_ids) > USERS_A_SHARD:
        shards *= 2
    fixed = services.connections.change(
        side.connection.id, lambda current: None if current.shards else replace(current, shards=shards)
    )
    known = fixed or services.connections.get(side.connection.id)  # None where it is being deleted
    side.connection = known or replace(side.connection, shards=shards)


def _fullest(services: Services, connection: Connection, user_ids: Sequence[str]) -> int:
    sizes = [0] * connection.shards
    for user_id in user_ids:
        sizes[services.roster.shard(connection, user_id)] += 1
    return max(sizes)
