"""The teams of Keeper's nodes in the simulation: what they are called, who is in them, and by whose doing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from autoprovisioning.domain.accounts import Write
from autoprovisioning.domain.errors import AccountGone, Rejected
from autoprovisioning.domain.teams import Team


@dataclass(frozen=True, slots=True)
class TeamEffect:
    """One team that we made or renamed: as it was, and as it is then."""

    at: datetime
    before: Team | None
    after: Team


@dataclass(eq=False, kw_only=True)
class NodeTeams:
    """The teams of one node, which move with its accounts; members are ids of accounts, by the team's id.

    `unique` makes it refuse a name that another team has, `strict` a membership of a team that is not there; whatever
    is made is in no listing for `lag`. `asked` are the memberships that we sent, `given` those that people gave, and
    `taken` those that people took away. `named` is when each team got its name, `gone` are those that people deleted.
    """

    unique: bool = False
    strict: bool = False
    lag: timedelta = timedelta(0)
    there: dict[str, Team] = field(default_factory=dict)
    ever: dict[str, Team] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    pending: set[str] = field(default_factory=set)
    asked: dict[tuple[str, str], datetime] = field(default_factory=dict)
    given: set[tuple[str, str]] = field(default_factory=set)
    taken: set[tuple[str, str]] = field(default_factory=set)
    made: dict[str, datetime] = field(default_factory=dict)
    named: dict[str, datetime] = field(default_factory=dict)
    by_hand: dict[str, datetime] = field(default_factory=dict)  # teams that people made, renamed or deleted, and when
    gone: dict[str, datetime] = field(default_factory=dict)
    effects: list[TeamEffect] = field(default_factory=list)

    def of(self, group_id: str) -> list[Team]:
        """Return the teams that carry a group's id."""
        return [team for team in self.there.values() if team.external_id == group_id]

    def listed(self, now: datetime) -> Sequence[Team]:
        """Return what a listing shows."""
        return [team for team in self.there.values() if now - self.made[team.id] >= self.lag]

    def create(self, name: str, external_id: str, now: datetime, *, by_hand: bool = False) -> Team:
        """Make a team: it waits for somebody's approval."""
        self._refuse_taken(name, "")
        team = Team(id=f"t{len(self.ever) + 1}", name=name, external_id=external_id)
        self.made[team.id] = now
        self.pending.add(team.id)
        self._put(None, team, now, by_hand=by_hand)
        return team

    def rename(
        self, team_id: str, name: str, now: datetime, *, external_id: str | None = None, by_hand: bool = False
    ) -> Team:
        """Give a team another name, and an externalId."""
        before = self.there.get(team_id)
        if before is None:
            raise Rejected("Keeper refuses this request (HTTP 404)")
        self._refuse_taken(name, team_id)
        after = replace(before, name=name, external_id=before.external_id if external_id is None else external_id)
        self._put(before, after, now, by_hand=by_hand)
        return after

    def delete(self, team_id: str, now: datetime) -> None:
        """Let somebody delete a team, which nothing brings back."""
        del self.there[team_id]
        self.by_hand[team_id] = self.gone[team_id] = now
        self.members.pop(team_id, None)

    def refuse(self, write: Write) -> None:
        """Refuse a write about a team that is not there: by the same 404 as one about an account that is not."""
        if self.strict and not {*write.joins, *write.leaves} <= self.there.keys():
            if write.scim_id:
                raise AccountGone("Keeper refuses updating this account (HTTP 404)")
            raise Rejected("Keeper refuses creating this account (HTTP 404)")

    def changed(self, write: Write, scim_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the teams that a write puts an account into, and those that it takes it out of, indeed."""
        joins = tuple(each for each in write.joins if each in self.there and scim_id not in self.members[each])
        return joins, tuple(each for each in write.leaves if scim_id in self.members.get(each, ()))

    def move(self, scim_id: str, joins: Iterable[str], leaves: Iterable[str]) -> None:
        """Put an account into teams, and take it out of others."""
        for team_id in joins:
            self.members[team_id].add(scim_id)
            self.taken.discard((team_id, scim_id))
        for team_id in leaves:
            self.members[team_id].discard(scim_id)
            self.given.discard((team_id, scim_id))

    def give(self, team_id: str, scim_id: str) -> None:
        """Let somebody put an account into a team by hand."""
        if scim_id not in self.members[team_id]:
            self.move(scim_id, (team_id,), ())
            self.given.add((team_id, scim_id))

    def take(self, team_id: str, scim_id: str) -> None:
        """Let somebody take an account out of a team by hand."""
        if scim_id in self.members[team_id]:
            self.move(scim_id, (), (team_id,))
            self.taken.add((team_id, scim_id))

    def _put(self, before: Team | None, after: Team, now: datetime, *, by_hand: bool) -> None:
        self.there[after.id] = self.ever[after.id] = after
        self.named[after.id] = now
        if by_hand:
            self.by_hand[after.id] = now
        else:
            self.effects.append(TeamEffect(now, before, after))

    def _refuse_taken(self, name: str, team_id: str) -> None:
        if self.unique and any(each.name == name and each.id != team_id for each in self.there.values()):
            raise Rejected("Keeper refuses this request (HTTP 409): the name is taken")
