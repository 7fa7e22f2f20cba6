"""The teams of one account: whether it is to be in others, what a change sends about them, what is recorded of that."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from .accounts import Value
from .entry import GROUPS, Entry, Unseen
from .errors import AccountGone, AddressTaken, NotOffered, Rejected
from .memberships import named


def moves_teams(entry: Entry, teams: tuple[str, ...] | None, undecided: tuple[str, ...]) -> bool:
    """Say whether memberships are to be sent for the account to be in these teams; None leaves it where it is."""
    if teams is None:
        return False
    if not entry.asked:
        return teams != entry.teams
    return {*teams} - {*undecided} != {*entry.teams} or not {*entry.asked} <= {*undecided}


def leaves_teams(entry: Entry, teams: tuple[str, ...] | None) -> bool:
    """Say whether the account is to be taken out of a team for it to be in these."""
    return teams is not None and not {*entry.sent_teams} <= {*teams}


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamChanges:
    """The ids of the teams that a change puts an account into, and takes it out of."""

    joins: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.joins or self.leaves)

    def asked(self, entry: Entry) -> Entry:
        """Return the entry as it is while the change is on its way: none of them is known to have it, or not."""
        asked = tuple(sorted({*entry.asked, *self.joins, *self.leaves}))
        teams = tuple(team_id for team_id in entry.teams if team_id not in asked)  # of another account, perhaps
        return replace(entry, teams=teams, asked=asked)

    def told(self, teams: Collection[str], names: Mapping[str, str]) -> tuple[Mapping[str, Value], Mapping[str, Value]]:
        """Return the teams that the account is in by name, and those that it was in before, for the audit."""
        before = {*teams, *self.leaves} - {*self.joins}
        return {GROUPS: ", ".join(named(teams, names))}, {GROUPS: ", ".join(named(before, names))}

    def may_explain(self, error: Exception | None) -> bool:
        """Say whether a write may have been refused because of them."""
        return bool(self) and isinstance(error, Rejected | AddressTaken | AccountGone | NotOffered)  # 409: of either


UNCHANGED = TeamChanges()


def team_changes(
    entry: Entry, scim_id: str, teams: tuple[str, ...] | None, undecided: Collection[str] = ()
) -> TeamChanges:
    """Return what is to be sent for an account to be in these teams; nothing about those `undecided`."""
    if teams is None:
        return UNCHANGED
    known = scim_id != "" and scim_id == entry.scim_id  # of another account nothing holds
    was_in, may_be_in = (entry.teams, entry.sent_teams) if known else ((), ())
    return TeamChanges(
        joins=tuple(team_id for team_id in teams if team_id not in was_in and team_id not in undecided),
        leaves=tuple(team_id for team_id in may_be_in if team_id not in teams),
    )


def in_teams(entry: Entry, teams: tuple[str, ...], undecided: tuple[str, ...], now: datetime) -> Entry:
    """Return the entry of an account that is in these teams from now on; of the new ones no listing has shown any."""
    known = {each.team_id: each for each in entry.unseen}
    sent = (known.get(team_id) if team_id in entry.teams else Unseen(team_id=team_id, since=now) for team_id in teams)
    return replace(entry, teams=teams, asked=undecided, unseen=tuple(filter(None, sent)))
