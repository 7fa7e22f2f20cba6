"""The brake on taking people out of teams: by whole listings, and one by one.

Both count into the same 24 hours of a team (`memberships.released`). What a listing holds, all of them or none, no look
lets go one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from .entry import Entry
from .memberships import SETTLED, ApprovedRemovals, Members, Removals, Unsettled, digest_of, released
from .teams import GroupTeam, TeamState


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamListings:
    """What listings of groups, and the roster before them, say of teams; all by team id, approvals by group id.

    `people` is how many were put into a team, `able` how many of them can be taken out, `lost` who is to leave,
    `unsettled` how many of the people Keeper does not show. `roster` is by user id.
    """

    members: Members
    roster: Mapping[str, Entry]
    people: Mapping[str, int]
    able: Mapping[str, int]
    lost: Mapping[str, set[str]]
    approvals: Mapping[str, ApprovedRemovals] = field(default_factory=dict)
    unsettled: Mapping[str, Unsettled] = field(default_factory=dict)

    def noted(
        self, teams: Mapping[str, GroupTeam], now: datetime
    ) -> tuple[dict[str, GroupTeam], dict[str, Collection[str]]]:
        """Note in the teams what was found; returns them, and by team id those who are not taken out."""
        noted, held = dict(teams), dict[str, Collection[str]]()
        for group_id, team in teams.items():
            emptied = team.state is TeamState.LEFT
            if not (team.serves or emptied) or team.team_id not in self.members:
                continue
            leaves, approval = self.lost.get(team.team_id, set()), self.approvals.get(group_id)
            window = self._unspent(team)
            lasting = window.lasting(now) if window is not None else Removals(since=now)
            before = {*lasting.users} - {*lasting.approved}
            if leaves:
                covers = approval is not None and approval.covers(leaves, window, now)
                others = self.able.get(team.team_id, 0) - self._inside(team.team_id, before | leaves)
                size = max(0, others) + len(leaves)  # those in doubt are counted, too
                approved = approval.at if approval is not None and covers else None
                lets_go = released(leaves, size, window, now, approved=approved, emptied=emptied)
                if lets_go is None:
                    held[team.team_id] = leaves
                window = lets_go or window
            stays, unread = held.get(team.team_id, ()), self.members[team.team_id] is None
            out = before if stays else before | leaves
            people = self.people.get(team.team_id, 0) - self._inside(team.team_id, out)
            noted[group_id] = replace(
                team,
                people=people,
                unsettled=self.unsettled.get(team.team_id, SETTLED),
                counted=team.counted if people == (team.people or 0) else now,
                unread=unread,
                held=team.held if unread else len(stays),
                held_digest=team.held_digest if unread else digest_of(stays) if stays else "",
                removals=window,
            )
        return noted, held

    def _unspent(self, team: GroupTeam) -> Removals | None:
        """Return the team's window with approvals of those only who are still to leave, or may be, for all we know."""
        window, inside = team.removals, self.members[team.team_id]
        if window is None or not window.approved:
            return window
        lost = self.lost.get(team.team_id, ())

        def due(user_id: str) -> bool:
            entry = self.roster.get(user_id)
            sent = entry is not None and team.team_id in entry.sent_teams  # as long as no answer says that it is done
            return sent and (inside is None or user_id not in inside or user_id in lost)

        return window.spent([user_id for user_id in window.approved if not due(user_id)])

    def _inside(self, team_id: str, users: Collection[str]) -> int:
        """Count those whom the roster has in a team, though they were let out of it: that is being carried out."""
        return sum(user_id in self.roster and team_id in self.roster[user_id].teams for user_id in users)


def let_out(team: GroupTeam, user_id: str, now: datetime) -> GroupTeam | None:
    """Return the team with one person who is let out of it, alone; None: they stay in it for now."""
    window = team.removals
    if window is not None and user_id in (*(lasting := window.lasting(now)).users, *lasting.approved):
        return team
    if team.held:
        return None
    size = team.people or 0
    fresh = released({user_id}, size, window, now)
    return replace(team, removals=fresh, people=max(0, size - 1), counted=now) if fresh is not None else None


def spent(team: GroupTeam, user_id: str) -> GroupTeam:
    """Return the team with one person who is in its group: that they may be taken out, once approved, is over."""
    window = team.removals
    approved = window is not None and user_id in window.approved
    return replace(team, removals=window.spent([user_id])) if window is not None and approved else team
