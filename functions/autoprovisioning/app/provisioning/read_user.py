"""A look at one user: who asked for it, and what the directory and the scope of each connection show."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Protocol

from autoprovisioning.app.ports.directory import DirectoryUsers
from autoprovisioning.app.provisioning.placement import AskedOneByOne, place
from autoprovisioning.app.provisioning.volume_guard import approved
from autoprovisioning.app.services import Services
from autoprovisioning.domain.causes import ADDED, NOT_YET, Origin, Source
from autoprovisioning.domain.connections import Connection
from autoprovisioning.domain.decision import Observed, missed_twice
from autoprovisioning.domain.directory_user import DirectoryUser, Presence
from autoprovisioning.domain.entry import Entry
from autoprovisioning.domain.errors import (
    ConfigurationRefused,
    DirectoryFailed,
    ProvisioningError,
    Transient,
)
from autoprovisioning.domain.events import Actor
from autoprovisioning.domain.observation import observed
from autoprovisioning.domain.ownership import Placement
from autoprovisioning.domain.runs import Look

log = logging.getLogger(__name__)

LISTED_ONLY = "The directory lists this user, but does not find them when asked individually."


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOf:
    """A run, and the connection it is of: what happens on other connections is none of its business."""

    id: str
    connection_id: str


class Tell(Protocol):
    """Told what is done, step by step, without attribute values: for an administrator who waits."""

    def __call__(self, text: str, *, failed: bool = False) -> None:
        """Take one step."""


def nobody_waits(text: str, *, failed: bool = False) -> None:
    """Do nothing: a Tell for everything that no administrator asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One delivery of "look at this user again"."""

    look: Look
    message_id: str
    published: datetime
    run: RunOf | None = None  # counts go to this run
    retry_failures: bool = False
    tell: Tell = nobody_waits
    actor: Actor | None = None  # the administrator who asked, as stored; None where nobody did

    @property
    def by(self) -> Actor:
        """Return who the audit says did it."""
        return self.actor or Actor(
            address=f"run {self.run.id}" if self.run is not None else f"notification {self.message_id}"
        )

    def run_on(self, connection: Connection) -> str:
        """Return the id of the run if it is this connection's, else an empty one."""
        return self.run.id if self.run is not None and self.run.connection_id == connection.id else ""

    @property
    def origin(self) -> Origin | None:
        """Return what made us look, and since when a change waits; None where an administrator asked."""
        look, cause = self.look, self.look.cause
        if look.inquiry or self.actor is not None:
            return None
        if cause is not None:
            return Origin(source=Source.EVENT, since=cause.at, cause=cause)
        source = Source.NOTIFICATION if look.channel else Source.RUN
        return Origin(source=source, since=look.asked_at or self.published)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one reading of the directory showed, for all connections.

    `silent` are the connections whose groups give no individual answer about this user, `no_member` those none of whose
    groups has the user if that answer is true, `gone` those on which an administrator approved that the user is
    deleted, which only listings show.
    """

    look: Look
    user: DirectoryUser
    placement: Placement
    silent: frozenset[str]
    no_member: frozenset[str]
    gone: frozenset[str]

    def at(self, connection: Connection, entry: Entry | None) -> Observed:
        """Return what it means for one connection, whose roster has `entry`.

        Raises:
            DirectoryFailed: the directory answers something about somebody with an account that proves nothing.
        """
        user, placement = self.user, self.placement
        in_scope = placement.in_scope.get(connection.id)
        if connection.id in self.gone:
            user = DirectoryUser(id=user.id, primary_email="", presence=Presence.DELETED)
        _shown(self.look, entry, user)
        moving, handed = placement.awaited, connection.id in placement.handed
        outdated = connection.id in placement.outdated
        seen = observed(connection, user, in_scope, moving=moving, handed=handed, outdated=outdated)
        return replace(seen, missing=self._missing(connection, user))

    def _missing(self, connection: Connection, user: DirectoryUser) -> bool | None:
        if user.presence is Presence.UNKNOWN:
            return (self.look.evidence.missing and not user.profile) or None
        if connection.id in self.silent:
            return connection.id in self.look.evidence.left or None
        return False


class Round:
    """One round of a look: every roster's entry, then the directory, each read once, when it is first asked for.

    So what is decided for a connection rests on a reading of the directory that is younger than its entry. Once
    anything was done, or somebody else did something, the next round reads both anew.
    """

    def __init__(
        self,
        services: Services,
        connections: Sequence[Connection],
        asked: Asked,
        entries: Mapping[str, Entry | None] | None = None,
    ) -> None:
        """Take the entries that were read for many users together; otherwise they are read when first asked for."""
        self.connections = connections
        self._services = services
        self._asked = asked
        self._read = entries
        self._failed: ProvisioningError | None = None

    @cached_property
    def entries(self) -> Mapping[str, Entry | None]:
        """What each connection's roster has of the user."""
        if self._read is not None:
            return self._read
        return {each.id: entry_of(self._services, each, self._asked.look.user_id) for each in self.connections}

    def seen(self) -> Seen:
        """Return what the directory shows.

        Raises:
            Transient, ConfigurationRefused: it failed, or contradicts the event; all connections hear of it.
        """
        if self._failed is not None:
            raise self._failed
        try:
            return self._seen
        except ProvisioningError as error:
            self._failed = error
            raise

    @cached_property
    def _seen(self) -> Seen:
        services, look, entries, now = self._services, self._asked.look, self.entries, self._services.clock()
        by_listings = frozenset(
            each.id
            for each in self.connections
            if missed_twice(entries[each.id], now) and approved(services, each, look.user_id)
        )
        fresh_until = self._asked.published + services.timings.contradiction
        user = read_user(services.directory, look, fresh_until, now)
        gone = by_listings if user.presence is Presence.UNKNOWN and look.evidence.missing else frozenset[str]()
        asking = AskedOneByOne(services.directory, self._was_in_scope, look.evidence.left, by_listings)

        def in_scope(connection: Connection, someone: DirectoryUser) -> bool | None:
            return None if connection.id in gone else asking(connection, someone)

        placement = place(self.connections, user, in_scope, lambda each: entries[each.id])
        # A sweep tells of somebody once, so this look is the last for a while. A run comes again, and may have listed
        # long ago.
        if asking.contradicted and now < fresh_until and self._asked.run is None:
            raise Transient("The directory still calls a user a member whom its listing lacks", retry_after=5)
        if now < fresh_until and not asking.no_member.isdisjoint(_joined(look, self.connections)):
            raise Transient(
                "The directory does not yet call a user a member of the group that they joined", retry_after=5
            )
        if placement.overlaps:
            log.warning("A user is in the scope of several connections; the one that has them keeps them")
        silent, no_member = frozenset(asking.silent), frozenset(asking.no_member)
        return Seen(look=look, user=user, placement=placement, silent=silent, no_member=no_member, gone=gone)

    def _was_in_scope(self, connection: Connection) -> bool:
        known = self.entries[connection.id]
        return known is not None and known.in_scope


