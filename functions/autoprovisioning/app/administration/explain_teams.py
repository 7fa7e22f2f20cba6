"""Why? The teams of one user: which they are in, through which group, and what keeps them out of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoprovisioning.app.provisioning.placement import is_member
from autoprovisioning.app.services import Services
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete
from autoprovisioning.domain.memberships import Membership, stays_suspended
from autoprovisioning.domain.people import NOBODY, entitled, listed_of, person_of
from autoprovisioning.domain.scope import Group
from autoprovisioning.domain.team_review import TeamReview
from autoprovisioning.domain.teams import GroupTeam, TeamState, team_name
from autoprovisioning.domain.words import TEAMS

MOST_ASKED = 30  # groups that are asked for the groups above them
ASKED_ALONE = 10  # teams of which the group is not among those above the user
NOT_TOLD = "The directory does not tell in which groups the user is"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamTold:
    """How one user relates to one team.

    `member` says whether they are in the group, None if the directory does not tell; `through` are the nested groups
    that lead there, the user's own first. `membership` is None where nothing was sent to Keeper, or is to be. `seen`: a
    full run knows the group as chosen, so that the team has a page.
    """

    team: GroupTeam
    member: bool | None
    through: tuple[Group, ...]
    membership: Membership | None
    words: str
    seen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamsTold:
    """The teams that concern one user, by name; `unread` says what the directory did not tell, empty if it told all."""

    teams: tuple[TeamTold, ...] = ()
    unread: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Above:
    """A group that somebody is in, and the nested ones that lead there."""

    group: Group
    through: tuple[Group, ...] = ()


def explain_teams(
    services: Services, connection: Connection, entry: Entry | None, user: DirectoryUser, in_scope: bool | None
) -> TeamsTold:
    """Explain the teams of one user: those they were put into, and those whose group they are in.

    The directory is asked only if groups are chosen, or the user was put into a team: for the groups of the user, of
    those groups, and so on, and one by one about the teams whose group is none of these.
    """
    sent, choice = entry.sent_teams if entry is not None else (), connection.settings.teams
    if not choice.on and not sent:
        return TeamsTold()
    known = services.teams.get(connection.id)
    above, unread = _groups_above(services, user)
    teams = [team for team in known.values() if team.group_id in above or team.team_id in sent]
    alone = [team for team in teams if team.group_id not in above][:ASKED_ALONE]
    members: dict[str, bool | None] = dict.fromkeys(above, True)
    if user.presence not in (Presence.DELETED, Presence.UNKNOWN):
        members |= {team.group_id: is_member(services.directory, team.group_id, user.id) for team in alone}
    new = [each.group for each in above.values() if each.group.id not in known and choice.chooses(each.group)]
    teams += [_to_be(group, services) for group in new]
    told = _memberships(teams, members, sent, connection=connection, entry=entry, user=user, in_scope=in_scope)
    rows = [
        TeamTold(
            team=team,
            member=members.get(team.group_id),
            through=above[team.group_id].through if team.group_id in above else (),
            membership=membership,
            words=words,
            seen=team.group_id in known,
        )
        for team, (membership, words) in zip(teams, told, strict=True)
    ]
    return TeamsTold(teams=tuple(sorted(rows, key=lambda row: (row.team.name, row.team.group_id))), unread=unread)


def _to_be(group: Group, services: Services) -> GroupTeam:
    """Return the team of a group that no full run has seen since it was chosen."""
    return GroupTeam(
        group_id=group.id, name=team_name(group), email=group.email, state=TeamState.WAITING, since=services.clock()
    )


def _memberships(
    teams: Sequence[GroupTeam],
    members: dict[str, bool | None],
    sent: tuple[str, ...],
    *,
    connection: Connection,
    entry: Entry | None,
    user: DirectoryUser,
    in_scope: bool | None,
) -> list[tuple[Membership | None, str]]:
    """Return for each team how the user relates to it, and why, in the words of the team's own page.

    A team that serves no group any more keeps whom it has, unless it waits for being emptied, and so does one whose
    group the directory does not tell of.
    """
    removed: tuple[str, ...] = ()
    if entry is not None and connection.settings.teams.remove_suspended:
        returns = in_scope is True and user.presence is Presence.ACTIVE
        removed = sent if stays_suspended(entry, entitled=returns) else ()

    def stays(team: GroupTeam) -> bool:
        if not team.serves:
            return team.team_id in sent and not team.held
        return team.team_id not in removed and members.get(team.group_id) is not False

    inside = tuple(team.team_id for team in teams if stays(team))
    listed = listed_of(user, inside)
    person = person_of(entry, listed) if entry is not None else entitled(user.id, listed)
    person = person._replace(in_scope=in_scope is not False)
    review, known = TeamReview((), NOBODY, connection), dict(person.memberships())
    told: list[tuple[Membership | None, str]] = []
    for team in teams:
        membership = known.get(team.team_id)
        if membership is Membership.JOINS and not connection.operates_on(user.id):
            membership = Membership.WAITS
        if membership is None:
            what, mend = TEAMS[team.state]
            words = " ".join(filter(None, (f"{what}.", team.reason, mend)))
        elif team.serves and members.get(team.group_id) is None and team.team_id not in removed:
            words = "Stays: the directory does not tell whether the user is in the group"
        else:
            words = review.why(team, person, membership)
        told.append((membership, words))
    return told


def _groups_above(services: Services, user: DirectoryUser) -> tuple[dict[str, _Above], str]:
    """Return the groups that a user is in, level by level, so that the shortest way is found, and what is not known."""
    if user.presence in (Presence.DELETED, Presence.UNKNOWN):
        return {}, f"{NOT_TOLD}."
    found: dict[str, _Above] = {}
    asking: list[tuple[str, tuple[Group, ...]]] = [(user.id, ())]
    asked, silent = 0, 0

    def ask(each: tuple[str, tuple[Group, ...]]) -> Sequence[Group] | None:
        try:
            return services.directory.groups_of(each[0])
        except (Incomplete, ConfigurationRefused):
            return None

    while asking and asked < MOST_ASKED:
        level = asking[: MOST_ASKED - asked]
        asked += len(level)
        following: list[tuple[str, tuple[Group, ...]]] = []
        for (_, through), groups in zip(level, services.executor.each(ask, level, services.reads_at_once), strict=True):
            silent += groups is None
            for group in groups or ():
                if group.id not in found:
                    found[group.id] = _Above(group=group, through=through)
                    following.append((group.email, (*through, group)))
        asking = [*asking[len(level) :], *(each for each in following if each[0])]
    return found, f"{NOT_TOLD}, or not in all of them." if asking or silent else ""
