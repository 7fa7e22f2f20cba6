"""Whose user it is: scope of each connection, and the first one, in their order, that holds the user."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache

from autoprovisioning.app.ports import Directory
from autoprovisioning.domain.connections import Connection, State
from autoprovisioning.domain.errors import ConfigurationRefused, Incomplete, Transient
from autoprovisioning.domain.users import DirectoryUser, Located, OrgUnit, Presence

log = logging.getLogger(__name__)

SERVING = (State.ON, State.PAUSED)  # a paused connection keeps its users: they wait, nobody else takes them

InScope = Callable[[Connection, DirectoryUser], bool | None]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a user belongs: `in_scope` by connection id, None where it could not be told; overlaps reported."""

    in_scope: dict[str, bool | None]
    overlaps: tuple[str, ...] = ()


def place(connections: Sequence[Connection], user: DirectoryUser, in_scope: InScope) -> Placement:
    """Give the user to the first connection whose scope holds them; the others do not.

    Where an earlier connection's scope could not be told, the later ones cannot be told either: the user might be the
    earlier one's.
    """
    answers: dict[str, bool | None] = {}
    owner: str | None = None
    unsure = False
    overlaps: list[str] = []
    for connection in connections:
        if connection.state not in SERVING:
            continue
        answer = in_scope(connection, user)
        if answer and owner is None and not unsure:
            owner = connection.id
        elif answer and owner is not None:
            overlaps.append(connection.id)
            answer = False
        elif answer and unsure:
            answer = None
        unsure = unsure or answer is None
        answers[connection.id] = answer
    return Placement(answers, tuple(overlaps))


def located(directory: Directory, connection: Connection) -> Located:
    """Find a connection's organizational units where they are now; asks the directory where some are chosen."""
    return connection.scope.located(_listed(directory) if connection.scope.org_units else None)


def _listed(directory: Directory) -> Sequence[OrgUnit] | None:
    try:
        return directory.org_units()
    except (Transient, ConfigurationRefused) as error:
        log.warning("The organizational units could not be listed: %s", error)
        return None


class AskedOneByOne:
    """Tells the scope of a single user by asking the directory about each chosen group.

    Units are listed anew, once: a path that was read earlier may be another unit's by now.
    A positive answer counts. A negative one counts for somebody who was not in scope; for somebody who was, only with
    complete derived listings that lack them (`left`, by connection id): otherwise it cannot be told. Where the
    directory does not answer about this user alone, or a group cannot be read to its end, nothing is told, unless an
    administrator approved what the listings say (`by_listings`, by connection id).
    """

    def __init__(
        self,
        directory: Directory,
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

    def __call__(self, connection: Connection, user: DirectoryUser) -> bool | None:
        """Tell one connection's scope; an `InScope`."""
        scope = connection.scope
        if user.presence is Presence.DELETED:
            return None
        held = scope.located(self._units() if scope.org_units else None).holds_unit(user.org_unit_path)
        if held is False or not scope.groups:
            return held
        answers = [is_member(self._directory, group.id, user.id) for group in scope.groups]
        if True in answers:
            return held
        if None in answers:
            self.silent.add(connection.id)
            return False if connection.id in self._left and connection.id in self._by_listings else None
        return None if self._was_in_scope(connection) and connection.id not in self._left else False


def is_member(directory: Directory, group_id: str, user_id: str) -> bool | None:
    """Ask whether a group has a user as a member; None where the directory does not tell."""
    try:
        return directory.is_member(group_id, user_id)
    except (Incomplete, ConfigurationRefused):
        return None
