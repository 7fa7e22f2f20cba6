"""The teams of a connection with whom each concerns, for those who look."""

from __future__ import annotations

from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.errors import NotFound
from autoprovisioning.domain.people import Roll
from autoprovisioning.domain.team_review import TeamReview
from autoprovisioning.domain.teams import GroupTeam


def review_teams(services: Services, connection: Connection) -> tuple[TeamReview, Roll]:
    """Return the teams and the list of people that they are counted from: one document more than People reads."""
    roll = services.people.read(connection, services.clock())
    return TeamReview(services.teams.get(connection.id).values(), roll.lines, connection), roll


def kept_group(services: Services, connection_id: str, group_id: str) -> GroupTeam:
    """Read what is kept of a group that is to be a team; raises NotFound."""
    kept = services.teams.get(connection_id).get(group_id)
    if kept is None:
        raise NotFound("There is no such group. Choose one of those listed.")
    return kept


def existing_team(review: TeamReview, group_id: str) -> GroupTeam:
    """Return what is kept of a group; raises NotFound."""
    found = next((team for team in review.teams if team.group_id == group_id), None)
    if found is None:
        raise NotFound(
            "There is no such team: the group was not chosen in the last full run. Choose one of those listed."
        )
    return found
