"""Teams over SCIM: list, create and rename them. What Keeper makes of a Group is a team, or by its name a role.

Members are never asked for: Keeper's pages advise excludedAttributes=members, and memberships show with the users.
A write is sent again while Keeper is busy. A creation whose answer was lost is not: a second one would make a second
team. It is looked for, and if no listing shows it, the next run's may.
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
from autoprovisioning.adapters.scim.sending import ATTEMPTS, OVERRUN, Sender
from autoprovisioning.domain.accounts import id_problem
from autoprovisioning.domain.errors import Contradicted, NotSent, Permanent, ProvisioningError, Transient, Unresolved
from autoprovisioning.domain.teams import LONGEST_TEAM_NAME, Team, comparable

CREATED = 201
NO_CONTENT = 204
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"


def read_team(resource: Mapping[str, Any]) -> Team:
    """Read a Group leniently: what is not text counts as empty, an id that cannot be used too."""
    resource = spelled(resource)
    texts = {name: resource.get(name) for name in ("id", "displayName", "externalId")}
    team_id, name, external_id = (text[:LONGEST_TEAM_NAME] if isinstance(text, str) else "" for text in texts.values())
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

    async def list(self, deadline: datetime | None = None) -> list[Team]:
        """List them; raises Incomplete, which a listing is too that has not ended by the deadline."""
        return [team async for page in listed(self._sender, TEAMS, self._page_size, ends=deadline) for team in page]

    async def create(self, external_id: str, name: str, deadline: datetime) -> Team:
        """Create one: Keeper shows its id, or says that it was created (201, RFC 7644 3.3), but not under which id."""
        body = {"schemas": [GROUP], "displayName": name, "externalId": external_id}
        created = False
        try:
            answer = await self._send("POST", GROUPS, body, deadline)
            team = read_team(answer.body or {})
            created = answer.status == CREATED and not team.id
            if not team.id or team.external_id not in ("", external_id):
                raise Unresolved("Keeper's answer does not show the group that was created")
        except Unresolved:
            made = await self._made(external_id, deadline)
            if made is None and not created:
                raise
            return made or Team(id="", name=name, external_id=external_id)
        return Team(id=team.id, name=team.name or name, external_id=external_id)

    async def _made(self, external_id: str, deadline: datetime) -> Team | None:
        """Look for the group of a creation whose answer was lost; None: it is not listed, or not yet."""
        try:
            found = [team for team in await self.list(deadline) if team.external_id == external_id]
        except ProvisioningError:
            return None
        return found[0] if len(found) == 1 and found[0].id else None

    async def rename(self, team: Team, name: str, deadline: datetime) -> Team:
        """Rename one, in the form of Keeper's own tools: no path, externalId and displayName together.

        With the externalId of a group a team that has none is adopted.
        """
        problem = id_problem(team.id)
        if problem:
            raise Permanent(f"The group's id in Keeper cannot be used: {problem}. Ask Keeper's support.")
        value = {"externalId": team.external_id, "displayName": name}
        body = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "value": value}]}
        path = f"{GROUPS}/{quote(team.id, safe='')}"
        answer = await self._send("PATCH", path, body, deadline)
        shown = read_team(answer.body or {})
        if not (shown.id or shown.name or answer.status == NO_CONTENT):  # a page, say, which proves nothing
            shown = await self._looked_up(path, team.id, deadline)
            if not shown.external_id:
                raise Contradicted(f"Keeper answered {answer.status} to a group's externalId, but shows none.")
        if shown.name and comparable(shown.name) == comparable(team.name) != comparable(name):
            raise Contradicted(f"Keeper answered {answer.status} to a new name of a group, but shows the old one.")
        if shown.external_id not in ("", team.external_id):
            raise Contradicted(f"Keeper answered {answer.status} to a group's externalId, but shows another one.")
        return Team(id=team.id, name=shown.name or name, external_id=team.external_id)

    async def _looked_up(self, path: str, team_id: str, deadline: datetime) -> Team:
        """Read one; raises Unresolved where that does not show it."""
        try:
            answer = await self._sender.ask("GET", path, params=TEAMS.params, deadline=deadline)
        except Transient as error:
            raise Unresolved(f"Keeper's answer about a group proves nothing, nor does another: {error}") from error
        shown = read_team(answer.body or {}) if answer.ok else None
        if shown is None or shown.id != team_id:
            raise Unresolved(f"Keeper's answer about a group proves nothing, nor does another (HTTP {answer.status})")
        return shown

    async def _send(self, method: str, path: str, body: Mapping[str, Any], deadline: datetime) -> Answer:
        """Send a write, with bounded retries; what may have been carried out is sent again if it is no creation.

        Raises:
            Unresolved: it may have been carried out.
            NotSent: there was no time for it, or Keeper cannot be reached.
            Throttled: Keeper asks for a longer wait than ours.
        """
        sender, once = self._sender, method == "POST"
        error: ProvisioningError | None = None
        for attempt in range(ATTEMPTS):
            answer: Answer | None = None
            try:
                async with sender.pace.slot(sender.left(deadline)):
                    stop, left = sender.writes.stop(), sender.left(deadline)
                    if stop is not None or left <= 0:
                        raise error or stop or NotSent("The deadline passed before the group was sent")
                    answer = await sender.transport.send(method, path, body=body, at_most=left + OVERRUN)
            except NotConnected as failed:
                error = NotSent(f"Keeper cannot be reached ({failed})", retry_after=10)
                error.__cause__ = failed
            except Dropped as dropped:
                error = Unresolved(f"Keeper's answer about a group was lost ({dropped})")
                error.__cause__ = dropped
            else:
                if not passing(answer):
                    sender.writes.succeeded()
                    if answer.ok:
                        sender.pace.succeeded()
                        return answer
                    raise error_of(answer, sender.clock(), known_account=False)
                error = error_of(answer, sender.clock(), known_account=False)
                if maybe_done(answer):
                    error = Unresolved(f"Keeper may have written a group before it failed (HTTP {answer.status})")
            sender.count_failure(sender.writes, (path, str(body)), answer, str(error))
            if once and isinstance(error, Unresolved):
                break
            if not await sender.back_off(answer, attempt, sender.left(deadline)):
                break
        assert error is not None  # noqa: S101 - every attempt but the last of the returns above sets it
        raise error
