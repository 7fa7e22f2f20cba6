"""Read what is needed before the first user is judged, side by side: groups' members, deleted users, units."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from autoprovisioning.app.ports.directory import Directory, DirectoryScopes
from autoprovisioning.app.ports.execution import Executor
from autoprovisioning.app.provisioning.adoption_grounds import addresses_of, deleted_users
from autoprovisioning.domain.connections import SERVING, Connection
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete, Transient
from autoprovisioning.domain.scope import Group, Located, OrgUnit, standing

log = logging.getLogger(__name__)

T = TypeVar("T")

ALERT = {"alert": "listing_incomplete"}


@dataclass(slots=True, kw_only=True)
class Survey:
    """What the directory said in this run.

    `members` maps a group id to its derived members, None if they could not be read to the end. `units` are all
    organizational units, None if they could not be listed, or no connection has chosen any.
    `complete` turns False when the listing of users breaks off; `notes` say what was wrong, for the run's record.
    `deleted_addresses` are as the function of that name returns them; `deleted_listed` is False if that listing
    broke off, which proves nobody deleted, and does not affect what the others prove. `seen` are the ids of all listed,
    `read_at` is when the page of the user who was listed last was there.
    """

    members: Mapping[str, frozenset[str] | None]
    deleted: Mapping[str, DirectoryUser]
    deleted_addresses: frozenset[str] | None = None  # primary ones, casefolded; None: the listing failed
    deleted_listed: bool = True
    complete: bool = True
    listed: int = 0
    seen: Set[str] = frozenset()
    in_parts: bool = False  # several listings made this one: whom they lack need not be missing
    divided: bool = False  # those are being made
    unread: tuple[str, ...] = ()  # parts of it that the run had no time to read to their end
    doubted: bool = False  # they were tried, and failed or lacked too many
    sizes: Counter[str] = field(default_factory=Counter)  # users, by what their addresses begin with
    waited: timedelta = timedelta()  # for the pages of one listing
    read_at: datetime | None = None
    overlaps: int = 0  # users in the scope of several connections: one of them has them
    untold: int = 0  # users who were listed without saying whether they are suspended
    notes: list[str] = field(default_factory=list)
    units: Sequence[OrgUnit] | None = ()
    alone: bool = False  # nobody was listed: those who were judged were read individually
    unplaced: int = 0  # users of organizational units that are not listed
    _located: dict[str, Located] = field(default_factory=dict)  # by connection id
    _units: dict[tuple[str, str], bool | None] = field(default_factory=dict)  # ... and path: whether it is chosen

    def located(self, connection: Connection) -> Located:
        """Return the connection's organizational units as they are listed."""
        found = self._located.get(connection.id)
        if found is None:
            found = self._located[connection.id] = connection.settings.scope.located(self.units)
        return found

    def in_scope(self, connection: Connection, user: DirectoryUser) -> bool | None:
        """Determine the scope of a listed user from the complete listings; None if a needed one is missing."""
        if user.presence is Presence.DELETED:
            return None
        place = connection.id, user.org_unit_path
        if place not in self._units:
            self._units[place] = self.located(connection).holds_unit(user.org_unit_path)
        unit, groups = self._units[place], connection.settings.scope.groups
        if unit and (not groups or any(self._has(group.id, user.id) for group in groups)):  # nearly everybody
            return True
        return standing(unit, (self._has(group.id, user.id) for group in groups)).in_scope

    def _has(self, group_id: str, user_id: str) -> bool | None:
        members = self.members.get(group_id)
        return None if members is None else user_id in members

    def whole(self, connection: Connection) -> bool:
        """Say whether everything that decides this connection's scope was read to its end."""
        if self.alone:
            return True  # a user read individually needs no listing
        if self.units is None and connection.settings.scope.org_units:
            return False
        return self.complete and all(
            self.members.get(group.id) is not None for group in connection.settings.scope.groups
        )

    @property
    def proves_missing(self) -> bool:
        """Say whether the directory has nobody else but those listed."""
        return self.complete and not self.in_parts

    def tells_of(self, user_id: str) -> bool:
        """Say whether a listing shows the user, be it as a deleted one: absence is no proof of anything."""
        return user_id in self.seen or user_id in self.deleted

    def members_of(self, connection: Connection) -> frozenset[str]:
        """Return the members of the connection's scope groups, as far as they could be read."""
        known = (self.members.get(group.id) for group in connection.settings.scope.groups)
        return frozenset[str]().union(*(members for members in known if members is not None))


GroupMembers = dict[str, frozenset[str] | None]


