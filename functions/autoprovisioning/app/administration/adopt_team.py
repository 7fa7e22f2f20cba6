"""Confirm that a team which somebody made in Keeper is to be a group's."""

from __future__ import annotations

from autoprovisioning.app.administration.find_connection import staying
from autoprovisioning.app.administration.teams import kept_group
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import Stale, WrongState
from autoprovisioning.domain.events import Actor, of_team
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.teams import ConfirmedAdoption, TeamState


def adopt_team(
    services: Services, connection_id: str, group_id: str, actor: Actor, *, team_id: str, team_name: str
) -> ConfirmedAdoption:
    """Let a run give the team of this id and name the group's id and name, if both are as they were by then.

    A run follows. To confirm the same again changes nothing.

    Raises:
        NotFound: there is no such connection, or it has no such group.
        Stale: the team, or the group, is not as it was offered any more.
        WrongState: it may not be adopted.
    """
    connection = staying(services, connection_id)
    kept = kept_group(services, connection_id, group_id)
    offered = kept.namesake
    if offered is None or kept.state is not TeamState.NAME_TAKEN or not connection.settings.teams.on:
        raise Stale(f"No team is offered to the group {kept.name} any more. Look at the page again.")
    if (offered.team_id, offered.name) != (team_id, team_name):
        raise Stale(f"Another team is offered to the group {kept.name} now. Look at the page again.")
    if offered.obstacle is not None:
        raise WrongState(f"The team {offered.name} cannot be adopted: {offered.why}.")
    stamp = services.stamp(actor)
    confirmed = ConfirmedAdoption(
        group_id=group_id, name=kept.name, team_id=team_id, team_name=team_name, by=actor.address, at=stamp.at
    )
    known = services.teams.adoptions(connection_id).get(group_id)
    if known is None or not known.lasts(stamp.at) or not confirmed.alike(known):
        what = f"Confirmed that the team {team_name} ({team_id}) in Keeper is to be that of the group {kept.email}."
        services.teams.confirm(connection_id, confirmed, of_team(stamp, what, team_id))
    if connection.state is State.ON:
        services.queue.request_run(RunKind.FULL)
    return confirmed
