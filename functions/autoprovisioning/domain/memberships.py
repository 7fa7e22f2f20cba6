"""Memberships: which teams each person is to be in, and how many people a team may lose at once.

    group of the team    person                     wanted
    has them             active                     the team
    has them             any other                  the team, if they were put into it: nobody without access joins
    has them             suspended by us            as any other, or, if that is chosen, as one whom it has not
    has them not         any                        not the team; but while its removals are held, as it was
    not read to its end  any                        as it was
    not chosen any more  any                        as it was; not the team where such teams are emptied, once approved

A team that nobody of ours was put into by us is not concerned: what was not sent is not taken away. Where an answer was
lost, "as it was" is not known: such a membership is neither asked for again nor taken away, and stays in doubt.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from .entry import Entry, Status

LEAST = 20  # people whom any team may lose in 24 hours, or PERCENT of it if that is more
PERCENT = 10
WINDOW = timedelta(hours=24)
NOTED = timedelta(hours=1)  # who is still to leave is counted anew no sooner: it costs a document


class Membership(StrEnum):
    """How somebody relates to a team, as they are told of."""

    INSIDE = "inside"  # put into it
    UNSEEN = "unseen"  # ... and Keeper's listing has not shown it yet
    ENDED = "ended"  # put into it, and taken out in Keeper by somebody
    JOINS = "joins"  # in the group, and about to be put into the team
    WAITS = "waits"  # in the group, and without the access that joining needs
    ASKED = "asked"  # may have been put into it: Keeper's answer was lost
    LEAVES = "leaves"  # put into it, and in the group no more, or suspended where such people are taken out


Members = Mapping[str, Set[str] | None]  # by team id: directory ids of the group's derived members; None: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Removals:
    """Who was let out of a team in the last 24 hours, and who besides is to be, since an administrator approved it.

    `times` are when each of the `users` was last to leave, and `approved_at` when that was approved of each of those
    `approved`; where they have none, at `since`: earlier versions count from that. It is when the approval was given
    that was taken over last, or else when the window began.
    """

    since: datetime
    users: tuple[str, ...] = ()
    approved: tuple[str, ...] = ()
    times: tuple[datetime, ...] = ()
    approved_at: tuple[datetime, ...] = ()

    @property
    def left(self) -> dict[str, datetime]:
        """When each of the users was last to leave."""
        return dict(zip(self.users, self.times or (self.since,) * len(self.users), strict=True))

    @property
    def approvals(self) -> dict[str, datetime]:
        """When it was approved that each of those approved is taken out."""
        return dict(zip(self.approved, self.approved_at or (self.since,) * len(self.approved), strict=True))

    def lasting(self, now: datetime) -> Removals:
        """Return what of it still counts."""
        recent = {user_id: at for user_id, at in self.left.items() if now - at < WINDOW}
        window = replace(self, users=tuple(recent), times=tuple(recent.values()))
        return window.approving({user_id: at for user_id, at in self.approvals.items() if now - at < WINDOW})

    def approving(self, approvals: Mapping[str, datetime]) -> Removals:
        """Return it with these people approved, each at that time."""
        users = tuple(sorted(approvals))
        return replace(self, approved=users, approved_at=tuple(approvals[user_id] for user_id in users))

    def spent(self, users: Collection[str]) -> Removals:
        """Return it without approvals of these people: they are out of the team by now, or are to stay."""
        return self.approving({user_id: at for user_id, at in self.approvals.items() if user_id not in users})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedRemovals:
    """An administrator's word that these people may be taken out of a group's team: `digest` is that of all of them."""

    group_id: str
    digest: str
    by: str
    at: datetime

    def covers(self, leaves: Iterable[str], window: Removals | None, now: datetime) -> bool:
        """Say whether it is about exactly these people, not too old, and not taken over by this window already."""
        if window is not None and window.since == self.at:
            return False
        return now - self.at < WINDOW and self.digest == digest_of(leaves)


def digest_of(users: Iterable[str]) -> str:
    """Name a set of people."""
    return hashlib.blake2b("\n".join(sorted(users)).encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class Memberships:
    """What a run knows of the teams of one connection; `held` are those of which nobody is taken out."""

    members: Members
    held: Collection[str] = ()
    _teams_of: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found: dict[str, list[str]] = {}
        for team_id, inside in self.members.items():
            for user_id in inside or ():
                found.setdefault(user_id, []).append(team_id)
        self._teams_of = {user_id: tuple(sorted(teams)) for user_id, teams in found.items()}

    def wanted(self, user_id: str, sent: tuple[str, ...], *, joins: bool, leaves: bool = False) -> tuple[str, ...]:
        """Return the teams of somebody who was put into those `sent`.

        `joins`: they have access, and may join more. `leaves`: whatever groups have them, they are to be in no team.
        """
        inside = () if leaves else self._teams_of.get(user_id, ())
        if joins and not sent:
            return inside  # nearly everybody at first
        kept = [team_id for team_id in sent if team_id in inside or self._stays(team_id)]
        return tuple(sorted({*kept, *(inside if joins else ())}))

    def inside(self, user_id: str, sent: tuple[str, ...], *, leaves: bool = False) -> tuple[str, ...]:
        """Return the teams whose group has somebody, and those `sent` of which that is not known.

        Without those `sent` if they are to leave them all the same.
        """
        inside = self._teams_of.get(user_id, ())
        if leaves:
            inside = tuple(team_id for team_id in inside if team_id not in sent)
        unread = [team_id for team_id in sent if self.members.get(team_id) is None]
        return tuple(sorted({*inside, *unread})) if unread else inside

    def undecided(self, user_id: str, asked: tuple[str, ...], *, joins: bool, leaves: bool = False) -> tuple[str, ...]:
        """Return the teams of those `asked` for that somebody neither joins now nor may be taken out of."""
        inside = () if leaves else self._teams_of.get(user_id, ())
        return tuple(each for each in asked if (not joins if each in inside else self._stays(each)))

    def _stays(self, team_id: str) -> bool:
        """Say whether nobody may be taken out of a team now."""
        return self.members.get(team_id) is None or team_id in self.held


def named(team_ids: Iterable[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Return what teams are called, in order; the id of one whose name is not known."""
    return tuple(sorted(names.get(team_id, team_id) for team_id in team_ids))