def _joined(look: Look, connections: Sequence[Connection]) -> set[str]:
    """Return the connections whose scope groups the user joined, by a listing, or as was reported of a group itself."""
    told = {*look.evidence.joined}
    if look.cause is not None and look.cause.event == ADDED:
        named = look.cause.group
        told |= {
            each.id for each in connections if named in {one.email.casefold() for one in each.settings.scope.groups}
        }
    return told


def judged(services: Services, asked: Asked, error: ProvisioningError) -> ProvisioningError:
    """Distinguish a failure of the directory to show one user from an outage, by whether it shows another user.

    Right after what the look was asked for because of, it may not know better yet.
    """
    if services.clock() < asked.published + services.timings.contradiction:
        return error
    try:
        if not services.directory.probe():
            return error
    except ProvisioningError:
        return error
    again = error.retry_after if isinstance(error, Transient) else None
    return DirectoryFailed(str(error), retry_after=again)


def entry_of(services: Services, connection: Connection, user_id: str) -> Entry | None:
    """Return what the connection's roster has of a user."""
    return services.roster.entry(connection, user_id)


def _shown(look: Look, entry: Entry | None, user: DirectoryUser) -> None:
    """Refuse to find nothing to do for a user who has an account, but whom the directory does not show.

    What complete listings lack is remembered, and goes to a held plan (`missed_twice`). "No such user" about somebody
    who is listed is no sign of a deletion: what was due waits, and somebody has to hear of it.

    Raises:
        DirectoryFailed: it answers something about this user that proves nothing.
    """
    known = entry is not None and entry.scim_id and entry.mark is None
    hidden = user.presence is Presence.UNKNOWN and user.untold not in ("", NOT_PROVEN)
    if known and hidden and not look.evidence.missing:
        raise DirectoryFailed(user.untold)
    if known and look.evidence.listed and user.presence is Presence.UNKNOWN and user.untold == NOT_PROVEN:
        raise DirectoryFailed(LISTED_ONLY)


NOT_PROVEN = "The directory finds no such user, but nothing else proves a deletion."


def read_user(directory: DirectoryUsers, look: Look, fresh_until: datetime, now: datetime) -> DirectoryUser:
    """Read one user again, proving a deletion if the directory no longer knows the user.

    Deleted is proven by the id among the deleted users, or, where a complete listing lacked the id, by "no such user"
    while the same credentials read another user of the customer. Anything else that cannot be read is UNKNOWN.

    Raises:
        Transient: the answer contradicts the event, which is recent (until `fresh_until`): ask again.
    """
    user = directory.user(look.user_id)
    young = now < fresh_until
    if user is not None and (user.presence is not Presence.UNKNOWN or user.profile):
        if look.event == "delete" and young:
            raise Transient("The directory still returns a user it reported as deleted", retry_after=5)
        if look.cause is not None and user.presence in NOT_YET.get(look.cause.event, ()) and young:
            raise Transient("The directory does not yet show what was reported of a user", retry_after=5)
        return user
    if look.event in ("add", "undelete") and young:
        raise Transient("The directory does not yet return a user it reported as added", retry_after=5)
    deleted = _among_the_deleted(directory, look.user_id)
    if deleted is not None:
        return deleted
    if look.evidence.missing and user is None and directory.probe():
        return DirectoryUser(id=look.user_id, primary_email="", presence=Presence.DELETED)
    if look.event == "delete" and young:
        raise Transient("The directory does not yet list a user it reported as deleted", retry_after=5)
    return user or DirectoryUser(
        id=look.user_id, primary_email="", presence=Presence.UNKNOWN, org_unit_path="", untold=NOT_PROVEN
    )


def _among_the_deleted(directory: DirectoryUsers, user_id: str) -> DirectoryUser | None:
    """Look for a user among the deleted ones; a listing that breaks off proves nothing."""
    try:
        return next((user for page in directory.deleted_users() for user in page if user.id == user_id), None)
    except (Transient, ConfigurationRefused):
        return None
