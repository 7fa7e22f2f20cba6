"""Groups that become teams: what a customer needs who has some, and a plain loop that writes each membership alone.

The loop does what Keeper's own tools do: one kept connection, one PATCH for each membership.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from dataclasses import replace

from infra.local.connect import CONNECTION
from infra.local.simulation import World

LOOPED = 300  # memberships
MOST = 1_000


def put_into_groups(world: World, groups: int) -> None:
    """Let everybody be in one of so many groups, which a pattern can choose."""
    state = world.directory.control("GET", "state")
    named = [{"id": f"03team{n:03d}", "email": f"team-{n}@example.com", "name": f"Team {n}"} for n in range(groups)]
    members = {group["id"]: [] for group in named}
    for number, user in enumerate(state["users"]):
        member = {"id": user["id"], "email": user["primaryEmail"], "role": "MEMBER", "type": "USER", "status": "ACTIVE"}
        members[named[number % groups]["id"]].append(member)
    state["groups"], state["members"] = state["groups"] + named, state["members"] | members
    world.directory.control("PUT", "state", state)


def choose() -> None:
    """Let these groups be teams, as an edit would, but without the run that follows one."""
    from autoprovisioning.bootstrap import process_services
    from autoprovisioning.domain.teams import TeamChoice

    choice = TeamChoice(patterns=("team-*",), most=MOST)
    process_services().connections.change(
        CONNECTION, lambda known: replace(known, settings=replace(known.settings, teams=choice))
    )


def plain_loop(world: World) -> float:
    """Return seconds for a membership, by the loop, in a team of its own."""
    parts = urllib.parse.urlsplit(world.keeper.endpoint)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    headers = {"Authorization": f"Bearer {world.keeper.token}", "Content-Type": "application/scim+json"}

    def send(method: str, path: str, body: dict[str, object]) -> dict[str, str]:
        connection.request(method, parts.path + path, json.dumps(body).encode(), headers)
        response = connection.getresponse()
        answer: dict[str, str] = json.loads(response.read() or b"{}")
        if response.status not in (200, 201):
            raise SystemExit(f"plain loop: HTTP {response.status} {answer}")
        return answer

    team = send("POST", "/Groups", {"displayName": "plain loop", "externalId": "plain loop"})["id"]
    joins = {"Operations": [{"op": "add", "path": "groups", "value": [{"value": team}]}]}
    accounts = world.keeper.accounts()[:LOOPED]
    started = time.perf_counter()
    for account in accounts:
        send("PATCH", f"/Users/{account['id']}", joins)
    return (time.perf_counter() - started) / len(accounts)


def memberships(world: World) -> int:
    """Count those in teams of the directory's groups."""
    teams = [team for team in world.keeper.teams() if team["externalId"].startswith("03team")]
    return sum(len(team["members"]) + len(team["queued"]) for team in teams)
