"""Teams over SCIM: list, create and rename them. What Keeper makes of a Group is a team, or by its name a role.

Members are never asked for: Keeper's pages advise excludedAttributes=members, and memberships show with the users.
A write is sent once. If its answer was lost, the listing of the next run tells what became of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from autoprovisioning.adapters.scim.names import spelled
from autoprovisioning.adapters.scim.paging import Kind, listed
from autoprovisioning.adapters.scim.protocol import (
    GROUPS,
    Answer,
    Dropped,
    NotConnected,
    error_of,
    maybe_done,
    passing,
)
from autoprovisioning.adapters.scim.resources import PATCH_OP
from autoprovisioning.adapters.scim.sending import OVERRUN, Sender
from autoprovisioning.domain.accounts import id_problem
from autoprovisioning.domain.errors import Contradicted, NotSent, Permanent, Unresolved
from autoprovisioning.domain.teams import Team

GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
LONGEST_NAME = 1024  # characters of a name or externalId that are kept: none of ours is as long


def read_team(resource: Mapping[str, Any]) -> Team:
    """Read a Group leniently: what is not text counts as empty, an id that cannot be used too."""
    resource = spelled(resource)
    texts = {name: resource.get(name) for name in ("id", "displayName", "externalId")}
    team_id, name, external_id = (text[:LONGEST_NAME] if isinstance(text, str) else "" for text in texts.values())
    return Team(id="" if id_problem(team_id) else team_id, name=name, external_id=external_id)


TEAMS = Kind(
    path=GROUPS,
    name="groups",
    read=read_team,
    identity=lambda team: team.id or f"\0{team.name}\0{team.external_id}",
    params={"excludedAttributes": "members"},
)


class ScimTeams:
    """The teams of one node."""

    def __init__(self, sender: Sender, page_size: int) -> None:
        self._sender = sender
        self._page_size = page_size

    async def list(self) -> list[Team]:
        """List them; raises Incomplete."""
        return [team async for page in listed(self._sender, TEAMS, self._page_size) for team in page]

    async def create(self, external_id: str, name: str, deadline: datetime) -> Team:
        """Create one: Keeper shows its id."""
        body = {"schemas": [GROUP], "displayName": name, "externalId": external_id}
        answer = await self._send("POST", GROUPS, body, deadline)
        team = read_team(answer.body or {})
        if not team.id or team.external_id not in ("", external_id):
            raise Unresolved("Keeper's answer does not show the group that was created")
        return Team(id=team.id, name=team.name or name, external_id=external_id)

    async def rename(self, team: Team, name: str, deadline: datetime) -> Team:
        """Rename one, in the form of Keeper's own tools: no path, externalId and displayName together."""
        problem = id_problem(team.id)
        if problem:
            raise Permanent(f"The group's id in Keeper cannot be used: {problem}. Ask Keeper's support.")
        value = {"externalId": team.external_id, "displayName": name}
        body = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "value": value}]}
        answer = await self._send("PATCH", f"{GROUPS}/{quote(team.id, safe='')}", body, deadline)
        shown = read_team(answer.body or {})
        if shown.name not in ("", name):
            raise Contradicted(f"Keeper answered {answer.status} to a new name of a group, but shows the old one.")
        return Team(id=team.id, name=name, external_id=team.external_id)

    async def _send(self, method: str, path: str, body: Mapping[str, Any], deadline: datetime) -> Answer:
        sender = self._sender
        try:
            async with sender.pace.slot(sender.left(deadline)):
                stop, left = sender.writes.stop(), sender.left(deadline)
                if stop is not None or left <= 0:
                    raise stop or NotSent("The deadline passed before the group was sent")
                answer = await sender.transport.send(method, path, body=body, at_most=left + OVERRUN)
        except NotConnected as failed:
            raise NotSent(f"Keeper cannot be reached ({failed})", retry_after=10) from failed
        except Dropped as dropped:
            raise Unresolved(f"Keeper's answer about a group was lost ({dropped})") from dropped
        if answer.ok:
            sender.pace.succeeded()
            return answer
        if passing(answer) and maybe_done(answer):
            raise Unresolved(f"Keeper may have written a group before it failed (HTTP {answer.status})")
        raise error_of(answer, sender.clock(), known_account=False)
