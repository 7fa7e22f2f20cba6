"""Whose user it is: what the scope of each connection says, and what its roster has, as `domain.ownership` asks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from urllib.parse import urlsplit

from autoprovisioning.app.ports.directory import DirectoryScopes
from autoprovisioning.domain import ownership
from autoprovisioning.domain.connections import SERVING, Connection, State, node_of
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete, Transient
from autoprovisioning.domain.scope import Located, OrgUnit, Why, standing

log = logging.getLogger(__name__)


InScope = Callable[[Connection, DirectoryUser], bool | None]


EntryOf = Callable[[Connection], Entry | None]
NOBODY: Mapping[str, Collection[str]] = {}


def place(
    connections: Sequence[Connection],
    user: DirectoryUser,
    in_scope: InScope,
    entry_of: EntryOf,
    held: Mapping[str, Collection[str]] = NOBODY,
) -> ownership.Placement:
    """Determine which of the connections that serve a user, in their order, the user belongs to.

    `entry_of` is what the roster of each had before the directory was read. `held` are, by connection id, those whom a
    held plan keeps from being let in there.
    """
    serving = [each for each in connections if each.state in SERVING and each.operates_on(user.id)]
    if len(serving) == 1:  # nearly everywhere: nobody else could have them
        (only,) = serving
        answer = in_scope(only, user)
        return ownership.Placement(in_scope={only.id: answer}, owner=only.id if answer else "")
    waiting = {each.id for each in serving if user.id in held.get(each.id, ())}
    return ownership.place(
        [_candidate(each, in_scope(each, user), entry_of(each), each.id in waiting) for each in serving]
    )


def _candidate(connection: Connection, in_scope: bool | None, entry: Entry | None, waits: bool) -> ownership.Candidate:
    ready = connection.state is State.ON and not waits
    return ownership.Candidate(
        connection_id=connection.id,
        in_scope=in_scope,
        entry=entry,
        keeper=_keeper(connection.settings.endpoint),
        ready=ready,
    )


@cache
def _keeper(endpoint: str) -> str:
    return urlsplit(node_of(endpoint)).netloc


def located(directory: DirectoryScopes, connection: Connection) -> Located:
    """Find a connection's organizational units where they are now; asks the directory where some are chosen."""
    return connection.settings.scope.located(_listed(directory) if connection.settings.scope.org_units else None)


def _listed(directory: DirectoryScopes) -> Sequence[OrgUnit] | None:
    try:
        return directory.org_units()
    except (Transient, ConfigurationRefused) as error:
        log.warning("The organizational units could not be listed: %s", error)
        return None


class AskedOneByOne:
    """Determines the scope of a single user by asking the directory about each chosen group.

    Units are listed again, once: a path that was read earlier may be another unit's by now. A positive answer counts. A
    negative one counts for somebody who was not in scope; for somebody who was, only with complete derived listings
    that lack them (`left`, by connection id): otherwise the scope is not known. It is not known either if the directory
    does not answer about this user individually, or a group cannot be read to its end, unless an administrator approved
    what the listings say (`by_listings`, by connection id).
    """

    def __init__(
        self,
        directory: DirectoryScopes,
        was_in_scope: Callable[[Connection], bool],
        left: Collection[str],
        by_listings: Collection[str] = (),
    ) -> None:
        self._directory = directory
        self._was_in_scope = was_in_scope
        self._left = left
        self._by_listings = by_listings
        self._units = cache(lambda: _listed(directory))
        self.silent: set[str] = set()  # connections of whose groups the directory did not tell
        self.contradicted: set[str] = set()  # ... or called a member whom the complete listings lack
        self.no_member: set[str] = set()  # ... or none of whose groups has the user, who was in none before

    def __call__(self, connection: Connection, user: DirectoryUser) -> bool | None:
        """Determine one connection's scope; an `InScope`."""
        scope = connection.settings.scope
        if user.presence is Presence.DELETED:
            return None
        unit = scope.located(self._units() if scope.org_units else None).holds_unit(user.org_unit_path)
        left = connection.id in self._left
        told = standing(
            unit,
            (is_member(self._directory, group.id, user.id) for group in scope.groups),
            unproven=not left and self._was_in_scope(connection),
            approved=left and connection.id in self._by_listings,
        )
        if told.why is Why.SILENT:
            self.silent.add(connection.id)
        if told.why is Why.NO_MEMBER:
            self.no_member.add(connection.id)
        if left and told.why is Why.MEMBER:
            self.contradicted.add(connection.id)
        return told.in_scope


def is_member(directory: DirectoryScopes, group_id: str, user_id: str) -> bool | None:
    """Ask whether a group has a user as a member; None if the directory does not say."""
    try:
        return directory.is_member(group_id, user_id)
    except (Incomplete, ConfigurationRefused):
        return None
