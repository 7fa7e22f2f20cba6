"""Have a team asked for again that Keeper refused, or to whose creation it gave no answer."""

from __future__ import annotations

from collections.abc import Mapping

from autoprovisioning.app.administration.find_connection import staying
from autoprovisioning.app.administration.teams import kept_group
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import State
from autoprovisioning.domain.errors import WrongState
from autoprovisioning.domain.events import Actor, of_team
from autoprovisioning.domain.runs import RunKind
from autoprovisioning.domain.teams import GroupTeam, TeamState


def retry_team(services: Services, connection_id: str, group_id: str, actor: Actor) -> GroupTeam:
    """Let a run ask for it as if nothing had been sent before; a run follows.

    Raises:
        NotFound: there is no such connection, or it has no such group.
        WrongState: nothing about it failed.
    """
    connection = staying(services, connection_id)
    kept = kept_group(services, connection_id, group_id)
    if kept.state is not TeamState.REFUSED:
        raise WrongState(f"Nothing about the team of the group {kept.name} is refused. Look at the page again.")
    stamp = services.stamp(actor)

    def edit(current: Mapping[str, GroupTeam]) -> Mapping[str, GroupTeam]:
        team = current.get(group_id)
        refused = team is not None and team.state is TeamState.REFUSED
        return {**current, group_id: team.anew(stamp.at)} if team is not None and refused else current

    told = of_team(stamp, f"Requested another attempt for the team of the group {kept.email}.", kept.team_id)
    services.teams.change(connection_id, edit, [told])
    if connection.state is State.ON:
        services.queue.request_run(RunKind.FULL)
    return kept
