"""The teams and roles of the simulated node, who is in them, and Keeper's rules about them.

Sources: docs.keeper.io "API Provisioning with SCIM" (a new team is pending; the teams of a PATCH belong to the node),
"Using SCIM API Provisioning" (role prefix), "Team and User Approvals" (who approves, and whose memberships wait),
release notes Backend 16.9.10 (`groups` in POST /Users); Keeper's Commander and ksm-google-scim for the dialect.

Who creates a team by SCIM has no keys, so it is pending until somebody who has them approves it; so is each membership,
until the team's key was encrypted for a user who accepted the invitation and is not locked.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from infra.local.keeper.accounts import Node, Refused, apply_operation, operations_of

GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
_ONE_MEMBER = re.compile(r'members\[value eq "(?P<id>[^"]*)"\]\Z', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamRules:
    """What the node does about teams: each way of writing a membership on or off, and options of the SCIM method."""

    groups_in_patch: bool = True  # PATCH /Users, `groups`; off: read only, so refused (RFC 7643 4.1.2, RFC 7644 3.5.2)
    groups_in_post: bool = True  # POST /Users, `groups`; off: ignored (RFC 7644 3.3)
    groups_in_patch_kept: bool = True  # off: a PATCH with `groups` is answered 200, and puts nobody anywhere
    groups_conflict: bool = False  # a POST or PATCH of a user with `groups` is answered 409, which names no attribute
    members_in_groups: bool = False  # POST and PATCH /Groups, `members`: Keeper's pages that can be read do not show it
    unique: bool = False  # Commander: scim edit --unique-groups
    role_prefix: str = ""  # Commander: scim edit --prefix; a name that begins with it makes a role
    pending_listed: bool = True  # whether GET /Groups shows teams that still wait; what Keeper does is not known
    queued_shown: bool = False  # whether answers show memberships that still wait; what Keeper does is not known


@dataclass(slots=True, eq=False, kw_only=True)
class Team:
    """A team, or a role; `members` tells of each account's id whether the membership took effect."""

    id: str
    name: str
    external_id: str = ""
    role: bool = False
    pending: bool = False
    created: str = ""
    members: dict[str, bool] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return it as the control API shows it."""
        return {
            "id": self.id,
            "displayName": self.name,
            "externalId": self.external_id,
            "role": self.role,
            "pending": self.pending,
            "members": [scim_id for scim_id, effective in self.members.items() if effective],
            "queued": [scim_id for scim_id, effective in self.members.items() if not effective],
        }


@dataclass(slots=True, eq=False, kw_only=True)
class Teams:
    """The teams of one node by id. `nodes` are those of all nodes of the same Keeper: a user may be in any of them."""

    node: Node
    prefix: str
    rules: TeamRules = field(default_factory=TeamRules)
    teams: dict[str, Team] = field(default_factory=dict)
    nodes: list[Teams] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nodes.append(self)

    def create(self, resource: dict[str, Any]) -> Team:
        """POST: a pending team, or a role."""
        name = _name(resource)
        self._check_free(name, None)
        role = bool(self.rules.role_prefix) and name.startswith(self.rules.role_prefix)
        team = Team(
            id=secrets.token_urlsafe(16),
            name=name,
            external_id=str(resource.get("externalId") or ""),
            role=role,
            pending=not role,
            created=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        )
        for scim_id in self._accounts(resource.get("members")) if self.rules.members_in_groups else ():
            team.members[scim_id] = role
        self.teams[team.id] = team
        return team

    def seed(self, told: list[dict[str, Any]]) -> None:
        """Have these teams instead, in the form of `Team.record`: made by people where they carry no externalId."""
        self.teams = {}
        for each in told:
            team = Team(
                id=each.get("id") or secrets.token_urlsafe(16),
                name=each["displayName"],
                external_id=each.get("externalId", ""),
                role=each.get("role", False),
                pending=each.get("pending", False),
            )
            team.members = dict.fromkeys(each.get("queued", ()), False) | dict.fromkeys(each.get("members", ()), True)
            self.teams[team.id] = team

    def get(self, team_id: str) -> Team:
        """Return a team of this node; 404 for any other."""
        if team_id not in self.teams:
            raise Refused(404, "Not Found")
        return self.teams[team_id]

    def patch(self, team_id: str, request: dict[str, Any]) -> Team:
        """PATCH: name and externalId, with a path or without; members where the node takes them; all or nothing."""
        team = self.get(team_id)
        fresh: dict[str, Any] = {"displayName": team.name, "externalId": team.external_id}
        members = dict(team.members)
        for operation in operations_of(request):
            path = str(operation.get("path") or "")
            if path.casefold().startswith("members"):
                self._change_members(members, operation, path, effective=team.role)
            else:
                apply_operation(fresh, operation)
        name = _name(fresh)
        self._check_free(name, team.id)
        team.name, team.external_id, team.members = name, str(fresh.get("externalId") or ""), members
        return team

    def delete(self, team_id: str) -> None:
        """DELETE: unlike an account, a team is really deleted, and everybody loses what it shared."""
        del self.teams[self.get(team_id).id]

    def changes(self, request: dict[str, Any]) -> tuple[list[tuple[bool, Team]], list[Any]]:
        """Split a PATCH of a user: into which teams and out of which (True, False), and all other operations.

        A team that is not this node's is not found. Where the node does not take `groups`, they are among the others.
        """
        changes: list[tuple[bool, Team]] = []
        others: list[Any] = []
        for operation in operations_of(request):
            op = str(operation.get("op", "")).casefold()
            if not self.rules.groups_in_patch or str(operation.get("path") or "").casefold() != "groups":
                others.append(operation)
            elif op not in ("add", "remove"):
                raise Refused(400, "groups takes add and remove only", "invalidSyntax")
            else:
                changes += [(op == "add", self.get(team_id)) for team_id in _values(operation.get("value"))]
        self._check_conflict(changes)
        return changes if self.rules.groups_in_patch_kept else [], others

    def first_ones(self, resource: dict[str, Any]) -> list[tuple[bool, Team]]:
        """Return the teams that a new user is put into."""
        if not self.rules.groups_in_post:
            return []
        joins = [(True, self.get(team_id)) for team_id in _values(resource.get("groups", []))]
        self._check_conflict(joins)
        return joins

    def carry_out(self, scim_id: str, changes: Iterable[tuple[bool, Team]]) -> None:
        """Put an account into teams, and take it out of teams; a new membership waits for the team's key."""
        for joins, team in changes:
            if joins:
                team.members.setdefault(scim_id, team.role)
            else:
                team.members.pop(scim_id, None)

    def put_in(self, team_id: str, scim_id: str) -> None:
        """Make an account a member at once, as Keeper's Admin Console does; it may be another node's."""
        self.get(team_id).members[scim_id] = True

    def take_out(self, team_id: str, scim_id: str) -> None:
        """Take an account out of a team, as Keeper's Admin Console does."""
        self.get(team_id).members.pop(scim_id, None)

    def listed(self) -> list[Team]:
        """Return the teams that GET /Groups shows."""
        return [team for team in self.teams.values() if self.rules.pending_listed or not team.pending]

    def approve(self, only: Iterable[str] = ()) -> None:
        """Approve the teams of this node, or only some: as an administrator does, or Keeper's Automator.

        Memberships of users who have not accepted the invitation, or are locked, go on waiting.
        """
        for team in [self.get(team_id) for team_id in only] or list(self.teams.values()):
            team.pending = False
            ready = [scim_id for scim_id in team.members if self.node.has_keys(scim_id)]
            team.members |= dict.fromkeys(ready, True)

    def groups_of(self, scim_id: str) -> list[dict[str, str]]:
        """Return `groups` of a user: teams of other nodes are among them, which GET /Groups does not list."""
        return [
            {"value": team.id, "$ref": f"{teams.prefix}/Groups/{team.id}", "display": team.name}
            for teams in self.nodes
            for team in teams.teams.values()
            if self._shown(team, scim_id)
        ]

    def show(self, team: Team, *, members: bool = True) -> dict[str, Any]:
        """Return the Group resource (RFC 7643 4.2)."""
        shown: dict[str, Any] = {
            "schemas": [GROUP],
            "id": team.id,
            "displayName": team.name,
            "meta": {"resourceType": "Group", "created": team.created} if team.created else {"resourceType": "Group"},
        }
        if team.external_id:
            shown["externalId"] = team.external_id
        if members:
            named = ((scim_id, self.node.anywhere(scim_id)) for scim_id in team.members if self._shown(team, scim_id))
            shown["members"] = [
                {"value": scim_id, "display": account["userName"]} for scim_id, account in named if account is not None
            ]
        return shown

    def _shown(self, team: Team, scim_id: str) -> bool:
        return team.members.get(scim_id, False) or (self.rules.queued_shown and scim_id in team.members)

    def _change_members(self, members: dict[str, bool], operation: dict[str, Any], path: str, effective: bool) -> None:
        """Add, as [{"value": id}]; remove, by such a list or a path that names one member."""
        if not self.rules.members_in_groups:
            raise Refused(400, "members is read only", "mutability")
        op, one = str(operation.get("op", "")).casefold(), _ONE_MEMBER.match(path)
        if op == "remove" and one:
            members.pop(one["id"], None)
        elif op in ("add", "remove") and path.casefold() == "members":
            for scim_id in self._accounts(operation.get("value")):
                if op == "add":
                    members.setdefault(scim_id, effective)
                else:
                    members.pop(scim_id, None)
        else:
            raise Refused(400, f"{operation.get('op')!r} of {path} is not supported", "invalidPath")

    def _accounts(self, value: Any) -> list[str]:
        found = _values(value if value is not None else [])
        if any(scim_id not in self.node.accounts for scim_id in found):
            raise Refused(404, "Not Found")
        return found

    def _check_conflict(self, changes: Sequence[tuple[bool, Team]]) -> None:
        if changes and self.rules.groups_conflict:
            raise Refused(409, "Conflict")

    def _check_free(self, name: str, team_id: str | None) -> None:
        if self.rules.unique and any(
            team.name.casefold() == name.casefold() for team in self.teams.values() if team.id != team_id
        ):
            raise Refused(409, "Group name already exists", "uniqueness")


def _name(resource: dict[str, Any]) -> str:
    name = resource.get("displayName")
    if not isinstance(name, str) or not name.strip():
        raise Refused(400, "displayName must not be empty", "invalidValue")
    return name


def _values(value: Any) -> list[str]:
    """Return the ids of a multi-valued reference."""
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, dict) and isinstance(entry.get("value"), str) for entry in entries):
        raise Refused(400, 'The value must be an array like [{"value": "<id>"}]', "invalidValue")
    return [entry["value"] for entry in entries]
