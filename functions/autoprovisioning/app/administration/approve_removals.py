"""Approve that people are taken out of a team, though they are many."""

from __future__ import annotations

from autoprovisioning.app.administration.find_connection import staying
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import NotFound, Stale
from autoprovisioning.domain.events import Actor, of_team
from autoprovisioning.domain.memberships import ApprovedRemovals
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.words import counted


def approve_removals(services: Services, connection_id: str, group_id: str, digest: str, actor: Actor) -> int:
    """Let a run take them out, if they are still the same people then; a run follows. Returns how many they are.

    Raises:
        NotFound: there is no such connection, or it has no such team.
        Stale: others are held by now, or nobody is.
    """
    connection = staying(services, connection_id)
    team = services.teams.get(connection_id).get(group_id)
    if team is None:
        raise NotFound("There is no such team. Choose one of those listed.")
    if not team.held or team.held_digest != digest or not connection.settings.teams.followed:
        raise Stale("Others are held by now, or nobody is any more. Look at the page again.")
    stamp = services.stamp(actor)
    approval = ApprovedRemovals(group_id=group_id, digest=digest, by=actor.address, at=stamp.at)
    what = f"Approved taking {counted(team.held, 'person', 'people')} out of the team {team.name}."
    services.teams.approve(connection_id, approval, of_team(stamp, what, team.team_id))
    if connection.state is State.ON:
        services.queue.request_run(RunKind.FULL)
    return team.held