def members_of(directory: DirectoryScopes, group_id: str, late: Callable[[], bool]) -> frozenset[str]:
    """List a group's derived members to their end; Incomplete once it is `late`, or else as the listing raises."""
    found: set[str] = set()
    for page in directory.members(group_id):
        if late():
            raise Incomplete("the run has no time left for it")
        found.update(page)
    return frozenset(found)


def read_groups(
    directory: DirectoryScopes,
    connections: Sequence[Connection],
    executor: Executor,
    at_once: int,
    late: Callable[[], bool] = lambda: False,
    ended: Callable[[str], None] = lambda _: None,
) -> tuple[GroupMembers, list[str]]:
    """List the derived members of every scope group, several at once; None, with a note, for one that was not read.

    Once it is `late`, no more is read. `ended` is told of each group that is done with.
    """

    def read(group: Group) -> frozenset[str] | str:
        try:
            return members_of(directory, group.id, late)
        except (Transient, ConfigurationRefused) as error:
            log.error("A scope group could not be read: this run deprovisions nobody", extra={"json_fields": ALERT})
            return f"Scope group {group.email or group.id} could not be read: {error}"
        finally:
            ended(group.id)

    groups = {group.id: group for connection in connections for group in connection.settings.scope.groups}
    told = dict(zip(groups, executor.each(read, list(groups.values()), at_once), strict=True))
    members: GroupMembers = {group_id: None if isinstance(found, str) else found for group_id, found in told.items()}
    return members, [found for found in told.values() if isinstance(found, str)]


def _read_units(
    directory: DirectoryScopes, connections: Sequence[Connection]
) -> tuple[Sequence[OrgUnit] | None, list[str]]:
    """List the organizational units if a connection in service has chosen any; None, with a note, if that fails."""
    if not any(connection.settings.scope.org_units for connection in connections if connection.state in SERVING):
        return (), []
    try:
        return directory.org_units(), []
    except (Transient, ConfigurationRefused) as error:
        log.error("The organizational units could not be listed", extra={"json_fields": ALERT})
        return None, [f"The organizational units could not be listed: {error}"]


def begin(
    directory: Directory,
    connections: Sequence[Connection],
    executor: Executor,
    at_once: int,
    late: Callable[[], bool] = lambda: False,
    meanwhile: Callable[[Callable[[], int]], None] = lambda _: None,
) -> Survey:
    """Read everything that is needed before the first user is judged; of the groups, only until it is `late`.

    `meanwhile` is done beside it: it is given how many of these listings are left, and returns soon after the last one.
    """
    ended: list[str] = []

    def counted(read: Callable[[], T]) -> T:
        found = read()
        ended.append("")
        return found

    groups = {group.id for connection in connections for group in connection.settings.scope.groups}
    units_listed = executor.start(partial(counted, partial(_read_units, directory, connections)))
    deleted_listed = executor.start(partial(counted, partial(_read_deleted, directory)))
    groups_listed = executor.start(partial(read_groups, directory, connections, executor, at_once, late, ended.append))
    try:
        meanwhile(lambda: len(groups) + 2 - len(ended))
    finally:
        members, notes = groups_listed()
        units, unlisted = units_listed()
        deleted, untold = deleted_listed()
    by_id = {user.id: user for user in deleted or ()}
    addresses, listed = addresses_of(deleted), deleted is not None
    return Survey(
        members=members,
        deleted=by_id,
        deleted_addresses=addresses,
        deleted_listed=listed,
        notes=notes + unlisted + untold,
        units=units,
    )


def list_deleted_again(directory: Directory, survey: Survey) -> None:
    """Add who was deleted after the deleted users had been listed, with the directory's own time."""
    try:
        again = deleted_users(directory)
    except (Transient, ConfigurationRefused) as error:
        log.warning("The deleted users could not be listed again: %s", type(error).__name__)
        survey.notes.append(f"Whoever was deleted while this run listed users is left to the next one: {error}")
        return
    survey.deleted = {**survey.deleted, **{user.id: user for user in again}}
    survey.deleted_addresses = addresses_of(survey.deleted.values())


def _read_deleted(directory: Directory) -> tuple[list[DirectoryUser] | None, list[str]]:
    """List the deleted users; None, with a note, if that fails."""
    try:
        return deleted_users(directory), []
    except (Transient, ConfigurationRefused) as error:
        log.error("The deleted users could not be listed", extra={"json_fields": ALERT})
        return None, [f"The deleted users could not be listed, so that list proves no deletion: {error}"]