def removable(entry: Entry) -> bool:
    """Say whether somebody can be taken out of a team.

    Nothing is written of who is deleted, locked by others, or not operated on: then timers stand still.
    """
    idle = bool(entry.timers) and all(timer.running_since is None for timer in entry.timers.values())
    return not entry.gone and entry.status is not Status.LOCKED and not idle


def stays_suspended(entry: Entry, *, entitled: bool) -> bool:
    """Say whether we suspended an account, and it is not about to be reactivated."""
    return entry.status is Status.SUSPENDED and not entitled


def leaving(roster: Iterable[Entry], members: Members, *, suspended: bool = False) -> dict[str, set[str]]:
    """Return whom each team is to lose: those who were put into it, and are not among the members as read.

    `suspended`: those whose account is, too.
    """
    found: dict[str, set[str]] = {}
    for entry in roster:
        out = suspended and stays_suspended(entry, entitled=entry.entitled)
        for team_id in entry.sent_teams:
            inside = members.get(team_id)
            if inside is not None and (out or entry.user_id not in inside):
                found.setdefault(team_id, set()).add(entry.user_id)
    return found


def sizes(roster: Iterable[Entry]) -> Counter[str]:
    """Count who was put into each team."""
    return Counter(team_id for entry in roster for team_id in entry.teams)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """How many memberships of ours Keeper does not show: those that wait, those that do for too long, and those ended.

    `since` is when the first of those that wait was sent. What waits for too long is not sent again: people must do
    something in Keeper. What somebody else ended there stays so.
    """

    waiting: int = 0
    since: datetime | None = None
    late: int = 0
    ended: int = 0


SETTLED = Unsettled()


def unsettled(roster: Iterable[Entry], patience: timedelta, now: datetime) -> dict[str, Unsettled]:
    """Count them by team, those of people with access: for the others nothing takes effect in Keeper."""
    waiting, late, ended = Counter[str](), Counter[str](), Counter[str]()
    since: dict[str, datetime] = {}
    for entry in roster:
        for each in entry.unseen if entry.status is Status.ACTIVE else ():
            team_id = each.team_id
            if team_id not in entry.teams:
                continue
            if each.seen:
                ended[team_id] += 1
                continue
            since[team_id] = min(since.get(team_id, each.since), each.since)
            (late if now - each.since >= patience else waiting)[team_id] += 1
    return {
        team_id: Unsettled(waiting=waiting[team_id], since=since.get(team_id), late=late[team_id], ended=ended[team_id])
        for team_id in {*since, *ended}
    }


def released(
    leaves: Collection[str],
    size: int,
    before: Removals | None,
    now: datetime,
    *,
    approved: datetime | None = None,
    emptied: bool = False,
) -> Removals | None:
    """Return the window with those who leave a team of that size now; None: they are held, all of them.

    `approved` is when an administrator approved exactly this; what is approved lasts 24 hours from then.

    One person always goes; half of a team, from two people on, never does without an approval, and nobody of a team
    that is `emptied`. Whoever was let out before and is still to leave counts once, and who was approved not at all.
    """
    window = before.lasting(now) if before is not None else Removals(since=now)
    if approved is not None:
        return replace(window, since=approved).approving({**window.approvals, **dict.fromkeys(leaves, approved)})
    gone = {*window.users, *leaves} - {*window.approved}
    whole = size + len(gone - {*leaves})
    if emptied and not {*leaves} <= {*window.approved}:
        return None
    if len(gone) > 1 and (2 * len(gone) >= whole or len(gone) > max(LEAST, whole * PERCENT // 100)):
        return None
    again = {user_id: at for user_id, at in window.left.items() if user_id not in leaves or now - at < NOTED}
    left = {**dict.fromkeys(sorted({*leaves} & gone), now), **again}
    users = tuple(sorted(gone))
    return replace(window, users=users, times=tuple(left[user_id] for user_id in users))
