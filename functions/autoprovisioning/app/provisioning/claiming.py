"""Claim an account before it becomes a user's, so that two workers never give it to two."""

from __future__ import annotations

from autoprovisioning.app.ports.claims import Claim
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection


def claim(services: Services, connection: Connection, scim_id: str, claim: Claim) -> bool:
    """Claim an account; False where another user has it, or is at it.

    Who claimed it and neither got it nor is at it any more (refused for good, say) loses it. Workers mark their entry
    before they claim, and claim anew at each attempt, so whoever starts again meanwhile keeps their claim. Who takes an
    account over has no mark, and so claims once more when the roster has it.
    """
    held = services.claims.claim(connection.id, scim_id, claim)
    if held == claim:
        return True
    holder = services.roster.entry(connection, held.user_id)
    if holder is not None and (holder.mark is not None or holder.scim_id == scim_id):
        return False
    return services.claims.claim(connection.id, scim_id, claim, held) == claim
