"""The part of the working day in which a group becomes a team, and people join it and leave it.

Keeper's side is what the node itself has, those included whose membership waits there for keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from infra.local.connect import CONNECTION
from infra.local.simulation import World, check, http, wait_for

TEAM = {"id": "03team01", "email": "keeper-engineers@example.com", "name": "Engineers"}
NESTED = {"id": "03team02", "email": "backend@example.com", "name": "Backend"}
UPDATED = "Update Auto Provisioned User"

Step = tuple[str, str, Callable[[], str]]  # what happens, its name in the admin log, and how; that returns a remark


@dataclass(kw_only=True)
class Teams:
    """A group of three of these people, the third by a nested group; `synchronize` makes a full run, which tells."""

    world: World
    people: list[dict[str, Any]]
    synchronize: Callable[[], dict[str, Any]]
    members: set[str] = field(default_factory=set)  # who is to be in the team

    def steps(self) -> Iterator[Step]:
        """Yield the steps in their order."""
        yield "a group becomes a team", UPDATED, self.choose
        yield "join the group", UPDATED, self.join
        yield "join a nested group", UPDATED, self.join_nested
        yield "leave the group", UPDATED, self.leave
        yield "the group renamed", "Configure Auto Provisioning", self.rename
        yield "the group cannot be read", "(nobody is taken out)", self.unread
        yield "the group emptied", "(held)", self.empty

    def choose(self) -> str:
        """An administrator lets groups named keeper-eng* be teams; the team waits for approval in Keeper."""
        first, second, third = (user["id"] for user in self.people[:3])
        self._arrange(TEAM["name"])
        self._put(TEAM["id"], first, second)
        self.world.directory.join(TEAM["id"], NESTED["id"])
        self._put(NESTED["id"], third)
        home = f"connections/{CONNECTION}"
        edition = self.world.console("GET", home)["edition"]
        choice = {"teams": {"patterns": ["keeper-eng*"]}}
        http("PATCH", f"{self.world.console_url}/api/v1/{home}", choice, {"If-Match": f'"{edition}"'})
        self._meet()
        team = self._team()
        check(team["pending"] and team["externalId"] == TEAM["id"], str(team))
        self.world.keeper.accept()
        self.world.keeper.approve()
        return f"{len(self.members)} people, one of them by a nested group; pending until approved in Keeper"

    def join(self) -> str:
        """Somebody joins the group: the audit log tells of it, and a look at that user follows."""
        self._put(TEAM["id"], self.people[3]["id"])
        self._await()
        return "by the audit log, without any run"

    def join_nested(self) -> str:
        """Somebody joins the group in the group."""
        self._put(NESTED["id"], self.people[4]["id"])
        self._await()
        return "by the audit log, which names the nested group"

    def leave(self) -> str:
        """Somebody leaves the group."""
        self._take(TEAM["id"], self.people[0]["id"])
        self._await()
        return "by the audit log, and a listing of this group"

    def rename(self) -> str:
        """The group gets another name: the same team gets it."""
        before = self._team()["id"]
        self._arrange("Builders")
        self._meet()
        team = self._team()
        check((team["id"], team["displayName"]) == (before, "Builders"), str(team))
        return "the same team"

    def unread(self) -> str:
        """The directory does not list the group's members just when somebody left."""
        fault = self.world.directory.fault(match={"method": "members.list", "key": TEAM["id"]}, status=503, times=None)
        self._take(TEAM["id"], self.people[1]["id"])
        self.members.add(self.people[1]["id"])
        self._meet()
        self.world.directory.control("DELETE", f"faults/{fault}")
        self.members.discard(self.people[1]["id"])
        self._meet()
        wait_for(self._recorded, "the record of the change")  # by a look, which Keeper answered first
        return "taken out once it could be read"

    def empty(self) -> str:
        """Everybody is taken out of the group by mistake, and put back."""
        whole = set(self.members)
        for group, user in ((TEAM, self.people[3]), (NESTED, self.people[2]), (NESTED, self.people[4])):
            self._take(group["id"], user["id"])
        self.members = whole
        self._meet()
        held = self._listed()["held"]
        check(held == len(whole), f"{held} of {len(whole)} are held")
        self._put(TEAM["id"], self.people[3]["id"])
        self._put(NESTED["id"], self.people[2]["id"], self.people[4]["id"])
        self._meet()
        check(self._listed()["held"] == 0, "some are still held")
        return f"held: {len(whole)}; ended automatically once it was fixed"

    def _arrange(self, name: str) -> None:
        """Have the group under this name, and the other one; those who are in them stay."""
        state = self.world.directory.control("GET", "state")
        others = [group for group in state["groups"] if group["id"] not in (TEAM["id"], NESTED["id"])]
        state["groups"] = [*others, {**TEAM, "name": name}, NESTED]
        self.world.directory.control("PUT", "state", state)

    def _put(self, group: str, *users: str) -> None:
        for user_id in users:
            self.world.directory.join(group, user_id)
            self.members.add(user_id)

    def _take(self, group: str, user_id: str) -> None:
        self.world.directory.leave(group, user_id)
        self.members.discard(user_id)

    def _meet(self) -> None:
        """Make a full run, and check that the team has those whom it is to have."""
        self.synchronize()
        inside = self._inside()
        check(inside == self.members, f"in the team: {sorted(inside)}, to be in it: {sorted(self.members)}")

    def _await(self) -> None:
        """Wait until the team has those whom it is to have."""
        wait_for(lambda: self._inside() == self.members, "the team")

    def _recorded(self) -> bool:
        """Say whether nobody's change is under way any more."""
        from autoprovisioning.bootstrap import process_services
        from autoprovisioning.domain.entry import live_mark

        services = process_services()
        connection = services.connections.get(CONNECTION)
        roster = services.roster.load(connection) if connection is not None else {}
        return not any(live_mark(entry, services.clock()) for entry in roster.values())

    def _inside(self) -> set[str]:
        team = self._team()
        accounts = {account["id"]: account["externalId"] for account in self.world.keeper.accounts()}
        return {accounts[scim_id] for scim_id in (*team["members"], *team["queued"])}

    def _team(self) -> dict[str, Any]:
        teams = self.world.keeper.teams()
        check(len(teams) == 1, f"{len(teams)} teams")
        return teams[0]

    def _listed(self) -> dict[str, Any]:
        listed: list[dict[str, Any]] = self.world.console("GET", f"connections/{CONNECTION}/teams")["items"]
        return listed[0]
