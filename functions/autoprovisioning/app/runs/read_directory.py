"""Read the directory once for all connections: groups' members, deleted users, then everybody, a page at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

from autoprovisioning.app.ports.directory import Directory, DirectoryScopes, DirectoryUsers
from autoprovisioning.app.ports.execution import Clock
from autoprovisioning.app.provisioning.adoption_grounds import addresses_of, deleted_users
from autoprovisioning.domain.connections import SERVING, Connection
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete, NotSent, Transient
from autoprovisioning.domain.scope import Located, OrgUnit, standing

log = logging.getLogger(__name__)

ALERT = {"alert": "listing_incomplete"}


@dataclass(slots=True, kw_only=True)
class Survey:
    """What the directory said in this run.

    `members` maps a group id to its derived members, None if they could not be read to the end. `units` are all
    organizational units, None if they could not be listed, or no connection has chosen any.
    `complete` turns False when the listing of users breaks off; `notes` say what was wrong, for the run's record.
    `deleted_addresses` are as the function of that name returns them; `deleted_listed` is False if that listing
    broke off, which proves nobody deleted, and does not affect what the others prove. `seen` are the ids of all listed.
    """

    members: Mapping[str, frozenset[str] | None]
    deleted: Mapping[str, DirectoryUser]
    deleted_addresses: frozenset[str] | None = None  # primary ones, casefolded; None: the listing failed
    deleted_listed: bool = True
    complete: bool = True
    listed: int = 0
    seen: Set[str] = frozenset()
    overlaps: int = 0  # users in the scope of several connections: one of them has them
    untold: int = 0  # users who were listed without saying whether they are suspended
    notes: list[str] = field(default_factory=list)
    units: Sequence[OrgUnit] | None = ()
    alone: bool = False  # nobody was listed: those who were judged were read individually
    unplaced: int = 0  # users of organizational units that are not listed
    _located: dict[str, Located] = field(default_factory=dict)  # by connection id

    def located(self, connection: Connection) -> Located:
        """Return the connection's organizational units as they are listed."""
        found = self._located.get(connection.id)
        if found is None:
            found = self._located[connection.id] = connection.settings.scope.located(self.units)
        return found

    def in_scope(self, connection: Connection, user: DirectoryUser) -> bool | None:
        """Determine the scope of a listed user from the complete listings; None if a needed one is missing."""
        scope = connection.settings.scope
        if user.presence is Presence.DELETED:
            return None
        unit = self.located(connection).holds_unit(user.org_unit_path)
        return standing(unit, (self._has(group.id, user.id) for group in scope.groups)).in_scope

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

    def tells_of(self, user_id: str) -> bool:
        """Say whether a listing shows the user, be it as a deleted one: absence is no proof of anything."""
        return user_id in self.seen or user_id in self.deleted

    def members_of(self, connection: Connection) -> frozenset[str]:
        """Return the members of the connection's scope groups, as far as they could be read."""
        known = (self.members.get(group.id) for group in connection.settings.scope.groups)
        return frozenset[str]().union(*(members for members in known if members is not None))


Members = dict[str, frozenset[str] | None]


def read_groups(directory: DirectoryScopes, connections: Sequence[Connection]) -> tuple[Members, list[str]]:
    """List the derived members of every scope group; None, with a note, for one that could not be read."""
    members: Members = {}
    notes: list[str] = []
    for group in {group.id: group for connection in connections for group in connection.settings.scope.groups}.values():
        try:
            members[group.id] = frozenset(user_id for page in directory.members(group.id) for user_id in page)
        except (Transient, ConfigurationRefused) as error:
            members[group.id] = None
            notes.append(f"Scope group {group.email or group.id} could not be read: {error}")
            log.error("A scope group could not be read: this run deprovisions nobody", extra={"json_fields": ALERT})
    return members, notes


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


def begin(directory: Directory, connections: Sequence[Connection]) -> Survey:
    """Read everything that is needed before the first user is judged."""
    members, notes = read_groups(directory, connections)
    units, unlisted = _read_units(directory, connections)
    notes += unlisted
    deleted: list[DirectoryUser] | None = None
    try:
        deleted = deleted_users(directory)
    except (Transient, ConfigurationRefused) as error:
        notes.append(f"The deleted users could not be listed, so that list proves no deletion: {error}")
        log.error("The deleted users could not be listed", extra={"json_fields": ALERT})
    by_id = {user.id: user for user in deleted or ()}
    addresses, listed = addresses_of(deleted), deleted is not None
    return Survey(
        members=members, deleted=by_id, deleted_addresses=addresses, deleted_listed=listed, notes=notes, units=units
    )


def everybody(
    directory: DirectoryUsers, survey: Survey, fields: frozenset[str], clock: Clock, deadline: datetime
) -> Iterator[DirectoryUser]:
    """Yield every user once; when the listing breaks off, note it in the survey and end.

    Raises:
        NotSent: the deadline passed; a run must not be cut short by its function's timeout.
        Incomplete, ConfigurationRefused: nobody could be listed.
    """
    seen: set[str] = set()
    try:
        for page in directory.users(fields):
            if clock() >= deadline:
                raise NotSent("The directory could not be listed in the run's time")
            for user in page:
                if user.id not in seen:
                    seen.add(user.id)
                    survey.untold += user.presence is Presence.UNKNOWN
                    yield user
    except (Incomplete, ConfigurationRefused) as error:
        if not seen:
            raise  # nothing of the directory was read: a run over nobody would end as done
        survey.complete = False
        survey.notes.append(f"The listing of users broke off: {error}")
        log.error("The listing of users broke off: this run deprovisions nobody", extra={"json_fields": ALERT})
    survey.listed, survey.seen = len(seen), seen
