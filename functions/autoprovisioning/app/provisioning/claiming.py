"""Claim an account before it becomes a user's, so that two workers never give it to two."""

from __future__ import annotations

from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection


def claim(services: Services, connection: Connection, scim_id: str, claim: Claim) -> bool:
    """Claim an account; False if another user has it, or is about to.

    A user who claimed it, but neither got it nor is still about to (refused for good, for instance), loses it. Workers
    mark their entry before they claim, and claim again at each attempt, so one that starts again meanwhile keeps its
    claim. A take-over has no mark, and so claims once more when the roster has the account. Who locks an account that
    nobody provisions claims it for no user, and marks that among the locks.
    """
    held = services.claims.claim(connection.id, scim_id, claim)
    if held == claim:
        return True
    if not held.user_id:
        lock = services.unprovisioned.locks(connection.id).get(scim_id)
        if lock is not None and lock.live(services.clock()):
            return False
    holder = services.roster.entry(connection, held.user_id)
    if holder is not None and (holder.mark is not None or holder.scim_id == scim_id):
        return False
    return services.claims.claim(connection.id, scim_id, claim, held) == claim
